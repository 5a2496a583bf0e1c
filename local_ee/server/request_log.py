"""The log of a server: the last requests, and counts of all."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

LENGTH = 20_000
"""Requests that are kept; counts go on."""

PATIENCE_S = 1.0
"""So long the log waits for answers that are on their way: a client may have read one before its entry is written."""


@dataclass(frozen=True)
class LogEntry:
    """One request: method, path, HTTP code of the answer (0 = dropped), seconds it took, bytes both ways, what was
    done to it on purpose, which client, how many requests ran at the time, and its workload tag."""

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
        self._changed = threading.Condition()
        self._sending = 0
        self._entries: deque[LogEntry] = deque(maxlen=LENGTH)
        self._counts: Counter[str] = Counter()

    def begin(self) -> None:
        """An answer is about to be sent; its entry follows."""
        with self._changed:
            self._sending += 1

    def add(self, entry: LogEntry, *, begun: bool) -> None:
        """A request is over; ``begun``: its answer was announced."""
        with self._changed:
            self._sending -= begun
            self._entries.append(entry)
            self._counts[f"{entry.method} {route_of(entry.path)} {entry.code}"] += 1
            self._changed.notify_all()

    def encoded(self) -> dict[str, Any]:
        """Both; an answer that a client has read is in it, as far as no other takes longer than ``PATIENCE_S``."""
        with self._changed:
            self._changed.wait_for(lambda: self._sending == 0, PATIENCE_S)
            return {"counts": dict(self._counts), "requests": [asdict(entry) for entry in self._entries]}


def route_of(path: str) -> str:
    """The kind of a path, without names: e.g. ``image:computePixels``."""
    last = path.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    for verb in ("getPixels", "listAssets"):
        if last.endswith(f":{verb}"):
            return f"assets:{verb}"
    if "/assets/" in path:
        return "assets"
    return "releases" if path.startswith("/releases/") else last[:100]
