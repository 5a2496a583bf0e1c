"""How many points, and where."""

import pytest
from dwplus.pipeline.errors import UsageError
from dwplus.workflow.area.allocation import allocate, sample_size


def test_the_size_of_the_example_of_olofsson_2014() -> None:
    # Table 5 of the paper: expected user's accuracies .70, .60, .90, .95 and a standard error of 0.01.
    shares = (0.02, 0.015, 0.32, 0.645)

    assert sample_size(shares, (0.70, 0.60, 0.90, 0.95), 0.01) == 641
    assert sample_size(shares, (0.70, 0.60, 0.90, 0.95), 0.01, pixels=10_000_000) == 641


def test_a_small_map_needs_fewer_points() -> None:
    # (0.5 / 0.05)^2 = 100 points of an endless map; 100 / (1 + 100 / 100) of one of 100 px.
    assert sample_size((1.0,), (0.5,), 0.05) == 100
    assert sample_size((1.0,), (0.5,), 0.05, pixels=100) == 50


def test_rare_strata_get_the_minimum_and_the_rest_is_proportional() -> None:
    # 641 - 2 * 75 = 491 in proportion to .32 and .645: 162.8 and 328.2.
    assert allocate(641, (2, 1.5, 32, 64.5), (10**6,) * 4, 75) == (75, 75, 163, 328)


def test_parts_below_the_minimum_after_others_were_raised_are_raised_too() -> None:
    # In proportion: 2, 42, 56. With 40 for the first, 60 is left: 26 and 34, both below 40.
    assert allocate(100, (2, 42, 56), (1000,) * 3, 40) == (40, 40, 40)


def test_no_stratum_gets_more_points_than_pixels() -> None:
    assert allocate(100, (10, 90), (5, 95), 20) == (5, 95)
    assert allocate(500, (10, 90), (5, 95), 20) == (5, 95)


def test_a_minimum_of_one_is_refused() -> None:
    with pytest.raises(UsageError, match="gives no standard error"):
        allocate(100, (1, 1), (9, 9), 1)
