"""Loops over pixels that numpy has no fast form of.

Compiled by numba where it is there (the extra ``fast``), in numpy elsewhere: the same numbers either way, of a shard of
14 bands in 2.2 ms of CPU or in 9.7. Loading numba takes a second of CPU: a process does its first pixels in numpy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger(__name__)

Pixels = NDArray[np.uint16]

_FEW_PIXELS = 250_000_000
"""So many pixels (70 shards) a process does in numpy before it loads numba, which takes 1.1 s of CPU: as long as numpy
takes more, 2.2 ns a pixel, for twice as many."""


def undo_predictor(differences: Pixels, values: Pixels) -> None:
    """Sums along each row, modulo 2^16.

    Args:
        differences: uint16 (H, W), each pixel less its left neighbour.
        values: uint16 (H, W), written to.
    """
    compiled = _loops_for(values.size)
    if compiled is not None:
        compiled.undo_predictor(differences, values)
        return
    # All rows side by side, column after column: along a row each sum would wait for the one before it.
    columns = np.ascontiguousarray(differences.T)
    for left, column in pairwise(columns):
        np.add(left, column, out=column)
    values[:] = columns.T


def count_values(values: Pixels) -> NDArray[np.int64]:
    """How often each value occurs.

    Args:
        values: uint16, any shape.

    Returns:
        int64 (largest value + 1,); empty where there is no pixel.
    """
    compiled = _loops_for(values.size)
    if compiled is None or values.size == 0:
        return np.bincount(values.ravel())
    counts = np.zeros(65536, dtype=np.uint32)
    largest = compiled.count_values(values.ravel(), counts)
    return counts[: largest + 1].astype(np.int64)


class _Compiled(NamedTuple):
    undo_predictor: Callable[..., Any]
    count_values: Callable[..., int]


class _Work:
    """What this process has done in numpy so far; threads may miss some of it."""

    pixels = 0


def _loops_for(pixels: int) -> _Compiled | None:
    """Machine code for so many more pixels; None where numpy does them."""
    if _Work.pixels < _FEW_PIXELS:
        _Work.pixels += pixels
        return None
    return _compiled()


@cache
def _compiled() -> _Compiled | None:
    """The loops below as machine code; None where numba is not installed, or does not work on this machine."""
    for kept in (True, False):
        try:
            import numba

            compile_ = numba.njit(nogil=True, cache=kept)
            compiled = _Compiled(compile_(_undo_predictor), compile_(_count_values))
            _try_out(compiled)
        except Exception as error:
            # A library that cannot be loaded, no folder to keep machine code in, a full disk: numpy does the same work.
            _log.debug("numba does not compile here (kept: %s): %s", kept, error)
            continue
        return compiled
    return None


def _try_out(compiled: _Compiled) -> None:
    """Compile, and keep the machine code where it is to be kept: now, and not at the first shard."""
    # Read-only, as blocks of a file are: numba compiles once per type.
    differences, values = np.frombuffer(bytes(4), dtype=np.uint16).reshape(1, 2), np.empty((1, 2), dtype=np.uint16)
    compiled.undo_predictor(differences, values)
    compiled.count_values(values.ravel(), np.zeros(65536, dtype=np.uint32))


def _undo_predictor(differences: Pixels, values: Pixels) -> None:
    height, width = differences.shape
    for y in range(height):
        value = np.uint16(0)
        for x in range(width):
            value = np.uint16(value + differences[y, x])
            values[y, x] = value


def _count_values(values: Pixels, counts: NDArray[np.uint32]) -> int:
    """Adds to counts; the largest value."""
    largest = 0
    for value in values:
        counts[value] += 1
        largest = max(largest, value)
    return largest
