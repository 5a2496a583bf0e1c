"""Area, bounds and buffers against pyproj's geodesics on the same sphere, and against areas worked out by hand."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import shapely
from dwplus.local_ee.evaluator.grid import Projection
from dwplus.local_ee.evaluator.sphere import EARTH_RADIUS_M, area, bounds, buffer
from dwplus.local_ee.evaluator.values import ErrorMargin, Geometry
from dwplus.local_ee.refusal import Refusal
from pyproj import Geod

SPHERE = Geod(a=EARTH_RADIUS_M, f=0)
UTM_33 = Projection("EPSG:32633", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
SLICE = [(10.0, 44.0), (13.2, 44.4), (12.7, 46.0), (9.4, 45.6)]
"""About the size of a Sentinel-1 slice."""


def along_arcs(corners: list[tuple[float, float]], count: int = 2000) -> Any:
    """Points on the great circles between corners, one after the other round the ring."""
    ends = [*corners[1:], corners[0]]
    return np.array([point for a, b in zip(corners, ends, strict=True) for point in [a, *SPHERE.npts(*a, *b, count)]])


def along_lines(corners: list[tuple[float, float]], count: int = 2000) -> Any:
    ends = [*corners[1:], corners[0]]
    return np.concatenate([np.linspace(a, b, count) for a, b in zip(corners, ends, strict=True)])


def nearest_m(points: Any, edge: Any) -> Any:
    """Distance of each point to the nearest point of an edge, metres on the sphere, by chords."""
    found, known = (cartesian(np.radians(np.asarray(given))) for given in (points, edge))
    chords = np.sqrt(((found[:, None] - known[None]) ** 2).sum(axis=2)).min(axis=1)
    return 2 * EARTH_RADIUS_M * np.arcsin(chords / 2)


def cartesian(lonlat: Any) -> Any:
    lon, lat = lonlat.T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


@pytest.mark.parametrize("distance", [-20_000.0, -2000.0, 2000.0])
@pytest.mark.parametrize("geodesic", [True, False])
def test_the_edge_of_a_buffer_lies_at_its_distance_from_the_edge(distance: float, geodesic: bool) -> None:
    found = buffer(Geometry(shapely.Polygon(SLICE), geodesic=geodesic), distance, None, None)

    edge = (along_arcs if geodesic else along_lines)(SLICE)
    points = found.shape.segmentize(0.02).exterior.coords[:-1]
    assert np.abs(nearest_m(points, edge) - abs(distance)).max() <= 0.01 * abs(distance)
    inside = shapely.Polygon(edge)
    assert inside.contains(found.shape) if distance < 0 else found.shape.contains(inside)


def test_a_buffer_keeps_to_the_error_that_it_names() -> None:
    found = buffer(Geometry(shapely.Polygon(SLICE), geodesic=True), -2000.0, ErrorMargin(2.0), None)

    points = found.shape.segmentize(0.1).exterior.coords[:-1]
    assert np.abs(nearest_m(points, along_arcs(SLICE, 3000)) - 2000).max() <= 2


def test_a_buffer_across_the_date_line_goes_on_past_180() -> None:
    found = buffer(Geometry(shapely.Point(179.99, 10.0)), 5000.0, None, None)

    lon, lat = np.array(found.shape.exterior.coords).T
    distance = SPHERE.inv(np.full_like(lon, 179.99), np.full_like(lat, 10.0), lon, lat)[2]
    assert lon.max() > 180 > lon.min()
    assert 4950 <= distance.min() <= distance.max() <= 5000.001


def test_what_is_narrower_than_twice_the_distance_is_gone() -> None:
    narrow = Geometry(shapely.box(10.0, 45.0, 10.5, 45.03))  # 3.3 km from south to north

    assert buffer(narrow, -2000.0, None, None).shape.is_empty
    assert not buffer(narrow, -1600.0, None, None).shape.is_empty
    assert buffer(Geometry(shapely.Point(10.0, 45.0)), -1.0, None, None).shape.is_empty


def test_many_points_give_the_same_buffer_as_a_plain_one() -> None:
    # Given a ring of 400 points with notches, which is put together from parts of its edge.
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    radius = 10_000 + 2000 * (np.arange(400) % 4 == 0)
    ring = shapely.Polygon(np.column_stack([5e5 + radius * np.cos(turn), 5e6 + radius * np.sin(turn)]))

    for distance in (-500.0, 500.0):
        found = buffer(Geometry(ring, "EPSG:32633"), distance, ErrorMargin(1.0), UTM_33).shape
        assert found.hausdorff_distance(ring.buffer(distance, quad_segs=64)) <= 1.5


def test_a_buffer_in_a_projection_counts_in_its_units() -> None:
    square = Geometry(shapely.box(500_000, 5_000_000, 501_000, 5_001_000), "EPSG:32633")

    shrunk = buffer(square, -100.0, None, UTM_33)

    assert shrunk.crs == "EPSG:32633"
    assert shrunk.shape.bounds == (500_100, 5_000_100, 500_900, 5_000_900)


def test_a_star_of_thousands_of_points_takes_seconds_or_is_refused() -> None:
    rng = np.random.default_rng(1)
    turn, radius = np.sort(rng.uniform(0, 2 * np.pi, 4000)), rng.uniform(0.2, 1.0, 4000)
    star = Geometry(shapely.Polygon(np.column_stack([10 + radius * np.cos(turn), 45 + radius * np.sin(turn)])))

    started = time.process_time()
    for error in (1.0, 100.0):
        with pytest.raises(Refusal, match=r"points|work"):
            buffer(star, -1000.0, ErrorMargin(error), None)
    found = buffer(star, 50_000.0, ErrorMargin(2000.0), None)
    assert time.process_time() - started < 20
    assert found.shape.contains(star.shape)


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan"), float("inf")])
def test_an_error_is_above_zero(margin: float) -> None:
    with pytest.raises(Refusal, match="maximum error must be above zero"):
        buffer(Geometry(shapely.Point(1, 2)), 10.0, ErrorMargin(margin), None)


def test_what_cannot_be_drawn_is_refused_and_not_guessed() -> None:
    with pytest.raises(Refusal, match="around a pole") as around:
        buffer(Geometry(shapely.Point(0, 89.99)), 5000.0, None, None)
    with pytest.raises(Refusal, match="with an error of 1 m") as wide:
        buffer(Geometry(shapely.box(0, 0, 30, 10)), 100_000.0, ErrorMargin(1.0), None)
    with pytest.raises(Refusal, match="must be a finite number") as number:
        buffer(Geometry(shapely.Point(0, 0)), float("inf"), None, None)
    with pytest.raises(Refusal, match="around a pole") as ring:
        area(Geometry(shapely.Polygon([(0, 80), (120, 80), (240, 80)]), geodesic=True), None, None)

    assert [error.value.code for error in (around, wide, number, ring)] == [501, 501, 400, 501]


def test_areas_of_geodesic_and_planar_edges_differ_as_their_edges_do() -> None:
    ring = [(-5.0, 40.0), (65.0, 40.0), (65.0, 60.0), (-5.0, 60.0)]

    geodesic = area(Geometry(shapely.Polygon(ring), geodesic=True), None, None)
    planar = area(Geometry(shapely.Polygon(ring)), None, None)

    assert geodesic == pytest.approx(SPHERE.polygon_area_perimeter(*zip(*ring, strict=True))[0], rel=1e-9)
    assert planar == pytest.approx(
        EARTH_RADIUS_M**2 * np.radians(70) * (np.sin(np.radians(60)) - np.sin(np.radians(40))), rel=1e-9
    )


def test_holes_are_left_out_and_parts_that_overlap_count_twice() -> None:
    outer, hole = shapely.box(0, 0, 2, 2), shapely.box(0.5, 0.5, 1, 1)
    with_hole = shapely.Polygon(outer.exterior, [hole.exterior])
    areas = [area(Geometry(shape), None, None) for shape in (outer, hole, with_hole, shapely.MultiPolygon([outer] * 2))]

    assert areas[2] == pytest.approx(areas[0] - areas[1])
    assert areas[3] == pytest.approx(2 * areas[0])
    assert area(Geometry(shapely.Point(1, 1)), None, None) == 0


def test_bounds_of_great_circles_reach_to_their_crests() -> None:
    ring = [(-5.0, 40.0), (65.0, 40.0), (65.0, 60.0), (-5.0, 60.0)]
    south = [(lon, -lat) for lon, lat in ring]

    found = bounds(Geometry(shapely.Polygon(ring), geodesic=True), None, None)
    mirrored = bounds(Geometry(shapely.Polygon(south), geodesic=True), None, None)

    crest = max(lat for _, lat in SPHERE.npts(-5, 60, 65, 60, 10_001))
    assert found.shape.bounds == pytest.approx((-5, 40, 65, crest))
    assert mirrored.shape.bounds == pytest.approx((-5, -crest, 65, -40))
    assert bounds(Geometry(shapely.Polygon(ring)), None, None).shape.bounds == (-5, 40, 65, 60)
    assert not found.geodesic


def test_what_has_no_extent_has_no_bounds_here() -> None:
    with pytest.raises(Refusal, match="no extent") as point:
        bounds(Geometry(shapely.Point(1, 2)), None, None)

    assert point.value.code == 501
