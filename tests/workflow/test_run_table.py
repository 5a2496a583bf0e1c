"""Runs side by side, and the pace of one that trains."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from dwplus.model.run_config import Computing
from dwplus.model.runs import RunFolder
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.workflow.pace import Pace
from dwplus.workflow.pages.runs import scored_runs
from dwplus.workflow.pages.sections.origin import run_origin
from dwplus.workflow.run_table import computed_on, different, run_rows, settings_of_run
from support.fixture_types import LayOut, Run
from support.runs import lay_out, make_run


@pytest.fixture
def root(data_root: LayOut) -> DataRoot:
    """A data set with a scored run, one of another rate that has trained for an epoch, and one that cannot be read."""
    root = data_root(train=2, test=1, size=32)
    lay_out(make_run("one", hits=40, train={"lr": 5e-4}), root.runs)
    begun = make_run("two", train={"lr": 1e-3, "workers": 3, "seed": 1})
    RunFolder(root.runs / "two").write_config(begun.config)
    rows = [{"epoch": 1, "loss": 1.0, "seconds": 90.0, "miou": 0.25, "oa": 0.5, "f1": None}]
    RunFolder(root.runs / "two").write_rows(rows)
    (root.runs / "broken").mkdir()
    (root.runs / "broken" / "config.json").write_text("{")
    return root


def test_runs_have_their_scores_their_time_and_what_sets_them_apart(root: DataRoot) -> None:
    broken, one, two = run_rows(root)

    assert (one.complete, one.epochs, one.seconds, one.scored) == (True, 1, 2.0, "test")
    assert one.scores["oa"] == 0.8
    assert (two.complete, two.seconds, two.scored) == (False, 90.0, "val")
    assert two.scores == {"miou": 0.25, "oa": 0.5, "f1": None}
    # The number of loader processes changes nothing that is learnt.
    assert one.settings == {"lr": 5e-4, "seed": 0}
    assert two.settings == {"lr": 1e-3, "seed": 1}
    assert "is not a JSON document" in broken.fault


def test_the_table_has_a_line_for_each_run(dwplus: Run, root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    code, out, err = dwplus("runs", "--source", "sandbox")

    assert code == 0, err
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert "is not a JSON document" in lines["broken:"]
    assert "80.00" in lines["one"]
    assert "lr=0.0005 seed=0" in lines["one"]
    assert "not complete" in lines["two"]
    assert "2 minutes" in lines["two"]
    assert "fault" in lines["broken"]
    assert out.splitlines()[-1] == "[SANDBOX]"


def test_the_same_as_json(dwplus: Run, root: DataRoot) -> None:
    documents = json.loads(dwplus("runs", "--source", "sandbox", "--json")[1])

    assert [document["run"] for document in documents] == ["broken", "one", "two"]
    assert documents[2]["settings"] == {"lr": 1e-3, "seed": 1}


def test_without_runs_the_next_command_is_named(dwplus: Run, data_root: LayOut, tmp_path: Path) -> None:
    data_root(train=2, test=1, size=32)

    code, out, _ = dwplus("runs", "--source", "sandbox", "--runs", str(tmp_path / "none"))

    assert (code, "train one with 'dwplus train" in out) == (0, True)


def test_what_computed_runs_differs_too(data_root: LayOut) -> None:
    root = data_root(train=2, test=1, size=32)
    on_cpu = Computing(1, 1, "cpu", "fp32", 0, 4, "EPYC", {"torch": "2.14", "numpy": "2.4"})
    on_gpus = Computing(3, 2, "cuda", "bf16", 0, 4, "H100", {"torch": "2.15", "numpy": "2.4"})
    for name, computing in (("a", (on_cpu,)), ("b", (on_cpu, on_gpus)), ("old", ())):
        RunFolder(root.runs / name).write_config(replace(make_run(name).config, computing=computing))

    a, b, old = run_rows(root)

    assert a.settings == {"devices": "1 x cpu EPYC", "computed_in": "fp32", "torch": "2.14", "numpy": "2.4"}
    assert (b.settings["devices"], b.settings["torch"]) == ("1 x cpu EPYC, then 2 x cuda H100", "2.14, then 2.15")
    assert old.settings == {}
    # Nothing that all share is listed.
    assert "numpy" not in different([computed_on((on_cpu,)), computed_on((on_gpus,))])


def test_settings_that_one_run_does_not_have_differ() -> None:
    assert different([{"lr": 1, "a": 2}, {"lr": 1}, {"lr": 1, "a": 2, "b": 3}]) == ["a", "b"]
    assert different([]) == []


def test_pace_is_that_of_the_last_two_minutes() -> None:
    # Given batches of four samples: one that takes 300 s, then one every 10 s; two epochs of ten.
    times = iter([0.0, 300.0, *(310.0 + 10 * i for i in range(18))])
    pace = Pace(2, clock=lambda: next(times))

    said = [pace.batch(1 + number // 10, 1 + number % 10, 10, 4) for number in range(20)]

    assert said[0] == ""
    assert said[1] == "0.0133 samples/s, 2 hours left"  # 18 batches of 300 s
    assert said[15] == "0.4 samples/s, 40 seconds left"  # the slow one is long past
    assert said[19] == "0.4 samples/s, 1 second left"


def test_an_average_of_runs_has_no_settings_of_a_training(root: DataRoot) -> None:
    config = replace(make_run("mean").config, train={"ensemble": [{"run": "one"}, {"run": "two"}]})

    settings = settings_of_run(config)

    assert settings["model"] == "average of one, two"
    assert {"epochs", "lr", "batch", "seed", "ensemble"} & {*settings} == set()


def test_an_average_of_runs_lacks_no_curves_in_the_report(root: DataRoot) -> None:
    run = make_run("mean")
    config = replace(run.config, train={"ensemble": [{"run": "one"}, {"run": "two"}]})
    (lay_out(replace(run, config=config), root.runs) / "metrics.jsonl").unlink()

    mean = next(found for found in scored_runs(root) if found.name == "mean")

    assert mean.faults == ()
    assert run_origin(mean).trained == "average of one, two"
