"""Pictures with soft borders, and pictures moved by parts of a pixel."""

import numpy as np
from numpy.typing import NDArray


def ground(size: int = 160, seed: int = 0) -> NDArray[np.float64]:
    """Fields of a hundred metres with soft borders: float64 (H, W)."""
    noise = np.random.default_rng(seed).normal(size=(size, size))
    rows, columns = np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :]
    return np.fft.ifft2(np.fft.fft2(noise) * np.exp(-60 * (rows**2 + columns**2))).real


def moved(picture: NDArray[np.float64], dx: float, dy: float) -> NDArray[np.float64]:
    """The picture, its content moved right by dx and down by dy pixels."""
    rows, columns = np.fft.fftfreq(picture.shape[-2])[:, None], np.fft.fftfreq(picture.shape[-1])[None, :]
    return np.fft.ifft2(np.fft.fft2(picture) * np.exp(-2j * np.pi * (columns * dx + rows * dy))).real
