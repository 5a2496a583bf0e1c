"""Sample an image of one projection on the grid of another: nearest neighbour or bilinear.

Pixel (row, col) covers [col, col + 1) x [row, row + 1) of its own pixel space; its value stands at the centre. A
position on the border of two pixels belongs to the right or lower one.

Bilinear samples and masks: each of the four taps counts with its weight where it is valid, and the sample is valid
where any tap of a weight above zero is; pixels outside an image are masked. This is how Earth Engine documents its pyramids
(mask-weighted mean, mask > 0; https://developers.google.com/earth-engine/guides/scale); for ``resample`` its pages say
nothing, so it is an assumption there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .grid import Affine6, Floats, Grid, Projection, apply, invert, transformer
from .refusal import Refusal

Mode = Literal["nearest", "bilinear"]
Values = NDArray[np.generic]
Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]

NODE_SPACING_PX = 16
"""Between CRSs that differ, positions are exact every 8 pixels and bilinear in between; more often where that would be
off by more than ``NODE_ERROR_PX``."""

NODE_ERROR_PX = 0.005

SNAP_PX = 1e-6
"""Positions closer than this to a pixel centre or border are on it: far above rounding, far below what can be seen."""

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


class Geometry:
    """Where the pixels of grids fall in the pixel space of projections; kept for one request, since bands share it."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[Grid, str, int], _Nodes] = {}
        self._last: tuple[tuple[Grid, Projection], tuple[Floats, Floats]] | None = None

    def positions(self, grid: Grid, source: Projection) -> tuple[Floats, Floats]:
        """(col, row) in source pixels of all pixel centres of a grid, float64 (H, W) each; not finite where the grid
        lies outside what the source's CRS can express.
        """
        key = (grid, source)
        if self._last is None or self._last[0] != key:
            self._last = (key, self._positions(grid, source))
        return self._last[1]

    def _positions(self, grid: Grid, source: Projection) -> tuple[Floats, Floats]:
        to_pixels = invert(source.affine)
        if grid.crs == source.crs:
            return apply(to_pixels, *grid.centres())
        spacing = NODE_SPACING_PX
        while spacing > 1:
            nodes = self._nodes.setdefault((grid, source.crs, spacing), _Nodes(grid, source.crs, spacing))
            if nodes.error(to_pixels) < NODE_ERROR_PX:
                u, v = nodes.pixels(to_pixels)
                return nodes.between(u, grid.shape), nodes.between(v, grid.shape)
            spacing //= 2
        return apply(to_pixels, *transformer(grid.crs, source.crs).transform(*grid.centres()))


class _Nodes:
    """Every so many pixels of a grid, and the middles between them, in another CRS."""

    def __init__(self, grid: Grid, crs: str, spacing: int) -> None:
        count = (max(-(-grid.width // spacing), 1), max(-(-grid.height // spacing), 1))
        self.cols = np.linspace(0.0, float(grid.width), 2 * count[0] + 1)
        self.rows = np.linspace(0.0, float(grid.height), 2 * count[1] + 1)
        cols, rows = np.meshgrid(self.cols, self.rows)
        self.xy: tuple[Floats, Floats] = transformer(grid.crs, crs).transform(*apply(grid.affine, cols, rows))

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

    def between(self, at: Floats, shape: tuple[int, int]) -> Floats:
        i0, fi = _linear(self.rows, shape[0])
        j0, fj = _linear(self.cols, shape[1])
        columns = at[:, j0] + (at[:, j0 + 1] - at[:, j0]) * fj
        result = columns[i0 + 1] - columns[i0]
        result *= fi[:, None]
        result += columns[i0]
        return result


def _linear(nodes: Floats, size: int) -> tuple[Indices, Floats]:
    at = (np.arange(size) + 0.5) / (nodes[1] - nodes[0])
    low = np.minimum(at.astype(np.intp), len(nodes) - 2)
    return low, at - low


def sample(
    geometry: Geometry, grid: Grid, source: Projection, shape: tuple[int, int] | None, read: Reader, mode: Mode
) -> Raster:
    """Pixels of a grid out of a source image.

    Args:
        geometry: of this request.
        source: projection of the source.
        shape: (height, width) of the source, None where it goes on for ever.
        read: reads windows of the source.
        mode: ``nearest`` or ``bilinear``.

    Raises:
        Refusal: the window needed is too large.
    """
    aligned = grid.crs == source.crs and grid.upright and source.affine[1] == 0 and source.affine[3] == 0
    if aligned:
        a, _, c, _, e, f = grid.affine
        sa, _, sc, _, se, sf = source.affine
        cols = (a * (np.arange(grid.width) + 0.5) + (c - sc)) / sa
        rows = (e * (np.arange(grid.height) + 0.5) + (f - sf)) / se
        separable = _nearest_separable if mode == "nearest" else _bilinear_separable
        result = separable(rows, cols, shape, read)
    else:
        u, v = geometry.positions(grid, source)
        result = (_nearest_anywhere if mode == "nearest" else _bilinear_anywhere)(v, u, shape, read)
    return result if result is not None else Raster(np.zeros(grid.shape), np.zeros(grid.shape, dtype=bool))


def _split(positions: Floats) -> tuple[Indices, Floats]:
    """Lower tap and weight of the upper one, for positions in pixels."""
    at = positions - 0.5
    low = np.floor(at + SNAP_PX)
    weight = at - low
    weight[weight < SNAP_PX] = 0.0
    return low.astype(np.intp), weight


def _floor(positions: Floats) -> Indices:
    return np.floor(positions + SNAP_PX).astype(np.intp)


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


def _take(array: NDArray[np.generic], index: Indices, axis: int) -> NDArray[np.generic]:
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

    def blend(array: NDArray[np.floating]) -> NDArray[np.floating]:
        return _blend(_blend(array, *taps_j, axis=1), *taps_i, axis=0)

    values = _as_float(window.values)
    if window.mask is None:
        return Raster(blend(values))
    weights = blend(window.mask.astype(values.dtype))
    return _weighted(blend(np.where(window.mask, values, 0)), weights)


def _blend(
    array: NDArray[np.floating], low: Indices, high: Indices, weight: Floats, *, axis: int
) -> NDArray[np.floating]:
    """Linear interpolation along one axis; where the weight is the same everywhere (same pixel size) it is a number."""
    lower = _take(array, low, axis)
    if not weight.any():
        return lower  # type: ignore[return-value]
    upper = _take(array, high, axis)
    if float(np.ptp(weight)) < SNAP_PX:
        factor: object = array.dtype.type(weight[0])
    else:
        factor = weight.astype(array.dtype)[:, None] if axis == 0 else weight.astype(array.dtype)
    result = np.subtract(upper, lower)  # type: ignore[call-overload]
    result *= factor
    result += lower
    return result  # type: ignore[no-any-return]


def _as_float(values: Values) -> NDArray[np.floating]:
    """float32 where it holds 16-bit values and their weights exactly, else float64."""
    small = values.dtype.itemsize <= 2 or values.dtype == np.float32
    return values.astype(np.float32 if small else np.float64, copy=False)


def _weighted(total: NDArray[np.floating], weights: NDArray[np.floating]) -> Raster:
    mask = weights > SNAP_PX
    return Raster(np.divide(total, weights, out=np.zeros_like(total), where=mask), mask)


def _finite_span(v: Floats, u: Floats) -> tuple[Floats, Floats, Mask | None]:
    finite = np.isfinite(u) & np.isfinite(v)
    if finite.all():
        return v, u, None
    return np.where(finite, v, -2.0), np.where(finite, u, -2.0), finite


def _nearest_anywhere(v: Floats, u: Floats, shape: tuple[int, int] | None, read: Reader) -> Raster | None:
    v, u, finite = _finite_span(v, u)
    i, j = _floor(v), _floor(u)
    height, width = shape or (None, None)
    span_i, span_j = _span(i, i, height), _span(j, j, width)
    window = _read(read, span_i, span_j)
    if window is None or span_i is None or span_j is None:
        return None
    flat = _relative(i, span_i) * (span_j[1] - span_j[0]) + _relative(j, span_j)
    values = np.take(window.values.ravel(), flat)
    mask = None if window.mask is None else np.take(window.mask.ravel(), flat)
    return Raster(values, _both(mask, finite))


def _bilinear_anywhere(v: Floats, u: Floats, shape: tuple[int, int] | None, read: Reader) -> Raster | None:
    v, u, finite = _finite_span(v, u)
    (i, fi), (j, fj) = _split(v), _split(u)
    height, width = shape or (None, None)
    span_i, span_j = _span(i, i + 1, height), _span(j, j + 1, width)
    window = _read(read, span_i, span_j)
    if window is None or span_i is None or span_j is None:
        return None
    columns = span_j[1] - span_j[0]
    top, bottom = _relative(i, span_i) * columns, _relative(i + 1, span_i) * columns
    left, right = _relative(j, span_j), _relative(j + 1, span_j)
    values = _as_float(window.values)
    wi, wj = fi.astype(values.dtype), fj.astype(values.dtype)

    def blend(array: NDArray[np.floating]) -> NDArray[np.floating]:
        flat = array.ravel()
        upper = _mix(np.take(flat, top + left), np.take(flat, top + right), wj)
        lower = _mix(np.take(flat, bottom + left), np.take(flat, bottom + right), wj)
        return _mix(upper, lower, wi)

    if window.mask is None:
        return Raster(blend(values), finite)
    weights = blend(window.mask.astype(values.dtype))
    result = _weighted(blend(np.where(window.mask, values, 0)), weights)
    return Raster(result.values, _both(result.mask, finite))


def _mix(
    first: NDArray[np.floating], second: NDArray[np.floating], weight: NDArray[np.floating]
) -> NDArray[np.floating]:
    second -= first
    second *= weight
    second += first
    return second


def _both(first: Mask | None, second: Mask | None) -> Mask | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second
