"""A table of the user (``--table chips.csv``) that maps files or folders to date, split and annotator.

::

    file,date,split,annotator
    ben1_2017/label_dw.tif,2017-06-17,train,AB        a file, by its name or by its path from the end
    north,2018-04-13,val,                             a folder: everything in it

Other columns are passed over; ``offset`` belongs to pixels (``dwplus pixels add``).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DataError, UsageError

KEY_COLUMNS = ("file", "folder", "path", "chip", "name")
"""Heads of the column that names a file or folder; the first one that is there."""


@dataclass(frozen=True)
class ChipRow:
    """What a table says of a file or folder; empty where it says nothing.

    Attributes:
        line: number in the table.
    """

    name: str
    line: int
    date: str = ""
    split: str = ""
    annotator: str = ""


@dataclass(frozen=True)
class ChipTable:
    """Rows by the name of their file or folder."""

    path: Path
    rows: dict[str, ChipRow] = field(default_factory=dict)

    def row_of(self, file: Path) -> ChipRow | None:
        """The row of a file: of its path from the end, its name, its name without ending, or the nearest folder."""
        parts = file.absolute().parts
        paths = ["/".join(parts[n:]) for n in range(1, len(parts))]
        for name in (*paths, file.stem, *reversed(parts[:-1])):
            if name in self.rows:
                return self.rows[name]
        folders = ("/".join(parts[n:m]) for m in range(len(parts) - 1, 0, -1) for n in range(1, m))
        return next((self.rows[name] for name in folders if name in self.rows), None)


def read_chip_table(path: Path) -> ChipTable:
    """The table in a CSV file.

    Raises:
        UsageError: there is no such file.
        DataError: it is no such table; says where and why.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
            heads = list(rows[0]) if rows else []
    except FileNotFoundError:
        raise UsageError(f"--table {path} is no file; it has the columns file, date, split, annotator") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"--table {path} cannot be read as CSV: {error}") from None
    plain = {str(head).strip().casefold(): head for head in heads if head is not None}
    key = next((plain[name] for name in KEY_COLUMNS if name in plain), None)
    if key is None:
        raise DataError(
            f"--table {path} has no column that names files ({', '.join(KEY_COLUMNS)}); it has "
            f"{', '.join(plain) or 'none'}"
        )
    found: dict[str, ChipRow] = {}
    for line, row in enumerate(rows, start=2):
        name = (row[key] or "").strip().strip("/").removeprefix("./")
        values = {what: (row.get(plain.get(what, "")) or "").strip() for what in ("date", "split", "annotator")}
        one = ChipRow(name, line, **values)
        if not name:
            continue
        known = found.get(name)
        if known is not None and values != {what: getattr(known, what) for what in values}:
            raise DataError(f"--table {path} names {name!r} twice, in lines {known.line} and {line}, and differently")
        found.setdefault(name, one)
    if not found:
        raise DataError(f"--table {path} has no rows")
    return ChipTable(path, found)
