"""On which day a product was acquired: as said for all, by a table, by a tag of the file, or by its name.

A table (CSV) has a column ``file`` (or ``folder``, ``chip``, ``name``) with names of files or folders, ``date``, and if
wanted ``s1_date`` and ``offset`` (or ``offset_1000``: true, false). Comes before ``pixels_products``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ..errors import DataError, UsageError
from ..spec.bands import Sensor

KEYS = ("file", "folder", "chip", "name")
"""Columns of a table that name files or folders; the first that is there counts."""

DATE_TAGS = ("DATE", "DATETIME", "ACQUISITION_DATE", "SENSING_TIME", "PRODUCT_START_TIME")
"""Tags that hold the day of an acquisition, in any case of letters."""

_DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_]?)(0[1-9]|1[0-2])\2([0-2]\d|3[01])(?!\d)")
_PRODUCT = re.compile(r"(?:^|_)S[123][A-D]_")
"""Names of Copernicus products begin with the day of the acquisition; later ones are of the processing."""


@dataclass(frozen=True)
class TableRow:
    """What a table says about a file or folder; None where it says nothing."""

    day: date | None
    s1_day: date | None
    offset: float | None


@dataclass(frozen=True)
class Dates:
    """Where days come from.

    Attributes:
        said: the day of all files; None = of each by itself.
        table: name of a file or folder -> what is said about it.
        table_name: of the table's file, for messages; empty where there is none.
    """

    said: date | None = None
    table: Mapping[str, TableRow] | None = None
    table_name: str = ""

    def row(self, path: Path) -> TableRow | None:
        """The row of a file or of the nearest folder above it."""
        if self.table is None:
            return None
        parts = path.parts
        # A name may be given with folders: chips/a.tif.
        names = ("/".join(parts[first:last]) for last in range(len(parts), 0, -1) for first in range(last - 1, -1, -1))
        stem = path.with_suffix("").name
        return next((self.table[name] for name in (path.name, stem, *names) if name in self.table), None)

    def day_of(self, path: Path, tags: Mapping[str, str], sensor: Sensor) -> date:
        """The day of a product.

        Args:
            path: of its file or folder.

        Raises:
            DataError: nothing says it, or its name holds several.
        """
        if self.said is not None:
            return self.said
        row = self.row(path)
        if row is not None:
            found = row.s1_day or row.day if sensor == "S1" else row.day
            if found is not None:
                return found
        tagged = {key.upper(): value for key, value in tags.items()}
        for key in DATE_TAGS:
            day = _first_day(tagged.get(key, ""))
            if day is not None:
                return day
        for name in (path.name, path.parent.name):
            days = days_in(name)
            if len(set(days)) > 1 and not _PRODUCT.search(name):
                raise DataError(f"the name {name} holds several dates; say which with --date, or in a --table")
            if days:
                return days[0]
        missing = f", and it has no row in {self.table_name}" if self.table is not None else ""
        raise DataError(
            f"{path.name} has no date in its name or tags{missing}; name it ..._YYYYMMDD, or say --date or --table"
        )


def days_in(text: str) -> list[date]:
    """Days that a text holds, as 20190701 or 2019-07-01, in their order."""
    return list(_days(text))


def _days(text: str) -> Iterator[date]:
    for match in _DAY.finditer(text):
        year, _, month, day = match.groups()
        try:
            yield date(int(year), int(month), int(day))
        except ValueError:
            continue


def _first_day(text: str) -> date | None:
    return next(_days(text), None)


def read_date_table(path: Path) -> Mapping[str, TableRow]:
    """Rows of a table by the name of their file or folder.

    Raises:
        UsageError: it cannot be read.
        DataError: a column is missing, a value is none, or a name stands there twice with other values.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise UsageError(f"--table {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file in UTF-8: {error}") from None
    columns = list(rows[0]) if rows else []
    key = next((name for name in KEYS if name in columns), None)
    if key is None or not {"date", "s1_date", "offset", "offset_1000"} & set(columns):
        raise DataError(
            f"{path} has the columns {', '.join(map(str, columns)) or '(none)'}; it needs one of {', '.join(KEYS)}, "
            "and date"
        )
    table: dict[str, TableRow] = {}
    for number, row in enumerate(rows, start=2):
        where, name = f"{path}, line {number}", (row[key] or "").strip().strip("/")
        if not name:
            raise DataError(f"{where}: {key} is empty")
        found = TableRow(_day_in(row, "date", where), _day_in(row, "s1_date", where), _offset_in(row, where))
        if table.setdefault(name, found) != found:
            raise DataError(f"{where}: {name} stands here again, with another date or offset")
    return table


def _day_in(row: Mapping[str, str | None], column: str, where: str) -> date | None:
    text = (row.get(column) or "").strip()
    day = _first_day(text)
    if text and day is None:
        raise DataError(f"{where}: {column} is {text[:40]!r}; write 2019-07-01 or 20190701")
    return day


def _offset_in(row: Mapping[str, str | None], where: str) -> float | None:
    text, flag = (row.get("offset") or "").strip(), (row.get("offset_1000") or "").strip().casefold()
    if not text:
        return {"true": 1000.0, "1": 1000.0, "false": 0.0, "0": 0.0}.get(flag)
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{where}: offset is {text[:40]!r}; write a number, 1000 where 1000 was added") from None
