"""The log of what a server was asked: the last requests, and counts of all."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

LENGTH = 20_000
"""Requests that are kept; counts go on."""


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
        self._entries: deque[LogEntry] = deque(maxlen=LENGTH)
        self._counts: Counter[str] = Counter()

    def add(self, entry: LogEntry) -> None:
        with self._lock:
            self._entries.append(entry)
            self._counts[f"{entry.method} {route_of(entry.path)} {entry.code}"] += 1

    def encoded(self) -> dict[str, Any]:
        with self._lock:
            return {"counts": dict(self._counts), "requests": [asdict(entry) for entry in self._entries]}


def route_of(path: str) -> str:
    """What a path asks for, without names: e.g. ``image:computePixels``."""
    last = path.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    for verb in ("getPixels", "listAssets"):
        if last.endswith(f":{verb}"):
            return f"assets:{verb}"
    if "/assets/" in path:
        return "assets"
    return "releases" if path.startswith("/releases/") else last[:100]
