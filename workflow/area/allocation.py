"""How many points a sample needs, and how many of them fall to each stratum. Needs numpy alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...pipeline.errors import UsageError


def sample_size(
    shares: Sequence[float], accuracies: Sequence[float], standard_error: float, pixels: int | None = None
) -> int:
    """Points that give the overall accuracy a wanted standard error.

    Args:
        shares: of the strata in the area; sum 1.
        accuracies: expected share of each stratum that the map has right, 0..1.
        standard_error: wanted, of the overall accuracy.
        pixels: of the map, for the correction for finite populations; None = endless.

    Source: Olofsson et al. 2014, equation 13 (Cochran 1977, 5.25).
    """
    spread = [share * math.sqrt(u * (1 - u)) for share, u in zip(shares, accuracies, strict=True)]
    within = sum(share * u * (1 - u) for share, u in zip(shares, accuracies, strict=True))
    finite = within / pixels if pixels else 0.0
    # Less a hair, so that rounding of floats never adds a point.
    return max(1, math.ceil(sum(spread) ** 2 / (standard_error**2 + finite) - 1e-9))


def allocate(total: int, areas: Sequence[float], pixels: Sequence[int], minimum: int) -> tuple[int, ...]:
    """Points of each stratum: at least the minimum, the rest in proportion to area.

    Strata whose proportional part is below the minimum get the minimum; what is left is shared by the others. No
    stratum gets more points than it has pixels. The minimum comes first where ``total`` does not reach.

    Args:
        areas: of the strata, all above 0.
        pixels: of the strata.

    Raises:
        UsageError: the minimum is below 2, which gives no standard error.
    """
    if minimum < 2:
        raise UsageError(f"a minimum of {minimum} per stratum gives no standard error; use at least 2")
    least = [min(minimum, count) for count in pixels]
    given: dict[int, int] = {}
    while True:
        open_ = [n for n in range(len(areas)) if n not in given]
        parts = _proportional(max(0, total - sum(given.values())), [areas[n] for n in open_])
        fixed = {n: least[n] for n, part in zip(open_, parts, strict=True) if part < least[n]}
        # The small ones first: only what they leave shows who is too small for its part.
        fixed = fixed or {n: pixels[n] for n, part in zip(open_, parts, strict=True) if part > pixels[n]}
        if not fixed:
            given |= dict(zip(open_, parts, strict=True))
            return tuple(given[n] for n in range(len(areas)))
        given |= fixed


def _proportional(total: int, areas: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to areas that add up to the total: the largest remainders are rounded up."""
    if not areas:
        return []
    exact = np.asarray(areas, dtype=np.float64) / sum(areas) * total
    whole = np.floor(exact).astype(int)
    for n in np.argsort(whole - exact, kind="stable")[: total - int(whole.sum())]:
        whole[n] += 1
    return [int(part) for part in whole]
