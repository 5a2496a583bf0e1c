"""Scores between epochs: which tiles count, and which epoch is the best."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from dwplus.model.training.validation import Validation, expert_tiles, is_best
from support.tile_sets import MemoryTiles
from support.trainings import CONFIG, TWO
from torch import Tensor, nn


class Guess(nn.Module):
    """A network that always says class 0."""

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        logits = torch.zeros(len(primary), 2, *primary.shape[2:])
        logits[:, 0] = 1
        return logits


class AsStored(nn.Module):
    def forward(self, primary: Tensor, auxiliary: Tensor) -> tuple[Tensor, Tensor]:
        return primary.float(), auxiliary.float()


def scores(tiles: MemoryTiles) -> dict[str, Any]:
    return Validation(CONFIG, tiles, Accelerator(cpu=True)).scores(Guess(), AsStored())


def test_tiles_of_experts_have_a_score_of_their_own() -> None:
    drawn = ("expert", "non_expert", "expert", "consensus", "unknown")
    tiles = MemoryTiles(TWO, split="val", count=5, labelers=drawn)

    found = scores(tiles)

    # The score of the two expert tiles by a plain loop: class 0 is met where it is, class 1 never.
    labels = torch.stack([torch.from_numpy(tiles[place].label) for place in (0, 2)])
    iou = float((labels == 0).sum() / (labels != 255).sum())
    assert (found["expert_tiles"], found["miou_expert"]) == (2, pytest.approx(iou / 2))
    assert found["miou"] != found["miou_expert"]


def test_without_experts_or_under_paper_all_tiles_choose() -> None:
    none = MemoryTiles(TWO, split="val", count=2, labelers=("non_expert", "consensus"))

    assert expert_tiles(none) == ()
    assert expert_tiles(MemoryTiles(TWO, count=2)) == ()
    assert expert_tiles(replace(none, labelers=("expert", "expert"), protocol="paper")) == ()
    assert "miou_expert" not in scores(none)


def test_the_tiles_of_experts_choose_the_best_epoch() -> None:
    first = {"miou": 0.5, "miou_expert": 0.4, "expert_tiles": 2}
    unscored = {"loss": 1.0}

    assert is_best([first])
    assert is_best([first, unscored, {"miou": 0.4, "miou_expert": 0.5, "expert_tiles": 2}])
    assert not is_best([first, {"miou": 0.6, "miou_expert": 0.3, "expert_tiles": 2}])
    assert not is_best([first, unscored])
    # A run that an earlier version began knows no experts, and keeps its rule.
    assert is_best([{"miou": 0.5}, {"miou": 0.6, "miou_expert": 0.3, "expert_tiles": 2}])
