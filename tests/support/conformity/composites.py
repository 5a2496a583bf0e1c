"""Composites: one image of several."""

from __future__ import annotations

import ee
import numpy as np

from support.conformity.program import (
    API,
    DEBUGGING,
    GUIDE,
    OURS,
    PROJECTIONS,
    Program,
    days,
    empty,
    pixel_types,
    values,
    with_numpy,
)

PROGRAMS = [
    Program("mean of what is valid", lambda: values().mean(), with_numpy(np.mean), f"{API}ee-imagecollection-mean"),
    Program(
        "median, odd and even", lambda: values().median(), with_numpy(np.median), f"{API}ee-imagecollection-median"
    ),
    Program("min", lambda: values().min(), with_numpy(np.min), f"{API}ee-imagecollection-min"),
    Program("max", lambda: values().max(), with_numpy(np.max), f"{API}ee-imagecollection-max"),
    Program("sum", lambda: values().sum(), with_numpy(np.sum), f"{API}ee-imagecollection-sum"),
    Program("count", lambda: values().count(), with_numpy(len), f"{API}ee-imagecollection-count"),
    Program("mosaic: the last on top", lambda: values().mosaic(), [3, 6, 9, 0], f"{GUIDE}ic_composite_mosaic"),
    Program(
        "mosaic in another order",
        lambda: values().sort("system:time_start", False).mosaic(),
        [1, 2, 3, 0],
        f"{GUIDE}ic_composite_mosaic",
    ),
    Program(
        "the least cloudy on top",
        lambda: values().sort("cloud", False).mosaic(),
        [5, 6, 9, 0],
        f"{GUIDE}ic_composite_mosaic",
    ),
    Program(
        "qualityMosaic takes all bands of the best image",
        lambda: days().qualityMosaic("q"),
        # q is 4 3 2 1, 8 9 1 5 and 2 4 6 3: the second day is best but for the third pixel, where the third day is
        {"v": [5, 0, 0, 0], "q": [8, 9, 6, 5]},
        f"{API}ee-imagecollection-qualitymosaic",
    ),
    Program(
        "qualityMosaic passes over a masked quality",
        lambda: days().qualityMosaic("v").select("v"),
        with_numpy(np.max),
        f"{API}ee-imagecollection-qualitymosaic",
    ),
    Program(
        "the median of clear pixels",
        lambda: days().map(lambda one: one.updateMask(one.select("q").gt(2))).select(["v"]).median(),
        [3, 4, 0, 0],
        f"{GUIDE}ic_reducing",
    ),
    Program(
        "a composite has the projection of none",
        lambda: values().median().projection(),
        {"type": "Projection", "crs": "EPSG:4326", "transform": [1, 0, 0, 0, 1, 0]},
        PROJECTIONS,
    ),
    Program("so has a mosaic", lambda: values().mosaic().projection().nominalScale(), 111319.49079327357, PROJECTIONS),
    Program("the mean of nothing has no bands", lambda: empty().mean().bandNames(), [], f"{DEBUGGING}#no-bands"),
    Program("nor has its mosaic", lambda: empty().mosaic().bandNames(), [], f"{DEBUGGING}#no-bands"),
    Program("integers have a mean with fractions", lambda: pixel_types(values().mean()), ["double"], OURS),
    Program("an extreme keeps its type", lambda: pixel_types(values().max()), ["float"], OURS),
    Program(
        "iterate passes a sum on",
        lambda: ee.Image(
            values().iterate(lambda one, total: ee.Image(total).add(ee.Image(one).unmask(0)), ee.Image(0))
        ),
        [9, 8, 12, 0],
        f"{API}ee-imagecollection-iterate",
    ),
]
