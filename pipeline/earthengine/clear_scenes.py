"""Clear scenes: which scene of a period shows the marked pixels of a tile best. Pure, sends no request.

For labels of users, which are true for a day or a period, not on the day of one scene. Released labels keep the rules
of ``scene_choice``. The clearest scene is taken, then the nearest in time. Source of the cloud rule: Cloud Score+
``cs_cdf`` of at least 0.60 is clear (its catalogue page); classes 3, 8, 9 and 10 of the scene classification are cloud
or its shadow (Sen2Cor).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..spec.periods import Period
from ..spec.tiles import RESOLUTION_M, Tile
from .scene_choice import Candidate, covering_scenes, found_in

CLOUDY_PERCENT = "CLOUDY_PIXEL_PERCENTAGE"
"""Property of a Sentinel-2 scene: cloud over all of it, 0..100."""

CLOUD_STEP_M = 20.0
"""Pixels in which cloud is looked for: those of the scene classification."""

CLOUD_SCORE_FILL = 255
"""Cloud score, in per cent, where there is none."""

CLEAR_SCORE_PERCENT = 60
HIDDEN_CLASSES = (0, 1, 3, 8, 9, 10)
"""Scene classes in which the ground is not seen: no data, defective, shadow, cloud of two kinds, cirrus."""

GROWN_PX = 3
"""Pixels of 20 m by which cloud and shadow are grown: their edges are thin, and masks end too early."""

CLEAR_ENOUGH = 0.01
"""Share of marked pixels under cloud up to which a scene counts as clear, so that the search ends."""

MOST_HIDDEN = 0.8
"""Share of marked pixels under cloud from which on a scene does not show a label."""

AT_A_TIME = 8
MOST_LOOKED_AT = 48
"""Days that are looked at for one tile, those that promise most first."""


@dataclass(frozen=True)
class ClearDay:
    """The scenes of one day that cover a tile.

    Attributes:
        indices: ``system:index``, the one on top first.
        cloudy: cloud over the whole of the top scene, 0..100; 100 where the service does not say.
    """

    day: date
    indices: tuple[str, ...]
    cloudy: float


@dataclass(frozen=True, eq=False)
class ClearScene:
    """The scene that was chosen for a label.

    Attributes:
        index: ``system:index`` of the scene.
        day: of sensing.
        hidden: bool (H, W) on the tile's grid, where cloud or its shadow hides the ground.
        hidden_share: share of the marked pixels (0..1) that are hidden.
        rule: ``cloud-score`` or ``scene-classes``.
    """

    index: str
    day: date
    hidden: NDArray[np.bool_]
    hidden_share: float
    rule: str


def days_of(tile: Tile, period: Period, answer: Mapping[str, Any]) -> list[ClearDay]:
    """Days whose scenes cover a tile, those that promise most first: little cloud, then near in time.

    Args:
        answer: of ``graphs.period_search``.

    Raises:
        ValueError: it is no such answer.
    """
    found = found_in(answer)
    percents = answer.get(CLOUDY_PERCENT) or []
    known = len(percents) == len(found.s2)
    cloudy = {c.index: float(percents[i]) if known else 100.0 for i, c in enumerate(found.s2)}
    by_day: dict[date, list[Candidate]] = defaultdict(list)
    for candidate in found.s2:
        if candidate.day is not None:
            by_day[candidate.day].append(candidate)
    days = []
    for day, candidates in by_day.items():
        covering = covering_scenes(tile, candidates)
        if covering is not None:
            scene, neighbours = covering
            days.append(ClearDay(day, (scene.index, *(n.index for n in neighbours)), cloudy[scene.index]))
    return sorted(days, key=lambda one: (one.cloudy // 10, *_distance(one.day, period), one.indices))


def _distance(day: date, period: Period) -> tuple[int, int]:
    """Days outside the period, then from its middle."""
    return period.days_away(day), abs((day - period.middle).days)


def cloud_shape(tile: Tile, step_m: float = CLOUD_STEP_M) -> tuple[int, int]:
    """(rows, columns) of a tile in pixels of ``step_m``; the last ones may reach beyond it."""
    height, width = (math.ceil(side * RESOLUTION_M / step_m) for side in tile.shape)
    return height, width


def marked_cells(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool (rows, columns) of 20 m: cells with a marked pixel; ``marked`` is bool (H, W) of 10 m."""
    height, width = marked.shape
    padded = np.pad(marked, ((0, height % 2), (0, width % 2)))
    return np.any(padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2), axis=(1, 3))  # type: ignore[no-any-return]  # numpy's stubs lose the shape


def hidden_cells(values: NDArray[np.uint8], *, cloud_score: bool) -> NDArray[np.bool_]:
    """Where cloud or shadow hides the ground.

    Args:
        values: uint8 (rows, columns), a band of the answer to ``graphs.cloud_request``.

    Returns:
        bool (rows, columns).
    """
    if cloud_score:
        # Scores of single pixels are smooth already; where there is none nothing is known.
        hidden: NDArray[np.bool_] = (values < CLEAR_SCORE_PERCENT) | (values == CLOUD_SCORE_FILL)
        return hidden
    return grown(np.isin(values, HIDDEN_CLASSES), GROWN_PX)


def grown(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """A mask grown by so many pixels to all sides, corners cut: a disc, nearly."""
    rows, columns = mask.shape
    total = np.zeros_like(mask)
    for row in range(-steps, steps + 1):
        for column in range(-steps, steps + 1):
            if row * row + column * column <= steps * steps + 1:
                into = (slice(max(0, row), rows + min(0, row)), slice(max(0, column), columns + min(0, column)))
                out_of = (slice(max(0, -row), rows + min(0, -row)), slice(max(0, -column), columns + min(0, -column)))
                total[into] |= mask[out_of]
    return total


def best_of(
    days: Sequence[ClearDay], hidden: Sequence[NDArray[np.bool_]], cells: NDArray[np.bool_], period: Period
) -> tuple[int, float]:
    """Position of the clearest day, then the nearest in time, and the share of marked cells hidden on it.

    Shares within one per cent of each other are the same clearness.
    """
    shares = [float(one[cells].mean()) if cells.any() else 0.0 for one in hidden]
    order = sorted(range(len(days)), key=lambda i: (int(shares[i] * 100), *_distance(days[i].day, period), i))
    return order[0], shares[order[0]]


def on_tile(hidden: NDArray[np.bool_], tile: Tile) -> NDArray[np.bool_]:
    """Cells of 20 m as bool (H, W) on the tile's grid."""
    assert hidden.shape == cloud_shape(tile), (hidden.shape, tile.shape)
    height, width = tile.shape
    return hidden.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
