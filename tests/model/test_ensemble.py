"""Runs averaged, by hand: networks whose classifier's bias alone speaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dwplus.model.calibration import Calibration, Reliability
from dwplus.model.config import to_mapping
from dwplus.model.ensemble import build, make_ensemble
from dwplus.model.metrics import BINS
from dwplus.model.registry import configure, spec
from dwplus.model.run_config import DataCard, RunConfig
from dwplus.model.runs import RunFolder
from dwplus.model.score import load, score
from dwplus.pipeline.errors import DataError, UsageError
from support.tile_sets import MemoryTiles, numbered

TILES = MemoryTiles(numbered(3), split="test", count=3)
MODEL = "specsar-former-small"


def constant_run(path: Path, *logits: float, tiles: MemoryTiles = TILES) -> Path:
    """A complete run that gives the same logits everywhere."""
    config = configure(MODEL, len(tiles.primary), len(tiles.auxiliary), labels=3)
    network = spec(MODEL).network(config)
    with torch.no_grad():
        network.decoder.classify.weight.zero_()
        network.decoder.classify.bias.copy_(torch.tensor(logits))
    folder = RunFolder(path)
    folder.write_config(RunConfig("0", MODEL, to_mapping(config), {}, DataCard.of(tiles)))
    folder.write_weights("model.safetensors", network.state_dict())
    return path


def calibrate(run: Path, temperature: float) -> None:
    nothing = Reliability((0,) * BINS, (0,) * BINS, (0,) * BINS, 0)
    Calibration(
        temperature, {}, TILES.classes.names, split="val", tiles=1, pixels=1, tiles_hash="0", experts=False,
        weights="model.safetensors", weights_sha256=RunFolder(run).sums()["model.safetensors"][0],
        source="SANDBOX", before=nothing, after=nothing,
    ).write(run)  # fmt: skip


def softmax(*logits: float) -> np.ndarray:
    powers = np.exp(np.array(logits))
    return powers / powers.sum()


@pytest.fixture
def members(tmp_path: Path) -> list[Path]:
    made = [constant_run(tmp_path / "a", 1.0, 0.0, 0.0), constant_run(tmp_path / "b", 0.0, 3.0, 0.0)]
    calibrate(made[0], 0.5)
    return made


def test_calibrated_probabilities_are_averaged_and_the_run_is_scored_like_any_other(members: list[Path]) -> None:
    run_dir = members[0].parent / "mean"

    make_ensemble(members, run_dir)

    network, config, normaliser = load(run_dir, device="cpu")
    with torch.inference_mode():
        sample = TILES[0]
        inputs = normaliser(*(torch.from_numpy(part)[None] for part in (sample.primary, sample.auxiliary)))
        found = network(*inputs).softmax(dim=1)[0, :, 5, 5].numpy()
    assert found == pytest.approx((softmax(2, 0, 0) + softmax(0, 3, 0)) / 2, abs=1e-6)
    assert [one["run"] for one in config.train["ensemble"]] == ["a", "b"]
    scores = score(run_dir, TILES, workers=0, device="cpu")
    truth = np.concatenate([TILES[place].label.ravel() for place in range(3)])
    assert scores.matrix.oa == pytest.approx((truth == 1).sum() / (truth != 255).sum())


def test_the_same_again_changes_nothing_and_another_one_of_this_name_is_refused(members: list[Path]) -> None:
    run_dir = members[0].parent / "mean"
    make_ensemble(members, run_dir)
    before = (run_dir / "model.safetensors").stat().st_mtime_ns

    make_ensemble(members, run_dir)

    assert (run_dir / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match=r"mean is another run, .*choose another --ensemble NAME"):
        make_ensemble(members[::-1], run_dir)
    calibrate(members[1], 2.0)
    with pytest.raises(UsageError, match="calibrated or trained again since"):
        make_ensemble(members, run_dir)


def test_runs_that_do_not_belong_together_are_refused_with_the_reason(members: list[Path], tmp_path: Path) -> None:
    other_bands = constant_run(tmp_path / "c", 0, 0, 0, tiles=replace(TILES, auxiliary=("VH",)))
    other_tiles = constant_run(tmp_path / "d", 0, 0, 0, tiles=replace(TILES, shards_hash="def"))
    unfinished = constant_run(tmp_path / "e", 0, 0, 0)
    (unfinished / "model.safetensors").unlink()

    for path, kind, words in (
        (other_bands, UsageError, r"a and c cannot be averaged: their auxiliary bands differ \(VV and VH\)"),
        (other_tiles, UsageError, r"a and d cannot be averaged: their data sets differ \(abc and def\)"),
        (unfinished, DataError, "run e is not complete"),
        (members[0], UsageError, "two or more different runs"),
    ):
        with pytest.raises(kind, match=words):
            make_ensemble([members[0], path], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_settings_of_no_ensemble_are_refused() -> None:
    with pytest.raises(ValueError, match="0 members"):
        build(primary_bands=2, auxiliary_bands=1, classes=3, members=[])
