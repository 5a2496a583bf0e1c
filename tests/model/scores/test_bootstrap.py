"""Replicates of a test set: their cells, their draws, their variance."""

from __future__ import annotations

import numpy as np
import pytest
from dwplus.model.scores.bootstrap import Design, Draws, design_of
from support.scored import a_table, record

EAST, WEST = "eastern-hemisphere-1", "western-hemisphere"


def cells(*places: tuple[str, int]) -> list[list[int]]:
    """Cells of tiles of a region and a biome each, as places of tiles."""
    records = [record(number, region=region, biome=biome) for number, (region, biome) in enumerate(places)]
    return sorted(list(cell) for cell in design_of(records).cells)


def test_cells_are_regions_and_biomes():
    assert cells((EAST, 1), (EAST, 1), (EAST, 2), (EAST, 2), (WEST, 1), (WEST, 1)) == [[0, 1], [2, 3], [4, 5]]


def test_single_tiles_of_a_region_are_one_cell():
    assert cells((EAST, 1), (EAST, 1), (EAST, 2), (EAST, 3), (WEST, 1), (WEST, 1)) == [[0, 1], [2, 3], [4, 5]]


def test_single_tiles_of_two_regions_are_one_cell_where_they_are_alone_there():
    assert cells((EAST, 1), (EAST, 1), (EAST, 2), (WEST, 1)) == [[0, 1], [2, 3]]


def test_the_last_single_tile_joins_the_smallest_cell():
    assert cells((EAST, 1), (EAST, 1), (EAST, 1), (EAST, 2), (EAST, 2), (WEST, 1)) == [[0, 1, 2], [3, 4, 5]]
    assert cells((EAST, 1)) == [[0]]


def test_blocks_of_users_labels_are_drawn_as_a_whole():
    records = [record(number, block=f"{number // 3},0", whole_block=True) for number in range(9)]

    design = design_of(records)

    assert (design.units, design.cells, design.of_blocks) == (3, ((0, 1, 2),), True)
    assert design.unit_of.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_each_replicate_draws_one_unit_less_than_the_cell_has():
    draws = Draws(Design(np.arange(7), ((0, 1, 2), (3, 4, 5, 6))), replicates=50)

    assert [times.sum(1).tolist() for times in draws.multiplicities] == [[2] * 50, [3] * 50]


def test_sums_are_those_of_a_plain_loop():
    table = a_table(9, cells=2)
    design = design_of(table.records)
    draws = Draws(design, replicates=20)

    found = draws.of(table.sums)

    for replicate in range(20):
        expected = np.zeros(3)
        for members, times in zip(design.cells, draws.multiplicities, strict=True):
            for unit, number in zip(members, times[replicate], strict=True):
                expected += table.sums.hit[unit] * number * len(members) / (len(members) - 1)
        assert found.hit[replicate] == pytest.approx(expected)


def test_the_variance_of_a_sum_is_that_of_the_textbook():
    """Var of a sum over a stratified sample: sum over cells of n s^2."""
    table = a_table(30, cells=4)
    design = design_of(table.records)
    values = table.sums.hit[:, 0]
    textbook = sum(len(cell) * values[list(cell)].var(ddof=1) for cell in design.cells)

    replicates = Draws(design, replicates=20_000).of(table.sums).hit[:, 0]

    assert replicates.mean() == pytest.approx(values.sum(), rel=0.002)
    assert replicates.var() == pytest.approx(textbook, rel=0.03)


def test_draws_depend_on_the_seed_and_the_cells_alone():
    """Numbers of numpy's PCG64, which are the same on every machine."""
    design = Design(np.arange(5), ((0, 1), (2, 3, 4)))

    first, again, other = (Draws(design, replicates=6, seed=seed).multiplicities for seed in (0, 0, 1))

    assert first[0].tolist() == [[0, 1], [0, 1], [0, 1], [1, 0], [1, 0], [1, 0]]
    assert first[1].tolist() == again[1].tolist() != other[1].tolist()
    wider = Draws(Design(np.arange(7), ((0, 1), (2, 3, 4), (5, 6))), replicates=6).multiplicities
    assert wider[1].tolist() == first[1].tolist()
