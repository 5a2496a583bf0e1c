"""One optimiser step: the gradient of the mean loss over its marked pixels, however the step is cut.

Micro-batches add up sums of losses, not means, and the gradient is divided by the pixels of all of them in the end. A
mean of means would weigh a pixel of a tile with few marked pixels more than one of a tile with many.

Where several processes train together, they add up their gradients (DistributedDataParallel). The running statistics of
BatchNorm are of the micro-batches of the first process: it sends its own to the others at the beginning of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..loader import Batch
from .objective import Total

_SHRUNK = 2.0**-20
"""Factor on sums of losses, about one over the pixels of a step: half precision reaches to 65504. A power of two rounds
nothing."""


class StepGradient:
    """Gradients of a step in the making.

    Args:
        accelerator: of the devices that train together.
        network: as the accelerator prepared it.
        objective: gives sum of losses and number of pixels of a batch.
        clip_norm: largest norm of the gradient over all weights; None: whatever it is.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        network: nn.Module,
        objective: Callable[[Batch], Total],
        *,
        clip_norm: float | None = None,
    ) -> None:
        self._accelerator, self._network, self._objective = accelerator, network, objective
        self._clip_norm = clip_norm
        self._parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        device = accelerator.device
        # Counts of pixels are exact in float64; Apple's GPUs have none.
        self._exact = torch.float32 if device.type == "mps" else torch.float64
        self._totals = torch.zeros(2, dtype=self._exact, device=device)

    def add(self, batch: Batch, *, last: bool) -> None:
        """Add a micro-batch; with the ``last`` one of this process in the step, processes add up their gradients."""
        with nullcontext() if last else self._accelerator.no_sync(self._network):
            total = self._objective(batch)
            # Gradients of several processes are averaged; their sum is wanted.
            self._accelerator.backward(total.loss * (_SHRUNK * self._accelerator.num_processes))
        self._totals += torch.stack([value.detach().to(self._exact) for value in total])

    def finish(self, optimiser: Any = None) -> Tensor:
        """Leave the gradient of the mean over the step's pixels in the parameters; 0 where no pixel counts.

        Args:
            optimiser: that will move the weights, as the accelerator prepared it; needed where the accelerator scales
                gradients (fp16).

        Returns:
            (2,), on the device: sum of the losses and number of pixels, over all processes.
        """
        totals: Tensor = self._accelerator.reduce(self._totals, reduction="sum")
        self._totals = torch.zeros_like(self._totals)
        factor = torch.where(totals[1] > 0, 1 / (_SHRUNK * totals[1].clamp(min=1e-9)), 0.0)
        if self._accelerator.scaler is not None:
            # Also notes gradients that are no numbers: that step is left out, and the scale made smaller.
            self._accelerator.scaler.unscale_(optimiser.optimizer)
        gradients = [one.grad for one in self._parameters if one.grad is not None]
        torch._foreach_mul_(gradients, factor.to(gradients[0].dtype))
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        return totals
