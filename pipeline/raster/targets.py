"""Targets: which pixels of a tile are trained on and scored, decided in one place.

A pixel counts where its label is marked, every Sentinel-2 band of the preset ``ms10`` has data, and VV and VH have
data: whatever a network reads, so that all runs are trained and scored on the same pixels. B1 and S1_N are left out: no
network of the paper reads them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..spec.bands import NODATA, PRESETS, SHARD_BANDS
from ..spec.classes import DYNAMIC_WORLD, IGNORE, ClassTable

NEEDED_BANDS: tuple[str, ...] = PRESETS["ms10sar"]
"""Bands without data in which a pixel does not count."""

_NEEDED = tuple(SHARD_BANDS.index(band) for band in NEEDED_BANDS)


def has_data(pixels: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Where every needed band has data.

    Args:
        pixels: uint16 (bands, H, W) in the order of ``NEEDED_BANDS`` or of ``SHARD_BANDS``, 0 = no data.

    Returns:
        bool (H, W).
    """
    needed = _NEEDED if len(pixels) == len(SHARD_BANDS) else range(len(NEEDED_BANDS))
    found: NDArray[np.bool_] = pixels[needed[0]] != NODATA
    for band in needed[1:]:
        found &= pixels[band] != NODATA
    return found


def target_of(
    codes: NDArray[np.uint8], pixels: NDArray[np.uint16], classes: ClassTable = DYNAMIC_WORLD
) -> NDArray[np.uint8]:
    """Class index of each pixel that counts.

    Args:
        codes: uint8 (H, W), codes of stored labels, 0..K + 1.
        pixels: as of ``has_data``.
        classes: the K classes.

    Returns:
        uint8 (H, W), 0..K - 1, or 255 where the pixel is unmarked, ignored, or has no data in a needed band.
    """
    target = classes.class_indices(codes)
    target[~has_data(pixels)] = IGNORE
    return target


CODE_WITHOUT_DATA = 255
"""Code of pixels that are marked and have no data, where codes are counted; no label holds it."""


def counted_codes(codes: NDArray[np.uint8], pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Released codes, ``CODE_WITHOUT_DATA`` where a marked pixel has no data; arguments as of ``target_of``."""
    lost = ~has_data(pixels) & (DYNAMIC_WORLD.class_indices(codes) != IGNORE)
    return np.where(lost, np.uint8(CODE_WITHOUT_DATA), codes) if lost.any() else codes
