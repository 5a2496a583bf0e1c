"""The parts of features on one tile become codes; where two classes overlap, nobody knows, and the features are named.

Comes after ``spill``, before the label is written. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from ..spec.classes import CODE_UNMARKED
from ..spec.tiles import RESOLUTION_M
from .grid import Grid
from .spill import Part

Touch = Literal["centre", "all"]
"""Which pixels a polygon marks: those whose centre lies in it, or all that it touches."""


@dataclass(frozen=True)
class Overlap:
    """Two features of two classes on the same pixels.

    Attributes:
        features: ids of the two, the first in the file before the other.
        codes: of their classes.
        pixels: that both mark.
    """

    features: tuple[int, int]
    codes: tuple[int, int]
    pixels: int


@dataclass(frozen=True)
class Burned:
    """The label of one tile.

    Attributes:
        codes: uint8 (H, W), codes of the class table; pixels that two classes mark are ignored.
        overlaps: features that disagree.
        disputed: number of pixels that two classes mark.
    """

    codes: NDArray[np.uint8]
    overlaps: tuple[Overlap, ...] = field(default=())
    disputed: int = 0


def burn(parts: Sequence[Part], grid: Grid, *, ignored_code: int, touch: Touch = "centre") -> Burned:
    """The codes of a tile from polygons and points.

    Args:
        parts: in the order of the file.
        ignored_code: for pixels that two classes mark.
    """
    height, width = grid.height, grid.width
    codes = np.full((height, width), CODE_UNMARKED, dtype=np.uint8)
    disputed = np.zeros((height, width), dtype=bool)
    for code in sorted({part.code for part in parts}):
        mask = _mask([part.shape for part in parts if part.code == code], grid, touch)
        disputed |= mask & (codes != CODE_UNMARKED)
        codes[mask] = code
    codes[disputed] = ignored_code
    owned = grid.owned()
    if owned is not None:
        codes[~owned], disputed = CODE_UNMARKED, disputed & owned
    number = int(np.count_nonzero(disputed))
    return Burned(codes, _overlaps(parts, grid, touch, disputed) if number else (), number)


def _mask(shapes: Sequence[shapely.Geometry], grid: Grid, touch: Touch) -> NDArray[np.bool_]:
    """bool (H, W): the pixels that any of the shapes marks."""
    mask = np.zeros((grid.height, grid.width), dtype=np.uint8)
    _draw(((shape, 1) for shape in shapes), mask, grid, touch)
    return mask.view(np.bool_)


def _ranks(shapes: Sequence[shapely.Geometry], grid: Grid, touch: Touch) -> NDArray[np.int32]:
    """int32 (H, W): position of the last shape that marks a pixel, from 1; 0 where there is none."""
    ranks = np.zeros((grid.height, grid.width), dtype=np.int32)
    _draw(((shape, n) for n, shape in enumerate(shapes, start=1)), ranks, grid, touch)
    return ranks


def _draw(
    shapes: Iterable[tuple[shapely.Geometry, int]], pixels: NDArray[np.integer[Any]], grid: Grid, touch: Touch
) -> None:
    """Give the pixels of shapes their values, one shape after the other; all are points, or none is."""
    areas = []
    for shape, value in shapes:
        if shape.geom_type in ("Point", "MultiPoint"):
            rows, columns = _pixels_of(shape, grid)
            pixels[rows, columns] = value
        elif shape.area > 0:
            areas.append((shape, value))
    if areas:
        rasterize(areas, out=pixels, transform=Affine(*grid.transform), all_touched=touch == "all")


def _pixels_of(points: shapely.Geometry, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the pixels that hold points; a point on an edge belongs to the pixel above or right of it."""
    x, y = shapely.get_coordinates(points).T
    left, low, _, _ = grid.bounds
    rows = grid.height - 1 - np.floor((y - low) / RESOLUTION_M).astype(np.int64)
    return rows, np.floor((x - left) / RESOLUTION_M).astype(np.int64)


def _overlaps(parts: Sequence[Part], grid: Grid, touch: Touch, disputed: NDArray[np.bool_]) -> tuple[Overlap, ...]:
    """Pairs of features that mark the same pixels otherwise, those with most pixels first."""
    shapes = [part.shape for part in parts]
    last = _ranks(shapes, grid, touch)[disputed] - 1
    first = len(parts) - _ranks(shapes[::-1], grid, touch)[disputed]
    pairs, counts = np.unique(np.stack([first, last]), axis=1, return_counts=True)
    found = []
    for (one, other), number in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        if parts[one].code != parts[other].code:
            features, codes = (parts[one].feature, parts[other].feature), (parts[one].code, parts[other].code)
            found.append(Overlap(features, codes, number))
    return tuple(sorted(found, key=lambda overlap: (-overlap.pixels, overlap.features)))
