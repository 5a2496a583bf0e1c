"""Maps as rows: codes to classes, merged classes, own and shared pixels, what is lost."""

from __future__ import annotations

import numpy as np
import pytest
from dwplus.model.metrics import ConfusionMatrix
from dwplus.model.products import BesideScores, Counts, class_of_code, merge, merge_table, merged_names
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from dwplus.pipeline.spec.layers import products
from hypothesis import given
from hypothesis import strategies as st
from support.scored import THREE, a_table

NAMES = DYNAMIC_WORLD.names
TOGETHER = frozenset({"grass", "shrub_and_scrub"})


@pytest.mark.parametrize("name", ["dynamic-world", "worldcover", "esri"])
def test_every_class_is_named_by_some_code_and_no_code_by_something_else(name: str) -> None:
    product = products()[name]

    assert {one for classes in product.codes.values() for one in classes} == {*NAMES}
    assert not {*product.codes} & {*product.ignored}
    assert product.licence
    assert product.citation


def test_codes_become_classes_and_what_is_no_code_is_nothing() -> None:
    found, told = class_of_code(products()["worldcover"], NAMES)

    assert told == NAMES
    assert [told[found[code]] for code in (80, 10, 95, 100)] == ["water", "trees", "flooded_vegetation", "bare"]
    assert found[255] == found[0] == 255


def test_a_map_that_does_not_tell_grass_from_shrub_has_eight_classes() -> None:
    found, told = class_of_code(products()["esri"], NAMES)

    assert len(told) == 8
    assert told[found[11]] == "grass_or_shrub_and_scrub"
    assert told[found[9]] == "snow_and_ice"
    assert found[10] == 255  # clouds


def test_merging_adds_rows_and_columns() -> None:
    # Given three classes, of which a and c become one.
    matrix = ConfusionMatrix(np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), ("a", "b", "c"))

    merged = merge(matrix, frozenset({"a", "c"}))

    assert merged.names == ("a_or_c", "b")
    assert merged.counts.tolist() == [[1 + 3 + 7 + 9, 2 + 8], [4 + 6, 5]]


def test_merging_a_table_is_merging_the_matrix_of_each_tile() -> None:
    table = a_table(6)
    together = frozenset({THREE[0], THREE[2]})

    merged = merge_table(table, together)

    assert merged.names == (f"{THREE[0]}_or_{THREE[2]}", THREE[1])
    for number in range(6):
        chosen = np.arange(6) == number
        assert merged.counts(chosen).matrix == merge(table.counts(chosen).matrix, together)
    assert merge_table(merged, together) is merged


@given(st.lists(st.integers(0, 8), min_size=1, max_size=60), st.randoms())
def test_merging_counts_is_counting_merged_classes(truth: list[int], random: object) -> None:
    said = [random.randrange(9) for _ in truth]  # type: ignore[attr-defined]
    place = {name: index for index, name in enumerate(merged_names(NAMES, TOGETHER))}
    to_merged = [place.get(name, place["grass_or_shrub_and_scrub"]) for name in NAMES]

    merged = merge(ConfusionMatrix.of(np.array(truth, np.uint8), np.array(said, np.uint8)), TOGETHER)

    wanted = np.zeros((8, 8), int)
    for one, other in zip(truth, said, strict=True):
        wanted[to_merged[one], to_merged[other]] += 1
    np.testing.assert_array_equal(merged.counts, wanted)
    assert merge(merged, TOGETHER) == merged


def test_own_pixels_are_those_of_the_row_and_shared_ones_those_of_all() -> None:
    # Given four pixels: ignored by the label, left open by the map, not shared, and shared but wrong.
    counts = Counts(ConfusionMatrix.zero(("a", "b")), ConfusionMatrix.zero(("a", "b")))
    label, said = np.array([[255, 0, 0, 1]], np.uint8), np.array([[0, 255, 0, 0]], np.uint8)

    counts.add(label, said, np.array([[True, True, False, True]]))
    counts.add(label, None, None)

    assert counts.own.counts.tolist() == [[1, 0], [1, 0]]
    assert counts.shared.counts.tolist() == [[0, 0], [1, 0]]
    assert (counts.labelled, counts.lost_tiles) == (6, 1)


def test_scores_come_back_as_they_were_written() -> None:
    matrix = ConfusionMatrix.of(np.array([0, 1], np.uint8), np.array([0, 2], np.uint8))
    scores = BesideScores(
        "worldcover", "ESA WorldCover", "SANDBOX", "test", "strict", 2, "abc", matrix, None, "", 5, 1,
        {"2019": 2}, {"2020": 2}, {"licence": "CC BY 4.0"},
    )  # fmt: skip

    assert BesideScores.from_dict(scores.to_dict()) == scores
    assert scores.lost_pixels == 3
    with pytest.raises(DataError, match="score it again"):
        BesideScores.from_dict({"miou": 0.5})
