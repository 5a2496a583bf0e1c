"""The rasters of a map: classes, confidence, probabilities and counts, written out of finished rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...model.run_config import RunConfig
from ...model.training_range import NO_DATA
from ...pipeline.raster.class_map import (
    PROBABILITY_STEPS,
    UNKNOWN_CONFIDENCE,
    UNKNOWN_PROBABILITY,
    RowWriter,
    colours_of,
    count_codes,
    write_names,
)
from ...pipeline.spec.classes import CODE_UNMARKED
from .parts import Parts
from .record import beside
from .settings import MapOptions
from .window_rows import Mapped


@dataclass(frozen=True)
class MapMade:
    """A map on disk.

    Attributes:
        path: of the map.
        confidence: of the raster of confidence, or None.
        pixels: of each class, in the order of the class table.
        without: pixels without data.
        outside: of the raster of bands outside the training range; None where it was not asked for, or is not known.
        beyond: pixels with at least one such band.
        count: of the raster that says how many pictures show a pixel; None where there is one alone.
    """

    path: Path
    confidence: Path | None
    pixels: tuple[int, ...]
    without: int
    outside: Path | None = None
    beyond: int = 0
    count: Path | None = None


@dataclass(frozen=True)
class Others:
    """Rasters beside a map that are wanted; None = not."""

    confidence: Path | None
    outside: Path | None
    probabilities: Path | None
    count: Path | None

    @classmethod
    def of(cls, path: Path, run: RunConfig, options: MapOptions, *, pictures: int) -> Others:
        known = options.confidence and bool(run.data.ranges)
        return cls(
            beside(path, ".confidence.tif") if options.confidence else None,
            beside(path, ".outside.tif") if known else None,
            beside(path, ".probabilities.tif") if options.probabilities else None,
            beside(path, ".count.tif") if pictures > 1 else None,
        )

    @property
    def complete(self) -> bool:
        """Whether all of them are there."""
        return all(one is None or one.exists() for one in vars(self).values())


def write_rasters(
    others: Others, path: Path, run: RunConfig, image: Mapped, parts: Parts, tags: Mapping[str, str]
) -> None:
    """Write the map and what is wanted beside it; the map last, as its being there says that all is complete.

    Raises:
        MachineError: a file cannot be written.
    """
    _write_others(others, run, image, parts, tags)
    _write_map(path, run, image, parts, tags)


def _of_map(image: Mapped, parts: Parts, name: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """What of the finished rows lies in the map: first row of the map, and values (..., rows, W)."""
    (top, left), (height, width) = image.map_origin, image.map_grid.shape
    for start, values in parts.each(name):
        first, last = max(start, top), min(start + values.shape[-2], top + height)
        if first < last:
            yield first - top, values[..., first - start : last - start, left : left + width]


def _write_others(others: Others, run: RunConfig, image: Mapped, parts: Parts, tags: Mapping[str, str]) -> None:
    if others.confidence is not None:
        _write_values(others.confidence, image, parts, "confidence", {**tags, "UNIT": "per cent"})
    if others.outside is not None:
        _write_values(others.outside, image, parts, "outside", {**tags, "UNIT": "bands outside the training range"})
    if others.count is not None:
        unit = {"UNIT": "pictures that show the pixel"}
        writer = RowWriter(others.count, image.map_grid, nodata=0, overviews="mode", tags={**tags, **unit})
        _write(writer, _of_map(image, parts, "count"))
    if others.probabilities is not None:
        _write_probabilities(others.probabilities, run, image, parts, tags)


def _write_values(path: Path, image: Mapped, parts: Parts, name: str, tags: Mapping[str, str]) -> None:
    """Confidence, or bands outside the training range: both are numbers with one value for no data."""
    writer = RowWriter(path, image.map_grid, nodata=UNKNOWN_CONFIDENCE, overviews="average", tags=tags)
    _write(writer, _of_map(image, parts, name))


def _write_probabilities(path: Path, run: RunConfig, image: Mapped, parts: Parts, tags: Mapping[str, str]) -> None:
    writer = RowWriter(
        path,
        image.map_grid,
        nodata=UNKNOWN_PROBABILITY,
        overviews="average",
        bands=run.data.classes.names,
        scale=1 / PROBABILITY_STEPS,
        tags={**tags, "UNIT": "probability", "SCALE": f"1/{PROBABILITY_STEPS}"},
    )
    _write(writer, _of_map(image, parts, "probabilities"))


def _write(writer: RowWriter, rows: Iterator[tuple[int, NDArray[np.uint8]]]) -> None:
    with writer.open() as file:
        for start, values in rows:
            file.write(start, values)


def _write_map(path: Path, run: RunConfig, image: Mapped, parts: Parts, tags: Mapping[str, str]) -> None:
    classes = run.data.classes
    tags = {**tags, "CLASSES": " ".join(f"{one.code}={one.name}" for one in classes.classes)}
    grid, colours = image.map_grid, colours_of(classes)
    writer = RowWriter(path, grid, nodata=CODE_UNMARKED, overviews="mode", colours=colours, tags=tags)
    counts = np.zeros(256, dtype=np.int64)
    with writer.open() as file:
        for start, codes in _of_map(image, parts, "codes"):
            file.write(start, codes)
            counts += np.bincount(codes.ravel(), minlength=256)
    write_names(path, classes, [int(counts[one.code]) for one in classes.classes])


def made_of(run: RunConfig, path: Path, others: Others) -> MapMade:
    """A map that is complete on disk."""
    counts = count_codes(path)
    pixels = tuple(int(counts[one.code]) for one in run.data.classes.classes)
    beyond = 0 if others.outside is None else int(count_codes(others.outside)[1:NO_DATA].sum())
    without = int(counts[CODE_UNMARKED])
    return MapMade(path, others.confidence, pixels, without, others.outside, beyond, others.count)
