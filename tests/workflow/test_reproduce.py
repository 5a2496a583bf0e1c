"""The whole way: what it says at its end, and where runs of other data go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import UsageError
from dwplus.pipeline.progress import Silent
from dwplus.workflow import reproduce
from dwplus.workflow.pages.report import write_report
from dwplus.workflow.reproduce import (
    Reproduced,
    Wanted,
    check_scope,
    next_command,
    scores_as_text,
    set_aside_other_data,
    tiles_as_text,
    verdicts_as_text,
)
from dwplus.workflow.reproduction.plan import Training, wanted
from dwplus.workflow.splits import Inputs
from support.fixture_types import LayOut, Run
from support.runs import lay_out, make_run

TRIAL = Training("specsar-s1s2", "specsar-former-small", Inputs())


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


@pytest.mark.parametrize("small", [True, False])
def test_two_trainings_differ_in_nothing_but_sentinel_1(small: bool) -> None:
    pairs = [
        (one.name, other.name)
        for one in wanted(small=small)
        for other in wanted(small=small)
        if one.model == other.model and (one.inputs, other.inputs) == (Inputs("ms10", "sar"), Inputs("ms10", "none"))
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

    monkeypatch.setattr(command, "build_from", lambda *_, **__: (root, result))

    code, out, err = dwplus("reproduce", "--source", "sandbox", "-q")

    assert (code, out) == (0, "report/index.html\n")
    assert "run-a  mIoU 66.67%  OA 80.00%" in err
    assert "3 labels of 3 tiles\n" in err


# --- scopes -----------------------------------------------------------------------------------------------------------


def test_a_folder_of_the_sandbox_is_no_part_of_the_paper(root: DataRoot) -> None:
    check_scope(root, "sandbox")
    check_scope(root, None)
    check_scope(DataRoot.at(root.folder / "nowhere"), "paper")  # nothing is there yet

    with pytest.raises(UsageError, match="holds pixels of SANDBOX, which are no part of --scope paper; name another"):
        check_scope(root, "paper")


def test_a_folder_of_the_paper_is_no_part_of_the_sandbox(data_root: LayOut) -> None:
    root = data_root(train=1, test=1, source="earthengine")
    check_scope(root, "paper")

    with pytest.raises(UsageError, match="holds pixels of earthengine, which are no part of --scope sandbox"):
        check_scope(root, "sandbox")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scope", "paper", "--source", "sandbox"], "--scope paper takes pixels from earthengine"),
        (["--table", "VII"], "'VII' is none of I, II, III, IV, V, VI"),
        (["--figure", "2,4"], "'4' is none of 2, 3, 7, 8"),
        (["--shard", "3/2"], "write which machine of how many"),
        (["--seeds", "1,1"], "write different whole numbers"),
    ],
)
def test_what_cannot_be_meant_is_refused(dwplus: Run, tmp_path: Path, arguments: list[str], words: str) -> None:
    code, _, err = dwplus("reproduce", *arguments, "--data", str(tmp_path / "data"))

    assert code == 2
    assert words in err
    assert not (tmp_path / "data").exists()


def test_another_scopes_folder_is_refused_before_anything_is_written(
    root: DataRoot, dwplus: Run, tmp_path: Path
) -> None:
    # Given the sandbox's tiles in the folder of the paper's.
    folder = tmp_path / "mixed"
    folder.mkdir()
    root.folder.rename(folder / "earthengine")
    before = sorted(path.name for path in (folder / "earthengine").iterdir())

    code, _, err = dwplus("reproduce", "--scope", "paper", "--dry-run", "--data", str(folder))

    assert (code, "no part of --scope paper" in err) == (2, True)
    assert sorted(path.name for path in (folder / "earthengine").iterdir()) == before


# --- what would be done, what was done --------------------------------------------------------------------------------


def test_a_dry_run_shows_all_trainings_and_writes_nothing(dwplus: Run, tmp_path: Path) -> None:
    code, out, _ = dwplus("reproduce", "--scope", "paper", "--dry-run", "--data", str(tmp_path / "data"))

    assert code == 0
    assert "25 of 25 trainings to do here" in out
    assert "EECU-hours" in out
    assert not (tmp_path / "data").exists()


def test_machines_of_a_dry_run_share_the_trainings(dwplus: Run, tmp_path: Path) -> None:
    options = ("reproduce", "--scope", "paper", "--table", "IV", "--dry-run", "--data", str(tmp_path / "data"))
    first, second = (dwplus(*options, "--shard", f"{n}/2")[1] for n in (1, 2))

    assert first.count("of another machine") + second.count("of another machine") == 8
    assert "4 of 8 trainings to do here" in first


def test_table_ii_is_counted_without_any_data(dwplus: Run, tmp_path: Path) -> None:
    code, out, _ = dwplus("reproduce", "--table", "II", "--data", str(tmp_path / "data"))

    assert code == 0
    assert (out.count("exact"), out.count("differs")) == (18, 2)
    assert not (tmp_path / "data").exists()
    assert Wanted(tables=(2, 4)).needs_tiles


def test_a_report_that_would_be_the_same_is_left_alone(root: DataRoot) -> None:
    page = write_report(root, progress=Silent())
    before = {path: path.stat().st_mtime_ns for path in root.folder.rglob("*") if path.is_file()}

    assert write_report(root, progress=Silent()) == page
    assert {path: path.stat().st_mtime_ns for path in root.folder.rglob("*") if path.is_file()} == before

    # When a score changes, or the page itself is touched, it is made anew.
    lay_out(make_run("a"), root.runs, weights=False)
    write_report(root, progress=Silent())
    assert b'<td data-title="run">a' in page.read_bytes()
    whole = page.read_bytes()
    page.write_bytes(b"cut off")
    write_report(root, progress=Silent())
    assert page.read_bytes() == whole


def test_what_is_missing_is_told_by_table() -> None:
    numbers = [
        {"key": f"table4.ca.{metric}", "row": "table4.ca", "kind": "score", "verdict": "not run", "needs": needs}
        for metric in ("miou", "oa")
        for needs in [{"gpu_hours": 14.2}]
    ]
    document = {"scope": "sandbox", "counts": {"not run": 2}, "numbers": numbers}

    assert verdicts_as_text(document) == [
        "the paper's 2 numbers: 2 not run",
        "not run: Table IV, 1 row: real pixels and about 14 GPU hours",
    ]
    assert next_command(document, None) == "dwplus reproduce --scope paper --dry-run --project MY-PROJECT"
    assert next_command({**document, "scope": "paper"}, None) == "dwplus reproduce --scope paper"
