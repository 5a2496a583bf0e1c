"""Footprints: which tiles share ground, measured in metres. Pure geometry, no files.

Two tiles of one CRS are compared there, where their edges are straight; of two tiles in different CRS one is brought
into the other's. Degrees only find the neighbours: the straight line between two corners in degrees leaves the edge of
a tile by half a metre at 45 and 4 m at 83 degrees of latitude, so that tiles which merely touch would seem to overlap.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from shapely import STRtree

from .tiles import RESOLUTION_M, Tile, locate

LEAST_SHARED_M2 = 0.01
"""Two tiles of one CRS overlap when they share more ground than this: touching edges and rounding do not count."""

LEAST_SHARED_ACROSS_M2 = RESOLUTION_M**2
"""The same for tiles of two CRS, one pixel: an edge that is straight in one is bent by up to 2 cm in the other."""

_MARGIN_DEG = 5e-4
"""Added to boxes in degrees when neighbours are looked for: 55 m, more than an edge can leave its chord."""


BLOCK_DEG = 2.0
"""Side of the geographic blocks that validation tiles of released labels are set apart by."""


def block_of(lon: float, lat: float) -> tuple[int, int]:
    """Geographic block of a place: (column, row), counted from 0 E, 0 N."""
    return math.floor(lon / BLOCK_DEG), math.floor(lat / BLOCK_DEG)


def shared_ground(tiles: Sequence[Tile], others: Sequence[Tile]) -> list[tuple[int, int, float]]:
    """Pairs of tiles that share ground: (position in ``tiles``, position in ``others``, share of the first, 0..1).

    Works across zones and across the antimeridian; edges that touch share nothing. Sorted.
    """
    if not tiles or not others:
        return []
    pairs = _close_pairs(tiles, others)
    found = []
    # Pairs of the same two CRS are compared together.
    for crs, members in _by_crs(tiles[i] for i, _ in pairs).items():
        for other_crs, positions in _by_crs(others[pairs[m][1]] for m in members).items():
            chosen = [pairs[members[p]] for p in positions]
            a, b = _bounds([tiles[i] for i, _ in chosen]), _bounds([others[j] for _, j in chosen])
            shared = _shared_in_one_crs(a, b) if crs == other_crs else _shared_across(a, b, crs, other_crs)
            least = LEAST_SHARED_M2 if crs == other_crs else LEAST_SHARED_ACROSS_M2
            shares = shared / (a[:, 2:] - a[:, :2]).prod(axis=1)
            found += [(*chosen[k], min(float(shares[k]), 1.0)) for k in np.flatnonzero(shared > least)]
    return sorted(found)


def _close_pairs(tiles: Sequence[Tile], others: Sequence[Tile]) -> list[tuple[int, int]]:
    """Pairs of positions whose boxes in degrees meet; a few more than share ground."""
    mine, theirs = _boxes(tiles), _boxes(others)
    tree = STRtree(shapely.box(*theirs.T))
    pairs: set[tuple[int, int]] = set()
    # Next to the antimeridian a box may meet others a whole turn away.
    for turn, asked in ((0.0, mine[:, 0] < 999), (-360.0, mine[:, 2] > 179), (360.0, mine[:, 0] < -179)):
        positions = np.flatnonzero(asked)
        i, j = tree.query(shapely.box(*(mine[positions] + (turn, 0.0, turn, 0.0)).T))
        pairs.update(zip(positions[i].tolist(), j.tolist(), strict=True))
    return sorted(pairs)


def _boxes(tiles: Sequence[Tile]) -> NDArray[np.float64]:
    """float64 (tiles, 4): west, south, east, north in degrees, a margin included."""
    locate(tiles)
    corners = np.array([tile.outline for tile in tiles], dtype=np.float64)
    low, high = corners.min(axis=1), corners.max(axis=1)
    lat = np.minimum(np.maximum(np.abs(low[:, 1]), np.abs(high[:, 1])), 89.0)
    margin = np.stack([_MARGIN_DEG / np.cos(np.radians(lat)), np.full(len(lat), _MARGIN_DEG)], axis=1)
    return np.concatenate([low - margin, high + margin], axis=1)


def _shared_in_one_crs(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    area: NDArray[np.float64] = np.maximum(sides, 0).prod(axis=1)
    return area


def _shared_across(a: NDArray[np.float64], b: NDArray[np.float64], crs: str, other_crs: str) -> NDArray[np.float64]:
    square = _corners(b)
    x, y = _between(other_crs, crs).transform(square[..., 0].ravel(), square[..., 1].ravel())
    brought = shapely.polygons(np.stack([x, y], axis=-1).reshape(-1, 4, 2))
    area: NDArray[np.float64] = shapely.area(shapely.intersection(shapely.polygons(_corners(a)), brought))
    return area


@cache
def _between(crs: str, other_crs: str) -> Transformer:
    return Transformer.from_crs(crs, other_crs, always_xy=True)


def _by_crs(tiles: Iterable[Tile]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for i, tile in enumerate(tiles):
        groups[tile.crs].append(i)
    return groups


def _bounds(tiles: Sequence[Tile]) -> NDArray[np.float64]:
    return np.array([tile.bounds for tile in tiles], dtype=np.float64).reshape(-1, 4)


def _corners(bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 (tiles, 4, 2): corners counter-clockwise from the lower left, of bounds (x_min, y_min, x_max, y_max)."""
    x_min, y_min, x_max, y_max = bounds.T
    return np.stack([x_min, y_min, x_max, y_min, x_max, y_max, x_min, y_max], axis=1).reshape(-1, 4, 2)


EARTH_RADIUS_KM = 6371.0088
"""Mean radius (IUGG); a sphere is off by at most 0.6 %."""


_AT_ONCE = 512
"""Rows of the table of distances that are held at a time: 512 x 20,000 float64 are 82 MB."""


def nearest_km(places: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 (places): km along the great circle from each place to the nearest of the others.

    Args:
        places, others: float64 (n, 2), longitude and latitude in degrees; ``others`` has at least one.
    """
    a, b = _unit_vectors(places), _unit_vectors(others)
    nearest = np.empty(len(a))
    for start in range(0, len(a), _AT_ONCE):
        part = a[start : start + _AT_ONCE]
        chosen = b[np.argmax(part @ b.T, axis=1)]
        # From the chord, not the cosine: a cosine next to 1 loses metres.
        half = np.linalg.norm(part - chosen, axis=1) / 2
        nearest[start : start + _AT_ONCE] = 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(half, 1.0))
    return nearest


def _unit_vectors(places: NDArray[np.float64]) -> NDArray[np.float64]:
    lon, lat = np.radians(places.reshape(-1, 2).T)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
