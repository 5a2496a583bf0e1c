"""Faults and limits that a server shows on purpose, and the log of what it was asked.

A plan is a list of faults; a request meets the first that matches and is not used up.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .refusal import Refusal

LOG_LENGTH = 20_000


@dataclass
class Fault:
    """What goes wrong, and for whom.

    Attributes:
        match: regular expression searched in ``METHOD /path``; empty = every request.
        body: text that the request's body must hold.
        skip: so many matching requests go through first.
        times: so many are met after them; None = all.
        status: HTTP code of an error instead of the answer.
        message: its text.
        retry_after: its ``Retry-After``, seconds.
        delay_s: wait before the answer (or the error).
        drop: close the connection without an answer.
        truncate: close it after so many bytes of the body, whose full length was announced.
        short: send so many bytes of the body and announce no more.
        html: a page of HTML instead of the answer.
    """

    match: str = ""
    body: str = ""
    skip: int = 0
    times: int | None = None
    status: int | None = None
    message: str | None = None
    retry_after: float | None = None
    delay_s: float = 0.0
    drop: bool = False
    truncate: int | None = None
    short: int | None = None
    html: bool = False
    met: int = field(default=0, init=False)

    def meets(self, request: str, body: bytes) -> bool:
        """Whether it is this request's turn; counts it."""
        if not re.search(self.match, request) or (self.body and self.body.encode() not in body):
            return False
        self.met += 1
        return self.met > self.skip and (self.times is None or self.met <= self.skip + self.times)


MESSAGES = {
    401: "Request had invalid authentication credentials.",
    403: "Caller does not have required permission to use project.",
    429: "Quota exceeded for quota metric 'Number of read requests' and limit 'Number of read requests per minute per "
    "user' of service 'earthengine.googleapis.com' for consumer 'project_number:0'.",
    503: "The service is currently unavailable.",
}
"""Texts of faults that bring none. Source of 429: https://github.com/gee-community/qgis-earthengine-plugin/issues/202"""

TOO_MANY = "Too many concurrent requests; this project may have {limit} at a time."
"""The live wording for concurrency is not published."""

LOGIN_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in to go on.</body></html>"


def parse_plan(plan: Any) -> list[Fault]:
    """Faults out of JSON.

    Raises:
        Refusal: it is not a list of objects with the fields of ``Fault``.
    """
    known = {item.name for item in fields(Fault) if item.init}
    if not isinstance(plan, list) or not all(isinstance(item, dict) for item in plan):
        raise Refusal("A fault plan is a list of objects.")
    for item in plan:
        unknown = set(item) - known
        if unknown:
            raise Refusal(f"Unknown field of a fault: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}.")
    try:
        faults = [Fault(**item) for item in plan]
        for fault in faults:
            re.compile(fault.match)
    except (TypeError, re.error) as error:
        raise Refusal(f"A fault cannot be read: {error}") from None
    return faults


class FaultPlan:
    """The faults that are still to come; safe for many threads."""

    def __init__(self, plan: Any = None) -> None:
        self._lock = threading.Lock()
        self.replace(plan)

    def replace(self, plan: Any) -> None:
        faults = parse_plan(plan or [])
        with self._lock:
            self._faults = faults

    def next(self, request: str, body: bytes) -> Fault | None:
        with self._lock:
            return next((fault for fault in self._faults if fault.meets(request, body)), None)


@dataclass(frozen=True)
class LogEntry:
    """One request: method, path, HTTP code of the answer (0 = dropped), seconds it took, bytes both ways, what was
    done to it on purpose, who asked, how many requests ran at the time, and its workload tag."""

    method: str
    path: str
    code: int
    seconds: float
    received: int
    sent: int
    fault: str
    agent: str
    running: int
    workload_tag: str | None


class Log:
    """The last requests, and counts of all by method, route and code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[LogEntry] = deque(maxlen=LOG_LENGTH)
        self._counts: Counter[str] = Counter()

    def add(self, entry: LogEntry) -> None:
        with self._lock:
            self._entries.append(entry)
            self._counts[f"{entry.method} {route_of(entry.path)} {entry.code}"] += 1

    def encoded(self) -> dict[str, Any]:
        with self._lock:
            return {"counts": dict(self._counts), "requests": [asdict(entry) for entry in self._entries]}


def route_of(path: str) -> str:
    """The part of a path that says what is asked, e.g. ``image:computePixels``."""
    last = path.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    for verb in ("getPixels", "listAssets"):
        if last.endswith(f":{verb}"):
            return f"assets:{verb}"
    if "/assets/" in path:
        return "assets"
    return "releases" if path.startswith("/releases/") else last


class Limits:
    """Concurrent requests and requests per second, each with its 429.

    Args:
        max_concurrent: requests at a time; None = any number.
        per_second: requests that may start within a second; None = any number.
    """

    def __init__(self, max_concurrent: int | None, per_second: float | None) -> None:
        self._lock = threading.Lock()
        self._max_concurrent, self._per_second = max_concurrent, per_second
        self._starts: deque[float] = deque()
        self.running = 0

    def enter(self) -> None:
        """Begin a request.

        Raises:
            Refusal: there are too many; nothing was begun.
        """
        now = time.monotonic()
        with self._lock:
            if self._max_concurrent is not None and self.running >= self._max_concurrent:
                raise Refusal(TOO_MANY.format(limit=self._max_concurrent), 429)
            if self._per_second is not None:
                while self._starts and self._starts[0] <= now - 1.0:
                    self._starts.popleft()
                if len(self._starts) >= self._per_second:
                    raise Refusal(MESSAGES[429], 429)
                self._starts.append(now)
            self.running += 1

    def leave(self) -> None:
        with self._lock:
            self.running -= 1
