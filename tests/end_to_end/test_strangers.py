"""Another user of the machine gets nothing but refusals from the ports that commands open."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.strangers import answers_to_a_stranger, listening_ports, needs_root, tree_of

REQUESTS = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n",
    "GET /$discovery/rest?version=v1 HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n",
)


def started(*arguments: str, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "output.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dwplus.cli", *arguments],
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, "HOME": str(folder)},
        )


def refused(answer: str) -> bool:
    return answer == "" or answer.startswith("HTTP/1.1 403 ")


@needs_root
@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("build", "--tiles", "12", "--workers", "2"),
        ("reproduce", "--tiles", "12", "--workers", "2", "--profile", "PROFILE"),
    ],
    ids=lambda command: command[0],
)
def test_every_port_of_a_command_refuses_another_user(command: tuple[str, ...], tmp_path: Path) -> None:
    profile = tmp_path / "two-loaders.toml"
    profile.write_text('model = "specsar-former-small"\nepochs = 1\nbatch = 4\ncrop_px = 64\nworkers = 1\n')
    arguments = [str(profile) if one == "PROFILE" else one for one in command]
    running = started(*arguments, "--source", "sandbox", "--quiet", folder=tmp_path)
    seen: set[int] = set()
    answers = []
    try:
        while running.poll() is None:
            fresh = listening_ports(tree_of(running.pid)) - seen
            if fresh:
                seen |= fresh
                answers += answers_to_a_stranger(fresh, REQUESTS, may_end=True)
            time.sleep(0.05)
    finally:
        running.kill()
        running.wait()

    assert running.returncode == 0, (tmp_path / "output.log").read_text()
    # The local Earth Engine has one; workers and loader processes talk through pipes and files of the user's own.
    assert len(seen) == 1
    assert [row for row in answers if not refused(row[-1])] == []
    assert any(row[-1].startswith("HTTP/1.1 403 ") for row in answers)


@needs_root
def test_the_port_of_a_served_local_earth_engine_refuses_another_user(tmp_path: Path) -> None:
    serve = started("local-ee", "serve", "--workers", "1", folder=tmp_path)
    try:
        until = time.monotonic() + 60
        while not (ports := listening_ports(tree_of(serve.pid))) and time.monotonic() < until:
            time.sleep(0.1)
        answers = answers_to_a_stranger(ports, REQUESTS)
    finally:
        serve.send_signal(signal.SIGINT)
        serve.wait(30)

    assert len(ports) == 1
    assert {row[-1][:13] for row in answers if row[1] == "plain"} == {"HTTP/1.1 403 "}
    assert all(refused(row[-1]) for row in answers)
