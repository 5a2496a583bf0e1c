"""Scores of parts of a split: by biome, region, annotator, season, distance to the nearest training tile.

Computed from the counts of tiles, so that no network runs again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...pipeline.spec.tiles import biome_names
from ..metrics import METRICS, Metric, TileCounts
from .bootstrap import design_of
from .intervals import Intervals, intervals_of
from .tile_table import TileRecord, TileTable

_SEASONS = ("December to February", "March to May", "June to August", "September to November")
_NAMED_SEASONS = ("winter", "spring", "summer", "autumn")

_YEAR = (*_NAMED_SEASONS, *(f"tropics, {months}" for months in _SEASONS))
"""Names of seasons in their order."""

DISTANCES_KM = (10.0, 50.0, 200.0)
"""Edges of the groups of distances: tiles that nearly touch a training tile, of the same landscape, and beyond."""


def _biome(record: TileRecord) -> str:
    return f"{record.biome} {biome_names().get(record.biome, 'not known')}"


def _annotator(record: TileRecord) -> str:
    return record.annotator or record.labeler or "not known"


def season(record: TileRecord) -> str:
    """Meteorological season of the hemisphere; within the tropics the months alone say something."""
    quarter = record.date.month % 12 // 3
    if abs(record.lat) < 23.44:
        return f"tropics, {_SEASONS[quarter]}"
    return _NAMED_SEASONS[(quarter + 2 * (record.lat < 0)) % 4]


def distance(record: TileRecord) -> str:
    """``10 to 50 km``."""
    if math.isnan(record.km):
        return "not known"
    edges = (0.0, *DISTANCES_KM)
    place = max(n for n, edge in enumerate(edges) if record.km >= edge)
    return f"{edges[place]:g} to {edges[place + 1]:g} km" if place + 1 < len(edges) else f"over {edges[place]:g} km"


GROUPS: Mapping[str, Callable[[TileRecord], str]] = {
    "biome": _biome,
    "region": lambda record: record.region,
    "annotator": _annotator,
    "season": season,
    "distance": distance,
}
"""What tiles can be grouped by -> the group of a tile."""


@dataclass(frozen=True)
class Group:
    """A part of a split.

    Attributes:
        name: ``4 Temperate Broadleaf & Mixed Forests``, ``10 to 50 km``, ...
        tiles: how many it has.
        counts: of all of them together.
        intervals: of its scores; too few tiles for one is the rule rather than the exception.
        outside: share of its pixels that are outside the training range in some band; None where that is not known.
    """

    name: str
    tiles: int
    counts: TileCounts
    intervals: Intervals
    outside: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "group": self.name,
            "tiles": self.tiles,
            **self.counts.scores(),
            "outside": self.outside,
            "intervals": self.intervals.to_dict(),
        }


def grouped(table: TileTable, by: str, *, metrics: Sequence[Metric] = METRICS) -> list[Group]:
    """Groups of a table's tiles, in order of their names, where numbers count as numbers; seasons as the year goes.

    Args:
        by: key of ``GROUPS``.
        metrics: that have intervals.
    """
    names = np.array([GROUPS[by](record) for record in table.records])
    return [_group(table, name, names == name, metrics) for name in sorted(set(names.tolist()), key=_order)]


def _order(name: str) -> tuple[float, str]:
    if name in _YEAR:
        return _YEAR.index(name), name
    first = name.partition(" ")[0]
    if name.startswith("over "):
        return math.inf, name
    return (float(first) if first.replace(".", "", 1).isdigit() else -1.0, name)


def _group(table: TileTable, name: str, chosen: np.ndarray, metrics: Sequence[Metric]) -> Group:
    part = table.part(chosen)
    intervals = intervals_of(part.sums, design_of(part.records), table.names, metrics=metrics)
    outside = None if part.outside is None else part.outside.shares().pixels
    return Group(name, len(part), part.counts(), intervals, outside)


def ranked(table: TileTable) -> list[tuple[TileRecord, float]]:
    """Tiles with pixels that count and their overall accuracy, the best first; equals in order of their ids."""
    sums = table.sums
    right, pixels = sums.hit.sum(1), sums.pixels
    known = [(table.records[place], float(right[place] / pixels[place])) for place in np.flatnonzero(pixels)]
    return sorted(known, key=lambda one: (-one[1], one[0].id))
