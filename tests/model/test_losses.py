"""Losses against plain loops over pixels."""

from __future__ import annotations

import math

import pytest
import torch
from dwplus.model.losses import (
    LOSSES,
    MOST_WEIGHT,
    BinaryFocalLoss,
    CrossEntropy,
    FocalLoss,
    build_loss,
    class_weights,
    too_rare,
)
from dwplus.pipeline.errors import UsageError
from torch import Tensor

COUNTS = [10, 20, 40]
LABEL = torch.tensor([[[0, 1, 255], [2, 2, 0]]], dtype=torch.uint8)  # (1, 2, 3), one pixel ignored


def logits() -> Tensor:
    return torch.randn(1, 3, 2, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)


def softmax(scores: list[float]) -> list[float]:
    powers = [math.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


def sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score))


def by_loop(name: str, values: Tensor, label: Tensor, alpha: list[float], gamma: float) -> float:
    """Eq. 9 and 10 of the paper, pixel by pixel."""
    losses = []
    for row in range(label.shape[1]):
        for column in range(label.shape[2]):
            truth = int(label[0, row, column])
            if truth == 255:
                continue
            scores = [float(values[0, k, row, column].detach()) for k in range(3)]
            p_t = [sigmoid(s) if k == truth else 1 - sigmoid(s) for k, s in enumerate(scores)]
            if name == "ce":
                losses.append(-math.log(softmax(scores)[truth]))
            elif name == "focal":
                p = softmax(scores)[truth]
                losses.append(-alpha[truth] * (1 - p) ** gamma * math.log(p))
            elif name == "bce":
                losses.append(-sum(math.log(p) for p in p_t) / 3)
            else:
                losses.append(-alpha[truth] * sum((1 - p) ** gamma * math.log(p) for p in p_t) / 3)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_the_mean_over_the_pixels_that_count(name: str, gamma: float):
    # 1/10, 1/20, 1/40 scaled to mean 1: 12/7, 6/7, 3/7
    alpha = [12 / 7, 6 / 7, 3 / 7]
    values = logits()

    found = build_loss(name, counts=COUNTS, gamma=gamma)(values, LABEL)

    assert found.item() == pytest.approx(by_loop(name, values, LABEL, alpha, gamma), rel=1e-5)


def test_alpha_is_the_inverse_frequency_with_mean_one():
    assert class_weights([10, 20, 40]).tolist() == pytest.approx([12 / 7, 6 / 7, 3 / 7])


def test_an_absent_class_weighs_nothing_and_does_not_move_the_others():
    assert class_weights([10, 0, 20, 40]).tolist() == pytest.approx([12 / 7, 0, 6 / 7, 3 / 7])


def test_focal_loss_without_focus_and_weights_is_the_cross_entropy():
    values = logits()

    focal = FocalLoss(torch.ones(3), gamma=0.0)(values, LABEL)

    assert focal.item() == pytest.approx(CrossEntropy()(values, LABEL).item())


def test_focal_loss_cares_less_about_easy_pixels():
    easy, hard = (torch.tensor([[[[score]], [[0.0]]]]) for score in (4.0, 0.5))
    label = torch.zeros(1, 1, 1, dtype=torch.uint8)

    def ratio(loss: torch.nn.Module) -> float:
        return float(loss(hard, label) / loss(easy, label))

    assert ratio(FocalLoss(torch.ones(2))) > 100 * ratio(CrossEntropy())


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_a_single_marked_pixel_gives_zero_and_a_gradient_of_zero(name: str):
    values = logits()

    loss = build_loss(name, counts=COUNTS)(values, torch.full_like(LABEL, 255))
    loss.backward()

    assert loss.item() == 0
    assert values.grad is not None
    assert not values.grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_certainty_right_or_wrong_stays_finite_with_finite_gradients(name: str):
    values = torch.tensor([[[[200.0, -200.0]], [[-200.0, 200.0]], [[0.0, 0.0]]]], requires_grad=True)

    loss = build_loss(name, counts=COUNTS)(values, torch.zeros(1, 1, 2, dtype=torch.uint8))
    loss.backward()

    assert math.isfinite(loss.item())
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()


def test_ignored_pixels_change_nothing():
    values = logits()
    louder = values.detach().clone()
    louder[0, :, 0, 2] = 50.0  # the ignored pixel

    loss = BinaryFocalLoss(class_weights(COUNTS))

    assert torch.equal(loss(values, LABEL).detach(), loss(louder, LABEL))


def test_what_cannot_be_built_is_refused():
    with pytest.raises(UsageError, match="unknown loss 'dice'; choose one of focal, focal-binary, bce, ce"):
        build_loss("dice", counts=COUNTS)
    with pytest.raises(UsageError, match="no class has a pixel"):
        class_weights([0, 0, 0])


def test_a_stray_pixel_of_a_rare_class_does_not_silence_all_others_where_pixels_set_the_scale():
    counts = (130_000_000, 129_999_999, 1, 0, 0, 0, 0, 0, 0)

    by_class, by_pixel = class_weights(counts), class_weights(counts, "pixel")

    assert float(by_class[:2].max()) < 1e-7  # below the eps of AdamW, 1e-8, once a gradient is multiplied with it
    assert by_pixel.tolist() == pytest.approx([1, 1, MOST_WEIGHT, 0, 0, 0, 0, 0, 0], rel=1e-5)


@pytest.mark.parametrize(
    ("counts", "scale", "rarest"),
    [
        ((100_000_000, 60_000_000, 1), "class", 2),
        ((100_000_000, 60_000_000, 1), "pixel", None),
        ((700, 250, 50), "class", None),  # 5 %: the mean pixel weighs 0.35
        ((1000, 0, 500), "class", None),
    ],
)
def test_a_class_that_silences_all_others_is_found(counts, scale, rarest):
    assert too_rare(counts, scale) == rarest


def test_the_mean_weight_of_a_pixel_is_one_where_pixels_set_the_scale():
    counts = torch.tensor([500, 300, 150, 40, 10, 0, 0, 0, 0])

    weights = class_weights(counts.tolist(), "pixel")

    assert float((weights * counts).sum() / counts.sum()) == pytest.approx(1)
    assert weights[4] > weights[3] > weights[2] > weights[1] > weights[0] > weights[5] == 0
