"""Losses over logits and class indices; pixels with ``IGNORE`` count for nothing.

The paper (section IV-D) gives the focal loss with alpha, eq. 9 and 10, leaves its form open (its p_t is the binary one,
its task has nine classes) and compares it with BCE and CE (Fig. 8). Default here: over the softmax, gamma 2, alpha the
inverse class frequency scaled to mean 1 over the classes. Every loss is the mean over the pixels that count, so that
alpha also changes the loss's size; AdamW does not mind, unless one class is so rare that its alpha makes those of all
others vanish below AdamW's eps. ``class_scale = "pixel"`` is for such data: alpha scaled to mean 1 over the pixels, and
limited to ``MOST_WEIGHT``.

Letters: B batch, K classes, H and W pixels, P the pixels that count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..pipeline.errors import UsageError
from ..pipeline.spec.classes import IGNORE

ClassScale = Literal["class", "pixel"]

MOST_WEIGHT = 10.0
"""Largest weight of a class against that of the mean pixel, where the scale is ``pixel``."""


def class_weights(counts: Sequence[int], scale: ClassScale = "class") -> Tensor:
    """Inverse class frequency, scaled to mean 1; 0 for a class that does not occur.

    A weight for an absent class would change nothing but the mean of the others (no pixel carries it).

    Args:
        counts: training pixels of each class.
        scale: ``class``: mean 1 over the classes that occur; ``pixel``: mean 1 over the pixels, with no class above
            ``MOST_WEIGHT``, so that a stray pixel of a rare class cannot silence all others.

    Returns:
        float32 (K,).

    Raises:
        UsageError: no class occurs at all.
    """
    pixels = torch.tensor(list(counts), dtype=torch.float64)
    if not bool((pixels > 0).any()):
        raise UsageError("no class has a pixel in the training split; look at the labels (dwplus validate)")
    inverse = torch.where(pixels > 0, 1 / pixels.clamp(min=1), 0.0)
    if scale == "class":
        return (inverse / inverse[pixels > 0].mean()).float()
    return _weights_by_pixel(pixels / pixels.sum()).float()


def _weights_by_pixel(share: Tensor) -> Tensor:
    """Inverse of the classes' shares of the pixels, their mean over the pixels 1, none above ``MOST_WEIGHT``."""
    limited = torch.zeros_like(share, dtype=torch.bool)
    while True:  # ends: each turn limits one class more, and not all can be above their mean
        free = (share > 0) & ~limited
        left = 1 - MOST_WEIGHT * share[limited].sum()  # for the classes that are not limited
        weights = torch.where(free, left / (free.sum() * share.clamp(min=1e-300)), 0.0)
        weights[limited] = MOST_WEIGHT
        if not bool((weights > MOST_WEIGHT).any()):
            return weights
        limited |= weights > MOST_WEIGHT


LEAST_WEIGHT = 0.01
"""Where the mean pixel weighs less than this, the loss is that of the rarest class and of little else."""


def too_rare(counts: Sequence[int], scale: ClassScale) -> int | None:
    """The class that is so rare that its weight makes those of all others vanish; None where there is none.

    Args:
        counts: training pixels of each class.
        scale: see ``class_weights``; with ``pixel`` there is none.
    """
    weights, pixels = class_weights(counts, scale).double(), torch.tensor(list(counts), dtype=torch.float64)
    mean = float((weights * pixels).sum() / pixels.sum())
    return int(weights.argmax()) if mean < LEAST_WEIGHT else None


class PixelLoss(nn.Module):
    """Mean over the counted pixels of one number per pixel; 0, with a gradient of 0, where none counts."""

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Logits (B, K, H, W), label (B, H, W) of 0..K-1 or ``IGNORE`` -> scalar, float32 (float64 of float64)."""
        total, pixels = self.total(logits, label)
        return total / pixels.clamp(min=1)

    def total(self, logits: Tensor, label: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The same as a sum, and the number of pixels that it is over: parts of a step add up to the whole step's.

        Args:
            logits: (B, K, H, W).
            label: (B, H, W) of 0..K-1 or ``IGNORE``.
            weight: float32 (B,), how much a pixel of each sample counts; None: 1.

        Returns:
            scalars: the sum, in float32 (float64 of logits in float64), and the pixels that count, by their weights.
        """
        counted = label != IGNORE
        target = torch.where(counted, label, 0).long()
        per_pixel = self.per_pixel(logits if logits.dtype == torch.float64 else logits.float(), target)
        losses, pixels = torch.where(counted, per_pixel, 0.0), counted
        if weight is not None:
            losses, pixels = losses * weight[:, None, None], counted * weight[:, None, None]
        return losses.sum(), pixels.sum()

    def per_pixel(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (B, K, H, W), target int64 (B, H, W) -> (B, H, W)."""
        raise NotImplementedError


class CrossEntropy(PixelLoss):
    """-log p of the true class; Fig. 8's CE."""

    def per_pixel(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target, reduction="none")


class BinaryCrossEntropy(PixelLoss):
    """Mean over the classes of one yes-or-no question each; Fig. 8's BCE."""

    def per_pixel(self, logits: Tensor, target: Tensor) -> Tensor:
        wanted = _one_hot(target, logits)
        return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(dim=1)


class FocalLoss(PixelLoss):
    """-alpha_t (1 - p_t)^gamma log p_t over the softmax; p_t and alpha_t are those of the true class (eq. 9).

    With gamma 0 and alpha 1 this is the cross-entropy.
    """

    alpha: Tensor

    def __init__(self, alpha: Tensor, gamma: float = 2.0) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("alpha", alpha)

    def per_pixel(self, logits: Tensor, target: Tensor) -> Tensor:
        log_p = -F.cross_entropy(logits, target, reduction="none")
        return -self.alpha[target] * (1 - log_p.exp()).clamp(min=0) ** self.gamma * log_p


class BinaryFocalLoss(PixelLoss):
    """The same with the paper's eq. 10 taken literally: nine yes-or-no questions, their mean.

    alpha is the true class's for all nine questions of a pixel.
    """

    alpha: Tensor

    def __init__(self, alpha: Tensor, gamma: float = 2.0) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("alpha", alpha)

    def per_pixel(self, logits: Tensor, target: Tensor) -> Tensor:
        wanted = _one_hot(target, logits)
        log_p = -F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")  # (B, K, H, W), log of p_t
        focal = -((1 - log_p.exp()).clamp(min=0) ** self.gamma) * log_p
        return self.alpha[target] * focal.mean(dim=1)


def _one_hot(target: Tensor, logits: Tensor) -> Tensor:
    return torch.zeros_like(logits).scatter_(1, target[:, None], 1.0)


LOSSES: dict[str, Callable[[Tensor, float], PixelLoss]] = {
    "focal": FocalLoss,
    "focal-binary": BinaryFocalLoss,
    "bce": lambda _alpha, _gamma: BinaryCrossEntropy(),
    "ce": lambda _alpha, _gamma: CrossEntropy(),
}


def build_loss(name: str, *, counts: Sequence[int], gamma: float = 2.0, class_scale: ClassScale = "class") -> PixelLoss:
    """A loss by name; ``counts`` are the training pixels of each class, ``class_scale`` as in ``class_weights``.

    Raises:
        UsageError: no loss is called that; the message lists those there are.
    """
    if name not in LOSSES:
        raise UsageError(f"unknown loss {name!r}; choose one of {', '.join(LOSSES)}")
    return LOSSES[name](class_weights(counts, class_scale), gamma)
