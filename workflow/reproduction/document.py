"""``report/verdicts.json``: a verdict for every number of the paper; equal from one call to the next.

``benchmarks/golden_run.py`` compares two of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ...pipeline.dataset.root import DataRoot
from ...pipeline.files.atomic import write_if_changed
from ...pipeline.spec.sources import Source
from ...pipeline.spec.version import __version__
from ..pages.runs import Run, scored_runs
from .numbers import TABLES, paper_numbers
from .ours import costs, ours_of
from .plan import need_of
from .verdicts import MEANING, Verdict, counted, judge, judge_all

Scope = Literal["sandbox", "paper", "other"]

VERDICTS_FILE = "verdicts.json"


def scope_of(source: Source) -> Scope:
    """Which reproduction pixels belong to: ``other`` for those of an unverified server, or added by a user."""
    if source.synthetic:
        return "sandbox"
    return "paper" if source.verified else "other"


def verdicts_of(root: DataRoot, runs: Sequence[Run] | None = None) -> tuple[Verdict, ...]:
    """A verdict for every number of the paper, in its order.

    Args:
        runs: scored runs of the data root; None: those there are.
    """
    ours = ours_of(root, scored_runs(root) if runs is None else runs)
    needs = {number.key: need for number in paper_numbers() if (need := need_of(number)) is not None}
    return judge_all(paper_numbers(), ours, needs)


def as_document(root: DataRoot, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """For JSON."""
    source = Source.of(root.source())
    return {
        "dwplus": __version__,
        "scope": scope_of(source),
        "source": source.name,
        "manifest": root.manifest().hash,
        "words": dict(MEANING),
        "counts": dict(counted(verdicts)),
        "numbers": [verdict.to_dict() for verdict in verdicts],
    }


def write_verdicts(root: DataRoot, verdicts: Sequence[Verdict]) -> Path:
    """Write ``verdicts.json`` beside the report, where it would differ; its path."""
    path = root.report_page.with_name(VERDICTS_FILE)
    document = json.dumps(as_document(root, verdicts), indent=1, allow_nan=False) + "\n"
    write_if_changed(path, document.encode())
    return path


def lines_of_costs() -> list[str]:
    """Table II, counted here at full size beside the printed figures; nothing of a data root is needed."""
    counted_here = costs()
    lines = []
    for number in paper_numbers():
        if number.kind == "cost" and not number.phrase:
            verdict = judge(number, counted_here[number.row, number.metric])
            value = f"{counted_here[number.row, number.metric].mean:,.2f}"
            lines.append(f"{number.place:<40} {number.printed:>8}  here {value:>8}  {verdict.word}")
    return lines


def table_rows(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Rows of the table of verdicts: a part of the paper, and how many of its numbers have which verdict."""
    parts: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        parts.setdefault(verdict.number.key.partition(".")[0], []).append(verdict)
    return [
        {"part": part_title(part), "numbers": len(members), "counts": counted(members)}
        for part, members in parts.items()
    ]


def part_title(part: str) -> str:
    """``Table IV`` of ``table4``, ``Section V`` of ``section5``."""
    word, number = part[:-1], part[-1]
    return f"{word.capitalize()} {TABLES[int(number)]}" if number.isdecimal() else part.capitalize()
