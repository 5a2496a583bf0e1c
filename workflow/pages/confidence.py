"""How sure networks are and how often right, on the report: before and after calibration, on the tiles that are scored.

From the counts of tiles that scoring kept; a run of an earlier version has none, and no part. Diagrams are SVG:
matplotlib takes half a minute for forty of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ...model.metrics import MILLION, further
from ...model.runs import RunFolder
from ...model.scores.document import Scores
from ...model.scores.kept import read_calibrated, read_table
from ...model.scores.tile_table import TileTable
from ...model.scores.words import of_metric
from . import svg
from .runs import Faults, Run

_PANEL, _HEIGHT = 210, 222
_LARGEST = 13.0
"""Radius (px) of the dot of a bin that holds all pixels; areas are proportional to pixels."""


@dataclass(frozen=True)
class Reliability:
    """A panel of a reliability diagram; arrays are float64 (bins,), NaN where a bin has no pixel.

    Attributes:
        title: of the panel.
        confidence, accuracy: mean confidence, and share of right pixels, of each bin.
        share: of all pixels that are in each bin.
        ece: expected calibration error, 0..1.
    """

    title: str
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    share: NDArray[np.float64]
    ece: float


@dataclass(frozen=True)
class Confidence:
    """The part of one run.

    Attributes:
        run: its name.
        drawing: the reliability diagram.
        lines: what was fitted or why nothing was, and scores of confidence.
    """

    run: str
    drawing: Markup
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
    return Confidence(run.name, _drawn(panels, alternative, mark=mark), tuple(lines))


def _drawn(panels: Sequence[Reliability], said: str, *, mark: str) -> Markup:
    """Share of right pixels over confidence, a dot a bin, its area by its pixels; on the line both are equal."""
    parts = [part for place, panel in enumerate(panels) for part in _panel(panel, place * _PANEL)]
    return svg.drawing(2 * _PANEL, _HEIGHT, parts, said=said, mark=mark)


def _panel(panel: Reliability, left: float) -> list[Markup]:
    x, y = svg.Scale(0, 100, left + 36, left + _PANEL - 14), svg.Scale(0, 100, _HEIGHT - 38, 24)
    parts = svg.Frame(x, y).axes("confidence, %", f"{panel.title}: right, %")
    parts.append(svg.tag("path", d=f"M{x.start:.1f} {y.start:.1f}L{x.end:.1f} {y.end:.1f}", class_="diagonal"))
    bins = [
        (x(100 * confidence), y(100 * accuracy), confidence, accuracy, share)
        for confidence, accuracy, share in zip(
            panel.confidence.tolist(), panel.accuracy.tolist(), panel.share.tolist(), strict=True
        )
        if share > 0
    ]
    parts.append(svg.line([one[:2] for one in bins], 0))
    parts += [
        svg.tag(
            "circle",
            svg.tag("title", Markup(f"confidence {confidence:.0%}: {accuracy:.0%} right; {share:.1%} of the pixels")),
            cx=at_x,
            cy=at_y,
            r=max(1.5, _LARGEST * share**0.5),
            class_="bin",
        )
        for at_x, at_y, confidence, accuracy, share in bins
    ]
    return parts


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
