"""BatchNorm, ReLU and classifier strip by strip: dwplus.model.blocks.strips, held against their definition."""

from __future__ import annotations

import pytest
import torch
from dwplus.model.blocks import strips
from dwplus.model.blocks.strips import norm_relu_classify
from torch import nn


@pytest.fixture(autouse=True)
def small_strips(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(strips, "PIXELS_AT_ONCE", 7)  # the last strip of an image has fewer
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(seed: int = 0) -> tuple[nn.BatchNorm2d, torch.Tensor, torch.Tensor]:
    """A norm with weights of its own, pixels (2, 20, 5) and a classifier per image (2, 3, 5)."""
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(5).double().train()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = (3 + 2 * torch.randn(2, 20, 5)).double().requires_grad_()
    return norm, x, torch.randn(2, 3, 5).double().requires_grad_()


def step_by_step(norm: nn.BatchNorm2d, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """By the definition, left to autograd; the module itself moves its running statistics."""
    norm(x.detach().reshape(-1, 5, 1, 1))
    variance, mean = torch.var_mean(x, dim=(0, 1), correction=0)
    normed = (x - mean) / torch.sqrt(variance + norm.eps) * norm.weight + norm.bias
    return torch.relu(normed) @ weight.transpose(1, 2)


def test_values_gradients_and_running_statistics_are_those_of_the_definition():
    (norm, x, weight), (other, y, weight_other) = make(), make()
    pull = torch.linspace(-1, 2, 2 * 20 * 3).reshape(2, 20, 3).double()

    found, expected = norm_relu_classify(x.clone(), norm, weight), step_by_step(other, y, weight_other)
    (found * pull).sum().backward()
    (expected * pull).sum().backward()

    assert torch.allclose(found, expected, atol=1e-12)
    pairs = [(x, y), (weight, weight_other), (norm.weight, other.weight), (norm.bias, other.bias)]
    assert all(torch.allclose(a.grad, b.grad, atol=1e-10) for a, b in pairs)
    for name, value in norm.state_dict().items():
        assert torch.allclose(value, other.state_dict()[name], atol=1e-12), name


def test_going_back_twice_is_refused_not_wrong():
    norm, x, weight = make()
    y = x * 1
    total = norm_relu_classify(y, norm, weight).sum()

    total.backward(retain_graph=True)

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


def test_a_norm_without_momentum_averages_over_all_batches():
    norm, other = (nn.BatchNorm2d(5, momentum=None).double().train() for _ in range(2))
    for seed in range(3):
        _, x, weight = make(seed)
        norm_relu_classify(x, norm, weight)
        step_by_step(other, x, weight)

    assert torch.allclose(norm.running_mean, other.running_mean)
    assert torch.allclose(norm.running_var, other.running_var)
