"""Statistics of the training split, as a record on disk: what every network's input is normalised with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files.atomic import read_json


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
        source: where the pixels came from: ``earthengine``, ``SANDBOX`` or ``UNVERIFIED <host>``.
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


STATISTICS_SPLITS = ("train", "val", "test")


def statistics_path(folder: Path, protocol: str) -> Path:
    return folder / f"stats-{protocol}.json"


def groups_path(folder: Path, protocol: str) -> Path:
    """Path of the numbers of each split, region and biome; training never reads them."""
    return folder / f"groups-{protocol}.json"


def read_statistics(folder: Path, protocol: str) -> Statistics:
    """Statistics that ``normalise`` wrote.

    Raises:
        DataError: there are none.
    """
    path = statistics_path(folder, protocol)
    if not path.is_file():
        raise DataError(f"{folder} has no statistics for protocol {protocol}; run 'dwplus normalise' first")
    try:
        content: dict[str, Any] = read_json(path)
        bands = {name: BandStatistics(**values) for name, values in content.pop("bands").items()}
        counts = tuple(content.pop("class_counts"))
        content.pop("class_shares", None)
        return Statistics(bands=bands, class_counts=counts, **content)
    except (DataError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} holds no statistics ({error}); run 'dwplus normalise' again") from None
