"""Hypotheses on which tiles the paper kept, on tiles counted by hand and on the 409 published ids."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from dwplus.manifests import load_csv
from dwplus.pipeline.build.build import Selection
from dwplus.pipeline.build.forecast import forecast
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.files.atomic import read_json, write_json
from dwplus.pipeline.labels.subsets import (
    RULES,
    SUBSET_FILE,
    Candidate,
    Target,
    candidates_of,
    crs_matches,
    hypotheses,
    paper_subset,
    record_subset,
    tiles_of,
)
from dwplus.pipeline.spec.words import count_of
from support.fixture_types import LayOut, Run


def tile(number: int, split: str = "train", **facts) -> Candidate:
    return Candidate(**{"id": f"dw_{number}", "split": split, "year": 2019, **facts})


@pytest.fixture(scope="module")
def test_release() -> list[Candidate]:
    """The 409 ids of the test release, with the year of each."""
    return [Candidate(row["dw_id"], "test", int(row["date"][:4])) for row in load_csv("test_409")]


def test_the_409_ids_are_322_of_2019_32_of_2018_and_55_of_2017(test_release: list[Candidate]) -> None:
    assert Counter(one.year for one in test_release) == {2019: 322, 2018: 32, 2017: 55}
    assert len(tiles_of(test_release, ["2019"])) == 322
    assert len(tiles_of(test_release, ["no-2017"])) == 354
    assert len(tiles_of(test_release, [])) == 409


def test_of_the_409_ids_2019_only_is_nearest_to_299(test_release: list[Candidate]) -> None:
    nearest, *others = hypotheses(test_release)

    assert (nearest.rules, nearest.train, nearest.test) == (("2019",), 0, 322)
    assert nearest.distance == pytest.approx((322 - 299) / 299)
    assert [(one.rules, one.test) for one in others] == [(("no-2017",), 354), ((), 409)]


def test_twenty_three_tiles_without_sentinel_1_would_give_299(test_release: list[Candidate]) -> None:
    of_2019 = [one for one in test_release if one.year == 2019]
    lost = {one.id for one in of_2019[:23]}
    known = [replace(one, has_s1=one.id not in lost) for one in test_release]

    nearest = hypotheses(known)[0]

    assert (nearest.rules, nearest.test, nearest.unknown, nearest.distance) == (("2019", "s1"), 299, 0, 0)


def test_rules_are_counted_alone_and_together() -> None:
    # Given 4 training tiles, two of 2019, two by experts (one of both); and a test tile.
    tiles = [tile(1, expert=True), tile(2, year=2018, expert=True), tile(3), tile(4, year=2017), tile(5, "test")]

    found = {one.rules: (one.train, one.test) for one in hypotheses(tiles, Target(2, 1, scaled=False))}

    assert found[()] == (4, 1)
    assert found[("2019",)] == (2, 1)
    assert found[("experts",)] == (2, 1)
    assert found[("2019", "experts")] == (1, 1)
    assert found[("no-2017",)] == (3, 1)
    assert ("experts", "non-experts") not in found


def test_the_markups_of_several_people_are_one_tile_or_several_labels() -> None:
    tiles = [tile(1, markups=2, expert=True), tile(2)]

    found = {one.rules: one for one in hypotheses(tiles, Target(3, 0, scaled=False))}

    assert (found[()].train, found[("each-markup",)].train) == (2, 3)
    assert found[()].title == "one tile per id"
    assert found[("each-markup",)].title == "every markup counts"


def test_a_tile_of_which_a_rule_does_not_know_is_kept_and_counted() -> None:
    tiles = [tile(1, crs_matches=True), tile(2, crs_matches=False), tile(3)]

    found = {one.rules: one for one in hypotheses(tiles, Target(1, 0, scaled=False))}

    assert (found[("crs",)].train, found[("crs",)].unknown) == (2, 1)
    assert tiles_of(tiles, ["crs"]) == {"dw_1", "dw_3"}


@pytest.mark.parametrize(
    ("crs", "scene", "same"),
    [
        ("EPSG:32720", "S2B_MSIL2A_20190812T143759_N0213_R096_T20MMA_20190812T165657", True),
        ("EPSG:32721", "S2B_MSIL2A_20190812T143759_N0213_R096_T20MMA_20190812T165657", False),
        ("EPSG:32630", "20181226T103439_20181226T103434_T30NVM", True),
        ("EPSG:32730", "20181226T103439_20181226T103434_T30NVM", False),
        ("EPSG:32630", "", None),
    ],
)
def test_a_scene_lies_in_a_tiles_zone_or_not(crs: str, scene: str, same: bool | None) -> None:
    assert crs_matches(crs, scene) is same


def test_a_small_release_is_compared_in_proportion() -> None:
    tiles = [*(tile(n) for n in range(93)), *(tile(n, "test") for n in range(100, 139))]

    # 16,893 x 93 / 24,194 and 299 x 39 / 409
    assert Target.of(tiles) == Target(65, 29, scaled=True)


def test_candidates_are_the_released_tiles_of_a_manifest(data_root: LayOut) -> None:
    found = candidates_of(data_root(train=2, test=1))

    assert Counter(one.split for one in found) == {"train": 2, "test": 1}
    assert all(one.marked_share is not None for one in found)
    assert all(isinstance(rule.keeps(one), bool | None) for rule in RULES.values() for one in found)


# --- the subset of a data root ----------------------------------------------------------------------------------------


def test_the_rules_of_a_subset_stay_those_that_were_recorded(data_root: LayOut) -> None:
    root = data_root(train=2, test=1)
    first = paper_subset(root)
    record_subset(root, first)
    assert paper_subset(root).hypothesis.rules == first.hypothesis.rules

    # A record of other rules is believed, and never written over.
    write_json(root.folder / SUBSET_FILE, {"rules": ["no-2017", "no-overlap"]})
    record_subset(root, first)
    assert paper_subset(root).hypothesis.rules == ("no-2017", "no-overlap")


def test_a_subset_says_that_it_is_a_guess(data_root: LayOut) -> None:
    root = data_root(train=2, test=1)
    record_subset(root, paper_subset(root))

    assert str(paper_subset(root)).startswith("subset paper, a guess: ")
    assert read_json(root.folder / SUBSET_FILE)["guess"] is True


def test_rules_that_are_not_known_are_refused(data_root: LayOut) -> None:
    root = data_root(train=2, test=1)
    write_json(root.folder / SUBSET_FILE, {"rules": ["of-tomorrow"]})

    with pytest.raises(DataError, match="names no rules that this version knows; delete it to choose anew"):
        paper_subset(root)


def test_subsets_are_listed_nearest_first(data_root: LayOut, dwplus: Run) -> None:
    root = data_root(train=2, test=1)

    code, out, _ = dwplus("labels", "subsets", "--data", str(root.folder))
    listed = json.loads(dwplus("labels", "subsets", "--data", str(root.folder), "--json")[1])

    assert code == 0
    assert out.startswith("to come near: ")
    assert "in proportion to the tiles that are here" in out
    assert "the first is a guess, not a finding" in out
    distances = [one["distance"] for one in listed["hypotheses"]]
    assert distances == sorted(distances)


def test_a_build_of_the_subset_takes_no_other_tiles(data_root: LayOut) -> None:
    # Given three tiles, of which the recorded rules keep those of 2019.
    root = data_root(train=2, test=1)
    write_json(root.folder / SUBSET_FILE, {"rules": ["2019"]})
    of_2019 = sum(row.tile.date.year == 2019 for row in root.manifest().rows)

    words, cost = forecast(root, Selection(subset="paper"), recipe=root.recipe(), concurrency=1)
    everything, _ = forecast(root, Selection(), recipe=root.recipe(), concurrency=1)

    assert words.startswith(f"{count_of(of_2019, 'tile')}:") if of_2019 else cost.tiles == 0
    assert everything.startswith("3 tiles:")
