"""From windows to finished rows: probabilities of overlapping windows are blended while memory holds some rows alone.

Windows are computed from one row of windows to the next. What no later window touches is finished and given away, so
memory grows with the width of an image and not with its height. Comes after ``windows``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .windows import Axis

Probabilities = NDArray[np.float32]
"""float32 (K, H, W), 0..1."""

RowOfWindows = Callable[[int], Iterator[tuple[int, Probabilities]]]
"""Number of a row of windows -> number of a column and probabilities (K, size, size) of each window that has any."""


class Rows(NamedTuple):
    """Rows of the image that are finished.

    Attributes:
        start: number of the first.
        probabilities: float32 (K, rows, W); 0 everywhere where no window with data lies. Overwritten when the next
            rows are asked for.
    """

    start: int
    probabilities: Probabilities


def finished_rows(
    rows: Axis, columns: Axis, classes: int, row_of_windows: RowOfWindows, *, numbers: range
) -> Iterator[Rows]:
    """Blend windows into rows, from the top to the bottom.

    Args:
        rows, columns: windows along both axes.
        classes: K.
        row_of_windows: computes a row of windows; called once for each, in order.
        numbers: of the rows of windows whose finished rows are given; those before them that overlap are computed too.
    """
    first = rows.finished(numbers[0]).start
    begin = needed_from(rows, first)
    top = rows.kept(begin).start
    # Image rows from ``top`` on: what a row of windows gives begins there, and later windows add to.
    held = np.zeros((classes, rows.size, columns.length), dtype=np.float32)
    for number in range(begin, numbers.stop):
        kept = rows.kept(number)
        down = rows.weights(number)[:, None]
        for column, probabilities in row_of_windows(number):
            part = probabilities[:, rows.inside(number), columns.inside(column)]
            weighted = part * (down * columns.weights(column)[None, :])
            held[:, kept.start - top : kept.stop - top, columns.kept(column)] += weighted
        done = rows.finished(number).stop
        start = max(top, first)
        if done > start:
            yield Rows(start, held[:, start - top : done - top])
        left = kept.stop - done
        held[:, :left] = held[:, done - top : kept.stop - top]
        held[:, left:] = 0
        top = done


def largest(probabilities: Probabilities) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Class index and probability of the likeliest class of each pixel, (H, W) each; of equal ones the first.

    Torch finds both in one pass, in half of numpy's time.
    """
    top, best = torch.from_numpy(probabilities).max(dim=0)
    return best.numpy(), top.numpy()


def needed_from(rows: Axis, first: int) -> int:
    """Number of the first row of windows that image row ``first`` and later ones need."""
    return next(number for number in range(len(rows.starts)) if rows.kept(number).stop > first)


def columns_with_data(valid: NDArray[np.bool_], rows: Axis, number: int, columns: Axis) -> Sequence[int]:
    """Columns of windows of which a kept pixel has data.

    Args:
        valid: bool (size, padded width), of the rows of the windows.
        number: of the row of windows.
    """
    some: NDArray[np.bool_] = np.logical_or.reduce(valid[rows.inside(number)])
    return [column for column in range(len(columns.starts)) if some[columns.kept(column)].any()]
