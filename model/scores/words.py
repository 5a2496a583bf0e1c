"""Scores and their intervals as text, the same wherever they are printed."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import TYPE_CHECKING

from ...pipeline.spec.words import count_of
from ..metrics import Metric, TileCounts
from .intervals import Bounds, Intervals

if TYPE_CHECKING:
    from .document import Scores


def number(value: float, metric: Metric) -> str:
    """``41.20%``, or ``0.412`` of a score that is no share of pixels; ``-`` where there is no score."""
    if isnan(value):
        return "-"
    return f"{value:.2%}" if metric.largest == 1 else f"{value:.3f}"


def bounds(found: Bounds | None, metric: Metric) -> str:
    """``[38.10, 44.02]``, in percent where the score is; empty where there is no interval."""
    if found is None:
        return ""
    factor, digits = (100, 2) if metric.largest == 1 else (1, 3)
    return f"[{factor * found[0]:.{digits}f}, {factor * found[1]:.{digits}f}]"


def of_metric(value: float, found: Bounds | None, metric: Metric) -> str:
    """``mIoU 41.20% [38.10, 44.02]``."""
    return f"{metric.title} {number(value, metric)} {bounds(found, metric)}".rstrip()


def of_scores(scores: Scores, metrics: tuple[Metric, ...]) -> str:
    """Some overall metrics in a line."""
    counts = TileCounts(scores.matrix)
    known: Mapping[str, Bounds | None] = {} if scores.intervals is None else scores.intervals.values
    return "  ".join(of_metric(metric.value(counts), known.get(metric.key), metric) for metric in metrics)


def note(intervals: Intervals | None) -> str:
    """What the intervals are of, in a sentence without its stop."""
    if intervals is None:
        return "no intervals: scored by an earlier version; score the run again"
    units, classes = count_of(intervals.units, intervals.unit), count_of(intervals.present, "class", "classes")
    if intervals.too_few:
        return f"too few {intervals.unit}s ({intervals.units}) for intervals; {classes} present"
    cells = count_of(intervals.cells, "cell")
    return f"95 % intervals by bootstrap over {units} in {cells}; {classes} present"
