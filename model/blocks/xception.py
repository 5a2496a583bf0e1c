"""Aligned Xception with atrous convolution, the encoder of DeepLabV3+: one branch, deepest maps at 1/16.

Source: Chen et al. 2018 (arXiv 1802.02611, figure 4), after Chollet 2017 (arXiv 1610.02357) and Qi et al. 2017
(aligned Xception). The defaults of ``Xception`` are Xception-65. Xception-71 has a fourth entry block; at an output
stride of 8 as Tramac/awesome-semantic-segmentation-pytorch means it, this block does not stride. Such a block has the
form of a middle block, so it is the first of them here (``undilated`` = 1).

Every separable convolution is depthwise 3 x 3, BatchNorm, 1 x 1, BatchNorm, with a ReLU before it; pooling is a
separable convolution of stride 2. Two differences from Chen et al., both as in Tramac's: no BatchNorm after the second
separable convolution of the exit block, and no ReLU right after a depthwise convolution.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .convolutions import conv_norm

SkipInput = Literal["raw", "rectified"]
"""What the shortcut of a block that begins with a ReLU gets: the block's input, or its ReLU (which is what ReLUs in
place make of it)."""

Dilations = tuple[int, int, int]
"""Of the middle blocks, of the exit block and of the three steps after it."""


class SeparableStep(nn.Module):
    """ReLU, depthwise 3 x 3, BatchNorm, 1 x 1, BatchNorm.

    Args:
        norm: whether there is the last BatchNorm; one step of the exit block has none.
        rectify: whether there is the ReLU.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        norm: bool = True,
        rectify: bool = True,
    ) -> None:
        super().__init__()
        self.rectify = rectify
        self.depthwise = nn.Conv2d(
            channels_in, channels_in, 3, stride, padding=dilation, dilation=dilation, groups=channels_in, bias=False
        )
        self.depthwise_norm = nn.BatchNorm2d(channels_in)
        self.pointwise = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, C, h / stride, w / stride), halves rounded up."""
        spatial = self.depthwise_norm(self.depthwise(F.relu(image) if self.rectify else image))
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
    """Three separable steps, the last one strided, and a shortcut: 1 x 1 with BatchNorm where the shape changes.

    Args:
        dilation: of all steps; for blocks that do not stride.
        rectify: whether the first step begins with a ReLU. Without it the shortcut gets the block's input as it is.
    """

    def __init__(
        self,
        channels_in: int,
        widths: tuple[int, int, int],
        *,
        stride: int = 1,
        dilation: int = 1,
        second_norm: bool = True,
        rectify: bool = True,
        skip: SkipInput = "raw",
    ) -> None:
        super().__init__()
        self.skip: SkipInput = skip if rectify else "raw"
        self.steps = nn.Sequential(
            SeparableStep(channels_in, widths[0], dilation=dilation, rectify=rectify),
            SeparableStep(widths[0], widths[1], dilation=dilation, norm=second_norm),
            SeparableStep(widths[1], widths[2], stride=stride, dilation=dilation),
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
    """Entry flow (three strided blocks), middle flow, exit flow (a block and three separable steps).

    Args:
        bands: channels of the input.
        stem: widths of its two 3 x 3 convolutions; the first one is strided.
        entry: widths of the three entry blocks; the last one is that of the middle flow too.
        middle_blocks: 16 in Xception-65, 17 in Xception-71 (its fourth entry block and 16).
        undilated: how many of the middle blocks, from the first on, have a dilation of 1: 1 in Xception-71.
        dilations: of the other middle blocks, of the exit block, of the exit steps.
        exit_widths: of the exit block and of the three steps after it.
        third_relu: whether the third entry block begins with a ReLU; in Xception-71 it does not.
        skip: see ``SkipInput``.
    """

    def __init__(
        self,
        bands: int,
        *,
        stem: tuple[int, int] = (32, 64),
        entry: tuple[int, int, int] = (128, 256, 728),
        middle_blocks: int = 16,
        undilated: int = 0,
        dilations: Dilations = (1, 1, 2),
        exit_widths: tuple[int, int, int, int] = (1024, 1536, 1536, 2048),
        third_relu: bool = True,
        skip: SkipInput = "raw",
    ) -> None:
        super().__init__()
        self.skip = skip
        middle, out = entry[-1], exit_widths[0]
        self.stem = nn.Sequential(conv_norm(bands, stem[0], 3, stride=2), conv_norm(stem[0], stem[1], 3))
        inputs, rectify = (stem[1], *entry[:-1]), (True, True, third_relu)
        self.entry = nn.ModuleList(
            XceptionBlock(inputs[i], (width, width, width), stride=2, rectify=rectify[i], skip=skip)
            for i, width in enumerate(entry)
        )
        self.middle = nn.Sequential(
            *(
                XceptionBlock(
                    middle, (middle, middle, middle), dilation=1 if number < undilated else dilations[0], skip=skip
                )
                for number in range(middle_blocks)
            )
        )
        self.exit_block = XceptionBlock(middle, (middle, out, out), dilation=dilations[1], second_norm=False, skip=skip)
        self.exit_steps = nn.Sequential(*(SeparableStep(a, b, dilation=dilations[2]) for a, b in pairwise(exit_widths)))

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
