"""An image as rows of windows: read ahead, classified, with what is known of each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...model.maps.classifier import Classifier
from ...model.maps.mosaic import Probabilities, columns_with_data
from ...model.maps.windows import Axis
from ...model.run_config import RunConfig
from ...model.training_range import StoredRange, bands_outside
from ...pipeline.own.image import has_data, has_either
from ...pipeline.raster.geotiff import RasterGrid


class Mapped(Protocol):
    """What maps are made of: ``own.image.Image`` (files) or ``areas.image.AreaImage`` (Earth Engine)."""

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the pixels that are read."""

    @property
    def map_grid(self) -> RasterGrid:
        """Of the map, which may be a part of them."""

    @property
    def map_origin(self) -> tuple[int, int]:
        """Row and column where the map begins."""

    @property
    def pictures(self) -> int:
        """Pictures of the ground, of one day each; the probabilities of all are averaged, pixel by pixel."""

    @property
    def identity(self) -> str:
        """Changes with the pixels."""

    @property
    def tags(self) -> dict[str, str]:
        """Where they come from, for the map's file."""

    def read(self, bands: Sequence[str], start: int, stop: int, picture: int = 0) -> NDArray[np.uint16]:
        """Stored values of some rows: uint16 (bands, rows, W), 0 = no data."""

    def shown(self, start: int, stop: int, picture: int = 0) -> NDArray[np.bool_] | None:
        """Which pixels of some rows may get a class: bool (rows, W); None = all."""

    def check_units(self) -> None:
        """Raise ``DataError`` where values are none of their unit."""


class WindowRows:
    """Rows of windows of an image; the next one is read while this one is computed.

    Where there are several pictures of the ground, a row of windows is computed for each of them, one after the other:
    memory does not grow with their number.
    """

    def __init__(
        self, classifier: Classifier, run: RunConfig, image: Mapped, rows: Axis, columns: Axis, batch: int
    ) -> None:
        self._classifier, self._image, self._rows, self._columns = classifier, image, rows, columns
        self._bands = (tuple(run.data.primary), tuple(run.data.auxiliary))
        self._batch = batch
        # Trained for missing inputs: what is absent is a learned token (``model.missing``).
        self._either = run.tokens
        self._range = StoredRange.of(run.data.ranges, (*run.data.primary, *run.data.auxiliary))
        self._seen: dict[int, NDArray[np.uint8]] = {}
        self._outside: dict[int, NDArray[np.uint8]] = {}
        self._tail: tuple[int, tuple[NDArray[np.uint16], ...]] | None = None
        self._next: Future[tuple[tuple[NDArray[np.uint16], ...], NDArray[np.bool_]]] | None = None

    def reading(self, number: int, stop: int) -> ThreadPoolExecutor:
        """The thread that reads ahead, from a row of windows on and before another one."""
        self._stop = stop
        self._thread = ThreadPoolExecutor(1)
        self._next = self._thread.submit(self._read, number, 0)
        return self._thread

    def row(self, number: int) -> Iterator[tuple[int, Probabilities]]:
        for kept in (self._seen, self._outside):
            for old in [one for one in kept if one < number - 2]:
                del kept[old]
            kept[number] = np.zeros((self._rows.size, self._columns.padded), dtype=np.uint8)
        for picture in range(self._image.pictures):
            yield from self._row_of(number, picture)

    def _row_of(self, number: int, picture: int) -> Iterator[tuple[int, Probabilities]]:
        assert self._next is not None
        strips, valid = self._next.result()
        following = (number, picture + 1) if picture + 1 < self._image.pictures else (number + 1, 0)
        if following[0] < self._stop:
            self._next = self._thread.submit(self._read, *following)
        self._seen[number] += valid
        outside = np.where(valid, bands_outside(strips, valid, self._range), 0)
        np.maximum(self._outside[number], outside, out=self._outside[number])
        chosen = columns_with_data(valid, self._rows, number, self._columns)
        for at in range(0, len(chosen), self._batch):
            together = chosen[at : at + self._batch]
            parts = [np.stack([self._cut(strip, column) for column in together]) for strip in strips]
            for column, probabilities in zip(together, self._classifier(*parts), strict=True):
                # A picture says nothing where it has no data; one alone is masked when it is decided.
                alone = self._image.pictures == 1
                yield column, probabilities if alone else probabilities * self._cut(valid[None], column)

    def seen(self, start: int, stop: int) -> NDArray[np.uint8]:
        """How many pictures show the pixels of image rows that are finished: uint8 (rows, W)."""
        return self._finished(self._seen, start, stop)

    def outside(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Bands outside the training range in image rows that are finished: uint8 (rows, W), 0 where nothing is seen.

        Of several pictures the one with most of them counts.
        """
        return self._finished(self._outside, start, stop)

    def _finished(self, kept: Mapping[int, NDArray[np.uint8]], start: int, stop: int) -> NDArray[np.uint8]:
        width = self._image.shape[1]
        found = np.zeros((stop - start, width), dtype=np.uint8)
        for number, values in kept.items():
            top = self._rows.starts[number]
            low, high = max(start, top), min(stop, top + len(values))
            if low < high:
                found[low - start : high - start] = values[low - top : high - top, :width]
        return found

    def _cut(self, strip: NDArray[Any], column: int) -> NDArray[Any]:
        left = self._columns.starts[column]
        return strip[:, :, left : left + self._columns.size]

    def _read(self, number: int, picture: int) -> tuple[tuple[NDArray[np.uint16], ...], NDArray[np.bool_]]:
        """Both inputs of a row of windows, (C, size, padded width), 0 beyond the image, and where they give a class."""
        start = self._rows.starts[number]
        stop = min(start + self._rows.size, self._image.shape[0])
        tails = self._tail[1] if self._tail is not None and self._tail[0] == start else None
        width, found = self._image.shape[1], []
        for place, bands in enumerate(self._bands):
            strip = np.zeros((len(bands), self._rows.size, self._columns.padded), dtype=np.uint16)
            held = 0 if tails is None else tails[place].shape[1]
            if tails is not None:
                strip[:, :held, :width] = tails[place]
            if start + held < stop:
                strip[:, held : stop - start, :width] = self._image.read(bands, start + held, stop, picture)
            found.append(strip)
        self._tail = self._tail_of(number, stop, found)
        valid = has_either(*found) if self._either else has_data(*found)
        shown = self._image.shown(start, stop, picture)
        if shown is not None:
            valid[: stop - start, :width] &= shown
        return tuple(found), valid

    def _tail_of(
        self, number: int, stop: int, strips: Sequence[NDArray[np.uint16]]
    ) -> tuple[int, tuple[NDArray[np.uint16], ...]] | None:
        """Where the next row of windows begins, and the rows that it shares with this one: they are not read again.

        None of several pictures, whose tails would take memory for each of them.
        """
        if self._image.pictures > 1 or number + 1 >= len(self._rows.starts):
            return None
        start, following = self._rows.starts[number], self._rows.starts[number + 1]
        width = self._image.shape[1]
        return following, tuple(strip[:, following - start : stop - start, :width].copy() for strip in strips)
