"""Shift: by what part of a pixel two pictures of one tile lie apart, by phase correlation of their edges. Pure.

Radar and optics do not share values, they share edges; so gradient magnitudes are compared, never pixels. A shift is
(dx, dy) in pixels, positive where the second picture lies further right (east) and down (south) than the first one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import NDArray

from ..spec.classes import IGNORE

MAX_SHIFT_PX = 8.0
"""Peaks further out are ignored: 80 m is many times what the sensors' geolocation can be wrong by."""

CLEAR = 7.0
"""Least height of a peak above the rest of the correlation, in standard deviations of that rest.

Of 188 real pairs that do not belong together (radar, optics and labels of different places, or mirrored) the median
peak is 2.7, the highest 5.3 high."""

_PEAK_SIGMA_PX = 1.5
"""Standard deviation of the peak that one shift makes. Wider than a pixel: finer edges are not common to two sensors,
and the logarithm of three neighbours gives its centre."""

_WIDE_SIGMA_PX = 12.0
"""Slower changes than this do not count: any two tapered pictures share those, whatever they show."""

_SMOOTH_PX = 1.0
"""Standard deviation of the smoothing before gradients are taken: speckle has edges everywhere."""

_AROUND_PEAK_PX = 6
"""Half the side of the square around the peak that does not count as the rest."""

_SURROUNDINGS_PX = 40
"""Half the side of the square around no shift that the rest is taken from."""

LEAST_SEEN = 0.25
"""Least share of pixels that both pictures must show."""

LEAST_EDGES = 0.05
"""Least share of pixels on edges: one border between two fields fits in many places. A real label with 13 % has a clear
peak, one with 1 % none; labels of the sandbox have 15 % or more."""

_STRIP_PX = 5.0
"""Reach of marked ground into an unmarked strip: strips of twice this width are closed."""

_STRIP_WEIGHT = 0.023
"""Weight of a class that begins two standard deviations away, behind a straight border."""

_FAINT = 0.05
"""Gradient of a class picture below which a pixel lies on no edge: the tail of the smoothing."""


@dataclass(frozen=True)
class Shift:
    """Position of the second picture relative to the first.

    Attributes:
        dx, dy: pixels, positive to the right (east) and down (south).
        clarity: height of the peak above the rest, in standard deviations of the rest.
    """

    dx: float
    dy: float
    clarity: float

    @property
    def clear(self) -> bool:
        """Whether the peak stands out; where it does not, dx and dy say nothing."""
        return self.clarity >= CLEAR

    @property
    def length(self) -> float:
        """Pixels."""
        return hypot(self.dx, self.dy)


def shift_between(first: NDArray[np.floating], second: NDArray[np.floating]) -> Shift | None:
    """Shift of ``second`` against ``first``; None where too little is seen, or nothing has an edge.

    Args:
        first, second: edge pictures, float (H, W), at least 0, NaN where nothing is known (see ``edges_of_bands``,
            ``edges_of_label``).

    Source: Kuglin and Hines 1975 (phase correlation); the peak is read from a Gaussian low-pass of the phases, which
    makes the peak of a single shift a Gaussian, whose centre three neighbours give without bias.
    """
    # A gap of one picture is one of both: its outline would be an edge that only one of them has.
    seen = np.isfinite(first) & np.isfinite(second)
    if seen.mean() < LEAST_SEEN:
        return None
    spectra = []
    for picture in (first, second):
        prepared = _prepared(picture, seen)
        if prepared is None:
            return None
        spectra.append(np.fft.rfft2(prepared))
    cross = np.conj(spectra[0]) * spectra[1]
    size = np.abs(cross)
    if not size.any():
        return None
    # Frequencies that neither picture has are rounding noise, whose phase must not count.
    phases = np.divide(cross, size, out=np.zeros_like(cross), where=size > size.max() * 1e-9)
    surface = np.fft.irfft2(phases * _band_pass(seen.shape), s=seen.shape)
    return _peak(surface)


def _prepared(picture: NDArray[np.floating], seen: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Edges around zero, tapered to the borders of the tile and of its gaps; None where there is no edge at all."""
    edges = picture[seen & (picture > 0)]
    if edges.size < LEAST_EDGES * seen.size:
        return None
    # A few bright roofs must not decide alone.
    capped = np.minimum(picture, np.percentile(edges, 99.0))
    taper = _taper(seen)
    mean = float(np.average(capped[seen], weights=taper[seen]))
    if not capped[seen].std() > 1e-9 * max(mean, 1e-30):
        return None
    centred: NDArray[np.float64] = np.where(seen, capped - mean, 0.0) * taper
    return centred


def _taper(seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    height, width = seen.shape
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    if seen.all():
        return np.asarray(window, dtype=np.float64)
    near_gap = _smooth(seen.astype(np.float64), 2.0)
    # 0 at the outline of a gap, 1 from some pixels on.
    return np.asarray(window * np.clip(2 * near_gap - 1, 0, 1), dtype=np.float64)


def _band_pass(shape: tuple[int, ...]) -> NDArray[np.float64]:
    rows, columns = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    squares = 2 * np.pi**2 * (rows**2 + columns**2)
    weights: NDArray[np.float64] = np.exp(-(_PEAK_SIGMA_PX**2) * squares) - np.exp(-(_WIDE_SIGMA_PX**2) * squares)
    return weights


def _peak(surface: NDArray[np.float64]) -> Shift:
    """The highest point within reach of no shift, and how it stands out of its surroundings.

    Tapered pictures make a surface that is rougher at small shifts than at large ones, so that the surroundings tell
    what chance does there, not the whole surface.
    """
    height, width = surface.shape
    centre_y, centre_x = (min(_SURROUNDINGS_PX, (n - 1) // 2) for n in (height, width))
    around = np.roll(surface, (centre_y, centre_x), axis=(0, 1))[: 2 * centre_y + 1, : 2 * centre_x + 1]
    rows, columns = np.arange(-centre_y, centre_y + 1)[:, None], np.arange(-centre_x, centre_x + 1)[None, :]
    near = np.maximum(np.abs(rows), np.abs(columns)) <= MAX_SHIFT_PX
    row, column = np.unravel_index(int(np.argmax(np.where(near, around, -np.inf))), around.shape)
    y, x = int(row) - centre_y, int(column) - centre_x
    rest = around[np.maximum(np.abs(rows - y), np.abs(columns - x)) > _AROUND_PEAK_PX]
    spread = float(rest.std()) if rest.size else float("inf")
    top = float(surface[y, x])
    return Shift(
        dx=x + _between(surface[y, (x - 1) % width], top, surface[y, (x + 1) % width]),
        dy=y + _between(surface[(y - 1) % height, x], top, surface[(y + 1) % height, x]),
        # Two equal pictures have no rest at all.
        clarity=min((top - float(rest.mean() if rest.size else 0.0)) / max(spread, 1e-12), 1e6),
    )


def _between(before: float, top: float, after: float) -> float:
    """Centre of a Gaussian through three neighbours, -0.5..0.5 from the middle one."""
    if min(before, top, after) <= 0:
        return 0.0
    left, middle, right = np.log(before), np.log(top), np.log(after)
    bend = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0


# --- edge pictures ----------------------------------------------------------------------------------------------------


def edges_of_bands(bands: NDArray[np.floating]) -> NDArray[np.floating]:
    """Gradient magnitude, summed over bands that are each scaled to their own spread.

    Args:
        bands: float (bands, H, W), reflectance or dB, NaN where there is no data.

    Returns:
        float32 (H, W), NaN next to pixels without data.
    """
    total = np.zeros(bands.shape[1:], dtype=np.float32)
    for band in bands:
        known = np.isfinite(band)
        if not known.any():
            return np.full(bands.shape[1:], np.nan, dtype=np.float32)
        filled = np.where(known, band, band[known].mean()).astype(np.float32)
        magnitude = _gradient(filled)
        spread = float(np.median(magnitude[known]))
        total += np.where(_all_around(known), magnitude / np.float32(spread or 1.0), np.float32(np.nan))
    return total


def edges_of_label(indices: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Where classes meet: gradient magnitude of the picture of each class, summed.

    People leave a strip unmarked between two classes; the border is taken to run through its middle.

    Args:
        indices: uint8 (H, W), class index, 255 = ignored.

    Returns:
        float32 (H, W), NaN next to wider ignored ground: the outline of what was marked is no edge on the ground.
    """
    total = np.zeros(indices.shape, dtype=np.float32)
    filled = _with_strips_filled(indices)
    known = filled != IGNORE
    for index in np.unique(filled[known]):
        total += _gradient((filled == index).astype(np.float32))
    total[total < _FAINT] = 0
    return np.where(_all_around(known), total, np.float32(np.nan))


def _with_strips_filled(indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Ignored pixels next to marked ones get the class that weighs most around them."""
    ignored = indices == IGNORE
    classes = np.unique(indices[~ignored])
    if not ignored.any() or not classes.size:
        return indices
    filled, most = indices.copy(), np.full(indices.shape, _STRIP_WEIGHT, dtype=np.float32)
    for index in classes:
        weight = _smooth((indices == index).astype(np.float32), _STRIP_PX / 2)
        heavier = ignored & (weight > most)
        filled[heavier], most[heavier] = index, weight[heavier]
    return filled


def _gradient(picture: NDArray[np.floating]) -> NDArray[np.floating]:
    rows, columns = np.gradient(_smooth(picture, _SMOOTH_PX))
    magnitude: NDArray[np.floating] = np.sqrt(rows * rows + columns * columns)
    return magnitude


def _smooth(picture: NDArray[np.floating], sigma_px: float) -> NDArray[np.floating]:
    reach = int(np.ceil(3 * sigma_px))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    weights /= weights.sum()
    height, width = picture.shape
    padded = np.pad(picture, reach, mode="edge")
    rows = np.zeros((height, width + 2 * reach), dtype=picture.dtype)
    smooth = np.zeros_like(picture)
    for k, weight in enumerate(weights):
        rows += picture.dtype.type(weight) * padded[k : k + height]
    for k, weight in enumerate(weights):
        smooth += picture.dtype.type(weight) * rows[:, k : k + width]
    return smooth


def _all_around(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels whose gradient saw known pixels only."""
    if known.all():
        return known
    reach = int(np.ceil(3 * _SMOOTH_PX)) + 1
    for axis in (0, 1):
        padded = np.pad(known, [(reach, reach) if n == axis else (0, 0) for n in (0, 1)], mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=axis)
        known = np.asarray(windows.all(axis=-1))
    return known


# --- many tiles -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SetShift:
    """What the clear shifts of many tiles say together.

    Attributes:
        tiles: that were measured.
        clear: of those, how many have a clear peak; the other fields are about them alone.
        dx, dy: median, pixels.
        spread_x, spread_y: robust standard deviation of one tile (1.4826 x median absolute deviation), pixels.
    """

    tiles: int
    clear: int
    dx: float
    dy: float
    spread_x: float
    spread_y: float

    @property
    def error(self) -> float:
        """Standard error of the median, pixels; infinite with fewer than two clear tiles."""
        return 1.2533 * hypot(self.spread_x, self.spread_y) / self.clear**0.5 if self.clear > 1 else float("inf")


def set_shift(shifts: Iterable[Shift | None]) -> SetShift:
    """Median and spread of the clear ones among many shifts."""
    every = list(shifts)
    clear = [shift for shift in every if shift is not None and shift.clear]
    if not clear:
        return SetShift(len(every), 0, 0.0, 0.0, 0.0, 0.0)
    (dx, spread_x), (dy, spread_y) = (_middle([s.dx for s in clear]), _middle([s.dy for s in clear]))
    return SetShift(len(every), len(clear), dx, dy, spread_x, spread_y)


def _middle(values: Sequence[float]) -> tuple[float, float]:
    median = float(np.median(values))
    return median, 1.4826 * float(np.median(np.abs(np.array(values) - median)))
