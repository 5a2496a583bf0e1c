"""Pixels outside the range of the training histograms."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from dwplus.model.run_config import DataCard, RunConfig
from dwplus.model.training_range import (
    BY_CONSTRUCTION,
    OutsideCounts,
    StoredRange,
    fault_of,
    outside_range,
    ranges_of,
    sentence,
)
from dwplus.pipeline.raster.compiled_loops import count_values
from dwplus.pipeline.statistics.summary import band_statistics

BANDS = ("B2", "VV")
RANGES = {"B2": (0.05, 0.2), "VV": (-20.0, -5.0)}  # stored 500..2000 and 8000..9500


def in_range() -> StoredRange:
    found = StoredRange.of(RANGES, BANDS)
    assert found is not None
    return found


def test_both_ends_of_the_range_are_inside_and_no_data_is_not_outside():
    pixels = np.array([[[0, 499, 500, 2000, 2001, 65535]], [[0, 7999, 8000, 9500, 9501, 1]]], np.uint16)

    found = outside_range(pixels, in_range())

    assert found.astype(int).tolist() == [[[0, 1, 0, 0, 1, 1]], [[0, 1, 0, 0, 1, 1]]]


def test_it_is_what_two_comparisons_in_units_say():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65536, (2, 40, 50), dtype=np.uint16)

    found = outside_range(pixels, in_range())

    reflectance, db = pixels[0] / 1e4, pixels[1] / 100.0 - 100
    assert np.array_equal(found[0], (pixels[0] > 0) & ((reflectance < 0.05 - 1e-9) | (reflectance > 0.2 + 1e-9)))
    assert np.array_equal(found[1], (pixels[1] > 0) & ((db < -20 - 1e-9) | (db > -5 + 1e-9)))


@pytest.mark.parametrize("band", ["B2", "VV"])
def test_a_fifth_of_a_per_cent_of_the_training_pixels_is_outside(band: str):
    """Values of a fine scale: 0.1 % below the range and as many above, but for ties."""
    rng = np.random.default_rng(1)
    training = np.clip(rng.normal(9000, 1500, (400, 500)), 1, 65535).astype(np.uint16)
    percentiles = band_statistics(count_values(training), band).percentiles

    ranges = StoredRange.of({band: (percentiles["0.1"], percentiles["99.9"])}, (band,))
    assert ranges is not None
    below, above = training < ranges.low[0], training > ranges.high[0]

    assert 0.0009 < below.mean() <= 0.001
    assert 0.0009 < above.mean() <= 0.001
    assert outside_range(training[None], ranges).sum() == below.sum() + above.sum() <= BY_CONSTRUCTION * training.size


def test_a_tile_is_counted_by_band_and_by_pixel():
    # Three pixels: outside in both bands; without B2 and inside VV; without any data.
    tile = np.array([[[100, 0, 0]], [[9999, 9000, 0]]], np.uint16)

    counts = OutsideCounts.of_tile(tile, in_range())

    assert (counts.seen.tolist(), counts.beyond.tolist()) == ([1, 2], [1, 1])
    assert (int(counts.seen_any), int(counts.beyond_any)) == (2, 1)
    assert (float(counts.share), counts.by_band.tolist()) == (0.5, [1.0, 0.5])


def test_tiles_add_up_and_one_without_data_has_no_share():
    tiles = [np.array([[[100, 1000]], [[9000, 9000]]], np.uint16), np.zeros((2, 1, 2), np.uint16)]

    counts = OutsideCounts.of_tiles([OutsideCounts.of_tile(tile, in_range()) for tile in tiles])

    assert counts.share[0] == 0.5
    assert np.isnan(counts.share[1])
    assert vars(counts.shares()) == {"pixels": 0.5, "bands": {"B2": 0.5, "VV": 0.0}}


def test_a_sentence_names_the_bands_that_are_worst():
    counts = OutsideCounts.of_tiles(
        [OutsideCounts.of_tile(np.array([[[100, 1000]], [[9000, 0]]], np.uint16), in_range())]
    )

    assert sentence(counts.shares()).startswith(
        "outside the training range: 50.00% of pixels in some band; most in B2 50.00%, VV 0.00% (at most 0.2% of"
    )
    assert "not known" in sentence(None)


def data_set(**percentiles: float) -> SimpleNamespace:
    """What the ranges need of one."""
    band = SimpleNamespace(mean=0.1, std=0.05, percentiles=percentiles)
    statistics = SimpleNamespace(bands={"B2": band}, class_counts=(1,) * 9, shards_hash="abc")
    return SimpleNamespace(primary=("B2",), auxiliary=(), statistics=statistics)


def test_statistics_of_an_earlier_version_give_no_range():
    assert ranges_of(data_set(**{"0.1": 0.01, "99.9": 0.5})) == {"B2": (0.01, 0.5)}
    assert ranges_of(data_set(**{"1": 0.02, "99": 0.4})) == {}
    assert StoredRange.of({}, BANDS) is None


CARD = DataCard(("B2",), ("VV",), "strict", "SANDBOX", "abc", 3, (1,) * 9, {"B2": (0.1, 0.1), "VV": (-12.0, 3.0)})


def run(ranges: dict[str, tuple[float, float]]) -> RunConfig:
    return RunConfig("0", "specsar-former-small", {}, {}, replace(CARD, ranges=ranges))


def test_ranges_travel_with_a_run_and_one_without_them_is_written_as_before():
    with_them, without = run(dict(RANGES)).to_dict(), run({}).to_dict()

    assert with_them["data"]["ranges"] == {"B2": [0.05, 0.2], "VV": [-20.0, -5.0]}
    assert "ranges" not in without["data"]
    assert RunConfig.from_dict(with_them, where="config.json").data.ranges == RANGES
    assert RunConfig.from_dict(without, where="config.json").data.ranges == {}


def test_a_run_that_was_begun_without_ranges_goes_on_without():
    assert run(dict(RANGES)).resuming(run({})).data.ranges == {}
    assert run(dict(RANGES)).resuming(run(dict(RANGES))).data.ranges == RANGES


@pytest.mark.parametrize(
    ("ranges", "fault"),
    [
        ({"B2": (0.0, 1.0)}, "there is no range of band VV"),
        ({"B2": (0.2, 0.1), "VV": (0.0, 0.0)}, "the range of band B2 is none"),
        ({"B2": (0.1, float("nan")), "VV": (0.0, 0.0)}, "the range of band B2 is none"),
        ({}, ""),
    ],
)
def test_ranges_that_cannot_be_are_a_fault_of_the_run(ranges: dict[str, tuple[float, float]], fault: str):
    assert fault_of(ranges, BANDS) == fault
    assert replace(CARD, ranges=ranges).fault() == fault
