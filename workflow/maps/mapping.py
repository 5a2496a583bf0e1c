"""A map out of a run and an image: classes and confidence, resumable, in memory by rows.

Finished rows are kept beside the map until it is complete; a map that was stopped at any moment goes on from the last
of them and ends with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...model.calibration import Calibration
from ...model.maps.classifier import Classifier
from ...model.maps.mosaic import Probabilities, finished_rows, largest, needed_from
from ...model.maps.windows import Axis
from ...model.run_config import RunConfig
from ...model.score import LoadedRun
from ...model.training_range import NO_DATA
from ...pipeline.errors import UsageError
from ...pipeline.progress import Progress
from ...pipeline.raster.class_map import PROBABILITY_STEPS, UNKNOWN_CONFIDENCE, UNKNOWN_PROBABILITY, tags_of
from ...pipeline.spec.classes import CODE_UNMARKED
from ...pipeline.spec.radar import Radar
from ..machines import Machine, one_at_a_time
from .beside import describe
from .overview import looks_of
from .parts import Parts
from .rasters import MapMade, Others, made_of, write_rasters
from .record import beside
from .settings import MapOptions, axes_of, check_name, identity_of, tags_for
from .window_rows import Mapped, WindowRows


@dataclass(frozen=True)
class MapWork:
    """One map to be made: all that decides its bytes.

    Attributes:
        run: what ``load`` gave.
        run_hash: of its weights.
        path: of the map; resumed where it was begun with the same run, image and options.
        radar: how the image's Sentinel-1 was made, where the network reads it; kept in the tags.
        calibration: of the run, whose probabilities decide confidence and classes; None: those of the softmax do. The
            tags say which.
        more_tags: of the files, besides those of the run and the image.
    """

    run: LoadedRun
    run_hash: str
    image: Mapped
    path: Path
    options: MapOptions
    radar: Radar | None = None
    calibration: Calibration | None = None
    more_tags: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def identity(self) -> str:
        return identity_of(self.run_hash, self.image, self.options, self.calibration)

    @property
    def parts(self) -> Parts:
        """Rows that are finished. Those that were kept without probabilities do not serve a map with them."""
        identity = f"{self.identity}{' probabilities' * self.options.probabilities}"
        return Parts(self.path.with_name(f".{self.path.name}.parts"), identity)

    @property
    def others(self) -> Others:
        return Others.of(self.path, self.run.config, self.options, pictures=self.image.pictures)

    def axes(self) -> tuple[Axis, Axis]:
        """Windows along rows and columns; raises ``UsageError`` where their size or overlap cannot be."""
        return axes_of(self.run.config, self.image, self.options)

    def complete(self) -> bool:
        """Whether all rasters are there.

        Raises:
            UsageError: another file is there.
        """
        check_name(self.path)
        # Whatever rows are held: a file that is no map of just this is somebody's.
        if self.path.exists() and tags_of(self.path).get("IDENTITY") != self.identity:
            raise UsageError(
                f"{self.path} exists and is no map of this run, image and options, or is of an earlier version; name "
                "another file with -o"
            )
        return self.path.exists() and self.others.complete

    def made(self, progress: Progress) -> MapMade | None:
        """The map where it is complete; what lies beside it is written where it is missing.

        Raises:
            UsageError: another file is there.
        """
        if not self.complete():
            return None
        progress.say(f"{self.path} is complete already")
        self.parts.remove()
        return self._described(progress)

    def compute(self, progress: Progress, machine: Machine = Machine()) -> None:  # noqa: B008 - a frozen value
        """Classify the rows of windows of one machine, as far as they are not kept."""
        rows, _ = self.axes()
        self.compute_rows(machine.part_of(len(rows.starts)), progress)

    def compute_rows(self, numbers: range, progress: Progress) -> None:
        """Classify rows of windows, as far as they are not kept."""
        _compute(self, numbers, progress)

    @property
    def computed(self) -> bool:
        """Whether all rows are kept."""
        rows, _ = self.axes()
        return {rows.finished(number).start for number in range(len(rows.starts))} <= self.parts.starts()

    def write(self, progress: Progress) -> MapMade:
        """The map out of its finished rows."""
        progress.say(f"writing {self.path}")
        found = tags_for(
            self.run.config, self.run_hash, self.image, self.radar, self.options, self.calibration, self.identity
        )
        write_rasters(self.others, self.path, self.run.config, self.image, self.parts, {**found, **self.more_tags})
        self.parts.remove()
        return self._described(progress)

    def _described(self, progress: Progress) -> MapMade:
        trained = self.run.config.data
        looks = partial(looks_of, _Shown(self.image), (*trained.primary, *trained.auxiliary))
        describe(self.path, looks, page=self.options.page, progress=progress)
        return made_of(self.run.config, self.path, self.others)


Compute = Callable[[MapWork, Progress], None]
"""Classifies the rows of a map that are not kept, and keeps them."""


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
    """Classify an image, window by window, and write the map. For arguments see ``MapWork``.

    Raises:
        UsageError: another file is there, or a setting does not fit.
        DataError: a file of the image is damaged.
        MachineError: the map cannot be written.
    """
    return map_work(MapWork(run, run_hash, image, path, options, radar, calibration, more_tags or {}), progress)


def map_work(work: MapWork, progress: Progress, compute: Compute = MapWork.compute) -> MapMade:
    """Make a map, or find it complete; raises what ``map_image`` and ``compute`` do."""
    if (made := work.made(progress)) is not None:
        return made
    work.axes()  # settings that do not fit are refused before anything is written
    work.image.check_units()
    with work.parts.locked():
        compute(work, progress)
        return work.write(progress)


def map_share(work: MapWork, machine: Machine, progress: Progress) -> MapMade | None:
    """One machine's rows of a map; the last machine writes it, the others get None.

    Machines see the folder of the map; no machine has to know of the others.

    Raises:
        UsageError, DataError, MachineError: as ``map_image``.
    """
    if (made := work.made(progress)) is not None:
        return made
    work.axes()
    work.image.check_units()
    with work.parts.locked(machine):
        work.compute(progress, machine)
        with one_at_a_time(work.parts.path):
            if (made := work.made(progress)) is not None:
                return made
            return work.write(progress) if work.computed else None


def complete_map(run: RunConfig, path: Path, options: MapOptions, *, pictures: int) -> MapMade | None:
    """A map that is on disk with all that is wanted beside it; None where something is missing."""
    others = Others.of(path, run, options, pictures=pictures)
    pages = not options.page or beside(path, ".html").exists()
    return made_of(run, path, others) if path.exists() and others.complete and pages else None


# --- computing --------------------------------------------------------------------------------------------------------


def _compute(work: MapWork, numbers: range, progress: Progress) -> None:
    """Classify rows of windows, and keep what is finished."""
    config, options, parts = work.run.config, work.options, work.parts
    rows, columns = work.axes()
    kept = parts.starts()
    sizes = [rows.finished(number) for number in numbers]
    done = sum(one.stop - one.start for one in sizes if one.start in kept)
    total = sum(one.stop - one.start for one in sizes)
    todo = _runs([number for number in numbers if rows.finished(number).start not in kept])
    if not todo:
        return
    classifier = Classifier(work.run, tta=options.tta, calibration=work.calibration)
    with progress.stage("Mapping", total, unit="rows") as step:
        if done:
            progress.say(f"{parts.path.parent}: resuming after {done} of {total} rows")
            step.advance(done)
        for run in todo:
            windows = WindowRows(classifier, config, work.image, rows, columns, options.batch)
            with windows.computing(needed_from(rows, rows.finished(run[0]).start), run.stop):
                found = finished_rows(rows, columns, len(config.data.classes), windows.row, numbers=run)
                for start, probabilities in found:
                    parts.keep(start, _held(work, windows, start, probabilities))
                    step.advance(probabilities.shape[1])


def _runs(numbers: Sequence[int]) -> list[range]:
    """Numbers in order as runs of neighbours."""
    found: list[range] = []
    for number in numbers:
        joins = bool(found) and found[-1].stop == number
        begin = found.pop().start if joins else number
        found.append(range(begin, number + 1))
    return found


def _held(work: MapWork, windows: WindowRows, start: int, probabilities: Probabilities) -> dict[str, NDArray[np.uint8]]:
    """What is kept of finished rows."""
    pictures, stop = work.image.pictures, start + probabilities.shape[1]
    seen = windows.seen(start, stop)
    # Those of several pictures are sums over the pictures that show a pixel; those of one are not copied.
    mean: Probabilities = probabilities if pictures == 1 else np.divide(probabilities, np.maximum(seen, 1))
    held = _decided(mean, seen > 0)
    held["outside"] = np.where(seen, windows.outside(start, stop), NO_DATA).astype(np.uint8)
    if pictures > 1:
        held["count"] = seen
    if work.options.probabilities:
        held["probabilities"] = _stored(mean, seen > 0)
    return held


def _decided(probabilities: Probabilities, valid: NDArray[np.bool_]) -> dict[str, NDArray[np.uint8]]:
    """Codes and confidence in per cent of finished rows; of equal classes the first."""
    best, top = largest(probabilities)
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
