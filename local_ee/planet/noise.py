"""Counter-based randomness: every value is a function of (key, row, column), so no window, order or process matters.

A 64-bit counter made of row and column goes through the finaliser of splitmix64; four neighbouring columns share one
hash of 64 bits, 16 bits each, and tables of 65,536 quantiles turn those into any distribution. Before it: nothing;
after it: ground, planet, catalogue.

Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators" (splitmix64); Salmon et al. 2011,
"Parallel random numbers: as easy as 1, 2, 3" (counters instead of states).
"""

from __future__ import annotations

import hashlib
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Range = tuple[int, int]
"""Half-open range of rows or columns; may be negative."""

_GAMMA = 0x9E3779B97F4A7C15
_ROW_STEP = np.uint64(0xD1342543DE82EF95)
_COL_STEP = np.uint64(_GAMMA)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)

QUANTILES = 65_536
_WORD = 4  # columns that share one 64-bit hash

# Mean square of the cubic B-spline's weights along one axis: scales smooth noise to unit variance.
_SPLINE_POWER = 151 / 315


def key(*parts: int | float | str) -> int:
    """A 64-bit key out of a seed and names: equal parts give equal keys on every machine."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def unit(*parts: int | float | str) -> float:
    """One number in [0, 1) out of a seed and names."""
    return key(*parts) / 2.0**64


def _finalise(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z ^= z >> _S30
    z *= _M1
    z ^= z >> _S27
    z *= _M2
    z ^= z >> _S31
    return z


def hashes(key: int, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hash of each (row, column); the two arrays broadcast against each other."""
    row_part = np.atleast_1d(rows).astype(np.int64).view(np.uint64) * _ROW_STEP + np.uint64(key)
    col_part = np.atleast_1d(cols).astype(np.int64).view(np.uint64) * _COL_STEP
    return _finalise(row_part + col_part)


def uniform16(key: int, rows: Range, cols: Range) -> NDArray[np.uint16]:
    """uint16 (rows, cols), every value equally likely: the index into a table of quantiles."""
    first, last = cols[0] // _WORD, -(-cols[1] // _WORD)
    words = hashes(key, np.arange(*rows)[:, None], np.arange(first, last)[None, :])
    skip = cols[0] - first * _WORD
    sixteen = words.astype("<u8", copy=False).view("<u2")
    return sixteen[:, skip : skip + cols[1] - cols[0]]


def draw(table: NDArray[np.float32], key: int, rows: Range, cols: Range) -> NDArray[np.float32]:
    """float32 (rows, cols): white noise with the distribution of a table of quantiles."""
    return np.take(table, uniform16(key, rows, cols), mode="wrap")


@cache
def normal_table() -> NDArray[np.float32]:
    """Quantiles of the standard normal distribution at (k + 1/2) / 65,536."""
    inverse = NormalDist().inv_cdf
    half = np.array([inverse((k + 0.5) / QUANTILES) for k in range(QUANTILES // 2)])
    return np.concatenate([half, -half[::-1]]).astype(np.float32)


@cache
def speckle_table(geometries: float) -> NDArray[np.float32]:
    """Quantiles in dB of multiplicative speckle with mean power 1: gamma with ``geometries`` as its shape.

    In x = ln(power) the density is proportional to exp(L (x - e^x)), which is smooth: integrated and inverted.
    """
    x = np.linspace(-60.0 / geometries - 2.0, 3.5, 400_001)
    density = np.exp(geometries * (x - np.exp(x)) + geometries)
    cdf = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    cdf /= cdf[-1]
    quantiles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return np.asarray(10 / np.log(10) * np.interp(quantiles, cdf, x), np.float32)


def smooth(key: int, scale_px: int, rows: Range, cols: Range) -> NDArray[np.float32]:
    """float32 (rows, cols): a Gaussian field of mean 0 and variance 1 with features of about ``scale_px`` pixels.

    Normal values on a coarse lattice, joined by cubic B-splines: nearly stationary and isotropic, and separable, so
    it costs a few operations per pixel.
    """
    row_cells, row_weights = _spline(rows, scale_px)
    col_cells, col_weights = _spline(cols, scale_px)
    first_row, first_col = int(row_cells[0]), int(col_cells[0])
    lattice_rows = (first_row, int(row_cells[-1]) + 4)
    lattice = draw(normal_table(), key, lattice_rows, (first_col, int(col_cells[-1]) + 4))
    along_rows = _weighted(lattice, row_cells - first_row, row_weights)
    return _weighted(np.ascontiguousarray(along_rows.T), col_cells - first_col, col_weights).T


def _spline(pixels: Range, scale_px: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """First of the four lattice points that shape each pixel, and their weights (4, pixels)."""
    numbers = np.arange(*pixels)
    cells = numbers // scale_px
    t = ((numbers - cells * scale_px) + 0.5) / scale_px
    weights = np.array([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3])
    return cells - 1, (weights / (6 * np.sqrt(_SPLINE_POWER))).astype(np.float32)


def _weighted(
    lattice: NDArray[np.float32], cells: NDArray[np.int64], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """float32 (pixels, m): rows of a (cells, m) lattice joined by the spline."""
    out: NDArray[np.float32] = lattice[cells] * weights[0][:, None]
    for k in range(1, 4):
        out += lattice[cells + k] * weights[k][:, None]
    return out


def fractal(key: int, octaves: tuple[tuple[int, float], ...], rows: Range, cols: Range) -> NDArray[np.float32]:
    """float32 (rows, cols): a sum of smooth fields, (scale in pixels, weight) each, scaled to variance 1."""
    total = np.zeros((rows[1] - rows[0], cols[1] - cols[0]), np.float32)
    norm = float(np.sqrt(sum(weight**2 for _, weight in octaves)))
    for number, (scale_px, weight) in enumerate(octaves):
        field = smooth((key + number * _GAMMA) & 0xFFFFFFFFFFFFFFFF, scale_px, rows, cols)
        total += np.float32(weight / norm) * field
    return total
