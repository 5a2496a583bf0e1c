"""Differences of two sides on the same tiles, over tiles and seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dwplus.model.metrics import METRICS, Sums
from dwplus.model.scores.bootstrap import Design, Draws, design_of
from dwplus.model.scores.comparison import Comparison, Side, holm
from numpy.typing import NDArray
from support.scored import a_table

OA = next(metric for metric in METRICS if metric.key == "oa")
TILES = 60
DESIGN = Design(np.arange(TILES), tuple(tuple(range(n, n + 12)) for n in range(0, TILES, 12)))
DRAWS = Draws(DESIGN, replicates=300)


def run(ease: NDArray[np.float64], rng: np.random.Generator, skill: float = 0.0) -> Sums:
    """Tiles of 1,000 pixels of two classes; ``ease`` (tiles) is the logit of the share that is right."""
    right = 1 / (1 + np.exp(-(ease + skill + rng.normal(0, 0.05, TILES))))
    truth = np.tile([600, 400], (TILES, 1))
    hit = rng.binomial(truth, right[:, None])
    wrong = truth - hit
    return Sums(hit, truth, hit + wrong[:, ::-1])


def sides(rng: np.random.Generator, seeds: int, *, gain: float = 0.0, deviation: float = 0.025) -> tuple[Side, Side]:
    """Two methods on the same tiles; seeds differ by 0.5 points of OA."""
    ease = rng.normal(1.0, 0.8, TILES)
    made = [
        Side.of(name, [run(ease, rng, more + rng.normal(0, deviation)) for _ in range(seeds)], DRAWS)
        for name, more in (("a", gain), ("b", 0.0))
    ]
    return made[0], made[1]


def test_equal_methods_are_called_different_in_at_most_seven_of_a_hundred_cases():
    """Seeds vary by 0.5 points, 5 a side; 1,000 pairs in ``benchmarks/interval_coverage.py``."""
    rng = np.random.default_rng(0)

    called, deviations = 0, []
    for _ in range(150):
        one, other = sides(rng, 5)
        deviations.append(one.values(OA).std(ddof=1))
        called += Comparison(one, other, DRAWS).difference(OA).p < 0.05

    assert np.mean(deviations) == pytest.approx(0.005, abs=0.001)
    assert called <= 10  # of 150


def test_a_better_method_is_found_and_its_gain_is_in_the_interval():
    rng = np.random.default_rng(1)
    one, other = sides(rng, 5, gain=0.3)

    found = Comparison(one, other, DRAWS).difference(OA)

    assert found.points == pytest.approx(float(one.values(OA).mean() - other.values(OA).mean()))
    assert found.bounds is not None
    assert 0 < found.bounds[0] < found.points < found.bounds[1]
    assert found.p < 0.01


def test_tiles_are_paired_so_that_hard_tiles_do_not_widen_the_difference():
    rng = np.random.default_rng(2)
    one, other = sides(rng, 1)

    difference = Comparison(one, other, DRAWS).difference(OA)
    single = one.runs[0].interval(OA)

    assert difference.bounds is not None
    assert single is not None
    assert difference.bounds[1] - difference.bounds[0] < (single[1] - single[0]) / 3


def test_seeds_widen_the_difference_of_methods():
    rng = np.random.default_rng(3)
    one, other = sides(rng, 4, deviation=0.2)
    alone = Comparison(Side("a", one.runs[:1]), Side("b", other.runs[:1]), DRAWS)
    whole = Comparison(one, other, DRAWS)

    low, high = whole.difference(OA).bounds or (0.0, 0.0)
    low_alone, high_alone = alone.difference(OA).bounds or (0.0, 0.0)

    assert (whole.of_methods, alone.of_methods) == (True, False)
    assert high - low > high_alone - low_alone


@pytest.mark.parametrize(("seeds", "of_methods"), [(1, False), (2, False), (3, True)])
def test_three_seeds_a_side_make_a_method(seeds: int, of_methods: bool):
    one, other = sides(np.random.default_rng(4), seeds)

    assert Comparison(one, other, DRAWS).of_methods is of_methods


def test_a_run_does_not_differ_from_itself():
    one, _ = sides(np.random.default_rng(5), 1)

    found = Comparison(one, one, DRAWS).difference(OA)

    assert (found.points, found.bounds, found.p) == (0.0, None, 1.0)


def test_below_ten_tiles_nothing_is_tested():
    table = a_table(8)
    draws = Draws(design_of(table.records), replicates=50)
    side = Side.of("a", [table.sums], draws)

    found = Comparison(side, Side.of("b", [a_table(8, seed=1).sums], draws), draws).difference(OA)

    assert found.bounds is None
    assert math.isnan(found.p)


def test_the_mean_of_seeds_has_an_interval_of_its_own():
    one, _ = sides(np.random.default_rng(6), 4)

    found = Comparison(one, None, DRAWS).difference(OA)

    assert found.points == pytest.approx(float(one.values(OA).mean()))
    assert found.bounds is not None
    assert found.bounds[0] < found.points < found.bounds[1]


def test_holms_correction_by_hand():
    """Smallest of three times 3, the next times 2, never less than the one before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    corrected = holm([0.02, math.nan, 0.04])
    assert corrected[0] == pytest.approx(0.04)
    assert math.isnan(corrected[1])
    assert corrected[2] == pytest.approx(0.04)


def test_draws_of_seeds_are_weights_of_one_seed_less():
    one, _ = sides(np.random.default_rng(7), 5)

    weights = one.seed_weights(0, DRAWS)

    assert weights.shape == (300, 5)
    assert np.allclose(weights.sum(1), 1)
    assert set(np.unique(weights)) <= {0, 0.25, 0.5, 0.75, 1}


def test_a_map_has_no_seeds_so_that_three_of_a_network_are_enough_for_its_method():
    rng = np.random.default_rng(5)
    one, other = sides(rng, 3, gain=0.3)
    fixed = Side(other.name, other.runs[:1], fixed=True)
    single = Side(other.name, other.runs[:1])

    against_map, against_run = Comparison(one, fixed, DRAWS), Comparison(one, single, DRAWS)

    assert (against_map.of_methods, against_run.of_methods) == (True, False)
    found, weights = against_map.difference(OA), against_run.difference(OA)
    assert found.points == weights.points
    assert found.bounds is not None
    assert weights.bounds is not None
    # The seeds of the network widen it, those of the map do not exist.
    assert found.bounds[1] - found.bounds[0] > weights.bounds[1] - weights.bounds[0]
    assert Comparison(fixed, Side("c", one.runs[:1], fixed=True), DRAWS).difference(OA).bounds is not None
