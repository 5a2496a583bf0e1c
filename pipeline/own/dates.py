"""Days and periods in which an own label is true, out of options, columns, file names and tables. Pure.

Comes before ``inputs_of``, which asks it once per file, and ``vectors``, which asks it per feature.
"""

from __future__ import annotations

import calendar
import re
from datetime import date, datetime
from pathlib import Path

from ..errors import DataError
from ..spec.periods import Period


def year_of(year: int) -> Period:
    return Period(date(year, 1, 1), date(year, 12, 31))


_DAY = re.compile(r"^(\d{4})[-/.]?(\d{2})[-/.]?(\d{2})(?:[T ].*)?$")
_MONTH = re.compile(r"^(\d{4})-(\d{2})$")
_YEAR = re.compile(r"^(\d{4})(?:\.0+)?$")


def period_of(value: object, *, where: str) -> Period:
    """The period that a text, number or date means: a day, a month (``2022-06``), a year, or ``<first>/<last>``.

    Args:
        where: names the value in an error (``--date``, ``column 'seen' of feature 17``).

    Raises:
        DataError: it means no period.
    """
    if isinstance(value, date):
        day = value.date() if isinstance(value, datetime) else value
        return Period(day, day)
    text = f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value).strip()
    try:
        parts = [_span(part.strip()) for part in text.split("/")] if _is_two(text) else [_span(text)]
        return Period(parts[0][0], parts[-1][1])
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    except ValueError:
        raise DataError(
            f"{where} is {text[:40]!r}, which is no date; write a day (2022-06-15), a month (2022-06), a year (2022), "
            "or two days (2022-03-01/2022-05-31)"
        ) from None


def _is_two(text: str) -> bool:
    # 2022/06/15 is one day.
    return text.count("/") == 1


def _span(text: str) -> tuple[date, date]:
    """First and last day of a day, month or year.

    Raises:
        ValueError: it is none of them.
    """
    if match := _DAY.match(text):
        year, month, day = map(int, match.groups())
        return date(year, month, day), date(year, month, day)
    if match := _MONTH.match(text):
        year, month = map(int, match.groups())
        return date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1])
    if match := _YEAR.match(text):
        return date(int(match[1]), 1, 1), date(int(match[1]), 12, 31)
    raise ValueError(text)


_IN_NAME = re.compile(r"(?<!\d)((?:19|20)\d{2})([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")


def day_in_name(path: Path, *, below: Path | None = None) -> Period | None:
    """The day in the name of a file, or in that of the nearest folder above it that has one; None without any.

    Args:
        below: folders from this one upwards are not looked at; None = the file's own folder alone.

    Raises:
        DataError: the name holds two different days.
    """
    for name in (path.stem, *_folders(path, below)):
        days = {found for match in _IN_NAME.finditer(name) if (found := _day(match)) is not None}
        if len(days) > 1:
            raise DataError(
                f"{path}: the name {name!r} holds {len(days)} dates ({', '.join(map(str, sorted(days)))}); say which "
                "with --date, or with a --table"
            )
        if days:
            day = days.pop()
            return Period(day, day)
    return None


def _folders(path: Path, below: Path | None) -> list[str]:
    names = []
    for folder in path.parents:
        if folder == below or not folder.name:
            break
        names.append(folder.name)
        if below is None:
            break
    return names


def _day(match: re.Match[str]) -> date | None:
    try:
        return date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return None
