"""Steps in place of epochs, how long a training will take, and who hears of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dwplus.model.estimate import TimedBatch, duration_as_text, seconds_of_training, times_of, unchanged_buffers
from dwplus.model.run_config import RunConfig
from dwplus.model.runs import RunFolder
from dwplus.model.settings import TrainConfig, in_epochs, profile
from dwplus.model.train import train
from dwplus.model.training.listener import Listener
from safetensors.torch import load_file
from support.tile_sets import MemoryTiles, numbered
from torch import nn

TWO = numbered(2)
CONFIG = TrainConfig(model="segformer-small", epochs=2, batch=2, batch_per_device=2, workers=0, device="cpu")


@pytest.mark.parametrize(
    ("tiles", "steps", "epochs"),
    [
        (8, 10, 5),  # two steps of four an epoch
        (9, 10, 4),  # three
        (1, 10, 10),
        (100, 10, 1),  # 25: one epoch at least
    ],
)
def test_steps_become_whole_epochs(tiles: int, steps: int, epochs: int) -> None:
    config = replace(CONFIG, steps=steps, batch=4, batch_per_device=4)

    assert in_epochs(config, tiles).epochs == epochs


def test_scores_and_checkpoints_of_steps_come_ten_times() -> None:
    config = in_epochs(TrainConfig(steps=400, batch=4, warmup_epochs=1), 3)

    assert (config.epochs, config.validate_every, config.checkpoint_every, config.warmup_epochs) == (400, 40, 40, 1)
    assert in_epochs(TrainConfig(steps=2, batch=4, warmup_epochs=1), 100).warmup_epochs == 0
    assert in_epochs(CONFIG, 3) is CONFIG


def test_epochs_that_are_asked_for_replace_the_steps_of_a_profile() -> None:
    assert profile("small").steps == 400
    assert profile("small", epochs=3).steps is None
    assert profile("small", steps=7).steps == 7


def test_a_run_of_steps_is_trained_resumed_and_recorded_as_such(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=4, epochs=200)

    run_dir = train(config, dataset_train=MemoryTiles(TWO, count=4), run_dir=tmp_path / "run")
    train(config, dataset_train=MemoryTiles(TWO, count=4), run_dir=run_dir)

    assert len(RunFolder(run_dir).read_rows()) == 2
    assert RunFolder(run_dir).read_config().train["steps"] == 4


class Heard(Listener):
    def __init__(self) -> None:
        self.said: list[object] = []

    def begins(self, run: RunConfig, epochs: int) -> None:
        self.said.append(("begins", run.model, epochs))

    def timing(self) -> None:
        self.said.append("timing")

    def estimated(self, seconds: float) -> None:
        assert seconds > 0
        self.said.append("estimated")

    def batch(self, epoch: int, done: int, count: int, samples: int) -> None:
        assert samples == 2
        self.said.append((epoch, done, count))


def test_the_estimate_comes_before_the_first_step_and_each_batch_is_told(tmp_path: Path) -> None:
    heard = Heard()

    train(CONFIG, dataset_train=MemoryTiles(TWO, count=4), run_dir=tmp_path / "run", listener=heard)

    assert heard.said == [
        ("begins", "segformer-small", 2), "timing", "estimated", (1, 1, 2), (1, 2, 2), (2, 1, 2), (2, 2, 2),
    ]  # fmt: skip


def test_timing_a_batch_changes_nothing_that_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, model="pspnet-small")  # it has BatchNorm and dropout
    timed = train(config, dataset_train=MemoryTiles(TWO, count=4), run_dir=tmp_path / "timed")
    monkeypatch.setattr("dwplus.model.training.trainer.times_of", lambda _compute: 1.0)
    other = train(config, dataset_train=MemoryTiles(TWO, count=4), run_dir=tmp_path / "other")

    one, two = (load_file(path / "model.safetensors") for path in (timed, other))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_network_is_left_with_the_statistics_that_it_had() -> None:
    norm = nn.BatchNorm2d(2)

    with unchanged_buffers(norm):
        norm(torch.ones(2, 2, 3, 3))
        assert norm.num_batches_tracked == 1

    assert norm.num_batches_tracked == 0
    assert norm.running_mean is not None
    assert norm.running_mean.tolist() == [0, 0]


def test_a_short_computation_is_timed_once_it_is_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 1.0, 1.2])  # a second to warm up, then 0.2
    monkeypatch.setattr("dwplus.model.estimate.time.perf_counter", lambda: next(clock))
    assert times_of(lambda: None) == pytest.approx(0.2)

    clock = iter([0.0, 60.0])  # a long one is not done twice
    monkeypatch.setattr("dwplus.model.estimate.time.perf_counter", lambda: next(clock))
    assert times_of(lambda: None) == 60


def test_seconds_add_up() -> None:
    timed = TimedBatch(read_s=1.0, compute_s=3.0, pixels=100)
    # Ten epochs of four batches: 120 s; read once 4 s, or each time 40 s; two validations of 500 px: 5 s each.
    rest = {"epochs": 10, "batches": 4, "validations": 2, "validation_px": 500}
    assert seconds_of_training(timed, kept=True, **rest) == pytest.approx(120 + 4 + 10)
    assert seconds_of_training(timed, kept=False, **rest) == pytest.approx(120 + 40 + 10)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 second"), (40, "40 seconds"), (89, "89 seconds"), (100, "2 minutes"), (3600, "60 minutes"),
     (7200, "2 hours"), (200_000, "2 days")],
)  # fmt: skip
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert duration_as_text(seconds) == text
