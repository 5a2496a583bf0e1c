"""Small tiles and their pixels."""

from datetime import date

import numpy as np
from dwplus.pipeline.spec.bands import SHARD_BANDS
from dwplus.pipeline.spec.tiles import Tile
from numpy.typing import NDArray
from pyproj import Transformer


def make_tile(
    tile_id: str = "dw_9.0_45.0-20190701",
    *,
    crs: str = "EPSG:32632",
    x: float = 500000.0,
    y: float = 5000000.0,
    size: int = 8,
    biome: int = 4,
    day: date = date(2019, 7, 1),
) -> Tile:
    """A small tile whose upper left corner lies at (x, y)."""
    transform = (10.0, 0.0, x, 0.0, -10.0, y)
    return Tile(tile_id, crs, transform, (size, size), day, "EH", biome)


def tile_at(lon: float, lat: float, *, zone: int | None = None, east_px: int = 0, north_px: int = 0) -> Tile:
    """A tile of 510 x 510 px on whole pixels, centred near (lon, lat), moved by some pixels."""
    zone = zone or min(int((lon + 180) // 6) + 1, 60)
    crs = f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    left, top = round(x / 10) * 10 - 2550 + 10 * east_px, round(y / 10) * 10 + 2550 + 10 * north_px
    return make_tile(f"dw_{lon}_{lat}-20190701", crs=crs, x=float(left), y=float(top), size=510)


def make_pixels(size: int = 8, seed: int = 0) -> NDArray[np.uint16]:
    """Stored values of a shard without gaps: reflectance around 0.2, VV -12 dB, VH -19 dB, 30 observations."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1500, 2500, (len(SHARD_BANDS), size, size), dtype=np.uint16)
    pixels[SHARD_BANDS.index("VV")] = rng.integers(8700, 8900, (size, size))
    pixels[SHARD_BANDS.index("VH")] = rng.integers(8000, 8200, (size, size))
    pixels[SHARD_BANDS.index("S1_N")] = 30
    return pixels
