"""Pixels from a shard's own blocks: what GDAL gives, or nothing."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from dwplus.pipeline.raster.geotiff import encode_shard
from dwplus.pipeline.raster.geotiff_blocks import read_blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from support.tiles import make_tile

TAGS = {"SOURCE": "SANDBOX"}
SMALL = encode_shard(np.arange(14 * 81, dtype=np.uint16).reshape(14, 9, 9) * 7, make_tile(size=9), TAGS)


@pytest.fixture
def shard() -> bytes:
    tile = make_tile(size=33)
    return encode_shard(np.random.default_rng(0).integers(0, 65536, (14, 33, 33), dtype=np.uint16), tile, TAGS)


def both(content: bytes, numbers=range(1, 15)):
    """Pixels by GDAL and by blocks; "refused" where GDAL cannot read them."""
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        MemoryFile(content) as memory,
        memory.open() as file,
    ):
        ours = read_blocks(file, content, list(numbers))
        try:
            return file.read(list(numbers)), ours
        except RasterioError:
            return "refused", ours


@pytest.mark.parametrize("numbers", [range(1, 15), (14,), (12, 3), (4, 3, 2, 8, 12)])
def test_blocks_are_what_gdal_reads(shard: bytes, numbers) -> None:
    expected, found = both(shard, numbers)

    assert found is not None
    assert found.dtype == np.uint16
    assert np.array_equal(found, expected)


def test_every_difference_wraps_around() -> None:
    # Given rows that jump between the ends of the range.
    pixels = np.tile(np.array([0, 65535, 1, 65534, 32768, 32767], dtype=np.uint16), (14, 6, 1))

    _, found = both(encode_shard(pixels, make_tile(size=6), TAGS))

    assert np.array_equal(found, pixels)


@pytest.mark.parametrize(
    "other",
    [
        {"compress": "deflate"},
        {"predictor": 1},
        {"interleave": "pixel"},
        {"blockysize": 8},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
        {"ENDIANNESS": "BIG"},
        {"dtype": "int16"},
        {"nbits": 12},
    ],
)
def test_a_file_of_another_layout_is_left_to_gdal(other: dict, tmp_path: Path) -> None:
    layout = {"driver": "GTiff", "dtype": "uint16", "compress": "zstd", "predictor": 2, "interleave": "band"}
    layout |= {"width": 32, "height": 32, "count": 2, "blockysize": 32, **other}
    if "nbits" in other:
        layout["predictor"] = 1
    path = tmp_path / "other.tif"
    pixels = np.random.default_rng(1).integers(0, 4096, (2, 32, 32)).astype(layout["dtype"])
    with rasterio.open(path, "w", crs="EPSG:32632", transform=(10, 0, 0, 0, -10, 0), **layout) as file:
        file.write(pixels)

    expected, found = both(path.read_bytes(), (1, 2))

    assert found is None
    assert np.array_equal(expected, pixels)


def test_bigtiff_is_read_too(shard: bytes, tmp_path: Path) -> None:
    path = tmp_path / "big.tif"
    with MemoryFile(shard) as memory, memory.open() as file:
        profile = file.profile | {"blockysize": 33, "predictor": 2, "BIGTIFF": "YES"}
        with rasterio.open(path, "w", **profile) as big:
            big.write(file.read())

    expected, found = both(path.read_bytes())

    assert found is not None
    assert np.array_equal(found, expected)


def test_a_damaged_block_is_left_to_gdal(shard: bytes) -> None:
    # Given blocks that were overwritten from the middle of the file on, but for the directory behind them.
    middle = len(shard) // 2
    content = shard[:middle] + bytes(1000) + shard[middle + 1000 :]

    expected, found = both(content)

    assert isinstance(expected, str)
    assert found is None


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_never_gives_other_pixels_than_gdal(data: st.DataObject) -> None:
    content = bytearray(SMALL)
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    try:
        expected, found = both(bytes(content), (1, 2, 13))
    except (RasterioError, ValueError, IndexError):
        return  # no file at all

    if found is not None:
        assert isinstance(expected, np.ndarray), "GDAL refuses what the blocks give"
        assert np.array_equal(found, expected)
