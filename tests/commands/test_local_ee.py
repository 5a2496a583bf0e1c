"""``dwplus local-ee serve``: a local Earth Engine for people who test their own code."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dwplus import cli
from dwplus.pipeline.errors import UsageError

COMMAND = [sys.executable, "-m", "dwplus.cli", "local-ee", "serve"]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, running with a plan, and what it printed."""
    (tmp_path / "plan.toml").write_text('[[fault]]\nmatch = "value:compute"\ntimes = 1\nstatus = 503\n')
    arguments = ["--seed", "3", "--tiles", "6", "--workers", "1", "--faults", str(tmp_path / "plan.toml")]
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        printed = ""
        while "Label releases" not in printed and (line := process.stdout.readline()):
            printed += line
        yield process, printed
        process.kill()


def test_what_it_prints_connects_the_real_client_and_ctrl_c_ends_it(
    serving: tuple[subprocess.Popen[str], str],
) -> None:
    process, printed = serving
    assert printed.startswith(
        "SANDBOX: a local Earth Engine over a synthetic planet (seed 3) runs at http://127.0.0.1:"
    )
    exports = dict(re.findall(r"^  export (\w+)=(\S+)$", printed, re.MULTILINE))
    assert exports.keys() >= {"EE_URL", "EE_PROJECT_ID", "GOOGLE_APPLICATION_CREDENTIALS", "NO_PROXY"}
    example = "\n".join(line[2:] for line in printed.split("In Python")[1].splitlines()[1:6])

    done = subprocess.run(
        [sys.executable, "-c", example], env={**os.environ, **exports}, capture_output=True, text=True, check=False
    )

    # the plan's 503 was met by the client's own retry
    assert re.match(r"\['201907\d{2}T\d{6}_\d{8}T\d{6}_T3[23]U", done.stdout), done.stderr
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told.strip()) == (130, "dwplus: the local Earth Engine has ended")
    assert not Path(exports["GOOGLE_APPLICATION_CREDENTIALS"]).exists()


def test_a_port_in_use_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"dwplus: the local Earth Engine did not start: port {port} of 127.0.0.1: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_plan_with_a_mistake_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("[[fault]]\ncolour = 'red'\n")

    with pytest.raises(UsageError, match=r"plan.toml: Unknown field of a fault: colour; known: body, "):
        cli.cli.main(["local-ee", "serve", "--faults", str(tmp_path / "plan.toml")], standalone_mode=False)
