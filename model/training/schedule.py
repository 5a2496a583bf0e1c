"""The learning rate of each optimiser step."""

from __future__ import annotations

import math

LOST_INPUT_FACTOR = 0.3
"""On the learning rate of a view without an input: complete crops, which most maps are made of, lead. Chosen by trial
(``docs/missing-modalities.md``)."""


def learning_rate(step: int, *, steps: int, warmup: int, lr: float) -> float:
    """Learning rate of optimiser step ``step`` (from 0): linear rise over ``warmup`` steps, then half a cosine to 0."""
    if step < warmup:
        return lr * (step + 1) / warmup
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
