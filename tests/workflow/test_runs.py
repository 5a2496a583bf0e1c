"""Runs as the report reads them: one that cannot be read is named with its sentence, and the page is written."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dwplus.model.runs import RunFolder
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.progress import Silent
from dwplus.workflow.pages.report import write_report
from dwplus.workflow.pages.runs import parameters_of, summary_json
from support.fixture_types import LayOut, Run
from support.report_parts import without_costs
from support.runs import fresh_run, lay_out, make_run


@pytest.fixture
def root(ready_root: LayOut, monkeypatch: pytest.MonkeyPatch) -> DataRoot:
    """A validated data set with one good run; the costs of the paper's networks, which take long, are left out."""
    without_costs(monkeypatch)
    root = ready_root(train=2, test=1, size=32)
    lay_out(fresh_run(root, "good"), root.runs)
    return root


def edited(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def unchecked(run: Path) -> Path:
    """A run as earlier versions left it: what it holds is not checked before it is read."""
    (run / "SHA256SUMS").unlink()
    return run


def without(*keys: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda document: {key: value for key, value in document.items() if key not in keys}


NOT_READ: dict[str, Callable[[Path], object]] = {
    "half scores": lambda run: (run / "scores.json").write_text('{"split": "te'),
    "scores of something else": lambda run: (run / "scores.json").write_text("[1, 2]"),
    "scores without a matrix": lambda run: edited(run / "scores.json", without("matrix")),
    "a matrix of two classes": lambda run: edited(
        run / "scores.json", lambda d: d | {"matrix": {"counts": [[1, 0], [0, 1]], "classes": ["a", "b"]}}
    ),
    "words for numbers": lambda run: edited(run / "scores.json", lambda d: d | {"tiles": "many"}),
    "bytes": lambda run: (run / "scores.json").write_bytes(b"\xff\xfe\x00"),
    "a folder for scores": lambda run: ((run / "scores.json").unlink(), (run / "scores.json").mkdir()),
    "no settings": lambda run: (run / "config.json").unlink(),
    "half settings": lambda run: (run / "config.json").write_text('{"model": "segf'),
    "null": lambda run: (run / "config.json").write_text("null"),
    "a list": lambda run: (run / "config.json").write_text("[[1]]"),
    "a number": lambda run: (run / "config.json").write_text("7"),
    "settings without data": lambda run: edited(run / "config.json", without("data")),
    "data of another kind": lambda run: edited(run / "config.json", lambda d: d | {"data": "tiles"}),
    "settings of settings": lambda run: (run / "config.json").write_text("[" * 100_000),
    "a folder for settings": lambda run: ((run / "config.json").unlink(), (run / "config.json").mkdir()),
}
"""What makes scores or settings unreadable."""

READ_IN_PART: dict[str, Callable[[Path], object]] = {
    "no weights": lambda run: (run / "model.safetensors").unlink(),
    "half weights": lambda run: (run / "model.safetensors").write_bytes(b"half"),
    "weights of another network": lambda run: shutil.copy(
        lay_out(make_run("x", "segformer-small"), run.parent.parent / "elsewhere") / "model.safetensors", run
    ),
    "no epochs": lambda run: (run / "metrics.jsonl").unlink(),
    "half epochs": lambda run: (run / "metrics.jsonl").write_text('{"epoch": 1, "loss": 0.5, "sec'),
    "epochs without numbers": lambda run: (run / "metrics.jsonl").write_text('{"epoch": 1, "loss": null}\n'),
    "epochs of something else": lambda run: (run / "metrics.jsonl").write_text("[1]\n"),
    "a network of another version": lambda run: edited(run / "config.json", lambda d: d | {"model": "specsar-2"}),
    "settings of another version": lambda run: edited(run / "config.json", lambda d: d | {"model_config": {"new": 1}}),
    "settings that fit no network": lambda run: edited(
        run / "config.json", lambda d: d | {"model_config": d["model_config"] | {"split": [0, 0]}}
    ),
    "a network that is unknown to its extra": lambda run: edited(
        run / "config.json", lambda d: d | {"model": "smp/nothing/resnet34", "model_config": {}}
    ),
    "bands that are unknown": lambda run: edited(
        run / "config.json", lambda d: d | {"data": d["data"] | {"primary": ["B99"] * 10}}
    ),
}
"""What leaves the scores of a run readable."""


def damaged_runs(
    root: DataRoot, damages: dict[str, Callable[[Path], object]], *, weights: bool = True
) -> dict[str, str]:
    """A page over a good run and one for each damage: name of the damage -> what the page says of the run."""
    names = {title: f"bad-{number:02}" for number, title in enumerate(damages)}
    for title, damage in damages.items():
        damage(unchecked(lay_out(fresh_run(root, names[title]), root.runs, weights=weights)))
    page = write_report(root, progress=Silent()).read_text()
    assert '<td data-title="run">good</td>' in page
    shown = set(re.findall(r'<td data-title="run">(bad-..)', page))
    said = dict(re.findall(r"<li><b>(bad-..)</b>: (.*)</li>", page))
    return {title: ("in the table " if name in shown else "") + said.get(name, "") for title, name in names.items()}


def test_runs_that_cannot_be_read_are_named_and_the_others_are_reported(root: DataRoot) -> None:
    for title, said in damaged_runs(root, NOT_READ, weights=False).items():
        assert not said.startswith("in the table"), title
        assert "/runs/bad-" in said, title
        assert len(said) < 600, title


def test_runs_that_are_read_in_part_keep_their_scores_and_say_what_is_missing(root: DataRoot) -> None:
    for title, said in damaged_runs(root, READ_IN_PART).items():
        assert said.startswith("in the table"), title
        assert len(said) > 40, title


def test_scores_that_were_changed_are_named_with_the_file_and_not_shown(root: DataRoot) -> None:
    # Given a run whose scores were made a little better by hand, and one whose scores are as dwplus wrote them.
    for name in ("edited", "untouched"):
        run = fresh_run(root, name)
        path = lay_out(run, root.runs)
        RunFolder(path).write_json("scores.json", run.scores.to_dict())
    edited(root.runs / "edited" / "scores.json", lambda d: d | {"oa": 0.99, "tiles": 3})

    page = write_report(root, progress=Silent()).read_text()

    assert '<td data-title="run">untouched</td>' in page
    assert '<td data-title="run">edited</td>' not in page
    said = page.split("<li><b>edited</b>: ")[1].split("</li>")[0]
    assert f"{root.runs}/edited/scores.json was changed or damaged since it was written (SHA256SUMS)" in said
    assert "dwplus score runs/edited" in said


def test_an_extra_that_is_missing_is_named_and_ends_nothing(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    run = unchecked(lay_out(fresh_run(root, "good2"), root.runs))
    edited(run / "config.json", lambda d: d | {"model": "smp/unet/resnet34", "model_config": {}})
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)

    page = write_report(root, progress=Silent()).read_text()

    assert "dwplus[models]" in page.split("<li><b>good2</b>: ")[1].split("</li>")[0]


def test_a_report_of_broken_runs_alone_is_written(root: DataRoot) -> None:
    shutil.rmtree(root.runs / "good")
    for name in ("one", "two"):
        (lay_out(make_run(name), root.runs) / "scores.json").write_text("{}")

    page = write_report(root, progress=Silent()).read_text()

    assert "<li><b>one</b>: " in page
    assert "<li><b>two</b>: " in page
    assert "No run is scored yet" not in page


def test_forty_runs_stand_on_one_page(root: DataRoot) -> None:
    first = lay_out(make_run("run-01", "segformer-small"), root.runs, weights=False)
    for number in range(2, 41):
        shutil.copytree(first, root.runs / f"run-{number:02}")

    page = write_report(root, progress=Silent()).read_text()

    shown = re.findall(r'<td data-title="run">([a-z0-9-]+)', page)
    assert sorted(shown) == ["good", *(f"run-{number:02}" for number in range(1, 41))]
    # Curves and pictures of all of them could not be told apart: the page says how many it leaves out.
    assert "Grey: 33 other runs." in page


def test_a_folder_without_a_file_is_no_run_and_hides_none(root: DataRoot) -> None:
    (root.runs / "empty").mkdir()

    page = write_report(root, progress=Silent()).read_text()

    assert '<td data-title="run">good</td>' in page
    assert '<td data-title="run">empty</td>' not in page


def test_a_run_without_checkpoints_is_whole(root: DataRoot) -> None:
    # Checkpoints serve to resume a training, and are large: people delete them.
    checkpoint = root.runs / "good" / "checkpoints" / "epoch-00001.pt"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"state")
    with_one = write_report(root, progress=Silent()).read_text()

    shutil.rmtree(checkpoint.parent)

    assert write_report(root, progress=Silent()).read_text() == with_one


def test_a_run_without_scores_is_listed_with_the_command_that_makes_them(root: DataRoot) -> None:
    (lay_out(make_run("trained"), root.runs) / "scores.json").unlink()
    (lay_out(make_run("begun"), root.runs, weights=False) / "scores.json").unlink()

    page = write_report(root, progress=Silent()).read_text()

    assert "<li><b>trained</b>: <code>dwplus score runs/trained</code></li>" in page
    assert "<li><b>begun</b>: <code>dwplus train --name begun</code></li>" in page


def test_the_command_writes_the_page_and_names_broken_runs_without_a_traceback(root: DataRoot, dwplus: Run) -> None:
    (unchecked(lay_out(fresh_run(root, "bad"), root.runs)) / "config.json").write_text("7")

    code, out, err = dwplus("report", "--data", str(root.folder))

    assert (code, out.strip()) == (0, str(root.report_page))
    assert f"run bad: {root.runs}/bad/config.json cannot be read" in err
    assert "Traceback" not in err


def test_the_scores_as_json_hold_the_sentence_of_a_run_that_cannot_be_read(root: DataRoot) -> None:
    (lay_out(fresh_run(root, "bad"), root.runs) / "scores.json").write_text("{}")

    bad, good = json.loads(summary_json(root))

    assert (bad["run"], good["run"]) == ("bad", "good")
    assert "dwplus score runs/bad" in bad["error"]
    assert good["oa"] == pytest.approx(0.8)


def test_parameters_are_those_of_the_network_that_was_trained() -> None:
    full, ablated = make_run("a", "specsar-former"), make_run("b", "specsar-former", settings={"aggregation": False})

    assert parameters_of(full) == 26_704_265
    # As counted for Table IV, "ca-sa" (manifests/paper.toml).
    assert parameters_of(ablated) == 26_076_553
