"""Small maps as ``predict`` leaves them, of given codes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from dwplus.pipeline.raster.class_map import RowWriter, colours_of, write_names
from dwplus.pipeline.raster.geotiff import RasterGrid
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, ClassTable
from numpy.typing import NDArray

TAGS = {
    "DWPLUS": "0.0",
    "MODEL": "specsar-former",
    "TRAINED_ON": "earthengine",
    "IDENTITY": "0123456789abcdef",
    "RUN": "feedfeedfeedfeed",
    "PIXELS": "files",
    "DATE": "2024-07-03",
    "RECIPE": "one Sentinel-2 image; bands B2 B3 B4",
    "SETTINGS": "window 512, overlap 64",
    "IMAGES": "s2_20240703 of 2024-07-03",
}


def write_map(
    path: Path,
    codes: NDArray[np.uint8],
    *,
    crs: str = "EPSG:32632",
    corner: tuple[float, float] = (500_000.0, 5_000_000.0),
    pixel: float = 10.0,
    tags: Mapping[str, str] | None = None,
    classes: ClassTable = DYNAMIC_WORLD,
) -> Path:
    """A map of ``codes``, uint8 (H, W), 0 = no data; its path."""
    grid = RasterGrid(crs, (pixel, 0.0, corner[0], 0.0, -pixel, corner[1]), codes.shape)
    words = " ".join(f"{one.code}={one.name}" for one in classes.classes)
    said = {**TAGS, "CLASSES": words, **(tags or {})}
    said = {key: value for key, value in said.items() if value}
    with RowWriter(path, grid, nodata=0, overviews="mode", colours=colours_of(classes), tags=said).open() as file:
        file.write(0, codes)
    write_names(path, classes, [int((codes == one.code).sum()) for one in classes.classes])
    return path
