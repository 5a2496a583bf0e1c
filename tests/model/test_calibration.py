"""A calibration as a record: probabilities by hand, and what is kept with a run."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dwplus.model.calibration import Calibration, Reliability, calibration_name
from dwplus.model.runs import RunFolder
from dwplus.pipeline.errors import DataError

BINS_OF = ((0,) * 11 + (10,) + (0,) * 3, (0,) * 11 + (8,) + (0,) * 3, (0,) * 11 + (7_500_000,) + (0,) * 3)
SOME = Reliability(*BINS_OF, squared_errors=3_000_000)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    RunFolder(tmp_path).write_weights("model.safetensors", {"w": torch.ones(2)})
    return tmp_path


def calibration(run_dir: Path, **changes: object) -> Calibration:
    sha256 = RunFolder(run_dir).sums()["model.safetensors"][0]
    plain = Calibration(
        0.5, {}, ("water", "trees"), split="val", tiles=6, pixels=10, tiles_hash="abc", experts=True,
        weights="model.safetensors", weights_sha256=sha256, source="SANDBOX", before=SOME, after=SOME,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_probabilities_are_those_of_logits_divided_by_the_temperature(run_dir: Path) -> None:
    logits = torch.tensor([[[[1.0]], [[0.0]]]])  # (1, 2, 1, 1)

    found = calibration(run_dir).probabilities(logits)

    assert found[0, 0, 0, 0].item() == pytest.approx(1 / (1 + math.exp(-2)))  # (1 - 0) / 0.5 = 2
    assert found.sum(1).flatten().tolist() == pytest.approx([1.0])


def test_a_bias_is_added_after_the_temperature_and_may_change_the_class(run_dir: Path) -> None:
    logits = torch.tensor([[1.0, 0.0]])  # (1, 2)

    one = calibration(run_dir, biases={"trees": 3.0})

    assert one.changes_classes
    assert not calibration(run_dir).changes_classes
    assert one.logits(logits).tolist() == [[2.0, 3.0]]
    assert one.probabilities(logits).argmax().item() == 1


def test_ten_pixels_of_one_bin_by_hand() -> None:
    # 8 of 10 right at a mean confidence of 0.75; squared errors of 3 in all.
    assert SOME.ece == pytest.approx(0.05)
    assert SOME.brier == pytest.approx(0.3)


def test_it_is_kept_with_its_run_and_read_back(run_dir: Path) -> None:
    assert Calibration.read(run_dir) is None
    one = calibration(run_dir, biases={"trees": 0.25, "water": -0.25})

    one.write(run_dir)

    assert Calibration.read(run_dir) == one
    assert Calibration.read(str(run_dir)) == one
    assert Calibration.read(run_dir, "best.safetensors") is None
    assert "calibration.json" in RunFolder(run_dir).sums()
    assert json.loads((run_dir / "calibration.json").read_text())["before"]["ece"] == pytest.approx(0.05)


def test_one_of_other_weights_or_one_that_was_changed_is_refused(run_dir: Path) -> None:
    calibration(run_dir).write(run_dir)
    RunFolder(run_dir).write_weights("model.safetensors", {"w": torch.zeros(2)})
    with pytest.raises(DataError, match=r"is of other weights than model\.safetensors .* score the run again"):
        Calibration.read(run_dir)

    calibration(run_dir).write(run_dir)
    path = run_dir / "calibration.json"
    path.write_text(path.read_text().replace('"temperature": 0.5', '"temperature": 0.6'))
    with pytest.raises(DataError, match="was changed or damaged"):
        Calibration.read(run_dir)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", 0),
        ("temperature", "warm"),
        ("temperature", float("inf")),
        ("biases", {"lake": 1.0}),
        ("biases", {"trees": float("nan")}),
        ("before", {"bins": {}}),
        ("classes", None),
    ],
)
def test_documents_that_are_no_calibration_are_refused(run_dir: Path, key: str, value: object) -> None:
    document = calibration(run_dir).to_dict() | {key: value}

    with pytest.raises(DataError, match=r"^there is no calibration of dwplus .*score the run again$"):
        Calibration.from_dict(document, where="there")


def test_the_best_weights_have_a_file_of_their_own() -> None:
    assert calibration_name() == "calibration.json"
    assert calibration_name("best.safetensors") == "calibration-best.json"
