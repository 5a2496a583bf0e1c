"""Differences between two sides on the same tiles, resampling tiles and seeds.

Comes after ``intervals``. A side is one run, or the runs of several seeds of one method. Tiles are drawn together for
both sides, since a tile that is hard is hard for all; seeds are drawn for each side apart. A replicate draws both: the
tiles of every cell and the seeds of every side, n - 1 of n, as in ``bootstrap``.

With fewer than three seeds on a side nothing is known of how seeds vary: the difference then is that of these weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..metrics import Metric, Sums
from .bootstrap import FEWEST_UNITS, Draws
from .intervals import LEVEL, Bounds, Estimate, freedom_of
from .student import quantile, two_sided_p

FEWEST_SEEDS = 3
"""Runs a side from which on a difference is one of methods."""

_TINY = 1e-300
_SEEDS_STREAM = 1_000_003
"""Tells draws of seeds from draws of tiles, whose cells count from 0."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        name: of the run, or common name of the runs of several seeds.
        runs: an estimate for each run, all with the same draws.
        fixed: it is one map, of which there are no seeds.
    """

    name: str
    runs: tuple[Estimate, ...]
    fixed: bool = False

    @classmethod
    def of(cls, name: str, sums: Sequence[Sums], draws: Draws, *, fixed: bool = False) -> Side:
        """Of the sums of each tile, run by run."""
        return cls(name, tuple(Estimate(one, draws) for one in sums), fixed)

    def values(self, metric: Metric) -> NDArray[np.float64]:
        """(runs,) the score of each run."""
        return np.array([float(run.value(metric)) for run in self.runs])

    def replicates(self, metric: Metric) -> NDArray[np.float64]:
        """(runs, replicates), tiles drawn again."""
        return np.array([run.replicated(metric)[:, 0] for run in self.runs])

    def without(self, metric: Metric) -> NDArray[np.float64]:
        """(units,) the mean score without each unit."""
        found: NDArray[np.float64] = np.mean([run.without(metric)[:, 0] for run in self.runs], axis=0)
        return found

    def seed_weights(self, stream: int, draws: Draws) -> NDArray[np.float64]:
        """(replicates, runs) weights of the seeds in each replicate, which add up to 1."""
        if self.fixed:
            return np.ones((draws.replicates, 1))
        rng = np.random.Generator(np.random.PCG64([draws.seed, _SEEDS_STREAM, stream]))
        count = len(self.runs)
        drawn = rng.integers(0, count, size=(draws.replicates, count - 1))
        weights: NDArray[np.float64] = (drawn[:, :, None] == np.arange(count)).sum(1) / (count - 1)
        return weights


@dataclass(frozen=True)
class Difference:
    """What one side has more than the other in one metric.

    Attributes:
        metric: its key.
        points: score of the first side less that of the second, -1..1.
        bounds: 95 % interval; None where there are too few tiles, or nothing varies.
        p: of no difference; 1 where nothing varies, NaN where there are too few tiles.
    """

    metric: str
    points: float
    bounds: Bounds | None
    p: float


@dataclass(frozen=True)
class Comparison:
    """Two sides, or one against nothing: then the difference is its mean score."""

    first: Side
    second: Side | None
    draws: Draws

    @property
    def sides(self) -> tuple[tuple[int, Side], ...]:
        """Each side with its sign."""
        return ((1, self.first),) if self.second is None else ((1, self.first), (-1, self.second))

    @property
    def of_methods(self) -> bool:
        """Whether it says something of the methods, or of these weights alone; a map is itself."""
        return all(side.fixed or len(side.runs) >= FEWEST_SEEDS for _, side in self.sides)

    @property
    def too_few(self) -> bool:
        """Whether there are too few tiles (or blocks) for an interval."""
        return self.draws.design.units < FEWEST_UNITS

    @cached_property
    def _seed_weights(self) -> tuple[NDArray[np.float64], ...]:
        return tuple(side.seed_weights(number, self.draws) for number, (_, side) in enumerate(self.sides))

    def difference(self, metric: Metric) -> Difference:
        """In one overall metric."""
        points = sum(sign * float(side.values(metric).mean()) for sign, side in self.sides)
        if self.too_few or not math.isfinite(points):
            return Difference(metric.key, points, None, float("nan"))
        error, freedom = self._error(metric)
        if not error > 0:
            return Difference(metric.key, points, None, 1.0)
        half = quantile(1 - LEVEL, freedom) * error
        return Difference(metric.key, points, (points - half, points + half), two_sided_p(points / error, freedom))

    def _error(self, metric: Metric) -> tuple[float, float]:
        """Standard error of the difference, and its degrees of freedom (Satterthwaite, of tiles and of seeds)."""
        replicates = [sign * side.replicates(metric) for sign, side in self.sides]
        without = np.sum([sign * side.without(metric) for sign, side in self.sides], axis=0)[:, None]
        by_tiles = float(np.nanvar(np.sum([one.mean(0) for one in replicates], axis=0), ddof=1))
        parts = [(by_tiles, float(freedom_of(without, self.draws.design)[0]))]
        if not self.of_methods:
            return math.sqrt(by_tiles), parts[0][1]
        for _, side in self.sides:
            if side.fixed:
                continue
            parts.append((float(side.values(metric).var(ddof=1)) / len(side.runs), len(side.runs) - 1.0))
        pairs = zip(replicates, self._seed_weights, strict=True)
        crossed = np.sum([(weights * one.T).sum(1) for one, weights in pairs], axis=0)
        total = sum(variance for variance, _ in parts)
        freedom = total**2 / max(sum(variance**2 / f for variance, f in parts), _TINY)
        return float(np.nanstd(crossed, ddof=1)), max(freedom, 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values after Holm's correction for as many tests, in the order given; NaN are no tests and stay.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6.
    """
    tests = [place for place, p in enumerate(p_values) if not math.isnan(p)]
    adjusted, largest = list(p_values), 0.0
    for rank, place in enumerate(sorted(tests, key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(tests) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
