"""Statistics of the training split, as a record on disk: what every network's input is normalised with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from ..errors import DataError
from ..files.records import read_record
from ..spec.bands import SHARD_BANDS
from .added_pixels import read_added_pixels

_LARGEST_COUNT = 2**63
"""Counts are 64-bit integers wherever they are computed."""


@dataclass(frozen=True)
class BandStatistics:
    """Of one band over the valid pixels of a split, in physical units (reflectance, dB, count).

    Attributes:
        count: number of valid pixels.
        percentiles: by the percentage as text; records of earlier versions lack 0.1 and 99.9.
        log_mean, log_std: of Sentinel-2, mean and standard deviation of log(1 + 0.005 DN) (``spec.bands.log_scaled``);
            None for other bands, and in records of earlier versions.
    """

    count: int
    mean: float
    std: float
    min: float
    max: float
    percentiles: Mapping[str, float]
    log_mean: float | None = None
    log_std: float | None = None


@dataclass(frozen=True)
class Statistics:
    """What a network has to know about its training data.

    Attributes:
        protocol: which division into splits the numbers belong to.
        source: where the pixels came from: ``earthengine``, ``SANDBOX`` or ``UNVERIFIED <host>``.
        shards_hash: changes with any shard or label that entered.
        tiles: number of tiles.
        bands: band name -> statistics.
        class_counts: pixels of each class, in the order of the class table.
        ignored: pixels without a class (unmarked, cloud, no data).
        without_data: those of them that are marked and have no data in a band that networks read.
    """

    protocol: str
    source: str
    shards_hash: str
    tiles: int
    bands: Mapping[str, BandStatistics]
    class_counts: tuple[int, ...]
    ignored: int
    without_data: int = 0

    def fault(self, protocol: str, classes: int, *, stored: tuple[str, ...] = SHARD_BANDS) -> str:
        """Why a network cannot be trained with these numbers, as text; empty where it can.

        Args:
            classes: how many the data set has.
            stored: bands that the data set has.
        """
        if self.protocol != protocol:
            return f"it is of protocol {self.protocol!r}, not {protocol!r}"
        if missing := sorted(set(stored) - set(self.bands)):
            return f"it has no statistics of band {', '.join(missing)}"
        counts = (
            *self.class_counts,
            self.tiles,
            self.ignored,
            self.without_data,
            *(b.count for b in self.bands.values()),
        )
        if len(self.class_counts) != classes or not all(0 <= number < _LARGEST_COUNT for number in counts):
            return "numbers of tiles and of pixels are counts from 0 on, those of pixels one for each class"
        for name, band in self.bands.items():
            if not (isfinite(band.mean) and isfinite(band.std) and band.std >= 0 and band.min <= band.max):
                return f"mean, std, min and max of {name} are {band.mean}, {band.std}, {band.min} and {band.max}"
            if not (isfinite(band.log_mean or 0.0) and isfinite(band.log_std or 0.0) and (band.log_std or 0.0) >= 0):
                return f"log_mean and log_std of {name} are {band.log_mean} and {band.log_std}"
        return ""


STATISTICS_SPLITS = ("train", "val", "test")


def statistics_path(folder: Path, protocol: str) -> Path:
    return folder / f"stats-{protocol}.json"


def groups_path(folder: Path, protocol: str) -> Path:
    """Path of the numbers of each split, region and biome; training never reads them."""
    return folder / f"groups-{protocol}.json"


def read_statistics(folder: Path, protocol: str, *, classes: int) -> Statistics:
    """Statistics that ``normalise`` wrote, of a data set of so many classes.

    Raises:
        DataError: there are none.
    """
    path = statistics_path(folder, protocol)
    if not path.is_file():
        raise DataError(f"{folder} has no statistics for protocol {protocol}; run 'dwplus normalise' first")
    statistics = read_record(path, Statistics, remedy="run 'dwplus normalise' again")
    added = read_added_pixels(folder)
    fault = statistics.fault(protocol, classes, stored=SHARD_BANDS if added is None else added.stored)
    if fault:
        raise DataError(f"{path} cannot be used: {fault}; run 'dwplus normalise' again")
    return statistics
