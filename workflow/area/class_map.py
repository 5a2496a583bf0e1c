"""A map of classes, read by rows: pixels and hectares of each class, and the strata that samples are drawn from.

A stratum is a class of the map; with a buffer, pixels of other classes near rare ones are a stratum of their own, since
that is where a map mostly misses them. Memory: some hundred rows of the map, whatever its height.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyproj
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from ...pipeline.errors import DataError, UsageError, in_brief
from ...pipeline.spec.classes import ClassTable
from ...pipeline.spec.words import count_of
from .ellipsoid import Grid, check_grid, pixel_hectares

_MOST_PX = 1 << 22
"""Pixels that are in memory at once: 8 bytes each for their areas, as much again for their classes."""

_MOST_ROWS = 512
_CODES = 1 << 16
"""Codes of classes are 0 .. 65,535."""

NONE = -1
"""Stratum of pixels that are not mapped, or lie outside the area of interest."""

Inside = Callable[[int, int], NDArray[np.bool_]]
"""Which pixels of some rows (first, number) belong to the area of interest: bool (rows, width)."""


@dataclass(frozen=True)
class ClassMap:
    """A raster of class codes.

    Attributes:
        nodata: code of pixels that are not mapped; None = every pixel is.
        names: code -> name of the class, as far as they are known.
        source: who its pixels came from, or those of the network that made it (tags ``DWPLUS_SOURCE``, ``TRAINED_ON``);
            empty = not known.
        no_class: codes by which a class table says that a pixel has none (unmarked, ignored): not mapped either.
    """

    path: Path
    grid: Grid
    nodata: int | None
    names: Mapping[int, str]
    source: str
    no_class: tuple[int, ...] = ()

    def name_of(self, code: int) -> str:
        """The name of a class, or its code where it has none."""
        return self.names.get(code, str(code))


def open_map(path: Path, classes: ClassTable | None = None, nodata: int | None = None) -> ClassMap:
    """What a map says about itself.

    Args:
        classes: names of its codes; default: its tag ``CLASSES``, else codes are names.
        nodata: code of pixels that are not mapped; default: as the file declares.

    Raises:
        DataError: it cannot be read, holds several bands or no whole numbers, or lies nowhere on the Earth.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; name the GeoTIFF of a map")
    try:
        # What lies nowhere is refused below, in one line.
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning), rasterio.open(path) as file:
            if file.count != 1 or np.dtype(file.dtypes[0]).kind not in "iu":
                raise DataError(
                    f"{path} has {count_of(file.count, 'band')} of {file.dtypes[0]}; a map has one band of whole "
                    "numbers, the codes of classes"
                )
            if file.crs is None:
                raise DataError(f"{path} has no CRS, so that its pixels have no area; write one into it")
            grid = Grid(pyproj.CRS.from_wkt(file.crs.to_wkt()), file.transform, file.width, file.height)
            tags, declared = file.tags(), file.nodata
    except RasterioError as error:
        raise DataError(f"{path} cannot be read as a GeoTIFF ({in_brief(error)}); write it again") from None
    check_grid(grid, path)
    names = dict(enumerate(classes.code_names)) if classes is not None else _names_in(tags.get("CLASSES", ""))
    empty = nodata if nodata is not None else None if declared is None else int(declared)
    source = tags.get("DWPLUS_SOURCE", tags.get("TRAINED_ON", ""))
    return ClassMap(path, grid, empty, names, source, _no_class(names))


def _names_in(tag: str) -> dict[int, str]:
    """``0=unmarked 1=water ...``"""
    pairs = (word.partition("=") for word in tag.split())
    return {int(code): name for code, _, name in pairs if code.isdigit() and name}


def _no_class(names: Mapping[int, str]) -> tuple[int, ...]:
    """Codes of a table that mean no class: 0 where it is called unmarked, and then the last one, of what is ignored."""
    if names.get(0) != "unmarked":
        return ()
    last = max(names)
    return (0, last) if names[last] in ("ignored", "cloud") else (0,)


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- strata -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stratification:
    """Which stratum a pixel belongs to.

    Attributes:
        codes: of the classes of the map; each is a stratum, in this order.
        rare: codes of classes around which the buffer lies.
        buffer_px: pixels of other classes within so many rows and columns of a rare one are one more stratum, the last;
            0 = there is none.
    """

    codes: tuple[int, ...]
    rare: tuple[int, ...] = ()
    buffer_px: int = 0

    def __len__(self) -> int:
        return len(self.codes) + (self.buffer_px > 0)

    def names(self, of: ClassMap) -> tuple[str, ...]:
        return (*map(of.name_of, self.codes), *(["buffer"] if self.buffer_px else []))


@dataclass(frozen=True)
class Rows:
    """Some rows of a map.

    Attributes:
        first: number of the first row.
        codes: int64 (rows, width), codes of classes.
        strata: int64 (rows, width), index of the stratum, or ``NONE``.
        inside: bool (rows, width), in the area of interest.
        hectares: float64 (rows, width), area of each pixel.
    """

    first: int
    codes: NDArray[np.int64]
    strata: NDArray[np.int64]
    inside: NDArray[np.bool_]
    hectares: NDArray[np.float64]


def rows_of(of: ClassMap, by: Stratification | None, inside: Inside | None = None) -> Iterator[Rows]:
    """A map from its first row to its last.

    Args:
        by: the strata; None = each code is its own stratum.
        inside: the area of interest; None = all.

    Raises:
        DataError: the file is damaged, or holds a code that is none.
    """
    grid = of.grid
    count = max(1, min(_MOST_ROWS, _MOST_PX // grid.width))
    margin = 0 if by is None else by.buffer_px
    try:
        with rasterio.open(of.path) as file:
            for first in range(0, grid.height, count):
                rows = min(count, grid.height - first)
                above, below = min(margin, first), min(margin, grid.height - first - rows)
                window = Window(0, first - above, grid.width, rows + above + below)
                read = file.read(1, window=window).astype(np.int64)
                _check_codes(read, of)
                part = np.ones((rows, grid.width), dtype=bool) if inside is None else inside(first, rows)
                codes = read[above : above + rows]
                strata = codes if by is None else _strata(read, by)[above : above + rows]
                mapped = part & ~np.isin(codes, [*of.no_class, *([] if of.nodata is None else [of.nodata])])
                yield Rows(first, codes, np.where(mapped, strata, NONE), part, pixel_hectares(grid, first, rows))
    except RasterioError as error:
        raise DataError(f"{of.path} is damaged ({in_brief(error)}); write it again") from None


def _check_codes(codes: NDArray[np.int64], of: ClassMap) -> None:
    wrong = (codes < 0) | (codes >= _CODES)
    if of.nodata is not None:
        wrong &= codes != of.nodata
    if wrong.any():
        raise DataError(f"{of.path} holds the code {codes[wrong][0]}; codes of classes are 0 to {_CODES - 1:,}")


def _strata(codes: NDArray[np.int64], by: Stratification) -> NDArray[np.int64]:
    index = np.full(_CODES, NONE, dtype=np.int64)
    index[list(by.codes)] = np.arange(len(by.codes))
    strata = index[np.clip(codes, 0, _CODES - 1)]
    if by.buffer_px:
        rare = np.isin(codes, by.rare)
        strata[near(rare, by.buffer_px) & ~rare] = len(by.codes)
    return strata


def near(chosen: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """Pixels within so many rows and columns of a chosen one, these included: bool (rows, width)."""
    for axis in (0, 1):
        sums = np.cumsum(chosen, axis=axis, dtype=np.int32)
        size = chosen.shape[axis]
        last = np.take(sums, np.minimum(np.arange(size) + distance, size - 1), axis=axis)
        before = np.arange(size) - distance - 1
        none = np.expand_dims(before < 0, 1 - axis)
        chosen = last - np.where(none, 0, np.take(sums, np.maximum(before, 0), axis=axis)) > 0
    return chosen


# --- counts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Census:
    """Pixels and hectares of a map.

    Attributes:
        classes, strata: code of a class, or index of a stratum -> pixels and hectares; none of 0 pixels.
        unmapped: pixels and hectares without a class, in the area of interest.
    """

    classes: Mapping[int, tuple[int, float]]
    strata: Mapping[int, tuple[int, float]]
    unmapped: tuple[int, float]


def take_census(of: ClassMap, by: Stratification | None, inside: Inside | None = None) -> Census:
    """Count a map, by classes and by strata; arguments as of ``rows_of``."""
    size = _CODES if by is None else len(by)
    classes, strata, unmapped = _Tally(_CODES), _Tally(size), _Tally(1)
    for rows in rows_of(of, by, inside):
        mapped = rows.strata != NONE
        classes.add(rows.codes[mapped], rows.hectares[mapped])
        strata.add(rows.strata[mapped], rows.hectares[mapped])
        rest = rows.inside & ~mapped
        unmapped.add(np.zeros(int(rest.sum()), dtype=np.int64), rows.hectares[rest])
    return Census(classes.found(), strata.found(), unmapped.found().get(0, (0, 0.0)))


class _Tally:
    """Pixels and hectares by number."""

    def __init__(self, size: int) -> None:
        self._pixels, self._hectares = np.zeros(size, dtype=np.int64), np.zeros(size)

    def add(self, numbers: NDArray[np.int64], hectares: NDArray[np.float64]) -> None:
        self._pixels += np.bincount(numbers, minlength=len(self._pixels))
        self._hectares += np.bincount(numbers, hectares, len(self._hectares))

    def found(self) -> dict[int, tuple[int, float]]:
        return {int(n): (int(self._pixels[n]), float(self._hectares[n])) for n in np.flatnonzero(self._pixels)}


def rare_codes(census: Census, share: float) -> tuple[int, ...]:
    """Codes of classes below a share of the mapped area.

    Raises:
        UsageError: there are none.
    """
    whole = sum(hectares for _, hectares in census.classes.values())
    rare = tuple(code for code, (_, hectares) in census.classes.items() if hectares < share * whole)
    if not rare:
        raise UsageError(f"no class is below {share:.0%} of the mapped area; name the rare ones with --rare")
    return rare
