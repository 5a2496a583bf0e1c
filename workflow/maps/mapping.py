"""A map out of a run and an image: classes and confidence, resumable, in memory by rows.

Finished rows are kept beside the map until it is complete; a map that was stopped at any moment goes on from the last
of them and ends with the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...model.calibration import Calibration
from ...model.maps.classifier import Classifier
from ...model.maps.mosaic import Probabilities, finished_rows, needed_from
from ...model.run_config import RunConfig
from ...model.score import LoadedRun
from ...model.training_range import NO_DATA
from ...pipeline.errors import UsageError
from ...pipeline.progress import Progress
from ...pipeline.raster.class_map import PROBABILITY_STEPS, UNKNOWN_CONFIDENCE, UNKNOWN_PROBABILITY, tags_of
from ...pipeline.spec.classes import CODE_UNMARKED
from ...pipeline.spec.radar import Radar
from .beside import describe
from .overview import looks_of
from .parts import Parts
from .rasters import MapMade, Others, made_of, write_rasters
from .record import beside
from .settings import MapOptions, axes_of, check_name, identity_of, tags_for
from .window_rows import Mapped, WindowRows


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
    identity = identity_of(run_hash, image, options, calibration)
    # Rows that were kept without probabilities do not serve a map with them; the map itself is the same.
    parts = Parts(path.with_name(f".{path.name}.parts"), f"{identity}{' probabilities' * options.probabilities}")
    others = Others.of(path, run.config, options, pictures=image.pictures)
    # Whatever rows are held: a file that is no map of just this is somebody's.
    if path.exists() and tags_of(path).get("IDENTITY") != identity:
        raise UsageError(f"{path} exists and is no map of this run, image and options; name another file with -o")
    looks = partial(looks_of, _Shown(image), (*run.config.data.primary, *run.config.data.auxiliary))
    if path.exists() and others.complete:
        progress.say(f"{path} is complete already")
        parts.remove()
        describe(path, looks, page=options.page, progress=progress)
        return made_of(run.config, path, others)
    axes_of(run.config, image, options)  # settings that do not fit are refused before anything is written
    image.check_units()
    with parts.locked():
        _compute(run, image, options, calibration, parts, progress)
        progress.say(f"writing {path}")
        tags = {**tags_for(run.config, run_hash, image, radar, options, calibration, identity), **(more_tags or {})}
        write_rasters(others, path, run.config, image, parts, tags)
        parts.remove()
    describe(path, looks, page=options.page, progress=progress)
    return made_of(run.config, path, others)


def complete_map(run: RunConfig, path: Path, options: MapOptions, *, pictures: int) -> MapMade | None:
    """A map that is on disk with all that is wanted beside it; None where something is missing."""
    others = Others.of(path, run, options, pictures=pictures)
    pages = not options.page or beside(path, ".html").exists()
    return made_of(run, path, others) if path.exists() and others.complete and pages else None


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
    rows, columns = axes_of(run.config, image, options)
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


# --- what the page shows ----------------------------------------------------------------------------------------------


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
