"""Fig. 3 of the paper: which classes there are in each biome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....pipeline.spec.classes import ClassTable

_NARROWEST = 0.045
"""Share of a bar from which on a piece has its number written into it."""


@dataclass(frozen=True)
class Piece:
    """A class in a bar: its share (0..1), its colours, its number where there is room."""

    title: str
    share: float
    colour: str
    ink: str
    number: str


@dataclass(frozen=True)
class Bar:
    """One biome; ``said`` is the bar in words."""

    title: str
    pixels: int
    pieces: tuple[Piece, ...]
    said: str


def ink_on(colour: str) -> str:
    """Black or white, whichever reads better on ``rrggbb`` (relative luminance, WCAG 2)."""
    channels = np.array([int(colour[n : n + 2], 16) for n in (0, 2, 4)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return "#000" if float(linear @ [0.2126, 0.7152, 0.0722]) > 0.179 else "#fff"


def bars_of(counts: Mapping[str, NDArray[np.int64]], classes: ClassTable) -> list[Bar]:
    """A bar for each group of ``counts`` (name -> int64 (classes,), marked pixels); those without a pixel left out."""
    return [_bar(title, pixels, classes) for title, pixels in counts.items() if pixels.sum()]


def _bar(title: str, counts: NDArray[np.int64], classes: ClassTable) -> Bar:
    shares = (counts / counts.sum()).tolist()
    pieces = tuple(
        Piece(
            one.title,
            shares[one.index],
            f"#{one.colour}",
            ink_on(one.colour),
            str(one.index + 1) if shares[one.index] >= _NARROWEST else "",
        )
        for one in classes.classes
        if shares[one.index]
    )
    said = ", ".join(f"{piece.title} {piece.share:.1%}" for piece in pieces)
    return Bar(title, int(counts.sum()), pieces, said)


def class_key(classes: ClassTable) -> list[tuple[str, str, str, str]]:
    """(number, title, colour, ink) of each class."""
    return [(str(one.index + 1), one.title, f"#{one.colour}", ink_on(one.colour)) for one in classes.classes]
