"""What the publishers say of each label tile: the workbook of the training release, the list of the test release, and
the list of images where labels come from Earth Engine.

Read beside the tiles by ``index`` and ``ingest``; optional.
"""

from __future__ import annotations

import csv
import datetime
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any

import openpyxl

from ..errors import DataError
from ..files.walk import walk
from ..spec.tiles import Labeler, tile_id_of

_log = logging.getLogger(__name__)

Metadata = dict[tuple[Labeler, str], dict[str, str]]
"""(labeler, dw_id) -> what the publisher says of that tile, by column name."""

_COLUMNS = (
    "S2_PRODUCT_ID",
    "S2_GEE_ID",
    "S2_DATASTRIP_ID",
    "S2_GRID",
    "S2_SENSING_ORBIT_DIRECTION",
    "date",
    "crs",
    "hemisphere",
    "biome",
    "biome_name",
    "eco_region",
    "NBPixels",
)
"""Columns that are kept, in the spelling of the published sheet, where they are present."""

_LABELER_OF_SHEET: dict[str, Labeler] = {
    "expert": "expert",
    "experts": "expert",
    "nonexpert": "non_expert",
    "nonexperts": "non_expert",
}
_LABELERS: tuple[Labeler, ...] = ("consensus", "expert", "non_expert", "unknown")

LABEL_LIST = "label_assets.csv"
"""What ``earth_engine`` writes about the images of an Earth Engine collection: a labeler per row."""

_EMPTY = frozenset({"", "none", "nan", "null"})


def plain_name(name: object) -> str:
    """A column or sheet name without case, spaces, ``_`` and ``-``, in which published spellings differ."""
    return re.sub(r"[\s_-]+", "", str(name).casefold())


_COLUMN_OF_PLAIN = {**{plain_name(name): name for name in _COLUMNS}, "s2systemindex": "S2_GEE_ID"}
"""``s2_system_index`` of the test tiles and ``S2_GEE_ID`` of the others are one thing: Earth Engine's
``system:index``."""


def read_metadata(folder: Path) -> Metadata:
    """What the publisher says of each tile: the workbook (experts, non-experts), the list of test tiles, and that of
    Earth Engine's images.

    They are looked for anywhere below the folder; a tile without a row has no entry. A workbook that cannot be read
    is a warning: nothing depends on it.

    Returns:
        (labeler, dw_id) -> column -> text. Columns as in the published sheet, with the test tiles'
        ``s2_system_index`` under ``S2_GEE_ID``; empty cells are left out, ``date`` is YYYY-MM-DD.
    """
    found: Metadata = {}
    for path in _tables(folder):
        found.update(_read_workbook(path) if path.suffix.casefold() == ".xlsx" else _read_list(path))
    return found


def _tables(folder: Path) -> list[Path]:
    """Workbooks and CSV files below a folder, by path; workbooks of other kinds are said to be passed over."""
    found = [
        path for path in walk(folder, (".xlsx", ".csv", *_OTHER_WORKBOOKS)).files if not path.name.startswith("~$")
    ]
    for path in found:
        if path.suffix.casefold() in _OTHER_WORKBOOKS:
            _log.warning("%s is a workbook of a kind that is not read: save it as .xlsx to have its scenes used", path)
    return [path for path in found if path.suffix.casefold() not in _OTHER_WORKBOOKS]


_OTHER_WORKBOOKS = (".xls", ".xlsm", ".xlsb", ".ods")


def _encoding_of(path: Path) -> str:
    """UTF-16 where a file begins like that (what spreadsheets call Unicode text), else UTF-8."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _read_workbook(path: Path) -> Metadata:
    try:
        return _entries_of_workbook(path)
    except Exception as error:
        # A damaged workbook makes its reader raise nearly anything: errors of zip, zlib, XML, types.
        _log.warning("continuing without %s: it cannot be read as a workbook (%s)", path, error or type(error).__name__)
        return {}


def _entries_of_workbook(path: Path) -> Metadata:
    found: Metadata = {}
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        for sheet in book.worksheets:
            labeler = _LABELER_OF_SHEET.get(plain_name(sheet.title))
            if labeler is not None:
                found.update(_entries_of_sheet(labeler, sheet, path))
        sheets = [sheet.title for sheet in book.worksheets]
    finally:
        book.close()
    for missing in sorted({"expert", "non_expert"} - {labeler for labeler, _ in found}):
        _log.warning("%s says nothing of tiles of %s: its sheets are %s", path, missing, ", ".join(sheets))
    return found


def _entries_of_sheet(labeler: Labeler, sheet: Any, path: Path) -> Metadata:
    # Some programs write the size A1 for every sheet.
    sheet.reset_dimensions()
    rows = _from_header(sheet.iter_rows(values_only=True), {"dwid"})
    if rows is None:
        _log.warning("%s, sheet %s: no column dw_id in its first rows; it is not used", path, sheet.title)
        return {}
    return _entries(labeler, rows, id_column=("dwid",))


_HEADER_WITHIN = 20
"""Rows at the top of a table among which its header may stand, below a title."""


def _from_header(rows: Iterable[Sequence[Any]], wanted: set[str]) -> Iterator[Sequence[Any]] | None:
    """The rows of a table from that on which names its columns; None where none of the first rows does."""
    rest = iter(rows)
    for row in islice(rest, _HEADER_WITHIN):
        if wanted <= {plain_name(cell) for cell in row}:
            return chain([row], rest)
    return None


def _delimiter_of(line: str) -> str:
    """What separates the columns of a table: spreadsheets of many countries write semicolons."""
    return max(",;\t", key=line.count)


def _read_list(path: Path) -> Metadata:
    """Rows of a CSV that has the columns of the test release, or of ``label_assets.csv``; none from others."""
    try:
        with path.open(encoding=_encoding_of(path), errors="replace", newline="") as file:
            start = [file.readline(_LONGEST_LINE) for _ in range(_HEADER_WITHIN)]
            file.seek(0)
            table = csv.reader(file, delimiter=_delimiter_of("".join(start)))
            wanted = {"dwid", "labeler"} if path.name == LABEL_LIST else {"filename", "s2systemindex"}
            if not any(
                wanted <= {plain_name(name) for name in line.split(_delimiter_of(line))} for line in _bare(start)
            ):
                return {}  # whatever it is, and however large
            rows = list(_from_header(table, wanted) or ())
    except (OSError, UnicodeError, csv.Error) as error:
        _log.warning("%s is no list of label tiles (%s): passed over", path, error)
        return {}
    if not rows:
        return {}
    columns = [plain_name(name) for name in rows[0]]
    ours = path.name == LABEL_LIST
    return _entries_by_labeler(rows, columns.index("labeler")) if ours else _entries_of_test_list(rows)


_LONGEST_LINE = 1 << 16


def _bare(lines: Iterable[str]) -> list[str]:
    return [line.strip().replace('"', "") for line in lines]


def _entries_by_labeler(rows: Sequence[Sequence[str]], labeler_at: int) -> Metadata:
    found: Metadata = {}
    for labeler in _LABELERS:
        mine = [row for row in rows[1:] if len(row) > labeler_at and row[labeler_at] == labeler]
        found.update(_entries(labeler, iter([rows[0], *mine]), id_column=("dwid",)))
    return found


def _entries_of_test_list(rows: Sequence[Sequence[str]]) -> Metadata:
    found = _entries("consensus", iter(rows), id_column=("filename",))
    for entry in found.values():
        sensed = entry.get("S2_GEE_ID", "")[:8]
        if sensed.isdecimal() and "date" not in entry:
            entry["date"] = f"{sensed[:4]}-{sensed[4:6]}-{sensed[6:8]}"
    return found


def _entries(labeler: Labeler, rows: Iterator[Sequence[Any]], *, id_column: tuple[str, ...]) -> Metadata:
    """Entries of a table whose first row names its columns; rows that name no tile are passed over."""
    plain = [plain_name(name) for name in next(rows, ())]
    id_at = next((plain.index(name) for name in id_column if name in plain), 0)
    kept = [(at, _COLUMN_OF_PLAIN[name]) for at, name in enumerate(plain) if name in _COLUMN_OF_PLAIN]
    found: Metadata = {}
    for row in rows:
        try:
            tile_id = tile_id_of(PurePosixPath(str(row[id_at])).name.removesuffix(".tif"))
        except (DataError, IndexError):
            continue
        cells = ((column, _text(row[at])) for at, column in kept if at < len(row))
        found[labeler, tile_id] = {column: text for column, text in cells if text.casefold() not in _EMPTY}
    return found


def _text(cell: Any) -> str:
    """A cell as text: days as YYYY-MM-DD, whole numbers without a decimal point."""
    if isinstance(cell, datetime.datetime):
        return cell.date().isoformat()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip()
