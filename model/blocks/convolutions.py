"""Blocks that the convolutional networks share: convolution with norm and activation, pyramid pooling.

Letters: B batch, C channels, h and w the grid of a map.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .layers import resize

DropoutUnit = Literal["numbers", "channels"]
"""What dropout leaves out at once: single numbers (``nn.Dropout``) or whole channels (``nn.Dropout2d``)."""


def conv_norm(
    channels_in: int,
    channels: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
    padding: int | None = None,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution, BatchNorm and activation; ``padding`` None keeps the size at stride 1 (odd kernels)."""
    around = dilation * (kernel // 2) if padding is None else padding
    layers: list[nn.Module] = [
        nn.Conv2d(channels_in, channels, kernel, stride, around, dilation, groups, bias=bias),
        nn.BatchNorm2d(channels),
    ]
    if activation is not None:
        layers.append(activation())
    return nn.Sequential(*layers)


class PyramidPooling(nn.Module):
    """Pyramid pooling (PSPNet, UPerNet): averages over 1, 2, 3 and 6 cells a side, each back at the map's size.

    Source: Zhao et al. 2017 (arXiv 1612.01105), section 3.2.
    """

    def __init__(
        self, channels_in: int, channels: int, *, bins: tuple[int, ...] = (1, 2, 3, 6), align_corners: bool = False
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.levels = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side), conv_norm(channels_in, channels)) for side in bins
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_in, h, w) -> the map and its levels, (B, C_in + len(bins) * C, h, w)."""
        size = image.shape[-2:]
        levels = (resize(level(image), size, align_corners=self.align_corners) for level in self.levels)
        return torch.cat([image, *levels], dim=1)


def map_dropout(rate: float, unit: DropoutUnit) -> nn.Dropout | nn.Dropout2d:
    """Dropout of a map (B, C, h, w): each number by itself, or whole channels of an image."""
    return nn.Dropout2d(rate) if unit == "channels" else nn.Dropout(rate)


def head(
    channels_in: int, hidden: int, classes: int, *, dropout: float = 0.1, unit: DropoutUnit = "numbers"
) -> nn.Sequential:
    """3 x 3 convolution with norm and ReLU, dropout, classification: the usual auxiliary (FCN) head."""
    return nn.Sequential(conv_norm(channels_in, hidden, 3), map_dropout(dropout, unit), nn.Conv2d(hidden, classes, 1))


def tied(logits: Tensor, aux: Tensor) -> Tensor:
    """The logits as they are, with a gradient of zero for whatever made ``aux``.

    A loss that does not ask for the auxiliary head leaves its weights alone then, instead of leaving them without a
    gradient, which distributed training takes for an error. In float32: a sum of many gradients would overflow float16,
    and zero times that is no number.
    """
    return logits.float() + 0.0 * aux.float().mean()
