"""The mean of the weights after the last epochs of a training (stochastic weight averaging), beside its result.

Source: Izmailov et al. 2018, Averaging weights leads to wider optima and better generalization. ``torch`` has the same
in ``optim.swa_utils``; a copy of the network is not kept here, since networks with learned tokens hold hooks on
themselves, and sums are taken in float64, so that the mean is that of the plain sum, rounded once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..input_states import reset_statistics


class MeanWeights:
    """Sum of a network's weights over epochs; goes into checkpoints, so that a resumed training has the same.

    Args:
        last: how many of the last epochs are averaged.
        epochs: of the training.
    """

    def __init__(self, last: int, epochs: int) -> None:
        self._first, self._count = epochs - last + 1, 0
        self._sums: dict[str, Tensor] = {}

    def add(self, network: nn.Module, *, epoch: int) -> None:
        """Count the weights after an epoch (from 1), where it is one of the last."""
        if epoch < self._first:
            return
        for name, weight in network.named_parameters(remove_duplicate=False):
            now = weight.detach().cpu().double()
            self._sums[name] = self._sums[name] + now if self._count else now
        self._count += 1

    def apply(self, network: nn.Module) -> None:
        """Give the network the mean; its buffers stay those of the last epoch."""
        weights = dict(network.named_parameters(remove_duplicate=False))
        with torch.no_grad():
            for name, total in self._sums.items():
                weights[name].copy_(total / self._count)

    def to_state(self) -> dict[str, Any]:
        return {"epochs": self._count, "sums": self._sums}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._count, self._sums = int(state["epochs"]), dict(state["sums"])


def trained_norms(network: nn.Module) -> list[_BatchNorm]:
    """Those whose running statistics training moves; frozen ones are in evaluation mode and keep theirs."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    return [norm for norm in norms if norm.training and norm.running_mean is not None]


@contextmanager
def counted_anew(norms: list[_BatchNorm]) -> Iterator[None]:
    """Within it, running statistics begin anew and become the mean over batches, as in ``swa_utils.update_bn``."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        reset_statistics(norm)
        norm.momentum = None
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
