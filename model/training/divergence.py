"""Losses and weights that are no numbers: such a training ends, and says what to change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from ...pipeline.errors import DataError, DwplusError
from ..runs import check_numbers

_NAN_ADVICE = (
    "train with a lower lr (--set lr=1e-4) or in float32 (--set precision=fp32), under another --name: a run keeps its "
    "settings. The last checkpoint is kept"
)


def check_losses(totals: Sequence[Sequence[float]], *, first: int, epoch: int) -> None:
    """Make sure that losses are numbers.

    Args:
        totals: (loss, pixels) of the steps from ``first`` (from 0) of the epoch (from 0) on.

    Raises:
        DwplusError: one is not; names its epoch and step, from 1.
    """
    for step, (loss, _) in enumerate(totals, first):
        if not math.isfinite(loss):
            raise DwplusError(f"the loss is not a number at epoch {epoch + 1}, step {step + 1}; {_NAN_ADVICE}")


def check_weights(state: Mapping[str, Tensor], *, epoch: int) -> None:
    """Never keep or complete a network whose weights are no numbers."""
    try:
        check_numbers(state, where=f"epoch {epoch}")
    except DataError as error:
        raise DwplusError(f"{str(error).partition(';')[0]}; {_NAN_ADVICE}") from None
