"""Scores of the validation split between epochs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ..loader import TileSet, batches, make_loader
from ..metrics import ConfusionMatrix, TileCounts, count_pixels, overall, predicted_classes
from ..settings import TrainConfig


class Validation:
    """A validation split, whose tiles the processes share.

    Attributes:
        pixels: of all its tiles.
    """

    def __init__(self, config: TrainConfig, tiles: TileSet, accelerator: Accelerator) -> None:
        at_once = 1 if len({tile.shape for tile in tiles.tiles}) > 1 else config.batch_per_device
        loader = make_loader(tiles, batch=at_once, workers=config.workers, keep_mb=config.keep_mb)
        self.pixels = sum(math.prod(tile.shape) for tile in tiles.tiles)
        self._names, self._accelerator, self._loader = tiles.classes.names, accelerator, accelerator.prepare(loader)

    @torch.no_grad()
    def scores(
        self, network: nn.Module, normaliser: nn.Module, *, between: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        """Overall scores by key; each tile counts once, whatever the number of processes.

        Args:
            between: called after each batch.
        """
        network.eval()
        total = ConfusionMatrix.zero(self._names)
        for batch in batches(self._loader):
            logits = network(*normaliser(batch.primary, batch.auxiliary))
            counts = count_pixels(batch.label, predicted_classes(logits), len(self._names))
            # One matrix per sample, so that those which pad the last batch can be dropped.
            counts = self._accelerator.gather_for_metrics(counts)
            total += ConfusionMatrix(counts.sum(0).cpu().numpy(), self._names)
            between()
        scores = TileCounts(total).scores()
        return {metric.key: scores[metric.key] for metric in overall()}
