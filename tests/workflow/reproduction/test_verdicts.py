"""Verdicts on numbers that are worked out by hand."""

from __future__ import annotations

import pytest
from dwplus.workflow.reproduction.numbers import PaperNumber
from dwplus.workflow.reproduction.verdicts import Need, Ours, Word, counted, judge, judge_all

MIOU = PaperNumber("table1.specsar-former.miou", "Table I, Proposed, mIoU", "59.58", "score", "table1.specsar-former")
PARAMS = PaperNumber("table2.specsar-former.params", "Table II", "26.70", "cost", "table2.specsar-former", "params")
NEED = Need(41.3, "dwplus reproduce --scope paper --table I")


@pytest.mark.parametrize(
    ("values", "bounds", "word"),
    [
        ((59.5849,), None, "exact"),
        ((59.586,), None, "differs"),  # rounds to 59.59, and nothing says how far noise reaches
        ((60.5,), (58.0, 63.0), "test-set noise"),
        ((62.0,), (60.0, 64.0), "differs"),
        # Two seeds tell no noise; of three, mean 60.5 and deviation 0.5: t(2) = 4.303, x 0.5 x sqrt(4 / 3) = 2.48.
        ((60.0, 61.0), None, "differs"),
        ((60.0, 60.5, 61.0), None, "seed noise"),
        ((62.0, 62.5, 63.0), None, "differs"),  # 2.92 away
        ((62.0, 62.5, 63.0), (59.0, 66.0), "test-set noise"),
    ],
)
def test_a_score_is_judged_by_digits_then_seeds_then_tiles(
    values: tuple[float, ...], bounds: tuple[float, float] | None, word: Word
) -> None:
    assert judge(MIOU, Ours(values, "a", bounds=bounds)).word == word


def test_scores_of_synthetic_pixels_are_never_compared() -> None:
    verdict = judge(MIOU, Ours((59.58,), "a", synthetic=True), NEED)

    assert (verdict.word, verdict.difference) == ("synthetic", None)
    assert verdict.sentence == f"not comparable: synthetic; needs about 41 GPU hours: {NEED.command}"


def test_parameters_are_compared_in_the_sandbox_too() -> None:
    exact = judge(PARAMS, Ours((26.704265,), "specsar-former", synthetic=True))
    other = judge(PARAMS, Ours((27.5,), "specsar-former", synthetic=True))

    assert (exact.word, other.word) == ("exact", "differs")
    assert other.difference == pytest.approx(0.8)


def test_a_number_without_anything_beside_it_says_what_it_needs() -> None:
    verdict = judge(MIOU, None, NEED)

    assert verdict.sentence == f"not run, needs about 41 GPU hours: {NEED.command}"
    assert verdict.to_dict()["needs"] == {"gpu_hours": 41.3, "command": NEED.command}


def test_what_others_said_is_not_judged() -> None:
    assert judge(PaperNumber("section3.s1_swath_km", "", "250", "quoted"), Ours((250,), "x")).word == "quoted"


def test_every_number_has_a_verdict() -> None:
    verdicts = judge_all([MIOU, PARAMS], {PARAMS.key: Ours((26.7,), "specsar-former")}, {MIOU.key: NEED})

    assert counted(verdicts) == {"exact": 1, "not run": 1}
