"""The network of Dynamic World, a small fully convolutional one, trained from scratch on all bands at once.

Source: Brown et al. 2022 (Sci Data 9:251, doi 10.1038/s41597-022-01307-4) and the published graph (google/dynamicworld,
Apache-2.0), from which the layers below were read; its drawing differs in details. With the original's 9 bands it has
225,513 parameters (231,209 with the BatchNorm statistics) and 16.2 G multiply-accumulates at 510 px; with the 12 of
this package 227,241 parameters. Table II does not count it, and Table I's Dynamic World row scores the published
product, not this network.

Differences from the original where it is trained from scratch, all outside the layers: bands come normalised like every
other network's, not through the logarithm and sigmoid of the published model, which is fitted to top-of-atmosphere
values of 9 bands; weights start as He et al. 2015 have it (fan-out, a depthwise convolution's fan per channel), for the
original's start is not published, and BatchNorm's running statistics move by PyTorch's 0.1.

``published`` loads the published weights: with them and ``squashed`` it gives the published network's classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...pipeline.errors import UsageError
from ...pipeline.spec.classes import DYNAMIC_WORLD
from ..blocks.layers import full_precision, initialise, resize

HeadForm = Literal["fused", "plain"]

NORM_EPS = 1e-3
"""Epsilon of every BatchNorm. Source: the published graph."""

LENGTH_EPS = 1e-12
"""Smallest squared length that a pixel's features are divided by. Source: the published graph."""


@dataclass(frozen=True)
class DynamicWorldConfig:
    """Choices of the network; bands of both inputs are concatenated.

    Attributes:
        stem_width: channels at full resolution.
        widths: of the two encoder blocks; the decoder's block has the second one too.
        skip_width: channels that the stem brings into the decoder.
        squashed: whether inputs go through sigmoid(5 x - 1) first, as those of the published network do.
    """

    OLDER_FORM: ClassVar[Mapping[str, Any]] = {"squashed": False}

    primary_bands: int = 10
    auxiliary_bands: int = 2
    classes: int = len(DYNAMIC_WORLD)
    stem_width: int = 64
    widths: tuple[int, int] = (96, 144)
    skip_width: int = 48
    squashed: bool = False

    def __post_init__(self) -> None:
        if self.primary_bands < 1 or self.auxiliary_bands < 0:
            raise UsageError(
                f"dynamic-world-fcn needs at least one band, not {self.primary_bands} + {self.auxiliary_bands}"
            )


SMALL = DynamicWorldConfig(stem_width=16, widths=(24, 36), skip_width=12)
"""A quarter of the widths."""


def conv_mish(channels_in: int, channels: int, kernel: int = 1, *, groups: int = 1) -> nn.Sequential:
    """Convolution (with bias, size kept), BatchNorm, Mish."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, kernel, padding=kernel // 2, groups=groups),
        nn.BatchNorm2d(channels, eps=NORM_EPS),
        nn.Mish(),
    )


def separable(channels_in: int, channels: int) -> nn.Sequential:
    """1 x 1, then depthwise 3 x 3, each with BatchNorm and Mish."""
    return nn.Sequential(conv_mish(channels_in, channels), conv_mish(channels, channels, 3, groups=channels))


def halve(image: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H // 2, W // 2), bilinear with antialiasing: a tent twice as wide as the new pixel.

    Computed in float32: PyTorch's kernel knows no half precision on the CPU.
    """
    size = (image.shape[2] // 2, image.shape[3] // 2)
    halved = F.interpolate(image.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
    return halved.to(image.dtype)


class Block(nn.Module):
    """Three separable convolutions and a 1 x 1 shortcut, each of them ending in BatchNorm and Mish."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.steps = nn.Sequential(
            separable(channels_in, channels), separable(channels, channels), separable(channels, channels)
        )
        self.shortcut = conv_mish(channels_in, channels)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, C, h, w)."""
        result: Tensor = self.steps(image) + self.shortcut(image)
        return result


class DirectionHead(nn.Module):
    """Features enlarged to the input's size, scaled to length 1 at every pixel, and classified: by direction alone.

    ``form`` chooses between two orders of the same sums, with the same parameters:

    - ``plain``: enlarge, scale, classify.
    - ``fused``: classification without its bias is linear, so it goes first, at half the resolution; its results are
      enlarged and scaled instead of the features. Saves the scaled features at full resolution, 143 MiB an image of
      510 px. Differs by rounding alone.

    Both compute lengths and scores in float32 also under autocast: sums of squares leave float16's range.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.form: HeadForm = "fused"
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(self, features: Tensor, size: torch.Size) -> Tensor:
        """(B, C, h, w) -> logits (B, classes, *size)."""
        with full_precision(features.device.type):
            features = features.to(torch.promote_types(features.dtype, torch.float32))
            enlarged = resize(features, size)
            squares = enlarged.square().sum(dim=1, keepdim=True)  # (B, 1, H, W)
            scale = squares.clamp_min(LENGTH_EPS).rsqrt()
            if self.form == "plain":
                logits: Tensor = self.classify(enlarged * scale)
                return logits
            scores = resize(F.conv2d(features, self.classify.weight), size)
            return torch.addcmul(_as_channels(self.classify.bias), scores, scale)


def _as_channels(bias: Tensor | None) -> Tensor:
    assert bias is not None
    return bias[:, None, None]


class DynamicWorldNet(nn.Module):
    """Stem at full resolution, all else at half of it, classification by direction at full resolution."""

    def __init__(self, config: DynamicWorldConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DynamicWorldConfig()
        first, second = config.widths
        self.stem = conv_mish(config.primary_bands + config.auxiliary_bands, config.stem_width, 3)
        self.encoder = nn.Sequential(Block(config.stem_width, first), Block(first, second))
        self.skip = separable(config.stem_width, config.skip_width)
        self.decoder = Block(second + config.skip_width, second)
        self.head = DirectionHead(second, config.classes)
        self.apply(initialise)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """Float32 (B, C_p, H, W) and (B, C_a, H, W), C_a may be 0, 2 px a side or more -> (B, classes, H, W)."""
        image = torch.cat([primary, auxiliary], dim=1)
        if self.config.squashed:
            image = torch.sigmoid(5 * image - 1)
        stem = halve(self.stem(image))
        both = torch.cat([self.encoder(stem), self.skip(stem)], dim=1)
        logits: Tensor = self.head(self.decoder(both), primary.shape[-2:])
        return logits
