"""Pace: samples a second of a training, and how long it will go on like that."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ..model.estimate import duration_as_text

WINDOW_S = 120.0
"""Seconds that the pace is taken over: long enough for a slow batch, short enough to follow a change."""


class Pace:
    """Follows the batches of a training.

    Args:
        epochs: in all.
        clock: seconds that only ever grow.
    """

    def __init__(self, epochs: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._epochs, self._clock = epochs, clock
        self._seen: deque[tuple[float, int, int]] = deque()
        self._samples = self._batches = 0

    def batch(self, epoch: int, done: int, count: int, samples: int) -> str:
        """What a batch makes known: ``12.3 samples/s, 3 hours left``; empty after the first one.

        Args:
            epoch: from 1.
            done, count: batches of this epoch that are done, and all of them.
            samples: of this batch.
        """
        self._samples, self._batches = self._samples + samples, self._batches + 1
        now = self._clock()
        self._seen.append((now, self._samples, self._batches))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW_S:
            self._seen.popleft()
        then, samples_then, batches_then = self._seen[0]
        if now <= then:
            return ""
        left = (self._epochs - epoch) * count + count - done
        seconds = left * (now - then) / (self._batches - batches_then)
        return f"{(self._samples - samples_then) / (now - then):.3g} samples/s, {duration_as_text(seconds)} left"
