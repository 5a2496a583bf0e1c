"""ResNet-50 and ResNet-101, the encoder of PSPNet and CMTFNet: four maps, no classifier.

Source: He et al. 2016 (arXiv 1512.03385), with the stride in the 3 x 3 convolution of a block ("ResNet v1.5") and, on
request, the stem of three 3 x 3 convolutions of Zhao et al. 2017 (arXiv 1612.01105). Trained from scratch here, hence
without the 1000-class layer that ImageNet weights come with. Without it, three bands and the 7 x 7 stem have
torchvision's 23,508,032 (ResNet-50) and 42,500,160 (ResNet-101) parameters, and give the same maps.

Letters: B batch, C channels, h and w the grid of a map, H and W the input in pixels.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ...pipeline.errors import UsageError
from .convolutions import conv_norm
from .layers import initialise

Stem = Literal["single", "deep"]
OutputStride = Literal[8, 16, 32]

RESNET50 = (3, 4, 6, 3)
RESNET101 = (3, 4, 23, 3)
EXPANSION = 4
"""Channels of a block's output for each of its inner ones."""

_STRIDES: dict[int, tuple[int, ...]] = {32: (1, 2, 2, 2), 16: (1, 2, 2, 1), 8: (1, 2, 1, 1)}
_DILATIONS: dict[int, tuple[int, ...]] = {32: (1, 1, 1, 1), 16: (1, 1, 1, 2), 8: (1, 1, 2, 4)}


def check_resnet(blocks: tuple[int, ...], width: int, output_stride: int = 32) -> None:
    """Refuse settings that no ResNet has.

    Raises:
        UsageError: not four stages, a stage without a block, no channels, or an unknown output stride.
    """
    if len(blocks) != 4 or min(blocks) < 1:
        raise UsageError(f"blocks is {blocks}; four numbers from 1 on are wanted, for example {RESNET50}")
    if width < 1:
        raise UsageError(f"width is {width}; at least one channel is needed (64 in ResNet-50)")
    if output_stride not in _STRIDES:
        raise UsageError(f"output_stride is {output_stride}; choose one of {', '.join(map(str, sorted(_STRIDES)))}")


def map_widths(width: int) -> tuple[int, int, int, int]:
    """Channels of the four maps: 256, 512, 1024 and 2048 for a width of 64."""
    return EXPANSION * width, 2 * EXPANSION * width, 4 * EXPANSION * width, 8 * EXPANSION * width


class Bottleneck(nn.Module):
    """1 x 1 to ``width`` channels, 3 x 3, 1 x 1 to four times as many; plus the input."""

    def __init__(self, channels_in: int, width: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        channels = EXPANSION * width
        self.reduce = conv_norm(channels_in, width)
        self.spatial = conv_norm(width, width, 3, stride=stride, dilation=dilation)
        self.expand = conv_norm(width, channels, activation=None)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = conv_norm(channels_in, channels, stride=stride, activation=None)
        self.activation = nn.ReLU()

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, 4 width, h / stride, w / stride)."""
        change = self.expand(self.spatial(self.reduce(image)))
        result: Tensor = self.activation(change + self.shortcut(image))
        return result


def _stem(bands: int, width: int, how: Stem) -> nn.Sequential:
    """The input at half its size: one 7 x 7 convolution (``width`` channels) or three 3 x 3 (``2 width``)."""
    if how == "single":
        return conv_norm(bands, width, 7, stride=2)
    return nn.Sequential(
        conv_norm(bands, width, 3, stride=2), conv_norm(width, width, 3), conv_norm(width, 2 * width, 3)
    )


def _stage(channels_in: int, width: int, count: int, *, stride: int, dilations: tuple[int, int]) -> nn.Sequential:
    """``count`` blocks; only the first one strides. ``dilations``: of the first block and of the others."""
    first = Bottleneck(channels_in, width, stride=stride, dilation=dilations[0])
    others = (Bottleneck(EXPANSION * width, width, dilation=dilations[1]) for _ in range(count - 1))
    return nn.Sequential(first, *others)


class ResNet(nn.Module):
    """Stem, max-pooling and four stages of bottlenecks.

    Below an output stride of 32 the last one or two stages dilate instead of striding: 2 and 4 at stride 8, 2 at
    stride 16. The first block of such a stage still has the dilation of the stage before it, as in torchvision and
    Gluon: it works on what that stage made. (In hszhao/semseg the whole stage has the new dilation.)

    Args:
        bands: channels of the input.
        blocks: of each stage; ``RESNET50`` or ``RESNET101``.
        width: inner channels of the first stage; they double with each stage.
        stem: ``single`` = 7 x 7, ``deep`` = 3 x 3 three times.
        output_stride: input pixels to a cell of the last map.
    """

    def __init__(
        self,
        bands: int,
        blocks: tuple[int, ...] = RESNET50,
        *,
        width: int = 64,
        stem: Stem = "single",
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        check_resnet(blocks, width, output_stride)
        strides, dilations = _STRIDES[output_stride], _DILATIONS[output_stride]
        self.stem = _stem(bands, width, stem)
        self.pool = nn.MaxPool2d(3, 2, 1)
        inputs = (width if stem == "single" else 2 * width, *map_widths(width)[:-1])
        pairs = zip((1, *dilations[:-1]), dilations, strict=True)
        self.stages = nn.ModuleList(
            _stage(inputs[i], width * 2**i, blocks[i], stride=strides[i], dilations=pair)
            for i, pair in enumerate(pairs)
        )
        self.apply(initialise)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, bands, H, W) -> four maps (B, C_i, h_i, w_i), finest first: 1/4, 1/8, 1/16, 1/32; none coarser
        than the output stride."""
        image = self.pool(self.stem(image))
        maps: list[Tensor] = []
        for stage in self.stages:
            image = stage(image)
            maps.append(image)
        return maps
