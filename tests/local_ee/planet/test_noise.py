"""Counter-based noise: the same value through any window, and the distributions it claims."""

from __future__ import annotations

import numpy as np
import pytest
from dwplus.local_ee.planet import noise


def test_overlapping_windows_hold_the_same_values() -> None:
    whole = noise.uniform16(5, (-20, 30), (-13, 40))

    part = noise.uniform16(5, (-3, 7), (2, 9))

    assert np.array_equal(part, whole[17:27, 15:22])


@pytest.mark.parametrize("scale_px", [2, 7, 64])
def test_smooth_fields_do_not_depend_on_the_window(scale_px: int) -> None:
    whole = noise.smooth(5, scale_px, (-70, 90), (-40, 50))

    part = noise.smooth(5, scale_px, (-11, 20), (3, 31))

    assert np.array_equal(part, whole[59:90, 43:71])


def test_keys_tell_seeds_names_and_types_apart() -> None:
    keys = {noise.key(1, "a"), noise.key("1", "a"), noise.key(1, "b"), noise.key(2, "a"), noise.key("1a"), noise.key(1)}

    assert len(keys) == 6


def test_keys_are_the_same_on_every_machine() -> None:
    assert noise.key(7, "relief") == 266765757267947948
    assert int(noise.hashes(7, np.array([3]), np.array([-2]))[0]) == 2398684933050044454


def test_sixteen_bit_numbers_are_uniform_and_neighbours_independent() -> None:
    from scipy import stats  # seconds to import: not while tests are collected

    values = noise.uniform16(9, (0, 500), (0, 500)).astype(float)

    counts, _ = np.histogram(values, bins=64, range=(0, noise.QUANTILES))
    assert stats.chisquare(counts).pvalue > 1e-3
    for neighbour in (values[:, 1:], values[1:, :]):
        first = values[: neighbour.shape[0], : neighbour.shape[1]]
        assert abs(np.corrcoef(first.ravel(), neighbour.ravel())[0, 1]) < 0.01


def test_speckle_is_gamma_distributed_power_with_mean_1() -> None:
    from scipy import stats  # seconds to import: not while tests are collected

    power = 10 ** (noise.draw(noise.speckle_table(4.4), 3, (0, 400), (0, 400)).astype(float).ravel() / 10)

    assert power.mean() == pytest.approx(1, abs=0.01)
    assert 1 / power.var() == pytest.approx(4.4, rel=0.03)  # equivalent number of looks
    assert stats.kstest(power[::16], stats.gamma(4.4, scale=1 / 4.4).cdf).pvalue > 1e-3


def test_smooth_fields_have_mean_0_and_variance_1() -> None:
    field = noise.smooth(4, 8, (0, 1500), (0, 1500))

    assert field.mean() == pytest.approx(0, abs=0.03)
    assert field.std() == pytest.approx(1, abs=0.03)
