"""How long a training will take: one batch is timed, the rest is arithmetic.

An estimate for people, taken before the first step; it changes nothing that is trained.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

ENOUGH_S = 3.0
"""A batch that takes longer is timed once; a shorter one twice, since the first one warms up."""

_FORWARD_SHARE = 1 / 3
"""Of a training step's time: the backward pass takes about twice as long as the forward one."""


@dataclass(frozen=True)
class TimedBatch:
    """A batch that was timed.

    Attributes:
        read_s: seconds to read it.
        compute_s: seconds to compute its gradients.
        pixels: in it.
    """

    read_s: float
    compute_s: float
    pixels: int


def times_of(compute: Callable[[], object]) -> float:
    """Seconds that a computation takes once it is warm; gradients add up, as long as they are not used."""
    seconds = _seconds_of(compute)
    return seconds if seconds > ENOUGH_S else _seconds_of(compute)


def _seconds_of(compute: Callable[[], object]) -> float:
    start = time.perf_counter()
    compute()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


@contextmanager
def unchanged_buffers(network: nn.Module) -> Iterator[None]:
    """Give all buffers (the running statistics of norms) their values back afterwards."""
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)


def seconds_of_training(
    timed: TimedBatch, *, epochs: int, batches: int, kept: bool, validations: int, validation_px: int
) -> float:
    """Seconds that epochs take.

    Args:
        epochs: to go.
        batches: of an epoch.
        kept: tiles stay in memory once they were read.
        validations: of the validation split, to go.
        validation_px: pixels of all validation tiles.
    """
    reading = batches * timed.read_s * (1 if kept else epochs)
    scoring = validations * validation_px * timed.compute_s / timed.pixels * _FORWARD_SHARE
    return reading + epochs * batches * timed.compute_s + scoring


def duration_as_text(seconds: float) -> str:
    """``40 seconds``, ``12 minutes``, ``7 hours``, ``3 days``: rounded as a guess is."""
    for unit, length in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= 1.5 * length:
            number = round(seconds / length)
            return f"{number} {unit}s"
    number = max(1, round(seconds))
    return f"{number} second{'s' * (number != 1)}"
