"""Dates as text, by the patterns of Joda-Time that Earth Engine takes, in UTC and in English.

Source: https://www.joda.org/joda-time/apidocs/org/joda/time/format/DateTimeFormat.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from ..refusal import Refusal, not_built
from .values import UTC_NAMES, Date

ISO = "yyyy-MM-dd'T'HH:mm:ss"
"""What is taken where no pattern is given. Source: https://developers.google.com/earth-engine/apidocs/ee-date-format"""

MAX_LETTERS = 200

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
           "December")  # fmt: skip
_PARTS = re.compile(r"''|'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+|(')", re.DOTALL)
_TIME_ZONES = "zZ"


def formatted(date: Date, pattern: str | None, zone: str | None) -> str:
    """A date as text.

    Raises:
        Refusal: the pattern is none, or asks for what is not built: other time zones, names of time zones.
    """
    if zone not in UTC_NAMES:
        raise not_built(f"Date.format in another time zone than UTC ('{str(zone)[:50]}')")
    pattern = ISO if pattern is None else pattern
    if len(pattern) > MAX_LETTERS:
        raise Refusal(f"Date.format: A pattern of {len(pattern)} characters is more than {MAX_LETTERS}.")
    return "".join(_part(match, date.when) for match in _PARTS.finditer(pattern))


def _part(match: re.Match[str], when: datetime) -> str:
    text, letter = match[0], match[2]
    if match[3]:
        raise Refusal("Date.format: A quote in the pattern is not closed.")
    if letter is None:
        return (match[1].replace("''", "'") if match[1] else "'") if text.startswith("'") else text
    if letter in _TIME_ZONES:
        raise not_built(f"Date.format with '{text}'")
    if letter not in LETTERS:
        raise Refusal(f"Date.format: Illegal pattern component: {text}.")
    return LETTERS[letter](when, len(text))


def _number(value: Callable[[datetime], int]) -> Callable[[datetime, int], str]:
    """A number, with zeros in front up to as many digits as there are letters."""
    return lambda when, letters: str(value(when)).zfill(letters)


def _year(value: Callable[[datetime], int]) -> Callable[[datetime, int], str]:
    """Two letters: the last two digits."""
    return lambda when, letters: f"{value(when) % 100:02d}" if letters == 2 else str(value(when)).zfill(letters)


def _month(when: datetime, letters: int) -> str:
    if letters < 3:
        return str(when.month).zfill(letters)
    name = _MONTHS[when.month - 1]
    return name if letters > 3 else name[:3]


def _weekday(when: datetime, letters: int) -> str:
    name = _DAYS[when.weekday()]
    return name if letters > 3 else name[:3]


def _fraction(when: datetime, letters: int) -> str:
    """Digits of the fraction of a second, cut off; dates are good to a millisecond."""
    return f"{when.microsecond // 1000:03d}".ljust(letters, "0")[:letters]


LETTERS: dict[str, Callable[[datetime, int], str]] = {
    "G": lambda _when, _letters: "AD",
    "C": _number(lambda when: when.year // 100),
    "Y": _year(lambda when: when.year),
    "y": _year(lambda when: when.year),
    "x": _year(lambda when: when.isocalendar().year),
    "w": _number(lambda when: when.isocalendar().week),
    "e": _number(lambda when: when.isoweekday()),
    "E": _weekday,
    "D": _number(lambda when: when.timetuple().tm_yday),
    "M": _month,
    "d": _number(lambda when: when.day),
    "a": lambda when, _letters: "AM" if when.hour < 12 else "PM",
    "K": _number(lambda when: when.hour % 12),
    "h": _number(lambda when: (when.hour - 1) % 12 + 1),
    "H": _number(lambda when: when.hour),
    "k": _number(lambda when: (when.hour - 1) % 24 + 1),
    "m": _number(lambda when: when.minute),
    "s": _number(lambda when: when.second),
    "S": _fraction,
}
"""What each letter of a pattern stands for, by how often it stands there."""
