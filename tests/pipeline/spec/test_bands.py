"""The band table: stored values and what they mean."""

import numpy as np
import pytest
from dwplus.pipeline.errors import UsageError
from dwplus.pipeline.spec.bands import BANDS, PRESETS, S2_BANDS, SHARD_BANDS, decode, preset


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
