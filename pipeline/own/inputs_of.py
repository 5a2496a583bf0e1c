"""Which files an argument means, and what holds for each of them: kind, period, split, annotator.

Comes before ``vectors`` and ``rasters``, which read the files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import DataError, MachineError, UsageError
from ..files.walk import walk
from ..spec.classes import ClassTable
from ..spec.periods import Period
from . import rasters, vectors
from .burning import Touch
from .chip_table import ChipTable
from .dates import day_in_name, period_of, year_of
from .rasters import Resample

SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
SPLIT_NAMES |= {"test": "test", "testing": "test"}
"""Words for splits in columns, tables and folders -> the split."""

_HOW_TO_DATE = (
    "give one for all (--date 2022-06-15, --year 2022), a column (--date-column seen), the date in file names "
    "(--date-from name), or a table (--table chips.csv with the columns file, date)"
)


@dataclass(frozen=True)
class Asked:
    """What a call of ``dwplus labels add`` says about its files.

    Attributes:
        classes: of the labels.
        column: of polygons and points, with classes.
        date, year, date_column, date_from_name: where the date comes from; at most one of them.
        split: of all files; empty = by column, folder, table, or drawn by blocks.
        split_column: of polygons and points.
        split_from_folder: a folder above the file is called train, val or test.
        table: what holds for single files and folders; comes before the other options.
        annotator: who drew the labels.
        layer: of files with several.
        band: of rasters with several, from 1.
        touch: which pixels a polygon marks.
        resample: of rasters on another grid.
        tile_px: side of a tile; None = 510, for points 128.
        min_marked: pixels with a class that a tile has at least.
        licence, citation: of the labels.
    """

    classes: ClassTable
    column: str = ""
    date: str = ""
    year: int | None = None
    date_column: str = ""
    date_from_name: bool = False
    split: str = ""
    split_column: str = ""
    split_from_folder: bool = False
    table: ChipTable | None = None
    annotator: str = ""
    layer: str = ""
    band: int | None = None
    touch: Touch = "centre"
    resample: Resample = "nearest"
    tile_px: int | None = None
    min_marked: int = 1
    licence: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        ways = {
            "--date": self.date,
            "--year": self.year is not None,
            "--date-column": self.date_column,
            "--date-from name": self.date_from_name,
        }
        if len(named := [name for name, given in ways.items() if given]) > 1:
            raise UsageError(f"{' and '.join(named)} both say when the labels are true; give one of them")
        ways = {
            "--split": self.split,
            "--split-column": self.split_column,
            "--split-from folder": self.split_from_folder,
        }
        if len(named := [name for name, given in ways.items() if given]) > 1:
            raise UsageError(f"{' and '.join(named)} both name the split; give one of them")


@dataclass(frozen=True)
class InputFile:
    """One file, and what holds for the whole of it.

    Attributes:
        kind: ``vector`` or ``raster``.
        period: None where a column says it.
        split: empty where a column says it, or where it is drawn.
    """

    path: Path
    kind: Literal["vector", "raster"]
    period: Period | None = None
    split: str = ""
    annotator: str = ""

    @property
    def name(self) -> str:
        """File and folder, for records and messages: what tells ``a/label.tif`` from ``b/label.tif``."""
        return "/".join(self.path.absolute().parts[-2:])


def files_of(arguments: Sequence[Path]) -> list[tuple[Path, Path | None]]:
    """The files that arguments mean, each once, in the order of their paths, with the folder that was named for them.

    Raises:
        UsageError: an argument is no file or folder; DataError: a folder holds no labels.
    """
    found: dict[Path, Path | None] = {}
    for argument in arguments:
        if "://" in str(argument):
            raise UsageError(f"{argument} is a URL; download the file, and name the copy")
        if argument.is_dir():
            below = walk(argument, (*vectors.ENDINGS, *rasters.ENDINGS)).files
            if not below:
                raise DataError(
                    f"{argument} holds no file of labels ({', '.join((*vectors.ENDINGS, *rasters.ENDINGS))})"
                )
            found |= dict.fromkeys(below, argument)
        elif argument.exists():
            found.setdefault(argument, None)
        else:
            raise UsageError(f"{argument} does not exist; name a file of polygons, points or class codes, or a folder")
    return sorted(found.items(), key=lambda item: str(item[0]))


def describe(path: Path, below: Path | None, asked: Asked) -> InputFile:
    """What holds for a file.

    Args:
        below: the folder that was named for it.

    Raises:
        DataError: it is of no known kind, or nothing says when its labels are true.
        UsageError: an option has no meaning.
    """
    ending = path.suffix.casefold()
    kind: Literal["vector", "raster"] = "raster" if ending in rasters.ENDINGS else "vector"
    if kind == "vector" and ending not in vectors.ENDINGS:
        known = ", ".join((*vectors.ENDINGS, *rasters.ENDINGS))
        raise DataError(f"{path} is no file of labels by its ending ({known}); a table of points: write it as GeoJSON")
    row = None if asked.table is None else asked.table.row_of(path)
    file = InputFile(path, kind, annotator=(row.annotator if row else "") or asked.annotator)
    where = "" if row is None or asked.table is None else f"--table {asked.table.path}, line {row.line}"
    period = period_of(row.date, where=f"{where}, date") if row and row.date else _period(path, below, asked)
    if period is None and not (asked.date_column and kind == "vector"):
        if asked.table is not None and row is None:
            raise DataError(f"{path} has no date: --table {asked.table.path} has no row for it")
        if asked.date_column:
            raise DataError(f"{path} is a raster, which has no column {asked.date_column!r}: {_HOW_TO_DATE}")
        raise DataError(f"{path} has no date: {_HOW_TO_DATE}")
    split = split_named(row.split, where=f"{where}, split") if row and row.split else asked.split
    if not split and asked.split_from_folder:
        split = _split_of_folders(path)
    if not split and asked.split_column and kind == "raster":
        raise DataError(f"{path} is a raster, which has no column {asked.split_column!r}; use --split or --table")
    return replace(file, period=period, split=split)


def _period(path: Path, below: Path | None, asked: Asked) -> Period | None:
    if asked.date:
        return period_of(asked.date, where="--date")
    if asked.year is not None:
        return year_of(asked.year)
    if asked.date_from_name:
        found = day_in_name(path, below=below)
        if found is None:
            raise DataError(
                f"{path} has no date in its name (20220615, 2022-06-15), nor has its folder; rename it, or use --table"
            )
        return found
    return None


def split_named(value: str, *, where: str) -> str:
    """The split that a word means.

    Raises:
        DataError: it means none.
    """
    split = SPLIT_NAMES.get(value.strip().casefold())
    if split is None:
        raise DataError(f"{where} is {value[:40]!r}; a split is train, val or test")
    return split


def _split_of_folders(path: Path) -> str:
    for folder in reversed(path.absolute().parent.parts):
        if folder.casefold() in SPLIT_NAMES:
            return SPLIT_NAMES[folder.casefold()]
    raise DataError(f"{path} lies in no folder train, val or test; move it, or leave out --split-from folder")


# What identifies an input ---------------------------------------------------------------------------------------------


def content_hash(path: Path) -> str:
    """SHA-256 of a file; of a Shapefile, of all its parts.

    Raises:
        MachineError: it cannot be read.
    """
    parts = [path]
    if path.suffix.casefold() == ".shp":
        parts += [part for ending in (".dbf", ".prj", ".cpg") if (part := path.with_suffix(ending)).is_file()]
    digest = hashlib.sha256()
    try:
        for part in parts:
            with part.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
    except OSError as error:
        raise MachineError(f"cannot read {path}: {error.strerror or error}; look at its permissions") from None
    return digest.hexdigest()


def options_of(asked: Asked, kind: Literal["vector", "raster"]) -> dict[str, str]:
    """The options that decide the tiles of a file of this kind, by their names on the command line."""
    options: dict[str, object] = {"tile-px": asked.tile_px, "min-marked": asked.min_marked}
    if kind == "raster":
        options |= {"band": asked.band, "resample": asked.resample}
    else:
        columns = {"column": asked.column, "date-column": asked.date_column, "split-column": asked.split_column}
        options |= columns | {"layer": asked.layer, "touch": asked.touch}
    return {name: str(value) for name, value in options.items() if value not in (None, "")}


def key_of(file: InputFile, sha256: str, asked: Asked) -> str:
    """Sixteen hexadecimal digits that change with all that decides the tiles of an input and what is said of them."""
    said = [sha256, options_of(asked, file.kind), str(file.period or ""), file.split, file.annotator]
    said += [asked.licence, asked.citation, asked.classes.hash]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
