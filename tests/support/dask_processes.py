"""A Dask scheduler and workers as processes of their own, as somebody else's cluster is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 30.0


def pid_after_a_while(batch: Sequence[int]) -> tuple[int, int]:
    """Which process summed a batch, and its sum."""
    time.sleep(0.02)
    return os.getpid(), sum(batch)


class DaskProcesses:
    """A scheduler on 127.0.0.1 and the workers that were started for it."""

    def __init__(self, folder: Path) -> None:
        file = folder / "scheduler.json"
        self.processes = [
            _start("scheduler", "--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file))
        ]
        self.workers: list[subprocess.Popen[bytes]] = []
        self.address = _address(file)

    def add_worker(self, **environment: str) -> None:
        """Start one more worker; it finds dwplus, and the functions of this module, as this process does."""
        options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1")
        self.workers.append(_start("worker", self.address, *options, environment=environment))

    def kill_worker(self, number: int) -> None:
        """End a worker at once, as a machine ends that loses power."""
        self.workers[number].send_signal(signal.SIGKILL)
        self.workers[number].wait()

    def kill_scheduler(self) -> None:
        self.processes[0].kill()
        self.processes[0].wait()

    def end(self) -> None:
        for process in (*self.workers, *self.processes):
            process.kill()
            process.wait()


def _start(*words: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dask", *words]
    paths = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])}
    return subprocess.Popen(
        command,
        env={**os.environ, **paths, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _address(file: Path) -> str:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            return str(json.loads(file.read_text())["address"])
        except (OSError, ValueError):
            time.sleep(0.05)
    raise TimeoutError("the Dask scheduler does not start")


@contextmanager
def dask_processes(folder: Path, workers: int) -> Iterator[DaskProcesses]:
    cluster = DaskProcesses(folder)
    try:
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        cluster.end()
