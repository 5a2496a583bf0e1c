"""The GeoTIFF shard and its label."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.raster.geotiff import (
    encode_shard,
    grid_of,
    read_bands,
    read_codes,
    read_header,
    shard_name,
    write_label,
)
from dwplus.pipeline.spec.bands import SHARD_BANDS
from dwplus.pipeline.spec.tiles import Tile
from support.tiles import make_pixels


def test_a_shard_gives_back_what_was_put_in(tile: Tile, tmp_path: Path) -> None:
    pixels = make_pixels()
    path = tmp_path / "shard.tif"
    path.write_bytes(encode_shard(pixels, tile, {"DWPLUS_SOURCE": "SANDBOX"}))

    header = read_header(path)

    assert header.grid == grid_of(tile)
    assert header.bands == SHARD_BANDS
    assert header.tags["DWPLUS_SOURCE"] == "SANDBOX"
    np.testing.assert_array_equal(read_bands(path, ("VV", "B1")), pixels[[11, 0]])


def test_any_gis_reads_reflectance_and_decibel(tile: Tile, tmp_path: Path) -> None:
    path = tmp_path / "shard.tif"
    path.write_bytes(encode_shard(make_pixels(), tile, {}))

    with rasterio.open(path) as file:
        assert (file.nodata, file.compression.value) == (0, "ZSTD")
        assert (file.scales[0], file.offsets[0], file.units[0]) == (1e-4, 0.0, "reflectance")
        assert (file.scales[11], file.offsets[11], file.units[11]) == (0.01, -100.0, "dB")
        assert file.block_shapes == [(8, 8)] * 14


def test_the_same_pixels_give_the_same_bytes(tile: Tile) -> None:
    first, second = (encode_shard(make_pixels(), tile, {"A": "b"}) for _ in range(2))

    assert first == second


def test_a_truncated_shard_is_an_error_that_names_the_file(tile: Tile, tmp_path: Path) -> None:
    path = tmp_path / "shard.tif"
    content = encode_shard(make_pixels(), tile, {})
    path.write_bytes(content[: len(content) // 2])

    with pytest.raises(DataError, match=r"shard\.tif"):
        read_bands(path, SHARD_BANDS)


@pytest.mark.parametrize("content", [b"", b"<html>413 Payload Too Large</html>"])
def test_what_is_no_raster_is_an_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "page.tif"
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"page\.tif is not a readable raster"):
        read_header(path)


def test_a_missing_band_is_named(tile: Tile, tmp_path: Path) -> None:
    path = tmp_path / "shard.tif"
    path.write_bytes(encode_shard(make_pixels(), tile, {}))

    with pytest.raises(DataError, match="has no band B9"):
        read_bands(path, ("B9",))


def test_a_label_keeps_its_codes_and_gets_the_official_colours(tile: Tile, tmp_path: Path) -> None:
    codes = np.arange(64, dtype=np.uint8).reshape(8, 8) % 11
    path = tmp_path / "label.tif"
    write_label(path, codes, tile, {"LABELER": "expert"})

    np.testing.assert_array_equal(read_codes(path), codes)
    with rasterio.open(path) as file:
        assert file.colormap(1)[1] == (0x41, 0x9B, 0xDF, 255)


def test_shards_lie_in_the_released_folders(tile: Tile) -> None:
    assert shard_name(tile) == "shards/EH/4/dw_9.0_45.0-20190701.tif"
