"""BatchNorm, ReLU and classifier of the decoder in one, strip by strip: how a processor trains the folded decoder.

At 510 px one image's fused map has 48 MiB. Written out step by step, training holds five such maps per image at the
worst moment and reads each from memory several times; strip by strip it holds one (the map, then its gradient), and
what lies between them stays in the cache. GPUs have kernels of their own for these steps and do not come here.

Letters: B batch, P pixels of an image, D channels, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

PIXELS_AT_ONCE = 512
"""1.5 MiB of 768 channels: what fits the cache of a core takes half the time of 12 MiB."""


def norm_relu_classify(x: Tensor, norm: nn.BatchNorm2d, weight: Tensor) -> Tensor:
    """``relu(norm(x)) @ weight^T`` with the statistics of this batch, which also move the running ones.

    Args:
        x: float32 (B, P, D), used up by the backward pass.
        norm: in training mode.
        weight: (B, K, D), one classifier per image (dropout has left out other channels in each).

    Returns:
        (B, P, K).
    """
    mean, variance = _moments(x.detach())
    _move_running(norm, mean, variance, x.shape[0] * x.shape[1])
    scale = torch.rsqrt(variance + norm.eps)
    logits: Tensor = _NormReluClassify.apply(x, norm.weight, norm.bias, weight, mean, scale)
    return logits


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (the biased one) of each channel; in two passes, four times as fast as ``torch.var_mean``."""
    count = x.shape[0] * x.shape[1]
    parts = [x[image, strip] for image, strip in _strips(x)]
    mean = torch.stack([part.sum(0) for part in parts]).sum(0) / count
    squares = [(part - mean).square_().sum(0) for part in parts]
    return mean, torch.stack(squares).sum(0) / count


@torch.no_grad()
def _move_running(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    step = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, step)
    norm.running_var.lerp_(variance * (count / max(1, count - 1)), step)


class _NormReluClassify(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, weight: Tensor, mean: Tensor, scale: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x, gamma, beta, weight, mean, scale)
        factor, shift = _affine(gamma, beta, mean, scale)
        logits = x.new_empty(x.shape[0], x.shape[1], weight.shape[1])
        for image, strip in _strips(x):
            logits[image, strip] = _activated(x[image, strip], factor, shift) @ weight[image].t()
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, beta, weight, mean, scale = ctx.saved_tensors
        grad_weight = torch.zeros_like(weight)
        factor, shift = _affine(gamma, beta, mean, scale)
        # In double precision: the first moment of the gradient is taken from its moment about 0.
        total, moment = (torch.zeros_like(beta, dtype=torch.float64) for _ in range(2))
        for image, strip in _strips(x):
            active = _activated(x[image, strip], factor, shift)
            grad_weight[image] += grad[image, strip].t() @ active
            back = _before_relu(grad[image, strip] @ weight[image], active)
            total += back.sum(0)
            moment += back.mul_(x[image, strip]).sum(0)
        grad_beta, grad_gamma = total.to(beta.dtype), ((moment - total * mean) * scale).to(gamma.dtype)
        # Mean and variance hang on every pixel too. The map's gradient takes the map's own place; autograd refuses to
        # go back a second time then, which no training does.
        count = x.shape[0] * x.shape[1]
        slope = -factor * scale * grad_gamma / count
        constant = -factor * grad_beta / count - slope * mean
        for image, strip in _strips(x):
            part = x[image, strip]
            back = _before_relu(grad[image, strip] @ weight[image], _activated(part, factor, shift))
            part.mul_(slope).addcmul_(back, factor).add_(constant)
        return x, grad_gamma, grad_beta, grad_weight, None, None


def _before_relu(grad: Tensor, active: Tensor) -> Tensor:
    """Gradient of a ReLU's result -> of what went in; ``grad`` is used up."""
    torch.ops.aten.threshold_backward.grad_input(grad, active, 0, grad_input=grad)
    return grad


def _strips(x: Tensor) -> Iterator[tuple[int, slice]]:
    for image in range(x.shape[0]):
        for start in range(0, x.shape[1], PIXELS_AT_ONCE):
            yield image, slice(start, start + PIXELS_AT_ONCE)


def _affine(gamma: Tensor, beta: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """What the norm multiplies by and what it adds then, each (D,)."""
    factor = gamma * scale
    return factor, beta - mean * factor


def _activated(x: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """(P, D) -> relu(norm(x))."""
    return torch.addcmul(shift, x, factor).relu_()
