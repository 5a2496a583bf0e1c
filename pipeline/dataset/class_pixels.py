"""Class pixels: how many pixels of each class count in single tiles, read once and kept (``findings/classes.json``).

Only a tile whose shard or label has changed is read again. The file may be deleted; where it cannot be written, tiles
are read each time. Comes before ``samples``, which reads tiles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, MachineError
from ..files.records import read_record, write_record
from ..raster.targets import Targets
from .manifest import ManifestRow
from .root import DataRoot

Counted = tuple[str, tuple[int, ...]]
"""Of one tile: hashes of its shard and label, and pixels of each class."""


@dataclass(frozen=True)
class _Document:
    """Content of the file: hash of what decides which pixels count, and what was counted by tile."""

    targets: str
    tiles: dict[str, Counted]


def class_pixels(
    root: DataRoot, rows: Sequence[ManifestRow], count: Callable[[int], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Pixels that count of each class in each tile: int64 (tiles, K).

    Args:
        rows: of complete tiles.
        count: reads the tile at a place of ``rows``: int64 (K,).
    """
    ledger, targets = root.ledger(), root.targets()
    states = [f"{ledger[row.tile.id].sha256} {row.label_state}" for row in rows]
    kept = _kept(root, targets)
    found = [
        np.array(kept[row.tile.id][1], dtype=np.int64) if kept.get(row.tile.id, ("",))[0] == state else count(place)
        for place, (row, state) in enumerate(zip(rows, states, strict=True))
    ]
    now = {row.tile.id: (state, tuple(counts.tolist())) for row, state, counts in zip(rows, states, found, strict=True)}
    if any(kept.get(tile) != one for tile, one in now.items()):
        # A data set that is shared may not be written.
        with suppress(MachineError):
            write_record(root.class_pixels_file, _Document(_hash_of(targets), dict(sorted((kept | now).items()))))
    return np.stack(found)


def _kept(root: DataRoot, targets: Targets) -> dict[str, Counted]:
    """What was counted before, by tile; nothing where that cannot be used, since it can be counted again."""
    if not root.class_pixels_file.is_file():
        return {}
    with suppress(DataError):
        document = read_record(root.class_pixels_file, _Document, remedy="remove it; it is made again")
        classes = len(targets.classes)
        if document.targets == _hash_of(targets):
            return {
                tile: (state, counts)
                for tile, (state, counts) in document.tiles.items()
                if len(counts) == classes and all(0 <= number < 2**32 for number in counts)
            }
    return {}


def _hash_of(targets: Targets) -> str:
    """Changes with what decides which pixels of a tile count, and for which class."""
    return hashlib.sha256(f"{targets.classes.hash} {targets.needed}".encode()).hexdigest()[:12]
