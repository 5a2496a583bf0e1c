"""A map out of a run and an image: classes and confidence, resumable, in memory by rows.

Finished rows are kept beside the map until it is complete; a map that was stopped at any moment goes on from the last
of them and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..model.calibration import Calibration
from ..model.maps.classifier import Classifier
from ..model.maps.mosaic import Probabilities, finished_rows, needed_from
from ..model.maps.windows import OVERLAP_PX, WINDOW_PX, Axis, axis
from ..model.run_config import RunConfig
from ..model.score import LoadedRun
from ..model.training_range import NO_DATA
from ..pipeline.errors import UsageError
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
from .maps.parts import Parts
from .maps.record import beside
from .maps.window_rows import Mapped, WindowRows

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
class _Beside:
    """Rasters beside a map that are wanted; None = not."""

    confidence: Path | None
    outside: Path | None
    probabilities: Path | None
    count: Path | None

    @classmethod
    def of(cls, path: Path, run: RunConfig, options: MapOptions, *, pictures: int) -> _Beside:
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
    radar: Radar | None = None,
    calibration: Calibration | None = None,
    progress: Progress,
    more_tags: Mapping[str, str] | None = None,
) -> MapMade:
    """Classify an image, window by window, and write the map.

    Args:
        run: what ``load`` gave.
        run_hash: of its weights.
        path: of the map; resumed where it was begun with the same run, image and options.
        radar: how the image's Sentinel-1 was made, where the network reads it; kept in the tags.
        calibration: of the run, whose probabilities decide confidence and classes; None: those of the softmax do. The
            tags say which.
        more_tags: of the files, besides those of the run and the image.

    Raises:
        UsageError: another file is there, or a setting does not fit.
        DataError: a file of the image is damaged.
        MachineError: the map cannot be written.
    """
    check_name(path)
    identity = _identity(run_hash, image, options, calibration)
    # Rows that were kept without probabilities do not serve a map with them; the map itself is the same.
    parts = Parts(path.with_name(f".{path.name}.parts"), f"{identity}{' probabilities' * options.probabilities}")
    others = _Beside.of(path, run.config, options, pictures=image.pictures)
    # Whatever rows are held: a file that is no map of just this is somebody's.
    if path.exists() and tags_of(path).get("IDENTITY") != identity:
        raise UsageError(f"{path} exists and is no map of this run, image and options; name another file with -o")
    looks = partial(looks_of, _Shown(image), (*run.config.data.primary, *run.config.data.auxiliary))
    if path.exists() and others.complete:
        progress.say(f"{path} is complete already")
        parts.remove()
        describe(path, looks, page=options.page, progress=progress)
        return _made(run.config, path, others)
    _axes(run.config, image, options)  # settings that do not fit are refused before anything is written
    image.check_units()
    with parts.locked():
        _compute(run, image, options, calibration, parts, progress)
        progress.say(f"writing {path}")
        tags = {**_tags(run.config, run_hash, image, radar, options, calibration, identity), **(more_tags or {})}
        _write_others(others, run.config, image, parts, tags)
        _write_map(path, run.config, image, parts, tags)
        parts.remove()
    describe(path, looks, page=options.page, progress=progress)
    return _made(run.config, path, others)


def complete_map(run: RunConfig, path: Path, options: MapOptions, *, pictures: int) -> MapMade | None:
    """A map that is on disk with all that is wanted beside it; None where something is missing."""
    others = _Beside.of(path, run, options, pictures=pictures)
    pages = not options.page or beside(path, ".html").exists()
    return _made(run, path, others) if path.exists() and others.complete and pages else None


def check_name(path: Path) -> None:
    """Refuse a map that is called something else than a GeoTIFF.

    Raises:
        UsageError: it is.
    """
    if path.suffix.casefold() not in (".tif", ".tiff"):
        raise UsageError(f"-o {path}: a map is a GeoTIFF; name it {path.with_suffix('.tif').name}")


def _identity(run_hash: str, image: Mapped, options: MapOptions, calibration: Calibration | None) -> str:
    # Confidence is always computed: asking for it later does not begin anew. So is a batch of another size.
    decides: tuple[object, ...] = (run_hash, image.identity, options.window, options.overlap, options.tta)
    if calibration is not None:
        decides = (*decides, calibration.digest)
    return hashlib.sha256(repr(decides).encode()).hexdigest()[:16]


# --- computing --------------------------------------------------------------------------------------------------------


def _compute(
    run: LoadedRun,
    image: Mapped,
    options: MapOptions,
    calibration: Calibration | None,
    parts: Parts,
    progress: Progress,
) -> None:
    height = image.shape[0]
    rows, columns = _axes(run.config, image, options)
    first = parts.done()
    if first >= height:
        return
    classifier = Classifier(run, tta=options.tta, calibration=calibration)
    windows = WindowRows(classifier, run.config, image, rows, columns, options.batch)
    with progress.stage("Mapping", height, unit="rows") as step:
        if first:
            progress.say(f"{parts.path.parent}: resuming after row {first} of {height}")
            step.advance(first)
        with windows.reading(needed_from(rows, first)):
            for start, probabilities in finished_rows(
                rows, columns, len(run.config.data.classes), windows.row, first=first
            ):
                stop = start + probabilities.shape[1]
                seen = windows.seen(start, stop)
                # Those of several pictures are sums over the pictures that show a pixel.
                mean: Probabilities = np.divide(probabilities, np.maximum(seen, 1) if image.pictures > 1 else 1)
                held = _decided(mean, seen > 0)
                held["outside"] = np.where(seen, windows.outside(start, stop), NO_DATA).astype(np.uint8)
                if image.pictures > 1:
                    held["count"] = seen
                if options.probabilities:
                    held["probabilities"] = _stored(mean, seen > 0)
                parts.keep(start, held)
                step.advance(stop - start)


def _axes(run: RunConfig, image: Mapped, options: MapOptions) -> tuple[Axis, Axis]:
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


# --- files ------------------------------------------------------------------------------------------------------------


class _Shown:
    """The part of an image that its map shows."""

    def __init__(self, image: Mapped) -> None:
        self._image = image

    @property
    def shape(self) -> tuple[int, int]:
        return self._image.map_grid.shape

    def read(self, bands: Sequence[str], start: int, stop: int) -> NDArray[np.uint16]:
        (top, left), width = self._image.map_origin, self.shape[1]
        return self._image.read(bands, top + start, top + stop)[:, :, left : left + width]


def _tags(
    run: RunConfig,
    run_hash: str,
    image: Mapped,
    radar: Radar | None,
    options: MapOptions,
    calibration: Calibration | None,
    identity: str,
) -> dict[str, str]:
    synthetic = Source.of(run.data.source).synthetic
    bands = " ".join((*run.data.primary, *run.data.auxiliary))
    pictures = "one Sentinel-2 image" if image.pictures == 1 else "Sentinel-2 images of a year"
    return {
        "DWPLUS": __version__,
        "MODEL": run.model,
        "TRAINED_ON": run.data.source,
        "IDENTITY": identity,
        "RUN": run_hash[:16],
        "RECIPE": f"{pictures}{'' if radar is None else f'; Sentinel-1 {radar}'}; bands {bands}",
        "SETTINGS": f"window {options.window}, overlap {options.overlap}{', tta' * options.tta}{_named(calibration)}",
        "CONFIDENCE": confidence_as_text(calibration),
        **({"SANDBOX": "the network was trained on synthetic pixels"} if synthetic else {}),
        **image.tags,
    }


def _named(calibration: Calibration | None) -> str:
    """Maps with unlike calibrations are of unlike settings: biases decide classes."""
    return "" if calibration is None else f", calibration {hashlib.sha256(calibration.digest.encode()).hexdigest()[:8]}"


def confidence_as_text(calibration: Calibration | None) -> str:
    """Whether confidence is calibrated, and how."""
    return "softmax, not calibrated" if calibration is None else f"calibrated: {calibration.sentence()}"


def _of_map(image: Mapped, parts: Parts, name: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """What of the finished rows lies in the map: first row of the map, and values (..., rows, W)."""
    (top, left), (height, width) = image.map_origin, image.map_grid.shape
    for start, values in parts.each(name):
        first, last = max(start, top), min(start + values.shape[-2], top + height)
        if first < last:
            yield first - top, values[..., first - start : last - start, left : left + width]


def _write_others(others: _Beside, run: RunConfig, image: Mapped, parts: Parts, tags: Mapping[str, str]) -> None:
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


def _made(run: RunConfig, path: Path, others: _Beside) -> MapMade:
    """A map that is complete on disk."""
    counts = count_codes(path)
    pixels = tuple(int(counts[one.code]) for one in run.data.classes.classes)
    beyond = 0 if others.outside is None else int(count_codes(others.outside)[1:NO_DATA].sum())
    without = int(counts[CODE_UNMARKED])
    return MapMade(path, others.confidence, pixels, without, others.outside, beyond, others.count)
