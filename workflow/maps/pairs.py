"""Which two maps may be compared: those of one run, recipe and season on one grid. Others are refused, in a line.

Comes before ``change``. What the maps say about themselves decides; what one does not say is never guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date
from typing import NamedTuple

from ...pipeline.errors import UsageError
from .record import MapRecord

SEASON_DAYS = 30
"""Days of the year by which two maps may differ."""

RECIPE_TAGS = ("RECIPE", "SETTINGS", "PIXELS", "S1", "S1_RECIPE", "CLOUD_RULE")
"""Tags that say how a map was made, besides where and when."""

_LEAP_YEAR = 2000


class Fault(NamedTuple):
    """What does not fit; ``kind`` says how it can be accepted, empty = not at all."""

    kind: str
    what: str


def check_pair(first: MapRecord, second: MapRecord, accepted: Collection[str] = ()) -> tuple[str, ...]:
    """What was accepted of two maps that differ in more than their year, in words.

    Args:
        accepted: kinds of differences that may be there: ``run``, ``recipe``, ``season``.

    Raises:
        UsageError: they cannot be compared, or differ in what is not accepted.
    """
    names = f"{first.path} and {second.path}"
    found = list(_faults(first, second))
    for fault in found:
        if fault.kind not in accepted:
            way = f"; --accept {fault.kind} compares them all the same" if fault.kind else ""
            raise UsageError(f"{names}: {fault.what}{way}")
    return tuple(fault.what for fault in found)


def check_same_year(first: MapRecord, second: MapRecord) -> None:
    """Make sure that two maps are of one year, and of different images.

    Raises:
        UsageError: they are not, or do not say it.
    """
    if first.scenes == second.scenes:
        raise UsageError(
            f"--same-year {first.path} {second.path}: they are of the same images, or do not name them; map other "
            "images of that year"
        )
    years = {None if record.days is None else (record.days[0].year, record.days[1].year) for record in (first, second)}
    if len(years) != 1 or None in years:
        said = " and ".join(_said(record) for record in (first, second))
        raise UsageError(f"--same-year {first.path} {second.path}: they are of {said}; name two maps of one year")


def _faults(first: MapRecord, second: MapRecord) -> Iterator[Fault]:
    for record in (first, second):
        if "CHANGE" in record.tags:
            yield Fault("", f"{record.path} is a change map; name maps of land cover")
    if meaning(first) != meaning(second):
        yield Fault("", "their classes differ; map both with one run")
    if first.grid.crs != second.grid.crs or (first.grid.width, first.grid.height) != (
        second.grid.width,
        second.grid.height,
    ):
        yield Fault("", "they lie on different grids; map the second image on the grid of the first")
    elif not first.grid.transform.almost_equals(second.grid.transform, precision=1e-6):
        yield Fault("", "their grids are shifted; map the second image on the grid of the first")
    if not first.run or not second.run:
        unknown = first if not first.run else second
        yield Fault("run", f"{unknown.path} does not say which run made it (a map of an earlier version)")
    elif first.run != second.run:
        yield Fault("run", f"two runs made them ({first.run} and {second.run}), so that networks differ, not years")
    for tag in RECIPE_TAGS:
        one, other = first.tags.get(tag, ""), second.tags.get(tag, "")
        if one != other:
            said = f"{one or 'not said'!r} of one and {other or 'not said'!r} of the other"
            yield Fault("recipe", f"{tag.lower()} is {said}")
    yield from _season(first, second)


def _season(first: MapRecord, second: MapRecord) -> Iterator[Fault]:
    if first.days is None or second.days is None:
        unknown = first if first.days is None else second
        yield Fault("season", f"{unknown.path} does not say the day of its image")
        return
    # Maps of a year: their first clear days may lie far apart, the middle of their days does not.
    apart = days_apart(*(one + (other - one) / 2 for one, other in (first.days, second.days)))
    one, other = ((last - begin).days for begin, last in (first.days, second.days))
    if abs(one - other) > 2 * SEASON_DAYS:
        yield Fault("season", f"{_said(first)} and {_said(second)} are times of other lengths, {one} and {other} days")
    if apart > SEASON_DAYS:
        yield Fault(
            "season",
            f"{_said(first)} and {_said(second)} are {apart} days of the year apart, more than {SEASON_DAYS}: seasons "
            "differ",
        )
    if second.days < first.days:
        yield Fault("", f"{_said(second)} comes before {_said(first)}; name the earlier map first")


def meaning(record: MapRecord) -> list[tuple[int, str]]:
    """Code and name of each class."""
    return [(one.code, one.name) for one in record.classes]


def days_apart(one: date, other: date) -> int:
    """Days between two days of the year, whatever their years: 28 December and 4 January are 7 apart."""
    # In one year, so that 1 July is the same day in all of them.
    apart = abs((one.replace(year=_LEAP_YEAR) - other.replace(year=_LEAP_YEAR)).days)
    return min(apart, 366 - apart)


def _said(record: MapRecord) -> str:
    if record.days is None:
        return "a day that is not known"
    first, last = record.days
    return first.isoformat() if first == last else f"{first} to {last}"
