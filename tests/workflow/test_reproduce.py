"""The whole way: what it says at its end, and where runs of other data go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.progress import Silent
from dwplus.workflow import reproduce
from dwplus.workflow.reproduce import (
    PAPER_TRIALS,
    SANDBOX_TRIALS,
    Reproduced,
    Trial,
    scores_as_text,
    set_aside_other_data,
    tiles_as_text,
)
from dwplus.workflow.training import Inputs
from support.fixture_types import LayOut, Run
from support.runs import lay_out, make_run

TRIAL = Trial("specsar-s1s2", "specsar-former-small", Inputs())


@pytest.fixture
def root(ready_root: LayOut) -> DataRoot:
    return ready_root(train=2, test=1)


def test_runs_of_data_that_comes_and_goes_are_kept_side_by_side(root: DataRoot) -> None:
    # Given a run that was trained on A while the root holds B, then again: A, B, A, B.
    for shards_hash in ("aaa", "bbb", "aaa", "bbb", "aaa"):
        lay_out(make_run(TRIAL.name, shards_hash=shards_hash), root.runs, weights=False)
        set_aside_other_data(root, TRIAL, Silent())

    kept = sorted(path.name for path in root.runs.iterdir())
    assert kept == [f"{TRIAL.name}-{end}" for end in ("aaa", "aaa-2", "aaa-3", "bbb", "bbb-2")]
    assert not list(root.runs.glob("*/scores.json"))


def test_a_run_of_the_same_data_stays(root: DataRoot) -> None:
    lay_out(make_run(TRIAL.name, shards_hash=root.statistics("strict").shards_hash), root.runs, weights=False)

    set_aside_other_data(root, TRIAL, Silent())

    assert [path.name for path in root.runs.iterdir()] == [TRIAL.name]


@pytest.mark.parametrize("trials", [SANDBOX_TRIALS, PAPER_TRIALS])
def test_two_trials_differ_in_nothing_but_sentinel_1(trials: tuple[Trial, ...]) -> None:
    pairs = [
        (one.name, other.name)
        for one in trials
        for other in trials
        if one.model == other.model and (one.inputs.auxiliary, other.inputs.auxiliary) == ("sar", "none")
    ]

    assert pairs == [("segformer-s1s2", "segformer-s2")]


def test_the_numbers_of_labels_tiles_and_used_tiles_are_explained(root: DataRoot) -> None:
    # Given three tiles, a second markup of one of them, and a test tile that failed.
    row = root.manifest().rows[0]
    second = root.folder / row.label.replace(f"labels/{row.labeler}/", "labels/non_expert/")
    second.parent.mkdir(parents=True)
    second.write_bytes((root.folder / row.label).read_bytes())
    test = root.manifest().of_split("test", "strict")[0].tile.id
    with root.open_ledger() as ledger:
        ledger.append(LedgerRow(test, "failed", "no_answer"))

    first, missing, used = tiles_as_text(root)

    assert first == "4 labels of 3 tiles: where several people drew one tile, one markup is used"
    assert missing.startswith("not used: 1 no_answer (the service did not answer")
    assert used.startswith("complete, validated and used: 2 tiles (")


def test_scores_are_a_line_per_run_that_lines_up() -> None:
    runs = {name: make_run(name, hits=hits).scores for name, hits in (("a", 40), ("longer", 30))}

    assert scores_as_text(runs) == [
        "a       mIoU 66.67%  OA 80.00%  F1 80.00%  2 tiles [SANDBOX]",
        "longer  mIoU 42.86%  OA 60.00%  F1 60.00%  2 tiles [SANDBOX]",
    ]
    assert scores_as_text({"a": replace(runs["a"], tiles=1)})[0].endswith("1 tile [SANDBOX]")


def test_the_command_prints_scores_and_keeps_stdout_for_the_path(
    root: DataRoot, dwplus: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Reproduced(Path("report/index.html"), {"run-a": make_run("a").scores})
    monkeypatch.setattr(reproduce, "train_and_report", lambda *_, **__: done)
    result = type("Result", (), {"failed": 0})()
    from dwplus.commands import reproduce as command

    monkeypatch.setattr(command, "build_from", lambda *_: (root, result))

    code, out, err = dwplus("reproduce", "--source", "sandbox", "-q")

    assert (code, out) == (0, "report/index.html\n")
    assert "run-a  mIoU 66.67%  OA 80.00%" in err
    assert "3 labels of 3 tiles\n" in err
