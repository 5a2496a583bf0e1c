"""Every pixel of a stratum is drawn with one probability."""

from pathlib import Path

import numpy as np
from dwplus.workflow.area.class_map import Stratification, open_map, rows_of, take_census
from dwplus.workflow.area.drawing import choose, find
from support.class_maps import town, write_map

BY = Stratification((1, 2, 3))


def test_pixels_lie_in_their_stratum_and_are_drawn_once(tmp_path: Path) -> None:
    of = open_map(write_map(tmp_path / "town.tif", town()))
    pixels = [n for n, _ in take_census(of, BY).strata.values()]

    drawn = find(rows_of(of, BY), choose(pixels, (30, 50, 20), np.random.default_rng(1)))

    assert [sum(one.stratum == n for one in drawn) for n in range(3)] == [30, 50, 20]
    assert len({(one.row, one.column) for one in drawn}) == 100
    assert all(town()[one.row, one.column] == one.code == one.stratum + 1 for one in drawn)


def test_pixels_are_drawn_with_equal_probability() -> None:
    # 4,000 samples of 5 out of 20 pixels: each pixel 1,000 times, standard deviation 27.
    rng = np.random.default_rng(2)

    counts = np.bincount(np.concatenate([choose([20], [5], rng)[0] for _ in range(4_000)]), minlength=20)

    assert (abs(counts - 1_000) < 4 * 27.4).all()


def test_a_stratum_may_be_drawn_as_a_whole(tmp_path: Path) -> None:
    of = open_map(write_map(tmp_path / "town.tif", town()))

    drawn = find(rows_of(of, BY), choose([3_800, 7_000, 1_000], (2, 2, 1_000), np.random.default_rng(0)))

    assert {(one.row, one.column) for one in drawn if one.stratum == 2} == set(
        zip(*np.nonzero(town() == 3), strict=True)
    )
