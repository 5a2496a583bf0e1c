"""Maps of classes as cloud-optimised GeoTIFFs: codes with colours and names, confidence in per cent.

Rows are written as they come into a plain GeoTIFF beside the map; the map itself appears when all rows are there. Names
of the classes and the raster attribute table are in ``<map>.aux.xml``, where GDAL keeps them for GeoTIFFs.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window

from ..errors import MachineError
from ..files.atomic import write_atomically
from ..spec.classes import CODE_UNMARKED, LandCover
from .gdal import check_libraries, fixed_options
from .geotiff import RasterGrid, plain_cause

UNKNOWN_CONFIDENCE = 255
"""Nodata of a raster of confidence, whose values are 0..100 per cent."""

UNKNOWN_PROBABILITY = 255
"""Nodata of a raster of probabilities."""

PROBABILITY_STEPS = 200
"""Stored value of a probability of 1: steps of half a per cent. A calibration leaves far more error, and one byte for a
class is half of what uint16 takes."""

_ROWS = {"driver": "GTiff", "dtype": "uint8", "compress": "zstd", "zstd_level": 1, "bigtiff": "if_safer"}
_COG = {"driver": "COG", "compress": "deflate", "level": 6, "blocksize": 512, "bigtiff": "if_safer", "num_threads": 1}
"""Level 9 would make maps of classes 12 % smaller, and take four times as long as all else that is written."""


class RowWriter:
    """Writes uint8 rasters, rows from the top to the bottom.

    Args:
        path: of the finished raster.
        grid: of the image.
        nodata: value of pixels without one.
        bands: their names; empty = one band without a name.
        scale: of a stored step, where values are not stored as they are.
        overviews: how coarser levels are made: the commonest value, or the mean.
        colours: value -> (r, g, b, a).
        tags: of the file, one line of text each.
    """

    def __init__(
        self,
        path: Path,
        grid: RasterGrid,
        *,
        nodata: int,
        overviews: Literal["mode", "average"],
        bands: Sequence[str] = (),
        scale: float | None = None,
        colours: Mapping[int, tuple[int, int, int, int]] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.path, self._rows = path, path.with_name(f".{path.name}.rows")
        self._grid, self._nodata, self._overviews = grid, nodata, overviews
        self._bands, self._scale = tuple(bands), scale
        self._colours, self._tags = colours, tags or {}
        self._written: list[tuple[Window, int]] = []
        self._stack = ExitStack()

    @contextmanager
    def open(self) -> Iterator[RowWriter]:
        """Writes go to a file beside the raster, which is gone afterwards, whatever happens."""
        check_libraries()
        height, width = self._grid.shape
        count = max(1, len(self._bands))
        profile: dict[str, Any] = {**_ROWS, "count": count, "height": height, "width": width, "nodata": self._nodata}
        profile |= {"crs": self._grid.crs, "transform": rasterio.Affine(*self._grid.transform), "blockysize": 16}
        try:
            with fixed_options(), plain_errors(self.path):
                with rasterio.open(self._rows, "w", **profile) as file:
                    if self._colours:
                        file.write_colormap(1, dict(self._colours))
                    if self._bands:
                        file.descriptions = self._bands
                    if self._scale is not None:
                        file.scales = (self._scale,) * count
                    file.update_tags(**self._tags)
                    self._file = file
                    yield self
                self._finish()
        finally:
            for left in (self._rows, self._part):
                with contextlib.suppress(OSError):
                    left.unlink()

    @property
    def _part(self) -> Path:
        return self.path.with_name(f".{self.path.name}.part")

    def write(self, start: int, values: NDArray[np.uint8]) -> None:
        """Rows of the image from ``start`` on: uint8 (rows, W), or (bands, rows, W)."""
        planes = values if values.ndim == 3 else values[np.newaxis]
        window = Window(0, start, planes.shape[2], planes.shape[1])
        self._file.write(planes, window=window)
        self._written.append((window, zlib.crc32(planes.tobytes())))

    def _finish(self) -> None:
        rasterio.shutil.copy(self._rows, self._part, overview_resampling=self._overviews, **_COG)
        self._check()
        self._part.replace(self.path)

    def _check(self) -> None:
        """Read everything back: on a full disk GDAL may end a file without a word, and its blocks are then 0.

        Levels of the overviews lie before the full resolution in a COG, so that they are there where the latter is.
        """
        with rasterio.open(self._part) as file:
            for window, checksum in self._written:
                if zlib.crc32(file.read(window=window).tobytes()) != checksum:
                    raise MachineError(
                        f"cannot write {self.path}: the disk took a part of it; free some space, then run the same "
                        "command again"
                    )


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """GDAL's errors while a file is written, as one line."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        # A copy passes GDAL's own errors on; rasterio does not wrap them.
        free = os.statvfs(path.parent)
        space = "" if free.f_bavail else "; the disk is full: free some space"
        raise MachineError(
            f"cannot write {path}: {plain_cause(error)}{space}; then run the same command again"
        ) from None


def tags_of(path: Path) -> dict[str, str]:
    """Tags of a raster; empty where the file is none."""
    try:
        with fixed_options(), rasterio.open(path) as file:
            found: dict[str, str] = file.tags()
    except RasterioError:
        return {}
    return found


def count_codes(path: Path) -> NDArray[np.int64]:
    """Pixels of each code of a map: int64 (256,). Memory does not grow with the map."""
    counts = np.zeros(256, dtype=np.int64)
    with fixed_options(), rasterio.open(path) as file:
        for _, window in file.block_windows(1):
            counts += np.bincount(file.read(1, window=window).ravel(), minlength=256)
    return counts


class HasClasses(Protocol):
    """A class table, or the classes of a change map: code = place in order + 1."""

    @property
    def classes(self) -> tuple[LandCover, ...]: ...


def colours_of(classes: HasClasses) -> dict[int, tuple[int, int, int, int]]:
    """Code -> colour of each class; pixels without a class are transparent."""
    return {CODE_UNMARKED: (0, 0, 0, 0)} | {one.code: (*one.rgb, 255) for one in classes.classes}


def write_names(path: Path, classes: HasClasses, pixels: Sequence[int]) -> None:
    """Write ``<map>.aux.xml``: names of the classes, and the raster attribute table.

    Args:
        path: of the map.
        pixels: of each class, in the order of the table.
    """
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    names = ElementTree.SubElement(band, "CategoryNames")
    for title in ("no data", *(one.title for one in classes.classes)):
        ElementTree.SubElement(names, "Category").text = title
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    # Types 0 integer, 2 text; usages of GDAL: 5 value, 1 pixel count, 2 name, 6-8 red, green, blue.
    columns = (("Value", 0, 5), ("Count", 1, 1), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))
    for number, (name, kind, usage) in enumerate(columns):
        column = ElementTree.SubElement(table, "FieldDefn", index=str(number))
        for key, value in (("Name", name), ("Type", kind), ("Usage", usage)):
            ElementTree.SubElement(column, key).text = str(value)
    for number, (one, count) in enumerate(zip(classes.classes, pixels, strict=True)):
        row = ElementTree.SubElement(table, "Row", index=str(number))
        for value in (one.code, count, one.title, *one.rgb):
            ElementTree.SubElement(row, "F").text = str(value)
    ElementTree.indent(root)
    content = ElementTree.tostring(root, encoding="utf-8") + b"\n"
    write_atomically(path.with_name(path.name + ".aux.xml"), content, option="-o")
