"""Regions in pixels: which pixels count and by how much, against many points per pixel."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import shapely
from dwplus.local_ee.evaluator.grid import RequestGrid
from dwplus.local_ee.evaluator.reducers import Region
from dwplus.local_ee.refusal import Refusal
from support import conformity_scenes as scenes
from support.local_ee_scenes import S2, call, image, value

FINE = 40
"""Points of a pixel along each side."""


def region(shape: Any, width: int, height: int) -> Region:
    return Region(shape, RequestGrid("EPSG:32633", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), width, height))


def counted(shape: Any, width: int, height: int) -> Any:
    """Share of the points of each pixel that lie in a shape."""
    at = (np.arange(FINE * max(width, height)) + 0.5) / FINE
    x, y = np.meshgrid(at[: FINE * width], at[: FINE * height])
    found = shapely.contains_xy(shape, x, y)
    return found.reshape(height, FINE, width, FINE).mean(axis=(1, 3))


STAR = shapely.Polygon(
    [(1.3, 0.2), (6.9, 4.1), (11.8, 0.7), (8.2, 6.6), (11.1, 11.2), (6.4, 8.7), (0.9, 11.9), (4.2, 6)]
)
RING = shapely.Point(6, 6).buffer(5.5).difference(shapely.Point(6.5, 5.5).buffer(2.2))


@pytest.mark.parametrize("shape", [STAR, RING, shapely.MultiPolygon([shapely.box(0.1, 0.2, 1, 3.5), STAR])])
def test_fractions_are_the_ground_that_a_region_covers(shape: Any) -> None:
    found = region(shape, 13, 12).fractions()

    assert np.abs(found - counted(shape, 13, 12)).max() < 0.03
    assert found.sum() == pytest.approx(shapely.area(shape.intersection(shapely.box(0, 0, 13, 12))))


@pytest.mark.parametrize("shape", [STAR, RING])
def test_centres_are_asked_for_one_by_one(shape: Any) -> None:
    x, y = np.meshgrid(np.arange(13) + 0.5, np.arange(12) + 0.5)

    np.testing.assert_array_equal(region(shape, 13, 12).centres(), shapely.contains_xy(shape, x, y))


def test_a_large_region_costs_its_edge_and_not_its_ground() -> None:
    started = time.process_time()
    found = region(shapely.Point(1800, 1800).buffer(1799, quad_segs=64), 3600, 3600).fractions()

    assert time.process_time() - started < 20
    assert found.sum() == pytest.approx(np.pi * 1799**2, rel=1e-3)


def test_an_edge_that_crosses_too_many_pixels_is_refused() -> None:
    teeth = [(x, 0.0 if x % 2 else 3000.0) for x in range(400)]

    with pytest.raises(Refusal, match="memory limit"):
        region(shapely.Polygon([*teeth, (400.0, 3001.0), (0.0, 3001.0)]), 400, 3001).fractions()


def test_a_region_of_too_many_pixels_is_refused_before_anything_is_read() -> None:
    world = scenes.world()
    wide = call("GeometryConstructors.BBox", west=0, south=0, east=20, north=20)
    reduced = call(
        "Image.reduceRegion", image=image("hill", S2), reducer=call("Reducer.mean"), geometry=wide, maxPixels=2**40
    )

    with pytest.raises(Refusal, match="User memory limit exceeded") as caught:
        value(world, reduced)

    assert caught.value.code == 400
    assert world.reads == []
