"""A map of an area: its scenes are chosen, its pixels downloaded, and classified zone by zone.

What was asked for and what was chosen is kept beside the map until it is complete, so that the same command resumes
with the same scenes. ``mapping`` makes the map of each zone.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ..model.calibration import Calibration
from ..model.run_config import DataCard
from ..model.score import LoadedRun
from ..pipeline.areas.blocks import Cache, Part, Sought, download, parts_of
from ..pipeline.areas.grids import ZoneGrid, zone_grids
from ..pipeline.areas.image import FEW_OBSERVATIONS, AreaImage
from ..pipeline.areas.outline import Outline
from ..pipeline.areas.scenes import Choice, choose_scenes, months_of, window_around
from ..pipeline.build.export import Callbacks, Meter
from ..pipeline.earthengine.session import Session, Tally
from ..pipeline.errors import DataError, UsageError
from ..pipeline.progress import Progress
from ..pipeline.raster.class_map import tags_of
from ..pipeline.raster.zone_index import write_index
from ..pipeline.spec.bands import BANDS
from ..pipeline.spec.periods import Period
from ..pipeline.spec.radar import Radar, radar_of
from ..pipeline.spec.recipe import Recipe
from ..pipeline.spec.sources import Source
from ..pipeline.spec.words import count_of
from .mapping import MapMade, MapOptions, check_name, complete_map, map_image
from .maps.record import beside


@dataclass(frozen=True)
class Wish:
    """Of which area and when a map is wanted.

    Attributes:
        day: of the scene; None for a year.
        year: None for a day.
        window_days: how far from ``day`` the scene may lie.
    """

    outline: Outline
    day: date | None = None
    year: int | None = None
    window_days: int = 15

    @property
    def when(self) -> str:
        """For names of files: ``2024-07-01`` or ``2023``."""
        return str(self.year) if self.day is None else self.day.isoformat()

    @property
    def middle(self) -> date:
        """Of the Sentinel-1 window, but for the day of the scene: the day, or 2 July."""
        if self.day is not None:
            return self.day
        assert self.year is not None
        return date(self.year, 7, 2)


@dataclass(frozen=True)
class Inputs:
    """What a network reads of an area.

    Attributes:
        s2: it reads Sentinel-2.
        level: of Sentinel-2.
        recipe: of Sentinel-1; None where it reads none.
        notes: what of it is not known, one sentence each.
    """

    s2: bool
    level: str
    recipe: Recipe | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class AreaMade:
    """Maps on disk.

    Attributes:
        maps: one for each zone.
        index: that GDAL opens as one layer; None where there is one map.
    """

    maps: tuple[MapMade, ...]
    index: Path | None = None


# --- does it fit ------------------------------------------------------------------------------------------------------


def inputs_of(trained: DataCard, *, built: Recipe | None = None, accept_s1: bool = False) -> Inputs:
    """What has to be downloaded for a network.

    Args:
        built: the recipe of the data root that the run lies in.
        accept_s1: take Earth Engine's Sentinel-1 although the network was trained on another one.

    Raises:
        UsageError: Earth Engine has no Sentinel-1 of the kind that it was trained on.
    """
    sensors = {BANDS[band].sensor for band in (*trained.primary, *trained.auxiliary)}
    recipe, notes = _recipe_of(trained.radars, built, accept_s1) if "S1" in sensors else (None, ())
    return Inputs("S2" in sensors, trained.s2_level, recipe, notes)


def _recipe_of(radars: tuple[Radar, ...], built: Recipe | None, accept_s1: bool) -> tuple[Recipe, tuple[str, ...]]:
    if built is not None and (not radars or radar_of(built) in radars):
        return built, ()
    if not radars:
        return Recipe(), ("the run does not record how its Sentinel-1 was made: the default recipe is used",)
    for radar in radars:
        if radar.mean != "none" and radar.calibration == "sigma0":
            note = f"the run was trained on {len(radars)} kinds of Sentinel-1; this is {radar}"
            recipe = Recipe(s1_mean=radar.mean, s1_passes=radar.passes, s1_max_scenes=radar.scenes)
            return recipe, (note,) if len(radars) > 1 else ()
    if accept_s1:
        return Recipe(), (f"Sentinel-1 is {radar_of(Recipe())}, the network was trained on {radars[0]}",)
    raise UsageError(
        f"the network was trained on Sentinel-1 that is {radars[0]}, which Earth Engine does not have: map files of "
        "yours (--pixels), or accept the difference (--accept s1)"
    )


def check_source(trained: DataCard, pixels: Source, *, planet: int, force: bool = False) -> None:
    """Refuse synthetic pixels for a network that was trained on real ones, the reverse, and those of another planet.

    Args:
        planet: version of the synthetic planet that would show its pixels.

    Raises:
        UsageError: they do not go together.
    """
    run = Source.of(trained.source)
    if force:
        return
    if run.synthetic and pixels.synthetic and (other := trained.planet_difference(planet)):
        raise UsageError(f"pixels would show {other}; train again, or say --force to see a map of it")
    if run.synthetic == pixels.synthetic:
        return
    if run.synthetic:
        raise UsageError(
            "the network was trained on SANDBOX pixels, which are synthetic: its map of real ones means nothing; train "
            "on real pixels, add --source sandbox, or say --force to see one"
        )
    raise UsageError(
        "pixels would come from the sandbox, a synthetic planet, and the network was trained on real ones: its map "
        "means nothing; pass --source earthengine --project YOUR-PROJECT, or say --force to see one"
    )


# --- the work ---------------------------------------------------------------------------------------------------------


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

    Raises:
        UsageError: another file is there, or a setting does not fit.
        DataError: no scene shows the area.
        TileError, QuotaError, AuthenticationError, ServiceError: pixels are missing; run again to resume.
        MachineError: a map cannot be written.
    """
    check_name(path)
    grids = zone_grids(wish.outline)
    key = _key(wish, inputs, source)
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
    sought = cache.read_plan(key)
    _check_free(paths, marked, resuming=sought is not None)
    if sought is None:
        sought = choose(wish, grids, inputs, key=key, session=connect(), today=today, progress=progress)
        cache.keep_plan(sought)
    _say(sought, progress)
    zones = [parts_of(one, sought) for one in grids]
    cache = _download(zones, sought, cache, connect(), concurrency, meter, progress)
    images = [AreaImage(one, sought, parts, cache) for one, parts in zip(grids, zones, strict=True)]
    _check_pixels(images, wish.outline, progress)
    radar = None if sought.recipe is None else radar_of(sought.recipe)
    maps = [
        map_image(
            *(run, run_hash, image, one, options),
            radar=radar,
            calibration=calibration,
            progress=progress,
            more_tags=marked,
        )
        for image, one in zip(images, paths, strict=True)
    ]
    index = _indexed(path, maps, run) if len(maps) > 1 else None
    shutil.rmtree(cache.folder, ignore_errors=True)
    return AreaMade(tuple(maps), index)


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


def _key(wish: Wish, inputs: Inputs, source: str) -> str:
    """Changes with the area and with what is asked for."""
    recipe = None if inputs.recipe is None else inputs.recipe.hash
    decides = (wish.outline.hash, wish.when, wish.window_days, inputs.s2, inputs.level, recipe, source)
    return hashlib.sha256(repr(decides).encode()).hexdigest()[:12]


def _marked(run_hash: str, key: str, options: MapOptions, calibration: Calibration | None) -> dict[str, str]:
    """A tag by which a complete map is known again before anything is requested."""
    calibrated = "" if calibration is None else calibration.digest
    decides = (run_hash, key, options.window, options.overlap, options.tta, calibrated)
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
            raise UsageError(f"{path} exists and is no map of this run, area and options; name another file with -o")
        if path.exists() and not resuming:
            raise UsageError(
                f"{path} exists without all that is wanted beside it, and its pixels are no longer there; name another "
                "file with -o"
            )


def check_time(day: date | None, year: int | None, window_days: int, *, today: date) -> None:
    """Refuse a day or a year that has no scene, before anything is asked.

    Raises:
        UsageError: it lies in the future, or before the first scene.
    """
    if day is not None:
        window_around(day, window_days, today)
    elif year is not None:
        months_of(year, today)


def choose(
    wish: Wish,
    grids: Sequence[ZoneGrid],
    inputs: Inputs,
    *,
    key: str,
    session: Session,
    today: date,
    progress: Progress,
) -> Sought:
    """The scenes that a map is made from.

    Raises:
        UsageError: the time that is asked for has no scene.
        DataError: no scene shows the area.
    """
    notes = list(inputs.notes)
    pictures: tuple[Choice, ...] = ()
    middle = wish.middle
    if wish.day is not None:
        searched, cut = window_around(wish.day, wish.window_days, today)
        notes += [cut] if cut else []
        if inputs.s2:
            pictures = (_of_day(wish.outline, grids, searched, wish.day, session),)
            middle = pictures[0].days[0].day
    else:
        assert wish.year is not None
        months = months_of(wish.year, today)
        if inputs.s2:
            pictures = _of_year(wish.outline, grids, months, session, progress)
            notes.append(f"{count_of(len(pictures), 'picture')} of {count_of(len(months), 'month')} of {wish.year}")
    if inputs.recipe is not None:
        first, end = inputs.recipe.window(middle)
        if end > today:
            notes.append(f"the Sentinel-1 window {first}/{end} ends in the future: scenes up to {today} enter the mean")
    return Sought(
        key,
        session.name,
        pictures,
        "L1C" if inputs.level == "L1C" else "L2A",
        inputs.recipe,
        middle,
        tuple(notes),
    )


def _of_day(outline: Outline, grids: Sequence[ZoneGrid], searched: Period, day: date, session: Session) -> Choice:
    choice = choose_scenes(grids, searched, day, session=session, what=outline.text, tally=Tally())
    if choice is None:
        raise DataError(
            f"no Sentinel-2 scene of {searched} shows a fifth of {outline.text} without cloud; search more days with "
            "--date-window, or another --date"
        )
    return choice


def _of_year(
    outline: Outline, grids: Sequence[ZoneGrid], months: Sequence[Period], session: Session, progress: Progress
) -> tuple[Choice, ...]:
    found = []
    with progress.stage("Choosing scenes", len(months), unit="months") as step:
        for month in months:
            try:
                choice = choose_scenes(grids, month, month.middle, session=session, what=outline.text, tally=Tally())
            except DataError:
                choice = None  # a month without any scene, as in polar night
            step.advance(note=str(month) if choice is None else ", ".join(str(day.day) for day in choice.days))
            found += [] if choice is None else [choice]
    if not found:
        raise DataError(
            f"no Sentinel-2 scene of {months[0].first}/{months[-1].last} shows a fifth of {outline.text} without "
            "cloud; it may lie at sea: look at the area, or name another --year"
        )
    return tuple(found)


def _say(sought: Sought, progress: Progress) -> None:
    for choice in sought.pictures:
        days = " + ".join(f"{one.day} ({count_of(len(one.scenes), 'scene')})" for one in choice.days)
        rule = ", ".join(sorted({one.rule for one in choice.days}))
        progress.say(f"Sentinel-2 of {days}: {choice.clear_share:.0%} of the area without cloud, by {rule}")
    for note in sought.notes:
        progress.say(note)


def _download(
    zones: Sequence[Sequence[Part]],
    sought: Sought,
    cache: Cache,
    session: Session,
    concurrency: int,
    meter: Meter | None,
    progress: Progress,
) -> Cache:
    parts = [part for zone in zones for part in zone]
    with progress.stage("Downloading", len(parts), unit="parts") as step:
        callbacks = Callbacks(on_row=lambda row: step.advance(note=f"{row.tile} {row.reason or row.state}"),
                              say=progress.say)  # fmt: skip
        return download(
            parts, sought, cache, session=session, concurrency=concurrency, meter=meter, callbacks=callbacks
        )


def _check_pixels(images: Sequence[AreaImage], outline: Outline, progress: Progress) -> None:
    """Say what Sentinel-1 lacks.

    Raises:
        DataError: a sensor has no pixel in the area.
    """
    known = [image.cache.known[part.id] for image in images for part in image.parts]
    for reason, sensor in (("no_s1", "Sentinel-1"), ("no_s2", "Sentinel-2")):
        name = reason.removeprefix("no_")
        of = [row for row in known if row.tile.rsplit("-s", 1)[-1].startswith(name[1:])]
        if of and all(row.reason == reason for row in of):
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
