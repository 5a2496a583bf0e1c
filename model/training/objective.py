"""The objective: a batch of stored values goes in, the sum of its pixels' losses comes out."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from ...pipeline.errors import UsageError
from ..loader import Batch
from ..losses import PixelLoss


class Total(NamedTuple):
    """Of the pixels of a batch that count: the sum of their losses, and how many they are, by their weights.

    Scalars on its device.
    """

    loss: Tensor
    pixels: Tensor


class Objective:
    """Normaliser, network and loss in one call.

    Args:
        network: as it is trained, wrapped or not.
        normaliser, loss: on the network's device.
        classes: number of classes.
        sample_weights: float32 (samples,), how much a pixel of each sample of the data set counts; None: 1.
        aux_weight: of the loss of the network's auxiliary head; None: it has none.
        name: of the network, for messages.
    """

    def __init__(
        self,
        network: nn.Module,
        normaliser: nn.Module,
        loss: PixelLoss,
        *,
        classes: int,
        sample_weights: Tensor | None = None,
        aux_weight: float | None = None,
        name: str = "the network",
    ) -> None:
        self.network, self.normaliser, self.loss = network, normaliser, loss
        self.classes, self.sample_weights, self.aux_weight, self.name = classes, sample_weights, aux_weight, name

    def __call__(self, batch: Batch) -> Total:
        """
        Raises:
            UsageError: the network gives something else than logits of the batch.
        """
        weight = None if self.sample_weights is None else self.sample_weights[batch.number]
        inputs = self.normaliser(batch.primary, batch.auxiliary)
        if self.aux_weight is None:
            logits = self.network(*inputs)
            self._check_logits(logits, batch)
            return Total(*self.loss.total(logits, batch.label, weight))
        logits, aux_logits = self.network(*inputs, aux=True)
        loss, pixels = self.loss.total(logits, batch.label, weight)
        return Total(loss + self.aux_weight * self.loss.total(aux_logits, batch.label, weight)[0], pixels)

    def _check_logits(self, logits: Any, batch: Batch) -> None:
        """Networks from outside give whatever they give."""
        wanted = (len(batch.label), self.classes, *batch.label.shape[1:])
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if found != wanted:
            raise UsageError(
                f"{self.name} gives {found} for a batch of {len(batch.label)} crops of {batch.label.shape[1]} x "
                f"{batch.label.shape[2]} px; it must give logits {wanted}: batch, classes, height, width"
            )
