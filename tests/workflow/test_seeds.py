"""Several seeds as one row: names, means and deviations, and what is no such row."""

from __future__ import annotations

import json
import math

import pytest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import UsageError
from dwplus.workflow.pages.sections.scores import run_summary, score_rows
from dwplus.workflow.seeds import Spread, find_runs, groups_of, parse_seeds, spread
from support.fixture_types import LayOut, Run
from support.report_parts import without_costs
from support.runs import make_run

NETWORK = ("--set", "model_options={widths=[16,32],depths=[1,1],heads=[1,2],reductions=[4,2],decoder_width=16}")
FAST = ("--source", "sandbox", "--epochs", "1", "--set", "device=cpu", "--set", "workers=0", *NETWORK)


@pytest.fixture
def root(ready_root: LayOut, monkeypatch: pytest.MonkeyPatch) -> DataRoot:
    """A data set; the costs of the paper's networks, which take long, are left out of reports."""
    without_costs(monkeypatch)
    return ready_root(train=4, test=1, size=32)


def test_seeds_are_different_whole_numbers() -> None:
    assert parse_seeds("0, 1,12") == (0, 1, 12)
    for text in ("", "0,,1", "1,1", "1,01", "-1", "0.5", "a"):
        with pytest.raises(UsageError, match="write different whole numbers, such as --seeds 0,1,2"):
            parse_seeds(text)


def test_a_spread_is_the_mean_and_the_deviation_of_a_sample() -> None:
    assert spread([0.4, 0.5, 0.6]) == Spread(pytest.approx(0.5), pytest.approx(0.1))
    assert str(spread([0.4, 0.5, 0.6])) == "50.00% ± 10.00"
    assert spread([0.4, None]) == Spread(0.4, None)
    assert math.isnan(spread([None]).mean)


def test_seeds_are_trained_scored_and_reported_under_one_name(dwplus: Run, root: DataRoot) -> None:
    code, out, said = dwplus("train", "--name", "pair", "--seeds", "0,3", *FAST)
    assert code == 0, said
    assert "next: dwplus score runs/pair" in out
    assert [path.name for path in find_runs(root, "runs/pair")] == ["pair-s0", "pair-s3"]

    code, out, said = dwplus("score", "runs/pair", "--source", "sandbox", "--json")
    assert code == 0, said
    document = json.loads(out)
    values = [one["miou"] for one in document["scores"].values()]
    assert document["runs"] == ["pair-s0", "pair-s3"]
    assert document["miou"]["mean"] == pytest.approx(sum(values) / 2)
    assert document["miou"]["deviation"] == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))

    code, out, said = dwplus("score", "runs/pair", "--source", "sandbox")
    assert out.startswith("pair: mIoU "), said
    assert "(2 seeds) [SANDBOX]" in out.splitlines()[0]
    assert dwplus("report", "--source", "sandbox")[0] == 0
    page = root.report_page.read_text()
    assert 'data-title="run">pair (2 seeds)' in page
    assert 'data-title="run">pair-s0' not in page


def test_processes_that_train_together_train_one_seed(
    dwplus: Run, root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    code, _, said = dwplus("train", "--name", "pair", "--seeds", "0,1", *FAST)

    assert code == 2
    assert "start one command per seed: --name pair-s0 --set seed=0" in said


def test_runs_of_other_settings_are_no_row(dwplus: Run, root: DataRoot) -> None:
    assert dwplus("train", "--name", "pair", "--seeds", "0", *FAST)[0] == 0
    assert dwplus("train", "--name", "pair-s1", "--set", "seed=1", "--set", "lr=1e-3", *FAST)[0] == 0

    code, _, said = dwplus("score", "runs/pair", "--source", "sandbox")

    assert code == 2
    assert "runs pair-s0 and pair-s1 differ in train.lr, not in their seeds alone; score them one by one" in said


def test_a_row_has_runs_that_differ_in_their_seeds_alone() -> None:
    runs = [make_run(f"a-s{seed}", hits=hits, train={"seed": seed}) for seed, hits in ((2, 30), (0, 40), (10, 35))]
    other = [make_run("a-s5", train={"seed": 4}), make_run("b-s0", train={"seed": 0}), make_run("c")]
    configs = {run.name: run.config for run in [*runs, *other]}

    assert groups_of(configs) == {"a": ["a-s0", "a-s2", "a-s10"]}  # the name of a-s5 is not of its seed; b is alone
    changed = make_run("a-s3", train={"seed": 3, "lr": 1.0})
    assert groups_of({**configs, "a-s3": changed.config}) == {}


def test_a_row_of_the_report_has_the_mean_of_its_seeds() -> None:
    # Given overall accuracies of 80 % and 60 %.
    runs = [make_run("a-s0", hits=40, train={"seed": 0}), make_run("a-s1", hits=30, train={"seed": 1}), make_run("b")]
    summaries = [run_summary(run) | {"stale": run.name == "a-s1"} for run in runs]

    rows = score_rows(summaries, groups_of({run.name: run.config for run in runs}))

    assert [row["name"] for row in rows] == ["a (2 seeds)", "b"]
    assert rows[0]["scores"]["oa"] == pytest.approx(0.7)
    assert rows[0]["deviations"]["oa"] == pytest.approx(0.2 / math.sqrt(2))
    assert (rows[0]["stale"], rows[1]["deviations"]["oa"]) == (True, None)
