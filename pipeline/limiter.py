"""Limiter: how many requests may be in flight; fewer after the service refused some, then more again.

Additive increase, multiplicative decrease, as in TCP: the number settles at what the quota gives, whatever that is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_CUT = 0.7
_CUT_EVERY_S = 1.0
"""Requests that were under way together are refused together: one cut for all of them."""


class StoppedError(Exception):
    """A wait was ended because the run is over."""


class Limiter:
    """Shared by all threads that ask one service.

    Args:
        most: requests in flight where nothing is refused.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._in_flight = 0
        self._open_at = 0.0
        self._last_cut = 0.0
        self._stopped = False
        self._changed = threading.Condition()

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return max(1, int(self._limit))

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a place in flight, and hold it."""
        with self._changed:
            while (pause := self._open_at - time.monotonic()) > 0 or self._in_flight >= self.limit:
                self._raise_if_stopped()
                self._changed.wait(pause if pause > 0 else None)
            self._raise_if_stopped()
            self._in_flight += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def sleep(self, seconds: float) -> None:
        """Wait before asking again; ends early, with ``StoppedError``, when nothing is to be asked any more."""
        until = time.monotonic() + seconds
        with self._changed:
            while (left := until - time.monotonic()) > 0 and not self._stopped:
                self._changed.wait(left)
            self._raise_if_stopped()

    def stop(self) -> None:
        """Nothing is to be asked any more: whoever waits for a place or a pause gets ``StoppedError``."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _raise_if_stopped(self) -> None:
        if self._stopped:
            raise StoppedError("the run was stopped")

    def answered(self) -> None:
        """The service gave an answer: after as many answers as are in flight, one more may be."""
        with self._changed:
            self._limit = min(self._most, self._limit + 1 / max(self._limit, 1.0))
            self._changed.notify_all()

    def refused(self, pause_s: float) -> None:
        """The service is asked too often: nobody asks for a while, then fewer at a time."""
        with self._changed:
            now = time.monotonic()
            self._open_at = max(self._open_at, now + pause_s)
            if now - self._last_cut >= _CUT_EVERY_S:
                self._limit = max(1.0, self._limit * _CUT)
                self._last_cut = now
            self._changed.notify_all()
