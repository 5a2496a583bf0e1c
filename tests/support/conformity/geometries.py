"""Geometries: areas, distances, bounds and buffers, on the plane and on the sphere."""

from __future__ import annotations

from typing import Any

import ee
import numpy as np
from pyproj import Geod

from support.conformity.program import API, GUIDE, OURS, Program, Refused, grid, image
from support.conformity_scenes import ZONE, X, Y

SPHERE_M = 6_371_007.1809
"""Radius of the sphere with the area of WGS 84."""

FIELD = [
    [-97.59238135821987, 43.47456565304017],
    [-97.59244690469288, 43.47962399877412],
    [-97.59191951546768, 43.47962728271748],
    [-97.59185396090983, 43.47456565304017],
]
"""A field whose area somebody had computed by Earth Engine."""

WIDE = [[-5, 40], [65, 40], [65, 60], [-5, 60]]
"""The polygon of the guide's page on geometric operations."""


def wide(geodesic: bool) -> Any:
    return ee.Geometry.Polygon([WIDE], None, geodesic)


def on_sphere(ring: list[list[float]]) -> float:
    """Area between arcs of great circles, by pyproj."""
    lon, lat = zip(*ring, strict=True)
    return float(abs(Geod(a=SPHERE_M, f=0).polygon_area_perimeter(lon, lat)[0]))


def crest(start: list[float], end: list[float]) -> float:
    """The highest latitude of a great circle between two points, by pyproj."""
    return float(max(lat for _, lat in Geod(a=SPHERE_M, f=0).npts(*start, *end, 20_001)))


def north_of(bounds: Any) -> float:
    return float(max(lat for _, lat in bounds.getInfo()["coordinates"][0]))


def distances(buffered: Any, lon: float, lat: float) -> list[float]:
    """Least and largest distance of the corners of a polygon from a point, whole metres, by pyproj."""
    corners = buffered.getInfo()["coordinates"][0]
    metres = [Geod(a=SPHERE_M, f=0).inv(lon, lat, *corner)[2] for corner in corners]
    return [float(np.floor(min(metres) + 0.5)), float(np.floor(max(metres) + 0.5))]


def utm_square() -> Any:
    return ee.Geometry.Rectangle([X, Y - 1000, X + 1000, Y], ZONE, False)


def inner(width_px: int) -> Any:
    """1 where a pixel of the upper left corner of the hill lies at least so many pixels from its edges."""
    kept = np.zeros((width_px + 4, width_px + 4))
    kept[width_px:, width_px:] = 1
    return kept


PROGRAMS = [
    Program(
        "the area that Earth Engine gave for a field",
        lambda: ee.Geometry.Polygon([FIELD]).area(1),
        23944.14737277293,
        "https://github.com/shapely/shapely/issues/726",
    ),
    Program(
        "area between great circles", lambda: wide(geodesic=True).area(1), on_sphere(WIDE), f"{API}ee-geometry-area"
    ),
    Program(
        "area between parallels and meridians",
        lambda: wide(geodesic=False).area(1),
        SPHERE_M**2 * np.radians(70) * (np.sin(np.radians(60)) - np.sin(np.radians(40))),
        f"{GUIDE}geometries_planar_geodesic",
    ),
    Program(
        "area in the units of a projection",
        lambda: utm_square().area(1, ee.Projection(ZONE)),
        1_000_000,
        f"{API}ee-geometry-area",
    ),
    Program("the area of a point", lambda: ee.Geometry.Point([3, 4]).area(1), 0, f"{API}ee-geometry-area"),
    Program(
        "bounds are planar, from the south-west round by the east",
        lambda: wide(geodesic=False).bounds(1),
        {"type": "Polygon", "coordinates": [[[-5, 40], [65, 40], [65, 60], [-5, 60], [-5, 40]]], "geodesic": False},
        f"{API}ee-geometry-bounds",
    ),
    Program(
        "bounds reach to the crest of a great circle",
        lambda: north_of(wide(geodesic=True).bounds(1)),
        crest(WIDE[3], WIDE[2]),
        f"{GUIDE}geometries_planar_geodesic",
    ),
    Program(
        "bounds in another projection",
        lambda: utm_square().bounds(1, ee.Projection(ZONE)).getInfo()["coordinates"],
        [[[X, Y - 1000], [X + 1000, Y - 1000], [X + 1000, Y], [X, Y], [X, Y - 1000]]],
        f"{API}ee-geometry-bounds",
    ),
    Program(
        "a buffer of a point is a circle, to a hundredth of its distance",
        lambda: distances(ee.Geometry.Point([15, 45]).buffer(1000), 15, 45)[1],
        1000.0,
        f"{API}ee-geometry-buffer",
    ),
    Program(
        "a buffer as exact as it says",
        lambda: distances(ee.Geometry.Point([-70, -60]).buffer(1000, 0.4), -70, -60),
        [1000.0, 1000.0],
        f"{API}ee-geometry-buffer",
    ),
    Program(
        "a buffer in the units of a projection",
        lambda: utm_square().buffer(-100, 1, ee.Projection(ZONE)).area(1, ee.Projection(ZONE)),
        640_000,
        f"{API}ee-geometry-buffer",
    ),
    Program(
        "a buffer inwards of more than half the width leaves nothing",
        lambda: utm_square().buffer(-600).area(1),
        0,
        f"{API}ee-geometry-buffer",
    ),
    Program(
        "an image clipped to its outline less 100 m",
        lambda: image("hill").clip(image("hill").geometry().buffer(-100)).mask(),
        inner(10),
        f"{API}ee-geometry-buffer",
        grid(14, 14),
    ),
    Program(
        "an image clipped to nothing is masked",
        lambda: image("hill").clip(image("hill").geometry().buffer(-400)).mask(),
        np.zeros((14, 14)),
        f"{API}ee-image-clip",
        grid(14, 14),
    ),
    Program(
        "an error below zero",
        lambda: ee.Geometry.Point([3, 4]).buffer(100, -1),
        Refused(400, "Geometry.buffer: The maximum error must be above zero"),
        f"{API}ee-geometry-buffer",
    ),
    Program(
        "a buffer around a pole is not built",
        lambda: ee.Geometry.Point([0, 89.9]).buffer(100_000),
        Refused(501, "Geometry.buffer around a pole is not implemented"),
        OURS,
    ),
]
