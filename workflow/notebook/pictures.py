"""Pictures that a web map can place: arrays on any grid become a PNG in Web Mercator, held in a ``data:`` URL.

No tile server is needed, and a notebook keeps its pictures when it is saved.
"""

from __future__ import annotations

import base64
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.transform import array_bounds
from rasterio.warp import Resampling, calculate_default_transform, reproject, transform_bounds

from ...pipeline.errors import DataError, UsageError
from ...pipeline.raster.gdal import fixed_options
from ...pipeline.spec.classes import ClassTable

MAX_SIDE_PX = 2048
"""Longest side of a picture; larger maps are shown coarser."""

_EARTH_M = 6378137.0
"""Radius of Web Mercator's sphere. Source: EPSG:3857"""

Bounds = tuple[float, float, float, float]
"""(west, south, east, north) in degrees; east may exceed 180 beyond the date line."""


@dataclass(frozen=True)
class Picture:
    """A picture on a map.

    Attributes:
        name: of the layer.
        url: of the PNG, which it holds.
        bounds: of the picture.
    """

    name: str
    url: str
    bounds: Bounds


@dataclass(frozen=True)
class ClassLegend:
    """What the colours of a layer mean: (title, ``#rrggbb``) of each class, in order."""

    title: str
    entries: tuple[tuple[str, str], ...]


def legend_of(classes: ClassTable, title: str = "Classes") -> ClassLegend:
    return ClassLegend(title, tuple((one.title, f"#{one.colour}") for one in classes.classes))


def opaque(picture: NDArray[np.floating[Any]], seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """uint8 (4, H, W): colours of 0..1, (H, W) or (H, W, 3), transparent where nothing was seen."""
    rgb = picture if picture.ndim == 3 else np.repeat(picture[..., np.newaxis], 3, axis=2)
    colours = np.floor(255 * np.moveaxis(rgb, -1, 0) + 0.5).astype(np.uint8)
    return np.concatenate([colours, np.where(seen, 255, 0).astype(np.uint8)[np.newaxis]])


def place(name: str, rgba: NDArray[np.uint8], crs: Any, transform: Any, *, most_px: int = MAX_SIDE_PX) -> Picture:
    """An array as a picture on a web map, by the nearest pixel: no colour is made up between two classes.

    Args:
        rgba: uint8 (4, H, W).
        crs, transform: of its grid.
        most_px: longest side of the picture.

    Raises:
        UsageError: the grid does not fit on a web map.
    """
    height, width = rgba.shape[1:]
    bounds = array_bounds(height, width, transform)
    try:
        with fixed_options():
            middle = _middle_of(crs, bounds)
            target = _mercator(middle)
            affine, columns, rows = calculate_default_transform(crs, target, width, height, *bounds)
            if (longest := max(columns, rows)) > most_px:
                coarse = {"resolution": affine.a * longest / most_px}
                affine, columns, rows = calculate_default_transform(crs, target, width, height, *bounds, **coarse)
            warped = np.zeros((4, rows, columns), dtype=np.uint8)
            into = {"dst_transform": affine, "dst_crs": target, "resampling": Resampling.nearest}
            for band, layer in zip(rgba, warped, strict=True):
                reproject(band, layer, src_transform=transform, src_crs=crs, **into)
    except (RasterioError, ValueError) as error:
        raise UsageError(f"{name} cannot be placed on a web map ({error}); reproject it to a CRS of its zone") from None
    return Picture(
        name, f"data:image/png;base64,{base64.b64encode(_png(warped)).decode()}", _degrees(affine, warped, middle)
    )


def _middle_of(crs: Any, bounds: Bounds) -> float:
    """Longitude of the middle of a grid. A picture's own Mercator has its middle there: the date line lies afar."""
    west, _, east, _ = transform_bounds(crs, "EPSG:4326", *bounds)
    return float(west + (east - west) % 360 / 2)


def _mercator(lon: float) -> str:
    """Web Mercator with its middle at a longitude; degrees are not shifted to the sphere, as in EPSG:3857."""
    return (
        f"+proj=merc +a={_EARTH_M} +b={_EARTH_M} +lat_ts=0 +lon_0={lon:.12g} +x_0=0 +y_0=0 +k=1 +units=m "
        "+nadgrids=@null +wktext +no_defs"
    )


def _degrees(affine: Any, pixels: NDArray[np.uint8], middle: float) -> Bounds:
    left, lower, right, upper = array_bounds(pixels.shape[1], pixels.shape[2], affine)
    west, east = (middle + float(np.degrees(x / _EARTH_M)) for x in (left, right))
    south, north = (float(np.degrees(np.arctan(np.sinh(y / _EARTH_M)))) for y in (lower, upper))
    return west, south, east, north


def _png(rgba: NDArray[np.uint8]) -> bytes:
    _, height, width = rgba.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with fixed_options(), MemoryFile() as memory:
            with memory.open(driver="PNG", width=width, height=height, count=4, dtype="uint8") as target:
                target.write(rgba)
            content: bytes = memory.read()
    return content


@dataclass(frozen=True)
class MapFile:
    """A raster of classes as it is shown.

    Attributes:
        picture: of its classes.
        legend: titles and colours of the classes that its file names; those that occur where it names none.
        sandbox: whether the network that made it was trained on synthetic pixels.
        coarser: how many of its pixels a pixel of the picture stands for, along a side; 1 = all are shown.
    """

    picture: Picture
    legend: ClassLegend
    sandbox: bool
    coarser: float


def read_map(path: Path, *, most_px: int = MAX_SIDE_PX) -> MapFile:
    """A raster of classes with the colours and names that its file holds.

    Raises:
        DataError: it cannot be read, has no CRS, or no colour table.
    """
    try:
        with fixed_options(), rasterio.open(path) as file:
            if file.crs is None:
                raise DataError(f"{path} has no CRS; a map needs one to be placed")
            if file.count != 1 or file.dtypes[0] != "uint8":
                raise DataError(
                    f"{path} holds {file.count} bands of {file.dtypes[0]}; a map of classes has one of uint8"
                )
            try:
                colours = dict(file.colormap(1))
            except ValueError:
                raise DataError(f"{path} has no colour table; show a map that 'dwplus predict' wrote") from None
            coarser = max(1.0, max(file.shape) / most_px)
            shape = tuple(max(1, round(side / coarser)) for side in file.shape)
            codes = file.read(1, out_shape=shape, resampling=Resampling.nearest)
            affine = file.transform @ file.transform.scale(file.width / shape[1], file.height / shape[0])
            crs, nodata, tags, titles = file.crs, file.nodata, file.tags(), _titles(path)
    except RasterioError as error:
        raise DataError(f"{path} cannot be read as a map: {error}") from None
    table = np.zeros((256, 4), dtype=np.uint8)
    for code, rgba in colours.items():
        table[code] = rgba
    if nodata is not None and 0 <= nodata <= 255:
        table[int(nodata), 3] = 0
    found = np.unique(codes).tolist()
    named = titles or {code: f"code {code}" for code in found}
    entries = [
        (title, "#{:02x}{:02x}{:02x}".format(*table[code][:3])) for code, title in named.items() if table[code, 3]
    ]
    picture = place(path.name, np.moveaxis(table[codes], -1, 0), crs, affine, most_px=most_px)
    return MapFile(picture, ClassLegend("Classes", tuple(entries)), bool(tags.get("SANDBOX")), coarser)


def _titles(path: Path) -> dict[int, str]:
    """Code -> title, of the raster attribute table beside a map, else of the tag CLASSES; empty without either."""
    from xml.etree import ElementTree

    beside = path.with_name(path.name + ".aux.xml")
    found: dict[int, str] = {}
    try:
        rows = ElementTree.parse(beside).getroot().iter("Row") if beside.is_file() else ()
        found = {int(cells[0].text or ""): str(cells[2].text) for cells in rows}
    except (ElementTree.ParseError, ValueError, IndexError):
        found = {}
    if found:
        return found
    with rasterio.open(path) as file:
        words: Sequence[str] = file.tags().get("CLASSES", "").split()
    pairs = [word.split("=", 1) for word in words if "=" in word]
    return {int(code): name for code, name in pairs if code.isdecimal() and int(code) < 256}
