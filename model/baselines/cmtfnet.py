"""CMTFNet: a ResNet-50 with a decoder of multiscale transformer blocks.

Source: Wu et al. 2023, IEEE TGRS 61, 2004612 (DOI 10.1109/TGRS.2023.3314641). With 12 bands it has the 30.10 M
parameters of Table II: 30,099,641, and 30,099,635 by the table's rule, which does not see the fusions' six weights. At
512 px it needs 34.932 G multiply-accumulates by that rule, and the table prints those: 34.93, where all other rows are
twice theirs. Its figure on their scale is 69.86. The figures fit only an input of 512 px (510 px: 34.91).

Differences from the original: trained from scratch, not from ImageNet weights; and a coarse map is resized to the next
finer one instead of twice its own size, which is the same wherever sides double (also at 510 px) and lets any input in.

Weights start as in the original without its pretraining: the encoder as ResNet's (He et al. 2015, fan-out), the decoder
by PyTorch's defaults, the fusions' weights at 1.

Letters: B batch, C channels, h and w the grid of a map, H and W the input in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...pipeline.errors import UsageError
from ...pipeline.spec.classes import DYNAMIC_WORLD
from ..blocks.convolutions import DropoutUnit, conv_norm, map_dropout
from ..blocks.layers import check_heads, resize
from ..blocks.resnet import RESNET50, ResNet, check_resnet, map_widths
from ..domains import check_domains

REDUCTION = 4
"""How many times fewer channels the inside of a gate, of a multiscale convolution and of the feed-forward has."""

_conv_norm_relu6 = partial(conv_norm, activation=nn.ReLU6)


@dataclass(frozen=True)
class CMTFNetConfig:
    """Choices of the network. Bands of both inputs are concatenated.

    Attributes:
        blocks, width: of the encoder, as in ``resnet.ResNet``; the decoder works at the 8 x width channels of its
            second map, the head at the 4 x width of its first.
        heads: of the attention.
        pooled: keys and values a side: the map is averaged over as many cells, whatever its size.
        dilations: of the three transformer blocks, coarsest map first.
        head_dilations: of the head's multiscale convolution.
        dropout: before the classification.
        dropout_unit: whether it leaves out whole channels, as the original does, or single numbers.
    """

    OLDER_FORM: ClassVar[Mapping[str, Any]] = {"dropout_unit": "numbers"}

    primary_bands: int = 10
    auxiliary_bands: int = 2
    classes: int = len(DYNAMIC_WORLD)
    blocks: tuple[int, ...] = RESNET50
    width: int = 64
    heads: int = 16
    pooled: int = 16
    dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (3, 5, 7), (5, 7, 9))
    head_dilations: tuple[int, ...] = (7, 9, 11)
    dropout: float = 0.1
    dropout_unit: DropoutUnit = "channels"

    def __post_init__(self) -> None:
        if self.primary_bands < 1 or self.auxiliary_bands < 0:
            raise UsageError(f"cmtfnet needs at least one band, not {self.primary_bands} + {self.auxiliary_bands}")
        check_resnet(self.blocks, self.width)
        check_domains(self)
        check_heads(map_widths(self.width)[1], self.heads, where="cmtfnet decoder")
        if self.pooled < 1:
            raise UsageError(f"pooled is {self.pooled}; at least one cell a side is needed (16 in the paper)")
        if len(self.dilations) != 3:
            raise UsageError(f"dilations has {len(self.dilations)} rows; the three transformer blocks need one each")
        if any(not row or min(row) < 1 for row in (*self.dilations, self.head_dilations)):
            raise UsageError(f"dilations {self.dilations} and {self.head_dilations}: numbers from 1 on are wanted")
        check_domains(self)


SMALL = CMTFNetConfig(blocks=(1, 1, 1, 1), width=8, heads=4, pooled=4, dropout=0.0)
"""An eighth of the width, one block a stage."""


def _depthwise(channels: int, kernel: int, *, dilation: int = 1, bias: bool = False) -> nn.Sequential:
    return _conv_norm_relu6(channels, channels, kernel, dilation=dilation, groups=channels, bias=bias)


def _separable(channels: int, kernel: int) -> nn.Sequential:
    """Depthwise and 1 x 1 convolution, a norm after each, one ReLU6 at the end."""
    return nn.Sequential(
        conv_norm(channels, channels, kernel, groups=channels, activation=None), _conv_norm_relu6(channels, channels)
    )


class MultiscaleGate(nn.Module):
    """The input, weighted by what several dilated convolutions see around each position.

    1 x 1 to a quarter of the channels; a depthwise 3 x 3 for each dilation, each brought back to all channels by its
    own 1 x 1; their sum through one more 1 x 1. Every convolution has a bias, a norm and a ReLU6.
    """

    def __init__(self, channels: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        hidden = channels // REDUCTION
        self.reduce = _conv_norm_relu6(channels, hidden, bias=True)
        self.scales = nn.ModuleList(
            nn.Sequential(
                _depthwise(hidden, 3, dilation=dilation, bias=True), _conv_norm_relu6(hidden, channels, bias=True)
            )
            for dilation in dilations
        )
        self.mix = _conv_norm_relu6(channels, channels, bias=True)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        reduced = self.reduce(image)
        total = self.scales[0](reduced)
        for scale in self.scales[1:]:
            total = total + scale(reduced)
        result: Tensor = self.mix(total) * image
        return result


class ChannelGate(nn.Module):
    """The input, each channel weighted by a number between 0 and 1 made from all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // REDUCTION, 1),
            nn.ReLU6(),
            nn.Conv2d(channels // REDUCTION, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        result: Tensor = self.weigh(image) * image
        return result


class SpatialGate(nn.Module):
    """The input, each position weighted by a number between 0 and 1 made from its mean and maximum over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Sequential(nn.Conv2d(2, 1, 5, padding=2), nn.Sigmoid())

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        summary = torch.cat([image.mean(dim=1, keepdim=True), image.amax(dim=1, keepdim=True)], dim=1)
        result: Tensor = self.weigh(summary) * image
        return result


class MultiscaleAttention(nn.Module):
    """Attention of every position to a pooled multiscale map, plus the channel gate; no projections but for the keys.

    The queries are the input itself, cut into heads. Keys and values come from ``pooled`` x ``pooled`` averages of the
    multiscale map, so that the cost grows with the map and not with its square.
    """

    def __init__(self, channels: int, heads: int, pooled: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.heads = heads
        self.multiscale = MultiscaleGate(channels, dilations)
        self.pool = nn.AdaptiveAvgPool2d(pooled)
        self.key_value = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.channel_gate = ChannelGate(channels)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        query = self._heads_of(image)
        key, value = map(self._heads_of, self.key_value(self.pool(self.multiscale(image))).chunk(2, dim=1))
        mixed = F.scaled_dot_product_attention(query, key, value)  # scale: (C / heads) ** -0.5
        attended = mixed.transpose(2, 3).reshape(image.shape)
        gated: Tensor = self.channel_gate(image)
        return attended + gated

    def _heads_of(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, heads, h w, C / heads)."""
        batch, channels = image.shape[:2]
        return image.reshape(batch, self.heads, channels // self.heads, -1).transpose(2, 3)


class FeedForward(nn.Module):
    """E-FFN: 1 x 1 to a quarter of the channels, depthwise 5 x 5 and 3 x 3 side by side, their sum back by 1 x 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // REDUCTION
        self.reduce = _conv_norm_relu6(channels, hidden)
        self.wide = _depthwise(hidden, 5)
        self.narrow = _depthwise(hidden, 3)
        self.expand = _conv_norm_relu6(hidden, channels)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        reduced = self.reduce(image)
        result: Tensor = self.expand(self.wide(reduced) + self.narrow(reduced))
        return result


class MultiscaleBlock(nn.Module):
    """M2T block: attention, normed after it, and feed-forward; each with a residual."""

    def __init__(self, channels: int, heads: int, pooled: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.attention = MultiscaleAttention(channels, heads, pooled, dilations)
        self.norm = nn.BatchNorm2d(channels)
        self.feed_forward = FeedForward(channels)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        image = image + self.norm(self.attention(image))
        change: Tensor = self.feed_forward(image)
        return image + change


class Fusion(nn.Module):
    """Weighted mean of a map of the encoder and the decoder's coarser one, then a separable 5 x 5 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(2))
        self.smooth = _separable(channels, 5)

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """(B, C, h, w) and (B, C, about h / 2, about w / 2) -> (B, C, h, w)."""
        skip_share, coarse_share = self._shares()
        result: Tensor = self.smooth(skip_share * skip + coarse_share * resize(coarse, skip.shape[-2:]))
        return result

    def _shares(self) -> tuple[Tensor, Tensor]:
        """Two numbers, not negative, of sum 1; the small one keeps two weights of 0 from 0 / 0."""
        kept = F.relu6(self.weights)
        shares = kept / (kept.sum() + 1e-8)
        return shares[0], shares[1]


class Decoder(nn.Module):
    """From the coarsest map to the finest: transformer block, fusion with the next map, and so on."""

    def __init__(self, config: CMTFNetConfig) -> None:
        super().__init__()
        finest, channels, third, last = map_widths(config.width)
        self.reduce_last = _conv_norm_relu6(last, channels)
        self.reduce_third = _conv_norm_relu6(third, channels)
        self.blocks = nn.ModuleList(
            MultiscaleBlock(channels, config.heads, config.pooled, row) for row in config.dilations
        )
        self.narrow = conv_norm(channels, finest, activation=None)
        self.fusions = nn.ModuleList(Fusion(width) for width in (channels, channels, finest))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (B, C_i, h_i, w_i), finest first -> (B, C_1, h_1, w_1)."""
        image = self.blocks[0](self.reduce_last(maps[3]))
        image = self.blocks[1](self.fusions[0](self.reduce_third(maps[2]), image))
        image = self.blocks[2](self.fusions[1](maps[1], image))
        result: Tensor = self.fusions[2](maps[0], self.narrow(image))
        return result


class FusionHead(nn.Module):
    """MAF head: multiscale, channel and spatial gate of one map, summed, smoothed and classified."""

    def __init__(
        self,
        channels: int,
        classes: int,
        dilations: tuple[int, ...],
        *,
        dropout: float,
        dropout_unit: DropoutUnit = "channels",
    ) -> None:
        super().__init__()
        self.multiscale = MultiscaleGate(channels, dilations)
        self.channel_gate = ChannelGate(channels)
        self.spatial_gate = SpatialGate()
        self.smooth = _separable(channels, 3)
        self.dropout = map_dropout(dropout, dropout_unit)
        self.classify = nn.Conv2d(channels, classes, 1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> logits (B, classes, h, w)."""
        gated = self.multiscale(image) + self.channel_gate(image) + self.spatial_gate(image)
        logits: Tensor = self.classify(self.dropout(self.smooth(gated)))
        return logits


class CMTFNet(nn.Module):
    """ResNet, decoder of three transformer blocks, head at 1/4 of the input."""

    def __init__(self, config: CMTFNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CMTFNetConfig()
        bands = config.primary_bands + config.auxiliary_bands
        self.encoder = ResNet(bands, config.blocks, width=config.width)
        self.decoder = Decoder(config)
        self.head = FusionHead(
            map_widths(config.width)[0],
            config.classes,
            config.head_dilations,
            dropout=config.dropout,
            dropout_unit=config.dropout_unit,
        )

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """Float32 (B, C_p, H, W) and (B, C_a, H, W), C_a may be 0 -> logits (B, classes, H, W)."""
        image = torch.cat([primary, auxiliary], dim=1)
        return resize(self.head(self.decoder(self.encoder(image))), image.shape[-2:])
