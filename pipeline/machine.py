"""Machine: the cores and the memory that this process may really use, in a container or a batch job too."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Cores of this process: those it may run on, and no more than a container's share of processor time; at least 1.

    Source: sched_getaffinity(2) for batch systems, ``cpu.max`` (cgroup v2) and ``cpu.cfs_quota_us`` (v1).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def _quota() -> float | None:
    """Cores that a container's share of processor time amounts to; None where it has no limit."""
    words = _read(_CGROUP / "cpu.max").split()
    if len(words) != 2:
        words = [_read(_CGROUP / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    try:
        quota, period = (float(word) for word in words)
    except ValueError:  # "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def is_first_process() -> bool:
    """Whether this process speaks for a training: of several on one run (``accelerate launch``), the first does."""
    return os.environ.get("RANK", "0") == "0"


def usable_memory_bytes() -> int | None:
    """Memory that this process can still get: of the machine, or of its container where that allows less.

    None where the system does not say. Source: proc(5) ``MemAvailable``; ``memory.max`` and ``memory.current`` (cgroup
    v2), ``memory.limit_in_bytes`` and ``memory.usage_in_bytes`` (v1).
    """
    known = [number for number in (_available(), _container_room()) if number is not None]
    return min(known, default=None)


def _available() -> int | None:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    return None


def _container_room() -> int | None:
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            return max(0, int(_read(_CGROUP / limit)) - int(_read(_CGROUP / used)))
        except ValueError:
            continue
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
