"""Words and tables that several commands print."""

from __future__ import annotations

import csv
import io
import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import UsageError
from ..pipeline.spec.words import count_of

if TYPE_CHECKING:
    from ..pipeline.build.budget import Range
    from ..pipeline.spec.classes import ClassTable
    from ..workflow.machines import Machine
    from ..workflow.maps.rasters import MapMade


def mark(source: str) -> str:
    """Beside a number: who the pixels came from, where it was not Google's service."""
    from ..pipeline.spec.sources import Source

    return Source.of(source).tag


def print_map(made: MapMade, classes: ClassTable, marked: str) -> None:
    """What a map holds: pixels, those without a class, and the share of each class."""
    total = max(1, sum(made.pixels))
    size = f"{count_of(sum(made.pixels) + made.without, 'pixel')}, {made.without} without data"
    click.echo(f"{made.path}  {size} {marked}".rstrip())
    for one, pixels in zip(classes.classes, made.pixels, strict=True):
        if pixels:
            click.echo(f"  {one.name:<20} {pixels / total:7.2%}  of pixels; not an estimate of area")
    page = made.path.with_suffix(".html")
    if page.exists():
        click.echo(f"{page}: the map as a page; works offline in any browser")
    if made.outside is not None:
        click.echo(f"{made.beyond / total:.2%} of pixels are outside the training range in some band: {made.outside}")
    elif made.confidence is not None:
        click.echo("which pixels are outside the training range is not known: the run is of an earlier version")


def print_unfinished(path: PurePath, machine: Machine) -> None:
    """One of several machines is done, and others are not."""
    click.echo(f"part {machine.number} of {machine.count} of {path} is done; the machine that is last writes the map")


def figure(title: str, unit: str, value: Range) -> str:
    """One line of an estimate: title, figures with their unit, and where they come from."""
    return f"{title:<12} {value.figures} {unit}: {value.basis}"


def check_form(*, as_json: bool, as_csv: bool) -> None:
    """Refuse two forms of one answer.

    Raises:
        UsageError: both are wanted.
    """
    if as_json and as_csv:
        raise UsageError("--json and --csv are two forms of one answer; use one of them")


def print_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows as CSV, with a line of titles and the line ends of Unix."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    click.echo(text.getvalue(), nl=False)


# --- tables -----------------------------------------------------------------------------------------------------------

_GAP = 2
_NOT_A_TERMINAL = 200
"""Columns that a file or pipe is taken to have."""


@dataclass(frozen=True)
class Column:
    """One column of a printed table.

    Attributes:
        title: its head; a line break in it is kept.
        number: set flush right.
        wraps: may be broken between words where the terminal is narrow; all others are printed whole.
    """

    title: str
    number: bool = False
    wraps: bool = False


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout that fits the terminal; nothing in it is ever cut."""
    width = shutil.get_terminal_size((_NOT_A_TERMINAL, 24)).columns
    click.echo("\n".join(table_lines(columns, rows, width)))


def table_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """A table as lines of at most ``width`` characters, or a block of lines per row where it cannot be that narrow.

    Heads stand in one line where there is room, then as they are broken; then columns that wrap become narrower.
    """
    flat = [replace(column, title=" ".join(column.title.split())) for column in columns]
    for heads in (flat, list(columns)):
        if _total(widths := _natural(heads, rows)) <= width:
            return _table(heads, rows, widths)
    widths = _narrowed(columns, rows, _natural(columns, rows), width)
    return _table(columns, rows, widths) if _total(widths) <= width else _blocks(columns, rows, width)


def _natural(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column in which nothing is wrapped."""
    return [max(_longest(c.title.split("\n")), _longest(row[n] for row in rows)) for n, c in enumerate(columns)]


def _narrowed(columns: Sequence[Column], rows: Sequence[Sequence[str]], widths: Sequence[int], width: int) -> list[int]:
    """Widths with columns that wrap as narrow as the line demands, but no narrower than their longest word."""
    narrowed = list(widths)
    for n, column in enumerate(columns):
        if column.wraps:
            least = max(_longest(word for row in rows for word in row[n].split()), _longest(column.title.split()))
            narrowed[n] = max(least, narrowed[n] - max(0, _total(narrowed) - width))
    return narrowed


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    head = _cells([column.title for column in columns], columns, widths)
    return [*head, "-" * _total(widths), *(line for row in rows for line in _cells(row, columns, widths))]


def _longest(texts: Iterable[str]) -> int:
    return max((len(text) for text in texts), default=0)


def _cells(row: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    """The lines of one row; a cell that does not fit its column goes on in the next line."""
    cells = [_wrapped(text, width) for text, width in zip(row, widths, strict=True)]
    lines = []
    for number in range(max(map(len, cells))):
        parts = [cell[number] if number < len(cell) else "" for cell in cells]
        padded = (
            part.rjust(width) if column.number else part.ljust(width)
            for part, column, width in zip(parts, columns, widths, strict=True)
        )
        lines.append((" " * _GAP).join(padded).rstrip())
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    lines = (textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) for line in text.split("\n"))
    return [part for line in lines for part in line or [""]]


def _blocks(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Each row as its name and a line per column, for terminals that are too narrow for the table."""
    lines: list[str] = []
    for row in rows:
        lines.append(row[0])
        for column, text in zip(columns[1:], row[1:], strict=True):
            if text:
                line = f"{' '.join(column.title.split())}: {text}"
                lines += textwrap.wrap(
                    line,
                    max(width, 20),
                    initial_indent="  ",
                    subsequent_indent="    ",
                    break_long_words=False,
                    break_on_hyphens=False,
                )
    return lines


_NAMED = 3
"""Files of a kind that are named."""


def by_kind(reasons: Mapping[str, str]) -> list[str]:
    """Files and why they are left out, a line for each kind of reason, with their number and the first names.

    Reasons are of one kind where they differ in names, numbers and what stands in brackets alone.

    Args:
        reasons: file -> why, as text that may begin with the file.
    """
    kinds: dict[str, list[str]] = {}
    for file, why in reasons.items():
        kinds.setdefault(_kind(why, file), []).append(file)
    lines = []
    for files in kinds.values():
        why = reasons[files[0]]
        if len(files) == 1:
            lines.append(why if files[0] in why else f"{files[0]} {why}")
            continue
        short = [_short(file) for file in files]
        why = why.replace(files[0], short[0])
        more = ", ..." if len(files) > _NAMED else ""
        rest = why.removeprefix(short[0]).strip()
        why = rest if short[0] in rest else f"the first {rest}"
        lines.append(f"{count_of(len(files), 'file')} ({', '.join(short[:_NAMED])}{more}): {why}")
    return lines


def _kind(why: str, file: str) -> str:
    return re.sub(r"\([^()]*\)|\S*\d\S*", "", why.replace(file, "").replace(_short(file), ""))


def _short(file: str) -> str:
    """A file with its folder: what tells chips apart."""
    return "/".join(PurePath(file).parts[-2:])
