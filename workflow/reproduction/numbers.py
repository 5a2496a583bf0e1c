"""Every number that the paper prints, one by one: Tables I to VI, counts, settings and what its text repeats.

Out of ``manifests/paper.toml``; before ``verdicts``, which says what became of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from ...manifests import load_toml

Kind = Literal["score", "cost", "speed", "gain", "set", "recipe", "network", "training", "quoted"]

LIKELY_READING = "dynamic-world-order"
"""Reading of Table III's columns by which scores are compared; see the note in ``paper.toml``."""

TABLES = {1: "I", 2: "II", 3: "III", 4: "IV", 5: "V", 6: "VI"}

_SECTIONS = {"abstract": "Abstract", **{f"section{n}": f"Section {r}" for n, r in TABLES.items() if n > 2}}
_SCORES = ("miou", "oa", "f1")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class PaperNumber:
    """A number of the paper.

    Attributes:
        key: ``table1.segformer.miou``, ``section5.epochs``.
        place: where it stands, for people: ``Table I, Segformer, mIoU``.
        printed: its digits as they stand there, without thousands separators; a spelled-out one in digits.
        kind: what it can be compared with: ``score`` (percent), ``cost`` (parameters in millions, operations in
            1e9), ``speed`` (images/s), ``gain`` (percent of another row's score), ``set`` (counts of the data set),
            ``recipe``, ``network`` and ``training`` (settings), ``quoted`` (nothing here measures it).
        row: key of the table's row that it is a number of, such as ``table1.segformer``; empty for those of no row.
        metric: ``miou``, ``oa``, ``f1``, ``iou.<class>``, ``params``, ``flops`` or ``speed``; empty as ``row`` is.
        over: row of a ``gain`` that it is relative to.
        phrase: words around it in the running text; empty for those of tables.
        notes: what does not add up, or can be read in two ways.
    """

    key: str
    place: str
    printed: str
    kind: Kind
    row: str = ""
    metric: str = ""
    over: str = ""
    phrase: str = ""
    notes: tuple[str, ...] = ()

    @property
    def value(self) -> float:
        return float(self.printed)

    @property
    def decimals(self) -> int:
        """Digits after the point, as printed."""
        return len(self.printed.partition(".")[2])

    def rounds_to(self, value: float) -> bool:
        """Whether a value has the printed digits."""
        return f"{value:.{self.decimals}f}" == f"{self.value:.{self.decimals}f}"


@cache
def paper_numbers() -> tuple[PaperNumber, ...]:
    """All of them, in the order of the paper: tables first, then the text."""
    paper = load_toml("paper")
    found = [*_of_tables(paper), *_of_text(paper)]
    return tuple(_with_notes(number, paper["notes"]) for number in found)


def _with_notes(number: PaperNumber, notes: Mapping[str, Any]) -> PaperNumber:
    return PaperNumber(**{**vars(number), "notes": tuple(n["text"] for n in notes.values() if _about(number.key, n))})


def _about(key: str, note: Mapping[str, Any]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in note["about"])


# --- tables -----------------------------------------------------------------------------------------------------------


def _of_tables(paper: Mapping[str, Any]) -> Iterator[PaperNumber]:
    names = paper["methods"]
    yield from _scores_of(paper, 1, names)
    yield from _of_table_2(paper["table2"], names)
    yield from _of_table_3(paper["table3"], names)
    yield from _scores_of(paper, 4, {key: key for key in paper["table4"]})
    yield from _scores_of(paper, 5, {key: row["title"] for key, row in paper["table5"].items()})
    yield from _scores_of(paper, 6, {key: key for key in paper["table6"]})


def _scores_of(paper: Mapping[str, Any], table: int, titles: Mapping[str, str]) -> Iterator[PaperNumber]:
    for key, row in paper[f"table{table}"].items():
        for metric in _SCORES:
            yield _cell(table, key, titles[key], metric, row[metric], "score")


def _of_table_2(table: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[PaperNumber]:
    for key, row in table.items():
        for metric in ("params", "flops"):
            yield _cell(2, key, names[key], metric, row[metric], "cost")
        yield _cell(2, key, names[key], "speed", row["speed"], "speed")


def _of_table_3(table: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[PaperNumber]:
    likely, printed = table["readings"][LIKELY_READING], table["readings"]["printed"]
    for key, row in table["iou"].items():
        for name, header, value in zip(likely, printed, row, strict=True):
            column = name if name == header else f"{name} (under the header {header})"
            yield _cell(3, key, names[key], f"iou.{name}", value, "score", column)
        yield _cell(3, key, names[key], "miou", table["miou"][key], "score")


_COLUMNS = {
    "miou": "mIoU",
    "oa": "OA",
    "f1": "F1",
    "params": "Params (M)",
    "flops": "FLOPS (G)",
    "speed": "Speed (FPS)",
}


def _cell(table: int, key: str, title: str, metric: str, value: float, kind: Kind, column: str = "") -> PaperNumber:
    """A number of a table; all of them are printed with two decimals."""
    row = row_key(table, key)
    place = f"Table {TABLES[table]}, {title}, {column or _COLUMNS[metric]}"
    return PaperNumber(f"{row}.{metric.removeprefix('iou.')}", place, f"{value:.2f}", kind, row, metric)


def row_key(table: int, key: str) -> str:
    """``table6.1/4-3/4``: key of a row of a table."""
    return f"table{table}.{key.replace(', ', '-')}"


# --- text -------------------------------------------------------------------------------------------------------------


def _of_text(paper: Mapping[str, Any]) -> Iterator[PaperNumber]:
    for section, title in _SECTIONS.items():
        for key, entry in paper[section].items():
            place = f"{title}, {key.replace('_', ' ')}"
            printed = printed_digits(entry["value"], entry["printed"])
            row, metric, kind, over = _meaning(entry)
            yield PaperNumber(f"{section}.{key}", place, printed, kind, row, metric, over, entry["printed"])


def _meaning(entry: Mapping[str, Any]) -> tuple[str, str, Kind, str]:
    """(row, metric, kind, row that it is relative to) of a number of the text."""
    kind: Kind = entry["kind"]
    if "of" in entry:
        return row_key(1, entry["of"]), entry["metric"], kind, row_key(1, entry["over"])
    if "table" not in entry:
        return "", "", kind, ""
    row, _, metric = entry["table"].rpartition(".")
    known = metric in _COLUMNS
    return row, metric if known else f"iou.{metric}", "speed" if metric == "speed" else kind, ""


def printed_digits(value: float, phrase: str) -> str:
    """The digits of a number as they stand in a phrase, without separators; of a spelled-out number its digits."""
    found = (token.replace(",", "") for token in _NUMBER.findall(phrase))
    return next((token for token in found if float(token) == value), str(value))
