"""Progress: how a long stage reports how far it is. Terminals and log files show it differently."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Step:
    """Receives the steps of one stage; this one prints nothing."""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """``amount`` units are done; ``note`` says what the last one was."""

    def set(self, done: int, total: int | None = None) -> None:
        """``done`` units are done in all."""


class Progress(Protocol):
    """Where progress is reported."""

    def stage(self, title: str, total: int | None, unit: str = "tiles") -> AbstractContextManager[Step]:
        """A stage with a known or unknown amount of work; gives the object that receives each step."""

    def say(self, message: str) -> None:
        """One line for the user."""


class Silent:
    """Reports nothing."""

    def stage(self, title: str, total: int | None, unit: str = "tiles") -> AbstractContextManager[Step]:  # noqa: ARG002 - as every Progress
        return nullcontext(Step())

    def say(self, message: str) -> None:
        pass
