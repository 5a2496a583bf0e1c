"""Parts of a split, from the counts of its tiles."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from dwplus.model.metrics import overall
from dwplus.model.scores.groups import GROUPS, distance, grouped, ranked, season
from dwplus.model.scores.tile_table import TileTable
from support.scored import THREE, a_table, counts, record


@pytest.mark.parametrize("by", GROUPS)
def test_parts_add_up_to_the_whole(by: str):
    table = a_table(24, cells=3)

    groups = grouped(table, by)

    assert sum(group.tiles for group in groups) == 24
    assert sum(group.counts.matrix.counts for group in groups).tolist() == table.counts().matrix.counts.tolist()


def test_a_biome_has_its_number_and_name_and_numbers_are_in_order():
    records = [record(n, biome=biome) for n, biome in enumerate((12, 4, 4, 0))]
    table = TileTable.of(records, [counts(np.diag([n, 1, 0])) for n in range(4)], THREE)

    groups = grouped(table, "biome")

    assert [(group.name.split()[0], group.tiles) for group in groups] == [("0", 1), ("4", 2), ("12", 1)]
    assert groups[1].counts.matrix.counts[0, 0] == 1 + 2
    assert groups[1].intervals.too_few


def test_parts_with_ten_tiles_have_intervals():
    (large, small) = grouped(a_table(19, cells=2), "biome")

    assert (large.tiles, large.intervals.too_few, small.tiles, small.intervals.too_few) == (10, False, 9, True)
    assert large.intervals.values["oa"] is not None


@pytest.mark.parametrize(
    ("day", "lat", "expected"),
    [
        (date(2019, 1, 15), 50.0, "winter"),
        (date(2019, 12, 1), 50.0, "winter"),
        (date(2019, 7, 1), 50.0, "summer"),
        (date(2019, 7, 1), -35.0, "winter"),
        (date(2019, 4, 1), -35.0, "autumn"),
        (date(2019, 7, 1), -12.0, "tropics, June to August"),
    ],
)
def test_a_season_is_that_of_the_hemisphere(day: date, lat: float, expected: str):
    assert season(record(0, date=day, lat=lat)) == expected


@pytest.mark.parametrize(
    ("km", "expected"),
    [
        (0.0, "0 to 10 km"),
        (10.0, "10 to 50 km"),
        (199.9, "50 to 200 km"),
        (5e3, "over 200 km"),
        (float("nan"), "not known"),
    ],
)
def test_a_distance_has_its_group(km: float, expected: str):
    assert distance(record(0, km=km)) == expected


def test_distances_are_in_order():
    records = [record(n, km=km) for n, km in enumerate((900.0, float("nan"), 60.0, 3.0, 12.0))]
    table = TileTable.of(records, [counts(np.diag([1, 1, 1]))] * 5, THREE)

    names = [group.name for group in grouped(table, "distance")]

    assert names == ["not known", "0 to 10 km", "10 to 50 km", "50 to 200 km", "over 200 km"]


def test_an_annotator_is_the_users_or_the_kind_of_the_release():
    records = [record(0, labeler="expert"), record(1, labeler="own", annotator="Anna"), record(2)]
    table = TileTable.of(records, [counts(np.diag([1, 1, 1]))] * 3, THREE)

    assert [group.name for group in grouped(table, "annotator")] == ["Anna", "expert", "not known"]


def test_tiles_are_ranked_by_their_accuracy_and_unmarked_ones_are_left_out():
    matrices = [
        counts([[9, 1, 0], [0, 0, 0], [0, 0, 0]]),
        counts(np.zeros((3, 3))),
        counts([[1, 9, 0], [0, 0, 0], [0, 0, 0]]),
    ]
    table = TileTable.of([record(n) for n in range(3)], matrices, THREE)

    assert [(one.id, share) for one, share in ranked(table)] == [("t000", 0.9), ("t002", 0.1)]


def test_intervals_of_the_overall_scores_alone_are_the_same():
    table = a_table(24, cells=2)

    for some, every in zip(grouped(table, "biome", metrics=overall()), grouped(table, "biome"), strict=True):
        assert some.intervals.values == {metric.key: every.intervals.values[metric.key] for metric in overall()}
        assert not any(some.intervals.classes.values())
        assert some.counts.scores() == every.counts.scores()


def test_seasons_come_as_the_year_goes_and_a_name_of_blanks_is_a_name():
    # Given tiles of July, April and January in Europe, and one in the tropics.
    facts = [{"date": date(2019, 7, 1)}, {"date": date(2019, 4, 1)}, {"date": date(2019, 1, 1)}, {"lat": 5.0}]
    records = [record(n, annotator=" ", **one) for n, one in enumerate(facts)]
    table = TileTable.of(records, [counts(np.eye(3))] * 4, THREE)

    assert [group.name for group in grouped(table, "season")] == [
        "winter",
        "spring",
        "summer",
        "tropics, June to August",
    ]
    assert [group.name for group in grouped(table, "annotator")] == [" "]
