"""Polygons over a map: the area of interest, and districts that are reported one by one.

A pixel belongs to the polygon that holds its centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from ...pipeline.errors import DataError
from ...pipeline.own.vectors import Layer, check_columns, kind_of, open_layer, read_batches
from .ellipsoid import Grid

_NAME_COLUMNS = ("name", "district", "title", "id")
"""Columns that are taken for the name of a district, in this order, whatever their case."""


@dataclass(frozen=True)
class Districts:
    """Named polygons.

    Attributes:
        shapes: polygons in the CRS of the grid, one per name.
    """

    names: tuple[str, ...]
    shapes: tuple[Any, ...]
    grid: Grid

    def numbers(self, first: int, rows: int) -> NDArray[np.int64]:
        """Int64 (rows, width): index of each pixel's district, -1 outside all; of two that overlap, the later one."""
        shift = window_transform(Window(0, first, self.grid.width, rows), self.grid.transform)
        pairs = [(shape, index + 1) for index, shape in enumerate(self.shapes)]
        shape = (rows, self.grid.width)
        return np.asarray(rasterize(pairs, out_shape=shape, transform=shift, dtype="int32"), dtype=np.int64) - 1

    def inside(self, first: int, rows: int) -> NDArray[np.bool_]:
        """Bool (rows, width): pixels of any of them."""
        return np.asarray(self.numbers(first, rows) >= 0)


def read_districts(path: Path, grid: Grid, column: str = "") -> Districts:
    """The polygons of a file, those of one name together.

    Args:
        column: that holds the names; default: ``name``, ``district``, ``title`` or ``id``, else the file's numbers.

    Raises:
        DataError: it cannot be read, holds something else than polygons, or lies elsewhere.
    """
    layer = open_layer(path)
    column = column or _name_column(layer)
    check_columns(layer, [column] if column else [])
    to_grid = pyproj.Transformer.from_crs(layer.crs, grid.crs, always_xy=True)
    by_name: dict[str, list[Any]] = {}
    for batch in read_batches(layer, [column] if column else []):
        if kind_of(batch.geometries, layer) == "points":
            raise DataError(f"{path} holds points; areas are polygons")
        names = batch.values[column] if column else batch.ids.tolist()
        for name, shape in zip(names, batch.geometries, strict=True):
            if shape is not None and not shape.is_empty:
                moved = shapely.transform(shape, to_grid.transform, interleaved=False)
                by_name.setdefault(str(name), []).append(shapely.make_valid(moved))
    shapes = tuple(shapely.union_all(parts) for parts in by_name.values())
    if not shapes or not shapely.union_all(shapes).intersects(_outline(grid)):
        raise DataError(f"{path} holds no polygon that touches the map; is it of another place?")
    return Districts(tuple(by_name), shapes, grid)


def _name_column(layer: Layer) -> str:
    known = {column.casefold(): column for column in layer.columns}
    return next((known[name] for name in _NAME_COLUMNS if name in known), "")


def _outline(grid: Grid) -> Any:
    places = [(0, 0), (0, grid.width), (grid.height, grid.width), (grid.height, 0)]
    return shapely.Polygon([grid.place(*place) for place in places])
