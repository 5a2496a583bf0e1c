"""A data root and a run of revision 570e528 (``make.py`` made them there): read after it, with the same scores."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from dwplus.model.runs import RunFolder
from dwplus.model.score import load, score
from dwplus.model.settings import TrainConfig
from dwplus.model.train import train
from dwplus.pipeline.build.build import inspect_root, normalise_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.progress import Silent
from support.paths import REPOSITORY

OF_THIS_RUN = ("seconds", "fps", "dwplus")
"""Of scores: what depends on the machine and the version, not on pixels and weights."""


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    shutil.copytree(REPOSITORY / "tests" / "old_root" / "root", tmp_path / "root")
    return DataRoot.at(tmp_path / "root")


def test_its_records_are_read(root: DataRoot) -> None:
    assert len(root.manifest().rows) == len(root.complete()) == len(root.ledger()) == 8
    assert root.source() == "SANDBOX"
    assert root.findings() == []
    assert {split: len(root.usable(split, "strict")) for split in ("train", "val", "test")} == {
        "train": 4, "val": 1, "test": 3,
    }  # fmt: skip
    assert root.statistics("strict").shards_hash == root.content_hash(root.usable("train", "strict"))


NEW_KEYS = ("checksum", "without_data", "log_mean", "log_std", "0.1", "99.9")
"""Keys that records have since then: a checksum; pixels without data, of which this root has none; of logarithms;
percentiles.
"""


def as_then(path: Path) -> str:
    """A record as text, without the keys that have been added."""

    def without_new_keys(part: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in part.items() if key not in NEW_KEYS}

    assert json.loads(path.read_text()).get("without_data", 0) == 0
    return json.dumps(json.loads(path.read_text(), object_hook=without_new_keys))


def test_statistics_and_findings_are_written_again_as_they_were(root: DataRoot) -> None:
    files = [
        root.findings_file,
        *(path(p) for p in ("strict", "paper") for path in (root.statistics_file, root.groups_file)),
    ]
    before = [as_then(path) for path in files]

    inspect_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())

    assert [as_then(path) for path in files] == before


def known_then(after: Any, before: Any) -> Any:
    """A document of now without what that of then did not have: metrics and intervals that came later."""
    if not isinstance(after, dict) or not isinstance(before, dict):
        return after
    return {key: known_then(value, before[key]) for key, value in after.items() if key in before}


def test_its_run_gives_the_same_scores(root: DataRoot) -> None:
    path = root.runs / "small" / "scores.json"
    before = json.loads(path.read_text())

    score(path.parent, Dataset(root, split="test"), workers=0, device="cpu")

    after = json.loads(path.read_text())
    kept = known_then(after, before)
    assert list(kept) == list(before)
    assert {k: v for k, v in kept.items() if k not in OF_THIS_RUN} == {
        k: v for k, v in before.items() if k not in OF_THIS_RUN
    }


def test_its_checkpoint_is_read_and_completes_the_run(root: DataRoot) -> None:
    run = RunFolder(root.runs / "small")
    weights = load(run.path, device="cpu").network.state_dict()
    (run.path / "model.safetensors").unlink()
    settings = TrainConfig(**run.read_config().train)

    train(
        settings, dataset_train=Dataset(root, split="train"), dataset_val=Dataset(root, split="val"), run_dir=run.path
    )

    again = load(run.path, device="cpu").network.state_dict()
    assert again.keys() == weights.keys()
    assert all((again[name] == weights[name]).all() for name in weights)
