"""Paired differences between two ways of training, and what can be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def differences(
    results: Sequence[Mapping[str, Any]],
    ours: Mapping[str, str],
    theirs: Mapping[str, str],
    *,
    score: str,
    unit: str,
) -> NDArray[np.float64]:
    """Mean of ``score`` of ours minus theirs in each unit (fold or seed), over all else that was varied.

    Args:
        results: records with ``cell`` (what was varied) and scores.
        ours, theirs: what a cell must have to be of that side.
        score: key of the score.
        unit: key of the cell by which is paired.

    Returns:
        float64 (units,), of the units in which both sides have the same trainings.
    """
    found = []
    for number in sorted({one["cell"][unit] for one in results}):
        inside = [one for one in results if one["cell"][unit] == number and one.get(score) is not None]
        sides = [[one for one in inside if one["cell"].items() >= side.items()] for side in (ours, theirs)]
        if sides[0] and len(sides[0]) == len(sides[1]):
            mine, other = (float(np.mean([one[score] for one in side])) for side in sides)
            found.append(mine - other)
    return np.array(found)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the mean, by Student's t; NaN of fewer than two values."""
    if len(values) < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def p_value(values: NDArray[np.float64]) -> float:
    """Of the paired t test; 1 where fewer than two values, or none that differ, say nothing."""
    if len(values) < 2 or not values.std():
        return 1.0
    return float(stats.ttest_1samp(values, 0.0).pvalue)
