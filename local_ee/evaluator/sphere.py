"""Area, bounds and buffers of geometries, on the sphere on which Earth Engine measures.

Longitudes and latitudes of WGS 84 are taken as those of the sphere. The edges of a geodesic geometry are arcs of great
circles; those of a planar one are straight in its CRS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from ..refusal import Refusal, not_built
from .grid import METRES_PER_DEGREE, Floats, Projection, crs_of, transformer
from .values import MAX_POINTS, WGS84, ErrorMargin, Geometry, unwrapped

EARTH_RADIUS_M = 6_371_007.1809
"""Radius of the sphere that has the area of WGS 84. A polygon whose area Earth Engine gives as 23944.14737277293 square
metres has it on a sphere of 6,371,007.1808 m. Source: https://github.com/shapely/shapely/issues/726"""

MAX_BUFFERED_POINTS = 5_000
MAX_CIRCLE_POINTS = 200_000
"""Points of what is buffered, and of the result before parts that overlap are joined: it takes some seconds at most."""

FEW_POINTS = 100
EDGES_AT_ONCE = 16
"""Buffered whole, a star of 5,000 points takes minutes: each part of its edge meets all others."""

SHARE_OF_ERROR = 0.01
"""The error of a buffer that names none, as a part of its distance.
Source: https://developers.google.com/earth-engine/apidocs/ee-geometry-buffer"""

EXACT_M = 1.0
"""How far an edge in a projected CRS may be off where its area or bounds are wanted in degrees."""

NO_ANGLE = 1e-12
"""Radians below which directions are the same."""

Coordinates = NDArray[np.float64]
"""(points, 2): x, y, or longitude and latitude in degrees."""


def area(geometry: Geometry, max_error: ErrorMargin | None, projection: Projection | None) -> float:
    """Square metres on the sphere; with a projection square units of its CRS, on its plane.

    Points and lines have none; parts that overlap count several times.
    """
    _margin("Geometry.area", max_error)
    if projection is not None:
        return float(sum(part.area for part in _polygons(drawn(geometry, projection.crs))))
    shape, geodesic = _in_degrees(geometry, EXACT_M)
    edges = _under_arcs if geodesic else _under_straight_lines
    total = 0.0
    for polygon in _polygons(shape):
        rings = [abs(_ring_area(np.asarray(ring.coords), edges)) for ring in (polygon.exterior, *polygon.interiors)]
        total += rings[0] - sum(rings[1:])
    return total * EARTH_RADIUS_M**2


def bounds(geometry: Geometry, max_error: ErrorMargin | None, projection: Projection | None) -> Geometry:
    """The smallest rectangle around a geometry, planar: in degrees, or in the CRS of a projection."""
    name = "Geometry.bounds"
    _margin(name, max_error)
    crs = WGS84 if projection is None else projection.crs
    if crs_of(crs) == crs_of(WGS84):
        shape, geodesic = _in_degrees(geometry, EXACT_M)
        west, south, east, north = _with_crests(shape) if geodesic else shape.bounds
    else:
        west, south, east, north = drawn(geometry, crs).bounds
    if not (west < east and south < north):
        raise not_built(f"{name} of what has no extent in both directions")
    return Geometry(shapely.Polygon([(west, south), (east, south), (east, north), (west, north)]), crs)


def buffer(
    geometry: Geometry, distance: float, max_error: ErrorMargin | None, projection: Projection | None
) -> Geometry:
    """What lies closer to a geometry than a distance; with a negative one, what of it lies further from its edge.

    Args:
        distance: metres on the sphere; with a projection units of its CRS, on its plane.
        max_error: how far the edge of the result may be off, in the same unit; None = a hundredth of the distance.

    Raises:
        Refusal: the result cannot be drawn that exactly, or reaches around a pole.
    """
    name = "Geometry.buffer"
    if not math.isfinite(distance):
        raise Refusal(f"{name}: Parameter 'distance' must be a finite number.")
    if projection is not None:
        return _buffer_on_plane(name, geometry, distance, max_error, projection.crs)
    margin = _margin(name, max_error) or SHARE_OF_ERROR * abs(distance)
    if distance == 0 or geometry.shape.is_empty:
        return geometry
    shape, geodesic = _in_degrees(geometry, margin / 8)
    plane = _Plane.around(name, shape)
    reach = max(plane.reach(shape) + max(distance, 0.0) / EARTH_RADIUS_M, NO_ANGLE)
    # Across the plane's rays distances are stretched by c / sin c.
    if reach >= 1 or abs(distance) * (reach / math.sin(reach) - 1) > margin / 4:
        raise not_built(f"{name} over {reach * EARTH_RADIUS_M / 1000:.0f} km with an error of {margin:g} m")
    if abs(plane.lat) + reach >= math.pi / 2:
        raise not_built(f"{name} around a pole")
    # How much a straight line of the plane, or of degrees, bends against a great circle.
    bend = (math.tan(abs(plane.lat) + reach) + reach) / EARTH_RADIUS_M
    step_m = math.sqrt(margin / bend)  # 8 x error / bend, the error being an eighth of the margin
    drawn = _redrawn(shape, lambda line: _arcs(line, step_m) if geodesic else _straight(line, step_m))
    _check_points(name, drawn)
    widened = _widened(name, shapely.transform(drawn, plane.forward), distance, margin / 4)
    if not widened.is_empty:
        widened = widened.segmentize(step_m)
    _check_points(name, widened)
    return Geometry(shapely.transform(widened, plane.inverse), geodesic=True)


def _buffer_on_plane(
    name: str, geometry: Geometry, distance: float, max_error: ErrorMargin | None, crs: str
) -> Geometry:
    """A buffer in units of a CRS."""
    unit_m = _unit_m(crs)
    margin_m = _margin(name, max_error, unit_m) or SHARE_OF_ERROR * abs(distance) * unit_m
    shape = drawn(geometry, crs, margin_m / 2 if distance else EXACT_M)
    return Geometry(shape if distance == 0 else _widened(name, shape, distance, margin_m / 2 / unit_m), crs)


# --- arguments --------------------------------------------------------------------------------------------------------


def _margin(name: str, margin: ErrorMargin | None, unit_m: float | None = None) -> float | None:
    """Tolerated error in metres; None where none was named.

    Args:
        unit_m: length of a unit of the CRS, where one was given.
    """
    if margin is None or margin.value is None:
        return None
    if not (math.isfinite(margin.value) and margin.value > 0):
        raise Refusal(f"{name}: The maximum error must be above zero, not {margin.value}.")
    if margin.unit == "projected" and unit_m is not None:
        return margin.value * unit_m
    if margin.unit != "meters":
        raise not_built(f"{name} with an error margin in '{margin.unit}'")
    return margin.value


def _check_points(name: str, shape: BaseGeometry) -> None:
    count = shapely.get_num_coordinates(shape)
    if count > MAX_POINTS:
        raise Refusal(f"{name}: A geometry of {count} points is more than {MAX_POINTS}; a larger maxError takes fewer.")


def _widened(name: str, shape: BaseGeometry, distance: float, error: float) -> BaseGeometry:
    """A buffer on a plane whose circles are off by no more than an error."""
    ratio = min(error / abs(distance), 0.5)
    segments = max(math.ceil(math.pi / (4 * math.acos(1 - ratio))), 2)  # of a quarter of a circle
    count = shapely.get_num_coordinates(shape)
    if count > MAX_BUFFERED_POINTS or count * segments > MAX_CIRCLE_POINTS:
        raise Refusal(f"{name}: A buffer of {count} points is too much work; a larger maxError takes fewer.")
    if count <= FEW_POINTS:
        return shape.buffer(distance, quad_segs=segments)
    near = shapely.union_all(shapely.buffer(_edge_parts(shape), abs(distance), quad_segs=segments))
    # On the plane edges that all but touch may cross.
    whole = shape if shape.is_valid else shapely.make_valid(shape)
    widened: BaseGeometry = whole.union(near) if distance > 0 else whole.difference(near)
    return widened


def _edge_parts(shape: BaseGeometry) -> list[BaseGeometry]:
    """Points, and lines and rings in parts of a few edges."""
    lines = [np.asarray(line.coords) for line in _lines(shape)]
    starts = ((line, start) for line in lines for start in range(0, len(line) - 1, EDGES_AT_ONCE))
    parts = [shapely.LineString(line[start : start + EDGES_AT_ONCE + 1]) for line, start in starts]
    return [*parts, *(part for part in getattr(shape, "geoms", ()) if isinstance(part, shapely.Point))]


# --- shapes -----------------------------------------------------------------------------------------------------------


def _polygons(shape: BaseGeometry) -> list[shapely.Polygon]:
    if isinstance(shape, shapely.Polygon):
        return [] if shape.is_empty else [shape]
    return [polygon for part in getattr(shape, "geoms", ()) for polygon in _polygons(part)]


def _redrawn(shape: BaseGeometry, redraw: Callable[[Coordinates], Coordinates]) -> BaseGeometry:
    """A shape with its lines and rings drawn with other points."""
    if isinstance(shape, shapely.Polygon):
        rings = [redraw(np.asarray(ring.coords)) for ring in (shape.exterior, *shape.interiors)]
        return shapely.Polygon(rings[0], rings[1:])
    if isinstance(shape, shapely.LineString):  # rings among them
        return type(shape)(redraw(np.asarray(shape.coords)))
    if isinstance(shape, shapely.Point):
        return shape
    return type(shape)([_redrawn(part, redraw) for part in shape.geoms])


def _in_degrees(geometry: Geometry, error_m: float) -> tuple[BaseGeometry, bool]:
    """A shape in longitude and latitude, and whether its edges are arcs of great circles (else they are straight)."""
    if crs_of(geometry.crs) == crs_of(WGS84):
        return geometry.shape, geometry.geodesic
    return drawn(geometry, WGS84, error_m), True


def drawn(geometry: Geometry, crs: str, error_m: float = EXACT_M) -> BaseGeometry:
    """The shape in another CRS, with as many points as its bent edges need.

    Raises:
        Refusal: it has no place there, or needs too many points.
    """
    if crs_of(geometry.crs) == crs_of(crs) and not geometry.geodesic:
        return geometry.shape
    # Lines of the usual map projections bend against great circles as those of degrees do at 80 degrees, or less.
    step_m = math.sqrt(8 * error_m * EARTH_RADIUS_M / math.tan(math.radians(80)))
    if geometry.geodesic:
        dense = _redrawn(geometry.shape, lambda line: _arcs(line, step_m))
    else:
        dense = _redrawn(geometry.shape, lambda line: _straight(line, step_m, _unit_m(geometry.crs)))
    _check_points("Geometry", dense)
    change = transformer(geometry.crs, crs)

    def move(points: Coordinates) -> Coordinates:
        x, y = change.transform(points[:, 0], points[:, 1])
        return np.column_stack([unwrapped(x) if crs_of(crs).is_geographic else x, y])

    moved = shapely.transform(dense, move)
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise Refusal(f"The geometry has no place in {crs[:100]}.")
    return moved


def _unit_m(crs: str) -> float:
    """Length of a unit of a CRS in metres; of a degree on the equator."""
    known = crs_of(crs)
    if known.is_geographic:
        return METRES_PER_DEGREE
    return float(known.axis_info[0].unit_conversion_factor) if known.axis_info else 1.0


def _straight(line: Coordinates, step_m: float, unit_m: float = METRES_PER_DEGREE) -> Coordinates:
    """The same straight edges, in pieces of so many metres at most."""
    along = np.hypot(*np.diff(line, axis=0).T) * unit_m
    number, part = _pieces(along, step_m)
    points: Coordinates = line[number] + part[:, None] * (line[number + 1] - line[number])
    return np.concatenate([points, line[-1:]])


def _arcs(line: Coordinates, step_m: float) -> Coordinates:
    """The arcs of great circles between the points of a line, in pieces of so many metres at most."""
    if len(line) < 2:
        return line
    vectors = _vectors(line)
    first, second = vectors[:-1], vectors[1:]
    angle = _angles(first, second)
    number, part = _pieces(angle * EARTH_RADIUS_M, step_m)
    whole = angle[number]
    straight = whole < NO_ANGLE
    sine = np.where(straight, 1.0, np.sin(whole))
    left = np.where(straight, 1 - part, np.sin((1 - part) * whole) / sine)
    right = np.where(straight, part, np.sin(part * whole) / sine)
    points = left[:, None] * first[number] + right[:, None] * second[number]
    lon = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    lat = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
    # In the turn in which the edge begins: longitudes go on past 180 rather than jump.
    lon = line[number, 0] + (lon - line[number, 0] + 180) % 360 - 180
    drawn = np.column_stack([lon, lat])
    drawn[part == 0] = line[number[part == 0]]
    return np.concatenate([drawn, line[-1:]])


def _pieces(lengths: Floats, step: float) -> tuple[NDArray[np.intp], Floats]:
    """For each point of a line in pieces: the edge that it lies on, and where on it, 0..1 (the end left out)."""
    counts = np.maximum(np.ceil(np.minimum(lengths / step, MAX_POINTS + 1)), 1).astype(np.intp)
    if counts.sum() > 2 * MAX_POINTS:
        raise Refusal(f"A geometry of {counts.sum()} points is more than {MAX_POINTS}; a larger maxError takes fewer.")
    number = np.repeat(np.arange(len(counts)), counts)
    part = (np.arange(len(number)) - np.repeat(np.cumsum(counts) - counts, counts)) / counts[number]
    return number, part


# --- the sphere -------------------------------------------------------------------------------------------------------


def _vectors(points: Coordinates) -> Floats:
    """(points, 3) unit vectors of longitudes and latitudes."""
    lon, lat = np.radians(points[:, 0]), np.radians(points[:, 1])
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def _angles(first: Floats, second: Floats) -> Floats:
    """Radians between unit vectors, exact for small angles too."""
    crossed = np.linalg.norm(np.cross(first, second), axis=-1)
    return np.asarray(np.arctan2(crossed, (first * second).sum(axis=-1)))


def _ring_area(ring: Coordinates, edges: Callable[[Floats, Floats, Floats], Floats]) -> float:
    """Signed area of a closed ring, on a sphere of radius 1."""
    lon, lat = np.radians(ring[:, 0]), np.radians(ring[:, 1])
    turned = np.diff(lon)
    if edges is _under_arcs:  # the shorter way round
        turned = np.where(np.abs(turned) > np.pi, turned - 2 * np.pi * np.round(turned / (2 * np.pi)), turned)
    if abs(turned.sum()) > 1:
        raise not_built("Geometry.area of a ring around a pole")
    return float(edges(turned, lat[:-1], lat[1:]).sum())


def _under_arcs(turned: Floats, first: Floats, second: Floats) -> Floats:
    """Areas between arcs of great circles and the equator: spherical excess of two sides to the pole."""
    a, b = np.tan(first / 2), np.tan(second / 2)
    return np.asarray(2 * np.arctan2(np.tan(turned / 2) * (a + b), 1 + a * b))


def _under_straight_lines(turned: Floats, first: Floats, second: Floats) -> Floats:
    """Areas between edges that are straight in degrees and the equator: the mean of sin(latitude), times the turn."""
    middle, half = (first + second) / 2, (second - first) / 2
    return np.asarray(turned * np.sin(middle) * np.sinc(half / np.pi))


def _with_crests(shape: BaseGeometry) -> tuple[float, float, float, float]:
    """(west, south, east, north) of a shape whose edges are arcs of great circles, which rise between their ends."""
    west, south, east, north = shape.bounds
    for line in _lines(shape):
        vectors = _vectors(np.asarray(line.coords))
        first, second = vectors[:-1], vectors[1:]
        normal = np.cross(first, second)
        length = np.linalg.norm(normal, axis=1)
        normal = normal[length > NO_ANGLE] / length[length > NO_ANGLE, None]
        first, second = first[length > NO_ANGLE], second[length > NO_ANGLE]
        crest = np.array([0.0, 0.0, 1.0]) - normal[:, 2:] * normal  # where the circle is nearest to the pole
        crest[normal[:, 2] ** 2 > 1 - 1e-12] = 0  # the equator has no crest
        for sign in (1.0, -1.0):
            inside = (np.cross(first, sign * crest) * normal).sum(axis=1) > 0
            inside &= (np.cross(sign * crest, second) * normal).sum(axis=1) > 0
            lat = sign * np.degrees(np.arccos(np.clip(np.abs(normal[inside, 2]), 0, 1)))
            south, north = min([south, *lat.tolist()]), max([north, *lat.tolist()])
    return west, south, east, north


def _lines(shape: BaseGeometry) -> list[Any]:
    if isinstance(shape, shapely.Polygon):
        return [shape.exterior, *shape.interiors]
    if isinstance(shape, shapely.LineString):
        return [shape]
    return [line for part in getattr(shape, "geoms", ()) for line in _lines(part)]


class _Plane:
    """The sphere seen from above a point, radii true (azimuthal equidistant): metres of one are metres of the other."""

    def __init__(self, lon: float, lat: float) -> None:
        self.lon, self.lat = lon, lat

    @classmethod
    def around(cls, name: str, shape: BaseGeometry) -> _Plane:
        """The plane above the middle of a shape."""
        middle = _vectors(shapely.get_coordinates(shape)).mean(axis=0)
        if np.linalg.norm(middle) < 0.1:
            raise not_built(f"{name} of a geometry around the Earth")
        return cls(math.atan2(middle[1], middle[0]), math.atan2(middle[2], math.hypot(middle[0], middle[1])))

    def reach(self, shape: BaseGeometry) -> float:
        """The largest angle between the middle and a point of the shape."""
        middle = _vectors(np.degrees([[self.lon, self.lat]]))
        return float(_angles(np.broadcast_to(middle, (1, 3)), _vectors(shapely.get_coordinates(shape))).max())

    def forward(self, points: Coordinates) -> Coordinates:
        """Degrees to metres."""
        lon, lat = np.radians(points[:, 0]) - self.lon, np.radians(points[:, 1])
        east = np.cos(lat) * np.sin(lon)
        north = math.cos(self.lat) * np.sin(lat) - math.sin(self.lat) * np.cos(lat) * np.cos(lon)
        up = math.sin(self.lat) * np.sin(lat) + math.cos(self.lat) * np.cos(lat) * np.cos(lon)
        sine = np.hypot(east, north)
        scale = EARTH_RADIUS_M * np.where(sine > 0, np.arctan2(sine, up) / np.where(sine > 0, sine, 1), 1)
        return np.column_stack([east * scale, north * scale])

    def inverse(self, points: Coordinates) -> Coordinates:
        """Metres to degrees; longitudes in one turn around the middle."""
        distance = np.hypot(points[:, 0], points[:, 1])
        angle = distance / EARTH_RADIUS_M
        scale = np.where(distance > 0, np.sin(angle) / np.where(distance > 0, distance, 1), 1 / EARTH_RADIUS_M)
        east, north, up = points[:, 0] * scale, points[:, 1] * scale, np.cos(angle)
        z = math.sin(self.lat) * up + math.cos(self.lat) * north
        lon = self.lon + np.arctan2(east, math.cos(self.lat) * up - math.sin(self.lat) * north)
        return np.column_stack([np.degrees(lon), np.degrees(np.arcsin(np.clip(z, -1, 1)))])
