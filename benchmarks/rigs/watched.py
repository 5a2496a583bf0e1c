"""A ``dwplus build`` in a process of its own, watched from outside: CPU time and memory over time, and its end.

CPU and memory come from ``/proc`` and count the process with all its descendants, so this needs Linux.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
EVERY_S = 0.05


@dataclass(frozen=True)
class Sample:
    """Process and descendants at one moment: ``time.monotonic()``, CPU seconds so far, resident bytes."""

    moment: float
    cpu_s: float
    resident: int


@dataclass
class Watched:
    """What was seen of one build.

    Attributes:
        started, ended: ``time.monotonic()`` of the process.
        samples: in order, every ``EVERY_S`` seconds.
    """

    started: float
    ended: float = 0.0
    code: int = -1
    stderr: str = ""
    stdout: str = ""
    samples: list[Sample] = field(default_factory=list)

    def at(self, moment: float) -> Sample:
        """The first sample that is not before a moment."""
        place = bisect_left([sample.moment for sample in self.samples], moment)
        return self.samples[min(place, len(self.samples) - 1)]

    def cpu_s(self, start: float, end: float) -> float:
        """CPU seconds between two moments."""
        return self.at(end).cpu_s - self.at(start).cpu_s

    def peak_mib(self, start: float, end: float) -> float:
        return max((s.resident for s in self.samples if start <= s.moment <= end), default=0) / 2**20

    def mean_mib(self, start: float, end: float) -> float:
        inside = [s.resident for s in self.samples if start <= s.moment <= end]
        return sum(inside) / max(len(inside), 1) / 2**20


def command(labels: Path, data: Path, *more: str) -> list[str]:
    """``dwplus build`` of label tiles through the Earth Engine client."""
    build = ["-m", "dwplus.cli", "build", "--labels", str(labels), "--data", str(data), "--source", "earthengine"]
    return [sys.executable, *build, *more]


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> Watched:
    """Run a command to its end."""
    watched = Watched(time.monotonic())
    with subprocess.Popen(
        arguments, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        watcher = threading.Thread(target=_watch, args=(process, watched), daemon=True)
        watcher.start()
        watched.stdout, watched.stderr = process.communicate()
        watched.ended, watched.code = time.monotonic(), process.returncode
        watcher.join()
    return watched


def _watch(process: subprocess.Popen[str], watched: Watched) -> None:
    while process.poll() is None:
        tree = _tree(process.pid)
        if tree:
            cpu_s, resident = (sum(column) for column in zip(*tree, strict=True))
            watched.samples.append(Sample(time.monotonic(), cpu_s, int(resident)))
        time.sleep(EVERY_S)


def _tree(root: int) -> list[tuple[float, int]]:
    """CPU seconds and resident bytes of a process and all that it started."""
    parents: dict[int, int] = {}
    seen: dict[int, tuple[float, int]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text()
        except OSError:
            continue
        words = text.rpartition(") ")[2].split()
        pid = int(folder.name)
        parents[pid] = int(words[1])
        # own time and that of children that have ended, see proc(5)
        seen[pid] = (sum(int(words[n]) for n in (11, 12, 13, 14)) / _TICKS, int(words[21]) * _PAGE)
    members, fresh = {root} & set(seen), {root} & set(seen)
    while fresh:
        fresh = {pid for pid, parent in parents.items() if parent in fresh} - members
        members |= fresh
    return [seen[pid] for pid in members]
