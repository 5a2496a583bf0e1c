"""Quotas of a project: requests at a time and requests per second, each with its 429."""

from __future__ import annotations

import threading
import time
from collections import deque

from ..refusal import Refusal

TOO_MANY_AT_A_TIME = "Too many concurrent requests; this project may have {limit} at a time."
"""The live wording for concurrency is not published."""

TOO_MANY_PER_SECOND = (
    "Quota exceeded for quota metric 'Number of read requests' and limit 'Number of read requests per minute per "
    "user' of service 'earthengine.googleapis.com' for consumer 'project_number:0'."
)
"""Source: https://github.com/gee-community/qgis-earthengine-plugin/issues/202"""


class Quotas:
    """Who may begin, for all threads of a server.

    Args:
        max_concurrent: requests at a time; None = any number. Earth Engine: 40.
        per_second: requests that may begin within a second; None = any number. Earth Engine: 100.

    Source: https://developers.google.com/earth-engine/guides/usage
    """

    def __init__(self, max_concurrent: int | None = None, per_second: float | None = None) -> None:
        self._lock = threading.Lock()
        self._max_concurrent, self._per_second = max_concurrent, per_second
        self._starts: deque[float] = deque()
        self.running = 0

    def enter(self, now: float | None = None) -> None:
        """Begin a request.

        Args:
            now: seconds of any clock that does not go back; None = this machine's.

        Raises:
            Refusal: there are too many; nothing was begun.
        """
        now = time.monotonic() if now is None else now
        with self._lock:
            if self._max_concurrent is not None and self.running >= self._max_concurrent:
                raise Refusal(TOO_MANY_AT_A_TIME.format(limit=self._max_concurrent), 429)
            if self._per_second is not None:
                while self._starts and self._starts[0] <= now - 1.0:
                    self._starts.popleft()
                if len(self._starts) >= self._per_second:
                    raise Refusal(TOO_MANY_PER_SECOND, 429)
                self._starts.append(now)
            self.running += 1

    def leave(self) -> None:
        """End a request that began."""
        with self._lock:
            self.running -= 1
