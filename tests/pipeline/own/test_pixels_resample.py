"""Pixels on the grid of a tile, held against rasterio and against arithmetic."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.own.pixels_resample import METHODS, resampled
from dwplus.pipeline.own.pixels_units import Unit
from rasterio.warp import reproject, transform
from support.own_tiles import own_tile, s1_values, s2_values, write_raster

GRIDS = {
    "EPSG:32632": 10.0,
    "EPSG:32633": 20.0,
    "EPSG:3035": 7.5,
    "EPSG:4326": 1e-4,
    "EPSG:2154": 60.0,
}
"""CRS -> pixel size in it."""


def source_around(path: Path, crs: str, pixel: float) -> Path:
    """A file that covers 2 km around the tile, with an origin off the tile's lattice."""
    tile = own_tile()
    (x,), (y,) = transform(tile.crs, crs, [tile.affine.c + 160], [tile.affine.f - 160])
    side = 300 if pixel < 1 else max(60, round(2_000 / pixel))
    grid = Affine(pixel, 0, x - side / 2 * pixel + pixel / 3, 0, -pixel, y + side / 2 * pixel - pixel / 7)
    values = s2_values(side, side)[:2]
    values[0, side // 2, side // 2] = 0
    return write_raster(path, values, grid, crs=crs, names=("B2", "B3"), tiled=side > 256, nodata=0)


@pytest.mark.parametrize("crs", GRIDS)
@pytest.mark.parametrize("method", METHODS)
def test_pixels_of_another_grid_equal_reproject(tmp_path: Path, crs: str, method: str) -> None:
    tile = own_tile()
    path = source_around(tmp_path / "a.tif", crs, GRIDS[crs])

    found = resampled(path, [1, 2], [Unit(nodata=0)] * 2, tile, method)  # type: ignore[arg-type]

    expected = np.full((2, *tile.shape), np.nan, np.float32)
    with rasterio.open(path) as file:
        for n in (0, 1):
            reproject(
                file.read(n + 1), expected[n], src_transform=file.transform, src_crs=file.crs, src_nodata=0,
                dst_transform=tile.affine, dst_crs=tile.crs, dst_nodata=np.nan, resampling=METHODS[method],  # type: ignore[index]
            )  # fmt: skip
    assert np.isfinite(expected).mean() > 0.9
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("right", "down"), [(-3, -5), (6, 2), (-40, 3), (17, 0)])
def test_pixels_on_the_same_grid_are_those_of_the_file(tmp_path: Path, method: str, right: int, down: int) -> None:
    # Given a file of 30 x 20 px whose first pixel lies so many pixels right of the tile's and below it; both have gaps.
    tile = own_tile(size=16)
    values = np.stack([s2_values(20, 30)[0], s2_values(20, 30)[1]])
    values[0, 6:9, 4:11], values[1, 10, 12] = 0, 7
    path = write_raster(tmp_path / "a.tif", values, tile.affine @ Affine.translation(right, down), names=("B2", "B3"))

    found = resampled(path, [2, 1], [Unit(nodata=7), Unit(nodata=0)], tile, method)  # type: ignore[arg-type]

    # Then each pixel is the file's own, looked up one by one, and reproject says the same.
    for number, nodata, band in ((1, 7, found[0]), (0, 0, found[1])):
        for row, column in np.ndindex(16, 16):
            there = (row - down, column - right)
            inside = 0 <= there[0] < 20 and 0 <= there[1] < 30
            value = values[number][there] if inside else nodata
            assert np.isnan(band[row, column]) if value == nodata else band[row, column] == value
    plain = np.full((16, 16), np.nan, np.float32)
    with rasterio.open(path) as file:
        reproject(
            file.read(2), plain, src_transform=file.transform, src_crs=file.crs, src_nodata=7,
            dst_transform=tile.affine, dst_crs=tile.crs, dst_nodata=np.nan, resampling=METHODS[method],  # type: ignore[index]
        )  # fmt: skip
    np.testing.assert_array_equal(np.isnan(found[0]), np.isnan(plain))
    np.testing.assert_allclose(found[0], plain, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("pixel", "shift"), [(10.0, 0.01), (10.001, 0.0)])
def test_a_grid_that_is_nearly_the_same_is_resampled(tmp_path: Path, pixel: float, shift: float) -> None:
    tile = own_tile(size=16)
    grid = tile.affine @ Affine.translation(-4 + shift, -4) @ Affine.scale(pixel / 10)
    values = s1_values(24, 24)
    path = write_raster(tmp_path / "a.tif", values, grid)

    (found,) = resampled(path, [1], [Unit()], tile, "bilinear")

    assert 0 < np.nanmax(np.abs(found - values[0, 4:20, 4:20])) < 1


def test_half_a_pixel_is_the_mean_of_four_neighbours_and_no_shift_is_none(tmp_path: Path) -> None:
    tile = own_tile(size=16)
    values = s1_values(24, 24)
    on_lattice = write_raster(tmp_path / "a.tif", values, tile.affine @ Affine.translation(-4, -4))
    half_off = write_raster(tmp_path / "b.tif", values, tile.affine @ Affine.translation(-4.5, -4.5))

    same = resampled(on_lattice, [1], [Unit()], tile, "bilinear")[0]
    between = resampled(half_off, [1], [Unit()], tile, "bilinear")[0]

    np.testing.assert_array_equal(same, values[0, 4:20, 4:20])
    corners = [values[0, 4 + r : 20 + r, 4 + c : 20 + c] for r in (0, 1) for c in (0, 1)]
    np.testing.assert_allclose(between, np.mean(corners, axis=0), atol=1e-4)
    assert np.abs(between - same).max() > 0.1


def test_where_the_file_does_not_reach_or_has_no_data_there_is_none(tmp_path: Path) -> None:
    tile = own_tile(size=16)
    values = s2_values(16, 16)[:1]
    values[0, 3, 3] = 0
    path = write_raster(tmp_path / "a.tif", values, tile.affine @ Affine.translation(8, 0))

    (found,) = resampled(path, [1], [Unit(nodata=0)], tile, "bilinear")

    assert np.isnan(found[:, :8]).all()
    assert np.isnan(found[3, 11])
    assert np.isfinite(found[:, 8:]).sum() == 16 * 8 - 1


def test_a_file_whose_pixels_cannot_be_decoded_is_an_error(tmp_path: Path) -> None:
    tile = own_tile(size=64)
    path = write_raster(tmp_path / "a.tif", s2_values(64, 64), tile.affine, compress="zstd")
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"a.tif is damaged"):
        resampled(path, [1, 11], [Unit(nodata=0)] * 2, tile, "bilinear")
