"""Images of files, as ``dwplus predict --pixels`` reads them."""

from pathlib import Path

import numpy as np
from dwplus.pipeline.own.image import Image, image_of
from dwplus.pipeline.own.pixels_dates import Dates
from dwplus.pipeline.own.pixels_products import Rules, find_products
from dwplus.pipeline.own.pixels_units import Said
from dwplus.pipeline.spec.bands import PRESETS, S2_BANDS
from dwplus.pipeline.spec.radar import Radar

from support.own_tiles import own_tile, s1_values, s2_values, write_raster

BANDS = (*PRESETS["ms10"], "VV", "VH")
YEAR = Radar("sigma0", "dB", None, ("ASCENDING", "DESCENDING"))
"""How their Sentinel-1 was made, as a run has to have been trained on it."""


def write_image(folder: Path, height: int, width: int, *, empty_rows: int = 0, seed: int = 0) -> list[Path]:
    """A stack of Sentinel-2 and one of Sentinel-1 on one grid; the first rows of Sentinel-1 have no data."""
    affine = own_tile().affine
    radar = s1_values(height, width, seed=seed)
    radar[:, :empty_rows] = np.nan
    return [
        write_raster(folder / "s2_20190703.tif", s2_values(height, width, seed=seed), affine, names=S2_BANDS, nodata=0),
        write_raster(folder / "s1_20190703.tif", radar, affine, names=("VV", "VH"), nodata=np.nan),
    ]


def open_image(paths: list[Path]) -> Image:
    return image_of(find_products(paths, Rules(("S2", "S1"), Dates(), Said())).products, BANDS)
