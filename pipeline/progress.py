"""Progress: how a long stage tells whoever watches how far it is. Terminals and log files show it each in their way."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Step:
    """Told of the steps of one stage; this one keeps silent."""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """``amount`` units are done; ``note`` says what the last one was."""

    def set(self, done: int, total: int | None = None) -> None:
        """``done`` units are done in all."""


class Progress(Protocol):
    """Somebody who watches."""

    def stage(self, title: str, total: int | None, unit: str = "tiles") -> AbstractContextManager[Step]:
        """A stage with a known or unknown amount of work; gives the object that is told of each step."""

    def say(self, message: str) -> None:
        """One line for a person."""


class Silent:
    """Nobody watches."""

    def stage(self, title: str, total: int | None, unit: str = "tiles") -> AbstractContextManager[Step]:  # noqa: ARG002
        return nullcontext(Step())

    def say(self, message: str) -> None:
        pass
