"""What a user has to be told about an estimate: classes with few omission points, strata without an error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...pipeline.spec.words import count_of
from .estimators import Estimates, Sample

FEW_OMISSIONS = 5
"""Omission points below which an interval is too short: the few there are carry large weights, and many are missed."""

UNSURE_OMISSIONS = 10
"""Omission points from which one can trust that 5 are expected: a Poisson variable of mean 5 is below 10 in 96.8 % of
samples, so that a class that really has fewer than 5 is warned of in at least 95 %.

Both count full points: ten points of a buffer of 5 km2 say little of a class that is also missed in 500 km2 of forest,
where one point, met or not, stands for as much as all of them.
"""


def cautions(sample: Sample, estimates: Estimates, classes: Sequence[str], strata: Sequence[str]) -> list[str]:
    """Warnings about the estimates of a map, one line each."""
    return [*class_cautions(estimates, classes), *strata_cautions(sample, strata)]


def class_cautions(estimates: Estimates, classes: Sequence[str], where: str = "") -> list[str]:
    """Classes that rest on too few omission points.

    Args:
        where: what the estimates are of, such as ``"district North: "``.
    """
    lines = []
    for name, one in zip(classes, estimates.classes, strict=True):
        if one.full_omissions >= UNSURE_OMISSIONS:
            continue
        points = count_of(one.omission_points, "omission point")
        if one.omission_points > one.full_omissions + 1:
            points += f", worth {one.full_omissions:.1f} of the stratum with the largest weight"
        if one.full_omissions < FEW_OMISSIONS:
            lines.append(
                f"{where}{name} rests on {points}, fewer than {FEW_OMISSIONS}: area and producer's accuracy are "
                "uncertain beyond their intervals"
            )
        else:
            lines.append(f"{where}{name} rests on {points}: its intervals may be too short")
    return lines


def strata_cautions(sample: Sample, strata: Sequence[str]) -> list[str]:
    """Strata in which the sample met no error, or one class alone: they add nothing to a standard error."""
    lines = []
    for index, name in enumerate(strata):
        here = sample.stratum == index
        answers = np.unique(sample.reference[here])
        points = count_of(int(here.sum()), "point")
        if len(answers) == 0:
            continue
        if (sample.mapped[here] == sample.reference[here]).all():
            lines.append(f"stratum {name} has no error in {points}: standard errors are too small")
        elif len(answers) == 1:
            lines.append(f"stratum {name} has one answer at all {points}: it adds nothing to standard errors of areas")
    return lines
