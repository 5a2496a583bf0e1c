"""Which split a calibration is fitted on when a run is scored, what is said, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dwplus.cli import cli
from dwplus.model.calibration import Calibration
from dwplus.model.config import to_mapping
from dwplus.model.registry import build, configure
from dwplus.model.run_config import DataCard, RunConfig
from dwplus.model.runs import RunFolder
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.errors import DwplusError
from support.fixture_types import LayOut

MODEL = "specsar-former-small"


def make_run(root: DataRoot, name: str, protocol: str = "strict") -> Path:
    """A complete run of a network that was never trained."""
    folder = RunFolder(root.runs / name)
    card = DataCard.of(Dataset(root, split="train", protocol=protocol))
    config = configure(MODEL, len(card.primary), len(card.auxiliary))
    folder.write_config(RunConfig("0.1.0", MODEL, to_mapping(config), {}, card))
    folder.write_weights("model.safetensors", build(MODEL, len(card.primary), len(card.auxiliary)).state_dict())
    return folder.path


def score(root: DataRoot, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["score", *arguments, "--data", str(root.folder)])
    code = done.exception.exit_code if isinstance(done.exception, DwplusError) else done.exit_code
    return int(code), done.output + done.stderr + str(done.exception or "")


@pytest.fixture
def root(ready_root: LayOut) -> DataRoot:
    return ready_root(train=4, test=2, size=32)


def test_scoring_fits_on_the_validation_tiles_once_and_keeps_it(root: DataRoot) -> None:
    run = make_run(root, "one")

    code, said = score(root, "one")

    assert code == 0
    assert "calibrated: " in said
    assert "temperature " in said
    found = Calibration.read(run)
    assert found is not None
    val, train = (len(root.usable(split, "strict")) for split in ("val", "train"))
    assert (found.split, found.tiles, found.source) == ("val", val, root.source())
    assert json.loads((run / "scores-calibrated.json").read_text())["variant"] == "calibrated"
    stamp = (run / "calibration.json").stat().st_mtime_ns
    assert score(root, "one", "--tta")[0] == 0
    assert (run / "calibration.json").stat().st_mtime_ns == stamp
    assert json.loads((run / "scores-tta.json").read_text())["variant"] == "tta"
    assert "variant" not in json.loads((run / "scores.json").read_text())
    assert score(root, "one", "--calibrate-on", "train")[0] == 0
    again = Calibration.read(run)
    assert again is not None
    assert (again.split, again.tiles) == ("train", train)


def test_json_of_a_score_holds_the_calibrated_network_as_the_text_does(root: DataRoot) -> None:
    run = make_run(root, "one")

    def document(*options: str) -> dict[str, Any]:
        done = CliRunner().invoke(cli, ["score", "one", "--json", "-q", "--data", str(root.folder), *options])
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    found, kept = document(), json.loads((run / "scores-calibrated.json").read_text())

    plain = json.loads((run / "scores.json").read_text())
    assert found == {**plain, "calibrated": kept}
    assert kept["calibration"].startswith(("temperature ", "focal loss "))
    assert set(kept["intervals"]) >= {"ece", "brier", "miou", "classes"}
    # Without a calibration there is no such variant, although the file of the earlier scoring is still there.
    assert document("--calibrate-on", "none")["calibrated"] is None


def test_under_paper_nothing_is_fitted_on_val_which_is_the_test_split(root: DataRoot) -> None:
    run = make_run(root, "one", "paper")

    code, said = score(root, "one")

    assert code == 0
    assert "not calibrated: under protocol paper val is the test split" in said
    assert not (run / "calibration.json").exists()
    code, said = score(root, "one", "--calibrate-on", "val")
    assert code
    assert "--calibrate-on train, or none" in said


def test_several_runs_are_averaged_on_request_alone(root: DataRoot) -> None:
    make_run(root, "one")
    make_run(root, "two")

    code, said = score(root, "one", "two")
    assert code
    assert "--ensemble NAME averages them" in said

    code, said = score(root, "one", "two", "--ensemble", "mean")
    assert code == 0
    assert (root.runs / "mean" / "scores.json").is_file()
    assert Calibration.read(root.runs / "one") is not None


def test_the_common_name_of_seeds_is_that_of_all_of_them(root: DataRoot) -> None:
    make_run(root, "both-s0")
    make_run(root, "both-s1")

    code, said = score(root, "both", "--ensemble", "mean", "--calibrate-on", "none")

    assert code == 0, said
    assert "mean averages both-s0, both-s1" in said
