"""Sample an image of one projection on the grid of another: nearest neighbour or bilinear.

Pixel (row, col) covers [col, col + 1) x [row, row + 1) of its own pixel space; its value stands at the centre. A
position on the border of two pixels belongs to the right or lower one.

Bilinear samples and masks: each of the four taps counts with its weight where it is valid, and the sample is valid
where any tap of a weight above zero is; pixels outside an image are masked. This is what Earth Engine
documents for its pyramids (mask-weighted mean; reference/rest/Shared.Types/PyramidingPolicy on
https://developers.google.com/earth-engine); for ``resample`` its pages say nothing, so it is an assumption there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..refusal import Refusal
from .grid import Affine6, Floats, Projection, RequestGrid, apply, invert, transformer

Mode = Literal["nearest", "bilinear"]
Values = NDArray[Any]
Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]
Positions = NDArray[np.float32]

NODE_SPACING_PX = 16
"""Between CRSs that differ, positions are exact every 8 pixels and bilinear in between; more often where that would be
off by more than ``NODE_ERROR_PX``."""

NODE_ERROR_PX = 0.005

SNAP_PX = 1e-6
"""Positions closer than this to a pixel centre or border are on it: far above rounding, far below what can be seen."""

SNAP_NEAREST_PX = 1e-4
"""The same for positions between CRSs, which are kept in float32."""

LEAST_WEIGHT = 1e-3
"""Valid taps that together weigh less do not make a sample: rounding of a position must not bring a pixel to life."""

FAR_PX = 2.0**40

MAX_WINDOW_PX = 64_000_000
"""Source pixels that one band of a request may touch (there are no pyramids): beyond it memory runs out on Earth Engine
too, so the answer is its memory error."""


@dataclass(frozen=True)
class Raster:
    """One band of pixels.

    Attributes:
        values: (H, W); anything where masked.
        mask: bool (H, W), True = valid; None where all are valid.
    """

    values: Values
    mask: Mask | None = None

    @property
    def valid(self) -> Mask:
        return np.ones(self.values.shape, dtype=bool) if self.mask is None else self.mask


Reader = Callable[[tuple[int, int], tuple[int, int]], Raster]
"""Reads half-open ranges (rows, cols) of source pixels, which may reach outside the image (masked there)."""


class Alignment:
    """Where the pixels of grids fall in the pixel space of projections; kept for one request, since bands share it."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[RequestGrid, str, int], _Nodes] = {}
        self._last: tuple[tuple[RequestGrid, Projection, tuple[int, int] | None], Taps | None] | None = None

    def taps(self, grid: RequestGrid, source: Projection, shape: tuple[int, int] | None) -> Taps | None:
        """Which source pixels the pixels of a grid fall between; None: the whole grid lies outside the source."""
        key = (grid, source, shape)
        if self._last is None or self._last[0] != key:
            self._last = (key, self._taps(grid, source, shape))
        return self._last[1]

    def _taps(self, grid: RequestGrid, source: Projection, shape: tuple[int, int] | None) -> Taps | None:
        to_pixels = invert(source.affine)
        spacing = NODE_SPACING_PX
        while spacing > 1:
            key = (grid, source.crs, spacing)
            nodes = self._nodes.get(key) or self._nodes.setdefault(key, _Nodes(*key))
            if nodes.error(to_pixels) < NODE_ERROR_PX:
                return _taps(*nodes.pixels(to_pixels), shape, partial(nodes.between, shape=grid.shape))
            spacing //= 2
        exact = transformer(grid.crs, source.crs).transform(*grid.centres())
        return _taps(*apply(to_pixels, *exact), shape, lambda at: at.astype(np.float32))


class _Nodes:
    """Every n-th pixel of a grid, and the middles between them, in another CRS."""

    def __init__(self, grid: RequestGrid, crs: str, spacing: int) -> None:
        count = (max(-(-grid.width // spacing), 1), max(-(-grid.height // spacing), 1))
        self.cols = np.linspace(0.0, float(grid.width), 2 * count[0] + 1)
        self.rows = np.linspace(0.0, float(grid.height), 2 * count[1] + 1)
        xy = apply(grid.affine, *np.meshgrid(self.cols, self.rows))
        self.xy: tuple[Floats, Floats] = xy if crs == grid.crs else transformer(grid.crs, crs).transform(*xy)

    def pixels(self, to_pixels: Affine6) -> tuple[Floats, Floats]:
        return apply(to_pixels, *self.xy)

    def error(self, to_pixels: Affine6) -> float:
        """How far off linear interpolation is in the middles, in source pixels."""
        worst = 0.0
        for at in self.pixels(to_pixels):
            if not np.isfinite(at).all():
                return np.inf
            nodes = at[::2, ::2]
            middle = (nodes[1:, 1:] + nodes[:-1, :-1] + nodes[1:, :-1] + nodes[:-1, 1:]) / 4
            worst = max(worst, float(np.abs(middle - at[1::2, 1::2]).max()))
        return worst

    def between(self, at: Floats, shape: tuple[int, int]) -> Positions:
        """Values at the centres of all pixels, float32 (H, W), from those at the nodes."""
        i0, fi = _linear(self.rows, shape[0])
        j0, fj = _linear(self.cols, shape[1])
        columns = (at[:, j0] + (at[:, j0 + 1] - at[:, j0]) * fj).astype(np.float32)
        result: Positions = (columns[1:] - columns[:-1])[i0]
        result *= fi[:, None].astype(np.float32)
        result += columns[i0]
        return result


def _linear(nodes: Floats, size: int) -> tuple[Indices, Floats]:
    at = (np.arange(size) + 0.5) / (nodes[1] - nodes[0])
    low = np.minimum(at.astype(np.intp), len(nodes) - 2)
    return low, at - low


@dataclass(frozen=True)
class Taps:
    """Four source pixels for each pixel of a grid, within one window of the source.

    Attributes:
        rows, cols: half-open window of source pixels; at least 2 x 2, at most a pixel beyond the image on each side.
        index: (H, W), position of the upper left tap in the raveled window.
        down, right: float32 (H, W), weights of the lower and the right taps, 0..1.
        finite: where there is a position at all; None = everywhere.
    """

    rows: tuple[int, int]
    cols: tuple[int, int]
    index: Indices
    down: Positions
    right: Positions
    finite: Mask | None


def _taps(
    u: Floats, v: Floats, shape: tuple[int, int] | None, everywhere: Callable[[Floats], Positions]
) -> Taps | None:
    """Taps from (col, row) positions at some points, which ``everywhere`` makes into those of all pixels."""
    finite = np.isfinite(u) & np.isfinite(v)
    if not finite.any():
        return None
    height, width = shape or (None, None)
    rows, cols = _cover(_bounded(v[finite]), height), _cover(_bounded(u[finite]), width)
    if rows is None or cols is None:
        return None
    u, v = np.where(finite, u, 0.0), np.where(finite, v, 0.0)
    i, down = _within(everywhere(v - (rows[0] + 0.5)), rows)
    j, right = _within(everywhere(u - (cols[0] + 0.5)), cols)
    i *= cols[1] - cols[0]
    i += j
    return Taps(rows, cols, i, down, right, None if finite.all() else finite)


def _cover(positions: Floats, size: int | None) -> tuple[int, int] | None:
    """The window that holds all taps; what lies further out falls on the masked pixel beyond the border."""
    first, last = int(np.floor(positions.min() - 0.5)), int(np.floor(positions.max() - 0.5)) + 2
    if size is None:
        return first, last
    if first >= size or last <= 0:
        return None
    return max(first, -1), min(last, size + 1)


def _within(at: Positions, window: tuple[int, int]) -> tuple[Indices, Positions]:
    """Lower tap inside a window and weight of the upper one."""
    size = window[1] - window[0]
    np.clip(at, 0.0, float(size - 1), out=at)
    low = at.astype(np.intp)
    np.minimum(low, size - 2, out=low)
    at -= low
    return low, at


def sample(
    alignment: Alignment, grid: RequestGrid, source: Projection, shape: tuple[int, int] | None, read: Reader, mode: Mode
) -> Raster:
    """Pixels of a grid out of a source image.

    Args:
        alignment: of this request.
        source: projection of the source.
        shape: (height, width) of the source, None where it has no end.
        read: reads windows of the source.
        mode: ``nearest`` or ``bilinear``.

    Raises:
        Refusal: the window needed is too large.
    """
    aligned = grid.crs == source.crs and grid.upright and source.affine[1] == 0 and source.affine[3] == 0
    if aligned:
        a, _, c, _, e, f = grid.affine
        sa, _, sc, _, se, sf = source.affine
        cols = (a * _centres(grid.width) + (c - sc)) / sa
        rows = (e * _centres(grid.height) + (f - sf)) / se
        separable = _nearest_separable if mode == "nearest" else _bilinear_separable
        result = separable(rows, cols, shape, read)
    else:
        taps = alignment.taps(grid, source, shape)
        window = None if taps is None else _read(read, taps.rows, taps.cols)
        anywhere = _nearest_anywhere if mode == "nearest" else _bilinear_anywhere
        result = None if taps is None or window is None else anywhere(taps, window)
    return result if result is not None else Raster(np.zeros(grid.shape), np.zeros(grid.shape, dtype=bool))


def _centres(size: int) -> Floats:
    return np.arange(size, dtype=np.float64) + 0.5


def _bounded(positions: Floats) -> Floats:
    """Positions that fit into an index; no image reaches that far."""
    return np.clip(positions, -FAR_PX, FAR_PX)


def _split(positions: Floats) -> tuple[Indices, Floats]:
    """Lower tap and weight of the upper one, for positions in pixels."""
    at = _bounded(positions) - 0.5
    low = np.floor(at + SNAP_PX)
    weight = at - low
    weight[weight < SNAP_PX] = 0.0
    return low.astype(np.intp), weight


def _floor(positions: Floats) -> Indices:
    return np.floor(_bounded(positions) + SNAP_PX).astype(np.intp)


def _span(low: Indices, high: Indices, size: int | None) -> tuple[int, int] | None:
    """The half-open range to read; at most one pixel beyond the image on either side. None: nothing of it is needed."""
    first, last = int(low.min()), int(high.max()) + 1
    if size is None:
        return first, last
    if first >= size or last <= 0:
        return None
    return max(first, -1), min(last, size + 1)


def _read(read: Reader, rows: tuple[int, int] | None, cols: tuple[int, int] | None) -> Raster | None:
    if rows is None or cols is None:
        return None
    if (rows[1] - rows[0]) * (cols[1] - cols[0]) > MAX_WINDOW_PX:
        raise Refusal("User memory limit exceeded.")
    return read(rows, cols)


def _relative(index: Indices, span: tuple[int, int]) -> Indices:
    """Positions inside a window; what lies further out falls on the masked pixel beyond the border."""
    return np.clip(index - span[0], 0, span[1] - span[0] - 1)


def _take(array: NDArray[Any], index: Indices, axis: int) -> NDArray[Any]:
    """Rows (axis 0) or columns (axis 1); a view where they follow each other."""
    first = int(index[0])
    if int(index[-1]) - first == len(index) - 1 and bool((np.diff(index) == 1).all()):
        return array[first : first + len(index)] if axis == 0 else array[:, first : first + len(index)]
    return np.take(array, index, axis=axis)


def _nearest_separable(rows: Floats, cols: Floats, shape: tuple[int, int] | None, read: Reader) -> Raster | None:
    i, j = _floor(rows), _floor(cols)
    height, width = shape or (None, None)
    span_i, span_j = _span(i, i, height), _span(j, j, width)
    window = _read(read, span_i, span_j)
    if window is None or span_i is None or span_j is None:
        return None
    i, j = _relative(i, span_i), _relative(j, span_j)
    values = _take(_take(window.values, i, 0), j, 1)
    return Raster(values, None if window.mask is None else _take(_take(window.mask, i, 0), j, 1))


def _bilinear_separable(rows: Floats, cols: Floats, shape: tuple[int, int] | None, read: Reader) -> Raster | None:
    (i, fi), (j, fj) = _split(rows), _split(cols)
    i1, j1 = np.where(fi > 0, i + 1, i), np.where(fj > 0, j + 1, j)
    height, width = shape or (None, None)
    span_i, span_j = _span(i, i1, height), _span(j, j1, width)
    window = _read(read, span_i, span_j)
    if window is None or span_i is None or span_j is None:
        return None
    taps_i = (_relative(i, span_i), _relative(i1, span_i), fi)
    taps_j = (_relative(j, span_j), _relative(j1, span_j), fj)

    def blend(array: NDArray[Any]) -> NDArray[Any]:
        return _blend(_blend(array, *taps_j, axis=1), *taps_i, axis=0)

    values = _as_float(window.values)
    if window.mask is None:
        return Raster(blend(values))
    total = blend(np.where(window.mask, values, 0))
    return _weighted_at_edges(total, window.mask, taps_i, taps_j)


def _weighted_at_edges(
    total: NDArray[Any],
    valid: Mask,
    taps_i: tuple[Indices, Indices, Floats],
    taps_j: tuple[Indices, Indices, Floats],
) -> Raster:
    """Weights are one where all taps are valid and nothing where none is: only what lies between has to be weighed."""

    def joined(join: Callable[[Mask, Mask], Mask]) -> Mask:
        across = join(_take(valid, taps_j[0], 1), _take(valid, taps_j[1], 1))
        return join(_take(across, taps_i[0], 0), _take(across, taps_i[1], 0))

    mask, touched = joined(np.logical_and), joined(np.logical_or)
    row, col = np.divmod(np.flatnonzero(mask != touched), mask.shape[1])
    weight = np.zeros(len(row))
    for i, weight_i in ((taps_i[0], 1 - taps_i[2]), (taps_i[1], taps_i[2])):
        for j, weight_j in ((taps_j[0], 1 - taps_j[2]), (taps_j[1], taps_j[2])):
            weight += valid[i[row], j[col]] * weight_i[row] * weight_j[col]
    enough = weight > LEAST_WEIGHT
    mask[row, col] = enough
    total[row, col] = np.where(enough, total[row, col] / np.where(enough, weight, 1), 0)
    return Raster(total, mask)


def _blend(array: NDArray[Any], low: Indices, high: Indices, weight: Floats, *, axis: int) -> NDArray[Any]:
    """Linear interpolation along one axis; where the weight is the same everywhere (same pixel size) it is a number."""
    lower = _take(array, low, axis)
    if not weight.any():
        return lower
    upper = _take(array, high, axis)
    if float(np.ptp(weight)) < SNAP_PX:
        factor: object = array.dtype.type(weight[0])
    else:
        factor = weight.astype(array.dtype)[:, None] if axis == 0 else weight.astype(array.dtype)
    result: NDArray[Any] = np.subtract(upper, lower)
    result *= factor
    result += lower
    return result


def _as_float(values: Values) -> NDArray[Any]:
    """float32 where it holds 16-bit values and their weights exactly, else float64."""
    small = values.dtype.itemsize <= 2 or values.dtype == np.float32
    return values.astype(np.float32 if small else np.float64, copy=False)


def _weighted(total: NDArray[Any], weights: NDArray[Any]) -> Raster:
    mask = weights > LEAST_WEIGHT
    return Raster(np.divide(total, weights, out=np.zeros_like(total), where=mask), mask)


def _nearest_anywhere(taps: Taps, window: Raster) -> Raster:
    width = taps.cols[1] - taps.cols[0]
    index = taps.index + (taps.right >= 0.5 - SNAP_NEAREST_PX) + width * (taps.down >= 0.5 - SNAP_NEAREST_PX)
    mask = None if window.mask is None else np.take(window.mask.ravel(), index)
    return Raster(np.take(window.values.ravel(), index), _both(mask, taps.finite))


def _bilinear_anywhere(taps: Taps, window: Raster) -> Raster:
    values = _as_float(window.values)
    width = taps.cols[1] - taps.cols[0]

    def blend(array: NDArray[Any]) -> NDArray[Any]:
        flat = array.ravel()
        upper = _mix(flat.take(taps.index), flat[1:].take(taps.index, mode="clip"), taps.right)
        lower = _mix(
            flat[width:].take(taps.index, mode="clip"), flat[width + 1 :].take(taps.index, mode="clip"), taps.right
        )
        return _mix(upper, lower, taps.down)

    if window.mask is None:
        return Raster(blend(values), taps.finite)
    result = _weighted(blend(np.where(window.mask, values, 0)), blend(window.mask.astype(values.dtype)))
    return Raster(result.values, _both(result.mask, taps.finite))


def _mix(first: NDArray[Any], second: NDArray[Any], weight: Positions) -> NDArray[Any]:
    second -= first
    second *= weight
    second += first
    return second


def _both(first: Mask | None, second: Mask | None) -> Mask | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second
