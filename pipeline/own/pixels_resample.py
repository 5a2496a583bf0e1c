"""Pixels of a product on the grid of a tile: each band by itself, as ``rasterio.warp.reproject`` does it.

GDAL reads of a file what the tile needs, block by block: memory does not grow with the size of a scene. Where the file
lies on the tile's grid already, its pixels are taken as they are: every method would give the same, in five times the
time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling as Method
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.warp import reproject
from rasterio.windows import Window

from ..dataset.added_pixels import Resampling
from ..errors import DataError
from ..raster.geotiff import open_raster
from ..spec.tiles import Tile
from .pixels_units import Unit

METHODS: dict[Resampling, Method] = {
    "bilinear": Method.bilinear,
    "nearest": Method.nearest,
    "cubic": Method.cubic,
    "average": Method.average,
}


def resampled(
    path: Path, numbers: Sequence[int], units: Sequence[Unit], tile: Tile, method: Resampling
) -> NDArray[np.float32]:
    """Values of some bands of one file on the grid of a tile, in the unit of the file.

    Args:
        numbers: of the bands, from 1.
        units: of the same bands; pixels of their no-data value do not enter.

    Returns:
        float32 (bands, H, W), NaN where the file has no data or does not reach.

    Raises:
        DataError: the file is missing or damaged.
    """
    out = np.full((len(numbers), *tile.shape), np.nan, dtype=np.float32)
    with open_raster(path) as file:
        try:
            corner = _corner_on_grid(file, tile)
            if corner is not None:
                _take(file, numbers, units, corner, out)
                return out
            for place, (number, unit) in enumerate(zip(numbers, units, strict=True)):
                reproject(
                    source=rasterio.band(file, number),
                    destination=out[place],
                    src_nodata=np.nan if unit.nodata is None else unit.nodata,
                    dst_transform=tile.affine,
                    dst_crs=tile.crs,
                    dst_nodata=np.nan,
                    resampling=METHODS[method],
                    init_dest_nodata=True,
                )
        except RasterioError as error:
            raise _damaged(path, tile, error) from None
    return out


def _damaged(path: Path, tile: Tile, error: RasterioError) -> DataError:
    return DataError(
        f"{path.name} is damaged, or cannot be brought to {tile.crs}: {error.__cause__ or error}; get it again"
    )


def whole_numbers(path: Path, number: int, tile: Tile) -> NDArray[Any] | None:
    """Values of one band of a file as it holds them: uint8, int16 or uint16 (H, W).

    None where the file holds other numbers, or has another grid than the tile, or not all of it.

    Raises:
        DataError: the file is missing or damaged.
    """
    with open_raster(path) as file:
        corner = _corner_on_grid(file, tile)
        if corner is None or file.dtypes[number - 1] not in _WHOLE:
            return None
        (top, left), (height, width) = corner, tile.shape
        if top < 0 or left < 0 or top + height > file.height or left + width > file.width:
            return None
        try:
            found: NDArray[Any] = file.read(number, window=Window(left, top, width, height))
        except RasterioError as error:
            raise _damaged(path, tile, error) from None
    return found


_WHOLE = ("uint8", "int16", "uint16")

_OFF_GRID_PX = 1e-4
"""How far the grids of a file and of a tile may lie apart anywhere: a millimetre of a pixel of 10 m."""


def _corner_on_grid(file: DatasetReader, tile: Tile) -> tuple[int, int] | None:
    """Row and column of a file's pixel where the tile begins; None where the file has another grid."""
    if file.crs is None or file.crs != CRS.from_user_input(tile.crs):
        return None
    offsets = []
    for row, column in ((0, 0), (0, tile.shape[1]), (tile.shape[0], 0)):
        x, y = tile.affine @ (column, row)
        at_column, at_row = ~file.transform @ (x, y)
        offsets.append((at_row - row, at_column - column))
    begin = round(offsets[0][0]), round(offsets[0][1])
    off = max(abs(found - whole) for offset in offsets for found, whole in zip(offset, begin, strict=True))
    return begin if off < _OFF_GRID_PX else None


def _take(
    file: DatasetReader,
    numbers: Sequence[int],
    units: Sequence[Unit],
    corner: tuple[int, int],
    out: NDArray[np.float32],
) -> None:
    """Copy what the file has of the tile; what it has not stays as it is."""
    (top, left), (height, width) = corner, out.shape[1:]
    first_row, last_row = max(0, top), min(file.height, top + height)
    first_column, last_column = max(0, left), min(file.width, left + width)
    if first_row >= last_row or first_column >= last_column:
        return
    window = Window(first_column, first_row, last_column - first_column, last_row - first_row)
    inside = out[:, first_row - top : last_row - top, first_column - left : last_column - left]
    inside[:] = file.read(list(numbers), window=window, out_dtype="float32")
    for band, unit in zip(inside, units, strict=True):
        if unit.nodata is not None:
            band[band == np.float32(unit.nodata)] = np.nan
