"""What is asked for: an area and a time, and what a run's network reads there. Comes before ``area_scenes``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ...model.run_config import DataCard
from ...pipeline.areas.outline import Outline
from ...pipeline.areas.scenes import months_of, window_around
from ...pipeline.errors import UsageError
from ...pipeline.spec.bands import BANDS
from ...pipeline.spec.radar import Radar, radar_of
from ...pipeline.spec.recipe import Recipe
from ...pipeline.spec.sources import Source


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


def check_time(day: date | None, year: int | None, window_days: int, *, today: date) -> None:
    """Refuse a day or a year that has no scene, before anything is asked.

    Raises:
        UsageError: it lies in the future, or before the first scene.
    """
    if day is not None:
        window_around(day, window_days, today)
    elif year is not None:
        months_of(year, today)


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
