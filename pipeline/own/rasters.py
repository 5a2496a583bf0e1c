"""A raster of class codes, of any grid and size, cut to tiles: window by window, in the memory of one tile.

A north-up raster of 10 m in UTM keeps its grid verbatim. Any other is brought onto the grid of its zones: each pixel
takes the source pixel that holds its centre, or (``majority``) what most source pixels say whose centres it holds.
Comes after ``inputs_of``, before the label is written.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyproj
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from ..errors import DataError, UsageError
from ..raster.gdal import check_libraries, fixed_options
from ..raster.geotiff import LABEL_BAND, lossy_compression
from ..spec.classes import CODE_UNMARKED, ClassTable
from ..spec.tiles import RESOLUTION_M
from .grid import Grid, between, cell, utm_zone
from .placing import in_utm, lies_on_earth, to_lon_lat

ENDINGS = (".tif", ".tiff", ".img", ".png")
"""Endings of rasters."""

_FAR = -1e9
"""Column and row of what has no place in the other CRS."""

Resample = Literal["nearest", "majority"]

_LARGEST_WINDOW = 4 << 20
"""Source pixels that are read at once."""

_NODE_STEP = 16
"""Pixels between places that are transformed exactly; parabolas between them are off by less than a micrometre."""

_TIE = 1e-6
"""Pixels: a centre that falls on the edge of two source pixels belongs to the one right or below, rounding or not."""


@dataclass(frozen=True)
class Raster:
    """A raster of class codes, as its file says.

    Attributes:
        band: number from 1.
        crs: of its grid.
        transform: of its pixel corners.
        verbatim: its first tile's grid where the grid is kept: 10 m, north up, in UTM; None otherwise.
    """

    path: Path
    band: int
    crs: pyproj.CRS
    transform: Affine
    height: int
    width: int
    nodata: float | None
    verbatim: Grid | None


def open_raster(path: Path, band: int | None = None) -> Raster:
    """What a raster says about itself.

    Args:
        band: number from 1; needed where there are several, and none is called ``lulc``.

    Raises:
        DataError: it cannot be read, has no CRS or no grid, or holds something else than codes.
        UsageError: it has several bands, or none of that number.
    """
    with _opened(path) as file:
        if file.count == 0 or file.width == 0:
            raise DataError(f"{path} holds no pixels")
        if lossy := lossy_compression(file):
            raise DataError(
                f"{path} is compressed with {lossy}, which changes class codes; write it again from its source with "
                "COMPRESS=DEFLATE"
            )
        if file.crs is None:
            check_libraries()
            raise DataError(
                f"{path} has no CRS, so that nobody knows where it lies; write one into it (gdal_edit.py -a_srs "
                "EPSG:32633 FILE)"
            )
        if file.transform.is_identity or file.transform.determinant == 0:
            raise DataError(f"{path} has no grid (no transform from pixels to places); write one into it")
        number = _band(file, path, band)
        kind = np.dtype(file.dtypes[number - 1])
        if kind.kind not in "uif":
            raise DataError(f"{path} holds {kind.name} values; class codes are whole numbers")
        try:
            crs = pyproj.CRS.from_wkt(file.crs.to_wkt())
        except pyproj.exceptions.CRSError as error:
            raise DataError(f"{path} has a CRS that PROJ does not know ({error})") from None
        transform = Affine(*tuple(file.transform)[:6])
        grid = _verbatim(crs, transform, file.height, file.width)
        return Raster(path, number, crs, transform, file.height, file.width, file.nodatavals[number - 1], grid)


def _band(file: DatasetReader, path: Path, wanted: int | None) -> int:
    if wanted is not None:
        if not 1 <= wanted <= file.count:
            raise UsageError(f"{path} has no band {wanted}; it has {file.count}")
        return wanted
    if file.count == 1:
        return 1
    if LABEL_BAND in file.descriptions:
        return int(file.descriptions.index(LABEL_BAND)) + 1
    names = ", ".join(f"{n} {name or ''}".strip() for n, name in enumerate(file.descriptions[:6], start=1))
    raise DataError(f"{path} has {file.count} bands ({names}{', ...' * (file.count > 6)}); name one with --band")


def _verbatim(crs: pyproj.CRS, transform: Affine, height: int, width: int) -> Grid | None:
    zone = utm_zone(crs)
    a, b, x, d, e, y = tuple(transform)[:6]
    north_up = np.allclose((a, b, d, e), (RESOLUTION_M, 0, 0, -RESOLUTION_M), rtol=0, atol=1e-6)
    return Grid(zone, x, y, height, width) if zone is not None and north_up else None


@contextmanager
def _opened(path: Path) -> Iterator[DatasetReader]:
    """An open raster; what fails inside the ``with`` statement is taken for damage of the file."""
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); write it again")
    with fixed_options(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            # A VRT names other files, also at URLs.
            with rasterio.open(path, driver=None) as file:
                if file.driver == "VRT":
                    raise DataError(f"{path} is a VRT, which names other files; write it as GeoTIFF")
                yield file
        except RasterioError as error:
            check_libraries()
            words = " ".join(str(error.__cause__ or error).split())
            raise DataError(f"{path} cannot be read as a raster ({words}); is it complete? get it again") from None


# Tiles ----------------------------------------------------------------------------------------------------------------


def tiles_of(
    raster: Raster, classes: ClassTable, *, tile_px: int, resample: Resample = "nearest"
) -> Iterator[tuple[Grid, NDArray[np.uint8]]]:
    """Tiles of a raster with their codes (uint8 (H, W)), those without any label left out.

    Raises:
        DataError: the file is damaged, or holds a code that the table does not have.
    """
    with _opened(raster.path) as file:
        source = _Source(file, raster, classes)
        cut = _verbatim_tiles if raster.verbatim is not None else _resampled_tiles
        for grid, codes in cut(source, tile_px, resample):
            if codes.any():
                yield grid, codes


def verbatim_grids(whole: Grid, tile_px: int) -> Iterator[tuple[Grid, int, int]]:
    """Grids of the tiles of a raster whose grid is kept, with row and column of their first pixel in it.

    A raster that is smaller than a tile is one tile of its own size; else tiles at its right and lower edge go on
    beyond it, unmarked.
    """
    small = whole.height <= tile_px and whole.width <= tile_px
    height, width = (whole.height, whole.width) if small else (tile_px, tile_px)
    for row in range(0, whole.height, height):
        for column in range(0, whole.width, width):
            x, y = whole.x + column * RESOLUTION_M, whole.y - row * RESOLUTION_M
            yield Grid(whole.zone, x, y, height, width), row, column


def _verbatim_tiles(source: _Source, tile_px: int, _resample: Resample) -> Iterator[tuple[Grid, NDArray[np.uint8]]]:
    whole = source.raster.verbatim
    assert whole is not None
    for grid, row, column in verbatim_grids(whole, tile_px):
        codes = np.full((grid.height, grid.width), CODE_UNMARKED, dtype=np.uint8)
        found = source.codes(row, column, min(grid.height, whole.height - row), min(grid.width, whole.width - column))
        codes[: found.shape[0], : found.shape[1]] = found
        yield grid, codes


def _resampled_tiles(source: _Source, tile_px: int, resample: Resample) -> Iterator[tuple[Grid, NDArray[np.uint8]]]:
    fill = _nearest if resample == "nearest" else _majority
    for grid in _cells_under(source.raster, tile_px):
        codes = fill(source, grid)
        if codes is None:
            continue
        owned = grid.owned()
        if owned is not None:
            codes[~owned] = CODE_UNMARKED
        yield grid, codes


def _cells_under(raster: Raster, tile_px: int) -> Iterator[Grid]:
    """Cells of the grid that meet the outline of a raster, zone by zone, row by row from the north."""
    edge = np.linspace(0, 1, 65)
    u = np.concatenate([edge[:-1], np.ones(64), edge[:0:-1], np.zeros(64)]) * raster.width
    v = np.concatenate([np.zeros(64), edge[:-1], np.ones(64), edge[:0:-1]]) * raster.height
    x, y = _applied(raster.transform, u, v)
    outline = np.array([shapely.polygons(np.stack([x, y], axis=1))], dtype=object)
    degrees = to_lon_lat(outline, raster.crs)
    if not lies_on_earth(degrees)[0]:
        raise DataError(f"{raster.path} reaches beyond the Earth in its CRS ({raster.crs.name}); cut it to its area")
    side = tile_px * RESOLUTION_M
    for zone, _, shapes in in_utm(degrees):
        left, low, right, high = np.floor(shapely.bounds(shapes[0]) / side).astype(int).tolist()
        for row in range(high, low - 1, -1):
            for column in range(left, right + 1):
                yield cell(zone, column, row, tile_px)


@dataclass(frozen=True)
class _Source:
    """An open raster whose values are read as codes of a class table."""

    file: DatasetReader
    raster: Raster
    classes: ClassTable

    def codes(self, row: int, column: int, height: int, width: int) -> NDArray[np.uint8]:
        """uint8 (height, width): codes of a window."""
        values = self.file.read(self.raster.band, window=Window(column, row, width, height))
        return self._codes_of(values)

    def _codes_of(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        nothing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
        nodata = self.raster.nodata
        # A code of the table is what the table says, also where the file calls it no data.
        if nodata is not None and not np.isnan(nodata) and nodata not in self.classes.code_of_original:
            nothing |= values == nodata
        codes = np.full(values.shape, CODE_UNMARKED, dtype=np.uint8)
        if not nothing.all():
            codes[~nothing] = self.classes.stored_codes(values[~nothing], where=str(self.raster.path))
        return codes


# Resampling -----------------------------------------------------------------------------------------------------------


def _nearest(source: _Source, grid: Grid) -> NDArray[np.uint8] | None:
    """Codes of the source pixels that hold the centres of a grid; None where the source has none there."""
    raster = source.raster
    columns, rows = _places_in(
        (grid.zone.crs, Affine(*grid.transform)),
        (raster.crs, raster.transform, raster.width),
        (grid.height, grid.width),
    )
    inside = (columns >= 0) & (rows >= 0) & (columns < raster.width) & (rows < raster.height)
    if not inside.any():
        return None
    codes = np.full((grid.height, grid.width), CODE_UNMARKED, dtype=np.uint8)
    for part in _parts(columns, rows, inside):
        held = inside[part]
        c, r = columns[part][held].astype(np.int64), rows[part][held].astype(np.int64)
        window = source.codes(r.min(), c.min(), int(np.ptp(r)) + 1, int(np.ptp(c)) + 1)
        piece = codes[part]
        piece[held] = window[r - r.min(), c - c.min()]
    return codes


def _majority(source: _Source, grid: Grid) -> NDArray[np.uint8] | None:
    """Codes that most source pixels have whose centres lie in a pixel; nearest where a pixel holds none.

    Of codes that are equally frequent the lowest class counts; unmarked is one among the others.
    """
    codes = _nearest(source, grid)
    if codes is None:
        return None
    raster, transform = source.raster, Affine(*grid.transform)
    kinds = len(source.classes) + 2
    columns, rows = _places_in(
        (grid.zone.crs, transform), (raster.crs, raster.transform, raster.width), (grid.height, grid.width)
    )
    near = (columns > -2) & (rows > -2) & (columns < raster.width + 2) & (rows < raster.height + 2)
    for part in _parts(columns, rows, near, margin=2):
        held = near[part]
        top, left = (max(0, int(one[part][held].min()) - 2) for one in (rows, columns))
        low = min(raster.height, int(rows[part][held].max()) + 3)
        right = min(raster.width, int(columns[part][held].max()) + 3)
        window = source.codes(top, left, low - top, right - left)
        a, b, _, d, e, _ = tuple(raster.transform)[:6]
        x, y = _applied(raster.transform, left, top)
        shifted = Affine(a, b, x, d, e, y)
        c, r = _places_in((raster.crs, shifted), (grid.zone.crs, transform, grid.width), window.shape)
        first_row, first_column = part[0].start, part[1].start
        height, width = codes[part].shape
        inside = (c >= first_column) & (r >= first_row) & (c < first_column + width) & (r < first_row + height)
        pixel = (r[inside].astype(np.int64) - first_row) * width + c[inside].astype(np.int64) - first_column
        # Unmarked comes last, so that a class wins where both are equally frequent.
        order = (window[inside].astype(np.int64) - 1) % kinds
        counts = np.bincount(pixel * kinds + order, minlength=height * width * kinds).reshape(-1, kinds)
        most = ((counts.argmax(axis=1) + 1) % kinds).reshape(height, width)
        seen = counts.any(axis=1).reshape(height, width)
        piece = codes[part]
        piece[seen] = most[seen]
    return codes


def _parts(
    columns: NDArray[np.float64], rows: NDArray[np.float64], inside: NDArray[np.bool_], *, margin: int = 0
) -> Iterator[tuple[slice, slice]]:
    """Parts of a grid, each of which needs a source window that can be read at once."""
    waiting = [(slice(0, columns.shape[0]), slice(0, columns.shape[1]))]
    while waiting:
        part = waiting.pop()
        held = inside[part]
        if not held.any():
            continue
        sides = [np.ptp(one[part][held]) + 2 * margin + 2 for one in (columns, rows)]
        height, width = held.shape
        if sides[0] * sides[1] <= _LARGEST_WINDOW or (height == 1 and width == 1):
            yield part
            continue
        row, column = part
        if height >= width:
            middle = row.start + height // 2
            waiting += [(slice(row.start, middle), column), (slice(middle, row.stop), column)]
        else:
            middle = column.start + width // 2
            waiting += [(row, slice(column.start, middle)), (row, slice(middle, column.stop))]


def _places_in(
    own: tuple[pyproj.CRS | str, Affine], other: tuple[pyproj.CRS | str, Affine, int], shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the pixel centres of a grid lie in another: columns and rows, float64 (H, W), whole numbers rounded down.

    Args:
        own: CRS and transform of the grid.
        other: CRS, transform and width of the other grid.
        shape: (H, W) of the grid.
    """
    height, width = shape
    node_rows, node_columns = _nodes(height), _nodes(width)
    u, v = np.meshgrid(node_columns + 0.5, node_rows + 0.5)
    x, y = _applied(own[1], u.ravel(), v.ravel())
    same = own[0] == other[0]
    x, y = (x, y) if same else map(np.asarray, between(own[0], other[0]).transform(x, y))
    geographic = not isinstance(other[0], str) and other[0].is_geographic
    if geographic:
        x = x[0] + (x - x[0] + 180) % 360 - 180
    columns, rows = _applied(~other[1], x, y)
    if geographic:
        # The raster may count longitudes from 0 to 360.
        turn = 360 / abs(other[1].a)
        finite = columns[np.isfinite(columns)]
        if len(finite) and not 0 <= finite.mean() < other[2]:
            columns = columns - turn * math.floor(finite.mean() / turn)
    # Infinite times a weight of 0 would be no number: what has no place lies far outside.
    nodes = [
        np.where(np.isfinite(one), one, _FAR).reshape(len(node_rows), len(node_columns)) for one in (columns, rows)
    ]
    down, across = _weights(node_rows, height), _weights(node_columns, width)
    found = [np.floor(down @ one @ across.T + _TIE) for one in nodes]
    return found[0], found[1]


def _applied(transform: Affine, u: Any, v: Any) -> tuple[Any, Any]:
    a, b, c, d, e, f = tuple(transform)[:6]
    return a * u + b * v + c, d * u + e * v + f


def _nodes(size: int) -> NDArray[np.float64]:
    return np.unique(np.append(np.arange(0, size, _NODE_STEP), size - 1)).astype(np.float64)


def _weights(nodes: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """float64 (size, nodes): how much each node weighs for each position, on parabolas through three neighbours."""
    positions = np.arange(size, dtype=np.float64)
    degree = min(3, len(nodes))
    first = np.clip(np.searchsorted(nodes, positions) - 1, 0, len(nodes) - degree)
    weights = np.zeros((size, len(nodes)))
    for own in range(degree):
        weight = np.ones(size)
        for other in range(degree):
            if other != own:
                x, y = nodes[first + other], nodes[first + own]
                weight *= (positions - x) / (y - x)
        weights[np.arange(size), first + own] = weight
    return weights
