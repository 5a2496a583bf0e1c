"""GELU and Linear in one: dwplus.model.blocks.recompute."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from dwplus.model.blocks.recompute import gelu_linear


def make() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return tuple(torch.randn(shape).double().requires_grad_() for shape in ((2, 6, 4), (3, 4), (3,)))


def test_values_and_gradients_are_those_of_gelu_then_linear():
    hidden, weight, bias = make()

    assert torch.equal(gelu_linear(hidden, weight, bias), F.linear(F.gelu(hidden), weight, bias))
    assert torch.autograd.gradcheck(gelu_linear, (hidden, weight, bias))


def test_under_autocast_the_weights_get_gradients_in_their_own_type():
    hidden, weight, bias = (one.detach().float().requires_grad_() for one in make())

    with torch.autocast("cpu", torch.bfloat16):
        result = gelu_linear(hidden.bfloat16(), weight, bias)
    result.float().sum().backward()

    assert result.dtype == torch.bfloat16
    assert weight.grad.dtype == torch.float32
    expected = torch.autograd.grad(F.linear(F.gelu(hidden), weight, bias).sum(), (weight, bias))
    assert torch.allclose(weight.grad, expected[0], rtol=2e-2, atol=0.05)
    assert torch.allclose(bias.grad, expected[1])


def test_gelus_results_are_not_kept():
    hidden, weight, bias = make()
    kept = []

    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        gelu_linear(hidden, weight, bias)

    assert not any(torch.equal(one, F.gelu(hidden)) for one in kept if one.shape == hidden.shape)


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 4), (2, 2, 2, 4)])
def test_any_number_of_axes(shape: tuple[int, ...]):
    _, weight, bias = make()
    hidden = torch.randn(shape).double()

    assert torch.equal(gelu_linear(hidden, weight, bias), F.linear(F.gelu(hidden), weight, bias))
