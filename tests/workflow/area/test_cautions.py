"""What is said of an estimate that should not be trusted."""

import numpy as np
import pytest
from dwplus.workflow.area.cautions import cautions, class_cautions
from dwplus.workflow.area.estimators import Sample, estimate, from_matrix


def said(counts: list[list[int]]) -> list[str]:
    sample = from_matrix(counts, [100.0] * len(counts))
    return cautions(sample, estimate(sample), ("water", "trees"), ("water", "trees"))


def test_classes_with_few_omission_points_are_named() -> None:
    # Water is missed at 4 points of the stratum trees, trees at 12 of the stratum water.
    (line,) = said([[38, 12], [4, 46]])

    assert line == (
        "water rests on 4 omission points, fewer than 5: area and producer's accuracy are uncertain beyond their "
        "intervals"
    )


def test_fewer_than_ten_are_not_enough_to_expect_five() -> None:
    assert said([[38, 12], [9, 41]]) == ["water rests on 9 omission points: its intervals may be too short"]
    assert said([[38, 12], [10, 40]]) == []


def test_points_of_small_strata_count_for_what_they_stand_for() -> None:
    # 1,000 ha of trees and a buffer of 10 ha, 50 points each, all trees on the map; 20 points of the buffer are water.
    # A point of the buffer stands for 0.2 ha, one of the trees for 20: 20 points are worth 0.2.
    sample = Sample(
        areas=np.array([1_000.0, 10.0, 5.0]),
        pixels=None,
        stratum=np.repeat([0, 1, 2], 50),
        mapped=np.repeat([1, 1, 0], 50),
        reference=np.repeat([1, 0, 1, 0], [50, 20, 30, 50]),
        size=np.ones(150),
        classes=2,
    )
    found = estimate(sample)

    assert (found.classes[0].omission_points, found.classes[0].full_omissions) == (20, pytest.approx(0.2))
    (line, _) = class_cautions(found, ("water", "trees"))
    assert line.startswith(
        "water rests on 20 omission points, worth 0.2 of the stratum with the largest weight, fewer than 5: area"
    )


def test_a_stratum_without_an_error_is_named() -> None:
    lines = said([[38, 12], [0, 50]])

    assert lines[-1] == "stratum trees has no error in 50 points: standard errors are too small"
    assert lines[0].startswith("water rests on 0 omission points")


def test_a_stratum_with_one_answer_that_is_not_the_maps_is_named() -> None:
    sample = from_matrix([[0, 12], [10, 50]], [100.0, 100.0])

    assert "stratum water has one answer at all 12 points: it adds nothing to standard errors of areas" in cautions(
        sample, estimate(sample), ("water", "trees"), ("water", "trees")
    )


def test_a_sample_without_points_of_a_stratum_says_nothing_of_it() -> None:
    sample = from_matrix([[38, 12], [0, 0]], [100.0, 0.0])

    assert np.isnan(estimate(sample).classes[1].users.value)
    assert not any("trees has" in line for line in cautions(sample, estimate(sample), ("a", "b"), ("water", "trees")))
