"""Labels of users, made for tests: fields as polygons, rasters of class codes, class tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from dwplus.pipeline.dataset.class_file import read_class_table
from dwplus.pipeline.spec.classes import ClassTable
from numpy.typing import NDArray

TABLE = """
name = "crops"
unlabelled = 0
ignored = [9]

[[class]]
code = 1
name = "wheat"
values = ["wheat", "WW"]

[[class]]
code = 2
name = "maize"

[[class]]
code = 7
name = "forest"
"""
"""Codes of stored labels: 0 unmarked, 1 wheat, 2 maize, 3 forest, 4 ignored."""


def write_table(folder: Path) -> Path:
    path = folder / "crops.toml"
    path.write_text(TABLE)
    return path


def crops(folder: Path) -> ClassTable:
    return read_class_table(write_table(folder))


def square(x: float, y: float, side: float = 1000.0) -> shapely.Polygon:
    """A square whose lower left corner lies at (x, y)."""
    return shapely.box(x, y, x + side, y + side)


def fields(
    shapes: Sequence[shapely.Geometry | None], landuse: Sequence[Any], crs: Any = 32633, **columns: Any
) -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame({"landuse": list(landuse), **columns}, geometry=list(shapes), crs=crs)


def scattered(places: int = 12, *, step_m: float = 25_500.0) -> geopandas.GeoDataFrame:
    """Squares of 1 km, one class after the other, each in a tile and block of its own, in EPSG:32633.

    They lie inside of their tiles of 5,100 m: x and y are multiples of 25,500 plus 1,000.
    """
    names = ["wheat", "maize", "forest"]
    shapes = [square(408_000 + (n % 4) * step_m + 1000, 5_508_000 + (n // 4) * step_m + 1000) for n in range(places)]
    return fields(shapes, [names[n % 3] for n in range(places)])


def write_codes(
    path: Path,
    codes: NDArray[Any],
    *,
    crs: Any = "EPSG:32633",
    transform: Affine | None = None,
    x: float = 500_000.0,
    y: float = 5_500_000.0,
    pixel: float = 10.0,
    **profile: Any,
) -> Path:
    """A raster of codes (H, W) whose upper left corner lies at (x, y)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = codes.shape
    transform = transform or Affine(pixel, 0, x, 0, -pixel, y)
    profile = {"driver": "GTiff", "dtype": codes.dtype, "count": 1, "crs": crs, "transform": transform, **profile}
    with rasterio.open(path, "w", height=height, width=width, **profile) as file:
        file.write(codes, 1)
    return path


def codes_of(folder: Path) -> Mapping[str, NDArray[np.uint8]]:
    """Tile id -> stored codes, of all own labels of a data root."""
    found = {}
    for path in sorted((folder / "labels" / "own").glob("*.tif")):
        with rasterio.open(path) as file:
            found[path.stem] = file.read(1)
    return found


def files_of(folder: Path) -> dict[str, bytes]:
    """Content of every file of a data root but its ledger, which has times."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "ledger.jsonl")
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}
