"""How often a tile is drawn and how much its pixels count, where the settings ask for more of some than of others."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...pipeline.errors import UsageError
from ..loader import TileSet, labelers_of
from ..settings import TrainConfig

MOST_OFTEN = 10.0
"""A tile is drawn at most so many times as often as where each comes once: the few tiles of a very rare class would
otherwise be learnt by heart."""


def tile_chances(content: NDArray[np.int64]) -> NDArray[np.float64]:
    """Chances of the tiles where a class is drawn first, all alike, then one of its pixels, and the pixel's tile taken.

    Args:
        content: int64 (tiles, K), marked pixels of each class.

    Returns:
        float64 (tiles,), sum 1; none above ``MOST_OFTEN`` times the mean, 0 for tiles without a marked pixel.

    Raises:
        UsageError: no pixel is marked.
    """
    pixels = content.sum(axis=0)
    if not pixels.any():
        raise UsageError("no class has a pixel in the training split; look at the labels (dwplus validate)")
    chances: NDArray[np.float64] = (content[:, pixels > 0] / pixels[pixels > 0]).mean(axis=1)
    most = max(MOST_OFTEN / len(content), 1 / np.count_nonzero(chances))
    limited = np.zeros(len(content), dtype=bool)
    while bool((chances > most * (1 + 1e-12)).any()):  # ends: each turn limits one tile more
        limited |= chances > most
        chances[limited] = most
        free = chances[~limited].sum()
        if free > 0:
            chances[~limited] *= (1 - most * limited.sum()) / free
    chances /= chances.sum()
    return chances


def sample_weights(config: TrainConfig, tiles: TileSet, device: torch.device) -> Tensor | None:
    """float32 (tiles,), how much a pixel of each tile counts by who drew it; None where all count alike.

    Raises:
        UsageError: weights are set, and the data set does not say who drew its labels.
    """
    weights = {"expert": config.expert_weight, "non_expert": config.non_expert_weight}
    if set(weights.values()) == {1.0}:
        return None
    labelers = labelers_of(tiles)
    if not set(labelers) & set(weights):
        raise UsageError(
            "expert_weight or non_expert_weight is set, and no training label is known to be of experts or "
            "non-experts; leave them out"
        )
    return torch.tensor([weights.get(one, 1.0) for one in labelers], dtype=torch.float32, device=device)
