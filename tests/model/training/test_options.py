"""Options of training: what each changes, against numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from dwplus.model.loader import Batch, augment, collate, to_batch
from dwplus.model.losses import build_loss
from dwplus.model.runs import RunFolder
from dwplus.model.settings import TrainConfig
from dwplus.model.train import train
from dwplus.model.training.balance import MOST_OFTEN, sample_weights, tile_chances
from dwplus.model.training.learner import make_learner
from dwplus.model.training.objective import Objective, Total
from dwplus.model.training.step import StepGradient
from dwplus.model.transfer import parameter_groups
from dwplus.pipeline.errors import UsageError
from support.tile_sets import MemoryTiles, numbered
from support.trainings import CONFIG, TWO, train_here
from torch import Tensor, nn

CPU = torch.device("cpu")


# --- gradient clipping and half precision -----------------------------------------------------------------------------


def line(slope: float, **options: Any) -> tuple[nn.Linear, Any, StepGradient]:
    """A network of two weights, whose loss on any batch is their sum times ``slope``, on one pixel."""
    accelerator = Accelerator(cpu=True)
    accelerator.scaler = options.pop("scaler", None)
    network = nn.Linear(2, 1, bias=False)
    nn.init.ones_(network.weight)
    network, optimiser = accelerator.prepare(network, torch.optim.SGD(network.parameters(), lr=1.0))

    def objective(_batch: Batch) -> Total:
        return Total(network.weight.sum() * slope, torch.tensor(1))

    return network, optimiser, StepGradient(accelerator, network, objective, **options)


def batch() -> Batch:
    return to_batch(MemoryTiles(TWO)[0])


def test_a_gradient_is_shortened_to_the_norm_asked_for() -> None:
    # Given a gradient of (3, 3): its norm is 4.24.
    for clip_norm, expected in ((None, 3.0), (100.0, 3.0), (1.0, 1 / math.sqrt(2))):
        network, _, gradient = line(3.0, clip_norm=clip_norm)
        gradient.add(batch(), last=True)
        gradient.finish()

        assert network.weight.grad is not None
        assert network.weight.grad.tolist() == [[pytest.approx(expected), pytest.approx(expected)]]


def test_the_norm_is_clipped_in_a_training(tmp_path: Path) -> None:
    free, clipped = (train_here(tmp_path / f"{norm}", epochs=1, clip_norm=norm) for norm in (None, 1e-9))

    # AdamW divides by the size of gradients; those that are no larger than its eps (1e-8) move nothing.
    assert RunFolder(clipped).read_rows()[0]["loss"] != RunFolder(free).read_rows()[0]["loss"]


def test_scaled_losses_give_the_same_step() -> None:
    # Given the scaler of half precision (it works on CPUs too), which multiplies losses by 1024.
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=1024.0)):
        network, optimiser, gradient = line(0.25, clip_norm=10.0, scaler=scaler)
        gradient.add(batch(), last=True)
        gradient.finish(optimiser)
        optimiser.step()

        assert network.weight.tolist() == [[0.75, 0.75]]


def test_a_step_that_overflows_is_left_out_and_the_scale_halved() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    network, optimiser, gradient = line(math.inf, clip_norm=1.0, scaler=scaler)

    gradient.add(batch(), last=True)
    gradient.finish(optimiser)
    optimiser.step()

    assert network.weight.tolist() == [[1.0, 1.0]]
    assert scaler.get_scale() == 512


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_refused_without_a_gpu(precision: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"precision {precision} needs a GPU"):
        train(replace(CONFIG, precision=precision), dataset_train=MemoryTiles(TWO), run_dir=tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="half precision needs a GPU")
def test_half_precision_learns_on_a_gpu(tmp_path: Path) -> None:
    rows = RunFolder(train_here(tmp_path, device="auto", precision="fp16", epochs=12)).read_rows()

    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    assert RunFolder(tmp_path).read_config().computing[0].precision == "fp16"


# --- sampling ---------------------------------------------------------------------------------------------------------


def test_tiles_of_a_rare_class_are_drawn_more_often() -> None:
    # Given three tiles; class 1 has 10 pixels, all in the last one; class 2 does not occur.
    content = np.array([[50, 0, 0], [40, 0, 0], [10, 10, 0]])

    # A class is drawn (1/2 each), then a pixel of it.
    assert tile_chances(content).tolist() == pytest.approx([0.25, 0.2, 0.55])


def test_no_tile_is_drawn_ten_times_as_often_as_otherwise() -> None:
    # Given a hundred tiles, of which one alone has class 1: half of all draws would be this one.
    content = np.array([[10, 0]] * 99 + [[10, 5]])

    chances = tile_chances(content)

    assert chances[-1] == pytest.approx(MOST_OFTEN / 100)
    assert chances[:-1].tolist() == pytest.approx([0.9 / 99] * 99)
    assert tile_chances(np.array([[0, 0], [3, 0]])).tolist() == [0, 1]  # a tile without a marked pixel teaches nothing


def test_a_training_draws_by_class_where_it_is_asked_to(tmp_path: Path) -> None:
    each, classes = (train_here(tmp_path / how, epochs=1, sampling=how) for how in ("each", "classes"))

    assert RunFolder(each).read_rows()[0]["loss"] != RunFolder(classes).read_rows()[0]["loss"]


def test_a_tile_that_comes_twice_in_an_epoch_is_turned_anew() -> None:
    twice = collate([to_batch(MemoryTiles(TWO)[0])] * 8)

    same = augment(twice, seed=1, epoch=0)
    anew = augment(twice, seed=1, epoch=0, again=list(range(8)))

    assert all(torch.equal(same.label[0], label) for label in same.label)
    assert torch.equal(anew.label[0], same.label[0])  # the first time as where each comes once
    assert len({label.numpy().tobytes() for label in anew.label}) > 3


# --- weights by annotator ---------------------------------------------------------------------------------------------


def test_pixels_count_by_who_drew_them() -> None:
    # Given two tiles of one pixel; the expert's counts three times.
    config = replace(CONFIG, expert_weight=3.0)
    tiles = MemoryTiles(numbered(2), count=2, labelers=("expert", "consensus"))
    weights = sample_weights(config, tiles, CPU)
    assert weights is not None
    assert weights.tolist() == [3, 1]
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])[:, :, None, None]  # p of class 0: 1/2 and 3/4
    label = torch.zeros(2, 1, 1, dtype=torch.uint8)
    nothing = torch.zeros(2, 0, 1, 1, dtype=torch.uint16)
    both = Batch(nothing, nothing, label, torch.tensor([0, 1]), torch.ones(2, 2))
    objective = Objective(
        _Gives(logits), _Nothing(), build_loss("ce", counts=[1, 1]), classes=2, sample_weights=weights
    )

    loss, pixels = objective(both)

    assert float(pixels) == 4
    assert float(loss) == pytest.approx(3 * math.log(2) + math.log(4 / 3))


class _Gives(nn.Module):
    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, *_inputs: Tensor) -> Tensor:
        return self.logits


class _Nothing(nn.Module):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return inputs


def test_without_weights_all_pixels_count_alike_and_unknown_annotators_are_refused(tmp_path: Path) -> None:
    assert sample_weights(CONFIG, MemoryTiles(TWO), CPU) is None
    with pytest.raises(UsageError, match="no training label is known to be of experts or non-experts"):
        train(replace(CONFIG, expert_weight=2.0), dataset_train=MemoryTiles(TWO), run_dir=tmp_path)


def test_the_annotators_of_a_part_are_those_of_its_tiles(tmp_path: Path) -> None:
    # Given a training on half of the tiles, whose weights are by annotator.
    tiles = MemoryTiles(TWO, count=6, labelers=("expert", "non_expert") * 3)
    config = replace(CONFIG, epochs=1, labels_share=0.5, non_expert_weight=0.25)

    assert RunFolder(train(config, dataset_train=tiles, run_dir=tmp_path)).complete


# --- weight decay -----------------------------------------------------------------------------------------------------


def test_norms_and_biases_do_not_decay_where_weights_alone_do() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))

    groups = parameter_groups(network, frozenset(), 1.0, decay_all=False)

    assert [[p.ndim for p in group["params"]] for group in groups] == [[4], [1, 1, 1]]
    assert [group.get("weight_decay") for group in groups] == [None, 0.0]
    assert parameter_groups(network, frozenset(), 1.0) == list(network.parameters())


def test_an_encoder_with_a_rate_of_its_own_has_norms_too() -> None:
    network = nn.ModuleDict({"encoder": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    encoder = frozenset({"encoder.weight", "encoder.bias"})

    groups = parameter_groups(network, encoder, 0.1, decay_all=False)

    assert [(group["factor"], group.get("weight_decay")) for group in groups] == [
        (1.0, None), (1.0, 0.0), (0.1, None), (0.1, 0.0),
    ]  # fmt: skip


def test_the_optimiser_of_a_training_follows_the_setting(tmp_path: Path) -> None:
    config = replace(CONFIG, decay_on="weights", weight_decay=0.5)
    run = RunFolder(train_here(tmp_path, epochs=1)).read_config()

    learner = make_learner(config, _begins(run))

    decays = {
        (group["weight_decay"], min(p.ndim, 2)) for group in learner.optimisers[0].param_groups for p in group["params"]
    }
    assert decays == {(0.5, 2), (0.0, 1)}


def _begins(run: Any) -> Any:
    from dwplus.model.training.beginning import Beginning

    return Beginning(run)


def test_defaults_change_nothing() -> None:
    config = TrainConfig()

    assert (config.clip_norm, config.sampling, config.decay_on) == (None, "each", "all")
    assert config.expert_weight == config.non_expert_weight == 1
