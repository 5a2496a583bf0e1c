"""The calibration error of a perfectly calibrated network on few tiles."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from dwplus.model.metrics import BINS, MILLION, Sums, calibration_error
from dwplus.model.scores.bootstrap import added, design_of
from dwplus.model.scores.perfect import perfect_ece
from dwplus.model.scores.tile_table import TileRecord
from numpy.typing import NDArray

PIXELS = 1_000


def records(count: int) -> list[TileRecord]:
    return [TileRecord(f"t{n:04d}", "WH", 1, date(2019, 1, 1), 0.0, 0.0) for n in range(count)]


def sums_of_tiles(count: int, difficulty: float, seed: int) -> Sums:
    """Tiles of a network that says 0.7 of each pixel; the share that is right varies by the tile's difficulty."""
    rng = np.random.default_rng(seed)
    right = np.clip(0.7 + difficulty * rng.standard_normal(count), 0, 1)
    bins: NDArray[np.int64] = np.zeros((count, 3, BINS), dtype=np.int64)
    bins[:, 0, 10] = PIXELS
    bins[:, 1, 10] = rng.binomial(PIXELS, right)
    bins[:, 2, 10] = PIXELS * 7 * MILLION // 10
    nothing = np.zeros((count, 1), np.int64)
    return Sums(nothing, nothing, nothing, bins, np.zeros(count, np.int64))


def test_it_is_what_many_other_test_sets_of_a_calibrated_network_show() -> None:
    count, difficulty = 100, 0.1
    others = [float(calibration_error(added(sums_of_tiles(count, difficulty, seed)))) for seed in range(400)]

    found = perfect_ece(sums_of_tiles(count, difficulty, 1000), design_of(records(count)))

    assert found is not None
    # The mean of |x| of a normal x of standard deviation 0.1 / sqrt(100) is 0.008.
    assert np.mean(others) == pytest.approx(0.008, abs=0.001)
    assert found.mean == pytest.approx(np.mean(others), rel=0.2)
    assert found.high == pytest.approx(np.quantile(others, 0.95), rel=0.2)


def test_a_network_that_is_off_has_the_same_as_one_that_is_not() -> None:
    one = sums_of_tiles(50, 0.1, 0)
    assert one.bins is not None
    off = Sums(one.hit, one.truth, one.predicted, one.bins - np.eye(3, dtype=int)[2][:, None] * (one.bins // 4))

    assert float(calibration_error(added(off))) > 0.15
    first, second = (perfect_ece(sums, design_of(records(50))) for sums in (one, off))
    assert first is not None
    assert second is not None
    assert second.mean == pytest.approx(first.mean, rel=1e-6)


def test_too_few_tiles_have_none() -> None:
    assert perfect_ece(sums_of_tiles(9, 0.1, 0), design_of(records(9))) is None
