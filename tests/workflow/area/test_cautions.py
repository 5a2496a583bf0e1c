"""What is said of an estimate that should not be trusted."""

import numpy as np
from dwplus.workflow.area.cautions import cautions
from dwplus.workflow.area.estimators import estimate, from_matrix


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
