"""Damage to one byte: a bit that flips on a disk, in memory or on the way."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from dwplus.pipeline.errors import DwplusError

T = TypeVar("T")


def flips(path: Path, *, count: int = 40, seed: int = 0) -> Iterator[int]:
    """Damage a file again and again: each time one bit of one byte; gives the place of that byte.

    The time of the last change is another one each time, as it would be. Afterwards the file is whole again.
    """
    whole, draw = path.read_bytes(), random.Random(seed)
    for number in range(count):
        place = draw.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << draw.randrange(8))]) + whole[place + 1 :])
        os.utime(path, ns=(number, number))
        yield place
    path.write_bytes(whole)


class Answers(NamedTuple, Generic[T]):
    """What reading a damaged file gave: values, and the sentences of errors of ours."""

    accepted: list[T]
    refused: list[str]


def answers_after_flips(path: Path, read: Callable[[], T], *, count: int = 40) -> Answers[T]:
    """Read after each of some flips. Errors that are not ours are raised: they would be tracebacks."""
    answers: Answers[T] = Answers([], [])
    for _ in flips(path, count=count):
        try:
            answers.accepted.append(read())
        except DwplusError as error:
            answers.refused.append(str(error))
    return answers
