"""Areas and accuracies of a stratified random sample, with standard errors and 95 % intervals.

Everything is a total or a ratio of two totals, each a sum over strata: one estimator (Stehman 2014), for strata that
need not be the classes of the map. Where they are, it gives the figures of Olofsson et al. 2014. Pixels need not be of
one size: within a stratum, each counts with its area.

Comes after ``design``, which says what was drawn, and before ``estimate``. Needs numpy alone.

Sources: Stehman 2014 (Int. J. Remote Sensing 35:4923), equations 25-28; Olofsson et al. 2014 (Remote Sensing of
Environment 148:42), equations 5-11; Cochran 1977, chapters 5 and 6 (ratios, finite populations); Clopper and Pearson
1934 (Biometrika 26:404), for points that all agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054
"""Normal quantile of a two-sided 95 % interval."""

_TAIL = 0.025
"""Probability below, and above, a two-sided 95 % interval."""

UNDECIDED = -1
"""Reference class of a point that the interpreter looked at and could not decide."""

Values = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard error; both NaN where there is nothing to estimate it from.

    Attributes:
        most: the largest value that the figure can have; intervals end there, and at 0.
        agreeing: full points that all say the same, so that the standard error is 0 and says nothing; 0 = they differ.
            The interval is then that of Clopper and Pearson for 0 of so many.
    """

    value: float
    standard_error: float
    most: float = math.inf
    agreeing: float = 0.0

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        if self.agreeing and self.value > 0:
            return float(self.value * _TAIL ** (1 / self.agreeing))
        return float(np.maximum(0.0, self.value - Z_95 * self.standard_error))  # numpy's keeps NaN

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        if self.agreeing and self.value == 0:
            return float(self.most * (1 - _TAIL ** (1 / self.agreeing)))
        return float(np.minimum(self.most, self.value + Z_95 * self.standard_error))


@dataclass(frozen=True)
class Sample:
    """Answers of a stratified random sample, and the strata that they were drawn from.

    Attributes:
        areas: float64 (strata), area of each stratum; its unit is that of all areas that are estimated.
        pixels: int64 (strata), pixels of each stratum, for the correction for finite populations; None = endless.
        stratum: int64 (n), index of the stratum of each point.
        mapped: int64 (n), class index of the map.
        reference: int64 (n), class index of the answer, or ``UNDECIDED``.
        size: float64 (n), area of each point's pixel, in any unit.
        classes: number of classes.
    """

    areas: Values
    pixels: Indices | None
    stratum: Indices
    mapped: Indices
    reference: Indices
    size: Values
    classes: int

    def __len__(self) -> int:
        return len(self.stratum)

    @property
    def area(self) -> float:
        return float(self.areas.sum())

    @property
    def counts(self) -> Indices:
        """Int64 (strata), points of each stratum."""
        return np.bincount(self.stratum, minlength=len(self.areas)).astype(np.int64)

    def where(self, chosen: NDArray[np.bool_]) -> Sample:
        """The sample without the points that are not chosen, as if they had never been drawn."""
        return replace(
            self,
            stratum=self.stratum[chosen],
            mapped=self.mapped[chosen],
            reference=self.reference[chosen],
            size=self.size[chosen],
        )

    def answered(self, reference: Indices) -> Sample:
        """The same points with other answers."""
        return replace(self, reference=reference)


@dataclass(frozen=True)
class ClassEstimate:
    """What a sample says of one class.

    Attributes:
        area: in the unit of the strata's areas.
        users, producers: accuracies, 0..1.
        mapped_points, reference_points: points that the map, and the interpreter, call this class.
        omission_points: points of this class that the map calls another.
        full_omissions: the area that these stand for, in points of the stratum whose points stand for most: what they
            are worth where some come from small strata. At most ``omission_points``.
    """

    area: Estimate
    users: Estimate
    producers: Estimate
    mapped_points: int
    reference_points: int
    omission_points: int
    full_omissions: float


@dataclass(frozen=True)
class Estimates:
    """What a sample says of a map, or of a part of it."""

    classes: tuple[ClassEstimate, ...]
    overall: Estimate
    points: int


def estimate(sample: Sample, inside: NDArray[np.bool_] | None = None, inside_area: float | None = None) -> Estimates:
    """Areas and accuracies of all classes.

    Args:
        sample: without undecided points.
        inside: bool (n), points of a part of the map; the others still say how much of the map the part is.
        inside_area: known area of that part, in the unit of the strata's areas. The shares of classes are estimated
            as a ratio to the estimated area, then multiplied by the known one.
    """
    part = np.ones(len(sample), dtype=bool) if inside is None else inside
    area = sample.area if inside_area is None else inside_area
    right = sample.mapped == sample.reference
    return Estimates(
        classes=tuple(_class(sample, index, part, area) for index in range(sample.classes)),
        overall=ratio(sample, part & right, part),
        points=int(part.sum()),
    )


def _class(sample: Sample, index: int, part: NDArray[np.bool_], area: float) -> ClassEstimate:
    mapped, reference = part & (sample.mapped == index), part & (sample.reference == index)
    share = ratio(sample, reference, part)
    return ClassEstimate(
        area=Estimate(share.value * area, share.standard_error * area, area, share.agreeing),
        users=ratio(sample, mapped & reference, mapped),
        producers=ratio(sample, mapped & reference, reference),
        mapped_points=int(mapped.sum()),
        reference_points=int(reference.sum()),
        omission_points=int((reference & ~mapped).sum()),
        full_omissions=_full_omissions(sample, index, reference & ~mapped),
    )


def _full_omissions(sample: Sample, index: int, omitted: NDArray[np.bool_]) -> float:
    weights = sample.areas / np.maximum(sample.counts, 1)
    others = weights[np.unique(sample.stratum[sample.mapped != index])]
    return float(weights[sample.stratum[omitted]].sum() / others.max()) if len(others) else 0.0


def ratio(sample: Sample, numerator: NDArray[np.bool_], denominator: NDArray[np.bool_]) -> Estimate:
    """The area where one thing is true, as a share of the area where another is.

    Value: sum over strata of area x share of the points, above and below. Standard error by linearisation, of the
    residuals y - R x. With all points in the denominator it is a share of the map, where the denominator is known.

    Args:
        numerator, denominator: bool (n); the numerator is true only where the denominator is.
    """
    y, x = numerator.astype(np.float64), denominator.astype(np.float64)
    whole = float(sample.areas @ _means(sample, x))
    if not whole > 0:
        return Estimate(math.nan, math.nan, most=1.0)
    value = float(sample.areas @ _means(sample, y)) / whole
    agree = not y.any() or (y == x).all()
    error = math.sqrt(_variance(sample, y - value * x)) / whole
    return Estimate(round(value) if agree else value, error, 1.0, _agreeing(sample, denominator) if agree else 0.0)


def _agreeing(sample: Sample, chosen: NDArray[np.bool_]) -> float:
    """Points at the largest weight among them; 0 where nothing of their strata was left out of the sample."""
    counts = sample.counts
    unseen = np.ones(len(counts), dtype=bool) if sample.pixels is None else counts < sample.pixels
    weights = (sample.areas * unseen / np.maximum(counts, 1))[sample.stratum[chosen]]
    return float(weights.sum() / weights.max()) if weights.any() else 0.0


def _means(sample: Sample, values: Values) -> Values:
    """Float64 (strata): mean of a value per unit of area; 0 where a stratum has no point."""
    sizes = np.bincount(sample.stratum, sample.size, len(sample.areas))
    sums = np.bincount(sample.stratum, sample.size * values, len(sample.areas))
    return np.divide(sums, sizes, out=np.zeros_like(sums), where=sizes > 0)


def _variance(sample: Sample, values: Values) -> float:
    """Variance of a total: the sum over strata of area^2 (1 - n / N) s^2 / n.

    NaN where a stratum has one point only, which says nothing of its spread; a stratum whose pixels were all drawn
    adds nothing.
    """
    counts = sample.counts
    sizes = np.bincount(sample.stratum, sample.size, len(sample.areas)) / np.maximum(counts, 1)
    # Pixels of several sizes: the residual of the ratio "per unit of area" within the stratum.
    residuals = sample.size / sizes[sample.stratum] * (values - _means(sample, values)[sample.stratum])
    squares = np.bincount(sample.stratum, residuals**2, len(sample.areas))
    unseen = np.ones(len(counts)) if sample.pixels is None else 1 - counts / np.maximum(sample.pixels, 1)
    open_ = (unseen > 0) & (sample.areas > 0)
    if (counts[open_] < 2).any():
        return math.nan
    n = counts[open_].astype(np.float64)
    return float(np.sum(sample.areas[open_] ** 2 * unseen[open_] * squares[open_] / (n - 1) / n))


# --- points that nobody could decide ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bounds:
    """The lowest and the highest value that a figure can have, sampling error included.

    Attributes:
        low: lower end of the 95 % interval where every undecided point speaks against the figure.
        high: upper end of that where every one speaks for it.
    """

    low: float
    high: float


def area_bounds(sample: Sample, index: int) -> Bounds:
    """Bounds of a class's area: no undecided point is of this class, or all are."""
    whole = np.ones(len(sample), dtype=bool)
    least, most = (ratio(sample, _referred(sample, index, answer), whole) for answer in (False, True))
    return Bounds(least.low * sample.area, most.high * sample.area)


def users_bounds(sample: Sample, index: int) -> Bounds:
    """Bounds of a class's user's accuracy: the map is wrong, or right, at all undecided points."""
    mapped = sample.mapped == index
    least, most = (ratio(sample, mapped & _referred(sample, index, answer), mapped) for answer in (False, True))
    return Bounds(least.low, most.high)


def producers_bounds(sample: Sample, index: int) -> Bounds:
    """Bounds of a class's producer's accuracy.

    Lowest where undecided points are of this class exactly where the map says another; highest the other way.
    """
    mapped, undecided = sample.mapped == index, sample.reference == UNDECIDED
    known = sample.reference == index
    worst, best = known | (undecided & ~mapped), known | (undecided & mapped)
    least, most = (ratio(sample, mapped & reference, reference) for reference in (worst, best))
    return Bounds(least.low, most.high)


def overall_bounds(sample: Sample) -> Bounds:
    """Bounds of the overall accuracy: the map is wrong, or right, at all undecided points."""
    whole = np.ones(len(sample), dtype=bool)
    right = sample.mapped == sample.reference
    least = ratio(sample, right, whole)
    most = ratio(sample, right | (sample.reference == UNDECIDED), whole)
    return Bounds(least.low, most.high)


def _referred(sample: Sample, index: int, undecided: bool) -> NDArray[np.bool_]:
    return np.isin(sample.reference, (index, UNDECIDED) if undecided else (index,))


def from_matrix(counts: Sequence[Sequence[int]], areas: Sequence[float]) -> Sample:
    """The sample of an error matrix whose rows are strata and classes of the map at once, as tables print it.

    Args:
        counts: (classes, classes), rows the map, columns the reference.
        areas: of the classes as mapped.
    """
    table = np.asarray(counts, dtype=np.int64)
    mapped, reference = (np.repeat(axis.ravel(), table.ravel()) for axis in np.indices(table.shape))
    return Sample(
        areas=np.asarray(areas, dtype=np.float64),
        pixels=None,
        stratum=mapped,
        mapped=mapped,
        reference=reference,
        size=np.ones(len(mapped)),
        classes=len(table),
    )
