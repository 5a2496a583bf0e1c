"""Conformity: small programs in the words of the real client, and what Earth Engine's documentation says they give.

Each row of ``PROGRAMS`` is a name, a program, what must come out, and the page that says so. What must come out is
computed here with numpy, pyproj or rasterio, never with the server's own code. One server answers all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ee
import numpy as np
import pytest
import rasterio.warp
from affine import Affine
from dwplus.local_ee.launch import LocalEarthEngine
from pyproj import Geod, Transformer
from support import conformity_scenes as scenes
from support.conformity_scenes import CLASSES, DAYS, HILL, NIR, RED, ROW, SOUTH_Y, SOUTH_ZONE, ZONE, X, Y
from support.local_ee_client import connect
from support.local_ee_scenes import S2

API = "https://developers.google.com/earth-engine/apidocs/"
GUIDE = "https://developers.google.com/earth-engine/guides/"
RESAMPLE, PROJECTIONS, MASKING = (
    f"{GUIDE}resample",
    f"{GUIDE}projections",
    "https://developers.google.com/earth-engine/tutorials/tutorial_api_05",
)
DEBUGGING, SCALE = f"{GUIDE}debugging", f"{GUIDE}scale"
SIGNATURES = "earthengine-api, ee/tests/algorithms.json: the descriptions of the functions"
OURS = "docs/local-earth-engine.md, choices where the documentation is silent"

GDAL_PX = 0.125
"""How far off GDAL's positions between CRSs may be; the hill grows by 7.6 where it is steepest."""

Shape = tuple[str, tuple[float, float, float, float, float, float], int, int]


@dataclass(frozen=True)
class Refused:
    """An answer that is an error: its code and some words of it."""

    code: int
    words: str


@dataclass(frozen=True)
class Program:
    """One row.

    Attributes:
        name: what is shown.
        run: makes an ``ee.Image`` (its pixels are compared), another object (its value is), or asks by itself.
        expected: pixels of the only band, or of each band by name; a value; or ``Refused``.
        source: where Earth Engine says so.
        grid: CRS, affine, width and height of the pixels.
        within: how far off pixels may be.
    """

    name: str
    run: Callable[[], Any]
    expected: Any
    source: str
    grid: Shape = field(default=(ZONE, (10.0, 0.0, X, 0.0, -10.0, Y), 4, 1))
    within: float = 1e-5


def grid(width: int = 4, height: int = 1, *, cols: float = 0.0, rows: float = 0.0, size_m: float = 10.0) -> Shape:
    """Pixels that start so many 10 m pixels to the right of the scenes' corner and below it."""
    return (ZONE, (size_m, 0.0, X + 10 * cols, 0.0, -size_m, Y - 10 * rows), width, height)


def image(index: str = "row") -> Any:
    return ee.Image(f"{S2}/{index}")


def days() -> Any:
    return ee.ImageCollection(S2).filterDate("1970-01-01", "1970-02-01").filter(ee.Filter.eq("series", "days"))


def values() -> Any:
    return days().select(["v"])


def here() -> Any:
    return ee.Geometry.Rectangle([X, Y - 10, X + 40, Y], proj=ZONE, geodesic=False)


def everything() -> Any:
    return ee.ImageCollection(S2).filterDate("1970-01-01", "1970-02-01")


def indices(collection: Any) -> Any:
    return collection.aggregate_array("system:index")


def pixel_types(made: Any) -> Any:
    """``precision`` of each band."""
    return [band["data_type"]["precision"] for band in made.getInfo()["bands"]]


# What pixels must be, independently of the server ---------------------------------------------------------------------


def centres(shape: Shape) -> tuple[Any, Any]:
    _, (a, b, c, d, e, f), width, height = shape
    cols, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return a * cols + b * rows + c, d * cols + e * rows + f


def hill_at(shape: Shape, crs: str = ZONE, corner: tuple[float, float] = (X, Y), *, nearest: bool) -> Any:
    """The plane of the hill at the centres of pixels: pyproj takes them to the scene, arithmetic does the rest."""
    x, y = Transformer.from_crs(shape[0], crs, always_xy=True).transform(*centres(shape))
    col, row = (x - corner[0]) / 10, (corner[1] - y) / 10
    if nearest:
        return HILL[np.floor(row).astype(int), np.floor(col).astype(int)]
    return 1000 + 3 * (col - 0.5) + 7 * (row - 0.5)


def warped(shape: Shape, crs: str = ZONE, corner: tuple[float, float] = (X, Y)) -> Any:
    """The hill as GDAL warps it, bilinearly; its positions are good to ``GDAL_PX``."""
    target = np.zeros((shape[3], shape[2]), np.float32)
    source = {"src_transform": Affine(10, 0, corner[0], 0, -10, corner[1]), "src_crs": crs}
    into = {"dst_transform": Affine(*shape[1]), "dst_crs": shape[0], "resampling": rasterio.warp.Resampling.bilinear}
    rasterio.warp.reproject(HILL, target, **source, **into)
    return target


def around(crs: str, size: float, source: str = ZONE, corner: tuple[float, float] = (X, Y)) -> Shape:
    """20 x 20 pixels of another CRS in the middle of the hill."""
    x, y = Transformer.from_crs(source, crs, always_xy=True).transform(corner[0] + 300, corner[1] - 300)
    return crs, (size, 0.0, x - 10 * size, 0.0, -size, y + 10 * size), 20, 20


def stacked() -> Any:
    """The three days as one array, NaN where masked."""
    return np.stack([np.where(mask, pixels, np.nan)[0] for pixels, mask, _ in DAYS.values()])


def filled(array: Any) -> list[float]:
    """Masked pixels arrive as 0."""
    return np.nan_to_num(np.asarray(array, dtype=float)).tolist()


def with_numpy(function: Callable[..., Any]) -> list[float]:
    columns = [column[~np.isnan(column)] for column in stacked().T]
    return [float(function(column)) if column.size else 0.0 for column in columns]


def seen_from(shape: Shape, crs: str = ZONE, corner: tuple[float, float] = (X, Y)) -> Any:
    """1 where the centre of a pixel lies on the hill's 600 m."""
    x, y = Transformer.from_crs(shape[0], crs, always_xy=True).transform(*centres(shape))
    inside = (x >= corner[0]) & (x < corner[0] + 600) & (y <= corner[1]) & (y > corner[1] - 600)
    return inside.astype(float)


def beyond(shape: Shape) -> Shape:
    """The same pixel size over three times the ground: the hill covers a part of it."""
    crs, (a, _, c, _, e, f), width, height = shape
    return crs, (a, 0.0, c - 33.3 * a, 0.0, e, f - 21.7 * e), 2 * width + 30, 3 * height


IN_ZONE_32, IN_DEGREES, IN_MERCATOR = around("EPSG:32632", 10.0), around("EPSG:4326", 1e-4), around("EPSG:3857", 14.0)
SOUTH = (X, SOUTH_Y)
SOUTH_HOME: Shape = (SOUTH_ZONE, (10.0, 0.0, X + 100, 0.0, -10.0, SOUTH_Y - 100), 20, 20)
SOUTH_32 = around("EPSG:32732", 10.0, SOUTH_ZONE, SOUTH)
SOUTH_AS_NORTH = around("EPSG:32633", 10.0, SOUTH_ZONE, SOUTH)
TURNED: Shape = (ZONE, (0.0, 10.0, X, -10.0, 0.0, Y), 20, 20)


def bilinear(index: str) -> Any:
    return image(index).resample("bilinear")


SAMPLING = [
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

MASKS = [
    Program("a masked pixel takes the fill value", lambda: image("gap"), [0, 0, 30, 70], f"{API}ee-data-computepixels"),
    Program("so does what lies outside", lambda: image(), [70, 0, 0, 0], f"{API}ee-data-computepixels", grid(cols=3)),
    Program("the mask as an image", lambda: image("gap").mask(), [1, 0, 1, 1], f"{API}ee-image-mask"),
    Program("unmask", lambda: image("gap").unmask(7), [0, 7, 30, 70], f"{API}ee-image-unmask"),
    Program("unmask without a value", lambda: image("gap").add(1).unmask(), [1, 0, 31, 71], f"{API}ee-image-unmask"),
    Program(
        "unmask keeps to the footprint",
        lambda: image("gap").unmask(7),
        [0, 0, 7, 30],
        f"{API}ee-image-unmask",
        grid(cols=-1),
    ),
    Program(
        "unmask beyond the footprint",
        lambda: image("gap").unmask(7, False),
        [7, 0, 7, 30],
        f"{API}ee-image-unmask",
        grid(cols=-1),
    ),
    Program(
        "unmask with another image's mask",
        lambda: image("gap").unmask(image().add(5).updateMask(0)).mask(),
        [1, 0, 1, 1],
        f"{API}ee-image-unmask",
    ),
    Program("updateMask", lambda: image().updateMask(image().gt(10)), [0, 0, 30, 70], f"{API}ee-image-updatemask"),
    Program(
        "updateMask brings nothing to life",
        lambda: image("gap").updateMask(1).mask(),
        [1, 0, 1, 1],
        f"{API}ee-image-updatemask",
    ),
    Program("selfMask", lambda: image().selfMask().mask(), [0, 1, 1, 1], f"{API}ee-image-selfmask"),
    Program(
        "a mask that is set shows zeros", lambda: image("gap").add(1).mask(1), [1, 0, 31, 71], f"{API}ee-image-mask"
    ),
    Program(
        "a mask that is set", lambda: image("gap").mask(image().lt(30)).mask(), [1, 1, 0, 0], f"{API}ee-image-mask"
    ),
    Program("an image of nothing is masked", lambda: ee.Image().mask(), [0] * 4, SIGNATURES),
    Program("masks travel through sums", lambda: image().add(image("gap")).mask(), [1, 0, 1, 1], MASKING),
    Program(
        "one mask for all bands",
        lambda: image("land").select(["red", "nir"]).updateMask(image().gt(0)),
        {"red": [0, 300, 0, 50], "nir": [0, 100, 0, -50]},
        f"{API}ee-image-updatemask",
    ),
    *(
        Program(
            f"a part of the ground, {name}",
            lambda index=index: image(index).mask(),
            seen_from(beyond(shape), *home),
            PROJECTIONS,
            beyond(shape),
        )
        for name, index, shape, home in (
            ("in another zone", "hill", IN_ZONE_32, (ZONE, (X, Y))),
            ("in degrees", "hill", IN_DEGREES, (ZONE, (X, Y))),
            ("in Mercator", "hill", IN_MERCATOR, (ZONE, (X, Y))),
            ("at home in the south", "south", SOUTH_HOME, (SOUTH_ZONE, SOUTH)),
            ("in another southern zone", "south", SOUTH_32, (SOUTH_ZONE, SOUTH)),
            ("in a northern zone from the south", "south", SOUTH_AS_NORTH, (SOUTH_ZONE, SOUTH)),
        )
    ),
    Program("clip", lambda: image().clip(left_half()), [0, 10, 0, 0], f"{API}ee-image-clip"),
    Program(
        "clouds of the scene classification",
        lambda: image("land").select("red").updateMask(image("land").select("SCL").neq(9)).unmask(-1, False),
        np.where(CLASSES == 9, -1, RED)[0],
        "https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED",
    ),
    Program(
        "clouds and cirrus of the quality bits",
        lambda: clear_of_bits(),
        [100, 0, 0, 0],
        "https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED",
    ),
]


def left_half() -> Any:
    return ee.Geometry.Rectangle([X, Y - 100, X + 24, Y + 100], proj=ZONE, geodesic=False)


def clear_of_bits() -> Any:
    quality = image("land").select("QA60")
    clear = quality.bitwiseAnd(1 << 10).eq(0).And(quality.bitwiseAnd(1 << 11).eq(0))
    return image("land").select("red").updateMask(clear)


def arithmetic(name: str, expected: list[Any], program: Callable[[], Any]) -> Program:
    return Program(name, program, expected, SIGNATURES)


ARITHMETIC = [
    arithmetic("add", [3, 13, 33, 73], lambda: image().add(3)),
    arithmetic("subtract goes below zero", [-30, -20, 0, 40], lambda: image().subtract(30)),
    arithmetic("multiply leaves 16 bits", [0, 100_000, 300_000, 700_000], lambda: image().multiply(10_000)),
    arithmetic("integers divide to fractions", [0, 2.5, 7.5, 17.5], lambda: image().divide(4)),
    arithmetic("division by zero is zero", [0, 0, 0, 0], lambda: image().divide(0)),
    arithmetic("gt", [0, 0, 1, 1], lambda: image().gt(10)),
    arithmetic("gte", [0, 1, 1, 1], lambda: image().gte(10)),
    arithmetic("lt", [1, 0, 0, 0], lambda: image().lt(10)),
    arithmetic("lte", [1, 1, 0, 0], lambda: image().lte(10)),
    arithmetic("eq", [0, 1, 0, 0], lambda: image().eq(10)),
    arithmetic("neq", [1, 0, 1, 1], lambda: image().neq(10)),
    arithmetic("and", [0, 0, 1, 1], lambda: image().And(image().gt(10))),
    arithmetic("or", [1, 1, 1, 1], lambda: image().Or(image().eq(0))),
    arithmetic("not", [1, 0, 0, 0], lambda: image().Not()),
    arithmetic("bitwiseAnd", (ROW & 6)[0].tolist(), lambda: image().bitwiseAnd(6)),
    arithmetic("abs", [2.7, 0.5, 0.5, 300.4], lambda: image("signed").abs()),
    arithmetic("floor", [-3, -1, 0, 300], lambda: image("signed").floor()),
    arithmetic("ceil", [-2, 0, 1, 301], lambda: image("signed").ceil()),
    arithmetic("round", [-3, 0, 1, 300], lambda: image("signed").round()),
    arithmetic("log10", [0, 1, np.log10(30), np.log10(70)], lambda: image().log10()),
    arithmetic("a cast to bytes cuts off and stays within", [0, 0, 0, 255], lambda: image("signed").toUint8()),
    arithmetic("a cast to integers cuts off towards zero", [-2, 0, 0, 300], lambda: image("signed").toInt16()),
    arithmetic("a cast after rounding", [-3, 0, 1, 300], lambda: image("signed").round().toInt()),
    arithmetic("a cast to float", np.float32(scenes.SIGNED)[0].tolist(), lambda: image("signed").toFloat()),
    arithmetic("a cast to unsigned 16 bits", [0, 0, 150, 65535], lambda: image("signed").multiply(300).toUint16()),
    Program(
        "bands pair by name whatever their order",
        lambda: image("land").select(["red", "nir"]).subtract(image("land").select(["nir", "red"])),
        {"red": [0] * 4, "nir": [0] * 4},
        SIGNATURES,
    ),
    Program(
        "bands of other names pair in order",
        lambda: image("land").select(["red", "nir"]).add(ee.Image([1, 2])),
        {"red": (RED + 1)[0], "nir": (NIR + 2)[0]},
        SIGNATURES,
    ),
    Program(
        "one band goes with all of the longer image, whose names stay",
        lambda: ee.Image(1).add(image("land").select(["red", "nir"])),
        {"red": (RED + 1)[0], "nir": (NIR + 1)[0]},
        SIGNATURES,
    ),
    Program(
        "normalizedDifference, and nothing where a band is below zero",
        lambda: image("land").normalizedDifference(["nir", "red"]),
        {"nd": [0.5, -0.5, 0, 0]},
        f"{API}ee-image-normalizeddifference",
    ),
    Program(
        "normalizedDifference masks what is below zero",
        lambda: image("land").normalizedDifference(["nir", "red"]).mask(),
        {"nd": [1, 1, 1, 0]},
        f"{API}ee-image-normalizeddifference",
    ),
    Program(
        "normalizedDifference forgets the properties",
        lambda: image("land").normalizedDifference(["nir", "red"]).toDictionary(),
        {},
        f"{API}ee-image-normalizeddifference",
    ),
    Program("where", lambda: image().where(image().gt(10), 5), [0, 10, 5, 5], f"{API}ee-image-where"),
    Program(
        "where a test or a value is masked the input stays",
        lambda: image().where(image("gap").gte(0), image("gap").add(1).updateMask(image().neq(30))),
        [1, 10, 30, 71],
        f"{API}ee-image-where",
    ),
    Program(
        "where the input is masked nothing is done",
        lambda: image("gap").where(1, 5).mask(),
        [1, 0, 1, 1],
        f"{API}ee-image-where",
    ),
    Program(
        "remap with a default",
        lambda: image("land").remap([4, 5], [1, 2], 0, "SCL"),
        {"remapped": [1, 0, 0, 2]},
        f"{API}ee-image-remap",
    ),
    Program(
        "remap masks what is not listed",
        lambda: image("land").remap([4, 5], [1, 2], None, "SCL").mask(),
        {"remapped": [1, 0, 0, 1]},
        f"{API}ee-image-remap",
    ),
    Program(
        "addBands numbers a name that is taken",
        lambda: image().addBands(image().add(1)).bandNames(),
        ["b", "b_1"],
        OURS,
    ),
    Program(
        "addBands may overwrite",
        lambda: image().addBands(image().add(1), None, True),
        {"b": [1, 11, 31, 71]},
        f"{API}ee-image-addbands",
    ),
    Program(
        "addBands of some bands",
        lambda: image().addBands(image("land"), ["nir"]).bandNames(),
        ["b", "nir"],
        f"{API}ee-image-addbands",
    ),
]

NEWEST = {name: pixels[0] for name, (pixels, _, _) in DAYS.items()}

COMPOSITES = [
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


def empty() -> Any:
    return ee.ImageCollection(S2).filterDate("1999-01-01", "1999-01-02")


DAY = 86_400_000

COLLECTIONS = [
    Program(
        "filterDate takes its start", lambda: indices(between(0, DAY)), ["day1"], f"{API}ee-imagecollection-filterdate"
    ),
    Program(
        "filterDate leaves out its end",
        lambda: indices(between(1, 2 * DAY)),
        ["day2"],
        f"{API}ee-imagecollection-filterdate",
    ),
    Program(
        "filterBounds looks at footprints",
        lambda: indices(everything().filterBounds(here()).filter(ee.Filter.eq("kind", "row"))),
        ["row"],
        f"{API}ee-imagecollection-filterbounds",
    ),
    Program(
        "a property that is equal", lambda: indices(days().filter(ee.Filter.eq("cloud", 10))), ["day2"], SIGNATURES
    ),
    Program("or not", lambda: indices(days().filter(ee.Filter.neq("cloud", 10))), ["day1", "day3"], SIGNATURES),
    Program("a property below", lambda: indices(days().filter(ee.Filter.lt("cloud", 20))), ["day2"], SIGNATURES),
    Program("or at most", lambda: indices(days().filter(ee.Filter.lte("cloud", 20))), ["day2", "day3"], SIGNATURES),
    Program("or above", lambda: indices(days().filter(ee.Filter.gt("cloud", 20))), ["day1"], SIGNATURES),
    Program("or at least", lambda: indices(days().filter(ee.Filter.gte("cloud", 20))), ["day1", "day3"], SIGNATURES),
    Program(
        "one of a list",
        lambda: indices(ee.ImageCollection(S2).filter(ee.Filter.inList("system:index", ["day3", "day1", "none"]))),
        ["day1", "day3"],
        f"{API}ee-filter-inlist",
    ),
    Program(
        "a list that holds",
        lambda: indices(everything().filter(ee.Filter.listContains("tags", "VH"))),
        ["land"],
        f"{API}ee-filter-listcontains",
    ),
    Program(
        "both filters",
        lambda: indices(days().filter(ee.Filter.And(ee.Filter.gt("cloud", 5), ee.Filter.lt("cloud", 25)))),
        ["day2", "day3"],
        f"{API}ee-filter-and",
    ),
    Program(
        "either filter",
        lambda: indices(days().filter(ee.Filter.Or(ee.Filter.gt("cloud", 25), ee.Filter.lt("cloud", 15)))),
        ["day1", "day2"],
        f"{API}ee-filter-or",
    ),
    Program(
        "a property that is missing passes no filter",
        lambda: days().filter(ee.Filter.gt("nothing", 0)).size(),
        0,
        OURS,
    ),
    Program("sort", lambda: indices(days().sort("cloud")), ["day2", "day3", "day1"], f"{API}ee-imagecollection-sort"),
    Program(
        "sort from above",
        lambda: indices(days().sort("cloud", False)),
        ["day1", "day3", "day2"],
        f"{API}ee-imagecollection-sort",
    ),
    Program("limit", lambda: indices(days().limit(2)), ["day1", "day2"], f"{API}ee-imagecollection-limit"),
    Program(
        "limit after sorting",
        lambda: indices(days().limit(1, "cloud", False)),
        ["day1"],
        f"{API}ee-imagecollection-limit",
    ),
    Program("first", lambda: days().first().get("system:index"), "day1", f"{API}ee-imagecollection-first"),
    Program("the first of nothing is null", lambda: empty().first().getInfo(), None, f"{API}ee-imagecollection-first"),
    Program("size", lambda: days().size(), 3, f"{API}ee-imagecollection-size"),
    Program(
        "merge",
        lambda: indices(days().limit(1).merge(days().filter(ee.Filter.eq("cloud", 20)))),
        ["1_day1", "2_day3"],
        f"{API}ee-imagecollection-merge",
    ),
    Program(
        "map",
        lambda: indices(days().map(lambda one: one.select(["v"]).add(1))),
        ["day1", "day2", "day3"],
        f"{GUIDE}ic_mapping",
    ),
    Program(
        "a list of images",
        lambda: ee.Image(days().toList(2, 1).get(0)).get("system:index"),
        "day2",
        f"{API}ee-imagecollection-tolist",
    ),
    Program(
        "columns of properties",
        lambda: days().reduceColumns(ee.Reducer.toList().repeat(2), ["system:index", "cloud"]).get("list"),
        [["day1", "day2", "day3"], [30, 10, 20]],
        f"{API}ee-imagecollection-reducecolumns",
    ),
]


def between(start_ms: int, end_ms: int) -> Any:
    return ee.ImageCollection(S2).filterDate(start_ms, end_ms).filter(ee.Filter.eq("series", "days"))


METADATA = [
    Program("band names", lambda: image("land").bandNames(), ["red", "nir", "SCL", "QA60"], f"{API}ee-image-bandnames"),
    Program(
        "bands by pattern", lambda: image("land").select("[nr].*").bandNames(), ["red", "nir"], f"{API}ee-image-select"
    ),
    Program(
        "bands by number, under new names",
        lambda: image("land").select([1, 0], ["a", "c"]).bandNames(),
        ["a", "c"],
        f"{API}ee-image-select",
    ),
    Program("rename", lambda: image().rename("new").bandNames(), ["new"], f"{API}ee-image-rename"),
    Program(
        "nominal scale", lambda: image("coarse").projection().nominalScale(), 20, f"{API}ee-projection-nominalscale"
    ),
    Program("native projection", lambda: image("south").projection().getInfo()["crs"], SOUTH_ZONE, PROJECTIONS),
    Program("types", lambda: pixel_types(image("land").addBands(image("hill"))), ["int"] * 4 + ["float"], SIGNATURES),
    Program("a cast shows", lambda: image().toUint8().getInfo()["bands"][0]["data_type"]["max"], 255, SIGNATURES),
    Program("index", lambda: image("gap").id(), "gap", f"{API}ee-image-id"),
    Program("set and get", lambda: image().set("mark", 5).get("mark"), 5, f"{API}ee-image-set"),
    Program("a property that is not there", lambda: image().get("mark"), None, f"{API}ee-image-get"),
    Program(
        "copyProperties",
        lambda: ee.Image(0).copyProperties(image("day1"), ["cloud"]).toDictionary(),
        {"cloud": 30},
        f"{API}ee-image-copyproperties",
    ),
    Program(
        "days, months and leap years",
        lambda: ee.Date("2020-01-31").advance(1, "month"),
        {"type": "Date", "value": 1_582_934_400_000},
        f"{API}ee-date-advance",
    ),
]

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


GEOMETRIES = [
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

REDUCTIONS = [
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


def others() -> Any:
    """The first two days, with another band and another property."""
    return (
        days()
        .limit(2)
        .map(
            lambda one: (
                one.select(["v"], ["w"])
                .multiply(10)
                .set("mark", one.get("cloud"))
                .set("system:index", one.get("system:index"))
            )
        )
    )


LINK = f"{API}ee-image-linkcollection"

LINKS = [
    Program(
        "a band of the image of the same index",
        lambda: image("day1").linkCollection(others(), ["w"]),
        {"v": [1, 2, 3, 0], "q": [4, 3, 2, 1], "w": [10, 20, 30, 0]},
        LINK,
    ),
    Program(
        "a property of the image of the same index",
        lambda: image("day2").linkCollection(others(), linkedProperties="mark").get("mark"),
        10,
        LINK,
    ),
    Program(
        "without a match bands are masked",
        lambda: image("day3").linkCollection(others(), "w").mask(),
        {"v": [1, 1, 0, 0], "q": [1, 1, 1, 1], "w": [0, 0, 0, 0]},
        LINK,
    ),
    Program(
        "without a match properties are null",
        lambda: image("day3").linkCollection(others(), ["w"], ["cloud"]).get("cloud"),
        None,
        LINK,
    ),
    Program(
        "all images of a collection are linked",
        lambda: days().linkCollection(others(), ["w"]).select("w").count(),
        [2, 1, 2, 0],
        f"{API}ee-imagecollection-linkcollection",
    ),
    Program(
        "a match by another property",
        lambda: (
            image("day1")
            .linkCollection(others().map(lambda one: one.set("cloud", 30)), ["w"], matchPropertyName="cloud")
            .bandNames()
        ),
        ["v", "q", "w"],
        LINK,
    ),
]

MORNING = datetime(2020, 8, 18, 9, 5, 7, 43_000, tzinfo=UTC)


def as_text(pattern: str | None, zone: str | None = None) -> Any:
    return ee.Date(int(MORNING.timestamp() * 1000)).format(pattern, zone)


SEQUENCE, FORMAT = f"{API}ee-list-sequence", f"{API}ee-date-format"
JODA = "https://www.joda.org/joda-time/apidocs/org/joda/time/format/DateTimeFormat.html"

VALUES = [
    Program("a sequence", lambda: ee.List.sequence(0, 5), [0, 1, 2, 3, 4, 5], SEQUENCE),
    Program("a sequence with a step", lambda: ee.List.sequence(0, 10, 2), [0, 2, 4, 6, 8, 10], SEQUENCE),
    Program("a sequence that stops before its end", lambda: ee.List.sequence(3, 6, 2), [3, 5], SEQUENCE),
    Program("so many steps", lambda: ee.List.sequence(0, None, -2, 6), [0, -2, -4, -6, -8, -10], SEQUENCE),
    Program("so many steps of one", lambda: ee.List.sequence(10, None, None, 3), [10, 11, 12], SEQUENCE),
    Program("a count makes the step", lambda: ee.List.sequence(0, 10, 2, 3), [0, 5, 10], SEQUENCE),
    Program("a wide count", lambda: ee.List.sequence(-1e9, 1e9, None, 3), [-1_000_000_000, 0, 1_000_000_000], SEQUENCE),
    Program("a long count", lambda: ee.List.sequence(0, 10, 2, 999).size(), 999, SEQUENCE),
    Program(
        "fractions reach their end",
        lambda: ee.List.sequence(0, 1, 0.1).getInfo(),
        pytest.approx(np.linspace(0, 1, 11).tolist()),
        SEQUENCE,
    ),
    Program("a step of zero", lambda: ee.List.sequence(0, 1, 0), Refused(400, "'step' must not be zero"), SEQUENCE),
    Program("no end at all", lambda: ee.List.sequence(0), Refused(400, "'end' or 'count' must be specified"), SEQUENCE),
    Program("a date as text", lambda: ee.Date("2020-08-18").format(), "2020-08-18T00:00:00", FORMAT),
    Program("a date in Zulu", lambda: ee.Date("2020-08-18").format(None, "Zulu"), "2020-08-18T00:00:00", FORMAT),
    Program("a day", lambda: as_text("YYYY-MM-dd"), MORNING.strftime("%Y-%m-%d"), JODA),
    Program("day of the year", lambda: as_text("yyyyDDD"), MORNING.strftime("%Y%j"), JODA),
    Program("words", lambda: as_text("EEEE, d. MMMM yy"), MORNING.strftime("%A, %d. %B %y"), JODA),
    Program("short words", lambda: as_text("EEE MMM"), MORNING.strftime("%a %b"), JODA),
    Program("hours of a half day", lambda: as_text("hh:mm:ss.SSS a"), "09:05:07.043 AM", JODA),
    Program("week of the year", lambda: as_text("xxxx-'W'ww-e"), MORNING.strftime("%G-W%V-%u"), JODA),
    Program("quotes", lambda: as_text("H 'o''clock' ''"), "9 o'clock '", JODA),
    Program("no pattern", lambda: as_text("b"), Refused(400, "Illegal pattern component: b"), JODA),
    Program("names of time zones", lambda: as_text("HH:mm z"), Refused(501, "Date.format with 'z'"), OURS),
    Program(
        "another time zone",
        lambda: as_text(None, "America/Los_Angeles"),
        Refused(501, "another time zone than UTC"),
        OURS,
    ),
]

WHOLE: Shape = (ZONE, (10.0, 0.0, X, 0.0, -10.0, Y), 4096, 4096)

ERRORS = [
    Program(
        "more than 48 MiB",
        lambda: ee.Image([0, 0]).toUint16(),
        Refused(400, "Total request size (67108864 bytes) must be less than or equal to 50331648 bytes."),
        f"{API}ee-data-computepixels",
        WHOLE,
    ),
    Program("just 48 MiB", lambda: ee.Image([1, 1, 1]).toUint8(), "48 MiB", f"{API}ee-data-computepixels", WHOLE),
    Program(
        "a side of 32,769 pixels",
        lambda: ee.Image(0).toUint8(),
        Refused(400, "Pixel grid dimensions (32769x1) must be less than or equal to 32768."),
        f"{API}ee-data-computepixels",
        grid(32_769, 1),
    ),
    Program(
        "1,025 bands",
        lambda: ee.Image.constant([0] * 1025).toUint8(),
        Refused(400, "(1025) must be less than or equal to 1024"),
        f"{API}ee-data-computepixels",
    ),
    Program(
        "a request of more than 10 MiB",
        lambda: ee.List(["x" * 11_000_000]),
        Refused(400, "Request payload size exceeds the limit: 10485760 bytes."),
        "https://github.com/gee-community/geemap/issues/1092",
    ),
    Program(
        "a band that is not there",
        lambda: image().select("B4").bandNames(),
        Refused(400, "Band pattern 'B4' did not match any bands. Available bands: [b]"),
        DEBUGGING,
    ),
    Program(
        "a band of the first of nothing",
        lambda: ee.Image(empty().first()).select("b").bandNames(),
        Refused(400, "Image.select: Parameter 'input' is required and may not be null."),
        DEBUGGING,
    ),
    Program(
        "a band of the mean of nothing",
        lambda: empty().mean().select("b").bandNames(),
        Refused(400, "Band pattern 'b' was applied to an Image with no bands"),
        f"{DEBUGGING}#no-bands",
    ),
    Program(
        "an image that is not there",
        lambda: image("missing").bandNames(),
        Refused(400, "Image.load: Image asset"),
        DEBUGGING,
    ),
    Program(
        "images of different bands",
        lambda: everything().filterBounds(here()).mean().bandNames(),
        Refused(400, "Expected a homogeneous image collection"),
        DEBUGGING,
    ),
    Program(
        "a text for a number",
        lambda: ee.Image.constant(ee.String("x")).bandNames(),
        Refused(400, "Image.constant"),
        DEBUGGING,
    ),
    Program(
        "bits of fractions",
        lambda: image("signed").bitwiseAnd(1).bandNames(),
        Refused(400, "Bitwise operands must be integers"),
        OURS,
    ),
    Program(
        "known but not built",
        lambda: image().entropy(ee.Kernel.square(1)),
        Refused(501, "is not implemented by the local Earth Engine"),
        OURS,
    ),
]

PROGRAMS = [
    *SAMPLING,
    *MASKS,
    *ARITHMETIC,
    *COMPOSITES,
    *COLLECTIONS,
    *METADATA,
    *GEOMETRIES,
    *REDUCTIONS,
    *LINKS,
    *VALUES,
    *ERRORS,
]


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEarthEngine]:
    planet = {"kind": "python", "file": str(Path(scenes.__file__)), "function": "world"}
    with LocalEarthEngine(planet, workers=1) as running:
        connect(running)
        ee.data.setMaxRetries(0)  # the client would ask again after a 501, as after every 5xx
        yield running
        ee.data.setMaxRetries(5)
        ee.Reset()


def pixels_of(made: Any, shape: Shape) -> Any:
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    crs, affine, width, height = shape
    wanted = {
        "crsCode": crs,
        "affineTransform": dict(zip(names, affine, strict=True)),
        "dimensions": {"width": width, "height": height},
    }
    return ee.data.computePixels({"expression": made, "fileFormat": "NUMPY_NDARRAY", "grid": wanted})


def answer(program: Program) -> Any:
    made = program.run()
    if isinstance(made, ee.Image):
        return pixels_of(made, program.grid)
    return made.getInfo() if isinstance(made, ee.ComputedObject) else made


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_program_gives_what_earth_engine_documents(program: Program, engine: LocalEarthEngine) -> None:
    if isinstance(program.expected, Refused):
        with pytest.raises(ee.EEException) as caught:
            answer(program)
        assert program.expected.words in str(caught.value)
        assert caught.value.__context__.resp.status == program.expected.code
        return

    found = answer(program)

    if not isinstance(found, np.ndarray):
        assert found == (pytest.approx(program.expected) if isinstance(program.expected, float) else program.expected)
    elif isinstance(program.expected, str):
        assert found.nbytes == 48 * 2**20
    else:
        expected = program.expected if isinstance(program.expected, dict) else {found.dtype.names[0]: program.expected}
        assert list(found.dtype.names) == list(expected)
        for name, wanted in expected.items():
            assert np.abs(found[name] - np.asarray(wanted, dtype=float)).max() <= program.within, name


def test_every_program_has_a_name_of_its_own_and_a_source() -> None:
    assert len({program.name for program in PROGRAMS}) == len(PROGRAMS) >= 220
    assert all(program.source for program in PROGRAMS)
