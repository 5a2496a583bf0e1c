"""Fuse head of MultiSenseSeg: one small expert for each input, and their matching into one map at 1/4.

Source: Wang et al. 2024 (TGRS, DOI 10.1109/TGRS.2024.3390750): modality-specific experts (MSE) and adaptive multimodal
matching (AMM). Cosine similarity with a learned scale and an MLP on log-spaced offsets are those of Swin V2 (Liu et al.
2022, arXiv 2111.09883), here between channels.

Letters: B batch, D channels of one expert, C = D x inputs, H and W the input in pixels, h = H / 4, w = W / 4.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolutions import conv_norm
from .layers import full_precision
from .windowed import channels_first, channels_last

MatchingForm = Literal["fused", "plain"]

PATCH = 4
"""Pixels along a patch: the encoder starts at 1/4."""
MARKER_DEGREES = 135
"""The experts' markers are the cosines of 0, 1, 2, ... times 135 // inputs degrees: 0 and 67 for two."""
OFFSET_HIDDEN = 32
"""Hidden width of the MLP on channel offsets."""
MAX_LOG_SCALE = math.log(100.0)
"""Upper end of the learned scale of the cosine similarity, as in Swin V2."""


class ChannelGate(nn.Module):
    """Squeeze and excitation: each channel times a factor of 0 to 1 that all channels' means decide.

    Source: Hu et al. 2018 (arXiv 1709.01507), without biases and with ReLU6.
    """

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width // ratio, 1, bias=False),
            nn.ReLU6(),
            nn.Conv2d(width // ratio, width, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        result: Tensor = image * self.gate(image)
        return result


class ModalityExpert(nn.Module):
    """One input at full resolution: D channels, gated.

    ``marker`` is a constant that distinguishes the inputs; it is added in front of a zero-padded convolution, where a
    BatchNorm cannot take it away at the borders.
    """

    def __init__(self, bands: int, width: int, *, group_width: int, marker: float, ratio: int) -> None:
        super().__init__()
        half = width // 2
        self.marker = marker
        self.embed = conv_norm(bands, width, 3)
        self.reduce = nn.Conv2d(width, half, 1, bias=False)
        self.mix = conv_norm(half, half, 3, groups=half // group_width, bias=True, activation=None)
        self.expand = nn.Sequential(nn.Conv2d(half, width, 1), nn.ReLU())
        self.gate = ChannelGate(width, ratio)

    def forward(self, image: Tensor) -> Tensor:
        """(B, bands, H, W) -> (B, D, H, W)."""
        embedded = self.embed(image)
        change = self.expand(self.mix(self.reduce(embedded) + self.marker))
        result: Tensor = self.gate(embedded + change)
        return result


def markers(inputs: int) -> list[float]:
    """The constant of each expert: 1.0 and 0.3907 for two inputs."""
    step = MARKER_DEGREES // inputs
    return [math.cos(math.radians(step * number)) for number in range(inputs)]


class ChannelOffsetBias(nn.Module):
    """A bias of 0 to 1 for each head and pair of channels, from how far apart the two are (an MLP, as in Swin V2).

    Offsets are brought to -scale ... scale and log-spaced: sign(x) log(1 + |x|) / log(scale). The MLP sees all C x C of
    them, though only 2 C - 1 differ: so it was counted, and it costs nothing beside the rest.
    """

    def __init__(self, channels: int, heads: int, scale: int) -> None:
        super().__init__()
        self.register_buffer("offsets", log_offsets(channels, scale)[..., None], persistent=False)
        self.mlp = nn.Sequential(nn.Linear(1, OFFSET_HIDDEN), nn.ReLU(), nn.Linear(OFFSET_HIDDEN, heads, bias=False))

    def forward(self) -> Tensor:
        """(heads, C, C), query by key."""
        return torch.sigmoid(self.mlp(self.offsets)).permute(2, 0, 1)


def log_offsets(channels: int, scale: int) -> Tensor:
    """How far channel i lies after channel j, log-spaced; float32 (C, C)."""
    numbers = torch.arange(channels)
    offsets = (numbers[:, None] - numbers) * (scale / (channels - 1))
    return offsets.sign() * torch.log1p(offsets.abs()) / math.log(scale)


class ChannelSimilarity(nn.Module):
    """Attention weights between channels: softmax(1 - softmax(scale cos(query, key) + bias)), so the unlike ones count.

    All of it in float32, under autocast too: norms, exponentials and two softmaxes in a row.
    """

    def __init__(self, channels: int, heads: int, offset_scale: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10.0)))
        self.bias = ChannelOffsetBias(channels, heads, offset_scale)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """(B, heads, C, positions) twice -> float32 (B, heads, C, C)."""
        with full_precision(query.device.type):
            query, key = F.normalize(query.float(), dim=-1), F.normalize(key.float(), dim=-1)
            scale = self.log_scale.clamp(max=MAX_LOG_SCALE).exp()
            similarity = scale * (query @ key.transpose(2, 3)) + self.bias()
            weights: Tensor = self.softmax(1 - self.softmax(similarity))
        return weights


class MultimodalMatching(nn.Module):
    """Channels of all experts look at each other; the result goes to patches of 4 x 4 pixels, beside a shortcut.

    Heads share out the positions, not the channels: each takes consecutive rows of the map.

    ``form``: ``plain`` makes the values at full resolution, then gathers them into patches; ``fused`` multiplies the
    two convolutions out (nothing lies between them) into one of 4 x 4, which saves the map at full resolution. They
    differ by rounding alone.

    ``dropout``: of the attention weights and of the mixed result.
    """

    def __init__(
        self, inputs: int, width: int, channels: int, *, heads: int, offset_scale: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        all_channels = inputs * width
        self.form: MatchingForm = "fused"
        self.heads = heads
        self.query, self.key, self.value = (
            nn.Conv2d(all_channels, all_channels, 1, groups=inputs) for _ in ("query", "key", "value")
        )
        self.pool = nn.MaxPool2d(2 * PATCH)
        self.query_near, self.key_near = (
            nn.Conv2d(all_channels, all_channels, 3, groups=all_channels) for _ in ("query", "key")
        )
        self.value_patches = nn.Conv2d(all_channels, all_channels, PATCH, PATCH, groups=all_channels)
        self.similarity = ChannelSimilarity(all_channels, heads, offset_scale)
        self.mix = nn.Sequential(
            nn.Conv2d(all_channels, all_channels, 1), nn.GELU(), nn.Conv2d(all_channels, channels, 1)
        )
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)
        self.shortcut = nn.Conv2d(all_channels, channels, PATCH, PATCH)
        self.shortcut_norm = nn.LayerNorm(channels)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, channels, h, w)."""
        query = self.query_near(self.pool(self.query(image)))  # (B, C, H / 8 - 2, W / 8 - 2)
        key = self.key_near(self.pool(self.key(image)))
        value = self._value_fused(image) if self.form == "fused" else self.value_patches(self.value(image))
        weights = self.dropout(self.similarity(self._split(query), self._split(key)))
        mixed = weights.to(value.dtype) @ self._split(value)  # (B, heads, C, h w / heads)
        matched = self.dropout(self.mix(mixed.transpose(1, 2).reshape(value.shape)))  # (B, channels, h, w)
        result = self.norm(channels_last(matched)) + self.shortcut_norm(channels_last(self.shortcut(image)))
        return channels_first(result)

    def _split(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, heads, C, h w / heads)."""
        batch, channels = image.shape[:2]
        return image.reshape(batch, channels, self.heads, -1).transpose(1, 2)

    def _value_fused(self, image: Tensor) -> Tensor:
        """``value_patches(value(image))`` by one convolution, (B, C, h, w); its weights are made in float32."""
        point, patch = self.value, self.value_patches
        assert point.bias is not None
        assert patch.bias is not None
        with full_precision(image.device.type):
            weight = point.weight * patch.weight  # (C, D, 1, 1) x (C, 1, 4, 4)
            bias = point.bias * patch.weight.sum(dim=(1, 2, 3)) + patch.bias
        return F.conv2d(image, weight, bias, stride=PATCH, groups=point.groups)


class FuseHead(nn.Module):
    """Experts, their matching, and a map of details at full resolution."""

    def __init__(
        self,
        bands: tuple[int, ...],
        *,
        width: int,
        group_width: int,
        channels: int,
        heads: int,
        offset_scale: int,
        ratio: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleList(
            ModalityExpert(one, width, group_width=group_width, marker=marker, ratio=ratio)
            for one, marker in zip(bands, markers(len(bands)), strict=True)
        )
        self.matching = MultimodalMatching(
            len(bands), width, channels, heads=heads, offset_scale=offset_scale, dropout=dropout
        )
        self.details = conv_norm(len(bands) * width, width, 3)

    def forward(self, *images: Tensor) -> tuple[Tensor, Tensor]:
        """One (B, bands, H, W) each -> patches (B, channels, h, w), details (B, D, H, W)."""
        seen = torch.cat([expert(image) for expert, image in zip(self.experts, images, strict=True)], dim=1)
        return self.matching(seen), self.details(seen)
