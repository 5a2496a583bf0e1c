"""An image of files: stored values by rows, on the grid of Sentinel-2."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.own.image import image_of
from dwplus.pipeline.own.pixels_products import BandPlace, Product
from dwplus.pipeline.own.pixels_units import Unit
from dwplus.pipeline.raster.geotiff import RasterGrid
from dwplus.pipeline.spec.bands import BANDS

BANDS_READ = ("B2", "B3")
GRID = (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_000_000.0)


def two_bands(path: Path, values: np.ndarray, unit: Unit, *, right: int = 0) -> Product:
    """A product of one file with B2 and B3, so many pixels right of ``GRID``'s corner; it names no value of no data."""
    _, height, width = values.shape
    transform = Affine(*GRID) @ Affine.translation(right, 0)
    profile = {"driver": "GTiff", "count": 2, "height": height, "width": width, "crs": "EPSG:32632"}
    with rasterio.open(path, "w", **profile, dtype=values.dtype, transform=transform) as file:
        file.write(values)
    places = {band: BandPlace(path, number, unit) for number, band in enumerate(BANDS_READ, 1)}
    return Product(path.stem, "S2", date(2024, 7, 3), places, RasterGrid("EPSG:32632", GRID, (height, width)))


def expected(values: np.ndarray, unit: Unit) -> np.ndarray:
    """Stored values by arithmetic, pixel by pixel."""
    found = np.zeros(values.shape, dtype=np.uint16)
    for n, band in enumerate(BANDS_READ):
        for place, value in np.ndenumerate(values[n]):
            if np.isfinite(value) and value != unit.nodata:
                reflectance = (float(value) - unit.offset) * unit.scale
                found[n][place] = min(65535, max(1, round((reflectance - BANDS[band].offset) / BANDS[band].scale)))
    return found


@pytest.mark.parametrize(
    ("dtype", "unit"),
    [
        ("uint8", Unit(scale=1 / 250, nodata=255)),
        ("uint16", Unit(scale=1e-4, offset=1000, nodata=0)),
        ("uint16", Unit(scale=2e-4, nodata=65535)),
        ("uint16", Unit(scale=1e-4)),
        ("int16", Unit(scale=1e-4, nodata=-9999)),
        ("int16", Unit(scale=1e-4, offset=-100)),
        ("int32", Unit(scale=1e-4, nodata=0)),
        ("float32", Unit(nodata=-1)),
    ],
)
def test_stored_values_are_those_of_arithmetic_whatever_numbers_a_file_holds(tmp_path: Path, dtype: str, unit: Unit):
    # Given all ends of a type, its value of no data and numbers between, 7 rows of 40 px.
    rng = np.random.default_rng(1)
    ends = np.iinfo(dtype) if dtype != "float32" else np.finfo(np.float32)
    low, high = (max(-40_000, ends.min), min(70_000, ends.max)) if dtype != "float32" else (-0.2, 1.2)
    values = rng.uniform(low, high, (2, 7, 40)).astype(dtype)
    values[0, 0, :2] = low, high
    values[1, 3, 5:8] = unit.nodata or 0
    image = image_of([two_bands(tmp_path / "a.tif", values, unit)], BANDS_READ)

    found = image.read(BANDS_READ, 0, 7)

    # Halves are rounded to even numbers on both sides; float32 is what files of floats hold.
    np.testing.assert_array_equal(found, expected(values.astype(np.float32), unit))
    np.testing.assert_array_equal(image.read(BANDS_READ, 2, 5), found[:, 2:5])


def test_where_a_file_does_not_reach_there_is_no_data(tmp_path: Path):
    # Given a file that begins 3 px left of the image and ends 3 px before its end.
    values = np.full((2, 4, 20), 1500, dtype=np.uint16)
    image = image_of([two_bands(tmp_path / "a.tif", values, Unit(1e-4), right=-3)], BANDS_READ)

    found = image.read(BANDS_READ, 0, 4)

    assert (found[:, :, :17] == 1500).all()
    assert (found[:, :, 17:] == 0).all()


def test_a_file_that_ends_early_is_an_error_that_names_it(tmp_path: Path):
    values = np.random.default_rng(0).integers(1, 9_000, (2, 64, 64)).astype(np.uint16)
    image = image_of([two_bands(tmp_path / "cut.tif", values, Unit(1e-4))], BANDS_READ)
    whole = (tmp_path / "cut.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(DataError, match=r"cut\.tif is damaged"):
        image.read(BANDS_READ, 0, 64)
