"""An image as rows of windows: read ahead, classified, with what is known of each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ...model.maps.classifier import Classifier
from ...model.maps.mosaic import Probabilities, columns_with_data
from ...model.maps.streams import Streams
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


class Batch(NamedTuple):
    """Windows that are classified together, one beside the other.

    Attributes:
        number: of their row of windows.
        columns: numbers of their columns.
        inputs: stored values, uint16 (B, C, size, size) of both inputs.
        valid: bool (B, size, size), where they give a class.
    """

    number: int
    columns: Sequence[int]
    inputs: tuple[NDArray[np.uint16], NDArray[np.uint16]]
    valid: NDArray[np.bool_]


class WindowRows:
    """Rows of windows of an image: the next one is read, and the next windows are classified, while these are used.

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

    @contextmanager
    def computing(self, number: int, stop: int) -> Iterator[None]:
        """Within it ``row`` gives rows of windows, from one on and before another one, in order."""
        with ThreadPoolExecutor(1) as reader, Streams(self._classifier) as streams:
            self._classified = streams(self._batches(reader, number, stop))
            self._ahead = next(self._classified, None)
            yield

    def row(self, number: int) -> Iterator[tuple[int, Probabilities]]:
        """Column and probabilities (K, size, size) of each window of a row that has data."""
        for kept in (self._seen, self._outside):
            for old in [one for one in kept if one < number]:
                del kept[old]
        self._number = number
        while self._ahead is not None and self._ahead[0].number == number:
            batch, found = self._ahead
            for column, probabilities, valid in zip(batch.columns, found, batch.valid, strict=True):
                # A picture says nothing where it has no data; one alone is masked when it is decided.
                yield column, probabilities if self._image.pictures == 1 else probabilities * valid
            self._ahead = next(self._classified, None)

    def seen(self, start: int, stop: int) -> NDArray[np.uint8]:
        """How many pictures show the pixels of finished rows of the last row of windows: uint8 (rows, W)."""
        return self._finished(self._seen, start, stop)

    def outside(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Bands outside the training range in the same rows: uint8 (rows, W), 0 where nothing is seen.

        Of several pictures the one with most of them counts.
        """
        return self._finished(self._outside, start, stop)

    def _finished(self, kept: Mapping[int, NDArray[np.uint8]], start: int, stop: int) -> NDArray[np.uint8]:
        top, width = self._rows.starts[self._number], self._image.shape[1]
        return kept[self._number][start - top : stop - top, :width]

    def _batches(self, reader: ThreadPoolExecutor, first: int, stop: int) -> Iterator[Batch]:
        """Windows with data in the order in which they are computed: row by row, and of a row picture by picture."""
        todo = [(number, picture) for number in range(first, stop) for picture in range(self._image.pictures)]
        following = reader.submit(self._read, *todo[0])
        for place, (number, picture) in enumerate(todo):
            strips, valid = following.result()
            if place + 1 < len(todo):
                following = reader.submit(self._read, *todo[place + 1])
            if picture == 0:
                for kept in (self._seen, self._outside):
                    kept[number] = np.zeros((self._rows.size, self._columns.padded), dtype=np.uint8)
            self._seen[number] += valid
            outside = np.where(valid, bands_outside(strips, valid, self._range), 0)
            np.maximum(self._outside[number], outside, out=self._outside[number])
            chosen = columns_with_data(valid, self._rows, number, self._columns)
            # A row without windows gives an empty batch: what is kept of rows is bounded by the batches under way.
            for at in range(0, max(1, len(chosen)), self._batch):
                together = chosen[at : at + self._batch]
                primary, auxiliary, shown = (self._cut(strip, together) for strip in (*strips, valid[None]))
                yield Batch(number, together, (primary, auxiliary), shown[:, 0])

    def _cut(self, strip: NDArray[Any], columns: Sequence[int]) -> NDArray[Any]:
        """Windows of a strip (C, size, padded width), one beside the other: (B, C, size, size)."""
        size = self._columns.size
        found = np.empty((len(columns), *strip.shape[:2], size), dtype=strip.dtype)
        for window, column in zip(found, columns, strict=True):
            left = self._columns.starts[column]
            window[:] = strip[:, :, left : left + size]
        return found

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
