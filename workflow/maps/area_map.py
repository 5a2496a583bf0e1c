"""A map of an area: its scenes are chosen, its pixels downloaded, and classified zone by zone.

What was asked for and what was chosen is kept beside the map until it is complete, so that the same command resumes
with the same scenes. ``mapping`` makes the map of each zone.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from ...model.calibration import Calibration
from ...model.maps.mosaic import needed_from
from ...model.maps.windows import LAYOUT
from ...model.score import LoadedRun
from ...pipeline.areas.blocks import Cache, Part, Sought, download, known_parts, parts_of
from ...pipeline.areas.grids import ZoneGrid, zone_grids
from ...pipeline.areas.image import FEW_OBSERVATIONS, AreaImage
from ...pipeline.areas.outline import Outline
from ...pipeline.build.export import Callbacks, Meter
from ...pipeline.dataset.ledger import LEDGER_FILE
from ...pipeline.earthengine.session import Session
from ...pipeline.errors import DataError, UsageError
from ...pipeline.progress import Progress
from ...pipeline.raster.class_map import tags_of
from ...pipeline.raster.zone_index import write_index
from ...pipeline.spec.bands import Composite
from ...pipeline.spec.radar import radar_of
from ..machines import Machine, at_work, one_at_a_time
from .area_request import Inputs, Wish
from .area_scenes import choose, say_scenes
from .mapping import Compute, MapWork, complete_map
from .rasters import MapMade
from .record import beside
from .settings import MapOptions, check_name


@dataclass(frozen=True)
class AreaMade:
    """Maps on disk.

    Attributes:
        maps: one for each zone; none where other machines have not finished their part.
        index: that GDAL opens as one layer; None where there is one map.
    """

    maps: tuple[MapMade, ...]
    index: Path | None = None


def map_area(
    run: LoadedRun,
    run_hash: str,
    wish: Wish,
    path: Path,
    options: MapOptions,
    *,
    inputs: Inputs,
    source: str,
    connect: Callable[[], Session],
    concurrency: int,
    today: date,
    calibration: Calibration | None = None,
    meter: Meter | None = None,
    machine: Machine = Machine(),  # noqa: B008 - a frozen value
    compute: Compute | None = None,
    progress: Progress,
) -> AreaMade:
    """Download an area and classify it; resumed where it was begun with the same run, area and options.

    Args:
        path: of the map; an area over several zones gets one file for each, named after it.
        inputs: what the network reads, see ``inputs_of``.
        source: name of the pixels' source.
        connect: to the service; called where something is missing.
        today: no scene is younger.
        calibration: of the run, as of ``map_image``; probabilities of several pictures are averaged after it.
        machine: one of several that make the map in one folder: it maps its rows of windows, the last one writes the
            map, and the others give none.
        compute: classifies all rows, as on a cluster; None: this machine classifies its own.

    Raises:
        UsageError: another file is there, or a setting does not fit.
        DataError: no scene shows the area.
        TileError, QuotaError, AuthenticationError, ServiceError: pixels are missing; run again to resume.
        MachineError: a map cannot be written.
    """
    check_name(path)
    grids = zone_grids(wish.outline)
    key = _key(wish, inputs, source, options.composite)
    paths = zone_paths(path, grids)
    for note in wish.outline.notes:
        progress.say(note)
    marked = _marked(run_hash, key, options, calibration)
    held = [_complete(run, one, marked, options) for one in paths]
    if all(held):
        progress.say(f"{path} is complete already")
        maps = [one for one in held if one is not None]
        return AreaMade(tuple(maps), _indexed(path, maps, run) if len(maps) > 1 else None)
    cache = Cache(path.with_name(f".{path.name}.pixels"))
    held_by = f"another command is making this map ({cache.folder}); wait for it"
    _check_free(paths, marked, resuming=cache.read_plan(key) is not None)
    with at_work(cache.folder, machine, held=held_by):
        with one_at_a_time(cache.folder):
            sought = cache.read_plan(key)
            if sought is None:
                with _gone_where_nothing_begins(cache.folder, machine):
                    sought = choose(wish, grids, inputs, key=key, session=connect(), today=today, progress=progress)
                    cache.keep_plan(sought)
        say_scenes(sought, progress)
        zones = [parts_of(one, sought) for one in grids]
        radar = None if sought.recipe is None else radar_of(sought.recipe)

        def works(zones: Sequence[Sequence[Part]], cache: Cache) -> list[MapWork]:
            images = [
                AreaImage(one, sought, tuple(parts), cache, options.composite)
                for one, parts in zip(grids, zones, strict=True)
            ]
            return [
                MapWork(run, run_hash, image, one, options, radar, calibration, marked)
                for image, one in zip(images, paths, strict=True)
            ]

        mine = [_share(work, machine) for work in works(zones, cache)]
        cache = _download(mine, sought, cache, connect(), concurrency, meter, machine, progress)
        if machine.alone:
            _check_pixels(works(zones, cache), wish.outline, progress)
        with ExitStack() as stack:
            for work in works(mine, cache):
                if not work.complete():
                    stack.enter_context(work.parts.locked(machine))
                    if compute is None:
                        work.compute(progress, machine)
                    else:
                        compute(work, progress)
            with one_at_a_time(cache.folder):
                maps = _written(works, zones, sought, cache, wish.outline, machine, progress)
                if not maps:
                    return AreaMade(())
                index = _indexed(path, maps, run) if len(maps) > 1 else None
                shutil.rmtree(cache.folder, ignore_errors=True)
    return AreaMade(tuple(maps), index)


@contextmanager
def _gone_where_nothing_begins(folder: Path, machine: Machine) -> Iterator[None]:
    """Leave no empty folder beside a map that has no scene."""
    try:
        yield
    except BaseException:
        if machine.alone and not (folder / LEDGER_FILE).exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _share(work: MapWork, machine: Machine) -> list[Part]:
    """The parts that one machine's rows of windows read."""
    assert isinstance(work.image, AreaImage)
    rows, _ = work.axes()
    numbers = machine.part_of(len(rows.starts))
    if not numbers:
        return []
    first = rows.starts[needed_from(rows, rows.finished(numbers[0]).start)]
    last = rows.starts[numbers[-1]] + rows.size
    return [part for part in work.image.parts if part.block.row < last and part.block.row + part.block.height > first]


def _written(
    works: Callable[[Sequence[Sequence[Part]], Cache], list[MapWork]],
    zones: Sequence[Sequence[Part]],
    sought: Sought,
    cache: Cache,
    outline: Outline,
    machine: Machine,
    progress: Progress,
) -> list[MapMade]:
    """The maps of all zones; none where a machine has not finished its part of one."""
    parts = [part for zone in zones for part in zone]
    whole = works(zones, replace(cache, known=known_parts(parts, sought, cache)))
    there = [work.made(progress) for work in whole]
    if not all(made is not None or work.computed for made, work in zip(there, whole, strict=True)):
        return []
    if not machine.alone:
        _check_pixels(whole, outline, progress)
    return [made or work.write(progress) for made, work in zip(there, whole, strict=True)]


def _indexed(path: Path, maps: Sequence[MapMade], run: LoadedRun) -> Path:
    """One layer over the maps of all zones: ``town.vrt``."""
    index = path.with_suffix(".vrt")
    write_index(index, [one.path for one in maps], run.config.data.classes)
    return index


def zone_paths(path: Path, grids: Sequence[ZoneGrid]) -> tuple[Path, ...]:
    """The file of each zone: ``town.tif``, or ``town-32N.tif`` and ``town-33N.tif``."""
    if len(grids) == 1:
        return (path,)
    names = [f"{one.zone.number:02d}{'S' if one.zone.south else 'N'}" for one in grids]
    return tuple(path.with_name(f"{path.stem}-{name}{path.suffix}") for name in names)


def _key(wish: Wish, inputs: Inputs, source: str, composite: Composite | None) -> str:
    """Changes with the area and with what is asked for."""
    recipe = None if inputs.recipe is None else inputs.recipe.hash
    asked = (wish.outline.hash, wish.when, wish.window_days, inputs.s2, inputs.level, recipe, source)
    decides = (*asked, composite) if composite else asked
    return hashlib.sha256(repr(decides).encode()).hexdigest()[:12]


def _marked(run_hash: str, key: str, options: MapOptions, calibration: Calibration | None) -> dict[str, str]:
    """A tag by which a complete map is known again before anything is requested."""
    calibrated = "" if calibration is None else calibration.digest
    decides = (run_hash, key, LAYOUT, options.window, options.overlap, options.tta, calibrated)
    return {"REQUEST": hashlib.sha256(repr(decides).encode()).hexdigest()[:16]}


def _complete(run: LoadedRun, path: Path, marked: Mapping[str, str], options: MapOptions) -> MapMade | None:
    if not path.exists() or tags_of(path).get("REQUEST") != marked["REQUEST"]:
        return None
    pictures = 2 if beside(path, ".count.tif").exists() else 1
    return complete_map(run.config, path, options, pictures=pictures)


def _check_free(paths: Sequence[Path], marked: Mapping[str, str], *, resuming: bool) -> None:
    """Refuse to write over a file that is no map of this area, or whose pixels are gone."""
    for path in paths:
        if path.exists() and tags_of(path).get("REQUEST") != marked["REQUEST"]:
            raise UsageError(
                f"{path} exists and is no map of this run, area and options, or is of an earlier version; name another "
                "file with -o"
            )
        if path.exists() and not resuming:
            raise UsageError(
                f"{path} exists without all that is wanted beside it, and its pixels are no longer there; name another "
                "file with -o"
            )


def _download(
    zones: Sequence[Sequence[Part]],
    sought: Sought,
    cache: Cache,
    session: Session,
    concurrency: int,
    meter: Meter | None,
    machine: Machine,
    progress: Progress,
) -> Cache:
    parts = [part for zone in zones for part in zone]
    with progress.stage("Downloading", len(parts), unit="parts") as step:
        callbacks = Callbacks(on_row=lambda row: step.advance(note=f"{row.tile} {row.reason or row.state}"),
                              say=progress.say)  # fmt: skip
        return download(
            parts,
            sought,
            cache,
            session=session,
            concurrency=concurrency,
            meter=meter,
            callbacks=callbacks,
            shard="" if machine.alone else str(machine),
        )


def _check_pixels(works: Sequence[MapWork], outline: Outline, progress: Progress) -> None:
    """Say what Sentinel-1 lacks.

    Raises:
        DataError: a sensor has no pixel in the area, and the network was not trained for missing inputs; or none has.
    """
    images = [work.image for work in works if isinstance(work.image, AreaImage)]
    either = works[0].run.config.tokens
    known = [image.cache.known[part.id] for image in images for part in image.parts]
    for reason, sensor in (("no_s1", "Sentinel-1"), ("no_s2", "Sentinel-2")):
        name = reason.removeprefix("no_")
        of = [row for row in known if row.tile.rsplit("-s", 1)[-1].startswith(name[1:])]
        if not of or any(row.reason != reason for row in of):
            continue
        if either and any(row.state == "done" for row in known):
            progress.say(f"{sensor} has no pixel in {outline.text}: classes are those of the other input alone")
        else:
            raise DataError(
                f"{sensor} has no pixel in {outline.text}, which the network needs; it may lie at sea, or where and "
                "when that satellite does not look: try another date, or a run that was trained without it"
            )
    for image in images:
        seen = image.observations()
        if seen is not None and seen[1] > 0:
            progress.say(
                f"{seen[1]:.0%} of the pixels have fewer than {FEW_OBSERVATIONS} observations of Sentinel-1 (the "
                f"least: {seen[0]}): speckle is left there, which the network may not know"
            )
