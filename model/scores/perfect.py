"""What calibration error a perfectly calibrated network would show on the tiles of a test set.

ECE is a sum of distances, which are never below 0: however well a network is calibrated, a limited test set shows some.
Comes after ``bootstrap``. Right pixels less confidences, bin by bin and tile by tile, are shifted so that each bin has
none on the whole, as of a calibrated network; tiles drawn again then show what is left. Pixels of a tile stay together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..metrics import MILLION, Sums, calibration_error
from .bootstrap import FEWEST_UNITS, Design, Draws


@dataclass(frozen=True)
class PerfectEce:
    """ECE of a perfectly calibrated network of the same confidences on the same tiles, 0..1.

    Attributes:
        mean: over replicates.
        high: that 95 of 100 replicates do not exceed.
    """

    mean: float
    high: float

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> PerfectEce:
        """Raises KeyError, TypeError or ValueError where it is something else."""
        return cls(float(mapping["mean"]), float(mapping["high"]))


def perfect_ece(sums: Sums, design: Design) -> PerfectEce | None:
    """Of the sums of each tile; None below ten tiles or blocks, or where calibration was not counted."""
    if sums.bins is None or design.units < FEWEST_UNITS or not sums.bins.any():
        return None
    pixels, right, confidence = (sums.bins[:, row].astype(np.float64) for row in range(3))
    excess = right - confidence / MILLION
    total = pixels.sum(0)
    shift = np.divide(excess.sum(0), total, out=np.zeros_like(total), where=total > 0)
    centred = np.stack([pixels, excess - pixels * shift, np.zeros_like(pixels)], axis=1)
    nothing = np.zeros((len(pixels), 1))
    found = calibration_error(Draws(design).of(Sums(nothing, nothing, nothing, centred)))
    found = found[np.isfinite(found)]
    return PerfectEce(float(found.mean()), float(np.quantile(found, 0.95))) if len(found) else None
