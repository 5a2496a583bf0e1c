"""Normalise: exact statistics of the training split, which every network's input is normalised with.

One pass over the pixels counts stored values (``histograms``); mean, standard deviation, extremes and percentiles of
both protocols, and of each split, region and biome, follow from the counts (``statistics``). Comes after ``validate``
and before ``dataset``. ``inspection`` validates and counts in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..cluster import Runner
from ..dataset.ledger import read_ledger
from ..dataset.manifest import PROTOCOLS, Manifest, ManifestRow, Protocol
from ..dataset.root import check_in_sight, pixels_of, shards_hash, usable_rows
from ..dataset.statistics import STATISTICS_SPLITS, Statistics, groups_path, read_statistics, statistics_path
from ..errors import DataError
from ..files.atomic import read_json, write_json
from ..files.remote import Place
from ..raster.geotiff import read_bands, read_codes, shard_path
from ..spec.bands import SHARD_BANDS
from .histograms import Counts, Packed, add_counts, cell_of, count_pixels, pack, unpack
from .summary import class_shares, groups, of_split, summarise

# --- usable tiles -----------------------------------------------------------------------------------------------------


# --- counting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CountBatch:
    """The task of one worker (a class, so that it can be sent to other processes)."""

    root: Place

    def __call__(self, rows: Sequence[ManifestRow]) -> Packed:
        check_in_sight(self.root)
        total: Counts = {}
        for row in rows:
            pixels = read_bands(shard_path(self.root, row.tile), SHARD_BANDS)
            add_counts(total, {cell_of(row): count_pixels(pixels, read_codes(self.root / row.label))})
        return pack(total)


def count_tiles(
    root: Path, rows: Sequence[ManifestRow], *, run: Runner, on_batch: Callable[[int], None] | None = None
) -> Counts:
    """Histograms of tiles by cell.

    Raises:
        DataError: a shard or label is damaged.
    """
    total: Counts = {}
    # Neighbours in this order share a cell, so that a batch has few of them to send.
    for tiles, part in run(CountBatch(pixels_of(root)), sorted(rows, key=lambda row: (cell_of(row), row.tile.id))):
        add_counts(total, unpack(part))
        if on_batch is not None:
            on_batch(tiles)
    return total


@dataclass
class Counted:
    """Histograms of tiles that somebody counted while their pixels were in hand (``inspection``).

    Attributes:
        counts: of all those tiles, by cell.
        tiles: their ids.
    """

    counts: Counts = field(default_factory=dict)
    tiles: set[str] = field(default_factory=set)


def count_others(
    root: Path,
    manifest: Manifest,
    counted: Counted,
    *,
    run: Runner,
    on_batch: Callable[[int], None] | None = None,
) -> Counts:
    """Histograms of all usable tiles: what is counted already is not read again.

    What was counted and is not usable (in quarantine, in no split) is taken away; what is usable and was not counted
    (an error that is waived, a tile validated earlier) is added.

    Raises:
        DataError: the data set was not validated yet, or a shard or label is damaged.
    """
    usable = {row.tile.id: row for row in counted_rows(root, manifest)}
    surplus = [row for row in manifest.rows if row.tile.id in counted.tiles - usable.keys()]
    missing = [row for tile, row in usable.items() if tile not in counted.tiles]
    if on_batch is not None:
        on_batch(len(usable) - len(missing))
    total = counted.counts
    if missing:
        add_counts(total, count_tiles(root, missing, run=run, on_batch=on_batch))
    if surplus:
        add_counts(total, count_tiles(root, surplus, run=run), -1)
    return {cell: one for cell, one in total.items() if one.tiles}


def counted_rows(root: Path, manifest: Manifest) -> tuple[ManifestRow, ...]:
    """Tiles whose pixels enter some statistics: the usable ones of all splits.

    Raises:
        DataError: the data set was not validated yet.
    """
    found = {
        row.tile.id: row
        for protocol in PROTOCOLS
        for split in STATISTICS_SPLITS
        for row in usable_rows(root, manifest, split, protocol)
    }
    return tuple(found[tile] for tile in sorted(found))


# --- the stage --------------------------------------------------------------------------------------------------------


def _check_one_recipe(root: Path, rows: Sequence[ManifestRow]) -> None:
    ledger = read_ledger(root)
    recipes = {(ledger[row.tile.id].source, ledger[row.tile.id].recipe) for row in rows}
    if len(recipes) > 1:
        raise DataError(
            f"{root} holds shards of {len(recipes)} recipes (a build with a new one was stopped?): averages in dB and "
            "of power do not mix; let 'dwplus build' finish with one recipe"
        )


def up_to_date(root: Path, manifest: Manifest, protocols: Sequence[Protocol] = PROTOCOLS) -> bool:
    """Whether statistics and groups of all protocols are those of the usable tiles as they are now."""
    everything = shards_hash(root, counted_rows(root, manifest))
    return all(
        _statistics_of(root, p, shards_hash(root, usable_rows(root, manifest, "train", p))) is not None
        and _groups_hash(root, p) == everything
        for p in protocols
    )


def check_usable(root: Path, manifest: Manifest, protocol: Protocol) -> None:
    """Refuse a data root that has no statistics of its training split.

    Raises:
        DataError: no training tile is usable, shards of two recipes are mixed, or nothing was validated yet.
    """
    rows = usable_rows(root, manifest, "train", protocol)
    if not rows:
        raise DataError(f"{root} holds no usable training tile; build some with 'dwplus build --split train'")
    _check_one_recipe(root, rows)


def write_statistics(root: Path, manifest: Manifest, protocol: Protocol, counts: Counts) -> Statistics:
    """Write what follows from the counts of ``counted_rows``; the statistics of the training split."""
    training = usable_rows(root, manifest, "train", protocol)
    source = read_ledger(root)[training[0].tile.id].source
    total = of_split(counts, "train", protocol)
    assert total.tiles == len(training), (total.tiles, len(training))
    statistics = summarise(total, protocol=protocol, source=source, digest=shards_hash(root, training))
    shares = {"class_shares": class_shares(statistics.class_counts)}
    write_json(statistics_path(root, protocol), {**asdict(statistics), **shares})
    everything = shards_hash(root, counted_rows(root, manifest))
    document = {"protocol": protocol, "source": source, "shards_hash": everything, "groups": groups(counts, protocol)}
    write_json(groups_path(root, protocol), document)
    return statistics


def _groups_hash(root: Path, protocol: str) -> str:
    try:
        return str(read_json(groups_path(root, protocol))["shards_hash"])
    except (DataError, KeyError, TypeError):
        return ""


def _statistics_of(root: Path, protocol: str, digest: str) -> Statistics | None:
    """The statistics that stand there, if they are of just these shards and labels."""
    try:
        statistics = read_statistics(root, protocol)
    except DataError:
        return None
    return statistics if statistics.shards_hash == digest else None
