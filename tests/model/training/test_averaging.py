"""Averaged weights: the plain mean over the last epochs, its own statistics of BatchNorm, nothing else changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from dwplus.model.loader import collate, to_batch
from dwplus.model.runs import AVERAGE_WEIGHTS, RunFolder
from dwplus.model.score import load, score
from dwplus.model.train import train
from dwplus.model.training.averaging import MeanWeights
from dwplus.model.training.listener import Position
from dwplus.model.training.trainer import Trainer
from dwplus.pipeline.errors import DataError, UsageError
from support.tile_sets import MemoryTiles
from support.trainings import CONFIG, TWO, result, train_here
from torch import Tensor, nn

RUNNING = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """A run whose last two epochs of three are averaged, and its weights after the second."""
    run_dir, after_two = tmp_path_factory.mktemp("runs") / "averaged", {}

    def look(now: Position) -> None:
        if (now.epoch, now.step) == (3, 1):
            after_two.update(torch.load(run_dir / "checkpoints/epoch-00002.pt", weights_only=True)["network"])

    return train_here(run_dir, average_last=2, on_step=look), after_two


def average_of(run_dir: Path) -> bytes:
    return (run_dir / AVERAGE_WEIGHTS).read_bytes()


def test_the_average_is_the_plain_mean_of_the_weights_after_the_last_epochs(
    averaged: tuple[Path, dict[str, Tensor]],
) -> None:
    run_dir, after_two = averaged
    after_three, found = (RunFolder(run_dir).read_weights(name) for name in ("model.safetensors", AVERAGE_WEIGHTS))

    moved = 0
    for name in (name for name in found if not name.endswith(RUNNING)):
        mean = ((after_two[name].double() + after_three[name].double()) / 2).float()
        assert torch.equal(found[name], mean), name
        moved += not torch.equal(found[name], after_three[name])
    assert moved > 20


def test_a_training_that_averages_ends_with_the_weights_of_one_that_does_not(
    averaged: tuple[Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    plain = train_here(tmp_path)

    assert result(averaged[0]) == result(plain)
    assert not (plain / AVERAGE_WEIGHTS).exists()
    state = torch.load(plain / "checkpoints/epoch-00003.pt", weights_only=True)
    assert sorted(state) == ["network", "optimisers", "rows", "within"]


def test_statistics_of_batch_norm_are_those_of_the_training_tiles_in_the_averaged_network(tmp_path: Path) -> None:
    # Given a training without chance beyond its order, with all ten tiles in one batch.
    tiles = MemoryTiles(TWO, count=10)
    options = CONFIG.model_options | {"dropout": 0.0, "drop_path": 0.0}
    config = replace(CONFIG, model_options=options, batch=10, batch_per_device=10, symmetries=False, average_last=2)
    train(config, dataset_train=tiles, run_dir=tmp_path)
    found = RunFolder(tmp_path).read_weights(AVERAGE_WEIGHTS)

    # When torch counts them for the same weights.
    loaded = load(tmp_path, device="cpu", weights=AVERAGE_WEIGHTS)

    class OfBoth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = loaded.network

        def forward(self, both: Tensor) -> Tensor:
            out: Tensor = self.network(both[:, :count], both[:, count:])
            return out

    batch = collate([to_batch(tiles[place]) for place in range(10)])
    both = loaded.normaliser(batch.primary, batch.auxiliary)
    count = both[0].shape[1]
    torch.optim.swa_utils.update_bn([torch.cat(both, 1)], OfBoth())

    theirs = loaded.network.state_dict()
    names = [name for name in found if name.endswith(RUNNING)]
    assert len(names) >= 3
    for name in names:
        torch.testing.assert_close(found[name], theirs[name], rtol=1e-4, atol=1e-5)
    last = RunFolder(tmp_path).read_weights()
    assert any(not torch.allclose(found[name], last[name], rtol=1e-3) for name in names if name.endswith("mean"))


def test_interrupted_among_the_epochs_that_are_averaged_a_run_ends_with_the_same_average(
    averaged: tuple[Path, dict[str, Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an end within the last epoch, and one more when all epochs are done and statistics are counted.
    def fails(*_: Any) -> None:
        raise KeyboardInterrupt

    def fails_in_epoch_three(now: Position) -> None:
        if (now.epoch, now.step) == (3, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_here(tmp_path, average_last=2, checkpoint_minutes=0, on_step=fails_in_epoch_three)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_recount_norms", fails)
        with pytest.raises(KeyboardInterrupt):
            train_here(tmp_path, average_last=2, checkpoint_minutes=0)
    train_here(tmp_path, average_last=2, checkpoint_minutes=0)

    assert (result(tmp_path), average_of(tmp_path)) == (result(averaged[0]), average_of(averaged[0]))


def test_weights_that_rest_are_averaged_to_themselves() -> None:
    # Given 0.1, which no float holds exactly, after three epochs of the last three.
    network, mean = nn.Linear(3, 2), MeanWeights(3, epochs=3)
    nn.init.constant_(network.weight, 0.1)
    for epoch in (1, 2, 3):
        mean.add(network, epoch=epoch)
    nn.init.zeros_(network.weight)

    mean.apply(network)

    assert torch.equal(network.weight, torch.full((2, 3), 0.1))


def test_the_average_is_scored_into_a_file_of_its_own(averaged: tuple[Path, dict[str, Tensor]]) -> None:
    tiles = MemoryTiles(TWO, split="test", count=2, first=50)

    scores = score(averaged[0], tiles, weights=AVERAGE_WEIGHTS, workers=0, device="cpu")

    assert scores.weights == AVERAGE_WEIGHTS
    assert (averaged[0] / "scores-average.json").is_file()
    assert not (averaged[0] / "scores.json").exists()


def test_more_epochs_than_there_are_and_a_run_without_an_average_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="average_last is 4; there are 3 epochs to average"):
        replace(CONFIG, average_last=4)

    (tmp_path / "model.safetensors").touch()
    with pytest.raises(DataError, match="train with --set average_last=8 to have it"):
        RunFolder(tmp_path).read_weights(AVERAGE_WEIGHTS)
