"""Who hears how far a training is: positions, rows of epochs, and what is said before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..run_config import RunConfig


@dataclass(frozen=True)
class Position:
    """Where a training is: ``step`` of ``steps`` optimiser steps are done in ``epoch`` (from 1) of ``epochs``."""

    epoch: int
    epochs: int
    step: int
    steps: int


class Listener:
    """Hears of a training, in the main process, and draws pictures of it; this one does nothing."""

    def begins(self, run: RunConfig, epochs: int) -> None:
        """Settings of the run, and its epochs in all; before the first step."""

    def timing(self) -> None:
        """A first batch is timed."""

    def estimated(self, seconds: float) -> None:
        """How long the training will take from here on; before the first step."""

    def batch(self, epoch: int, done: int, count: int, samples: int) -> None:
        """``done`` of ``count`` batches of an epoch (from 1) are computed; the last one, of all devices together, had
        ``samples``."""

    def shown(self) -> Sequence[int]:
        """Places of the validation tiles that ``picture`` draws, the same for all epochs; asked in every process."""
        return ()

    def picture(self, epoch: int, predicted: Mapping[int, NDArray[np.uint8]]) -> bytes | None:  # noqa: ARG002 - for others
        """A PNG of an epoch (from 1), or None; ``predicted`` has uint8 (H, W), class indices, of each tile by place."""
        return None


EpochRow = dict[str, Any]
"""One row of ``metrics.jsonl``: epoch (from 1), lr, loss, seconds, samples_per_second, and miou, oa, f1 where the epoch
was validated; also miou_expert, expert_tiles where some validation tiles were drawn by experts."""
