"""Verdicts: what became of each number of the paper, in one of seven words.

A pure function of the printed number, what stands beside it here, and what it would take to have that. Comes after
``numbers`` and ``ours``; ``document`` writes the result.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Literal

from ...model.scores.comparison import FEWEST_SEEDS
from ...model.scores.intervals import LEVEL, Bounds
from ...model.scores.student import quantile
from .numbers import Kind, PaperNumber

Word = Literal["exact", "seed noise", "test-set noise", "differs", "not run", "synthetic", "quoted"]

MEANING: dict[Word, str] = {
    "exact": "the same printed digits",
    "seed noise": f"within seed noise ({FEWEST_SEEDS} seeds or more)",
    "test-set noise": f"within test-set noise only ({LEVEL:.0%} interval of the test tiles)",
    "differs": "differs",
    "not run": "not run",
    "synthetic": "not comparable: synthetic",
    "quoted": "said of sensors, labels or machines by others; nothing here measures it",
}

FROM_PIXELS: frozenset[Kind] = frozenset({"score", "gain", "set"})
"""Kinds of numbers that synthetic pixels and labels change; settings, parameters and operations stay the same."""


@dataclass(frozen=True)
class Ours:
    """What stands beside a number of the paper.

    Attributes:
        values: in the paper's unit; one for each seed, or the only one.
        name: of the run, the map or the setting that they are from.
        synthetic: they are from synthetic pixels.
        bounds: 95 % interval over other test sets; None where there is none.
        unlike: in what the training differs from the paper's settings, as far as those are printed.
    """

    values: tuple[float, ...]
    name: str
    synthetic: bool = False
    bounds: Bounds | None = None
    unlike: tuple[str, ...] = ()

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def seed_error(self) -> float | None:
        """How far another training may lie from the mean of these, with 95 % of all; None with fewer than three seeds.

        The paper's score is one more draw: its distance to the mean of n has the variance s^2 (1 + 1/n).
        """
        count = len(self.values)
        if count < FEWEST_SEEDS:
            return None
        return quantile(1 - LEVEL, count - 1) * stdev(self.values) * math.sqrt(1 + 1 / count)


@dataclass(frozen=True)
class Need:
    """What it takes to have a number.

    Attributes:
        gpu_hours: of training, as ``plan`` estimates them; 0 where no training is needed.
        command: that makes it.
    """

    gpu_hours: float
    command: str


@dataclass(frozen=True)
class Verdict:
    """What became of a number.

    Attributes:
        number: of the paper.
        word: the verdict.
        ours: what it was compared with; None where there is nothing.
        need: what it takes to have it, or to have it of real pixels; None where nothing is needed.
    """

    number: PaperNumber
    word: Word
    ours: Ours | None = None
    need: Need | None = None

    @property
    def difference(self) -> float | None:
        """Ours less the paper's; None where the two cannot be compared."""
        if self.ours is None or self.word in ("synthetic", "not run", "quoted"):
            return None
        return self.ours.mean - self.number.value

    @property
    def sentence(self) -> str:
        """The verdict for people: ``not run, needs 41 GPU hours: dwplus reproduce --scope paper --table I``."""
        words = MEANING[self.word]
        if self.need is None or self.word not in ("not run", "synthetic"):
            return words
        hours = f"needs {hours_as_text(self.need.gpu_hours)}: " if self.need.gpu_hours else ""
        return f"{words}{', ' if self.word == 'not run' else '; '}{hours}{self.need.command}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON: values in the paper's unit."""
        ours, need = self.ours, self.need
        return {
            "key": self.number.key,
            "row": self.number.row,
            "place": self.number.place,
            "kind": self.number.kind,
            "paper": self.number.printed,
            "verdict": self.word,
            "ours": None if ours is None else ours.mean,
            "of": None if ours is None else ours.name,
            "values": [] if ours is None else list(ours.values),
            "interval": None if ours is None or ours.bounds is None else list(ours.bounds),
            "difference": self.difference,
            "unlike": [] if ours is None else list(ours.unlike),
            "needs": None if need is None else {"gpu_hours": round(need.gpu_hours, 2), "command": need.command},
            "notes": list(self.number.notes),
        }


def hours_as_text(hours: float) -> str:
    """``about 41 GPU hours``, ``less than an hour of a GPU``."""
    return f"about {hours:,.0f} GPU hours" if hours >= 1.5 else "about an hour of a GPU or less"


def judge(number: PaperNumber, ours: Ours | None, need: Need | None = None) -> Verdict:
    """What became of a number of the paper.

    Args:
        ours: what stands beside it; None where there is nothing.
        need: what it takes to have it.
    """
    if number.kind == "quoted":
        return Verdict(number, "quoted")
    if ours is None:
        return Verdict(number, "not run", None, need)
    if ours.synthetic and number.kind in FROM_PIXELS:
        return Verdict(number, "synthetic", ours, need)
    return Verdict(number, _word(number, ours), ours)


def _word(number: PaperNumber, ours: Ours) -> Word:
    if number.rounds_to(ours.mean):
        return "exact"
    if ours.seed_error is not None and abs(number.value - ours.mean) <= ours.seed_error:
        return "seed noise"
    if ours.bounds is not None and ours.bounds[0] <= number.value <= ours.bounds[1]:
        return "test-set noise"
    return "differs"


def judge_all(
    numbers: Iterable[PaperNumber], ours: Mapping[str, Ours], needs: Mapping[str, Need]
) -> tuple[Verdict, ...]:
    """A verdict for every number; ``ours`` and ``needs`` by key."""
    return tuple(judge(number, ours.get(number.key), needs.get(number.key)) for number in numbers)


def counted(verdicts: Iterable[Verdict]) -> dict[Word, int]:
    """How many numbers have which verdict, in the order of ``MEANING``; those without any left out."""
    counts = Counter(verdict.word for verdict in verdicts)
    return {word: counts[word] for word in MEANING if counts[word]}
