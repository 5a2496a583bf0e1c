"""Which scenes a map of an area is made from. Comes after ``area_request``, before ``area_map``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from ...pipeline.areas.blocks import Sought
from ...pipeline.areas.grids import ZoneGrid
from ...pipeline.areas.outline import Outline
from ...pipeline.areas.scenes import Choice, choose_scenes, months_of, window_around
from ...pipeline.earthengine.session import Session, Tally
from ...pipeline.errors import DataError
from ...pipeline.progress import Progress
from ...pipeline.spec.periods import Period
from ...pipeline.spec.words import count_of
from .area_request import Inputs, Wish


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


def say_scenes(sought: Sought, progress: Progress) -> None:
    """Say which days a map is made from, and what was cut or left out."""
    for choice in sought.pictures:
        days = " + ".join(f"{one.day} ({count_of(len(one.scenes), 'scene')})" for one in choice.days)
        rule = ", ".join(sorted({one.rule for one in choice.days}))
        progress.say(f"Sentinel-2 of {days}: {choice.clear_share:.0%} of the area without cloud, by {rule}")
    for note in sought.notes:
        progress.say(note)
