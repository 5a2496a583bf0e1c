"""Tables I to VI of the paper, number by number, with what stands beside each; as a page, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from ....manifests import load_toml
from ....pipeline.spec.classes import DYNAMIC_WORLD
from ...reproduction.numbers import TABLES
from ...reproduction.verdicts import Verdict
from .summary import style_of

TITLES = {
    1: "Scores on Dynamic World+",
    2: "Parameters, FLOPs and speed",
    3: "IoU per class, %",
    4: "Components: cross attention (CA), efficient self-attention (SA), aggregation (MMAM)",
    5: "Input bands",
    6: "Channels of the two branches (multispectral, SAR)",
}

_SCORES = {"miou": "mIoU, %", "oa": "OA, %", "f1": "F1, %"}
_COLUMNS = {
    **dict.fromkeys((1, 4, 5, 6), _SCORES),
    2: {"params": "parameters, M", "flops": "FLOPs, G", "speed": "images/s"},
    3: {**{f"iou.{one.name}": one.title for one in DYNAMIC_WORLD.classes}, "miou": "mIoU"},
}
_SHORT = {
    "exact": "exact",
    "seed noise": "seed noise",
    "test-set noise": "test-set noise",
    "differs": "differs",
    "not run": "not run",
    "synthetic": "synthetic",
    "quoted": "not measured",
}

CSV_COLUMNS = (
    *("key", "place", "kind", "paper", "ours", "of", "difference", "low", "high", "verdict"),
    *("gpu_hours", "command", "unlike", "notes"),
)


@dataclass(frozen=True)
class Cell:
    """One number of the paper on the page; empty words where there is nothing to say.

    Attributes:
        ours, paper, difference, interval: as they are printed, in the paper's unit.
        word: short for its verdict; ``style`` is the class of its square, ``said`` the verdict in a sentence.
        of: what ours is from.
    """

    column: str
    ours: str
    paper: str
    difference: str
    interval: str
    word: str
    style: str
    said: str
    of: str


@dataclass(frozen=True)
class PaperTable:
    """One table; ``rows`` are (title, cells), ``notes`` say what does not add up in it."""

    number: int
    roman: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[str, ...]


def paper_tables(verdicts: Sequence[Verdict]) -> list[PaperTable]:
    """Every table of the paper, in its order."""
    return [_table(number, verdicts) for number in TABLES]


def _table(number: int, verdicts: Sequence[Verdict]) -> PaperTable:
    columns, prefix = _COLUMNS[number], f"table{number}."
    here = [verdict for verdict in verdicts if verdict.number.key.startswith(prefix)]
    by_row: dict[str, dict[str, Verdict]] = {}
    for verdict in here:
        by_row.setdefault(verdict.number.row, {})[verdict.number.metric] = verdict
    rows = [
        (_title(number, key.removeprefix(prefix)), tuple(cell_of(found[m], columns[m]) for m in columns if m in found))
        for key, found in by_row.items()
    ]
    notes = dict.fromkeys(note for verdict in here for note in verdict.number.notes)
    return PaperTable(number, TABLES[number], TITLES[number], tuple(columns.values()), tuple(rows), tuple(notes))


def _title(number: int, key: str) -> str:
    """Name of a row as the paper prints it."""
    paper = load_toml("paper")
    if number <= 3:
        name = str(paper["methods"][key])
        return "SpecSAR-Former (proposed)" if name == "Proposed" else name
    if number == 5:
        return str(paper["table5"][key]["title"])
    words = {"none": "none of them", "ca": "CA", "sa": "SA", "mmam": "MMAM"}
    if number == 6:
        return key.replace("-", ", ")
    return words.get(key, " + ".join(words[part] for part in key.split("-") if part in words))


def cell_of(verdict: Verdict, column: str) -> Cell:
    """A number of the paper as the page shows it."""
    ours, digits = verdict.ours, verdict.number.decimals
    bounds = None if ours is None else ours.bounds
    return Cell(
        column,
        ours="–" if ours is None else f"{ours.mean:.{digits}f}",
        paper=verdict.number.printed,
        difference="" if verdict.difference is None else _signed(verdict.difference, digits),
        interval="" if bounds is None else f"{bounds[0]:.{digits}f} to {bounds[1]:.{digits}f}",
        word=_SHORT[verdict.word],
        style=style_of(verdict.word),
        said=verdict.sentence,
        of="" if ours is None else ours.name,
    )


def _signed(value: float, digits: int) -> str:
    """``+0.43``; a zero has no sign."""
    words = f"{value:+.{digits}f}"
    return words if float(words) else words[1:]


# --- beside the page --------------------------------------------------------------------------------------------------


def as_markdown(verdicts: Sequence[Verdict], *, mark: str) -> str:
    """The six tables, and what the text of the paper says, as Markdown; ``mark``: whose pixels, besides Google's."""
    lines = [f"# The paper, number by number{f' ({mark})' if mark else ''}", ""]
    lines += ["Cells: ours [95 % interval] / the paper's (difference) verdict.", ""]
    for table in paper_tables(verdicts):
        lines += [f"## Table {table.roman}: {table.title}{f' ({mark})' if mark else ''}", ""]
        lines += _rows_of(["", *table.columns], [[title, *map(_in_a_cell, cells)] for title, cells in table.rows])
        lines += [f"- {note}" for note in table.notes] + [""] * bool(table.notes)
    lines += ["## Numbers of the text", ""]
    rest = [verdict for verdict in verdicts if not verdict.number.key.startswith("table")]
    lines += _rows_of(["where", "here", "verdict"], [[v.number.place, *_of_text(v)] for v in rest])
    return "\n".join(lines).rstrip() + "\n"


def _rows_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    written = [head, ["---"] * len(head), *rows]
    return [*("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in written), ""]


def _in_a_cell(cell: Cell) -> str:
    interval = f" [{cell.interval}]" if cell.interval else ""
    difference = f" ({cell.difference})" if cell.difference else ""
    return f"{cell.ours}{interval} / {cell.paper}{difference} {cell.word}"


def _of_text(verdict: Verdict) -> tuple[str, str]:
    cell = cell_of(verdict, "")
    return f"{cell.ours} / {cell.paper}", cell.said


def as_csv(verdicts: Sequence[Verdict]) -> str:
    """Every number of the paper, a row each, in the paper's unit."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for verdict in verdicts:
        one = verdict.to_dict()
        low, high = one["interval"] or (None, None)
        needs = one["needs"] or {}
        lists = {key: "; ".join(one[key]) for key in ("unlike", "notes")}
        plain = {key: one[key] for key in ("key", "place", "kind", "paper", "ours", "of", "difference", "verdict")}
        writer.writerow({**plain, "low": low, "high": high, **needs, **lists})
    return out.getvalue()
