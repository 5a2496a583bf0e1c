"""Statistics out of histograms: exact but for the last rounding to float64, in physical units.

Comes after ``histograms`` and before ``normalise``, which writes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dataset.manifest import Protocol
from ..dataset.statistics import BandStatistics, Statistics
from ..errors import DataError
from ..spec.bands import BANDS, NODATA, SHARD_BANDS, log_scaled
from .histograms import Cell, Counts, Histograms, merged

PER_MILLE = {"0.1": 1, "1": 10, "2": 20, "25": 250, "50": 500, "75": 750, "98": 980, "99": 990, "99.9": 999}
"""Percentiles by their name, in thousandths: whole numbers have exact ranks."""


def band_statistics(counts: NDArray[np.int64], band: str) -> BandStatistics:
    """Statistics of one band.

    Args:
        counts: int64 (n,), pixels per stored value; value 0 (no data) does not count.

    Raises:
        DataError: no pixel is valid.
    """
    scale, offset = BANDS[band].scale, BANDS[band].offset
    values = np.flatnonzero(counts)
    values = values[values != NODATA]
    numbers = counts[values]
    number = int(numbers.sum())
    if number == 0:
        raise DataError(f"band {band} has no valid pixel in the training split; run 'dwplus validate'")
    # Squares of 16 bits times 2^40 pixels (four million tiles) would not fit 64 bits: their two halves do. The sums are
    # exact, and put together as Python integers.
    squares = values * values
    total = int((values * numbers).sum())
    square = (int(((squares >> 16) * numbers).sum()) << 16) + int(((squares & 0xFFFF) * numbers).sum())
    variance = (number * square - total * total) / (number * number)
    ranks = np.cumsum(numbers)
    at = {name: int(values[np.searchsorted(ranks, -(-share * number // 1000))]) for name, share in PER_MILLE.items()}
    return BandStatistics(
        count=number,
        mean=total / number * scale + offset,
        std=math.sqrt(variance) * scale,
        min=int(values[0]) * scale + offset,
        max=int(values[-1]) * scale + offset,
        percentiles={p: value * scale + offset for p, value in at.items()},
        **_of_logarithms(values, numbers, band),
    )


def _of_logarithms(values: NDArray[np.int64], numbers: NDArray[np.int64], band: str) -> dict[str, float]:
    """``log_mean`` and ``log_std`` of a band of Sentinel-2 from its stored values and how often each occurs."""
    if BANDS[band].sensor != "S2":
        return {}
    logs = log_scaled(np.asarray(values * BANDS[band].scale, dtype=np.float64))
    mean = float(np.average(logs, weights=numbers))
    return {"log_mean": mean, "log_std": math.sqrt(np.average((logs - mean) ** 2, weights=numbers))}


def summarise(
    total: Histograms, *, protocol: str, source: str, digest: str, classes: int, stored: tuple[str, ...] = SHARD_BANDS
) -> Statistics:
    """Statistics of a split, of the bands that its data set has."""
    return Statistics(
        protocol=protocol,
        source=source,
        shards_hash=digest,
        tiles=total.tiles,
        bands={band: band_statistics(total.bands[band], band) for band in stored},
        class_counts=total.class_counts(classes),
        ignored=total.ignored(classes),
        without_data=total.without_data,
    )


def class_shares(counts: tuple[int, ...]) -> list[float]:
    """Share (0..1) of each class among the pixels with one; zeros where there are none."""
    total = sum(counts)
    return [number / total if total else 0.0 for number in counts]


# --- groups -----------------------------------------------------------------------------------------------------------


def of_split(counts: Counts, split: str, protocol: Protocol) -> Histograms:
    """Histograms of a split."""
    return merged(one for cell, one in sorted(counts.items()) if cell.split(protocol) == split)


def groups(counts: Counts, protocol: Protocol, classes: int) -> list[dict[str, Any]]:
    """What is in each split, and in each region and biome of it: for people and figures, never for training."""
    found = []
    for split in sorted({cell.split(protocol) for cell in counts}):
        inside = {cell: one for cell, one in sorted(counts.items()) if cell.split(protocol) == split}
        found.append(_group(inside, split, None, None, classes))
        found += [
            _group(_where(inside, _in_region(r)), split, r, None, classes) for r in sorted({c.region for c in inside})
        ]
        found += [
            _group(_where(inside, _in_biome(b)), split, None, b, classes) for b in sorted({c.biome for c in inside})
        ]
    return found


def _where(counts: Counts, test: Callable[[Cell], bool]) -> Counts:
    return {cell: one for cell, one in counts.items() if test(cell)}


def _in_region(region: str) -> Callable[[Cell], bool]:
    return lambda cell: cell.region == region


def _in_biome(biome: int) -> Callable[[Cell], bool]:
    return lambda cell: cell.biome == biome


def _group(counts: Counts, split: str, region: str | None, biome: int | None, classes: int) -> dict[str, Any]:
    total = merged(counts.values())
    class_counts = total.class_counts(classes)
    return {
        "split": split,
        "region": region,
        "biome": biome,
        "tiles": total.tiles,
        "class_counts": list(class_counts),
        "class_shares": class_shares(class_counts),
        "ignored": total.ignored(classes),
        "bands": {
            # Other than a whole split, a group may well have no valid pixel of a band.
            band: asdict(band_statistics(total.bands[band], band)) if total.bands[band][NODATA + 1 :].any() else None
            for band in SHARD_BANDS
        },
    }
