"""The band table: stored values and what they mean."""

import numpy as np
import pytest
from dwplus.pipeline.errors import UsageError
from dwplus.pipeline.spec.bands import BANDS, NODATA, PRESETS, S2_BANDS, SHARD_BANDS, decode, preset


def test_a_shard_holds_eleven_optical_bands_two_polarisations_and_a_count() -> None:
    assert SHARD_BANDS == (
        "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12", "VV", "VH", "S1_N",
    )  # fmt: skip
    assert [b for b in S2_BANDS if BANDS[b].native_m == 20] == ["B5", "B6", "B7", "B8A", "B11", "B12"]


def test_presets_match_the_inputs_of_the_papers_band_ablation() -> None:
    # Table V: RGB 3 bands, multispectral 10, RGB + other 3 + 9, SAR 2.
    assert {name: len(bands) for name, bands in PRESETS.items()} == {
        "ms10": 10, "ms11": 11, "rgb": 3, "other9": 9, "ms10sar": 12, "sar": 2,
    }  # fmt: skip
    assert sorted(PRESETS["rgb"] + PRESETS["other9"]) == sorted(PRESETS["ms10"] + PRESETS["sar"])


def test_decoding_gives_reflectance_and_decibel_and_nan_for_no_data() -> None:
    stored = np.array([[[2500, 0]], [[8750, 0]]], dtype=np.uint16)

    values = decode(stored, ("B2", "VV"))

    np.testing.assert_allclose(values[:, 0, 0], [0.25, -12.5], atol=1e-5)
    assert np.isnan(values[:, 0, 1]).all()


def test_an_unknown_preset_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match=r"unknown band preset 'ms13'.*ms10"):
        preset("ms13")


def test_stored_is_the_way_back_of_decode_and_rounds() -> None:
    db = np.array([-12.344, -12.346, np.nan, -250.0, 900.0], dtype=np.float32)

    stored = BANDS["VV"].stored(db)

    # (-12.344 + 100) / 0.01 = 8765.6 and 8765.4; what cannot be stored is cut off, never 0.
    assert stored.tolist() == [8766, 8765, NODATA, 1, 65535]
    assert stored.dtype == np.uint16
    assert BANDS["B4"].stored(np.array([0.2])).tolist() == [2000]


def test_every_stored_value_is_had_back() -> None:
    every = np.arange(65536, dtype=np.uint16)
    for name in ("B2", "VH"):
        np.testing.assert_array_equal(BANDS[name].stored(decode(every[None, None], (name,))[0, 0]), every)


def test_the_paper_s_inputs_are_fixed() -> None:
    assert {name: len(bands) for name, bands in PRESETS.items()} == {
        "ms10": 10, "ms11": 11, "rgb": 3, "other9": 9, "ms10sar": 12, "sar": 2,
    }  # fmt: skip
    assert "B1" not in PRESETS["ms10"] + PRESETS["other9"] + PRESETS["ms10sar"]
