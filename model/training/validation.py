"""Scores of the validation split between epochs, and the epoch that they choose as the best one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor, nn

from ..loader import Batch, TileSet, batches, labelers_of, make_loader
from ..metrics import ConfusionMatrix, TileCounts, count_pixels, overall, predicted_classes
from ..settings import TrainConfig
from .listener import EpochRow

EXPERT_MIOU, EXPERT_TILES = "miou_expert", "expert_tiles"
"""Keys of a row: mIoU over the tiles that experts drew, and how many these are."""


def expert_tiles(tiles: TileSet) -> tuple[int, ...]:
    """Places of the validation tiles that choose the best epoch because experts drew them; empty where all do.

    Test tiles were drawn by experts, so what non-experts drew says less of them. Under ``paper`` all tiles choose.
    """
    if tiles.protocol != "strict":
        return ()
    return tuple(place for place, labeler in enumerate(labelers_of(tiles)) if labeler == "expert")


def is_best(rows: Sequence[EpochRow]) -> bool:
    """Whether the last row is the best: its mIoU over the tiles that choose is above that of all earlier ones.

    Rows of an earlier version know no expert tiles; then all tiles choose, in all rows.
    """
    validated = [row for row in rows if row.get("miou") is not None]
    by_experts = bool(validated) and all(EXPERT_TILES in row for row in validated)
    found = [row.get(EXPERT_MIOU if by_experts else "miou") for row in rows]
    return found[-1] is not None and all(found[-1] > other for other in found[:-1] if other is not None)


class Validation:
    """A validation split, whose tiles the processes share.

    Attributes:
        pixels: of all its tiles.
        predicted: uint8 (H, W), class indices, by place: of the tiles that ``scores`` was asked to show.
    """

    def __init__(self, config: TrainConfig, tiles: TileSet, accelerator: Accelerator) -> None:
        at_once = 1 if len({tile.shape for tile in tiles.tiles}) > 1 else config.batch_per_device
        loader = make_loader(tiles, batch=at_once, workers=config.workers, keep_mb=config.keep_mb)
        self.pixels = sum(math.prod(tile.shape) for tile in tiles.tiles)
        self.predicted: dict[int, NDArray[np.uint8]] = {}
        self._experts = expert_tiles(tiles)
        self._names, self._accelerator, self._loader = tiles.classes.names, accelerator, accelerator.prepare(loader)

    @torch.no_grad()
    def scores(
        self,
        network: nn.Module,
        normaliser: nn.Module,
        *,
        between: Callable[[], None] = lambda: None,
        show: Sequence[int] = (),
    ) -> dict[str, Any]:
        """Overall scores by key; each tile counts once, whatever the number of processes. Also those of expert tiles.

        Args:
            between: called after each batch.
            show: places of tiles whose predicted classes are kept, see ``predicted``; the same in all processes.
        """
        self.predicted = {}
        network.eval()
        total = by_experts = ConfusionMatrix.zero(self._names)
        experts = torch.tensor(self._experts, device=self._accelerator.device)
        for batch in batches(self._loader):
            logits = network(*normaliser(batch.primary, batch.auxiliary))
            classes = predicted_classes(logits)
            counts = count_pixels(batch.label, classes, len(self._names))
            if show:
                self._keep(classes, batch, frozenset(show))
            # One matrix per sample, so that those which pad the last batch can be dropped.
            counts, numbers = self._accelerator.gather_for_metrics((counts, batch.number))
            total += ConfusionMatrix(counts.sum(0).cpu().numpy(), self._names)
            if self._experts:
                drawn = counts[torch.isin(numbers, experts)]
                by_experts += ConfusionMatrix(drawn.sum(0).cpu().numpy(), self._names)
            between()
        if show and self._accelerator.num_processes > 1:
            for place, of_tile in gather_object(list(self.predicted.items())):
                self.predicted[place] = of_tile
        scores = TileCounts(total).scores()
        row = {metric.key: scores[metric.key] for metric in overall()}
        if self._experts:
            row |= {EXPERT_MIOU: TileCounts(by_experts).scores()["miou"], EXPERT_TILES: len(self._experts)}
        return row

    def _keep(self, classes: Tensor, batch: Batch, show: frozenset[int]) -> None:
        for number, (height, width), of_tile in zip(batch.number.tolist(), batch.size.tolist(), classes, strict=True):
            if number in show:
                self.predicted[number] = of_tile[:height, :width].to(torch.uint8).cpu().numpy()
