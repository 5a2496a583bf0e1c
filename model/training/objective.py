"""The objective: a batch of stored values goes in, its loss comes out."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...pipeline.errors import UsageError
from ..loader import Batch, Normaliser
from ..losses import PixelLoss
from ..run_config import RunConfig
from ..settings import TrainConfig


class Objective:
    """Normaliser, network and loss in one call.

    Args:
        network: as it is trained, wrapped or not.
        normaliser, loss: on the network's device.
        has_aux: the network has an auxiliary head, which is trained too.
    """

    def __init__(
        self,
        config: TrainConfig,
        run: RunConfig,
        network: nn.Module,
        normaliser: Normaliser,
        loss: PixelLoss,
        *,
        has_aux: bool,
    ) -> None:
        self.run, self.network, self.normaliser, self.loss = run, network, normaliser, loss
        self.aux_weight, self.heads = config.aux_weight, {"aux": True} if has_aux else {}

    def __call__(self, batch: Batch) -> Tensor:
        """The loss of a batch, a scalar on its device.

        Raises:
            UsageError: the network gives something else than logits of the batch.
        """
        inputs = self.normaliser(batch.primary, batch.auxiliary)
        if not self.heads:
            logits = self.network(*inputs)
            self._check_logits(logits, batch)
            return self.loss(logits, batch.label)  # type: ignore[no-any-return]  # calls of modules have no type
        logits, aux_logits = self.network(*inputs, **self.heads)
        loss: Tensor = self.loss(logits, batch.label) + self.aux_weight * self.loss(aux_logits, batch.label)
        return loss

    def _check_logits(self, logits: Any, batch: Batch) -> None:
        """Networks from outside give whatever they give."""
        wanted = (len(batch.label), len(self.run.data.classes), *batch.label.shape[1:])
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if found != wanted:
            raise UsageError(
                f"{self.run.model} gives {found} for a batch of {len(batch.label)} crops of {batch.label.shape[1]} x "
                f"{batch.label.shape[2]} px; it must give logits {wanted}: batch, classes, height, width"
            )
