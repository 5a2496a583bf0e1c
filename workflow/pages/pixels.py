"""Tiles as pictures: true colour, backscatter and classes, as arrays and as small files for pages."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...pipeline.spec.bands import decode
from ...pipeline.spec.classes import DYNAMIC_WORLD, IGNORE, ClassTable

GREY = (0.93, 0.93, 0.93)
"""Of pixels without a class."""

SPLIT_COLOURS = {"train": "#3a6ea5", "val": "#e0a030", "test": "#c0392b", "inspect": "#555555"}

_JPEG_QUALITY = 82


@dataclass(frozen=True)
class TileView:
    """One tile as it is drawn.

    Attributes:
        title: which tile.
        rgb: uint16 (3, H, W), stored B4, B3, B2.
        vv: uint16 (H, W), stored VV.
        label: uint8 (H, W), class index or 255.
        predictions: run or map -> uint8 (H, W), class index; None where it says nothing of this tile.
    """

    title: str
    rgb: NDArray[np.uint16]
    vv: NDArray[np.uint16]
    label: NDArray[np.uint8]
    predictions: Mapping[str, NDArray[np.uint8] | None]


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


def photograph(picture: NDArray[np.float32]) -> bytes:
    """JPEG of a picture in 0..1, (H, W, 3) or (H, W): what has noise is a fifth of the size of a PNG."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray((picture * 255).round().astype(np.uint8)).save(out, "JPEG", quality=_JPEG_QUALITY)
    return out.getvalue()


def class_map(
    indices: NDArray[np.uint8],
    classes: ClassTable = DYNAMIC_WORLD,
    more: Mapping[int, tuple[int, int, int]] | None = None,
) -> bytes:
    """PNG of class indices, uint8 (H, W), with a palette.

    Args:
        more: colours of further indices, 0..255.
    """
    from PIL import Image

    palette = np.full((256, 3), round(GREY[0] * 255), dtype=np.uint8)
    for index, rgb in [*((one.index, one.rgb) for one in classes.classes), *(more or {}).items()]:
        palette[index] = rgb
    picture = Image.fromarray(indices)
    picture.putpalette(palette.tobytes())
    out = io.BytesIO()
    picture.save(out, "PNG")  # a tenth of the time of the best compression, for 4 % more bytes
    return out.getvalue()


def smaller(picture: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """A picture whose longer side is ``side`` px at most: means of whole blocks of pixels."""
    step = max(1, -(-max(picture.shape[:2]) // side))
    rows, columns = (n // step * step for n in picture.shape[:2])
    blocks = picture[:rows, :columns].reshape(rows // step, step, columns // step, step, *picture.shape[2:])
    means: NDArray[np.float32] = blocks.mean(axis=(1, 3), dtype=np.float32)
    return means
