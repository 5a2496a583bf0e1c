"""Reductions: reducers over regions, bands and neighbourhoods."""

from __future__ import annotations

from typing import Any

import ee
import numpy as np
import pytest
from pyproj import Transformer

from support.conformity.program import API, GUIDE, OURS, Program, Refused, image
from support.conformity_scenes import HILL, ZONE, X, Y


def columns(first: float, last: float, rows: float = 1) -> Any:
    """The ground of some columns of the hill, from its upper edge."""
    return ee.Geometry.Rectangle([X + 10 * first, Y - 10 * rows, X + 10 * last, Y], ZONE, False)


def over(reducer: Any, region: Any, made: Any = None, **more: Any) -> Any:
    return (made or image("hill")).reduceRegion(reducer, region, **more)


def points() -> Any:
    """The middles of the first and fourth pixel of the row, and a place that lies outside."""
    change = Transformer.from_crs(ZONE, "EPSG:4326", always_xy=True)
    places = {"a": (X + 5, Y - 5), "d": (X + 35, Y - 5), "far": (X + 5000, Y - 5)}
    return ee.FeatureCollection(
        [
            ee.Feature(ee.Geometry.Point(list(change.transform(*place))), {"name": name})
            for name, place in places.items()
        ]
    )


def sampled(collection: Any) -> list[dict[str, Any]]:
    return [feature["properties"] for feature in collection.getInfo()["features"]]


def only(number: Any) -> dict[str, Any]:
    """A value of the only band, but for rounding."""
    return {"b": pytest.approx(float(number))}


TOP = HILL[0].astype(float)
REGION, IN_REGION, WEIGHTS = (
    f"{API}ee-image-reduceregion",
    f"{GUIDE}reducers_reduce_region#pixels-in-the-region",
    f"{GUIDE}reducers_weighting",
)

PROGRAMS = [
    Program(
        "mean of a region", lambda: over(ee.Reducer.mean(), columns(0, 5)), {"b": pytest.approx(TOP[:5].mean())}, REGION
    ),
    Program(
        "sum of a region", lambda: over(ee.Reducer.sum(), columns(0, 5)), {"b": pytest.approx(TOP[:5].sum())}, REGION
    ),
    Program(
        "a mean weighs by area",
        lambda: over(ee.Reducer.mean(), columns(0, 1.5)),
        {"b": pytest.approx(1001.0)},
        IN_REGION,
    ),
    Program(
        "less than 1/256 of a pixel is nothing",
        lambda: over(ee.Reducer.sum(), columns(0, 1.003)),
        only(1000),
        WEIGHTS,
    ),
    Program("a count asks for centres", lambda: over(ee.Reducer.count(), columns(0, 1.6)), {"b": 2}, IN_REGION),
    Program("a centre outside", lambda: over(ee.Reducer.count(), columns(0, 1.4)), {"b": 1}, IN_REGION),
    Program(
        "unweighted, a pixel counts whole",
        lambda: over(ee.Reducer.mean().unweighted(), columns(0, 1.6)),
        only((TOP[0] + TOP[1]) / 2),
        WEIGHTS,
    ),
    Program(
        "several outputs are named by band and output",
        lambda: over(ee.Reducer.minMax(), columns(2, 7, 3)),
        {"b_min": 1006, "b_max": 1032},
        REGION,
    ),
    Program(
        "masked pixels do not count",
        lambda: over(ee.Reducer.mean(), columns(0, 4), image("gap")),
        only(100 / 3),
        REGION,
    ),
    Program(
        "each band by itself",
        lambda: over(ee.Reducer.max(), columns(0, 4), image("land").select(["red", "nir"])),
        {"red": 300, "nir": 300},
        REGION,
    ),
    Program("the mean of nothing", lambda: over(ee.Reducer.mean(), columns(70, 75)), {"b": None}, REGION),
    Program("the count of nothing", lambda: over(ee.Reducer.count(), columns(70, 75)), {"b": 0}, REGION),
    Program(
        "without a region, the footprint",
        lambda: over(ee.Reducer.count(), None, image("row"), crs=ZONE, crsTransform=[10, 0, X, 0, -10, Y]),
        {"b": 4},
        REGION,
    ),
    Program(
        "a scale keeps the corner of the pixels",
        lambda: over(ee.Reducer.sum(), columns(0, 6, 6), scale=30),
        only(HILL[1:6:3, 1:6:3].sum()),
        REGION,
    ),
    Program(
        "pixels in degrees",
        lambda: over(
            ee.Reducer.count(),
            ee.Geometry.BBox(15, 45.0, 15.004, 45.002),
            ee.Image(1),
            crs="EPSG:4326",
            crsTransform=[0.001, 0, 15, 0, -0.001, 46],
        ),
        {"constant": 8},
        REGION,
    ),
    Program(
        "the pixel of a point",
        lambda: over(ee.Reducer.mean(), ee.Feature(points().first()).geometry(), image("row")),
        {"b": 0},
        REGION,
    ),
    Program(
        "more pixels than are allowed",
        lambda: over(ee.Reducer.mean(), columns(0, 5), maxPixels=4),
        Refused(400, "Too many pixels in the region. Found 5, but maxPixels allows only 4."),
        REGION,
    ),
    Program(
        "two sizes of pixels",
        lambda: over(ee.Reducer.mean(), columns(0, 5), scale=10, crs=ZONE, crsTransform=[10, 0, 0, 0, -10, 0]),
        Refused(400, "At most one of 'crsTransform' and 'scale'"),
        REGION,
    ),
    Program(
        "no region, no bounds",
        lambda: over(ee.Reducer.mean(), None, ee.Image(1)),
        Refused(400, "Provide 'geometry' parameter when aggregating over an unbounded image."),
        REGION,
    ),
    Program(
        "reducers that are not built",
        lambda: over(ee.Reducer.kendallsCorrelation(), columns(0, 5)),
        Refused(501, "Reducer.kendallsCorrelation is not implemented"),
        OURS,
    ),
    Program(
        "mean of the bands",
        lambda: image("land").select(["red", "nir"]).reduce(ee.Reducer.mean()),
        {"mean": [200, 200, 0, 0]},
        f"{API}ee-image-reduce",
    ),
    Program(
        "sum and count of bands that are not masked",
        lambda: (
            image("gap")
            .addBands(image())
            .reduce(ee.Reducer.sum())
            .addBands(image("gap").addBands(image()).reduce(ee.Reducer.count()))
        ),
        {"sum": [0, 10, 60, 140], "count": [2, 1, 2, 2]},
        f"{API}ee-image-reduce",
    ),
    Program(
        "least and largest of the bands",
        lambda: image("land").select(["red", "nir"]).reduce(ee.Reducer.minMax()).add(1000),
        {"min": [1100, 1100, 1000, 950], "max": [1300, 1300, 1000, 1050]},
        f"{API}ee-image-reduce",
    ),
    Program(
        "pixels at points",
        lambda: sampled(image().sampleRegions(points())),
        [{"name": "a", "b": 0}, {"name": "d", "b": 70}],
        f"{API}ee-image-sampleregions",
    ),
    Program(
        "pixels at points, no properties copied",
        lambda: sampled(image("gap").sampleRegions(points(), properties=[])),
        [{"b": 0}, {"b": 70}],
        f"{API}ee-image-sampleregions",
    ),
    Program(
        "a sample of all pixels leaves out masked ones",
        lambda: sorted(one["b"] for one in sampled(image("gap").sample(columns(0, 4)))),
        [0, 30, 70],
        f"{API}ee-image-sample",
    ),
    Program(
        "a sample knows where its pixels lie",
        lambda: np.round(
            image().sample(columns(3, 4), geometries=True).getInfo()["features"][0]["geometry"]["coordinates"], 9
        ).tolist(),
        np.round(Transformer.from_crs(ZONE, "EPSG:4326", always_xy=True).transform(X + 35, Y - 5), 9).tolist(),
        f"{API}ee-image-sample",
    ),
    Program(
        "a random sample",
        lambda: image().sample(columns(0, 4), numPixels=2),
        Refused(501, "Image.sample with 'factor', 'numPixels'"),
        OURS,
    ),
]
