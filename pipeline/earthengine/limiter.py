"""Limiter: how many requests are in flight and how fast they follow each other, as the service's quota allows.

A refusal shows what the quota is: as many as were in flight besides the refused one. The limiter stays there, tries
one more now and then, and climbs for as long as that is let through. Requests are also spread in time, so that a burst
never runs into a quota per second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

REQUESTS_PER_SECOND = 80.0
"""Below the 100 per second and project of Earth Engine (developers.google.com/earth-engine/guides/usage)."""

_SLOWEST_PER_SECOND = 0.2
_RATE_CUT = 0.7
_RATE_RISE_PER_ANSWER = 1.02
_FIRST_PROBE_S = 2.0
_LONGEST_PROBE_S = 60.0
_PROBES_PER_NAMED_WAIT = 20.0
"""Where a refusal makes all threads wait, the next probe comes this many waits later: 5 % of the time at most."""

_BREATH_S = 0.02
"""A service counts a request until it has cleaned up behind it, some milliseconds after the client has the answer. At a
known quota the next request waits that long, or it would be refused for nothing."""


class StoppedError(Exception):
    """A wait was ended because the run is over."""


class Limiter:
    """Shared by all threads that send requests to one service.

    Args:
        most: requests in flight where nothing is refused.
        per_second: requests that may begin within a second.
        clock: seconds of a clock that never goes back.
    """

    def __init__(
        self, most: int, *, per_second: float = REQUESTS_PER_SECOND, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._limit = most
        self._fastest = self._rate = per_second
        self._clock = clock
        self._in_flight = 0
        self._open_at = 0.0
        self._next_start = 0.0
        self._stopped = False
        self._changed = threading.Condition()
        # Probing for a larger quota.
        self._probe_wait_s = _FIRST_PROBE_S
        self._probe_at = 0.0
        self._step = 1

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self._limit

    @property
    def rate(self) -> float:
        """Requests that may begin within a second now."""
        return self._rate

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a place in flight, and hold it.

        Raises:
            StoppedError: no more requests are to be sent.
        """
        with self._changed:
            while (pause := self._pause_s()) is None or pause > 0:
                self._raise_if_stopped()
                self._changed.wait(pause)
            self._raise_if_stopped()
            self._in_flight += 1
            self._next_start = max(self._clock(), self._next_start) + 1 / self._rate
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                if self._limit < self._most:
                    self._next_start = max(self._next_start, self._clock() + _BREATH_S)
                self._changed.notify_all()

    def _pause_s(self) -> float | None:
        """Seconds until a request may begin; None = when another one ends."""
        if self._in_flight >= self._limit:
            return None
        return max(self._open_at, self._next_start) - self._clock()

    def sleep(self, seconds: float) -> None:
        """Wait before a retry; ends early, with ``StoppedError``, when no more requests are to be sent."""
        until = self._clock() + seconds
        with self._changed:
            while (left := until - self._clock()) > 0 and not self._stopped:
                self._changed.wait(left)
            self._raise_if_stopped()

    def stop(self) -> None:
        """No more requests: every thread that waits for a slot or a pause gets ``StoppedError``."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _raise_if_stopped(self) -> None:
        if self._stopped:
            raise StoppedError("the run was stopped")

    def answered(self) -> None:
        """The service gave an answer: where it is time to, one more may be in flight."""
        with self._changed:
            self._rate = min(self._fastest, self._rate * _RATE_RISE_PER_ANSWER)
            now = self._clock()
            if self._limit < self._most and now >= self._probe_at:
                self._limit = min(self._most, self._limit + self._step)
                # Let through for a while: the quota has grown, so take larger steps.
                self._step *= 2
                self._probe_at = now + min(self._probe_wait_s, _FIRST_PROBE_S)
                self._changed.notify_all()

    def refused(self, pause_s: float, *, asked_to_wait: bool = False) -> None:
        """The service refused a request as one too many.

        Args:
            pause_s: no requests for this long where nothing else is in flight, or where the service says so.
            asked_to_wait: the service named the pause (Retry-After).
        """
        with self._changed:
            now = self._clock()
            if self._step > 1:  # a probe failed: the next one is later
                self._probe_wait_s = min(_LONGEST_PROBE_S, 2 * self._probe_wait_s)
            self._step = 1
            self._limit = max(1, min(self._limit, self._in_flight))
            if self._in_flight == 0:
                # One at a time and still too many: it is not their number, it is how fast they come.
                self._rate = max(_SLOWEST_PER_SECOND, self._rate * _RATE_CUT)
            if asked_to_wait or self._in_flight == 0:
                self._open_at = max(self._open_at, now + pause_s)
            named_s = pause_s * _PROBES_PER_NAMED_WAIT if asked_to_wait else 0.0
            self._probe_at = max(self._open_at, now) + max(self._probe_wait_s, named_s)
            self._changed.notify_all()
