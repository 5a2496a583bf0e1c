"""Intervals of scores: that they cover what they should, and when there is none."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from dwplus.model.metrics import METRICS, Sums
from dwplus.model.scores.bootstrap import Design, Draws, design_of
from dwplus.model.scores.intervals import Estimate, Intervals, freedom_of, intervals_of
from dwplus.model.scores.tile_table import TileTable
from support.scored import THREE, a_table, counts, record

OA = next(metric for metric in METRICS if metric.key == "oa")


def intervals(table: TileTable, **changes: Any) -> Intervals:
    design = design_of(table.records)
    return intervals_of(table.sums, design, table.names, Draws(design, **changes))


def test_an_interval_holds_the_score_and_is_narrower_with_more_tiles():
    few, many = a_table(20), a_table(200)

    widths = []
    for table in (few, many):
        low, high = intervals(table).values["oa"]
        assert low < OA.value(table.counts()) < high
        widths.append(high - low)

    assert widths[1] < widths[0] / 2


def test_the_interval_of_a_share_is_that_of_the_textbook():
    """Equal tiles in one cell: OA is a mean of tiles, whose standard error is s / sqrt(n)."""
    rng = np.random.default_rng(0)
    right = rng.integers(500, 900, 40)
    table = TileTable.of(
        [record(n) for n in range(40)], [counts([[r, 1000 - r, 0], [0, 0, 0], [0, 0, 0]]) for r in right], THREE
    )
    shares = right / 1000

    low, high = intervals(table, replicates=4000).values["oa"]

    error = shares.std(ddof=1) / math.sqrt(40)
    assert (low + high) / 2 == pytest.approx(shares.mean(), abs=0.005)
    assert (high - low) / 2 == pytest.approx(2.1 * error, rel=0.05)  # t with some 20 degrees of freedom


def test_below_ten_units_there_is_no_interval():
    found = intervals(a_table(9))

    assert found.too_few
    assert set(found.values.values()) == {None}
    assert found.to_dict()["miou"] is None


def test_thirty_tiles_of_three_blocks_are_too_few():
    table = a_table(30)
    records = [replace(one, block=f"{n // 10},0", whole_block=True) for n, one in enumerate(table.records)]

    found = intervals(replace(table, records=tuple(records)))

    assert (found.units, found.unit, found.too_few) == (3, "block", True)


def test_a_class_in_fewer_than_ten_tiles_has_none_and_the_others_have():
    rare = [[70, 30, 0], [20, 80, 0], [0, 5, 25]]
    matrices = [counts(rare if n < 9 else [[80 + n, 20, 0], [10, 90 - n, 0], [0, 0, 0]]) for n in range(30)]
    table = TileTable.of([record(n) for n in range(30)], matrices, THREE)

    found = intervals(table)

    assert found.classes["crops"]["iou"] is None
    assert found.classes["water"]["iou"] is not None
    assert found.values["miou"] is not None
    assert found.present == 3


def test_a_score_that_does_not_vary_has_none():
    table = TileTable.of([record(n) for n in range(12)], [counts(np.diag([10, 0, 0]))] * 12, THREE)

    assert intervals(table).values["oa"] is None  # 1 in every replicate: that says nothing of another test set


def test_intervals_do_not_depend_on_the_order_of_tiles():
    table = a_table(40, cells=5)
    order = np.random.default_rng(0).permutation(40)
    matrices = [table.counts(np.arange(40) == place) for place in order]

    turned = TileTable.of([table.records[place] for place in order], matrices, THREE)

    assert intervals(turned).to_dict() == intervals(table).to_dict()


def test_the_same_draws_give_the_same_bounds_to_the_last_digit():
    """Printed once and kept: another machine must get them too."""
    low, high = intervals(a_table(40, cells=5)).values["miou"]

    assert (round(low, 12), round(high, 12)) == (0.563140512605, 0.631950932581)


def test_intervals_survive_json():
    found = intervals(a_table(15))

    assert Intervals.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_freedom_is_that_of_the_units_which_carry_the_variance():
    design = Design(np.arange(20), (tuple(range(20)),))
    equal = np.where(np.arange(20) % 2, 1.0, -1.0)[:, None]
    one = np.zeros((20, 1))
    one[3] = 1.0

    assert freedom_of(equal, design).tolist() == [19.0]  # all twenty; the design has 19
    assert freedom_of(one, design)[0] == pytest.approx(1.1, abs=0.02)  # a single tile decides


def simulated(tiles: int, rng: np.random.Generator) -> Sums:
    """A test set of tiles of 1,000 pixels that share the difficulty of their tile; one class is in a tenth of them."""
    difficulty = rng.normal(1.2, 0.8, (tiles, 1)) + rng.normal(0, 0.5, (tiles, 3))
    right = 1 / (1 + np.exp(-difficulty))
    shares = rng.dirichlet([2, 2, 1], tiles)
    shares[:, 2] = np.where(rng.random(tiles) < 0.1, shares[:, 2], 0)
    truth = np.rint(1000 * shares / shares.sum(1, keepdims=True)).astype(np.int64)
    hit = rng.binomial(truth, right)
    wrong = truth - hit
    to_first = rng.binomial(wrong, 0.5)
    predicted = hit + np.stack(
        [to_first[:, 1] + to_first[:, 2], wrong[:, 0] + (wrong - to_first)[:, 2], (wrong - to_first)[:, 1] * 0], axis=1
    )
    predicted[:, 0] += (wrong - to_first)[:, 1]
    return Sums(hit, truth, predicted)


def pixel_interval(sums: Sums, rng: np.random.Generator) -> tuple[float, float]:
    """Of OA, from a bootstrap that takes every pixel for an independent draw."""
    total, right = int(sums.truth.sum()), int(sums.hit.sum())
    low, high = np.quantile(rng.binomial(total, right / total, 500) / total, [0.025, 0.975])
    return float(low), float(high)


def test_intervals_over_tiles_cover_and_those_over_pixels_do_not():
    """200 test sets of 100 tiles; ``benchmarks/interval_coverage.py`` has the figures of 1,000."""
    rng = np.random.default_rng(0)
    design = Design(np.arange(100), tuple(tuple(range(n, n + 10)) for n in range(0, 100, 10)))
    draws = Draws(design, replicates=300)
    population = simulated(200_000, rng)
    keys = ("miou", "oa", "f1")
    formulas = {metric.key: metric for metric in METRICS if metric.key in keys and not metric.per_class}
    truth = {
        key: float(one.formula(Sums(*(part.sum(0) for part in vars_of(population))))) for key, one in formulas.items()
    }

    hits, pixel_hits = dict.fromkeys(keys, 0), 0
    for _ in range(200):
        sums = simulated(100, rng)
        estimate = Estimate(sums, draws)
        for key, metric in formulas.items():
            low, high = estimate.interval(metric)
            hits[key] += low <= truth[key] <= high
        low, high = pixel_interval(sums, rng)
        pixel_hits += low <= truth["oa"] <= high

    assert all(184 <= number <= 198 for number in hits.values()), hits  # 92 to 99 %: 95 % within the error of 200 sets
    assert pixel_hits < 100  # less than half


def vars_of(sums: Sums) -> tuple[Any, Any, Any]:
    return sums.hit, sums.truth, sums.predicted
