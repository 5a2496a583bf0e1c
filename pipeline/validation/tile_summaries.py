"""Tile summaries: the few numbers of each tile that the audit of a whole set needs, read once and kept.

Kept in ``findings/tiles.json``; a tile whose shard and label stayed as they were is not read again. Comes after
``validate``, before ``audit``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ..cluster import Runner
from ..dataset.ledger import LedgerRow
from ..dataset.manifest import ManifestRow
from ..dataset.root import DataRoot
from ..errors import DataError
from ..files.records import read_record, write_record
from ..raster.geotiff import read_bands, read_codes
from ..spec.bands import NODATA
from ..spec.classes import IGNORE, ClassTable


@dataclass(frozen=True)
class TileSummary:
    """A few numbers of one tile.

    Attributes:
        state: hashes of the shard and of the label that they are of.
        classes: pixels of each class.
        ignored: pixels without a class (unmarked, cloud).
        s1_covered: share of pixels (0..1) with a Sentinel-1 observation.
        s1_median: observations of the median pixel, pixels without any included.
    """

    tile: str
    state: str
    classes: tuple[int, ...]
    ignored: int
    s1_covered: float
    s1_median: float

    def is_possible(self, classes: int) -> bool:
        """Whether a tile of a set of so many classes can have such numbers; records of other programs may not."""
        counts = (*self.classes, self.ignored)
        counted = len(self.classes) == classes and all(0 <= number < 2**32 for number in counts)
        return counted and 0 <= self.s1_covered <= 1 and 0 <= self.s1_median < 2**16

    @property
    def marked_share(self) -> float:
        marked = sum(self.classes)
        return marked / max(1, marked + self.ignored)


def state_of(row: ManifestRow, last: LedgerRow) -> str:
    """Changes with the shard and with the label of a tile."""
    return f"{last.sha256} {row.label_state}"


def summarise_tile(row: ManifestRow, root: DataRoot, state: str, classes: ClassTable) -> TileSummary | None:
    """Numbers of one tile; None where a file cannot be read, which is a finding of the validation."""
    try:
        observations = read_bands(root.shard(row.tile), ("S1_N",))[0]
        counts = np.bincount(classes.class_indices(read_codes(root.label(row))).ravel(), minlength=256)
    except DataError:
        return None
    return TileSummary(
        row.tile.id,
        state,
        classes=tuple(int(n) for n in counts[: len(classes)]),
        ignored=int(counts[IGNORE]),
        s1_covered=float(np.mean(observations != NODATA)),
        s1_median=float(np.median(observations)),
    )


@dataclass(frozen=True)
class SummaryBatch:
    """The task of one worker (a class, so that it can be sent to other processes)."""

    root: DataRoot
    classes: ClassTable

    def __call__(self, rows: Sequence[tuple[ManifestRow, str]]) -> list[TileSummary]:
        found = (summarise_tile(row, self.root, state, self.classes) for row, state in rows)
        return [summary for summary in found if summary is not None]


def tile_summaries(
    rows: Sequence[ManifestRow],
    *,
    root: DataRoot,
    ledger: Mapping[str, LedgerRow],
    run: Runner,
    on_batch: Callable[[int], None] = lambda _: None,
) -> dict[str, TileSummary]:
    """Summaries of complete tiles, by id; files that cannot be read have none. Also kept on disk."""
    states = {row.tile.id: state_of(row, ledger[row.tile.id]) for row in rows}
    kept = {tile: s for tile, s in _kept(root).items() if states.get(tile) == s.state}
    on_batch(len(kept))
    fresh = [(row, states[row.tile.id]) for row in rows if row.tile.id not in kept]
    found = dict(kept)
    for tiles, part in run(SummaryBatch(root, root.classes()), fresh):
        found |= {summary.tile: summary for summary in part}
        on_batch(tiles)
    ordered = {tile: found[tile] for tile in sorted(found)}
    if fresh or len(kept) != len(_kept(root)):
        rows_of_all = [list(asdict(summary).values()) for summary in ordered.values()]
        write_record(root.summaries_file, {"tiles": rows_of_all})
    return ordered


def _kept(root: DataRoot) -> dict[str, TileSummary]:
    """What an earlier audit read; nothing where that cannot be understood, since it can be read again."""
    if not (root.summaries_file).is_file():
        return {}
    try:
        document = read_record(root.summaries_file, _SummariesDocument, remedy="remove it; it is made again")
    except DataError:
        return {}
    summaries, classes = (TileSummary(*row) for row in document.tiles), len(root.classes())
    return {summary.tile: summary for summary in summaries if summary.is_possible(classes)}


@dataclass(frozen=True)
class _SummariesDocument:
    """Content of ``findings/tiles.json``: the fields of ``TileSummary``, in their order, of each tile."""

    tiles: tuple[tuple[str, str, tuple[int, ...], int, float, float], ...]
