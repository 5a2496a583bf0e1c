"""Several machines that do one piece of work in one folder: which of them this is, its part, and the last step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..pipeline.errors import UsageError
from ..pipeline.files.atomic import cannot_write
from ..pipeline.files.locks import lock, lock_soon


@dataclass(frozen=True)
class Machine:
    """Which of several machines this one is: ``2/3``."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Machine:
        """Of ``2/3``.

        Raises:
            UsageError: it is nothing like that.
        """
        first, slash, second = text.partition("/")
        if slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second) <= 1024:
            return cls(int(first), int(second))
        raise UsageError(f"--shard {text}: write which machine of how many, from 1 on: --shard 1/4")

    def __str__(self) -> str:
        """For names of files: ``2-of-3``."""
        return f"{self.number}-of-{self.count}"

    @property
    def first(self) -> bool:
        return self.number == 1

    @property
    def alone(self) -> bool:
        return self.count == 1

    def part_of(self, items: int) -> range:
        """Numbers of the items of this machine, neighbours: those of all machines are all of them, each once."""
        return range(items * (self.number - 1) // self.count, items * self.number // self.count)


@contextmanager
def at_work(folder: Path, machine: Machine, *, held: str) -> Iterator[None]:
    """A folder that one machine has to itself, or several machines, each with a number of its own.

    Args:
        held: what to say where another command works there that this one does not go together with.

    Raises:
        DwplusError: such a command works there.
        MachineError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        whole, own = ((folder / name).open("w", encoding="utf-8") for name in ("lock", f"lock-{machine}"))
    except OSError as error:
        raise cannot_write(folder, error, option="-o") from None
    with whole, own:
        lock(whole, held=held, shared=not machine.alone, option="-o")
        lock(own, held=held, option="-o")
        yield


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """What machines that share a folder do one after the other: they wait here.

    Raises:
        MachineError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "gate").open("w", encoding="utf-8")
    except OSError as error:
        raise cannot_write(folder, error, option="-o") from None
    with file:
        lock_soon(file, held=f"another machine does not leave {folder}", within_s=math.inf, option="-o")
        yield
