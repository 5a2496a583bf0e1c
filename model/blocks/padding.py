"""Padding: the one place where images meet a network that wants sides of a certain multiple.

510 px become 512 px with one pixel on each side; the logits lose them again. Training, scoring and prediction go the
same way, because it is the network's ``forward`` that pads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor

from ...pipeline.errors import UsageError

Logits = TypeVar("Logits", Tensor, tuple[Tensor, Tensor])


def padding_of(height: int, width: int, multiple: int) -> tuple[int, int, int, int]:
    """Pixels to add left, right, top and bottom, as ``F.pad`` takes them; an odd pixel goes right and below."""
    across, down = -width % multiple, -height % multiple
    return across // 2, across - across // 2, down // 2, down - down // 2


def run_padded(
    network: Callable[[Tensor, Tensor], Logits], primary: Tensor, auxiliary: Tensor, *, multiple: int
) -> Logits:
    """Logits of images whose sides were brought to a multiple, cut back to the images' size.

    The border is a reflection of the image: zeros would mean "no data" there (``loader.Normaliser``).

    Args:
        network: gives logits of its inputs' size, or a pair of such (with those of an auxiliary head).
        primary, auxiliary: (B, C_p, H, W) and (B, C_a, H, W).
        multiple: what both sides have to be divided by; 1 = nothing is padded.

    Raises:
        UsageError: the image is smaller than the border it would need.
    """
    height, width = primary.shape[-2:]
    left, right, top, bottom = around = padding_of(height, width, multiple)
    if not any(around):
        return network(primary, auxiliary)
    if right >= width or bottom >= height:
        raise UsageError(
            f"input of {height} x {width} px is too small to be padded to a multiple of {multiple} px; "
            f"more than {multiple // 2} px a side always do"
        )
    padded = [
        F.pad(image, around, mode="reflect") if image.shape[1] else _empty(image, around)
        for image in (primary, auxiliary)
    ]
    logits = network(padded[0], padded[1])
    if isinstance(logits, tuple):
        return _cut(logits[0], left, top, height, width), _cut(logits[1], left, top, height, width)
    return _cut(logits, left, top, height, width)


def _empty(image: Tensor, around: tuple[int, int, int, int]) -> Tensor:
    """An input without bands, (B, 0, H, W), which ``F.pad`` cannot reflect."""
    left, right, top, bottom = around
    return image.new_empty(image.shape[0], 0, image.shape[2] + top + bottom, image.shape[3] + left + right)


def _cut(logits: Tensor, left: int, top: int, height: int, width: int) -> Tensor:
    return logits[..., top : top + height, left : left + width]
