"""How sure networks are and how often right, on the report: before and after calibration, on the tiles that are scored.

From the counts of tiles that scoring kept; a run of an earlier version has none, and no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...model.metrics import MILLION, further
from ...model.runs import RunFolder
from ...model.scores.document import Scores
from ...model.scores.kept import read_calibrated, read_table
from ...model.scores.tile_table import TileTable
from ...model.scores.words import of_metric
from .figures import Reliability, reliability_figure
from .html import embed
from .runs import Faults, Run


@dataclass(frozen=True)
class Confidence:
    """The part of one run.

    Attributes:
        run: its name.
        picture: the reliability diagram, as a URL that holds it.
        alternative: what the picture shows, in words.
        lines: what was fitted or why nothing was, and scores of confidence.
    """

    run: str
    picture: str
    alternative: str
    lines: tuple[str, ...]


def confidence_of_runs(tables: Sequence[tuple[Run, TileTable]], faults: Faults, *, mark: str) -> list[Confidence]:
    """Of each run whose calibration was counted, in their order."""
    found = [faults.attempt(run, partial(_of_run, run, table, mark), None) for run, table in tables]
    return [one for one in found if one is not None]


def _of_run(run: Run, table: TileTable, mark: str) -> Confidence | None:
    before = _reliability(table, "as it is")
    if before is None or run.scores.ece is None:
        return None
    folder = RunFolder(run.folder)
    calibrated = read_calibrated(folder, run.scores)
    after = None if calibrated is None else _reliability(read_table(folder, calibrated), "calibrated")
    panels = [before, *([] if after is None else [after])]
    words = "; ".join(f"{panel.title}: ECE {panel.ece:.1%}" for panel in panels)
    alternative = f"reliability diagram of {run.name}, share of right pixels by confidence, {words}"
    lines = [f"As it is: {_scores(run.scores)}."]
    if calibrated is not None:
        fitted = calibrated.calibration
        lines += [f"Calibrated: {_scores(calibrated)}.", f"{fitted[:1].upper()}{fitted[1:]}."]
    elif run.scores.protocol == "paper":
        lines.append("Not calibrated: under protocol paper val is the test split, on which nothing is fitted.")
    else:
        lines.append("Not calibrated: its confidence is the softmax of the network.")
    return Confidence(run.name, embed(reliability_figure(panels, run.name, mark=mark)), alternative, tuple(lines))


def _reliability(table: TileTable, title: str) -> Reliability | None:
    """Of all tiles of a table; None where calibration was not counted."""
    pixels, right, confidence = table.bins.sum(0)
    if not pixels.any():
        return None
    filled = pixels > 0
    shares = [np.divide(part, pixels, out=np.full(len(pixels), np.nan), where=filled) for part in (right, confidence)]
    ece = float(np.abs(right - confidence / MILLION).sum() / pixels.sum())
    return Reliability(title, shares[1] / MILLION, shares[0], pixels / pixels.sum(), ece)


def _scores(scores: Scores) -> str:
    values, bounds = scores.values(), {} if scores.intervals is None else scores.intervals.values
    known = [one for one in further() if one.key in ("ece", "brier") and values[one.key] is not None]
    words = ", ".join(of_metric(values[one.key], bounds.get(one.key), one) for one in known)
    perfect = scores.perfect_ece
    if perfect is None:
        return words
    usual = f"ECE {perfect.mean:.2%} on average, {perfect.high:.2%} at most in 95 of 100 draws"
    return f"{words}; a perfectly calibrated network would show {usual} of these tiles"
