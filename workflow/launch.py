"""Launch: one training by several processes of this machine, which this one starts, watches and ends together.

Each runs ``launched.py``, which trains as one process does; ``accelerate`` finds the others by ``RANK``, ``WORLD_SIZE``
and ``MASTER_ADDR``. They have a session of their own, so that Ctrl-C reaches this process alone, which hands signals on
to all of them. Each watches a pipe that ends with this process, whatever ended it: none is left behind. What went wrong
they write into files, of which this process tells one: where a process is lost, the others fail for want of it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from ..model.config import from_mapping, to_mapping
from ..pipeline.errors import DwplusError, ExitCode, in_brief
from ..pipeline.machine import usable_cores

GRACE_S = 20.0
"""Time for the other processes to end by themselves, once one has failed. On GPUs they would wait longer for it."""

_LOOK_EVERY_S = 0.1
_MEETINGS = 3
_PORT_TAKEN = "EADDRINUSE"
HANDED_ON = tuple(number for n in ("SIGINT", "SIGTERM", "SIGUSR1") if (number := getattr(signal, n, None)) is not None)


@dataclass(frozen=True)
class Job:
    """One training, as its processes are told of it.

    Attributes:
        folder, runs: of the data root and of its runs.
        name: of the run.
        config: ``TrainConfig``, as plain values.
        primary, auxiliary: names of band presets.
        accept: what may differ from the weights that it begins with.
        quiet: show no progress.
    """

    folder: str
    runs: str | None
    name: str
    config: dict[str, Any]
    protocol: str
    primary: str
    auxiliary: str
    accept: tuple[str, ...] = ()
    quiet: bool = False

    def to_line(self) -> str:
        return json.dumps(to_mapping(self)) + "\n"

    @classmethod
    def of_line(cls, line: str | bytes) -> Job:
        return from_mapping(cls, json.loads(line), where="job")


@dataclass(frozen=True)
class Report:
    """Why a process ended before the training did, as it says itself.

    Attributes:
        at: seconds since 1970.
        text: what a person is told: a sentence, or the traceback of a defect.
        code: exit code of an error that has one; None for a defect.
        memory: memory ran out.
    """

    at: float
    text: str
    code: int | None = None
    memory: bool = False


@dataclass(frozen=True)
class End:
    """How a process ended.

    Attributes:
        rank: which one, from 0.
        code: exit code; -n for signal n.
        report: what it said of it, if it did.
        last_words: the end of what it wrote otherwise, where that was not shown.
        killed_here: this process killed it.
    """

    rank: int
    code: int
    report: Report | None = None
    last_words: str = ""
    killed_here: bool = False


class LaunchedError(DwplusError):
    """An error of one of the processes, with its exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(code) if code in set(ExitCode) else ExitCode.ERROR


PROGRAM = (sys.executable, "-m", f"{__package__}.launched")
"""What each process runs, with the file for its report as its last argument."""


def train_together(job: Job, processes: int, *, on_gpus: bool, program: Sequence[str] = PROGRAM) -> None:
    """Train with several processes of this machine, until all have ended.

    Raises:
        DwplusError: one of them failed; the others were ended too.
        MemoryError: memory ran out in one.
        KeyboardInterrupt: a signal came; all have ended, with a checkpoint where the signal leaves one.
    """
    for _ in range(_MEETINGS):
        with tempfile.TemporaryDirectory(prefix="dwplus-") as folder:
            together = _Together(job, processes, Path(folder), on_gpus, program)
            with together.signals_handed_on():
                ends = together.run()
        if all(end.code == 0 for end in ends):
            return
        # Another program has taken the port that was free a moment before: nothing was begun.
        if together.asked or not any(end.report and _PORT_TAKEN in end.report.text for end in ends):
            break
    raise cause(ends, asked_to_stop=together.asked)


def cause(ends: Sequence[End], *, asked_to_stop: bool) -> BaseException:
    """The error to tell, out of how the processes ended: the first cause, not what followed from it.

    Errors with words of their own come first; then a process that was killed, one that ended without a word, and
    defects in the order of time. A signal to stop, to this process or to one of them, explains all but the first kind.
    """
    count = len(ends)
    told = sorted((end for end in ends if end.report), key=lambda end: end.report.at if end.report else 0)
    for end in told:
        if end.report and end.report.memory:
            return MemoryError(end.report.text)
        if end.report and end.report.code is not None:
            return LaunchedError(end.report.text, end.report.code)
    if asked_to_stop or any(end.code == ExitCode.INTERRUPTED for end in ends):
        return KeyboardInterrupt()
    for end in ends:
        if end.code < 0 and not end.killed_here:
            memory = ", perhaps for want of memory" if end.code == -signal.SIGKILL else ""
            return DwplusError(
                f"process {end.rank + 1} of {count} was ended by {_signal_name(-end.code)}{memory}; run the same "
                "command again to resume from the last checkpoint"
            )
    for end in ends:
        if end.code > 0 and end.report is None:
            words = f": {in_brief(end.last_words)}" if end.last_words else ""
            return DwplusError(f"process {end.rank + 1} of {count} ended with exit code {end.code}{words}")
    if told and (report := told[0].report):
        sys.stderr.write(report.text)
        last = report.text.strip().splitlines()[-1]
        return DwplusError(f"process {told[0].rank + 1} of {count} failed: {in_brief(last)}")
    return DwplusError("the processes of this training do not end; run the same command again to resume")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass
class _Together:
    """Processes of one training, from their start to their end."""

    job: Job
    count: int
    folder: Path
    on_gpus: bool
    program: Sequence[str]
    asked: bool = False
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)

    def run(self) -> list[End]:
        try:
            self._start()
            self._watch()
        finally:
            self._kill_all()
        return [self._end(rank, process) for rank, process in enumerate(self.processes)]

    def _start(self) -> None:
        common = _environment(self.count, on_gpus=self.on_gpus)
        for rank in range(self.count):
            # The first one speaks for all; what the others write is looked at where they end without a report.
            with self._words(rank).open("wb") as words:
                process = subprocess.Popen(
                    [*self.program, str(self._report(rank))],
                    env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdin=subprocess.PIPE,
                    stdout=words,
                    stderr=None if rank == 0 else words,
                    start_new_session=True,
                )
            self.processes.append(process)
            assert process.stdin is not None
            with suppress(OSError):  # it has ended already, and will be found to have
                process.stdin.write(self.job.to_line().encode())
                process.stdin.flush()  # and left open: its end is the end of this process
            if self.asked:
                # The signal came meanwhile, and may not have reached this one, which has done nothing yet.
                self.killed.add(rank)
                process.kill()
                return

    def _watch(self) -> None:
        failed_at: float | None = None
        while any(process.poll() is None for process in self.processes):
            failed = any(process.poll() not in (None, 0) for process in self.processes)
            if failed and failed_at is None:
                failed_at = time.monotonic()
            if failed_at is not None and time.monotonic() - failed_at > GRACE_S:
                return
            time.sleep(_LOOK_EVERY_S)

    def _kill_all(self) -> None:
        for rank, process in enumerate(self.processes):
            if process.poll() is None:
                self.killed.add(rank)
                process.kill()
        for process in self.processes:
            process.wait()
            if process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()

    @contextmanager
    def signals_handed_on(self) -> Iterator[None]:
        """Hand signals on to all processes; a second Ctrl-C kills them."""

        def hand_on(number: int, _frame: FrameType | None) -> None:
            again, self.asked = self.asked and number == signal.SIGINT, True
            for rank, process in enumerate(self.processes):
                if process.poll() is None:
                    self.killed |= {rank} if again else set()
                    process.send_signal(signal.SIGKILL if again else number)

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, hand_on) for number in HANDED_ON}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, rank: int, process: subprocess.Popen[bytes]) -> End:
        report = None
        with suppress(OSError, ValueError):
            report = from_mapping(Report, json.loads(self._report(rank).read_text(encoding="utf-8")), where="report")
        words = self._words(rank).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return End(rank, process.returncode, report, words[-1] if words else "", rank in self.killed)

    def _report(self, rank: int) -> Path:
        return self.folder / f"report-{rank}.json"

    def _words(self, rank: int) -> Path:
        return self.folder / f"words-{rank}.txt"


def _environment(count: int, *, on_gpus: bool) -> Mapping[str, str]:
    """What all processes are told: where they meet, and their share of the cores."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, usable_cores() // count))),
        **({} if on_gpus else {"ACCELERATE_USE_CPU": "true"}),
    }
