"""Pixels of a product on the grid of a tile: each band by itself, as ``rasterio.warp.reproject`` does it.

GDAL reads of a file what the tile needs, block by block: memory does not grow with the size of a scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling as Method
from rasterio.errors import RasterioError
from rasterio.warp import reproject

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
        for place, (number, unit) in enumerate(zip(numbers, units, strict=True)):
            try:
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
                raise DataError(
                    f"{path.name} is damaged, or cannot be brought to {tile.crs}: {error.__cause__ or error}; get it "
                    "again"
                ) from None
    return out
