"""Which pixels count, in a data set with Sentinel-1 and in one without."""

import numpy as np
from dwplus.pipeline.raster.targets import Targets, needed_bands
from dwplus.pipeline.spec.bands import PRESETS, SHARD_BANDS
from support.tiles import make_pixels

BOTH, OPTICAL = Targets(), Targets(needed=needed_bands(False))


def pixels_without(*bands: str) -> np.ndarray:
    """A shard of 2 x 2 px whose first pixel has no data in these bands."""
    pixels = make_pixels(2)
    for band in bands:
        pixels[SHARD_BANDS.index(band), 0, 0] = 0
    return pixels


def test_a_data_set_without_sentinel_1_asks_for_ten_bands() -> None:
    assert needed_bands(True) == PRESETS["ms10sar"]
    assert needed_bands(False) == PRESETS["ms10"]


def test_pixels_without_vv_count_where_the_data_set_has_no_sentinel_1() -> None:
    pixels, codes = pixels_without("VV"), np.full((2, 2), 2, np.uint8)

    assert BOTH.has_data(pixels).tolist() == [[False, True], [True, True]]
    assert OPTICAL.has_data(pixels).all()
    assert BOTH.target_of(codes, pixels).tolist() == [[255, 1], [1, 1]]
    assert OPTICAL.target_of(codes, pixels).tolist() == [[1, 1], [1, 1]]
    assert BOTH.counted_codes(codes, pixels).tolist() == [[255, 2], [2, 2]]
    assert OPTICAL.counted_codes(codes, pixels).tolist() == [[2, 2], [2, 2]]


def test_pixels_without_b12_never_count_and_b1_is_not_asked_for() -> None:
    assert not OPTICAL.has_data(pixels_without("B12"))[0, 0]
    assert OPTICAL.has_data(pixels_without("B1")).all()


def test_the_needed_bands_alone_may_be_given() -> None:
    pixels = pixels_without("B8")
    needed = [SHARD_BANDS.index(band) for band in needed_bands(False)]

    np.testing.assert_array_equal(OPTICAL.has_data(pixels[needed]), OPTICAL.has_data(pixels))
