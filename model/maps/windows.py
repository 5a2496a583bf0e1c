"""Windows along one axis of an image: where they lie, what is kept of each, and how much it counts where two overlap.

A network sees less context near the border of its window, so that the outer ``MARGIN_PX`` are dropped where another
window has them. The coarsest maps of the networks have cells of 32 px, and a window that begins elsewhere than at a
multiple of ``STEP_PX`` gives other classes in 5 of 100 pixels. What is kept overlaps by ``overlap`` px and is blended
with smooth weights, which add up to 1 at each pixel.

A network looks at its whole window, so that classes change a little with it. Inner windows therefore lie on the ground
and not in the image: they begin at multiples of the stride from the origin of the CRS, and two maps that overlap see
the same windows. The first and the last window of an axis lie at the border of the image.

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
LAYOUT = "windows on the ground"
"""How windows lie. Maps of versions in which they lay in the image are other maps: some of their classes differ."""

OVERLAP_PX = 64
"""More costs more windows than it keeps pixels from changing with the window (measured: ``docs/maps.md``)."""


@dataclass(frozen=True)
class Axis:
    """Windows along one axis.

    Attributes:
        length: pixels of the image.
        size: pixels of a window.
        starts: first pixel of each window; the last window may reach beyond the image, where there is no data.
        shared: pixels that an inner window shares with each neighbour, after the margin is dropped.
    """

    length: int
    size: int
    starts: tuple[int, ...]
    shared: int = 0

    @property
    def padded(self) -> int:
        """Pixels up to the end of the last window, ``length`` or more."""
        return self.starts[-1] + self.size

    def kept(self, number: int) -> slice:
        """The part of the image that a window gives: all of it, without the margin where another window goes on.

        The first and the last window, which lie where the image begins and ends, give no more than inner ones leave.
        """
        first, last = number == 0, number == len(self.starts) - 1
        start = 0 if first else self.starts[number] + MARGIN_PX
        stop = self.length if last else self.starts[number] + self.size - MARGIN_PX
        if first and self._inner:
            stop = min(stop, self.starts[1] + MARGIN_PX + self.shared)
        if last and self._inner:
            start = max(start, self.starts[-2] + self.size - MARGIN_PX - self.shared)
        return slice(start, min(stop, self.length))

    @property
    def _inner(self) -> bool:
        return len(self.starts) > 2

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


def axis(
    length: int, *, size: int = WINDOW_PX, overlap: int = OVERLAP_PX, fixed: bool = False, origin: int = 0
) -> Axis:
    """Windows along ``length`` pixels.

    Args:
        length: of the image, 1 or more.
        size: of a window, a multiple of ``STEP_PX``; an image that is smaller gets a smaller window.
        overlap: pixels, at least, that two neighbours share after the margin is dropped.
        fixed: the network takes windows of this size alone, whatever the image's.
        origin: pixels from the origin of the CRS to the first one of the image; inner windows lie at multiples of their
            stride from there.

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
    # Two windows are enough: there is no place far from both borders.
    on_lattice = range(-origin % stride or stride, last, stride) if last > stride else range(0)
    inner = [start for start in on_lattice if start + size < length]
    if len(inner) < len(on_lattice):
        last = on_lattice[-1]  # it reaches the border of the image by itself
    return Axis(length, size, (0, *inner, last), size - 2 * MARGIN_PX - stride)
