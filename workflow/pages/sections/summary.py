"""The first screen: what became of each number of the paper, a square each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ...reproduction.verdicts import MEANING, Verdict, Word, counted


@dataclass(frozen=True)
class Square:
    """One number: the class of its square, and what it says to whoever points at it."""

    style: str
    said: str


@dataclass(frozen=True)
class SquareRow:
    """Numbers of one table or section; ``said`` is the row in words."""

    title: str
    said: str
    squares: tuple[Square, ...]


@dataclass(frozen=True)
class Fact:
    """A number worth a large type, and what it is."""

    number: str
    words: str


def style_of(word: Word) -> str:
    """Class of a verdict in ``page.css``."""
    return word.replace(" ", "-")


def square_rows(verdicts: Sequence[Verdict]) -> list[SquareRow]:
    """A row for each table and section of the paper, in its order."""
    by_place: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        by_place[verdict.number.place.partition(",")[0]].append(verdict)
    return [SquareRow(place, _in_words(found), tuple(map(_square, found))) for place, found in by_place.items()]


def _square(verdict: Verdict) -> Square:
    ours = "" if verdict.ours is None else f", here {verdict.ours.mean:.2f} ({verdict.ours.name})"
    return Square(style_of(verdict.word), f"{verdict.number.place}: {verdict.number.printed}{ours}: {verdict.sentence}")


def _in_words(verdicts: Sequence[Verdict]) -> str:
    return ", ".join(f"{number} {MEANING[word]}" for word, number in counted(verdicts).items())


def legend(verdicts: Sequence[Verdict]) -> list[tuple[str, str, int]]:
    """(class of the square, meaning, how many numbers) of the verdicts that occur."""
    return [(style_of(word), MEANING[word], number) for word, number in counted(verdicts).items()]


def facts(verdicts: Sequence[Verdict]) -> list[Fact]:
    """How far it is from the paper, in the few numbers that say most."""
    costs = [one for one in verdicts if one.number.key.startswith("table2.") and one.number.kind == "cost"]
    exact = sum(one.word == "exact" for one in costs)
    found = [
        Fact(f"{exact} of {len(costs)}", "parameters and FLOPs of Table II, counted here, have the printed digits")
    ]
    by_key = {verdict.number.key: verdict for verdict in verdicts}
    headline = by_key.get("table1.specsar-former.miou")
    if headline is not None and headline.ours is not None and headline.difference is not None:
        words = f"points of mIoU from the paper's {headline.number.printed} of SpecSAR-Former: {headline.sentence}"
        found.append(Fact(f"{headline.difference:+.2f}", words))
    compared = [one for one in verdicts if one.number.kind == "score" and one.difference is not None]
    scores = sum(one.number.kind == "score" for one in verdicts)
    found.append(
        Fact(f"{len(compared)} of {scores}", "scores of the paper have one here that can be compared with them")
    )
    return found
