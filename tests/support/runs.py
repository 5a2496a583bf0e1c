"""Scored runs that nobody trained, in memory and on disk."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from dwplus.model.config import to_mapping
from dwplus.model.metrics import ConfusionMatrix
from dwplus.model.registry import configure, spec
from dwplus.model.run_config import DataCard, RunConfig
from dwplus.model.runs import RunFolder
from dwplus.model.scores.document import Scores
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.spec.bands import preset
from dwplus.workflow.pages.runs import Run


def make_run(
    name: str,
    model: str = "specsar-former-small",
    inputs: tuple[str, str] = ("ms10", "sar"),
    hits: int = 40,
    *,
    settings: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    shards_hash: str = "abc",
    tiles_hash: str = "0",
    folder: Path | None = None,
) -> Run:
    """A scored run on 100 pixels of two classes, of which ``hits`` of each class are right; ``inputs`` are presets."""
    counts = np.zeros((9, 9), dtype=np.int64)
    counts[0, 0] = counts[1, 1] = hits
    counts[0, 1] = counts[1, 0] = 50 - hits
    primary, auxiliary = (preset(one) if one != "none" else () for one in inputs)
    statistics = dict.fromkeys((*primary, *auxiliary), (0.2, 0.1))
    data = DataCard(primary, auxiliary, "strict", "SANDBOX", shards_hash, 6, (1,) * 9, statistics)
    network = to_mapping(configure(model, len(primary), len(auxiliary), **(settings or {})))
    config = RunConfig("0", model, network, {"seed": 0, "model": model, **(train or {})}, data)
    matrix = ConfusionMatrix(counts)
    scores = Scores(
        "test", "strict", "SANDBOX", model, "model", matrix, {}, {}, 2, tiles_hash, ("water", 0.5), 1.0, 1.0
    )
    return Run(name, folder or Path(name), config, scores, [{"epoch": 1, "loss": 1.0, "seconds": 2.0}])


def fresh_run(root: DataRoot, name: str, model: str = "specsar-former-small", **changes: Any) -> Run:
    """The same on the tiles that a data root holds now."""
    hashes = {
        "shards_hash": root.statistics("strict").shards_hash,
        "tiles_hash": Dataset(root, split="test").tiles_hash,
    }
    return make_run(name, model, **hashes, **changes)


def lay_out(run: Run, runs: Path, *, weights: bool = True) -> Path:
    """Write a run's folder as training and scoring leave it; its path. Weights are those of a fresh network."""
    folder = RunFolder(runs / run.name)
    folder.write_config(run.config)
    folder.write_rows(run.rows)
    if weights:
        row = spec(run.config.model)
        given = (run.config.model_config["primary_bands"], run.config.model_config["auxiliary_bands"])
        network = row.network(configure(run.config.model, *given))
        folder.write_weights("model.safetensors", network.state_dict())
    (folder.path / "scores.json").write_text(json.dumps(run.scores.to_dict()))
    return folder.path
