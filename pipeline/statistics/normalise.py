"""Normalise: exact statistics of the training split, which every network's input is normalised with.

One pass over the pixels counts stored values (``histograms``); mean, standard deviation, extremes and percentiles of
both protocols, and of each split, region and biome, follow from the counts (``summary``). Comes after ``validate``
and before ``samples``. ``inspection`` validates and counts in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from ..cluster import Runner
from ..dataset.manifest import PROTOCOLS, ManifestRow, Protocol
from ..dataset.root import DataRoot
from ..dataset.statistics import STATISTICS_SPLITS, Statistics
from ..errors import DataError
from ..files.records import read_record, write_record
from ..raster.geotiff import read_bands, read_codes
from ..raster.targets import Targets
from ..spec.bands import SHARD_BANDS
from .histograms import Counts, Packed, add_counts, cell_of, count_pixels, pack, unpack
from .summary import class_shares, groups, of_split, summarise

# --- usable tiles -----------------------------------------------------------------------------------------------------


# --- counting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CountBatch:
    """The task of one worker (a class, so that it can be sent to other processes)."""

    root: DataRoot
    targets: Targets

    def __call__(self, items: Sequence[tuple[ManifestRow, str]]) -> Packed:
        """Histograms of tiles, each with the hash of its shard by the ledger."""
        self.root.check_in_sight()
        total: Counts = {}
        for row, sha256 in items:
            pixels = read_bands(self.root.shard(row.tile), SHARD_BANDS, sha256=sha256)
            codes = read_codes(self.root.label(row), sha256=row.label_written_sha256)
            add_counts(total, {cell_of(row): count_pixels(pixels, codes, self.targets)})
        return pack(total)


def count_tiles(
    root: DataRoot, rows: Sequence[ManifestRow], *, run: Runner, on_batch: Callable[[int], None] | None = None
) -> Counts:
    """Histograms of tiles by cell.

    Raises:
        DataError: a shard or label is damaged.
    """
    total: Counts = {}
    # Neighbours in this order share a cell, so that a batch has few of them to send.
    ordered = sorted(rows, key=lambda row: (cell_of(row), row.tile.id))
    ledger = root.ledger()
    for tiles, part in run(CountBatch(root, root.targets()), [(row, ledger[row.tile.id].sha256) for row in ordered]):
        add_counts(total, unpack(part))
        if on_batch is not None:
            on_batch(tiles)
    return total


@dataclass
class Counted:
    """Histograms of tiles that were counted while their pixels were in memory (``inspection``).

    Attributes:
        counts: of all those tiles, by cell.
        tiles: their ids.
    """

    counts: Counts = field(default_factory=dict)
    tiles: set[str] = field(default_factory=set)


def count_others(
    root: DataRoot,
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
    usable = {row.tile.id: row for row in counted_rows(root)}
    surplus = [row for row in root.manifest().rows if row.tile.id in counted.tiles - usable.keys()]
    missing = [row for tile, row in usable.items() if tile not in counted.tiles]
    if on_batch is not None:
        on_batch(len(usable) - len(missing))
    total = counted.counts
    if missing:
        add_counts(total, count_tiles(root, missing, run=run, on_batch=on_batch))
    if surplus:
        add_counts(total, count_tiles(root, surplus, run=run), -1)
    return {cell: one for cell, one in total.items() if one.tiles}


def counted_rows(root: DataRoot) -> tuple[ManifestRow, ...]:
    """Tiles whose pixels enter some statistics: the usable ones of all splits.

    Raises:
        DataError: the data set was not validated yet.
    """
    found = {
        row.tile.id: row
        for protocol in PROTOCOLS
        for split in STATISTICS_SPLITS
        for row in root.usable(split, protocol)
    }
    return tuple(found[tile] for tile in sorted(found))


# --- the stage --------------------------------------------------------------------------------------------------------


def _check_one_recipe(root: DataRoot, rows: Sequence[ManifestRow]) -> None:
    ledger = root.ledger()
    recipes = {(ledger[row.tile.id].source, ledger[row.tile.id].recipe) for row in rows}
    if len(recipes) > 1:
        raise DataError(
            f"{root} holds shards of {len(recipes)} recipes (a build with a new one was stopped?): averages in dB and "
            "of power do not mix; let 'dwplus build' finish with one recipe"
        )


def up_to_date(root: DataRoot, protocols: Sequence[Protocol] = PROTOCOLS) -> bool:
    """Whether statistics and groups of all protocols are those of the usable tiles as they are now."""
    everything = root.content_hash(counted_rows(root))
    return all(
        _statistics_of(root, p, root.content_hash(root.usable("train", p))) is not None
        and _groups_hash(root, p) == everything
        for p in protocols
    )


def check_usable(root: DataRoot, protocol: Protocol) -> None:
    """Refuse a data root that has no statistics of its training split.

    Raises:
        DataError: no training tile is usable, shards of two recipes are mixed, or nothing was validated yet.
    """
    rows = root.usable("train", protocol)
    if not rows:
        raise DataError(f"{root} holds no usable training tile; build some with 'dwplus build --split train'")
    _check_one_recipe(root, rows)


def write_statistics(root: DataRoot, protocol: Protocol, counts: Counts) -> Statistics:
    """Write what follows from the counts of ``counted_rows``; the statistics of the training split."""
    training = root.usable("train", protocol)
    source = root.ledger()[training[0].tile.id].source
    total = of_split(counts, "train", protocol)
    assert total.tiles == len(training), (total.tiles, len(training))
    classes = len(root.classes())
    statistics = summarise(
        total,
        protocol=protocol,
        source=source,
        digest=root.content_hash(training),
        classes=classes,
        stored=root.targets().stored,
    )
    shares = {"class_shares": class_shares(statistics.class_counts)}
    write_record(root.statistics_file(protocol), {**asdict(statistics), **shares})
    everything = root.content_hash(counted_rows(root))
    document = {
        "protocol": protocol,
        "source": source,
        "shards_hash": everything,
        "groups": groups(counts, protocol, classes),
    }
    write_record(root.groups_file(protocol), document)
    return statistics


def _groups_hash(root: DataRoot, protocol: str) -> str:
    try:
        return str(read_record(root.groups_file(protocol), dict, remedy="")["shards_hash"])
    except (DataError, KeyError):
        return ""


def _statistics_of(root: DataRoot, protocol: str, digest: str) -> Statistics | None:
    """The statistics on disk, if they are of exactly these shards and labels."""
    try:
        statistics = root.statistics(protocol)
    except DataError:
        return None
    return statistics if statistics.shards_hash == digest else None
