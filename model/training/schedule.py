"""The learning rate of each optimiser step."""

from __future__ import annotations

import math


def learning_rate(step: int, *, steps: int, warmup: int, lr: float) -> float:
    """Learning rate of optimiser step ``step`` (from 0): linear rise over ``warmup`` steps, then half a cosine to 0."""
    if step < warmup:
        return lr * (step + 1) / warmup
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
