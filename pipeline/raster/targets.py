"""Targets: which pixels of a tile are trained on and scored, decided in one place.

A pixel counts where its label is marked, every Sentinel-2 band of the preset ``ms10`` has data, and VV and VH have
data: whatever a network reads, so that all runs are trained and scored on the same pixels. B1 and S1_N are left out: no
network of the paper reads them. In a data set without Sentinel-1 (pixels of a user) VV and VH are not asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..spec.bands import NODATA, PRESETS, SHARD_BANDS
from ..spec.classes import DYNAMIC_WORLD, IGNORE

NEEDED_BANDS: tuple[str, ...] = PRESETS["ms10sar"]
"""Bands without data in which a pixel does not count."""


def needed_bands(has_s1: bool) -> tuple[str, ...]:
    """``NEEDED_BANDS`` of a data set, which has Sentinel-1 or not (``DataRoot.has_s1``)."""
    return NEEDED_BANDS if has_s1 else PRESETS["ms10"]


_NEEDED = {has_s1: tuple(SHARD_BANDS.index(band) for band in needed_bands(has_s1)) for has_s1 in (True, False)}


def has_data(pixels: NDArray[np.uint16], *, has_s1: bool = True) -> NDArray[np.bool_]:
    """Where every needed band has data.

    Args:
        pixels: uint16 (bands, H, W) in the order of ``needed_bands(has_s1)`` or of ``SHARD_BANDS``, 0 = no data.
        has_s1: the data set has Sentinel-1.

    Returns:
        bool (H, W).
    """
    needed = _NEEDED[has_s1] if len(pixels) == len(SHARD_BANDS) else range(len(needed_bands(has_s1)))
    found: NDArray[np.bool_] = pixels[needed[0]] != NODATA
    for band in needed[1:]:
        found &= pixels[band] != NODATA
    return found


def target_of(codes: NDArray[np.uint8], pixels: NDArray[np.uint16], *, has_s1: bool = True) -> NDArray[np.uint8]:
    """Class index of each pixel that counts.

    Args:
        codes: uint8 (H, W), released codes 0..10.
        pixels, has_s1: as of ``has_data``.

    Returns:
        uint8 (H, W), 0..8, or 255 where the pixel is unmarked, cloud, or has no data in a needed band.
    """
    target = DYNAMIC_WORLD.class_indices(codes)
    target[~has_data(pixels, has_s1=has_s1)] = IGNORE
    return target


CODE_WITHOUT_DATA = 255
"""Code of pixels that are marked and have no data, where codes are counted; no label holds it."""


def counted_codes(codes: NDArray[np.uint8], pixels: NDArray[np.uint16], *, has_s1: bool = True) -> NDArray[np.uint8]:
    """Released codes, ``CODE_WITHOUT_DATA`` where a marked pixel has no data; arguments as of ``target_of``."""
    lost = ~has_data(pixels, has_s1=has_s1) & (DYNAMIC_WORLD.class_indices(codes) != IGNORE)
    return np.where(lost, np.uint8(CODE_WITHOUT_DATA), codes) if lost.any() else codes
