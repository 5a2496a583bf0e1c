"""Several processes on one scoring: each counts its share of the tiles, all get the counts of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from ...pipeline.machine import processes_together

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """The part of one process.

    Attributes:
        rank, processes: which of how many; tiles go to the processes in turn, so that none comes twice.
        device: of this process; None where there is a single one, which chooses it itself.
    """

    rank: int = 0
    processes: int = 1
    device: str | None = None

    @classmethod
    def of_process(cls, device: str | None = None) -> Share:
        """As ``accelerate launch`` or ``torchrun`` says; alone without them.

        Args:
            device: ``cpu`` where no GPU shall be used.
        """
        if processes_together() < 2:
            return cls()
        from accelerate import PartialState

        state = PartialState(cpu=device == "cpu")
        return cls(state.process_index, state.num_processes, str(state.device))

    @property
    def first(self) -> bool:
        """Whether this process writes the results."""
        return self.rank == 0

    def of(self, count: int) -> Sequence[int]:
        """Places of its tiles among ``count``."""
        return range(self.rank, count, self.processes)

    def gathered(self, mine: list[T], seconds: float) -> tuple[list[T], float]:
        """What all processes counted, in order of the tiles, and the seconds of the slowest; waits for all of them."""
        if self.processes == 1:
            return mine, seconds
        from accelerate.utils import gather_object

        parts = gather_object([(self.rank, mine, seconds)])
        found = {rank + number * self.processes: one for rank, part, _ in parts for number, one in enumerate(part)}
        return [found[place] for place in sorted(found)], max(taken for _, _, taken in parts)
