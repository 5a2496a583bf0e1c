"""Splits: which label tiles make the manifest, which of them leak, and which split each belongs to.

Pure; comes after the rows of ``ingest`` and before ``manifest.write_manifest``.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..dataset.manifest import Manifest, ManifestRow
from ..spec.overlaps import block_of, shared_ground
from ..spec.test_tiles import known_test_tiles
from ..spec.tiles import Tile, locate

VALIDATION_SHARE = 0.1
"""Share of the training tiles that ``strict`` sets aside as ``val``."""


def make_manifest(rows: Iterable[ManifestRow]) -> Manifest:
    """Manifest of label tiles: one row per tile, splits assigned, training tiles that touch a test tile marked.

    Where experts and non-experts drew the same tile, the expert's markup is taken.
    """
    chosen = _one_per_tile(rows)
    locate(row.tile for row in chosen)
    leaking = _overlapping_test(chosen)
    marked = [replace(row, discard="test_overlap") if row.tile.id in leaking else row for row in chosen]
    validation = _validation_tiles([row for row in marked if row.release == "train" and not row.discard])
    return Manifest(tuple(_with_splits(row, validation) for row in marked))


_LABELER_RANK = {"consensus": 0, "expert": 1, "non_expert": 2}


def _one_per_tile(rows: Iterable[ManifestRow]) -> list[ManifestRow]:
    best: dict[tuple[str, bool], ManifestRow] = {}
    for row in rows:
        key = (row.tile.id, row.release == "test")
        other = best.get(key)
        if other is None or _preference(row) < _preference(other):
            best[key] = row
    # A tile that is in both releases keeps its test row: the training row would leak.
    tests = {tile_id for tile_id, is_test in best if is_test}
    kept = [row for (tile_id, is_test), row in best.items() if is_test or tile_id not in tests]
    return sorted(kept, key=lambda row: row.tile.id)


def _preference(row: ManifestRow) -> tuple[bool, int]:
    """Lower is better: a tile that is released does not leave its split because it is also user-supplied."""
    return row.release == "inspect", _LABELER_RANK.get(row.labeler, 9)


# --- leaks ------------------------------------------------------------------------------------------------------------


def _overlapping_test(rows: Sequence[ManifestRow]) -> set[str]:
    """Ids of training tiles that are, or share ground with, a test tile; also one that is not in this data root."""
    tests = [row.tile for row in rows if row.release == "test"]
    present = {tile.id for tile in tests}
    tests += [tile for tile in known_test_tiles() if tile.id not in present]
    training = [row.tile for row in rows if row.release == "train"]
    same = {tile.id for tile in training} & {tile.id for tile in tests}
    return same | {training[i].id for i, _, _ in shared_ground(training, tests)}


# --- validation -------------------------------------------------------------------------------------------------------


def _block(tile: Tile) -> tuple[int, int]:
    """Blocks go to ``val`` as a whole, so that neighbouring tiles never sit on both sides."""
    return block_of(*tile.centre)


def _validation_tiles(rows: Sequence[ManifestRow]) -> frozenset[str]:
    """Ids of the tiles of the validation blocks, and of all that share ground with them across a block's edge."""
    blocks = _validation_blocks(rows)
    tiles = [row.tile for row in rows]
    neighbours: dict[int, list[int]] = defaultdict(list)
    for i, j, _ in shared_ground(tiles, tiles):
        neighbours[i].append(j)
    chosen = {i for i, tile in enumerate(tiles) if _block(tile) in blocks}
    waiting = list(chosen)
    while waiting:
        for i in neighbours[waiting.pop()]:
            if i not in chosen:
                chosen.add(i)
                waiting.append(i)
    return frozenset(tiles[i].id for i in chosen)


def _validation_blocks(rows: Sequence[ManifestRow]) -> frozenset[tuple[int, int]]:
    """Geographic blocks whose training tiles validate: by hash order, until the share is reached."""
    members: dict[tuple[int, int], int] = defaultdict(int)
    for row in rows:
        members[_block(row.tile)] += 1
    chosen: set[tuple[int, int]] = set()
    taken = 0
    for block in sorted(members, key=lambda b: hashlib.sha256(f"{b[0]},{b[1]}".encode()).digest()):
        # Never the last block: something must be left to train on.
        if taken >= VALIDATION_SHARE * len(rows) or len(chosen) + 1 >= len(members):
            break
        chosen.add(block)
        taken += members[block]
    return frozenset(chosen)


def _with_splits(row: ManifestRow, validation: frozenset[str]) -> ManifestRow:
    if row.release != "train":
        return replace(row, split_strict=row.release, split_paper=row.release)
    strict = "val" if row.tile.id in validation else "train"
    return replace(row, split_strict=strict, split_paper="train")
