"""Land cover as people and models see it: the truth with smoothed borders, mistakes and gaps.

Agreement follows Brown et al. 2022 (Sci Data 9:251): non-experts agree with the experts' consensus on 78 % of the
pixels, the Dynamic World model on 74 %. Mistakes come in patches: a whole stand of shrub is taken for grass, not one
pixel of it. What an expert gets wrong, all annotators get wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...pipeline.spec.classes import CODE_UNMARKED, DYNAMIC_WORLD
from . import noise

Annotator = Literal["expert", "non_expert", "consensus"]

Octaves = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class _Hand:
    """How an annotator draws.

    Attributes:
        brush_px: radius of the majority filter: smaller things are lost.
        mistaken: share of the pixels in patches of mistakes of their own.
        unmarked: (least, most) share of pixels in patches left unmarked.
        border: share of the surroundings that must be of one class for a pixel to be marked.
        abandoned: share of tiles that were left almost empty.
    """

    brush_px: int
    mistaken: float
    unmarked: tuple[float, float]
    border: float
    abandoned: float


_HANDS: dict[Annotator, _Hand] = {
    "expert": _Hand(2, 0.06, (0.04, 0.24), 0.55, 0.03),
    "non_expert": _Hand(3, 0.21, (0.03, 0.22), 0.50, 0.04),
    "consensus": _Hand(2, 0.03, (0.08, 0.32), 0.62, 0.0),
}

_DIFFICULT = 0.03  # share of the pixels that all annotators get wrong
_MARK_CLOUDS = 0.7  # share of the tiles whose clouds are marked as such
_CLOUD_RIM_PX = 2

# What each class is mistaken for: most often the first (Brown et al. 2022, tables 7-9).
_CONFUSED = np.array(
    [
        [3, 7],  # water: flooded vegetation, bare
        [5, 3],  # trees: shrub, flooded vegetation
        [5, 4],  # grass: shrub, crops
        [2, 1],  # flooded vegetation: grass, trees
        [2, 7],  # crops: grass, bare
        [2, 1],  # shrub: grass, trees
        [7, 2],  # built: bare, grass
        [5, 2],  # bare: shrub, grass
        [7, 0],  # snow: bare, water
    ],
    np.uint8,
)

_PATCHES: Octaves = ((50, 1.0), (15, 0.7), (5, 0.4))
_SPECKS: Octaves = ((50, 1.0), (15, 0.7), (5, 0.5), (2, 0.2))
"""Mistakes of map products: a network decides pixel by pixel, so that many are specks."""

_GAPS: Octaves = ((60, 1.0), (18, 0.6), (6, 0.3))


def annotated(cover: NDArray[np.uint8], labeler: Annotator, key: int) -> NDArray[np.uint8]:
    """Released codes as an annotator marks a tile.

    Args:
        cover: class index 0..8 (H, W), the truth.
        key: of the tile; the same tile and labeler give the same markup.

    Returns:
        uint8 (H, W), 0 unmarked, 1..9 classes.
    """
    hand = _HANDS[labeler]
    own = noise.key(key, labeler)
    drawn, agreement = _majority(cover, hand.brush_px)
    # Difficult places are the same for all labelers; each labeler adds patches of their own.
    shared = _field(noise.key(key, "difficult"), _PATCHES, cover.shape)
    personal = _field(noise.key(own, "mistakes"), _PATCHES, cover.shape)
    drawn = _confused(drawn, shared > _upper(_DIFFICULT), _field(noise.key(key, "which"), _PATCHES, cover.shape))
    drawn = _confused(drawn, personal > _upper(hand.mistaken), _field(noise.key(own, "which"), _PATCHES, cover.shape))
    codes = (drawn + np.uint8(1)).astype(np.uint8)
    gaps = _field(noise.key(own, "gaps"), _GAPS, cover.shape)
    least, most = hand.unmarked
    share = least + (most - least) * noise.unit(own, "unmarked")
    if noise.unit(own, "abandoned") < hand.abandoned:
        share = 0.80 + 0.12 * noise.unit(own, "left")
    codes[(gaps > _upper(share)) | (agreement < np.float32(hand.border))] = CODE_UNMARKED
    return codes


@dataclass(frozen=True)
class View:
    """Land cover as a mapmaker shows it.

    Attributes:
        cover: class index 0..8 (H, W).
        other: the class that came second, uint8 (H, W).
        certainty: float32 (H, W), 0 at the border of a mistake, about 1 on average, growing away from it.
    """

    cover: NDArray[np.uint8]
    other: NDArray[np.uint8]
    certainty: NDArray[np.float32]


Mistakes = tuple[tuple[str, float], ...]
"""How a mapmaker errs: names of fields of patches, and the share of the pixels that each gets wrong."""


def model_mistakes(scene: str) -> Mistakes:
    """Those of a model like Dynamic World's: most are the same in every scene of a place."""
    return ("model", 0.16), (f"model {scene}", 0.08)


def mapped(cover: NDArray[np.uint8], rows: noise.Range, cols: noise.Range, seed: int, mistakes: Mistakes) -> View:
    """The view of a mapmaker who loses single pixels and errs in patches: the same through any window.

    Args:
        cover: class index 0..8 (H + 2, W + 2), the truth, one pixel wider on each side.
        rows, cols: of the H x W pixels, on any lattice that is the same for all windows.
    """
    drawn = _majority(cover, 1)[0][1:-1, 1:-1]
    wrong = np.zeros(drawn.shape, bool)
    certainty = np.full(drawn.shape, 9, np.float32)
    for name, share in mistakes:
        distance = noise.fractal(noise.key(seed, name), _SPECKS, rows, cols) - _upper(share)
        wrong |= distance > 0
        np.minimum(certainty, np.abs(distance), out=certainty)
    which = noise.fractal(noise.key(seed, "which"), _PATCHES, rows, cols)
    other = _CONFUSED[drawn, (which > np.float32(0.5)).astype(np.intp)]
    return View(np.where(wrong, other, drawn), np.where(wrong, drawn, other), certainty)


def with_clouds(codes: NDArray[np.uint8], cloudy: NDArray[np.bool_], labeler: Annotator, key: int) -> NDArray[np.uint8]:
    """Markup of a scene with clouds: most people mark a cloud as such, some leave it empty; its rim stays unmarked.

    Args:
        codes: released codes (H, W), as drawn without clouds.
        cloudy: bool (H, W), where clouds hide the ground.
    """
    if not cloudy.any():
        return codes
    share = _box_mean(cloudy.astype(np.float32), _CLOUD_RIM_PX)
    marked = codes.copy()
    marked[share > 0] = CODE_UNMARKED
    if noise.unit(key, labeler, "marks clouds") < _MARK_CLOUDS:
        marked[share > np.float32(0.6)] = DYNAMIC_WORLD.ignored_code
    return marked


def _field(key: int, octaves: Octaves, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return noise.fractal(key, octaves, (0, shape[0]), (0, shape[1]))


def _upper(share: float) -> np.float32:
    """The value that a unit normal field exceeds on a share of its area."""
    return np.float32(noise.normal_table()[int((1 - share) * (noise.QUANTILES - 1))])


def _confused(cover: NDArray[np.uint8], where: NDArray[np.bool_], which: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Replace classes by what they are mistaken for."""
    other = _CONFUSED[cover, (which > np.float32(0.5)).astype(np.intp)]
    return np.where(where, other, cover)


def _majority(cover: NDArray[np.uint8], radius_px: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The commonest class of each pixel's square surroundings, and its share there."""
    best = np.zeros(cover.shape, np.float32)
    winner = cover.copy()
    for index in range(len(DYNAMIC_WORLD)):
        here = cover == index
        if not here.any():
            continue
        share = _box_mean(here.astype(np.float32), radius_px)
        better = share > best
        np.copyto(winner, np.uint8(index), where=better)
        np.copyto(best, share, where=better)
    return winner, best


def _box_mean(values: NDArray[np.float32], radius_px: int) -> NDArray[np.float32]:
    """Means over squares of 2 radius + 1 pixels; the border is repeated."""
    size = 2 * radius_px + 1
    padded = np.pad(values, radius_px, mode="edge")
    rows = sum(padded[k : k + values.shape[0]] for k in range(size))
    total = sum(np.asarray(rows)[:, k : k + values.shape[1]] for k in range(size))
    return np.asarray(total, np.float32) / np.float32(size**2)
