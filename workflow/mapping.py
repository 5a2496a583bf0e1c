"""A map out of a run and an image: classes and confidence, resumable, in memory by rows.

Finished rows are kept beside the map until it is complete; a map that was stopped at any moment goes on from the last
of them and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..model.maps.classifier import Classifier
from ..model.maps.mosaic import Probabilities, columns_with_data, finished_rows, needed_from
from ..model.maps.windows import OVERLAP_PX, WINDOW_PX, Axis, axis
from ..model.run_config import RunConfig
from ..model.score import LoadedRun
from ..model.training_range import NO_DATA, StoredRange, bands_outside
from ..pipeline.errors import UsageError
from ..pipeline.files.atomic import cannot_write, write_atomically, write_json
from ..pipeline.files.locks import lock
from ..pipeline.own.image import Image, has_data
from ..pipeline.progress import Progress
from ..pipeline.raster.class_map import (
    PROBABILITY_STEPS,
    UNKNOWN_CONFIDENCE,
    UNKNOWN_PROBABILITY,
    RowWriter,
    colours_of,
    count_codes,
    tags_of,
    write_names,
)
from ..pipeline.spec.classes import CODE_UNMARKED
from ..pipeline.spec.radar import Radar, radar_differences
from ..pipeline.spec.sources import Source
from ..pipeline.spec.version import __version__
from .maps.beside import describe
from .maps.overview import looks_of
from .maps.record import beside

FIXED_WINDOW_NETWORKS = ("ftransunet",)
"""Networks that take images of one size alone."""


@dataclass(frozen=True)
class MapOptions:
    """How a map is made.

    Attributes:
        window: pixels of a window, a multiple of 32.
        overlap: pixels that neighbouring windows share.
        batch: windows at a time.
        tta: average over the eight symmetries of each window.
        confidence: also write the probability of the class, in per cent, and bands outside the training range.
        probabilities: also write the probability of each class.
        page: also write the page of the map.
    """

    window: int = WINDOW_PX
    overlap: int = OVERLAP_PX
    batch: int = 1
    tta: bool = False
    confidence: bool = False
    probabilities: bool = False
    page: bool = True


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
    """

    path: Path
    confidence: Path | None
    pixels: tuple[int, ...]
    without: int
    outside: Path | None = None
    beyond: int = 0


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
    image: Image,
    path: Path,
    options: MapOptions,
    *,
    radar: Radar | None = None,
    progress: Progress,
) -> MapMade:
    """Classify an image, window by window, and write the map.

    Args:
        run: what ``load`` gave.
        run_hash: of its weights.
        path: of the map; resumed where it was begun with the same run, image and options.
        radar: how the image's Sentinel-1 was made, where the network reads it; kept in the tags.

    Raises:
        UsageError: another file is there, or a setting does not fit.
        DataError: a file of the image is damaged.
        MachineError: the map cannot be written.
    """
    if path.suffix.casefold() not in (".tif", ".tiff"):
        raise UsageError(f"-o {path}: a map is a GeoTIFF; name it {path.with_suffix('.tif').name}")
    identity = _identity(run_hash, image, options)
    # Rows that were kept without probabilities do not serve a map with them; the map itself is the same.
    kept = f"{identity} {_Parts.FORMAT}{' probabilities' * options.probabilities}"
    parts = _Parts(path.with_name(f".{path.name}.parts"), kept)
    confidence = path.with_name(f"{path.stem}.confidence.tif") if options.confidence else None
    known = options.confidence and bool(run.config.data.ranges)
    outside = path.with_name(f"{path.stem}.outside.tif") if known else None
    looks = partial(looks_of, image, (*run.config.data.primary, *run.config.data.auxiliary))
    # Whatever rows are held: a file that is no map of just this is somebody's.
    if path.exists() and tags_of(path).get("IDENTITY") != identity:
        raise UsageError(f"{path} exists and is no map of this run, image and options; name another file with -o")
    probabilities = beside(path, ".probabilities.tif") if options.probabilities else None
    if path.exists() and all(one is None or one.exists() for one in (confidence, outside, probabilities)):
        progress.say(f"{path} is complete already")
        parts.remove()
        describe(path, looks, page=options.page, progress=progress)
        return _made(run.config, path, confidence, outside)
    _axes(run.config, image, options)  # settings that do not fit are refused before anything is written
    image.check_units()
    with parts.locked():
        _compute(run, image, options, parts, progress)
        progress.say(f"writing {path}")
        tags = _tags(run.config, run_hash, image, radar, options, identity)
        if confidence is not None:
            _write_beside(confidence, image, parts, "confidence", {**tags, "UNIT": "per cent"})
        if outside is not None:
            _write_beside(outside, image, parts, "outside", {**tags, "UNIT": "bands outside the training range"})
        if probabilities is not None:
            _write_probabilities(probabilities, run.config, image, parts, tags)
        _write_map(path, run.config, image, parts, tags)
        parts.remove()
    describe(path, looks, page=options.page, progress=progress)
    return _made(run.config, path, confidence, outside)


def _identity(run_hash: str, image: Image, options: MapOptions) -> str:
    # Confidence is always computed: asking for it later does not begin anew. So is a batch of another size.
    decides = (run_hash, image.identity, options.window, options.overlap, options.tta)
    return hashlib.sha256(repr(decides).encode()).hexdigest()[:16]


# --- computing --------------------------------------------------------------------------------------------------------


def _compute(run: LoadedRun, image: Image, options: MapOptions, parts: _Parts, progress: Progress) -> None:
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
                outside = windows.outside(start, stop)
                held = {**_decided(probabilities, outside != NO_DATA), "outside": outside}
                if options.probabilities:
                    held["probabilities"] = _stored(probabilities, outside != NO_DATA)
                parts.keep(start, held)
                step.advance(stop - start)


def _axes(run: RunConfig, image: Image, options: MapOptions) -> tuple[Axis, Axis]:
    """Windows along rows and columns.

    Raises:
        UsageError: their size or overlap cannot be.
    """
    fixed = run.model in FIXED_WINDOW_NETWORKS
    rows, columns = (axis(side, size=options.window, overlap=options.overlap, fixed=fixed) for side in image.shape)
    return rows, columns


def _decided(probabilities: Probabilities, valid: NDArray[np.bool_]) -> dict[str, NDArray[np.uint8]]:
    """Codes and confidence in per cent of finished rows."""
    best = probabilities.argmax(axis=0)
    top = np.take_along_axis(probabilities, best[None], axis=0)[0]
    codes = np.where(valid, best + 1, CODE_UNMARKED).astype(np.uint8)
    confidence = np.where(valid, np.rint(100 * top), UNKNOWN_CONFIDENCE).astype(np.uint8)
    return {"codes": codes, "confidence": confidence}


def _stored(probabilities: Probabilities, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Probabilities in steps: uint8 (K, rows, W)."""
    steps = np.rint(PROBABILITY_STEPS * np.clip(probabilities, 0, 1))
    return np.where(valid, steps, UNKNOWN_PROBABILITY).astype(np.uint8)


class _Windows:
    """Rows of windows of an image; the next one is read while this one is computed."""

    def __init__(
        self, classifier: Classifier, run: RunConfig, image: Image, rows: Axis, columns: Axis, options: MapOptions
    ) -> None:
        self._classifier, self._image, self._rows, self._columns = classifier, image, rows, columns
        self._bands = (tuple(run.data.primary), tuple(run.data.auxiliary))
        self._batch = options.batch
        self._range = StoredRange.of(run.data.ranges, (*run.data.primary, *run.data.auxiliary))
        self._outside: dict[int, NDArray[np.uint8]] = {}
        self._next: Future[tuple[NDArray[np.uint16], ...]] | None = None

    def reading(self, number: int) -> ThreadPoolExecutor:
        """The thread that reads ahead, from a row of windows on."""
        self._thread = ThreadPoolExecutor(1)
        self._next = self._thread.submit(self._read, number)
        return self._thread

    def row(self, number: int) -> Iterator[tuple[int, Probabilities]]:
        assert self._next is not None
        strips = self._next.result()
        if number + 1 < len(self._rows.starts):
            self._next = self._thread.submit(self._read, number + 1)
        valid = has_data(*strips)
        judged = bands_outside(strips, valid, self._range)
        self._outside = {number: judged, **{old: one for old, one in self._outside.items() if old >= number - 2}}
        chosen = columns_with_data(valid, self._rows, number, self._columns)
        for at in range(0, len(chosen), self._batch):
            together = chosen[at : at + self._batch]
            parts = [np.stack([self._cut(strip, column) for column in together]) for strip in strips]
            yield from zip(together, self._classifier(*parts), strict=True)

    def outside(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Bands outside the training range in image rows that are finished, ``NO_DATA`` without: uint8 (rows, W)."""
        width = self._image.shape[1]
        found = np.full((stop - start, width), NO_DATA, dtype=np.uint8)
        for number, judged in self._outside.items():
            top = self._rows.starts[number]
            low, high = max(start, top), min(stop, top + len(judged))
            if low < high:
                found[low - start : high - start] = judged[low - top : high - top, :width]
        return found

    def _cut(self, strip: NDArray[np.uint16], column: int) -> NDArray[np.uint16]:
        left = self._columns.starts[column]
        return strip[:, :, left : left + self._columns.size]

    def _read(self, number: int) -> tuple[NDArray[np.uint16], ...]:
        """Both inputs of a row of windows: (C, size, padded width), 0 beyond the image."""
        start = self._rows.starts[number]
        stop = min(start + self._rows.size, self._image.shape[0])
        found = []
        for bands in self._bands:
            strip = np.zeros((len(bands), self._rows.size, self._columns.padded), dtype=np.uint16)
            strip[:, : stop - start, : self._image.shape[1]] = self._image.read(bands, start, stop)
            found.append(strip)
        return tuple(found)


# --- what is kept until the map is complete ---------------------------------------------------------------------------


class _Parts:
    """Finished rows in a folder beside the map."""

    FORMAT = 2
    """Of the rows: those of another one are computed again."""

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

    def keep(self, start: int, held: Mapping[str, NDArray[np.uint8]]) -> None:
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **held)
        name = f"rows-{start:08d}-{start + len(held['codes']):08d}.npz"
        write_atomically(self.path / name, content.getvalue())

    def each(self, name: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """First row and values (``codes``, ``confidence``, ``outside``, ``probabilities``) of each part, downwards."""
        for path in sorted(self.path.glob("rows-*.npz")):
            with np.load(path) as held:
                yield int(path.stem.split("-")[1]), held[name]

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


def _tags(
    run: RunConfig, run_hash: str, image: Image, radar: Radar | None, options: MapOptions, identity: str
) -> dict[str, str]:
    synthetic = Source.of(run.data.source).synthetic
    bands = " ".join((*run.data.primary, *run.data.auxiliary))
    return {
        "DWPLUS": __version__,
        "MODEL": run.model,
        "TRAINED_ON": run.data.source,
        "IDENTITY": identity,
        "RUN": run_hash[:16],
        "PIXELS": "files",
        "DATE": image.products[0].day.isoformat(),
        "RECIPE": f"one Sentinel-2 image{'' if radar is None else f'; Sentinel-1 {radar}'}; bands {bands}",
        "SETTINGS": f"window {options.window}, overlap {options.overlap}{', tta' * options.tta}",
        "IMAGES": ", ".join(f"{product.name} of {product.day}" for product in image.products),
        **({"SANDBOX": "the network was trained on synthetic pixels"} if synthetic else {}),
    }


def _write_beside(path: Path, image: Image, parts: _Parts, name: str, tags: Mapping[str, str]) -> None:
    """Confidence, or bands outside the training range: both are numbers with one value for no data."""
    writer = RowWriter(path, image.grid, nodata=UNKNOWN_CONFIDENCE, overviews="average", tags=tags)
    with writer.open() as file:
        for start, values in parts.each(name):
            file.write(start, values)


def _write_probabilities(path: Path, run: RunConfig, image: Image, parts: _Parts, tags: Mapping[str, str]) -> None:
    writer = RowWriter(
        path,
        image.grid,
        nodata=UNKNOWN_PROBABILITY,
        overviews="average",
        bands=run.data.classes.names,
        scale=1 / PROBABILITY_STEPS,
        tags={**tags, "UNIT": "probability", "SCALE": f"1/{PROBABILITY_STEPS}"},
    )
    with writer.open() as file:
        for start, probabilities in parts.each("probabilities"):
            file.write(start, probabilities)


def _write_map(path: Path, run: RunConfig, image: Image, parts: _Parts, tags: Mapping[str, str]) -> None:
    classes = run.data.classes
    tags = {**tags, "CLASSES": " ".join(f"{one.code}={one.name}" for one in classes.classes)}
    writer = RowWriter(path, image.grid, nodata=CODE_UNMARKED, overviews="mode", colours=colours_of(classes), tags=tags)
    counts = np.zeros(256, dtype=np.int64)
    with writer.open() as file:
        for start, codes in parts.each("codes"):
            file.write(start, codes)
            counts += np.bincount(codes.ravel(), minlength=256)
    write_names(path, classes, [int(counts[one.code]) for one in classes.classes])


def _made(run: RunConfig, path: Path, confidence: Path | None, outside: Path | None) -> MapMade:
    counts = count_codes(path)
    pixels = tuple(int(counts[one.code]) for one in run.data.classes.classes)
    beyond = 0 if outside is None else int(count_codes(outside)[1:NO_DATA].sum())
    return MapMade(path, confidence, pixels, int(counts[CODE_UNMARKED]), outside, beyond)
