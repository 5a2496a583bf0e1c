"""Small pictures of a map and of its image, for the page beside it: 2,000 px a side at most, as bytes of PNG or JPEG.

A picture of values (classes, confidence) is a PNG in which each value has a colour of its own, so that a page can read
the value back. Memory: some rows of the image.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Protocol

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from ...pipeline.raster.gdal import fixed_options

MOST_PX = 2000
TRUE_COLOUR = ("B4", "B3", "B2")

_PIXELS_AT_ONCE = 4_000_000

Rgb = tuple[int, int, int]


class Readable(Protocol):
    """An image whose rows can be read: stored values, uint16 (bands, rows, W), 0 = no data."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def read(self, bands: Sequence[str], start: int, stop: int) -> NDArray[np.uint16]: ...


@dataclass(frozen=True)
class Looks:
    """What the image of a map looks like, as small as an overview.

    Attributes:
        colour: stored B4, B3, B2, uint16 (3, h, w); None where the network does not read them.
        vv: stored VV, uint16 (h, w); None where the network does not read it.
    """

    colour: NDArray[np.uint16] | None = None
    vv: NDArray[np.uint16] | None = None


def size_of(shape: tuple[int, int], most: int = MOST_PX) -> tuple[int, int]:
    """Rows and columns of the overview of a raster: (1000, 8000) -> (250, 2000)."""
    factor = max(1, ceil(max(shape) / most))
    return ceil(shape[0] / factor), ceil(shape[1] / factor)


def looks_of(image: Readable, bands: Sequence[str], most: int = MOST_PX) -> Looks:
    """Means of the pixels with data under each pixel of the overview.

    Args:
        bands: that the network reads, so that the image has them.

    Raises:
        DataError: a file of the image is damaged.
    """
    colour = TRUE_COLOUR if set(TRUE_COLOUR) <= set(bands) else ()
    wanted = (*colour, *(["VV"] if "VV" in bands else []))
    if not wanted:
        return Looks()
    height, width = image.shape
    factor = max(1, ceil(max(height, width) / most))
    rows, columns = size_of((height, width), most)
    found = np.zeros((len(wanted), rows, columns), dtype=np.uint16)
    at_once = max(1, _PIXELS_AT_ONCE // (width * factor))
    for first in range(0, rows, at_once):
        last = min(rows, first + at_once)
        block = image.read(wanted, first * factor, min(height, last * factor))
        found[:, first:last] = _means(block, factor, (last - first, columns))
    return Looks(found[: len(colour)] if colour else None, found[-1] if "VV" in wanted else None)


def _means(block: NDArray[np.uint16], factor: int, shape: tuple[int, int]) -> NDArray[np.uint16]:
    if factor == 1:
        return block
    rows, columns = shape
    padded = np.zeros((len(block), rows * factor, columns * factor), dtype=np.uint16)
    padded[:, : block.shape[1], : block.shape[2]] = block
    cells = padded.reshape(len(block), rows, factor, columns, factor)
    sums, counts = cells.sum(axis=(2, 4), dtype=np.uint64), (cells != 0).sum(axis=(2, 4))
    means: NDArray[np.uint16] = np.rint(sums / np.maximum(counts, 1)).astype(np.uint16)
    return means


def codes_overview(path: Path, most: int = MOST_PX) -> NDArray[np.uint8]:
    """Commonest code under each pixel of the overview: uint8 (h, w)."""
    return _read(path, most, Resampling.mode)


def confidence_overview(path: Path, most: int = MOST_PX) -> NDArray[np.uint8]:
    """Mean confidence in per cent, 255 where there is none: uint8 (h, w)."""
    return _read(path, most, Resampling.average)


def outside_overview(path: Path, most: int = MOST_PX) -> NDArray[np.uint8]:
    """Bands outside the training range, mean over the pixels of a place, 255 where there is no data: uint8 (h, w)."""
    return _read(path, most, Resampling.average)


def _read(path: Path, most: int, resampling: Resampling) -> NDArray[np.uint8]:
    with fixed_options(), rasterio.open(path) as file:
        found: NDArray[np.uint8] = file.read(1, out_shape=size_of(file.shape, most), resampling=resampling)
    return found


# --- pictures ---------------------------------------------------------------------------------------------------------


def unique_colours(colours: Mapping[int, Rgb]) -> dict[int, Rgb]:
    """The colours, moved by a step of blue where two values have the same."""
    taken: dict[Rgb, int] = {}
    for value, (red, green, blue) in colours.items():
        while (red, green, blue) in taken:
            blue = blue + 1 if blue < 255 else 0
        taken[red, green, blue] = value
    return {value: colour for colour, value in taken.items()}


def png_of(values: NDArray[np.uint8], colours: Mapping[int, Rgb]) -> bytes:
    """A PNG with a palette; values without a colour are transparent.

    Args:
        values: uint8 (h, w).
    """
    palette = dict.fromkeys(range(256), (0, 0, 0, 0)) | {v: (*rgb, 255) for v, rgb in colours.items()}
    return _encoded(values[np.newaxis], "PNG", lambda file: file.write_colormap(1, palette), zlevel=9)


def jpeg_of(picture: NDArray[np.float32]) -> bytes:
    """A JPEG of float32 (h, w) or (h, w, 3) in 0..1."""
    planes = np.moveaxis(picture, -1, 0) if picture.ndim == 3 else picture[np.newaxis]
    return _encoded(np.rint(255 * planes).astype(np.uint8), "JPEG", None, quality=85)


def _encoded(
    planes: NDArray[np.uint8], driver: str, finish: Callable[[rasterio.io.DatasetWriter], None] | None, **options: int
) -> bytes:
    count, height, width = planes.shape
    profile = {"driver": driver, "count": count, "height": height, "width": width, "dtype": "uint8", **options}
    # A picture of a page lies nowhere.
    quiet = warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning)
    with quiet, fixed_options(), MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(planes)
            if finish is not None:
                finish(file)
        return bytes(memory.read())


CONFIDENCE_STOPS: tuple[Rgb, ...] = ((0, 34, 78), (66, 78, 108), (125, 124, 120), (187, 175, 113), (254, 232, 56))
"""Of a scale that grows in lightness from 0 to 100 per cent, also for colour-blind people.

Source: cividis, Nunez et al. 2018 (doi 10.1371/journal.pone.0199239), at 0, 25, 50, 75 and 100 per cent."""


OUTSIDE_STOPS: tuple[Rgb, ...] = ((253, 190, 220), (120, 0, 90))
"""From one band outside the training range to all of them; dark is many."""


def outside_colours(bands: int) -> dict[int, Rgb]:
    """Colour of each number of bands from 1 on; pixels with none are transparent."""
    steps = np.linspace(0, 1, max(bands, 2))
    parts = [np.rint(np.interp(steps, (0, 1), part)).astype(int).tolist() for part in zip(*OUTSIDE_STOPS, strict=True)]
    return unique_colours(dict(enumerate(zip(*parts, strict=True), start=1)))


def confidence_colours() -> dict[int, Rgb]:
    """Colour of each per cent."""
    places = np.linspace(0, 100, len(CONFIDENCE_STOPS))
    parts = [
        np.rint(np.interp(np.arange(101), places, part)).astype(int).tolist()
        for part in zip(*CONFIDENCE_STOPS, strict=True)
    ]
    return unique_colours(dict(enumerate(zip(*parts, strict=True))))
