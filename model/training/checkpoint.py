"""Checkpoints: how far a training is, with the weights and the optimisers that it had there.

Order, augmentation and dropout are functions of seed, epoch and place (``order``), so nothing but counters and
sums has to be kept beside them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn

from ..runs import RunFolder
from .averaging import MeanWeights
from .divergence import check_weights
from .listener import EpochRow


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        rows: of the epochs that are done.
        steps: optimiser steps that are done of the next one.
        loss: sum of the losses of the marked pixels in these steps.
        pixels: number of these pixels.
        seconds: that these steps took.
    """

    rows: list[EpochRow] = field(default_factory=list)
    steps: int = 0
    loss: float = 0.0
    pixels: float = 0.0
    seconds: float = 0.0

    def add(self, totals: Sequence[Sequence[float]], *, seconds: float) -> None:
        """Count steps, whose (loss, pixels) are given; one by one, so that the sum depends on no checkpoint."""
        for loss, pixels in totals:
            self.steps, self.loss, self.pixels = self.steps + 1, self.loss + loss, self.pixels + pixels
        self.seconds += seconds

    def end_epoch(self, row: EpochRow) -> None:
        self.rows.append(row)
        self.steps, self.loss, self.pixels, self.seconds = 0, 0.0, 0.0, 0.0

    def to_state(self) -> dict[str, Any]:
        within = {"steps": self.steps, "loss": self.loss, "pixels": self.pixels, "seconds": self.seconds}
        return {"rows": self.rows, "within": within}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Progress:
        """Checkpoints of earlier versions were of whole epochs."""
        return cls(list(state["rows"]), **state.get("within", {}))


class Checkpoints:
    """Writes and reads the checkpoints of a training.

    Args:
        network, optimisers: as the accelerator prepared them.
        minutes: between checkpoints within an epoch.
        mean: of the weights of the last epochs, where they are averaged.
    """

    def __init__(
        self,
        folder: RunFolder,
        accelerator: Accelerator,
        network: nn.Module,
        optimisers: Sequence[Any],
        *,
        minutes: float,
        mean: MeanWeights | None = None,
    ) -> None:
        self._mean = mean
        self._folder, self._accelerator, self._network, self._optimisers = folder, accelerator, network, optimisers
        self._every_s, self._written = 60 * minutes, time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time for one, where this process writes them."""
        return self._accelerator.is_main_process and time.monotonic() - self._written >= self._every_s

    def weights(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self._accelerator.unwrap_model(self._network).state_dict()
        return state

    def restore(self) -> Progress:
        """Give network and optimisers the state of the last checkpoint that is whole, if there is one.

        Raises:
            DataError: there are some, and none can be read.
        """
        state = self._folder.read_checkpoint()
        if state is None:
            return Progress()
        self._accelerator.unwrap_model(self._network).load_state_dict(state["network"])
        # Checkpoints of earlier versions have one optimiser for all views.
        of_each = state.get("optimisers") or [state["optimiser"]] * len(self._optimisers)
        for optimiser, kept in zip(self._optimisers, of_each, strict=True):
            optimiser.load_state_dict(kept)
        if self._accelerator.scaler is not None and "scaler" in state:
            self._accelerator.scaler.load_state_dict(state["scaler"])
        if self._mean is not None:
            self._mean.restore(state["mean"])
        return Progress.of_state(state)

    def write(self, progress: Progress) -> None:
        """Keep the state of now, from the main process.

        Raises:
            DwplusError: weights are no numbers, or nothing can be written.
        """
        if not self._accelerator.is_main_process:
            return
        check_weights(self.weights(), epoch=len(progress.rows) + (progress.steps > 0))
        optimisers = [one.state_dict() for one in self._optimisers]
        state = {**progress.to_state(), "network": self.weights(), "optimisers": optimisers}
        if self._accelerator.scaler is not None:
            state["scaler"] = self._accelerator.scaler.state_dict()
        if self._mean is not None:
            state["mean"] = self._mean.to_state()
        self._folder.write_checkpoint(len(progress.rows), state, steps=progress.steps)
        self._written = time.monotonic()
