"""One training by several processes of this machine: they learn as one, and end together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from dwplus.model.runs import RunFolder
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import DwplusError
from dwplus.workflow import launch
from dwplus.workflow.launch import End, Job, Report, cause, train_together
from matplotlib.image import imread
from support.fixture_types import LayOut, Run

JOB = Job("data", None, "one", {}, "strict", "ms10", "sar")
NETWORK = "model_options={widths=[16,32],depths=[1,1],heads=[1,2],reductions=[4,2],decoder_width=16}"
SETTINGS = ("device=cpu", "workers=0", "batch=4", "batch_per_device=1", "checkpoint_minutes=0", NETWORK)


def program(text: str) -> list[str]:
    """A process that knows its rank and where its report goes, and is no training."""
    start = "import json, os, signal, sys, time; rank = int(os.environ['RANK']); job = sys.stdin.readline()\n"
    return [sys.executable, "-c", start + text]


def report(text: str, code: int | None) -> str:
    return f"open(sys.argv[1], 'w').write(json.dumps({{'at': time.time(), 'text': {text!r}, 'code': {code}}}))"


def wait_for(path: Path) -> str:
    """Wait until another process has written a file."""
    return f"[time.sleep(0.02) for _ in iter(lambda: os.path.exists({str(path)!r}), True)]"


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that has ended, and whose end nobody has asked for yet, is still known.
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text() if Path("/proc").is_dir() else True
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], object], *, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_each_process_knows_its_place_and_its_job(tmp_path: Path) -> None:
    where = f"open({str(tmp_path)!r} + f'/{{rank}}', 'w').write(os.environ['WORLD_SIZE'] + job)"

    train_together(JOB, 3, on_gpus=False, program=program(where))

    found = [(tmp_path / str(rank)).read_text() for rank in range(3)]
    assert all(text[0] == "3" and Job.of_line(text[1:]) == JOB for text in found)


def test_a_process_that_is_killed_ends_the_others_and_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Given that the first process waits for the second one, as on GPUs, and that the second one is killed.
    monkeypatch.setattr(launch, "GRACE_S", 0.3)
    pid = tmp_path / "pid"
    part = f"{pid}.part"
    waits = f"open({part!r}, 'w').write(str(os.getpid())); os.rename({part!r}, {str(pid)!r}); time.sleep(100)"
    text = f"if rank == 0: {waits}\n{wait_for(pid)}; os.kill(os.getpid(), signal.SIGKILL)"

    with pytest.raises(DwplusError, match=r"^process 2 of 2 was ended by SIGKILL, perhaps for want of memory; run"):
        train_together(JOB, 2, on_gpus=False, program=program(text))

    assert not is_running(int(pid.read_text()))


def test_the_first_cause_is_told_with_its_exit_code(tmp_path: Path) -> None:
    # The first process fails since the second one is gone, which says why.
    said = tmp_path / "said"
    says = f"if rank == 1: {report('no tile', 3)}; open({str(said)!r}, 'w'); sys.exit(3)\n"
    text = f"{says}{wait_for(said)}; time.sleep(0.5); {report('Traceback ...', None)}; sys.exit(1)"

    with pytest.raises(DwplusError, match=r"^no tile$") as error:
        train_together(JOB, 2, on_gpus=False, program=program(text))

    assert error.value.exit_code == 3


@pytest.mark.parametrize(("times", "works"), [(2, True), (3, False)])
def test_processes_that_find_their_port_taken_meet_at_another(tmp_path: Path, times: int, works: bool) -> None:
    # The first process is told so ``times`` times; each start leaves the port that it was given.
    taken = report("DistNetworkError: port: 1, code: -98, name: EADDRINUSE", None)
    starts = f"ports = {str(tmp_path)!r}; here = len(os.listdir(ports)); port = os.environ['MASTER_PORT']\n"
    text = starts + f"open(f'{{ports}}/{{here}}', 'w').write(port)\nif here < {times}: {taken}; sys.exit(1)"

    with nullcontext() if works else pytest.raises(DwplusError, match=r"process 1 of 1 failed: .*EADDRINUSE"):
        train_together(JOB, 1, on_gpus=False, program=program(text))

    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=["INT", "TERM", "USR1"])
def test_a_signal_reaches_all_processes(number: signal.Signals, tmp_path: Path) -> None:
    noted = f"lambda *_: (open({str(tmp_path)!r} + f'/{{rank}}', 'w').close(), sys.exit(130))"
    text = f"signal.signal({int(number)}, {noted}); open({str(tmp_path)!r} + f'/ready-{{rank}}', 'w'); time.sleep(100)"

    def send() -> None:
        assert until(lambda: len(list(tmp_path.glob("ready-*"))) == 2, within_s=20)
        os.kill(os.getpid(), number)

    threading.Thread(target=send).start()
    with pytest.raises(KeyboardInterrupt):
        train_together(JOB, 2, on_gpus=False, program=program(text))

    assert (tmp_path / "0").exists()
    assert (tmp_path / "1").exists()
    assert signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, signal.default_int_handler)


def test_causes_come_in_the_order_of_what_they_explain(capsys: pytest.CaptureFixture[str]) -> None:
    lost = End(0, 1, Report(5.0, "Traceback\nRuntimeError: connection closed by peer\n"))
    defect = End(1, 1, Report(4.0, "Traceback\nValueError: odd\n"))
    killed, aborted = End(1, -signal.SIGKILL), End(0, -signal.SIGABRT)
    silent = End(1, 3, None, "cannot import torch")

    def told(*ends: End, asked: bool = False) -> str:
        error = cause(ends, asked_to_stop=asked)
        return f"{type(error).__name__}: {error}"

    assert "process 2 of 2 was ended by SIGKILL" in told(lost, killed)
    assert "process 2 of 2 failed: ValueError: odd" in told(lost, defect)
    assert "process 2 of 2 ended with exit code 3: cannot import torch" in told(lost, silent)
    assert told(aborted, End(1, 1, Report(4.0, "disk full", 1))) == "LaunchedError: disk full"
    assert told(End(0, 130), aborted, asked=True) == "KeyboardInterrupt: "
    assert told(End(0, 130), End(1, 130)) == "KeyboardInterrupt: "
    assert told(End(0, 1, Report(4.0, "disk full", 1)), asked=True) == "LaunchedError: disk full"
    assert told(End(0, 1, Report(4.0, "", memory=True))) == "MemoryError: "
    # A defect keeps its traceback, once.
    assert capsys.readouterr().err == "Traceback\nValueError: odd\n"


@pytest.fixture
def root(ready_root: LayOut) -> DataRoot:
    return ready_root(train=8, test=2, size=32)


def words(root: DataRoot, name: str, *, epochs: int) -> list[str]:
    settings = [part for one in SETTINGS for part in ("--set", one)]
    options = ["--source", "sandbox", "--data", str(root.folder.parent), "--protocol", "paper"]
    return ["train", "--name", name, *options, "--model", "specsar-former-small", "--epochs", str(epochs), *settings]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dwplus.cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if not path.exists():
        pytest.skip("this system does not list the processes that a process started")
    return [int(word) for word in path.read_text().split()]


def test_more_devices_than_there_are_are_refused_in_one_line(dwplus: Run, root: DataRoot) -> None:
    code, _, said = dwplus(*words(root, "one", epochs=1), "--devices", "1000")

    assert code == 2
    assert "dwplus: --devices 1000: there " in said.splitlines()[-1]
    assert not root.runs.exists()


def test_devices_are_not_started_twice(dwplus: Run, root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    code, _, said = dwplus(*words(root, "one", epochs=1), "--devices", "2")

    assert (code, "WORLD_SIZE says that 2 are started already" in said) == (2, True)


@pytest.mark.slow
def test_two_devices_learn_as_one_and_speak_once(dwplus: Run, root: DataRoot) -> None:
    # Given the same micro-batches on one device and on two.
    assert dwplus(*words(root, "alone", epochs=3))[0] == 0

    process = start([*words(root, "two", epochs=3), "--devices", "2"])
    out, said = process.communicate(timeout=300)

    assert process.returncode == 0, said
    two, alone = RunFolder(root.runs / "two"), RunFolder(root.runs / "alone")
    assert [row["loss"] for row in two.read_rows()] == pytest.approx(
        [row["loss"] for row in alone.read_rows()], rel=1e-5
    )
    assert two.read_weights().keys() == alone.read_weights().keys()
    assert [one.processes for one in two.read_config().computing] == [2]
    # The picture has the same two tiles, below the title and left of the predictions, which both processes made.
    pictures = [imread(folder.path / "pictures" / "epoch-0003.png") for folder in (two, alone)]
    tiles, predictions = (slice(40, 40 + 2 * 262), slice(0, 3 * 262)), (slice(42, 36 + 2 * 262), slice(800, 1040))
    assert np.array_equal(pictures[0][tiles], pictures[1][tiles])
    ignored = np.array([237, 237, 237]) / 255
    assert not np.isclose(pictures[0][predictions][..., :3], ignored, atol=2 / 255).all(axis=2).any()
    lines = said.splitlines()
    assert len(lines) == len(set(lines)), said
    assert sum("timing a first batch" in line for line in lines) == 1
    assert out.startswith(str(two.path))
    assert dwplus("score", "two", "-q", "--source", "sandbox")[0] == 0


@pytest.mark.slow
def test_a_killed_process_ends_the_command_which_resumes_on_one_device(dwplus: Run, root: DataRoot) -> None:
    process = start([*words(root, "one", epochs=40), "--devices", "2"])
    folder = RunFolder(root.runs / "one")
    assert until(lambda: len(folder.read_rows()) >= 2 or process.poll() is not None, within_s=200)
    _, second = started = children(process.pid)

    os.kill(second, signal.SIGKILL)
    _, said = process.communicate(timeout=100)

    assert process.returncode == 1, said
    assert said.splitlines()[-1].startswith("dwplus: process 2 of 2 was ended by SIGKILL")
    assert "Traceback" not in said
    assert not any(map(is_running, started))
    assert list((folder.path / "checkpoints").glob("epoch-*.pt"))

    code, _, said = dwplus(*words(root, "one", epochs=40), "--devices", "1")

    assert code == 0, said
    assert [one.processes for one in folder.read_config().computing] == [2, 1]
    assert [row["epoch"] for row in folder.read_rows()] == list(range(1, 41))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
def test_no_process_outlives_the_command(root: DataRoot, number: signal.Signals) -> None:
    process = start([*words(root, "one", epochs=10_000), "--devices", "2"])
    folder = RunFolder(root.runs / "one")
    assert until(lambda: folder.read_rows() or process.poll() is not None, within_s=200)
    started = children(process.pid)

    process.send_signal(number)
    _, said = process.communicate(timeout=100)

    assert process.returncode == (130 if number == signal.SIGTERM else -9), said
    assert "Traceback" not in said
    assert until(lambda: not any(map(is_running, started)), within_s=20)
    assert list((folder.path / "checkpoints").glob("epoch-*.pt"))


def test_a_job_is_the_same_after_its_journey() -> None:
    assert Job.of_line(JOB.to_line()) == JOB
    assert json.loads(JOB.to_line())["name"] == "one"
