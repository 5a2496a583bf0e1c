"""Student's distribution, by the incomplete beta function: the product does not need scipy for two formulas."""

from __future__ import annotations

import math

_SMALL = 1e-300
_STEPS = 400


def two_sided_p(t: float, freedom: float) -> float:
    """Probability of a value at least as far from 0 as ``t``, of Student's distribution with ``freedom`` > 0."""
    if math.isinf(freedom):
        return math.erfc(abs(t) / math.sqrt(2))
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def quantile(two_sided: float, freedom: float) -> float:
    """How far from 0 a share ``two_sided`` (0..1) of Student's distribution lies at least: 2.228 for 0.05 and 10."""
    low, high = 0.0, 1.0
    while two_sided_p(high, freedom) > two_sided:
        low, high = high, 2 * high
    found = high
    for _ in range(_STEPS):
        # Newton's step where it stays between the bounds, halving where it does not.
        excess = two_sided_p(found, freedom) - two_sided
        low, high = (found, high) if excess > 0 else (low, found)
        step = found + excess / (2 * _density(found, freedom))
        before, found = found, step if low < step < high else (low + high) / 2
        if abs(found - before) <= 1e-13 * found:
            break
    return found


def _density(t: float, freedom: float) -> float:
    front = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    return math.exp(front - (freedom + 1) / 2 * math.log1p(t * t / freedom))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised, 0..1. Source: DLMF 8.17.22, evaluated by the method of Lentz; 8.17.4 where that converges faster."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _STEPS):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / _not_zero(1 + numerator * d), _not_zero(1 + numerator / c)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _SMALL else _SMALL
