"""Faults that a server shows on purpose: the plan of a test (JSON), or of a person (a TOML file).

A plan is a list of faults; a request meets the first that matches and is not used up.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ...pipeline.errors import UsageError, in_brief
from ...pipeline.files.atomic import read_toml
from ..refusal import Refusal
from .latency import latency_of
from .quotas import TOO_MANY_PER_SECOND


@dataclass
class Fault:
    """What goes wrong, and for whom.

    Attributes:
        match: regular expression searched in ``METHOD /path``; empty = every request.
        body: text that the request's body must hold.
        skip: number of matching requests that pass first.
        times: number of requests that are hit after them; None = all.
        status: HTTP code of an error instead of the answer.
        message: its text.
        retry_after: its ``Retry-After``, seconds.
        delay_s: wait before the answer (or the error).
        drop: close the connection without an answer.
        truncate: close it after this many bytes of the body, whose full length was announced.
        short: send this many bytes of the body and announce no more.
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

    @property
    def struck(self) -> int:
        """Requests that it did something to."""
        after = max(self.met - self.skip, 0)
        return after if self.times is None else min(after, self.times)

    @property
    def name(self) -> str:
        """What it does, in a word."""
        if self.html:
            return "html"
        for name in ("drop", "truncate", "short"):
            if getattr(self, name) not in (None, False):
                return name
        if self.status is not None:
            return str(self.status)
        return "delay" if self.delay_s else ""


MESSAGES = {
    401: "Request had invalid authentication credentials.",
    403: "Caller does not have required permission to use project.",
    429: TOO_MANY_PER_SECOND,
    503: "The service is currently unavailable.",
}
"""Texts of faults that bring none."""

LOGIN_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in to go on.</body></html>"

_WORDS = ("match", "body", "message")
_FLAGS = ("drop", "html")
_COUNTS = ("skip", "times", "status", "truncate", "short")


def parse_plan(plan: Any) -> list[Fault]:
    """Faults out of JSON.

    Raises:
        Refusal: it is not a list of objects with the fields of ``Fault``, or one of them does nothing.
    """
    if not isinstance(plan, list) or not all(isinstance(item, dict) for item in plan):
        raise Refusal("A fault plan is a list of objects.")
    return [_fault(item) for item in plan]


def _fault(item: dict[str, Any]) -> Fault:
    known = [item.name for item in fields(Fault) if item.init]
    unknown = sorted(set(item) - set(known))
    if unknown:
        raise Refusal(
            f"Unknown field of a fault: {in_brief(', '.join(map(str, unknown)))}; known: {', '.join(sorted(known))}."
        )
    for name, value in item.items():
        if value is not None:
            _check(name, value)
    try:
        re.compile(item.get("match") or "")
    except (re.error, OverflowError, RecursionError) as error:
        raise Refusal(f"A fault cannot be read: match {in_brief(repr(item['match']), 80)}: {error}.") from None
    fault = Fault(**{name: value for name, value in item.items() if value is not None})
    if not fault.name:
        raise Refusal(
            f"A fault does nothing: {in_brief(repr(item), 80)}; give status, delay_s, drop, truncate, short or html."
        )
    return fault


def _check(name: str, value: Any) -> None:
    if name in _WORDS:
        good, wanted = isinstance(value, str), "text"
    elif name in _FLAGS:
        good, wanted = isinstance(value, bool), "true or false"
    elif name in _COUNTS:
        good, wanted = isinstance(value, int) and not isinstance(value, bool) and value >= 0, "a whole number from 0"
    else:
        good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 3600
        wanted = "a number of seconds, 0 to 3600"
    if name == "status" and good:
        good, wanted = 200 <= value <= 599, "an HTTP code, 200 to 599"
    if not good:
        raise Refusal(f"A fault cannot be read: {name} = {in_brief(repr(value), 80)} is not {wanted}.")


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

    def counted(self) -> list[dict[str, Any]]:
        """For each fault in order: what it does, requests that matched it, and how many of them it struck."""
        with self._lock:
            return [{"fault": fault.name, "met": fault.met, "struck": fault.struck} for fault in self._faults]


@dataclass(frozen=True)
class PlanFile:
    """What a person wrote: ``faults`` for ``parse_plan``, ``latency`` for ``latency.latency_of``, and quotas."""

    faults: list[dict[str, Any]]
    latency: float | dict[str, Any] | None = None
    max_concurrent: int | None = None
    per_second: float | None = None


def read_plan(path: Path) -> PlanFile:
    """A plan out of a TOML file: ``[[fault]]`` tables, and ``latency``, ``max_concurrent``, ``per_second``.

    Raises:
        UsageError: it cannot be read, with what it may hold.
    """
    content = read_toml(path)
    known = ("fault", "latency", "max_concurrent", "per_second")
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise UsageError(f"{path}: unknown key {in_brief(', '.join(unknown))}; known: {', '.join(known)}")
    plan = PlanFile(content.pop("fault", []), **content)
    try:
        parse_plan(plan.faults)
        if plan.latency is not None:
            latency_of(plan.latency)
        for name in ("max_concurrent", "per_second"):
            value = getattr(plan, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
                raise Refusal(f"{name} = {in_brief(repr(value), 80)} is not a number above 0.")
    except Refusal as refusal:
        raise UsageError(f"{path}: {refusal.message}") from None
    return plan
