"""Radar: how the Sentinel-1 values of a data set were made, as far as two data sets can differ in it.

A network that was trained on means of a year of sigma0 sees another picture in one acquisition of gamma0: less speckle,
other levels on slopes. What differs is named before a run is scored on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .recipe import OrbitPass, Recipe

Calibration = Literal["sigma0", "gamma0"]
RadarMean = Literal["none", "dB", "linear"]


@dataclass(frozen=True)
class Radar:
    """How VV and VH of a data set were made.

    Attributes:
        calibration: ``sigma0`` (ground range detected, on the ellipsoid) or ``gamma0`` (radiometrically terrain-
            corrected).
        mean: ``none`` for one acquisition; otherwise whether values in dB or of power were averaged.
        scenes: how many acquisitions enter a mean, most; None = all of a window; 1 where ``mean`` is ``none``.
        passes: orbit directions that occur.
    """

    calibration: Calibration
    mean: RadarMean
    scenes: int | None
    passes: tuple[OrbitPass, ...]

    def __str__(self) -> str:
        """``gamma0, one date, ascending pass``; ``sigma0, mean of all scenes in dB, both passes``."""
        number = "all scenes" if self.scenes is None else f"{self.scenes} scenes"
        made = "one date" if self.mean == "none" else f"mean of {number} in {self.mean}"
        passes = "both passes" if len(self.passes) == 2 else f"{self.passes[0].casefold()} pass"
        return f"{self.calibration}, {made}, {passes}"


def radar_of(recipe: Recipe) -> Radar:
    """How a recipe of Earth Engine makes Sentinel-1: a mean of sigma0 over its window."""
    return Radar("sigma0", recipe.s1_mean, recipe.s1_max_scenes, tuple(sorted(recipe.s1_passes)))


def radar_differences(trained: tuple[Radar, ...], found: tuple[Radar, ...]) -> tuple[str, ...]:
    """What of a data set's Sentinel-1 the training data did not hold, one line each; empty where nothing is new.

    Args:
        trained: of the training data; empty = not recorded (a run of an earlier version), which is passed over.
        found: of the data set that is looked at; empty = it has none, or nobody reads it.
    """
    if not trained:
        return ()
    known = "; ".join(map(str, trained))
    return tuple(f"{radar} instead of {known}" for radar in found if radar not in trained)
