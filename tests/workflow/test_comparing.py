"""``dwplus compare``: two sides by their names, what is refused, what is said of seeds and budgets."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dwplus.model.metrics import ConfusionMatrix
from dwplus.model.run_config import RunConfig
from dwplus.model.runs import RunFolder
from dwplus.model.scores.document import Mask, Scores
from dwplus.model.scores.kept import write_scores
from dwplus.pipeline.dataset.root import DataRoot
from support.fixture_types import LayOut, Run
from support.runs import make_run
from support.scored import THREE, a_table


@pytest.fixture
def root(data_root: LayOut) -> DataRoot:
    return data_root(train=2, test=1, size=32)


def lay_out(root: DataRoot, name: str, skill: float = 0.7, *, rows: int = 20, tiles: int = 40, **train: Any) -> Path:
    """A run that was scored on tiles which nobody predicted; ``skill`` is its accuracy."""
    number = int(name[-1]) if name[-1].isdigit() else 0
    made = make_run(name, train={"seed": number, "epochs": rows, "batch": 2, **train}).config
    config: RunConfig = replace(made, data=replace(made.data, tiles=6))
    folder = RunFolder(root.runs / name)
    folder.write_config(config)
    folder.write_rows({"epoch": n + 1, "loss": 1.0, "seconds": 1.0} for n in range(rows))
    table = a_table(tiles, seed=3, skill=skill + number / 1000)
    scores = Scores(
        *("test", "strict", "SANDBOX", config.model, "model", ConfusionMatrix.zero(THREE), {}, {}),
        *(tiles, f"hash of {tiles}", ("water", 0.5), 1.0, 1.0),
    )
    write_scores(folder, "scores.json", replace(scores, mask=Mask("dataset", table.mask_hash)), table)
    return folder.path


def test_two_runs_are_these_two_weights(dwplus: Run, root: DataRoot) -> None:
    lay_out(root, "one", 0.9)
    lay_out(root, "two", 0.6)

    code, out, err = dwplus("compare", "one", "two", "--source", "sandbox")

    assert code == 0, err
    rows = [line for line in out.splitlines() if line.startswith("two - one")]
    assert [line.split()[3] for line in rows] == ["mIoU", "OA", "F1"]
    assert all("these weights" in line and "-" in line and "< 0.001" in line for line in rows)
    assert "these weights, not these methods: with fewer than 3 seeds a side (one 1 run, two 1 run)" in out
    assert out.splitlines()[-1] == "[SANDBOX]"


def test_seeds_under_a_common_name_are_methods(dwplus: Run, root: DataRoot) -> None:
    for seed in range(3):
        lay_out(root, f"one-s{seed}", 0.9)
        lay_out(root, f"two-s{seed}", 0.6, model="segformer-small")

    document = json.loads(dwplus("compare", "two", "one", "--json", "--source", "sandbox")[1])

    assert [side["runs"] for side in document["sides"]] == [
        ["two-s0", "two-s1", "two-s2"],
        ["one-s0", "one-s1", "one-s2"],
    ]
    first = document["comparisons"][0]
    assert (first["first"], first["second"], first["metric"], first["of"]) == ("one", "two", "miou", "methods")
    assert 0 < first["low"] < first["difference"] < first["high"]
    assert first["p"] <= first["p_holm"] < 0.05


def test_all_pairs_of_three_as_csv(dwplus: Run, root: DataRoot) -> None:
    for name, skill in (("a", 0.8), ("b", 0.7), ("c", 0.6)):
        lay_out(root, name, skill)

    plain = dwplus("compare", "a", "b", "c", "--metric", "oa", "--csv", "--source", "sandbox")[1]
    pairs = dwplus("compare", "a", "b", "c", "--metric", "oa", "--csv", "--all-pairs", "--source", "sandbox")[1]

    names = [[(row["first"], row["second"]) for row in csv.DictReader(io.StringIO(text))] for text in (plain, pairs)]
    assert names == [[("b", "a"), ("c", "a")], [("a", "b"), ("a", "c"), ("b", "c")]]
    assert all(line.endswith(",SANDBOX") for line in plain.splitlines()[1:])
    assert "\r" not in plain


def test_unlike_budgets_are_said(dwplus: Run, root: DataRoot) -> None:
    lay_out(root, "one", rows=20)
    lay_out(root, "other-rate", rows=20, lr=1e-2)  # a trial of the same network
    lay_out(root, "two", rows=30, model="segformer-small")

    out = dwplus("compare", "one", "two", "--source", "sandbox")[1]

    # 6 training tiles in batches of 2: 3 steps an epoch.
    assert "unlike budgets: two and one had epochs 30 and 20, steps 90 and 60, learning rates tried 1 and 2" in out


def test_an_average_of_runs_had_the_budget_of_its_members_together(dwplus: Run, root: DataRoot) -> None:
    lay_out(root, "one", rows=20)
    lay_out(root, "two", rows=30, model="segformer-small")
    mean = RunFolder(lay_out(root, "mean", rows=0, epochs=None))
    members = [{"run": name, "weights_sha256": ""} for name in ("one", "two", "gone since")]
    mean.write_config(replace(mean.read_config(), train={"ensemble": members}))

    document = json.loads(dwplus("compare", "one", "mean", "--json", "--source", "sandbox")[1])

    # 20 + 30 epochs of 3 steps each.
    assert [(side["epochs"], side["steps"], side["rates"]) for side in document["sides"]] == [(20, 60, 1), (50, 150, 1)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("one",), "name two or more different runs to compare"),
        (("one", "one"), "name two or more different runs to compare"),
        (("one", "runs/one"), "one is on two sides; name two or more different runs to compare"),
        (("one", "nobody"), "no run 'nobody'"),
        (("one", "fewer"), "one and fewer cannot be compared: their tiles differ (hash of 40 and hash of 12)"),
        (("one", "unscored"), "unscored has no scores.json: score it first with 'dwplus score runs/unscored'"),
        (("one", "two", "--split", "val"), "score it first with 'dwplus score runs/one --split val'"),
        (("one", "two", "--mask", "own"), "score it first with 'dwplus score runs/one --mask own'"),
        (("one", "two", "--weights", "best"), "score it first with 'dwplus score runs/one --weights best'"),
        (("one", "two", "--metric", "kappa"), "--metric kappa: choose one of miou, oa, f1"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    dwplus: Run, root: DataRoot, arguments: tuple[str, ...], message: str
) -> None:
    lay_out(root, "one")
    lay_out(root, "two")
    lay_out(root, "fewer", tiles=12)
    (lay_out(root, "unscored") / "scores.json").unlink()

    code, _, err = dwplus("compare", *arguments, "--source", "sandbox")

    assert code != 0
    assert message in err


def test_unlike_masks_are_not_compared(dwplus: Run, root: DataRoot) -> None:
    lay_out(root, "one")
    folder = RunFolder(lay_out(root, "two"))
    table = a_table(40, seed=3)
    other = replace(table, records=tuple(replace(one, mask="other") for one in table.records))
    scores = Scores.from_dict(folder.read_json("scores.json"))
    write_scores(folder, "scores.json", replace(scores, mask=Mask("dataset", other.mask_hash)), other)

    code, _, err = dwplus("compare", "one", "two", "--source", "sandbox")

    assert code != 0
    assert "one and two cannot be compared: their masks differ" in err


def test_seven_tiles_are_too_few_to_compare(dwplus: Run, root: DataRoot) -> None:
    lay_out(root, "one", tiles=7)
    lay_out(root, "two", tiles=7)

    out = dwplus("compare", "one", "two", "--source", "sandbox")[1]

    assert "too few tiles (7) for intervals or tests" in out


def test_what_has_no_score_has_no_difference(dwplus: Run, root: DataRoot) -> None:
    # Given runs whose tiles have no pixel that counts.
    for name in ("one", "two"):
        folder = RunFolder(lay_out(root, name, tiles=12))
        scores, empty = Scores.from_dict(folder.read_json("scores.json")), a_table(12)
        empty = replace(empty, **{part: getattr(empty, part)[:0] for part in ("tile", "field", "pixels")})
        write_scores(folder, "scores.json", replace(scores, mask=Mask("dataset", empty.mask_hash)), empty)

    printed = dwplus("compare", "one", "two", "--metric", "oa", "--source", "sandbox")[1]
    document = dwplus("compare", "one", "two", "--metric", "oa", "--json", "--source", "sandbox")[1]

    assert printed.splitlines()[2].split()[3:8] == ["OA", "-", "-", "-", "-"]
    (row,) = json.loads(document, parse_constant=pytest.fail)["comparisons"]  # JSON has no NaN
    assert [row[key] for key in ("difference", "low", "high", "p", "p_holm")] == [None] * 5


def test_runs_of_other_classes_are_refused_with_one_of_them(dwplus: Run, root: DataRoot) -> None:
    lay_out(root, "one", tiles=12)
    folder = RunFolder(lay_out(root, "two", tiles=12))
    scores, other = (
        Scores.from_dict(folder.read_json("scores.json")),
        replace(a_table(12), names=("water", "ice", "crops")),
    )
    write_scores(folder, "scores.json", replace(scores, mask=Mask("dataset", other.mask_hash)), other)

    code, _, err = dwplus("compare", "one", "two", "--source", "sandbox")

    assert code == 2
    assert "their classes differ (3 entries with trees and 3 entries with ice)" in err
