"""Confidence on the report: before and after calibration, and why there is no after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from dwplus.model.runs import RunFolder
from dwplus.model.scores.document import Mask, Scores
from dwplus.model.scores.kept import write_scores
from dwplus.model.scores.perfect import PerfectEce
from dwplus.model.scores.tile_table import TileTable
from dwplus.workflow.pages.confidence import confidence_of_runs
from dwplus.workflow.pages.runs import Faults, Run
from support.runs import make_run
from support.scored import a_table


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return replace(make_run("one"), folder=tmp_path)


def scored(run: Run, table: TileTable, **changes: object) -> Scores:
    total = table.counts()
    scores = replace(
        run.scores, matrix=total.matrix, ece=total.scores()["ece"], brier=total.scores()["brier"],
        mask=Mask("dataset", table.mask_hash), weights_sha256="0",
    )  # fmt: skip
    name = "scores-calibrated.json" if "variant" in changes else "scores.json"
    return write_scores(RunFolder(run.folder), name, replace(scores, **changes), table)  # type: ignore[arg-type]


def test_before_and_after_stand_beside_each_other(run: Run) -> None:
    table = a_table(skill=0.8)  # every pixel is predicted with a confidence of 0.7
    run = replace(run, scores=scored(run, table, perfect_ece=PerfectEce(0.021, 0.04)))
    scored(run, a_table(skill=0.7), variant="calibrated", calibration="temperature 0.700, fitted on 6 val tiles")
    faults = Faults()

    (found,) = confidence_of_runs([(run, table)], faults, mark="SANDBOX")

    assert not faults.sentences
    assert (
        'aria-label="reliability diagram of one, share of right pixels by confidence, as it is: ECE ' in found.drawing
    )
    assert "calibrated: ECE " in found.drawing
    # All pixels of a panel have one confidence: a dot each, with what it shows in words.
    assert found.drawing.count('class="bin"') == 2
    assert "confidence 70%: 80% right; 100.0% of the pixels" in found.drawing
    assert "SANDBOX" in found.drawing
    assert "perfectly calibrated network would show ECE 2.10% on average, 4.00% at most" in found.lines[0]
    assert found.lines[1].startswith("Calibrated: ECE ")
    assert found.lines[2] == "Temperature 0.700, fitted on 6 val tiles."


@pytest.mark.parametrize(
    ("protocol", "words"),
    [("strict", "Not calibrated: its confidence is the softmax"), ("paper", "val is the test split, on which nothing")],
)
def test_a_run_that_is_not_calibrated_says_why(run: Run, protocol: str, words: str) -> None:
    table = a_table()
    run = replace(run, scores=scored(run, table, protocol=protocol))

    (found,) = confidence_of_runs([(run, table)], Faults(), mark="")

    assert words in found.lines[1]
    assert "calibrated: ECE" not in found.drawing


def test_calibrated_scores_that_are_damaged_are_named_and_end_nothing(run: Run) -> None:
    table, faults = a_table(), Faults()
    run = replace(run, scores=scored(run, table))
    (run.folder / "scores-calibrated.json").write_text("{")

    assert confidence_of_runs([(run, table)], faults, mark="") == []
    assert "scores-calibrated.json" in faults.sentences["one"][0]
