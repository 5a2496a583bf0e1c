"""Values: lists, dates as text, numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import ee
import numpy as np
import pytest

from support.conformity.program import API, OURS, Program, Refused

MORNING = datetime(2020, 8, 18, 9, 5, 7, 43_000, tzinfo=UTC)


def as_text(pattern: str | None, zone: str | None = None) -> Any:
    return ee.Date(int(MORNING.timestamp() * 1000)).format(pattern, zone)


SEQUENCE, FORMAT = f"{API}ee-list-sequence", f"{API}ee-date-format"
JODA = "https://www.joda.org/joda-time/apidocs/org/joda/time/format/DateTimeFormat.html"

PROGRAMS = [
    Program("a sequence", lambda: ee.List.sequence(0, 5), [0, 1, 2, 3, 4, 5], SEQUENCE),
    Program("a sequence with a step", lambda: ee.List.sequence(0, 10, 2), [0, 2, 4, 6, 8, 10], SEQUENCE),
    Program("a sequence that stops before its end", lambda: ee.List.sequence(3, 6, 2), [3, 5], SEQUENCE),
    Program("so many steps", lambda: ee.List.sequence(0, None, -2, 6), [0, -2, -4, -6, -8, -10], SEQUENCE),
    Program("so many steps of one", lambda: ee.List.sequence(10, None, None, 3), [10, 11, 12], SEQUENCE),
    Program("a count makes the step", lambda: ee.List.sequence(0, 10, 2, 3), [0, 5, 10], SEQUENCE),
    Program("a wide count", lambda: ee.List.sequence(-1e9, 1e9, None, 3), [-1_000_000_000, 0, 1_000_000_000], SEQUENCE),
    Program("a long count", lambda: ee.List.sequence(0, 10, 2, 999).size(), 999, SEQUENCE),
    Program(
        "fractions reach their end",
        lambda: ee.List.sequence(0, 1, 0.1).getInfo(),
        pytest.approx(np.linspace(0, 1, 11).tolist()),
        SEQUENCE,
    ),
    Program("a step of zero", lambda: ee.List.sequence(0, 1, 0), Refused(400, "'step' must not be zero"), SEQUENCE),
    Program("no end at all", lambda: ee.List.sequence(0), Refused(400, "'end' or 'count' must be specified"), SEQUENCE),
    Program("a date as text", lambda: ee.Date("2020-08-18").format(), "2020-08-18T00:00:00", FORMAT),
    Program("a date in Zulu", lambda: ee.Date("2020-08-18").format(None, "Zulu"), "2020-08-18T00:00:00", FORMAT),
    Program("a day", lambda: as_text("YYYY-MM-dd"), MORNING.strftime("%Y-%m-%d"), JODA),
    Program("day of the year", lambda: as_text("yyyyDDD"), MORNING.strftime("%Y%j"), JODA),
    Program("words", lambda: as_text("EEEE, d. MMMM yy"), MORNING.strftime("%A, %d. %B %y"), JODA),
    Program("short words", lambda: as_text("EEE MMM"), MORNING.strftime("%a %b"), JODA),
    Program("hours of a half day", lambda: as_text("hh:mm:ss.SSS a"), "09:05:07.043 AM", JODA),
    Program("week of the year", lambda: as_text("xxxx-'W'ww-e"), MORNING.strftime("%G-W%V-%u"), JODA),
    Program("quotes", lambda: as_text("H 'o''clock' ''"), "9 o'clock '", JODA),
    Program("no pattern", lambda: as_text("b"), Refused(400, "Illegal pattern component: b"), JODA),
    Program("names of time zones", lambda: as_text("HH:mm z"), Refused(501, "Date.format with 'z'"), OURS),
    Program(
        "another time zone",
        lambda: as_text(None, "America/Los_Angeles"),
        Refused(501, "another time zone than UTC"),
        OURS,
    ),
]
