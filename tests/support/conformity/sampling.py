"""Sampling: pixels of one CRS read on the grid of another, nearest and bilinear."""

from __future__ import annotations

from typing import Any

import ee

from support.conformity.program import (
    API,
    GDAL_PX,
    IN_DEGREES,
    IN_MERCATOR,
    IN_ZONE_32,
    PROJECTIONS,
    RESAMPLE,
    SCALE,
    SOUTH,
    SOUTH_32,
    SOUTH_AS_NORTH,
    SOUTH_HOME,
    Program,
    Shape,
    grid,
    hill_at,
    image,
    values,
    warped,
)
from support.conformity_scenes import HILL, SOUTH_ZONE, ZONE, X, Y

TURNED: Shape = (ZONE, (0.0, 10.0, X, -10.0, 0.0, Y), 20, 20)


def bilinear(index: str) -> Any:
    return image(index).resample("bilinear")


PROGRAMS = [
    Program("nearest neighbour is the default", lambda: image(), [0, 10, 30, 70], RESAMPLE, grid(cols=0.4)),
    Program("nearest neighbour takes the closer pixel", lambda: image(), [10, 30, 70, 0], RESAMPLE, grid(cols=0.6)),
    Program(
        "a grid a quarter pixel off, bilinear", lambda: bilinear("row"), [2.5, 15, 40], RESAMPLE, grid(3, cols=0.25)
    ),
    Program("a 20 m band on 10 m pixels", lambda: image("coarse"), [100, 100, 200, 200], SCALE),
    Program("a 20 m band on 10 m pixels, bilinear", lambda: bilinear("coarse"), [100, 125, 175, 200], RESAMPLE),
    Program("30 m pixels of a 10 m band", lambda: image("hill"), [1010, 1019], SCALE, grid(2, size_m=30.0)),
    Program("another zone, nearest", lambda: image("hill"), hill_at(IN_ZONE_32, nearest=True), PROJECTIONS, IN_ZONE_32),
    Program(
        "another zone, bilinear",
        lambda: bilinear("hill"),
        hill_at(IN_ZONE_32, nearest=False),
        RESAMPLE,
        IN_ZONE_32,
        0.06,
    ),
    Program(
        "another zone, bilinear, beside GDAL",
        lambda: bilinear("hill"),
        warped(IN_ZONE_32),
        RESAMPLE,
        IN_ZONE_32,
        GDAL_PX * 7.7,
    ),
    Program("degrees, nearest", lambda: image("hill"), hill_at(IN_DEGREES, nearest=True), PROJECTIONS, IN_DEGREES),
    Program(
        "degrees, bilinear", lambda: bilinear("hill"), hill_at(IN_DEGREES, nearest=False), RESAMPLE, IN_DEGREES, 0.06
    ),
    Program("Mercator, bilinear", lambda: bilinear("hill"), warped(IN_MERCATOR), RESAMPLE, IN_MERCATOR, 0.06),
    Program(
        "the southern hemisphere at home",
        lambda: image("south"),
        hill_at(SOUTH_HOME, SOUTH_ZONE, SOUTH, nearest=True),
        PROJECTIONS,
        SOUTH_HOME,
    ),
    Program(
        "the southern hemisphere in another zone, bilinear",
        lambda: bilinear("south"),
        hill_at(SOUTH_32, SOUTH_ZONE, SOUTH, nearest=False),
        RESAMPLE,
        SOUTH_32,
        0.06,
    ),
    Program(
        "the southern hemisphere in another zone, bilinear, beside GDAL",
        lambda: bilinear("south"),
        warped(SOUTH_32, SOUTH_ZONE, SOUTH),
        RESAMPLE,
        SOUTH_32,
        GDAL_PX * 7.7,
    ),
    Program(
        "the southern hemisphere in a northern zone",
        lambda: bilinear("south"),
        hill_at(SOUTH_AS_NORTH, SOUTH_ZONE, SOUTH, nearest=False),
        RESAMPLE,
        SOUTH_AS_NORTH,
        0.06,
    ),
    Program("a turned grid", lambda: image("hill"), HILL[:20, :20].T, PROJECTIONS, TURNED),
    Program(
        "reproject computes on its own pixels",
        lambda: bilinear("row").reproject(ZONE, [20, 0, X, 0, -20, Y + 10]),
        [5, 5, 50, 50],
        f"{API}ee-image-reproject",
    ),
    Program(
        "what was reprojected can be resampled",
        lambda: bilinear("row").reproject(ZONE, [20, 0, X, 0, -20, Y + 10]).resample("bilinear"),
        [0.75 * 5 + 0.25 * 50],
        f"{API}ee-image-resample",
        grid(1, cols=1),
    ),
    Program(
        "resampling a composite does nothing",
        lambda: values().filter(ee.Filter.eq("system:index", "day1")).mean().resample("bilinear"),
        [1, 2, 3],
        f"{API}ee-image-resample",
        grid(3, cols=0.4),
    ),
    Program(
        "resampling what makes up a composite works",
        lambda: values().filter(ee.Filter.eq("system:index", "day1")).map(lambda one: one.resample("bilinear")).mean(),
        [1.4, 2.4],
        f"{API}ee-image-resample",
        grid(2, cols=0.4),
    ),
    Program("resampling a constant does nothing", lambda: ee.Image(5).resample("bilinear"), [5] * 4, PROJECTIONS),
    Program(
        "resampling comes after what was computed before",
        lambda: image().multiply(image()).resample("bilinear"),
        [50, 500],
        f"{API}ee-image-resample",
        grid(2, cols=0.5),
    ),
    Program(
        "a default projection makes a composite fit for resampling",
        lambda: values().min().setDefaultProjection(ZONE, [10, 0, X, 0, -10, Y]).resample("bilinear"),
        [1.25],
        f"{API}ee-image-setdefaultprojection",
        grid(1, cols=0.25),
    ),
]
