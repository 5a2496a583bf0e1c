"""Aligned Xception with atrous convolution, the encoder of DeepLabV3+: one branch, output stride 16.

Source: Chen et al. 2018 (arXiv 1802.02611, figure 4), after Chollet 2017 (arXiv 1610.02357) and Qi et al. 2017
(aligned Xception). With 16 middle blocks it is Xception-65.

Every separable convolution is depthwise 3 x 3, BatchNorm, 1 x 1, BatchNorm, with a ReLU before it; pooling is a
separable convolution of stride 2. Two differences from Chen et al.: no BatchNorm after the second separable convolution
of the exit block, which the paper's counts require; and no ReLU right after a depthwise convolution, as in the public
PyTorch implementation whose layers fit the counts (they do not determine it).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .convolutions import conv_norm

SkipInput = Literal["raw", "rectified"]
"""What a block's shortcut gets: the block's input, or its ReLU (which is what ReLUs in place make of it)."""


class SeparableStep(nn.Module):
    """ReLU, depthwise 3 x 3, BatchNorm, 1 x 1 and, but for one place, BatchNorm."""

    def __init__(
        self, channels_in: int, channels: int, *, stride: int = 1, dilation: int = 1, norm: bool = True
    ) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels_in, channels_in, 3, stride, padding=dilation, dilation=dilation, groups=channels_in, bias=False
        )
        self.depthwise_norm = nn.BatchNorm2d(channels_in)
        self.pointwise = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, C, h / stride, w / stride), halves rounded up."""
        spatial = self.depthwise_norm(self.depthwise(F.relu(image)))
        result: Tensor = self.norm(self.pointwise(spatial))
        return result


def initialise_step(module: nn.Module) -> None:
    """Let a step keep the variance of what it gets; for ``network.apply`` after ``layers.initialise``.

    Its 1 x 1 convolution follows no ReLU. With the factor of two that He et al. have for one, a block would multiply
    the variance by nine, and 17 of them would leave float16's range until BatchNorm's statistics have settled.
    """
    if isinstance(module, SeparableStep) and not module.pointwise.weight.is_meta:
        nn.init.normal_(module.pointwise.weight, std=module.pointwise.in_channels**-0.5)


class XceptionBlock(nn.Module):
    """Three separable steps, the last one strided, and a shortcut: 1 x 1 with BatchNorm where the shape changes."""

    def __init__(
        self,
        channels_in: int,
        widths: tuple[int, int, int],
        *,
        stride: int = 1,
        second_norm: bool = True,
        skip: SkipInput = "raw",
    ) -> None:
        super().__init__()
        self.skip = skip
        self.steps = nn.Sequential(
            SeparableStep(channels_in, widths[0]),
            SeparableStep(widths[0], widths[1], norm=second_norm),
            SeparableStep(widths[1], widths[2], stride=stride),
        )
        same = stride == 1 and channels_in == widths[2]
        self.shortcut = nn.Identity() if same else conv_norm(channels_in, widths[2], stride=stride, activation=None)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, C, h / stride, w / stride), not rectified."""
        if self.skip == "rectified":
            image = F.relu(image)
        result: Tensor = self.steps(image) + self.shortcut(image)
        return result


class Xception(nn.Module):
    """Entry flow (three strided blocks), middle flow, exit flow (a block and three separable steps at dilation 2).

    Args:
        bands: channels of the input.
        stem: widths of its two 3 x 3 convolutions; the first one is strided.
        entry: widths of the three entry blocks; the last one is that of the middle flow too.
        middle_blocks: 16 in Xception-65.
        exit_widths: of the exit block and of the three steps after it.
        skip: see ``SkipInput``.
    """

    def __init__(
        self,
        bands: int,
        *,
        stem: tuple[int, int] = (32, 64),
        entry: tuple[int, int, int] = (128, 256, 728),
        middle_blocks: int = 16,
        exit_widths: tuple[int, int, int, int] = (1024, 1536, 1536, 2048),
        skip: SkipInput = "raw",
    ) -> None:
        super().__init__()
        self.skip = skip
        middle, out = entry[-1], exit_widths[0]
        self.stem = nn.Sequential(conv_norm(bands, stem[0], 3, stride=2), conv_norm(stem[0], stem[1], 3))
        self.entry = nn.ModuleList(
            XceptionBlock(channels_in, (width, width, width), stride=2, skip=skip)
            for channels_in, width in zip((stem[1], *entry[:-1]), entry, strict=True)
        )
        self.middle = nn.Sequential(
            *(XceptionBlock(middle, (middle, middle, middle), skip=skip) for _ in range(middle_blocks))
        )
        self.exit_block = XceptionBlock(middle, (middle, out, out), second_norm=False, skip=skip)
        self.exit_steps = nn.Sequential(*(SeparableStep(a, b, dilation=2) for a, b in pairwise(exit_widths)))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, bands, H, W) -> maps of three depths, sides rounded up.

        Returns:
            low: (B, entry[0], H / 4, W / 4), rectified.
            middle: (B, entry[-1], H / 16, W / 16), rectified where the skips are.
            deep: (B, exit_widths[-1], H / 16, W / 16), rectified.
        """
        first = self.entry[0](self.stem(image))
        entered = self.entry[2](self.entry[1](first))
        middle: Tensor = self.middle(entered)
        deep = F.relu(self.exit_steps(self.exit_block(middle)))
        return F.relu(first), F.relu(middle) if self.skip == "rectified" else middle, deep
