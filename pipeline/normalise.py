"""Normalise: exact statistics of the training split, which every network's input is normalised with.

Per band an integer histogram of the stored values; mean, standard deviation, extremes and percentiles follow from it.
Integers add up to the same sum in any order, so the result does not depend on workers, order or batches. Comes after
``validate`` and before ``dataset``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bands import BANDS, NODATA, SHARD_BANDS
from .cluster import Runner
from .errors import DataError
from .files import read_json, write_json
from .landcover import CLASS_COUNT, class_indices
from .ledger import read_ledger
from .manifest import Manifest, ManifestRow, Protocol
from .shards import read_bands, read_codes, shard_path
from .validate import bad_tiles, read_findings, validated_tiles

PERCENTILES = (1, 2, 25, 50, 75, 98, 99)
_VALUES = 65536


@dataclass(frozen=True)
class BandStatistics:
    """Of one band over the valid pixels of a split, in physical units (reflectance, dB, count)."""

    count: int
    mean: float
    std: float
    min: float
    max: float
    percentiles: Mapping[str, float]


@dataclass(frozen=True)
class Statistics:
    """What a network has to know about its training data.

    Attributes:
        protocol: which division into splits the numbers belong to.
        source: who answered: ``earthengine``, ``SANDBOX`` or ``UNVERIFIED <host>``.
        shards_hash: changes with any shard or label that entered.
        tiles: number of tiles.
        bands: band name -> statistics.
        class_counts: pixels of each of the nine classes.
        ignored: pixels without a class (unmarked, cloud).
    """

    protocol: str
    source: str
    shards_hash: str
    tiles: int
    bands: Mapping[str, BandStatistics]
    class_counts: tuple[int, ...]
    ignored: int


# --- usable tiles -----------------------------------------------------------------------------------------------------


def usable_rows(root: Path, manifest: Manifest, split: str, protocol: Protocol) -> tuple[ManifestRow, ...]:
    """Tiles of a split whose shard is complete and was found without error.

    Raises:
        DataError: the data set was not validated yet.
    """
    ledger, bad, seen = read_ledger(root), bad_tiles(read_findings(root)), validated_tiles(root)

    def usable(tile: str) -> bool:
        last = ledger.get(tile)
        # A shard that was written after the last validation has not been looked at.
        return last is not None and last.state == "done" and tile not in bad and seen.get(tile) == last.sha256

    return tuple(row for row in manifest.of_split(split, protocol) if usable(row.tile.id))


def shards_hash(root: Path, rows: Iterable[ManifestRow]) -> str:
    """Twelve hexadecimal digits that change with any shard or label of these tiles."""
    ledger = read_ledger(root)
    lines = sorted(f"{row.tile.id} {ledger[row.tile.id].sha256} {row.labeler} {row.label_sha256}" for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


# --- histograms -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Histograms:
    """Counts of stored values; sums of histograms are histograms.

    Attributes:
        bands: band -> int64 (65536,), pixels per stored value.
        classes: int64 (256,), pixels per class index, 255 = ignored.
    """

    bands: Mapping[str, NDArray[np.int64]]
    classes: NDArray[np.int64]

    def __add__(self, other: Histograms) -> Histograms:
        return Histograms({b: self.bands[b] + other.bands[b] for b in self.bands}, self.classes + other.classes)


def empty_histograms() -> Histograms:
    zeros = {band: np.zeros(_VALUES, dtype=np.int64) for band in SHARD_BANDS}
    return Histograms(zeros, np.zeros(256, dtype=np.int64))


def tile_histograms(row: ManifestRow, root: Path) -> Histograms:
    """Histograms of one tile."""
    pixels = read_bands(shard_path(root, row.tile), SHARD_BANDS)
    bands = {b: np.bincount(pixels[i].ravel(), minlength=_VALUES) for i, b in enumerate(SHARD_BANDS)}
    codes = read_codes(root / row.label)
    return Histograms(bands, np.bincount(class_indices(codes).ravel(), minlength=256))


@dataclass(frozen=True)
class CountBatch:
    """The task of one worker (a class, so that it can be sent to other processes)."""

    root: Path

    def __call__(self, rows: Sequence[ManifestRow]) -> Histograms:
        total = empty_histograms()
        for row in rows:
            total += tile_histograms(row, self.root)
        return total


def band_statistics(counts: NDArray[np.int64], band: str) -> BandStatistics:
    """Statistics of one band, exact but for the last rounding to float64.

    Args:
        counts: int64 (65536,), pixels per stored value; value 0 (no data) does not count.
    """
    scale, offset = BANDS[band].scale, BANDS[band].offset
    valid = np.where(np.arange(_VALUES) == NODATA, 0, counts)
    values = np.flatnonzero(valid)
    number = int(valid.sum())
    if number == 0:
        raise DataError(f"band {band} has no valid pixel in the training split; run 'dwplus validate'")
    # Python integers: no overflow, no order of summation.
    total = sum(int(v) * int(valid[v]) for v in values)
    squares = sum(int(v) * int(v) * int(valid[v]) for v in values)
    variance = (number * squares - total * total) / (number * number)
    ranks = np.cumsum(valid)
    at = {str(p): int(np.searchsorted(ranks, math.ceil(p / 100 * number))) for p in PERCENTILES}
    return BandStatistics(
        count=number,
        mean=total / number * scale + offset,
        std=math.sqrt(variance) * scale,
        min=int(values[0]) * scale + offset,
        max=int(values[-1]) * scale + offset,
        percentiles={p: value * scale + offset for p, value in at.items()},
    )


def summarise(total: Histograms, *, protocol: str, source: str, digest: str, tiles: int) -> Statistics:
    return Statistics(
        protocol=protocol,
        source=source,
        shards_hash=digest,
        tiles=tiles,
        bands={band: band_statistics(total.bands[band], band) for band in SHARD_BANDS},
        class_counts=tuple(int(n) for n in total.classes[:CLASS_COUNT]),
        ignored=int(total.classes[CLASS_COUNT:].sum()),
    )


# --- the stage --------------------------------------------------------------------------------------------------------


def _check_one_recipe(root: Path, rows: Sequence[ManifestRow]) -> None:
    ledger = read_ledger(root)
    recipes = {(ledger[row.tile.id].source, ledger[row.tile.id].recipe) for row in rows}
    if len(recipes) > 1:
        raise DataError(
            f"{root} holds shards of {len(recipes)} recipes (a build with a new one was stopped?): averages in dB and "
            "of power do not mix; let 'dwplus build' finish with one recipe"
        )


def statistics_path(root: Path, protocol: str) -> Path:
    return root / f"stats-{protocol}.json"


def normalise(
    root: Path,
    manifest: Manifest,
    protocol: Protocol,
    *,
    run: Runner,
    on_batch: Callable[[int], None] | None = None,
    all_again: bool = True,
) -> Statistics:
    """Statistics of the training split, also written to ``stats-<protocol>.json``.

    Args:
        all_again: count also where the statistics that stand there are of the same shards and labels.

    Raises:
        DataError: no training tile is usable, or the data set was not validated yet.
    """
    rows = usable_rows(root, manifest, "train", protocol)
    if not rows:
        raise DataError(f"{root} holds no usable training tile; build some with 'dwplus build --split train'")
    _check_one_recipe(root, rows)
    digest = shards_hash(root, rows)
    if not all_again and (current := _statistics_of(root, protocol, digest)) is not None:
        return current
    total = empty_histograms()
    for tiles, part in run(CountBatch(root), rows):
        total += part
        if on_batch is not None:
            on_batch(tiles)
    source = read_ledger(root)[rows[0].tile.id].source
    statistics = summarise(total, protocol=protocol, source=source, digest=digest, tiles=len(rows))
    write_json(statistics_path(root, protocol), asdict(statistics))
    return statistics


def _statistics_of(root: Path, protocol: str, digest: str) -> Statistics | None:
    """The statistics that stand there, if they are of just these shards and labels."""
    try:
        statistics = read_statistics(root, protocol)
    except DataError:
        return None
    return statistics if statistics.shards_hash == digest else None


def read_statistics(root: Path, protocol: str) -> Statistics:
    """Statistics that ``normalise`` wrote.

    Raises:
        DataError: there are none.
    """
    path = statistics_path(root, protocol)
    if not path.is_file():
        raise DataError(f"{root} has no statistics for protocol {protocol}; run 'dwplus normalise' first")
    try:
        content: dict[str, Any] = read_json(path)
        bands = {name: BandStatistics(**values) for name, values in content.pop("bands").items()}
        counts = tuple(content.pop("class_counts"))
        return Statistics(bands=bands, class_counts=counts, **content)
    except (DataError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} holds no statistics ({error}); run 'dwplus normalise' again") from None
