"""One acquisition with its geometry: what sentinel1 and sentinel2 make, and the catalogue finds and reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from ..planet import utm
from ..planet.protocol import ViewGeometry
from ..scene import Scene

Polygon = tuple[tuple[float, float], ...]
"""Convex polygon of (easting, signed northing), counter-clockwise, not closed."""


@dataclass(frozen=True)
class Acquisition:
    """A scene, the part of its grid that was seen, and what the planet needs to know of it."""

    scene: Scene
    zone: int
    seen: Polygon
    geometry: ViewGeometry


def clipped(polygon: Polygon, start: tuple[float, float], end: tuple[float, float]) -> Polygon:
    """What of a convex polygon lies to the left of the line from ``start`` to ``end``."""
    sides = [_side(start, end, *corner) for corner in polygon]
    kept: list[tuple[float, float]] = []
    for number, (corner, side) in enumerate(zip(polygon, sides, strict=True)):
        before, side_before = polygon[number - 1], sides[number - 1]
        if (side >= 0) != (side_before >= 0):
            t = side_before / (side_before - side)
            kept.append((before[0] + t * (corner[0] - before[0]), before[1] + t * (corner[1] - before[1])))
        if side >= 0:
            kept.append(corner)
    return tuple(kept)


def _side(start: tuple[float, float], end: tuple[float, float], x: float, y: float) -> float:
    """Positive to the left of the line."""
    return (end[0] - start[0]) * (y - start[1]) - (end[1] - start[1]) * (x - start[0])


def area(polygon: Polygon) -> float:
    """Square metres; positive if counter-clockwise."""
    return sum((x0 * y1 - x1 * y0) / 2 for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True))


def inside(polygon: Polygon, grid: utm.UtmGrid) -> NDArray[np.bool_]:
    """bool (rows, cols): which pixel centres lie in a convex polygon."""
    x, y = grid.eastings, grid.northings
    mask = np.ones(grid.shape, bool)
    for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        along_x, along_y = (y - y0) * (x1 - x0), (x - x0) * (y1 - y0)
        if along_x.min() >= along_y.max():
            continue
        mask &= along_x[:, None] >= along_y[None, :]
    return mask


def footprint(polygon: Polygon, zone: int, points: int = 4) -> tuple[tuple[float, float], ...]:
    """(lon, lat) outline of a polygon, ``points`` per side; longitudes in one turn, so they may exceed 180."""
    x, y = [], []
    for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        for k in range(points):
            x.append(x0 + (x1 - x0) * k / points)
            y.append(y0 + (y1 - y0) * k / points)
    lon, lat = utm.inverse(np.array(x), np.array(y), zone)
    if lon.min() < -180:
        lon = lon + 360
    return tuple(zip(lon.tolist(), lat.tolist(), strict=True))


def stamp(seconds: float) -> str:
    """``YYYYMMDDTHHMMSS`` of a time in seconds since 1970 UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y%m%dT%H%M%S")


def seconds_of(stamp: str) -> int | None:
    """Inverse of `stamp`, or None where the text is no such time."""
    try:
        return int(datetime.strptime(stamp, "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def day_of_year(seconds: float) -> int:
    return datetime.fromtimestamp(int(seconds), UTC).timetuple().tm_yday
