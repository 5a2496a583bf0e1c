"""Features onto the cells of the 10 m grid: to longitude and latitude, over the date line, to UTM, cut at cells.

Coordinates are rounded to a millimetre in UTM, so that a polygon that comes from EPSG:3035, 4326, 32633 or 2154 has the
same corners, and a pixel centre on an edge is decided the same way. Edges longer than 5 km are straight in the CRS of
the file: corners are put between before they are transformed. Comes after ``vectors``, before ``spill``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.enums import TransformDirection

from ..spec.tiles import RESOLUTION_M
from .grid import NORTHERNMOST, SOUTHERNMOST, Zone, between, zones_between

LONGEST_EDGE_M = 5000.0
"""The chord of an edge of this length leaves it by at most half a metre, in any CRS."""

_METRES_PER_DEGREE = 111_320.0
_DECIMALS = 3
_MARGIN_DEG = 0.5
"""Beyond the edge of its zone that a piece keeps: more than a cell."""

_CELL_MARGIN_M = 2 * RESOLUTION_M

Shapes = NDArray[np.object_]
Transform = Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[Any, Any]]


@dataclass(frozen=True)
class Piece:
    """The part of a feature on one cell.

    Attributes:
        position: of the feature in its batch.
        column, row: of the cell, see ``grid.cell``.
        shape: in the CRS of the zone, metres.
    """

    position: int
    zone: Zone
    column: int
    row: int
    shape: shapely.Geometry


def to_lon_lat(shapes: Shapes, crs: pyproj.CRS) -> Shapes:
    """Geometries in degrees; where they cross the date line, longitudes go on beyond 180.

    What cannot be transformed has coordinates that are not finite.
    """
    if crs.is_geographic:
        shapes = _over_the_date_line(shapes)
    to_degrees = _exactly(between(crs, "EPSG:4326")) if crs.is_projected else between(crs, "EPSG:4326").transform
    return _over_the_date_line(_transformed(_with_short_edges(shapes, crs), to_degrees))


def lies_on_earth(shapes: Shapes) -> NDArray[np.bool_]:
    """bool (n): whether geometries in degrees have places on the Earth as coordinates."""
    bounds = shapely.bounds(shapes)
    with np.errstate(invalid="ignore"):
        within = (np.abs(bounds[:, [0, 2]]) <= 540).all(axis=1) & (np.abs(bounds[:, [1, 3]]) <= 90).all(axis=1)
    there: NDArray[np.bool_] = within & np.isfinite(bounds).all(axis=1)
    return there


def lies_in_utm(shapes: Shapes) -> NDArray[np.bool_]:
    """bool (n): whether geometries in degrees lie, at least in part, between 80 S and 84 N."""
    bounds = shapely.bounds(shapes)
    inside: NDArray[np.bool_] = (bounds[:, 3] >= SOUTHERNMOST) & (bounds[:, 1] <= NORTHERNMOST)
    return inside


def in_utm(shapes: Shapes) -> Iterator[tuple[Zone, NDArray[np.int64], Shapes]]:
    """Geometries in degrees, zone by zone: zone, positions, and the geometries in its CRS, rounded to a millimetre.

    A geometry over several zones comes once for each of them.
    """
    bounds = shapely.bounds(shapes)
    members: dict[Zone, list[int]] = {}
    for position, box in enumerate(bounds.tolist()):
        for zone in zones_between(*box):
            members.setdefault(zone, []).append(position)
    for zone in sorted(members):
        positions = np.array(members[zone], dtype=np.int64)
        near = _near_zone(shapes[positions], bounds[positions], zone)
        there = ~(shapely.is_empty(near) | shapely.is_missing(near))
        yield zone, positions[there], _transformed(near[there], zone.from_lon_lat.transform, decimals=_DECIMALS)


def _near_zone(shapes: Shapes, bounds: NDArray[np.float64], zone: Zone) -> Shapes:
    """Geometries cut to the surroundings of a zone: far from its meridian, UTM is no projection any more."""
    south, north = zone.latitudes
    found = shapes.copy()
    for n, (west, low, east, high) in enumerate(bounds.tolist()):
        # The turn of the zone's longitudes that the geometry lies on.
        turns = range(math.floor((west - zone.west - 6) / 360), math.ceil((east - zone.west) / 360) + 1)
        low_edge, high_edge = max(south, SOUTHERNMOST) - _MARGIN_DEG, min(north, NORTHERNMOST) + _MARGIN_DEG
        wests = [zone.west + 360 * turn for turn in turns]
        boxes = [(edge - _MARGIN_DEG, low_edge, edge + 6 + _MARGIN_DEG, high_edge) for edge in wests]
        if any(b[0] <= west and east <= b[2] and b[1] <= low and high <= b[3] for b in boxes):
            continue
        parts = [shapely.intersection(shapes[n], shapely.box(*b)) for b in boxes]
        parts = [part for part in parts if not part.is_empty]
        found[n] = parts[0] if len(parts) == 1 else shapely.union_all(parts) if parts else None
    return found


def area_in_zone(shape: shapely.Geometry, zone: Zone) -> float:
    """Square metres, in the CRS of a zone, of the part of a geometry in degrees that lies in the zone."""
    part = part_in_zone(shape, zone)
    return 0.0 if part is None else float(shapely.area(part))


def part_in_zone(shape: shapely.Geometry, zone: Zone, *, longest_m: float | None = None) -> shapely.Geometry | None:
    """The part of a geometry in degrees that lies in a zone, in its CRS; None where there is none.

    Args:
        longest_m: of its edges; None = corners are put nowhere.
    """
    south, north = zone.latitudes
    west, _, east, _ = shape.bounds
    parts = []
    for turn in range(math.floor((west - zone.west - 6) / 360), math.ceil((east - zone.west) / 360) + 1):
        within = shapely.box(zone.west + 360 * turn, south, zone.west + 360 * turn + 6, north)
        part = shapely.intersection(shape, within)
        if part.area > 0:
            parts.append(part if longest_m is None else shapely.segmentize(part, longest_m / _METRES_PER_DEGREE))
    if not parts:
        return None
    moved = _transformed(np.array(parts, dtype=object), zone.from_lon_lat.transform)
    found: shapely.Geometry = moved[0] if len(moved) == 1 else shapely.union_all(moved)
    return found


def pieces(zone: Zone, positions: NDArray[np.int64], shapes: Shapes, tile_px: int) -> Iterator[Piece]:
    """Geometries in the CRS of a zone, cut at the cells that they meet."""
    side = tile_px * RESOLUTION_M
    cells = np.floor(shapely.bounds(shapes) / side)
    for position, shape, (left, low, right, high) in zip(positions.tolist(), shapes, cells.tolist(), strict=True):
        if (left, low) == (right, high):
            yield Piece(position, zone, int(left), int(low), shape)
        elif shape.geom_type in ("Point", "MultiPoint"):
            yield from _points(position, zone, shape, side)
        else:
            yield from _cut(position, zone, shape, (int(left), int(low), int(right), int(high)), side)


def _points(position: int, zone: Zone, shape: shapely.Geometry, side: float) -> Iterator[Piece]:
    for point in shapely.get_parts(shape):
        yield Piece(position, zone, math.floor(point.x / side), math.floor(point.y / side), point)


def _cut(
    position: int, zone: Zone, shape: shapely.Geometry, cells: tuple[int, int, int, int], side: float
) -> Iterator[Piece]:
    """Halve the cells again and again: each cut works on what the one before left over."""
    left, low, right, high = cells
    margin = _CELL_MARGIN_M
    part = shapely.clip_by_rect(
        shape, left * side - margin, low * side - margin, (right + 1) * side + margin, (high + 1) * side + margin
    )
    if part.is_empty:
        return
    if (left, low) == (right, high):
        yield Piece(position, zone, left, low, part)
    elif right - left >= high - low:
        middle = (left + right) // 2
        yield from _cut(position, zone, part, (left, low, middle, high), side)
        yield from _cut(position, zone, part, (middle + 1, low, right, high), side)
    else:
        middle = (low + high) // 2
        yield from _cut(position, zone, part, (left, low, right, middle), side)
        yield from _cut(position, zone, part, (left, middle + 1, right, high), side)


# Coordinates ----------------------------------------------------------------------------------------------------------


def _transformed(shapes: Shapes, transform: Transform, *, decimals: int | None = None) -> Shapes:
    def convert(points: NDArray[np.float64]) -> NDArray[np.float64]:
        if not len(points):
            return points
        moved = np.stack(transform(points[:, 0], points[:, 1]), axis=1)
        return moved if decimals is None else np.round(moved, decimals)

    found: Shapes = shapely.transform(shapes, convert)
    return found


def _exactly(transformer: pyproj.Transformer) -> Transform:
    """A transformation from a projection that its inverse takes back to where it began.

    PROJ's series for some projections (Lambert's equal-area one of EPSG:3035) leave a third of a millimetre.
    """

    def transform(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[Any, Any]:
        lon, lat = transformer.transform(x, y)
        back = transformer.transform(lon, lat, direction=TransformDirection.INVERSE)
        with np.errstate(invalid="ignore"):
            off_x, off_y = x - back[0], y - back[1]
            near = np.hypot(off_x, off_y) < _NEAR
        if not np.hypot(off_x[near], off_y[near]).max(initial=0) > _EXACT:
            return lon, lat
        better: tuple[Any, Any] = transformer.transform(x + np.where(near, off_x, 0), y + np.where(near, off_y, 0))
        return better

    return transform


_EXACT, _NEAR = 1e-6, 1.0
"""Units of the CRS: what is off by less is right, what is off by more lies on another turn of the Earth."""


def _with_short_edges(shapes: Shapes, crs: pyproj.CRS) -> Shapes:
    """Corners put into edges that are longer than 5 km; most files have none."""
    longest = LONGEST_EDGE_M / (_METRES_PER_DEGREE if crs.is_geographic else _metres_per_unit(crs))
    bounds = shapely.bounds(shapes)
    long = np.hypot(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1]) > longest
    if not long.any():
        return shapes
    found = shapes.copy()
    cut = shapely.segmentize(shapes[long], longest)
    # A polygon without area has nothing to put corners into.
    found[long] = np.where(shapely.is_empty(cut), shapes[long], cut)
    return found


def _metres_per_unit(crs: pyproj.CRS) -> float:
    return float(crs.axis_info[0].unit_conversion_factor or 1.0) if crs.axis_info else 1.0


def _over_the_date_line(shapes: Shapes) -> Shapes:
    """Geometries in degrees whose rings jump from 180 to -180 go on beyond 180 instead.

    An edge of more than half a turn of longitude is taken for one that crosses the date line.
    """
    bounds = shapely.bounds(shapes)
    with np.errstate(invalid="ignore"):
        wide = np.flatnonzero((bounds[:, 2] - bounds[:, 0] > 180) & np.isfinite(bounds).all(axis=1))
    if not len(wide):
        return shapes
    found = shapes.copy()
    for n in wide.tolist():
        parts = [_unwrapped(part) for part in shapely.get_parts(shapes[n])]
        found[n] = parts[0] if len(parts) == 1 else shapely.geometrycollections(parts)
        if len(parts) > 1 and all(part.geom_type == "Polygon" for part in parts):
            found[n] = shapely.multipolygons(parts)
    return found


def _unwrapped(part: shapely.Geometry) -> shapely.Geometry:
    if part.geom_type != "Polygon":
        return part
    shell = _continuous(shapely.get_coordinates(part.exterior))
    holes = [_continuous(shapely.get_coordinates(ring)) for ring in part.interiors]
    # A hole lies on the same turn as its shell.
    for hole in holes:
        hole[:, 0] += 360 * round((shell[:, 0].mean() - hole[:, 0].mean()) / 360)
    return shapely.polygons(shell, holes=holes or None)


def _continuous(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    steps = np.diff(ring[:, 0], prepend=ring[0, 0])
    turns = np.cumsum(np.where(steps > 180, -1, np.where(steps < -180, 1, 0)))
    if turns[-1] != 0:  # around a pole
        return ring
    return np.stack([ring[:, 0] + 360.0 * turns, ring[:, 1]], axis=1)
