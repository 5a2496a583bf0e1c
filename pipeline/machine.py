"""Machine: the cores and the memory that this process may really use, in a container or a batch job too."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores of this process: those it may run on, and no more than a container's share of processor time; at least 1.

    Source: sched_getaffinity(2) for batch systems, ``cpu.max`` (cgroup v2) and ``cpu.cfs_quota_us`` (v1).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [share for group in _groups("cpu") if (share := _share(group)) is not None]
    return max(1, min([cores, *map(math.ceil, shares)]))


def _share(group: Path) -> float | None:
    """Cores that a group's share of processor time amounts to; None where it has no limit."""
    words = _read(group / "cpu.max").split()
    if len(words) != 2:
        words = [_read(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    try:
        quota, period = (float(word) for word in words)
    except ValueError:  # "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def processor_name() -> str:
    """Model of the processor, or the number of its cores where the system does not say."""
    # Not as ASCII: some names carry a trade mark.
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return f"{usable_cores()} cores"


def is_first_process() -> bool:
    """Whether this process speaks for a training: of several on one run (``accelerate launch``), the first does."""
    return os.environ.get("RANK", "0") == "0"


def processes_together() -> int:
    """How many processes train one run together with this one, itself included."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def keep_freed_memory() -> None:
    """Keep freed memory for the next buffers of this process, up to 2 GiB, in place of handing it back to the system.

    Networks free and ask for the same large buffers in each step; new ones are zeroed page by page, which takes a tenth
    of the time of a training on a processor. What the environment says (``MALLOC_TRIM_THRESHOLD_``,
    ``MALLOC_MMAP_THRESHOLD_``) stays, and nothing happens where the C library is not glibc. Source: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for name, parameter in _KEPT_BY.items():
            if name not in os.environ:
                mallopt(parameter, 2**31 - 1)


_KEPT_BY = {"MALLOC_TRIM_THRESHOLD_": -1, "MALLOC_MMAP_THRESHOLD_": -3}
"""Name in the environment -> number of a parameter of mallopt."""


def usable_memory_bytes() -> int | None:
    """Memory that this process can still get: of the machine, or of its container where that allows less.

    None where the system does not say. Source: proc(5) ``MemAvailable``; ``memory.max``, ``memory.current`` and
    ``memory.stat`` (cgroup v2), ``memory.limit_in_bytes`` and ``memory.usage_in_bytes`` (v1).
    """
    known = [_available(), *map(_room, _groups("memory"))]
    return min((number for number in known if number is not None), default=None)


def _available() -> int | None:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    return None


def _room(group: Path) -> int | None:
    """Memory that a group has left; files that it holds in memory and no longer needs are given up first."""
    for limit, used, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            left = int(_read(group / limit)) - int(_read(group / used))
        except ValueError:
            continue
        found = [line.split()[1] for line in _read(group / "memory.stat").splitlines() if line.split()[:1] == [cached]]
        return max(0, left + sum(map(int, found)))
    return None


def _groups(controller: str) -> list[Path]:
    """Folders of the control groups that this process is in, as far as it sees them, and of those above.

    In a container its own group is the root of what it sees; in a batch job it lies below, and each level may have a
    limit. Source: cgroups(7), ``/proc/self/cgroup``: ``0::/path`` (v2), ``4:memory:/path`` (v1).
    """
    found = {_CGROUP, _CGROUP / controller}
    for line in _read(_OWN_GROUPS).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number != "0" and controller not in controllers.split(","):
            continue
        for top in (_CGROUP, _CGROUP / "unified") if number == "0" else (_CGROUP / controller,):
            own = top / path.lstrip("/")
            found |= {own, *(folder for folder in own.parents if folder.is_relative_to(top))}
    return sorted(found)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
