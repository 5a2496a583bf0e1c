"""Pixels as colours: reflectance, backscatter and classes, the same in every picture. Knows no plots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...pipeline.spec.bands import decode
from ...pipeline.spec.classes import DYNAMIC_WORLD, IGNORE, ClassTable

SPLIT_COLOURS = {"train": "#3a6ea5", "val": "#e0a030", "test": "#c0392b", "inspect": "#555555"}
GREY = (0.93, 0.93, 0.93)


def true_colour(stored: NDArray[np.uint16]) -> NDArray[np.float32]:
    """float32 (H, W, 3) in 0..1 of B4, B3, B2 (stored uint16 (3, H, W)), stretched to the tile's own 2..98 %."""
    reflectance = decode(stored, ("B4", "B3", "B2"))
    low, high = np.nanpercentile(reflectance, (2, 98)) if np.isfinite(reflectance).any() else (0.0, 1.0)
    # Clouds and snow saturate rather than darken the ground.
    high = min(high, 0.4)
    # Never stretch less than 0.08: over dark water the noise would fill the picture.
    shown = np.clip((reflectance - low) / max(high - low, 0.08), 0, 1) ** 0.85
    return np.moveaxis(np.nan_to_num(shown, nan=0.0), 0, -1).astype(np.float32)


def backscatter(stored: NDArray[np.uint16]) -> NDArray[np.float32]:
    """float32 (H, W) in 0..1 of VV (stored uint16 (H, W)): -25 dB black, 0 dB white."""
    decibel = decode(stored[None], ("VV",))[0]
    shown: NDArray[np.float32] = np.nan_to_num(np.clip((decibel + 25) / 25, 0, 1), nan=0.0)
    return shown


def class_colours(indices: NDArray[np.uint8], classes: ClassTable = DYNAMIC_WORLD) -> NDArray[np.float32]:
    """float32 (H, W, 3) in 0..1: the colour of each class, light grey where ignored."""
    table = np.full((256, 3), GREY, dtype=np.float32)
    for land_cover in classes.classes:
        table[land_cover.index] = np.array(land_cover.rgb) / 255
    table[IGNORE] = GREY
    return table[indices]
