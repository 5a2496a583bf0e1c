"""Intervals: how far the score of another test set of this design could lie from that of this one.

Comes after ``bootstrap``. Every overall metric has one, and every metric of a class that occurs in enough tiles.

The standard error is that of the bootstrap's replicates. Bounds are those of Student's t on the logit scale, where
scores near 0 and 1 are as symmetric as others. Its degrees of freedom are the number of units that carry the variance,
(sum u^2)^2 / (sum u^4) with u the influence of a unit on the score, so that a score which hangs on a few tiles (a rare
class) has a wide interval. ``benchmarks/interval_coverage.py`` compares this form with percentiles, which cover less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import METRICS, Metric, Sums
from .bootstrap import FEWEST_UNITS, Design, Draws, added, parts_of, sums_of
from .student import quantile

LEVEL = 0.95

Bounds = tuple[float, float]

_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Intervals:
    """Intervals of the scores of a split, or of a part of it.

    Attributes:
        values: overall metric -> bounds, fractions; None where there is no interval.
        classes: class -> metric -> bounds; None where too few tiles hold the class.
        units: that were drawn: tiles or blocks.
        unit: ``tile`` or ``block``.
        cells: of the design.
        present: classes that are in the truth or in the prediction.
        replicates, seed: of the draws.
    """

    values: Mapping[str, Bounds | None]
    classes: Mapping[str, Mapping[str, Bounds | None]]
    units: int
    unit: str
    cells: int
    present: int
    replicates: int
    seed: int

    @property
    def too_few(self) -> bool:
        """Whether there are too few units for any interval."""
        return self.units < FEWEST_UNITS

    def to_dict(self) -> dict[str, Any]:
        """For JSON: bounds are lists of two, None where there is no interval."""
        facts = {key: getattr(self, key) for key in ("units", "unit", "cells", "present", "replicates", "seed")}
        return {
            "level": LEVEL,
            **facts,
            "too_few": self.too_few,
            **{key: _listed(bounds) for key, bounds in self.values.items()},
            "classes": {
                name: {key: _listed(bounds) for key, bounds in found.items()} for name, found in self.classes.items()
            },
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Intervals:
        """What ``to_dict`` gave. Raises KeyError, TypeError or ValueError where it is something else."""
        facts = {key: mapping[key] for key in ("units", "unit", "cells", "present", "replicates", "seed")}
        keys = [metric.key for metric in METRICS if not metric.per_class]
        return cls(
            {key: _bounds(mapping[key]) for key in keys if key in mapping},
            {name: {key: _bounds(b) for key, b in found.items()} for name, found in mapping["classes"].items()},
            **facts,
        )


def _listed(bounds: Bounds | None) -> list[float] | None:
    return None if bounds is None else list(bounds)


def _bounds(listed: Any) -> Bounds | None:
    if listed is None:
        return None
    low, high = listed
    return float(low), float(high)


@dataclass(frozen=True)
class Estimate:
    """Sums of a test set, of its replicates, and of the test set without each of its units.

    Attributes:
        sums: of each tile.
        draws: of the design of these tiles.
    """

    sums: Sums
    draws: Draws

    @cached_property
    def total(self) -> Sums:
        return added(self.sums)

    @cached_property
    def replicates(self) -> Sums:
        """One leading axis: replicates."""
        return self.draws.of(self.sums)

    @cached_property
    def units(self) -> Sums:
        """One leading axis: units."""
        return self.draws.design.by_unit(self.sums)

    def units_with_class(self) -> NDArray[np.int64]:
        """(K,) units in whose truth a class occurs."""
        held: NDArray[np.int64] = (self.units.truth > 0).sum(0)
        return held

    def interval(self, metric: Metric) -> Bounds | None:
        """Of an overall metric; None where there is no score, too few units, or nothing that varies."""
        return self.intervals(metric)[0]

    def intervals(self, metric: Metric) -> list[Bounds | None]:
        """Of each class of a class metric; of the one score of an overall metric."""
        design = self.draws.design
        value = np.atleast_1d(self.value(metric))
        if design.units < FEWEST_UNITS:
            return [None] * len(value)
        if metric.per_class:
            value = np.where(self.units_with_class() < FEWEST_UNITS, np.nan, value)
        freedom, error = freedom_of(self.without(metric), design), _deviation(self.replicated(metric))
        return [
            _logit_bounds(float(v), float(e), float(f), metric.largest)
            for v, e, f in zip(value, error, freedom, strict=True)
        ]

    def value(self, metric: Metric) -> NDArray[np.float64]:
        """The score itself: without axes, or (K,) of a class metric."""
        return metric.formula(self.total)

    def replicated(self, metric: Metric) -> NDArray[np.float64]:
        """(replicates, n): the score of each replicate; n is 1, or K of a class metric."""
        return self._shaped(metric, self.replicates)

    def without(self, metric: Metric) -> NDArray[np.float64]:
        """(units, n): the score without each unit, NaN where there is none then."""
        pairs = zip(parts_of(self.total), parts_of(self.units), strict=True)
        without = sums_of([None if whole is None or part is None else whole - part for whole, part in pairs])
        return self._shaped(metric, without)

    @staticmethod
    def _shaped(metric: Metric, sums: Sums) -> NDArray[np.float64]:
        found = metric.formula(sums)
        return found if metric.per_class else found[:, None]


def freedom_of(without: NDArray[np.float64], design: Design) -> NDArray[np.float64]:
    """(n,) degrees of freedom of the variance of n scores: at least 1, at most the design's.

    Args:
        without: (units, n) each score without each unit; its place in its cell's mean is the unit's influence.
    """
    influence = np.array(without)
    for members in design.cells:
        inside = influence[list(members)]
        influence[list(members)] = inside - _mean_of_known(inside)
    influence = np.nan_to_num(influence)
    second, fourth = (influence**2).sum(0), (influence**4).sum(0)
    # Of n equal influences n, of n normal ones n / 3. Satterthwaite's (n of n normal ones) trusts a kurtosis that small
    # samples hide: 89.7 % of intervals of F1 over 30 tiles cover with it, 90.8 % with this.
    found: NDArray[np.float64] = np.clip(second**2 / np.maximum(fourth, _TINY), 1.0, max(design.freedom, 1))
    return found


def _mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(values)
    mean: NDArray[np.float64] = np.where(known, values, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    return mean


def _deviation(replicates: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) standard deviation of the replicates that have a score; NaN of fewer than two."""
    known = np.isfinite(replicates)
    count = known.sum(0)
    squares = np.where(known, (replicates - _mean_of_known(replicates)) ** 2, 0.0).sum(0)
    variance = np.divide(squares, count - 1, out=np.full(len(count), np.nan), where=count > 1)
    deviation: NDArray[np.float64] = np.sqrt(variance)
    return deviation


def _logit_bounds(value: float, error: float, freedom: float, largest: float) -> Bounds | None:
    """A score of exactly 0 or 1, and one that does not vary, tell nothing of how they would vary."""
    share = value / largest
    if not (np.isfinite(value) and error > 0 and 0 < share < 1):
        return None
    middle, half = math.log(share / (1 - share)), quantile(1 - LEVEL, freedom) * error / largest / (share * (1 - share))
    low, high = (largest / (1 + math.exp(min(-edge, 700.0))) for edge in (middle - half, middle + half))
    return low, high


def intervals_of(
    sums: Sums,
    design: Design,
    names: tuple[str, ...],
    draws: Draws | None = None,
    *,
    metrics: Sequence[Metric] = METRICS,
) -> Intervals:
    """Intervals of every metric, or of some.

    Args:
        sums: of each tile.
        design: of the same tiles.
        names: of the classes.
        draws: of that design; made where none are given.
        metrics: that are wanted; those of classes take most of the time.
    """
    draws = Draws(design) if draws is None else draws
    estimate = Estimate(sums, draws)
    values = {m.key: estimate.interval(m) for m in metrics if not m.per_class}
    per_class = {m.key: estimate.intervals(m) for m in metrics if m.per_class}
    classes = {name: {key: bounds[index] for key, bounds in per_class.items()} for index, name in enumerate(names)}
    present = int((estimate.total.truth + estimate.total.predicted > 0).sum())
    unit = "block" if design.of_blocks else "tile"
    return Intervals(values, classes, design.units, unit, len(design.cells), present, draws.replicates, draws.seed)
