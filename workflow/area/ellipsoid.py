"""The area of each pixel of a map on its ellipsoid, in hectares, whatever the map's projection does to areas.

Pixels of degrees: the exact area between two parallels and two meridians. Pixels of a projection: their corners are
brought to a cylindrical equal-area projection of the ellipsoid, every 64 pixels; between these places areas are
interpolated. A pixel of 10 m in UTM has 0.01001 ha on the central meridian and 0.00998 ha at the edge of a zone on the
equator; in Web Mercator, 0.0025 ha at 60 degrees north.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray

from ...pipeline.errors import DataError

Values = NDArray[np.float64]

_M2_PER_HA = 10_000.0

_NODE_PX = 64
"""Pixels between two places where areas are computed. In UTM, pixels of 10 m: an error below 1e-8."""


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie.

    Attributes:
        transform: from (column, row) of pixel corners to coordinates in ``crs``.
    """

    crs: pyproj.CRS
    transform: Affine
    width: int
    height: int

    def place(self, rows: Any, columns: Any) -> tuple[Any, Any]:
        """X and y in the grid's CRS of places in pixels, numbers or arrays of them."""
        a, b, c, d, e, f = tuple(self.transform)[:6]
        return a * columns + b * rows + c, d * columns + e * rows + f

    @cached_property
    def to_degrees(self) -> pyproj.Transformer:
        """From the grid's CRS to longitude and latitude on WGS 84."""
        return pyproj.Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)

    def lon_lat(self, row: int, column: int) -> tuple[float, float]:
        """Longitude and latitude of a pixel's centre, degrees on WGS 84."""
        lon, lat = self.to_degrees.transform(*self.place(row + 0.5, column + 0.5))
        return float(lon), float(lat)


def check_grid(grid: Grid, where: object) -> None:
    """Make sure that areas can be computed.

    Raises:
        DataError: the grid is neither of a projection nor of degrees north up.
    """
    if not (grid.crs.is_projected or grid.crs.is_geographic):
        raise DataError(f"{where} has the CRS {grid.crs.name}, in which pixels have no area; warp it to UTM")
    if grid.crs.is_projected:
        ends = np.array([0.5, grid.height - 0.5]), np.array([0.5, grid.width - 0.5])
        if not np.isfinite(_quads(grid, *ends)).all():
            raise DataError(f"{where} reaches beyond where {grid.crs.name} is defined; warp it to another CRS")
    elif grid.transform.b != 0 or grid.transform.d != 0:
        raise DataError(f"{where} is a turned grid of degrees; warp it north up, or to UTM")


def pixel_hectares(grid: Grid, first: int, rows: int) -> Values:
    """Area of the pixels of some rows.

    Returns:
        float64 (rows, width), hectares; read-only where all pixels of a row have one area.
    """
    if grid.crs.is_geographic:
        by_row = _between_parallels(grid, np.arange(first, first + rows + 1, dtype=np.float64))
        return np.broadcast_to(by_row[:, np.newaxis], (rows, grid.width))
    row_nodes, column_nodes = _nodes(first, rows), _nodes(0, grid.width)
    areas = _quads(grid, row_nodes, column_nodes)
    row_places, column_places = np.arange(first, first + rows) + 0.5, np.arange(grid.width) + 0.5
    by_column = np.stack([np.interp(column_places, column_nodes, line) for line in areas])
    # Weights of the nodes in each row, (nodes, rows): bilinear in the end.
    weights = np.stack([np.interp(row_places, row_nodes, one) for one in np.eye(len(row_nodes))])
    return np.asarray(weights.T @ by_column)


def _nodes(first: int, count: int) -> Values:
    return np.linspace(first, first + count, math.ceil(count / _NODE_PX) + 1)


def _quads(grid: Grid, rows: Values, columns: Values) -> Values:
    """Float64 (rows, columns), hectares of one pixel around each place."""
    corners = [(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)]
    all_rows = np.stack([np.add.outer(rows + down, 0 * columns) for down, _ in corners])
    all_columns = np.stack([np.add.outer(0 * rows, columns + right) for _, right in corners])
    geodetic = pyproj.Transformer.from_crs(grid.crs, grid.crs.geodetic_crs, always_xy=True)
    lon, lat = geodetic.transform(*grid.place(all_rows, all_columns))
    lon, y = np.deg2rad(lon), _zone(grid.crs, np.sin(np.deg2rad(lat)))
    x = (lon - lon[0] + math.pi) % (2 * math.pi) - math.pi  # also over the date line
    shoelace = sum(x[n] * y[(n + 1) % 4] - x[(n + 1) % 4] * y[n] for n in range(4))
    return np.asarray(np.abs(shoelace) / 2)


def _between_parallels(grid: Grid, rows: Values) -> Values:
    """Float64 (len(rows) - 1): area of one pixel of each row, hectares."""
    unit = grid.crs.axis_info[0].unit_conversion_factor  # radians
    latitudes = np.clip((grid.transform.f + grid.transform.e * rows) * unit, -math.pi / 2, math.pi / 2)
    return np.abs(np.diff(_zone(grid.crs, np.sin(latitudes)))) * abs(grid.transform.a) * unit


def _zone(crs: pyproj.CRS, sine: Values) -> Values:
    """Area between the equator and a parallel per radian of longitude, hectares; negative in the south.

    Source: Snyder 1987 (USGS Professional Paper 1395), equation 3-12.
    """
    ellipsoid = crs.ellipsoid
    assert ellipsoid is not None  # of every CRS on the Earth
    a, b = ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre
    e = math.sqrt(max(0.0, 1 - (b / a) ** 2))
    if e == 0:
        return np.asarray(a**2 * sine / _M2_PER_HA)
    return np.asarray(b**2 / 2 * (sine / (1 - (e * sine) ** 2) + np.arctanh(e * sine) / e) / _M2_PER_HA)
