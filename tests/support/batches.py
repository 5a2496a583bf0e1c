"""What workers do with batches in tests of ``cluster``. Each worker loads this module: it imports nothing large."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dwplus.pipeline.errors import DataError


def big_part(batch: Sequence[int]) -> bytes:
    return bytes(1_000_000)


def memory_of_process(_: Sequence[int]) -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def fails(batch: Sequence[int]) -> int:
    raise DataError(f"tile {batch[0]} is broken")


def dies_once(batch: Sequence[str]) -> int:
    """A batch during which a worker dies the first time."""
    folder = Path(batch[0])
    try:
        (folder / "died").touch(exist_ok=False)
    except FileExistsError:
        return len(batch)
    os._exit(9)


def dies_always(batch: Sequence[int]) -> int:
    os._exit(9)
