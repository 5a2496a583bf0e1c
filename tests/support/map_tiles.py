"""Web Mercator by its textbook formulas, and picture files as arrays: what tiles of maps are checked with."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

TILE_PX = 256


def tile_of(lon: float, lat: float, z: int) -> tuple[int, int]:
    """(x, y) of the tile that shows a place. Source: https://wiki.openstreetmap.org/wiki/Slippy_map_tilenames"""
    x = (lon + 180) / 360 * 2**z
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**z
    return int(x), int(y)


def centres_of_tile(z: int, x: int, y: int) -> tuple[Any, Any]:
    """(lon, lat) of the centres of a tile's pixels, float64 (256, 256) each, in degrees."""
    cols, rows = np.meshgrid(np.arange(TILE_PX) + 0.5, np.arange(TILE_PX) + 0.5)
    lon = (x + cols / TILE_PX) / 2**z * 360 - 180
    lat = np.degrees(np.arctan(np.sinh(math.pi * (1 - 2 * (y + rows / TILE_PX) / 2**z))))
    return lon, lat


def pixels_of_tile(content: bytes) -> Any:
    """uint8 (bands, 256, 256) of a PNG or JPEG file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(content) as memory, memory.open() as opened:
            return opened.read()
