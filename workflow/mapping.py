"""A map out of a run and an image: classes and confidence, resumable, in memory by rows.

Finished rows are kept beside the map until it is complete; a map that was stopped at any moment goes on from the last
of them and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..model.maps.classifier import Classifier
from ..model.maps.mosaic import Probabilities, columns_with_data, finished_rows, needed_from
from ..model.maps.windows import OVERLAP_PX, WINDOW_PX, Axis, axis
from ..model.run_config import RunConfig
from ..model.score import LoadedRun
from ..pipeline.errors import UsageError
from ..pipeline.files.atomic import cannot_write, write_atomically, write_json
from ..pipeline.files.locks import lock
from ..pipeline.own.image import has_data
from ..pipeline.progress import Progress
from ..pipeline.raster.class_map import (
    UNKNOWN_CONFIDENCE,
    RowWriter,
    colours_of,
    count_codes,
    tags_of,
    write_names,
)
from ..pipeline.raster.geotiff import RasterGrid
from ..pipeline.spec.classes import CODE_UNMARKED
from ..pipeline.spec.radar import Radar, radar_differences
from ..pipeline.spec.sources import Source
from ..pipeline.spec.version import __version__

FIXED_WINDOW_NETWORKS = ("ftransunet",)
"""Networks that take images of one size alone."""


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


@dataclass(frozen=True)
class MapOptions:
    """How a map is made.

    Attributes:
        window: pixels of a window, a multiple of 32.
        overlap: pixels that neighbouring windows share.
        batch: windows at a time.
        tta: average over the eight symmetries of each window.
        confidence: also write the probability of the class, in per cent.
    """

    window: int = WINDOW_PX
    overlap: int = OVERLAP_PX
    batch: int = 1
    tta: bool = False
    confidence: bool = False


@dataclass(frozen=True)
class MapMade:
    """A map on disk.

    Attributes:
        path: of the map.
        confidence: of the raster of confidence, or None.
        pixels: of each class, in the order of the class table.
        without: pixels without data.
        count: of the raster that says how many pictures show a pixel; None where there is one alone.
    """

    path: Path
    confidence: Path | None
    pixels: tuple[int, ...]
    without: int
    count: Path | None = None


def check_fits(run: RunConfig, radar: Radar | None, *, force: bool = False, accept_s1: bool = False) -> None:
    """Refuse an image that the run's network was not made for.

    Args:
        radar: how the image's Sentinel-1 was made; None where the network reads none.
        force: map real pixels with a network that was trained on synthetic ones.
        accept_s1: map with Sentinel-1 that was made in another way.

    Raises:
        UsageError: they do not fit.
    """
    if Source.of(run.data.source).synthetic and not force:
        raise UsageError(
            "the network was trained on SANDBOX pixels, which are synthetic: its map of real ones means nothing; train "
            "on real pixels, or say --force to see one"
        )
    differences = radar_differences(run.data.radars, () if radar is None else (radar,))
    if differences and not accept_s1:
        raise UsageError(
            f"the network was trained on another Sentinel-1: the image has {differences[0]}; give it one that was made "
            "like it, or accept the difference (--accept s1)"
        )


def map_image(
    run: LoadedRun,
    run_hash: str,
    image: Mapped,
    path: Path,
    options: MapOptions,
    *,
    progress: Progress,
    more_tags: Mapping[str, str] | None = None,
) -> MapMade:
    """Classify an image, window by window, and write the map.

    Args:
        run: what ``load`` gave.
        run_hash: of its weights.
        path: of the map; resumed where it was begun with the same run, image and options.
        more_tags: of the files, besides those of the run and the image.

    Raises:
        UsageError: another file is there, or a setting does not fit.
        DataError: a file of the image is damaged.
        MachineError: the map cannot be written.
    """
    check_name(path)
    identity = _identity(run_hash, image, options)
    parts = _Parts(path.with_name(f".{path.name}.parts"), identity)
    confidence = beside(path, "confidence") if options.confidence else None
    count = beside(path, "count") if image.pictures > 1 else None
    # Whatever rows are held: a file that is no map of just this is somebody's.
    if path.exists() and tags_of(path).get("IDENTITY") != identity:
        raise UsageError(f"{path} exists and is no map of this run, image and options; name another file with -o")
    if path.exists() and all(other is None or other.exists() for other in (confidence, count)):
        progress.say(f"{path} is complete already")
        parts.remove()
        return made_map(run.config, path, confidence, count)
    _axes(run.config, image, options)  # settings that do not fit are refused before anything is written
    image.check_units()
    with parts.locked():
        _compute(run, image, options, parts, progress)
        progress.say(f"writing {path}")
        tags = {**_tags(run.config, image, identity), **(more_tags or {})}
        if confidence is not None:
            _write_confidence(confidence, image, parts, tags)
        if count is not None:
            _write_count(count, image, parts, tags)
        _write_map(path, run.config, image, parts, tags)
        parts.remove()
    return made_map(run.config, path, confidence, count)


def check_name(path: Path) -> None:
    """Refuse a map that is called something else than a GeoTIFF.

    Raises:
        UsageError: it is.
    """
    if path.suffix.casefold() not in (".tif", ".tiff"):
        raise UsageError(f"-o {path}: a map is a GeoTIFF; name it {path.with_suffix('.tif').name}")


def beside(path: Path, what: str) -> Path:
    """The raster of something else beside a map: ``town.confidence.tif``."""
    return path.with_name(f"{path.stem}.{what}.tif")


def _identity(run_hash: str, image: Mapped, options: MapOptions) -> str:
    # Confidence is always computed: asking for it later does not begin anew. So is a batch of another size.
    decides = (run_hash, image.identity, options.window, options.overlap, options.tta)
    return hashlib.sha256(repr(decides).encode()).hexdigest()[:16]


# --- computing --------------------------------------------------------------------------------------------------------


def _compute(run: LoadedRun, image: Mapped, options: MapOptions, parts: _Parts, progress: Progress) -> None:
    height = image.shape[0]
    rows, columns = _axes(run.config, image, options)
    first = parts.done()
    if first >= height:
        return
    windows = _Windows(Classifier(run, tta=options.tta), run.config, image, rows, columns, options)
    with progress.stage("Mapping", height, unit="rows") as step:
        if first:
            progress.say(f"{parts.path.parent}: resuming after row {first} of {height}")
            step.advance(first)
        with windows.reading(needed_from(rows, first)):
            for start, probabilities in finished_rows(
                rows, columns, len(run.config.data.classes), windows.row, first=first
            ):
                stop = start + probabilities.shape[1]
                parts.keep(start, **_decided(probabilities, windows.seen(start, stop), image.pictures))
                step.advance(stop - start)


def _axes(run: RunConfig, image: Mapped, options: MapOptions) -> tuple[Axis, Axis]:
    """Windows along rows and columns.

    Raises:
        UsageError: their size or overlap cannot be.
    """
    fixed = run.model in FIXED_WINDOW_NETWORKS
    rows, columns = (axis(side, size=options.window, overlap=options.overlap, fixed=fixed) for side in image.shape)
    return rows, columns


def _decided(probabilities: Probabilities, seen: NDArray[np.uint8], pictures: int) -> dict[str, NDArray[np.uint8]]:
    """Codes and confidence in per cent of finished rows; with several pictures also how many show a pixel.

    Args:
        probabilities: summed over the pictures that show a pixel.
        seen: uint8 (rows, W), their number.
    """
    best = probabilities.argmax(axis=0)
    top = np.take_along_axis(probabilities, best[None], axis=0)[0]
    if pictures > 1:
        top = top / np.maximum(seen, 1)
    codes = np.where(seen, best + 1, CODE_UNMARKED).astype(np.uint8)
    confidence = np.where(seen, np.rint(100 * top), UNKNOWN_CONFIDENCE).astype(np.uint8)
    return {"codes": codes, "confidence": confidence, **({"count": seen} if pictures > 1 else {})}


class _Windows:
    """Rows of windows of an image; the next one is read while this one is computed.

    Where there are several pictures of the ground, a row of windows is computed for each of them, one after the other:
    memory does not grow with their number.
    """

    def __init__(
        self, classifier: Classifier, run: RunConfig, image: Mapped, rows: Axis, columns: Axis, options: MapOptions
    ) -> None:
        self._classifier, self._image, self._rows, self._columns = classifier, image, rows, columns
        self._bands = (tuple(run.data.primary), tuple(run.data.auxiliary))
        self._batch = options.batch
        self._seen: dict[int, NDArray[np.uint8]] = {}
        self._next: Future[tuple[tuple[NDArray[np.uint16], ...], NDArray[np.bool_]]] | None = None

    def reading(self, number: int) -> ThreadPoolExecutor:
        """The thread that reads ahead, from a row of windows on."""
        self._thread = ThreadPoolExecutor(1)
        self._next = self._thread.submit(self._read, number, 0)
        return self._thread

    def row(self, number: int) -> Iterator[tuple[int, Probabilities]]:
        self._seen = {old: mask for old, mask in self._seen.items() if old >= number - 2}
        self._seen[number] = np.zeros((self._rows.size, self._columns.padded), dtype=np.uint8)
        for picture in range(self._image.pictures):
            yield from self._row_of(number, picture)

    def _row_of(self, number: int, picture: int) -> Iterator[tuple[int, Probabilities]]:
        assert self._next is not None
        strips, valid = self._next.result()
        following = (number, picture + 1) if picture + 1 < self._image.pictures else (number + 1, 0)
        if following[0] < len(self._rows.starts):
            self._next = self._thread.submit(self._read, *following)
        self._seen[number] += valid
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
        width = self._image.shape[1]
        found = np.zeros((stop - start, width), dtype=np.uint8)
        for number, mask in self._seen.items():
            top = self._rows.starts[number]
            low, high = max(start, top), min(stop, top + len(mask))
            if low < high:
                found[low - start : high - start] = mask[low - top : high - top, :width]
        return found

    def _cut(self, strip: NDArray[Any], column: int) -> NDArray[Any]:
        left = self._columns.starts[column]
        return strip[:, :, left : left + self._columns.size]

    def _read(self, number: int, picture: int) -> tuple[tuple[NDArray[np.uint16], ...], NDArray[np.bool_]]:
        """Both inputs of a row of windows, (C, size, padded width), 0 beyond the image, and where they give a class."""
        start = self._rows.starts[number]
        stop = min(start + self._rows.size, self._image.shape[0])
        found = []
        for bands in self._bands:
            strip = np.zeros((len(bands), self._rows.size, self._columns.padded), dtype=np.uint16)
            strip[:, : stop - start, : self._image.shape[1]] = self._image.read(bands, start, stop, picture)
            found.append(strip)
        valid = has_data(*found)
        shown = self._image.shown(start, stop, picture)
        if shown is not None:
            valid[: stop - start, : self._image.shape[1]] &= shown
        return tuple(found), valid


# --- what is kept until the map is complete ---------------------------------------------------------------------------


class _Parts:
    """Finished rows in a folder beside the map."""

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self._identity = path, identity

    def locked(self) -> _Lock:
        """Have the folder to oneself; rows of another run, image or options are deleted."""
        return _Lock(self.path, self._identity)

    def done(self) -> int:
        """The first row that is missing."""
        row = 0
        for path in sorted(self.path.glob("rows-*.npz")):
            start, stop = (int(number) for number in path.stem.split("-")[1:])
            if start != row:
                break
            row = stop
        return row

    def keep(self, start: int, **values: NDArray[np.uint8]) -> None:
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **values)
        name = f"rows-{start:08d}-{start + len(values['codes']):08d}.npz"
        write_atomically(self.path / name, content.getvalue())

    def each(self) -> Iterator[tuple[int, Mapping[str, NDArray[np.uint8]]]]:
        """First row, codes, confidence and so on of each part, from the top to the bottom."""
        for path in sorted(self.path.glob("rows-*.npz")):
            with np.load(path) as held:
                yield int(path.stem.split("-")[1]), {name: held[name] for name in held.files}

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class _Lock:
    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._identity = path, identity

    def __enter__(self) -> None:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            self._file = (self._path / "lock").open("w", encoding="utf-8")
        except OSError as error:
            raise cannot_write(self._path, error, option="-o") from None
        lock(self._file, held=f"another command is making this map ({self._path}); wait for it")
        mark = self._path / "identity.json"
        if not mark.is_file() or mark.read_text(encoding="utf-8").strip() != f'"{self._identity}"':
            for path in self._path.glob("rows-*.npz"):
                path.unlink()
            write_json(mark, self._identity)

    def __exit__(self, *_: object) -> None:
        self._file.close()


# --- the map ----------------------------------------------------------------------------------------------------------


def _tags(run: RunConfig, image: Mapped, identity: str) -> dict[str, str]:
    synthetic = Source.of(run.data.source).synthetic
    return {
        "DWPLUS": __version__,
        "MODEL": run.model,
        "TRAINED_ON": run.data.source,
        "IDENTITY": identity,
        **({"SANDBOX": "the network was trained on synthetic pixels"} if synthetic else {}),
        **image.tags,
    }


def _write_confidence(path: Path, image: Mapped, parts: _Parts, tags: Mapping[str, str]) -> None:
    tags = {**tags, "UNIT": "per cent"}
    writer = RowWriter(path, image.map_grid, nodata=UNKNOWN_CONFIDENCE, overviews="average", tags=tags)
    with writer.open() as file:
        for start, held in _of_map(image, parts):
            file.write(start, held["confidence"])


def _write_count(path: Path, image: Mapped, parts: _Parts, tags: Mapping[str, str]) -> None:
    tags = {**tags, "UNIT": "pictures that show the pixel"}
    writer = RowWriter(path, image.map_grid, nodata=0, overviews="mode", tags=tags)
    with writer.open() as file:
        for start, held in _of_map(image, parts):
            file.write(start, held["count"])


def _of_map(image: Mapped, parts: _Parts) -> Iterator[tuple[int, dict[str, NDArray[np.uint8]]]]:
    """What of the finished rows lies in the map: first row of the map, and values."""
    (top, left), (height, width) = image.map_origin, image.map_grid.shape
    for start, held in parts.each():
        first, last = max(start, top), min(start + len(held["codes"]), top + height)
        if first < last:
            inside = (slice(first - start, last - start), slice(left, left + width))
            yield first - top, {name: values[inside] for name, values in held.items()}


def _write_map(path: Path, run: RunConfig, image: Mapped, parts: _Parts, tags: Mapping[str, str]) -> None:
    classes = run.data.classes
    tags = {**tags, "CLASSES": " ".join(f"{one.code}={one.name}" for one in classes.classes)}
    grid, colours = image.map_grid, colours_of(classes)
    writer = RowWriter(path, grid, nodata=CODE_UNMARKED, overviews="mode", colours=colours, tags=tags)
    counts = np.zeros(256, dtype=np.int64)
    with writer.open() as file:
        for start, held in _of_map(image, parts):
            file.write(start, held["codes"])
            counts += np.bincount(held["codes"].ravel(), minlength=256)
    write_names(path, classes, [int(counts[one.code]) for one in classes.classes])


def made_map(run: RunConfig, path: Path, confidence: Path | None, count: Path | None) -> MapMade:
    """A map that is complete on disk."""
    counts = count_codes(path)
    pixels = tuple(int(counts[one.code]) for one in run.data.classes.classes)
    return MapMade(path, confidence, pixels, int(counts[CODE_UNMARKED]), count)
