"""What a row of the conformity table is, and what its programs share: scenes, grids, and what pixels must be.

What must come out is computed with numpy, pyproj or rasterio, never with the server's own code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ee
import numpy as np
import rasterio.warp
from affine import Affine
from pyproj import Transformer

from support.conformity_scenes import DAYS, HILL, SOUTH_Y, SOUTH_ZONE, ZONE, X, Y
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


def empty() -> Any:
    return ee.ImageCollection(S2).filterDate("1999-01-01", "1999-01-02")
