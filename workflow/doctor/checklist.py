"""Checklist: what was looked at, what was found, what to do next; each step within its deadline.

The lines of ``dwplus doctor`` and ``dwplus auth check``; what they look at is in ``machine`` and ``doctor``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from ...pipeline.errors import AuthenticationError, DwplusError, ExitCode, ServiceError

State = Literal["ok", "warning", "error"]
T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One line of a checklist.

    Attributes:
        topic: heading that it stands under.
        name: what was looked at.
        state: ``ok``; ``warning``, which a build survives; ``error``, which it does not.
        found: what was seen, with values.
        next_step: what to do where it is not ok.
        authentication: whether an error here is one of account or project (exit code 4).
    """

    topic: str
    name: str
    state: State
    found: str
    next_step: str = ""
    authentication: bool = False


def within(seconds: float, call: Callable[[], T]) -> T:
    """What a call gives, if it ends in time; one that does not is left behind and cannot hold up the end.

    Raises:
        ServiceError: it takes longer.
        Exception: whatever the call raises.
    """
    outcome: list[tuple[T | None, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((call(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True, name="checklist")
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise ServiceError(f"no answer within {seconds:g} s")
    value, error = outcome[0]
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # no error: the call gave it


def failed(topic: str, name: str, error: Exception, *, next_step: str) -> Check:
    """The line of a step that did not come to an end."""
    said = str(error) if isinstance(error, DwplusError) else f"{type(error).__name__}: {error}"
    return Check(topic, name, "error", said, next_step, authentication=isinstance(error, AuthenticationError))


def exit_code(checks: Iterable[Check]) -> ExitCode:
    """0 without errors, 4 where one is of account or project, otherwise 1."""
    errors = [check for check in checks if check.state == "error"]
    if any(check.authentication for check in errors):
        return ExitCode.AUTHENTICATION
    return ExitCode.ERROR if errors else ExitCode.OK


def lines(check: Check, before: Check | None) -> list[str]:
    """What a person reads of a check that follows another one."""
    text = [f"  {check.state:<8} {check.name:<17} {check.found}"]
    if before is None or before.topic != check.topic:
        text = [*([] if before is None else [""]), check.topic, *text]
    return [*text, f"{'':11}-> {check.next_step}"] if check.next_step else text


def summary(checks: Iterable[Check]) -> str:
    """The last line: how many are not ok."""
    states = [check.state for check in checks]
    numbers = {state: states.count(state) for state in ("error", "warning")}
    told = [f"{number} {state}{'s' * (number != 1)}" for state, number in numbers.items() if number]
    return f"{len(states)} checks: {', '.join(told) if told else 'all ok'}"


def document(checks: Iterable[Check]) -> dict[str, Any]:
    """The checklist for a machine."""
    all_checks = list(checks)
    rows = [
        {"topic": c.topic, "name": c.name, "state": c.state, "found": c.found, "next_step": c.next_step}
        for c in all_checks
    ]
    return {"exit_code": int(exit_code(all_checks)), "summary": summary(all_checks), "checks": rows}
