"""Windows along one axis of an image: where they lie, what is kept of each, and how much it counts where two overlap.

A network sees less context near the border of its window, so that the outer ``MARGIN_PX`` are dropped where another
window has them. Windows begin at multiples of ``STEP_PX``: the coarsest maps of the networks have cells of 32 px, and a
window that begins elsewhere gives other classes in 5 of 100 pixels. What is kept overlaps by ``overlap`` px and is
blended with smooth weights, which add up to 1 at each pixel.

Comes before ``mosaic``; an image has one ``Axis`` for its rows and one for its columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...pipeline.errors import UsageError

STEP_PX = 32
MARGIN_PX = 16
WINDOW_PX = 512
OVERLAP_PX = 64
"""More costs more windows than it keeps pixels from changing with the window (measured: ``docs/maps.md``)."""


@dataclass(frozen=True)
class Axis:
    """Windows along one axis.

    Attributes:
        length: pixels of the image.
        size: pixels of a window.
        starts: first pixel of each window; the last window may reach beyond the image, where there is no data.
    """

    length: int
    size: int
    starts: tuple[int, ...]

    @property
    def padded(self) -> int:
        """Pixels up to the end of the last window, ``length`` or more."""
        return self.starts[-1] + self.size

    def kept(self, number: int) -> slice:
        """The part of the image that a window gives: all of it, without the margin where another window goes on."""
        first, last = number == 0, number == len(self.starts) - 1
        start = self.starts[number] + (0 if first else MARGIN_PX)
        stop = self.length if last else self.starts[number] + self.size - MARGIN_PX
        return slice(start, min(stop, self.length))

    def inside(self, number: int) -> slice:
        """The same part, counted from the beginning of the window."""
        kept = self.kept(number)
        return slice(kept.start - self.starts[number], kept.stop - self.starts[number])

    def finished(self, number: int) -> slice:
        """The part of the image that no later window touches, and some earlier one did."""
        last = number == len(self.starts) - 1
        return slice(self.kept(number).start, self.length if last else self.kept(number + 1).start)

    def weights(self, number: int) -> NDArray[np.float32]:
        """How much each kept pixel of a window counts: float32 (kept,), 0..1; those of all windows add up to 1."""
        kept = self.kept(number)
        return (self._raised(number) / self._total[kept]).astype(np.float32)

    @cached_property
    def _total(self) -> NDArray[np.float64]:
        total = np.zeros(self.length)
        for number in range(len(self.starts)):
            total[self.kept(number)] += self._raised(number)
        return total

    def _raised(self, number: int) -> NDArray[np.float64]:
        """Raised cosines over what a window shares with its neighbours, 1 between them; never 0."""
        kept = self.kept(number)
        centres = np.arange(kept.start, kept.stop) + 0.5
        weights = np.ones(len(centres))
        if number > 0:
            weights *= _rise(centres - kept.start, self.kept(number - 1).stop - kept.start)
        if number < len(self.starts) - 1:
            weights *= _rise(kept.stop - centres, kept.stop - self.kept(number + 1).start)
        return weights


def _rise(distance: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """From 0 to 1 over ``width`` pixels; 1 everywhere where nothing is shared."""
    if width <= 0:
        return np.ones(len(distance))
    risen: NDArray[np.float64] = 0.5 - 0.5 * np.cos(np.pi * np.clip(distance / width, 0.0, 1.0))
    return risen


def axis(length: int, *, size: int = WINDOW_PX, overlap: int = OVERLAP_PX, fixed: bool = False) -> Axis:
    """Windows along ``length`` pixels.

    Args:
        length: of the image, 1 or more.
        size: of a window, a multiple of ``STEP_PX``; an image that is smaller gets a smaller window.
        overlap: pixels, at least, that two neighbours share after the margin is dropped.
        fixed: the network takes windows of this size alone, whatever the image's.

    Raises:
        UsageError: the size is no multiple of ``STEP_PX``, or the overlap leaves nothing to move on by.
    """
    if size % STEP_PX or size < 2 * STEP_PX + 2 * MARGIN_PX:
        raise UsageError(f"windows are {size} px; they must be a multiple of {STEP_PX}, {3 * STEP_PX} or more")
    stride = (size - 2 * MARGIN_PX - overlap) // STEP_PX * STEP_PX
    if overlap < 0 or stride < STEP_PX:
        most = size - 2 * MARGIN_PX - STEP_PX
        raise UsageError(f"overlap is {overlap} px; with windows of {size} px it must be 0 to {most}")
    whole = math.ceil(length / STEP_PX) * STEP_PX
    if whole <= size:
        return Axis(length, size if fixed else whole, (0,))
    last = whole - size
    return Axis(length, size, (*range(0, last, stride), last))
