"""Grids: an area on the 10 m grid of each UTM zone that it lies in, and blocks in which its pixels are downloaded.

An area over two zones is cut at the meridian between them: a pixel belongs to the zone in which its centre lies, so
that no ground counts twice. Networks look at the surroundings of a pixel, so that a grid reaches beyond the map on all
sides; its corners are multiples of 320 m (32 px, the step of windows), and two maps of one place see the same windows.
Comes after ``outline``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.features import rasterize

from ..errors import DataError
from ..own.grid import Grid, Zone, utm_zone_of
from ..own.placing import in_utm, part_in_zone
from ..raster.geotiff import RasterGrid
from ..spec.tiles import RESOLUTION_M
from .outline import Outline

STEP_PX = 32
CONTEXT_PX = 32
"""Pixels around the map, at least, that the network sees besides."""

BLOCK_PX = 512
"""Side of a block: a request costs what that of a tile of a build costs, a sixth of the service's limit of 48 MB."""

_SMALL_PX = 4_000_000
"""Maps up to this size are looked at pixel by pixel to see whether they hold any."""

_EDGE_M = 5000.0
_MM = 0.001


@dataclass(frozen=True, order=True)
class Block:
    """A part of a grid that is downloaded at once: first row and column, height and width in pixels."""

    row: int
    column: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"r{self.row:06d}-c{self.column:06d}"


@dataclass(frozen=True)
class ZoneGrid:
    """The part of an area in one UTM zone.

    Attributes:
        zone: of the CRS.
        grid: of the pixels that are read: the map and its surroundings.
        rows, columns: half-open range of the map within it.
        shape: the area in metres, also a little beyond the zone; None = every pixel of the map belongs to it.
        cut: pixels of other zones do not belong to it.
        touch: pixels that the area touches belong to it: it is so small that it holds no pixel centre.
        part: the area in metres, within the zone.
    """

    zone: Zone
    grid: RasterGrid
    rows: tuple[int, int]
    columns: tuple[int, int]
    shape: shapely.Geometry | None
    part: shapely.Geometry
    cut: bool = True
    touch: bool = False

    @property
    def map_grid(self) -> RasterGrid:
        """CRS, transform and shape of the map."""
        a, b, c, d, e, f = self.grid.transform
        (top, bottom), (left, right) = self.rows, self.columns
        return RasterGrid(self.grid.crs, (a, b, c + a * left, d, e, f + e * top), (bottom - top, right - left))

    def belongs(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Which pixels of some rows of the grid belong to the map: bool (rows, W)."""
        height, width = stop - start, self.grid.shape[1]
        found = np.zeros((height, width), dtype=bool)
        top, bottom = max(start, self.rows[0]), min(stop, self.rows[1])
        left, right = self.columns
        if top >= bottom:
            return found
        a, _, c, _, e, f = self.grid.transform
        held = Grid(self.zone, c + a * left, f + e * top, bottom - top, right - left)
        inside = np.ones((held.height, held.width), dtype=bool) if self.shape is None else self._burned(held)
        if self.cut and (owned := held.owned()) is not None:
            inside &= owned
        found[top - start : bottom - start, left:right] = inside
        return found

    def _burned(self, held: Grid) -> NDArray[np.bool_]:
        """Pixels whose centre lies in the area, or that it touches."""
        margin = 2 * RESOLUTION_M
        west, south, east, north = held.bounds
        near = shapely.clip_by_rect(self.shape, west - margin, south - margin, east + margin, north + margin)
        if near.is_empty:
            return np.zeros((held.height, held.width), dtype=bool)
        burned = rasterize(
            [(near, 1)],
            out_shape=(held.height, held.width),
            transform=Affine(*held.transform),
            all_touched=self.touch,
            dtype="uint8",
        )
        inside: NDArray[np.bool_] = burned.astype(bool)
        return inside

    def blocks(self, size: int = BLOCK_PX) -> Iterator[Block]:
        """Blocks of the grid that the map or its surroundings need, row by row."""
        height, width = self.grid.shape
        near = shapely.buffer(self.part, CONTEXT_PX * RESOLUTION_M)
        shapely.prepare(near)
        a, _, c, _, e, f = self.grid.transform
        for row in range(0, height, size):
            for column in range(0, width, size):
                block = Block(row, column, min(size, height - row), min(size, width - column))
                west, north = c + a * column, f + e * row
                box = shapely.box(west, north + e * block.height, west + a * block.width, north)
                if shapely.intersects(near, box):
                    yield block


def zone_grids(outline: Outline) -> tuple[ZoneGrid, ...]:
    """The grid of an area in each zone, from the first zone to the last.

    Raises:
        DataError: the area lies in no zone.
    """
    if outline.grid is not None:
        return (_of_raster(outline.grid),)
    shapes = np.array([outline.shape], dtype=object)
    near = [(zone, shape) for zone, _, held in in_utm(shapes) for shape in held]
    found = [made for zone, shape in near if (made := _of_zone(outline.shape, zone, shape)) is not None]
    held = [one for one in found if _holds_pixels(one)]
    if not held:
        # Smaller than a pixel, and between the centres of four.
        held = [one for one in (replace(one, touch=True) for one in found) if _holds_pixels(one)]
    if not held:
        raise DataError(f"{outline.text} holds no pixel of the 10 m grid; make it larger")
    return tuple(held)


def _of_zone(degrees: shapely.Geometry, zone: Zone, near: shapely.Geometry) -> ZoneGrid | None:
    part = part_in_zone(degrees, zone, longest_m=_EDGE_M)
    if part is None:
        return None
    west, south, east, north = part.bounds
    # Coordinates are known to a millimetre: a corner on the grid must not bring one more row of pixels.
    left, bottom = (math.floor((value + _MM) / RESOLUTION_M) for value in (west, south))
    right, top = (math.ceil((value - _MM) / RESOLUTION_M) for value in (east, north))
    box = (left, bottom, max(right, left + 1), max(top, bottom + 1))
    return _with_surroundings(zone, box, shape=near, part=part)


def _of_raster(grid: RasterGrid) -> ZoneGrid:
    """The grid of another raster: all of its pixels, wherever the zone ends."""
    a, _, x, _, _, y = grid.transform
    height, width = grid.shape
    part = shapely.box(x, y - a * height, x + a * width, y)
    margin = CONTEXT_PX
    whole = (-(-height // STEP_PX) * STEP_PX + 2 * margin, -(-width // STEP_PX) * STEP_PX + 2 * margin)
    read = RasterGrid(grid.crs, (a, 0.0, x - a * margin, 0.0, -a, y + a * margin), whole)
    rows, columns = (margin, margin + height), (margin, margin + width)
    return ZoneGrid(utm_zone_of(grid.crs), read, rows, columns, None, part, cut=False)


def _with_surroundings(
    zone: Zone, box: tuple[int, int, int, int], *, shape: shapely.Geometry, part: shapely.Geometry
) -> ZoneGrid:
    """The grid around a map; ``box`` is (left, bottom, right, top) of the map in pixels from the zone's origin."""
    left, bottom, right, top = box
    outer_left, outer_bottom = ((value - CONTEXT_PX) // STEP_PX * STEP_PX for value in (left, bottom))
    outer_right, outer_top = (-(-(value + CONTEXT_PX) // STEP_PX) * STEP_PX for value in (right, top))
    transform = (RESOLUTION_M, 0.0, outer_left * RESOLUTION_M, 0.0, -RESOLUTION_M, outer_top * RESOLUTION_M)
    grid = RasterGrid(zone.crs, transform, (outer_top - outer_bottom, outer_right - outer_left))
    rows, columns = (outer_top - top, outer_top - bottom), (left - outer_left, right - outer_left)
    return ZoneGrid(zone, grid, rows, columns, shape, part)


def _holds_pixels(one: ZoneGrid) -> bool:
    """Whether a map has a pixel; large ones do."""
    height, width = one.map_grid.shape
    if height * width > _SMALL_PX:
        return True
    return bool(one.belongs(*one.rows).any())


def count_blocks(grids: Sequence[ZoneGrid], size: int = BLOCK_PX) -> tuple[int, int]:
    """Number of blocks of all zones, and their pixels."""
    blocks = [block for one in grids for block in one.blocks(size)]
    return len(blocks), sum(block.height * block.width for block in blocks)
