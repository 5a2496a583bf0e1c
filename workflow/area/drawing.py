"""Pixels of each stratum, drawn at random without replacement, while the map is read once from top to bottom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .class_map import Rows


@dataclass(frozen=True)
class Drawn:
    """One pixel.

    Attributes:
        stratum: index of its stratum.
        code: of its class on the map.
        hectares: its area.
    """

    row: int
    column: int
    stratum: int
    code: int
    hectares: float


def choose(pixels: Sequence[int], points: Sequence[int], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Which pixels of each stratum are drawn, by their number in reading order, ascending.

    Args:
        pixels, points: of each stratum; every pixel of a stratum is drawn with probability points / pixels.
    """
    return [np.sort(rng.choice(n, k, replace=False)).astype(np.int64) for n, k in zip(pixels, points, strict=True)]


def find(rows: Iterable[Rows], chosen: Sequence[NDArray[np.int64]]) -> list[Drawn]:
    """The chosen pixels, where they are."""
    seen = [0] * len(chosen)
    found: list[Drawn] = []
    for part in rows:
        flat = part.strata.ravel()
        width = part.strata.shape[1]
        for stratum, numbers in enumerate(chosen):
            here = np.flatnonzero(flat == stratum)
            first, last = np.searchsorted(numbers, (seen[stratum], seen[stratum] + len(here)))
            for place in here[numbers[first:last] - seen[stratum]]:
                row, column = divmod(int(place), width)
                code, hectares = int(part.codes[row, column]), float(part.hectares[row, column])
                found.append(Drawn(part.first + row, column, stratum, code, hectares))
            seen[stratum] += len(here)
    return found
