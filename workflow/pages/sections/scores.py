"""Runs beside the paper's row of their own network and inputs: a line each, several seeds as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....model.metrics import overall
from ....model.scores.document import scores_name
from ....model.scores.intervals import Bounds
from ....model.scores.words import note
from ...comparing import seed_bounds
from ...seeds import spread
from ..comparison import paper_row
from ..runs import Faults, Run, overall_scores, parameters_of


def run_summary(run: Run, faults: Faults | None = None) -> dict[str, Any]:
    """One line of the table of scores, with the paper's row of its own network, variant and inputs where it has one.

    Args:
        faults: receives what this version cannot tell of the run; its scores stay.
    """
    faults = Faults() if faults is None else faults
    scores = run.scores
    return {
        "name": run.name,
        "model": run.config.network_title,
        "inputs": run.inputs,
        "params": faults.attempt(run, lambda: parameters_of(run), None),
        "split": scores.split,
        "source": scores.source,
        "tiles": scores.tiles,
        "scores": overall_scores(run),
        "intervals": {} if scores.intervals is None else scores.intervals.values,
        "interval_note": note(scores.intervals),
        "folder": run.folder,
        "majority_class": scores.majority[0],
        "majority_oa": scores.majority[1],
        "absent": scores.matrix.absent,
        "paper": faults.attempt(run, lambda: paper_row(run.config), None),
    }


def score_rows(summaries: Sequence[dict[str, Any]], groups: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Rows of the table of scores: runs of several seeds are one, with the mean and the deviation of their scores."""
    by_name = {one["name"]: one for one in summaries}
    grouped = {member: (name, members) for name, members in groups.items() for member in members}
    rows: dict[str, dict[str, Any]] = {}
    for name, one in by_name.items():
        common, members = grouped.get(name, (name, (name,)))
        spreads = {key: spread([by_name[member]["scores"][key] for member in members]) for key in one["scores"]}
        rows.setdefault(
            common,
            one
            | {
                "name": f"{common} ({len(members)} seeds)" if len(members) > 1 else name,
                "intervals": one["intervals"] if len(members) == 1 else _of_seeds([by_name[m] for m in members]),
                "scores": {key: value.mean for key, value in spreads.items()},
                "deviations": {key: value.deviation for key, value in spreads.items()},
                "stale": any(by_name[member]["stale"] for member in members),
            },
        )
    return list(rows.values())


def _of_seeds(summaries: Sequence[dict[str, Any]]) -> dict[str, Bounds | None]:
    return seed_bounds([one["folder"] for one in summaries], scores_name(summaries[0]["split"]), overall())
