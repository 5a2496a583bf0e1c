"""The order of an epoch, and how it is cut into optimiser steps and these into micro-batches.

Which samples make a step follows from seed, epoch and the step's number alone. How the step is cut follows from the
devices, so a training can go on with others, from any step on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler


class MicroBatch(NamedTuple):
    """Samples that one device computes at a time.

    Attributes:
        numbers: of the samples, in their data set.
        place: of the first of them in the order of the epoch; whatever is random in computing them follows from it.
        counts: False where a step has no sample left for this device, which computes one for nothing: devices that
            train together must not wait for each other.
    """

    numbers: tuple[int, ...]
    place: int
    counts: bool = True


@dataclass(frozen=True)
class Cut:
    """How a step is cut: micro-batches go to the devices in turn.

    Attributes:
        batch: samples a step.
        at_once: samples a micro-batch.
        processes: devices that train together.
        rank: which of them this is, from 0.
    """

    batch: int
    at_once: int
    processes: int = 1
    rank: int = 0

    def step(self, order: Sequence[int], number: int) -> list[MicroBatch]:
        """Micro-batches of this device in step ``number`` (from 0) of an epoch; at least one."""
        first, end = number * self.batch, min((number + 1) * self.batch, len(order))
        starts = range(first + self.rank * self.at_once, end, self.processes * self.at_once)
        parts = [MicroBatch(tuple(order[i : min(i + self.at_once, end)]), i) for i in starts]
        return parts or [MicroBatch(tuple(order[first : first + self.at_once]), first, counts=False)]


class EpochOrder(Sampler[list[int]]):
    """The micro-batches of an epoch on one device, as numbers of samples.

    Args:
        size: number of samples.
        seed: of the order, a new one each epoch.
        cut: how steps are cut.
        fewest: samples in a micro-batch. Where the last one of an epoch would have fewer, that epoch does without the
            last samples of its order, others each time.
        chances: float64 (size,), sum 1: an epoch is as many samples, drawn one by one with these chances. None: each
            sample comes once.
    """

    def __init__(
        self, size: int, *, seed: int, cut: Cut, fewest: int = 1, chances: NDArray[np.float64] | None = None
    ) -> None:
        last = size % cut.at_once
        self.size, self.seed, self.cut, self.chances = size, seed, cut, chances
        self.used = size - (last if last < fewest else 0)
        self._first_step = 0
        self.set_epoch(0)

    @property
    def steps(self) -> int:
        """Optimiser steps of an epoch."""
        return math.ceil(self.used / self.cut.batch)

    def set_epoch(self, epoch: int, *, first_step: int = 0) -> None:
        """Choose the epoch (from 0), and the step of it to begin with."""
        self._first_step = first_step
        self._order = self.samples(epoch)
        self._before = [] if self.chances is None else _occurrences(self._order)

    def samples(self, epoch: int) -> list[int]:
        """Numbers of the samples of an epoch (from 0), in its order."""
        order: list[int] = self._drawn(np.random.default_rng((self.seed, epoch))).tolist()
        return order[: self.used]

    def _drawn(self, rng: np.random.Generator) -> NDArray[np.int64]:
        return rng.permutation(self.size) if self.chances is None else rng.choice(self.size, self.size, p=self.chances)

    def step(self, number: int) -> list[MicroBatch]:
        """Micro-batches of this device in a step (from 0) of the epoch that is set."""
        return self.cut.step(self._order, number)

    def drawn_before(self, part: MicroBatch) -> list[int]:
        """How often each sample of a micro-batch came earlier in the epoch; empty where none comes twice."""
        return self._before[part.place : part.place + len(part.numbers)]

    def __len__(self) -> int:
        """Micro-batches of this device from the first step on."""
        return sum(len(self.step(number)) for number in range(self._first_step, self.steps))

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self._first_step, self.steps):
            yield from (list(part.numbers) for part in self.step(number))


def _occurrences(order: Sequence[int]) -> list[int]:
    """How often each number stands before its place."""
    seen: Counter[int] = Counter()
    before = []
    for number in order:
        before.append(seen[number])
        seen[number] += 1
    return before
