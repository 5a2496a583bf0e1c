"""Scenes: which days of Sentinel-2 an area is mapped from.

The clearest day of a window around a date, then the nearest; where its swath leaves a part of the area open, the
clearest day that shows this part. For a year: such days for each month. What hides the ground is looked at from afar,
in some thousand cells over the area; pixels under cloud are masked later, one by one. Comes after ``grids``, before
``blocks``.

Source of the cloud rule: see ``earthengine.clear_scenes``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.features import rasterize

from ..earthengine.clear_scenes import (
    CLEAR_ENOUGH,
    CLOUD_SCORE_FILL,
    CLOUD_STEP_M,
    CLOUDY_PERCENT,
    HIDDEN_CLASSES,
    MOST_HIDDEN,
    cloud_shape,
    hidden_cells,
)
from ..earthengine.graphs import CLOUD_SCORES_KEY, area_search
from ..earthengine.scene_choice import Candidate, found_in
from ..earthengine.session import Session, Tally
from ..errors import DataError, TileError, UsageError
from ..own.grid import between
from ..spec.periods import Period
from ..spec.recipe import FIRST_S2_DAY
from ..spec.tiles import RESOLUTION_M, Tile, hemisphere_of, lon_lat
from .grids import ZoneGrid

DEFAULT_WINDOW_DAYS = 15
"""Days before and after ``--date`` in which a scene may lie."""

SCENES_OF_YEAR = 12
"""One for each month."""

_MOST_CELLS = 256
"""Cells along a side of an area in which cloud is looked at."""

_AT_A_TIME = 4
_MOST_DAYS = 24
"""Days of one window that are looked at, those that promise most first."""

_LEAST_GAIN = 0.005
"""Share of an area that a further day has to show."""


@dataclass(frozen=True)
class Day:
    """The Sentinel-2 scenes of one day over an area.

    Attributes:
        scenes: candidates in all zones.
        cloudy: mean cloud over the whole of the scenes, 0..100; 100 where the service does not say.
        score: each of them has a Cloud Score+.
    """

    day: date
    scenes: tuple[Candidate, ...]
    cloudy: float
    score: bool

    @property
    def rule(self) -> str:
        return "cloud-score" if self.score else "scene-classes"


@dataclass(frozen=True)
class View:
    """An area from afar on one day: bool (cells), which were seen, and which of them without cloud."""

    seen: NDArray[np.bool_]
    clear: NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """Days that one picture of an area is made of.

    Attributes:
        days: a place is taken from the first one whose swath shows it.
        clear_share: share of the area (0..1) that they show without cloud; by the cells that were looked at.
    """

    days: tuple[Day, ...]
    clear_share: float


# --- the window -------------------------------------------------------------------------------------------------------


def window_around(day: date, days: int, today: date) -> tuple[Period, str]:
    """The days in which a scene may lie, and what was cut of them, as text; empty where nothing was.

    Raises:
        UsageError: all of it lies in the future, or before the first image.
    """
    first, last = day - timedelta(days=days), day + timedelta(days=days)
    if first > today:
        raise UsageError(f"--date {day} lies in the future; there is no scene up to {today}")
    if last < FIRST_S2_DAY:
        raise UsageError(f"--date {day} lies before the first Sentinel-2 image ({FIRST_S2_DAY})")
    cut = f"scenes are searched up to today, {today}, not to {last}" if last > today else ""
    return Period(first, min(last, today)), cut


def months_of(year: int, today: date) -> tuple[Period, ...]:
    """The months of a year, up to today.

    Raises:
        UsageError: there is no scene in it.
    """
    starts = [date(year, month, 1) for month in range(1, 13)]
    ends = [*(start - timedelta(days=1) for start in starts[1:]), date(year, 12, 31)]
    found = [
        Period(start, min(end, today))
        for start, end in zip(starts, ends, strict=True)
        if start <= today and end >= FIRST_S2_DAY
    ]
    if not found:
        when = "lies in the future" if year > today.year else f"has no Sentinel-2 image (the first: {FIRST_S2_DAY})"
        raise UsageError(f"--year {year} {when}; name another year")
    return tuple(found)


# --- the decision -----------------------------------------------------------------------------------------------------


def choose_days(days: Sequence[Day], views: Mapping[date, View], centre: date) -> Choice:
    """The clearest day, and those that show what its swath leaves open.

    Shares within one per cent of each other are the same clearness; the day nearest to ``centre`` is taken then.

    Args:
        days: that were looked at; at least one.
        views: of each.
    """
    cells = len(views[days[0].day].seen)
    open_cells = np.ones(cells, dtype=bool)
    chosen: list[Day] = []
    clear = 0
    while True:
        left = [one for one in days if one not in chosen]
        gains = {one.day: int((views[one.day].clear & open_cells).sum()) for one in left}
        least = _LEAST_GAIN * cells if chosen else 1
        useful = [one for one in left if gains[one.day] >= least]
        if not useful:
            return Choice(tuple(chosen), clear / cells)
        best = min(useful, key=lambda one: (-int(100 * gains[one.day] / cells), abs((one.day - centre).days), one.day))
        chosen.append(best)
        clear += gains[best.day]
        open_cells &= ~views[best.day].seen


def enough(days: Sequence[Day], views: Mapping[date, View]) -> bool:
    """Whether one of the days shows nearly all of the area without cloud, so that no other is looked at."""
    return any(views[one.day].clear.mean() >= 1 - CLEAR_ENOUGH for one in days if one.day in views)


def promising(days: Sequence[Day], centre: date) -> list[Day]:
    """Days in the order in which they are looked at: little cloud by their properties, then near in time."""
    return sorted(days, key=lambda one: (one.cloudy // 10, abs((one.day - centre).days), one.day))


def view_of(values: NDArray[np.uint8], inside: NDArray[np.bool_], *, score: bool) -> View:
    """What a look from afar says of the cells of an area.

    Args:
        values: uint8 (rows, columns), see ``graphs.cloud_request``.
        inside: bool (rows, columns), cells of the area.
    """
    seen = values != CLOUD_SCORE_FILL if score else values != 0
    # Cells are larger than 60 m: cloud is not grown.
    hidden = hidden_cells(values, cloud_score=True) if score else np.isin(values, HIDDEN_CLASSES)
    return View(seen[inside], (seen & ~hidden)[inside])


def days_of_area(answers: Sequence[Mapping[str, Any]]) -> list[Day]:
    """Days with scenes over an area, in order.

    Args:
        answers: to ``graphs.area_search``, one for each zone.

    Raises:
        ValueError: one is no such answer.
    """
    by_day: dict[date, dict[str, tuple[Candidate, float]]] = defaultdict(dict)
    scored: set[str] = set()
    for answer in answers:
        found = found_in(answer)
        percents = answer.get(CLOUDY_PERCENT) or []
        known = len(percents) == len(found.s2)
        scored |= set(answer.get(CLOUD_SCORES_KEY) or ())
        for number, candidate in enumerate(found.s2):
            if candidate.day is not None:
                by_day[candidate.day][candidate.index] = (candidate, float(percents[number]) if known else 100.0)
    days = []
    for day in sorted(by_day):
        held = [by_day[day][index] for index in sorted(by_day[day])]
        scenes = tuple(candidate for candidate, _ in held)
        cloudy = sum(percent for _, percent in held) / len(held)
        days.append(Day(day, scenes, cloudy, all(scene.index in scored for scene in scenes)))
    return days


# --- the search -------------------------------------------------------------------------------------------------------


def tile_of(one: ZoneGrid, day: date) -> Tile:
    """The whole grid of a zone, as requests take it."""
    a, _, x, _, e, y = one.grid.transform
    height, width = one.grid.shape
    hemisphere = hemisphere_of(lon_lat(one.grid.crs, x + a * width / 2, y + e * height / 2)[0])
    return Tile(f"area-{one.grid.crs.removeprefix('EPSG:')}", one.grid.crs, one.grid.transform, one.grid.shape, day,
                hemisphere, 0)  # fmt: skip


def choose_scenes(
    grids: Sequence[ZoneGrid], searched: Period, centre: date, *, session: Session, what: str, tally: Tally
) -> Choice | None:
    """The clearest days of a period over an area; None where no scene shows a fifth of it.

    Raises:
        DataError: no scene of the period touches the area.
        TileError, AuthenticationError, QuotaError: the service cannot say.
    """
    tiles = [tile_of(one, centre) for one in grids]
    answers = [session.value(area_search(tile, searched), what=f"scenes of {searched}", tally=tally) for tile in tiles]
    days = promising(days_of_area(answers), centre)
    if not days:
        raise DataError(
            f"no Sentinel-2 scene of {searched} covers {what}; it may lie at sea, or too far north: look at the area, "
            "or search more days with --date-window"
        )
    looks = [_Look(one, tile) for one, tile in zip(grids, tiles, strict=True)]
    views: dict[date, View] = {}
    try:
        for begin in range(0, min(len(days), _MOST_DAYS), _AT_A_TIME):
            together = days[begin : begin + _AT_A_TIME]
            for score in (True, False):
                views |= _views(looks, [one for one in together if one.score == score], score, session, tally)
            if enough(together, views):
                break
    except TileError as error:
        if error.reason not in ("too_heavy", "refused"):
            raise
        # The area is too large to be looked at: the scenes' own percentages decide.
        views = {one.day: _by_percentage(one, looks) for one in days[:_MOST_DAYS]}
    choice = choose_days([one for one in days if one.day in views], views, centre)
    return choice if choice.days and choice.clear_share >= 1 - MOST_HIDDEN else None


class _Look:
    """The cells of one zone of an area, from afar."""

    def __init__(self, one: ZoneGrid, tile: Tile) -> None:
        side = max(one.grid.shape) * RESOLUTION_M
        # Multiples of the pixels of the scene classification.
        self.step_m = CLOUD_STEP_M * max(1, math.ceil(side / _MOST_CELLS / CLOUD_STEP_M))
        self.tile = tile
        _, _, x, _, _, y = one.grid.transform
        transform = Affine(self.step_m, 0, x, 0, -self.step_m, y)
        burned = rasterize(
            [(one.part, 1)], out_shape=cloud_shape(tile, self.step_m), transform=transform, all_touched=True
        )
        self.inside: NDArray[np.bool_] = burned.astype(bool)

    def outlined(self, footprints: Sequence[shapely.Geometry]) -> NDArray[np.bool_]:
        """Cells of the area whose middle lies in one of some outlines in degrees."""
        rows, columns = np.nonzero(self.inside)
        _, _, x, _, _, y = self.tile.transform
        lon, lat = between(self.tile.crs, "EPSG:4326").transform(
            x + self.step_m * (columns + 0.5), y - self.step_m * (rows + 0.5)
        )
        found = np.zeros(len(rows), dtype=bool)
        for outline in footprints:
            found |= shapely.contains_xy(outline, lon, lat)
        return found


def _views(
    looks: Sequence[_Look], days: Sequence[Day], score: bool, session: Session, tally: Tally
) -> dict[date, View]:
    if not days:
        return {}
    choices = [[scene.index for scene in one.scenes] for one in days]
    parts: list[list[View]] = [[] for _ in days]
    for look in looks:
        values = session.clouds(look.tile, choices, cloud_score=score, step_m=look.step_m, tally=tally)
        for number, one in enumerate(values):
            parts[number].append(view_of(one, look.inside, score=score))
    return {one.day: _joined(held) for one, held in zip(days, parts, strict=True)}


def _joined(parts: Sequence[View]) -> View:
    """One area out of its zones."""
    return View(np.concatenate([one.seen for one in parts]), np.concatenate([one.clear for one in parts]))


def _by_percentage(day: Day, looks: Sequence[_Look]) -> View:
    """A guess by footprints and cloud percentages: so many of the cells that are seen are clear, evenly spread."""
    outlines = [shapely.Polygon(scene.footprint).buffer(0) for scene in day.scenes if len(scene.footprint) > 2]
    seen = np.concatenate([look.outlined(outlines) for look in looks])
    spread = (np.arange(len(seen)) * 37 % 100) >= day.cloudy
    return View(seen, seen & spread)
