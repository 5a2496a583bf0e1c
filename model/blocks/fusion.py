"""How CMX and CMNeXt join two inputs: two encoders whose maps correct each other and are fused after every stage.

Source: Zhang et al. 2023, CMX (arXiv 2203.04838, IEEE T-ITS), section III: feature rectification module (FRM) and
feature fusion module (FFM). CMNeXt (arXiv 2303.01480) takes both over as they are.

Letters: B batch, C channels, h and w the grid of a stage, N = h x w tokens, d = C / heads; p the primary, a the
auxiliary input. Tokens are (B, N, C).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import as_map, as_tokens, full_precision

RECTIFICATION_SHARE = 0.5
"""Weight of either kind of correction: lambda_C = lambda_S (CMX, section III-B)."""


class ChannelWeights(nn.Module):
    """One weight a channel and input, from the averages and maxima of both maps (CMX, section III-B)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.average = nn.AdaptiveAvgPool2d(1)
        self.mlp = nn.Sequential(
            nn.Linear(4 * channels, 4 * channels), nn.ReLU(), nn.Linear(4 * channels, 2 * channels)
        )

    def forward(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2C, h, w), primary first -> weights of the primary and of the auxiliary map, (B, C, 1, 1), 0-1."""
        # amax is the global maximum; unlike AdaptiveMaxPool2d its gradient is deterministic on a GPU.
        pooled = torch.cat([self.average(both).flatten(1), both.amax(dim=(2, 3))], dim=1)  # (B, 4C)
        of_primary, of_auxiliary = torch.sigmoid(self.mlp(pooled))[:, :, None, None].chunk(2, dim=1)
        return of_primary, of_auxiliary


class SpatialWeights(nn.Module):
    """One weight a cell and input, from all channels of both maps there (CMX, section III-B)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Conv2d(2 * channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, 2, 1))

    def forward(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2C, h, w), primary first -> weights of the primary and of the auxiliary map, (B, 1, h, w), 0-1."""
        of_primary, of_auxiliary = torch.sigmoid(self.mlp(both)).chunk(2, dim=1)
        return of_primary, of_auxiliary


class FeatureRectification(nn.Module):
    """FRM: each map plus what the other one says, weighted by channel and by cell.

    Both corrections read the maps as they came in, and both weights are those of the map that is added.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = ChannelWeights(channels)
        self.spatial = SpatialWeights(channels)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) twice -> the same, rectified."""
        both = torch.cat([primary, auxiliary], dim=1)
        channel_p, channel_a = self.channel(both)
        spatial_p, spatial_a = self.spatial(both)
        return (
            _add_weighted(primary, auxiliary, channel_a, spatial_a),
            _add_weighted(auxiliary, primary, channel_p, spatial_p),
        )


def _add_weighted(image: Tensor, other: Tensor, channel: Tensor, spatial: Tensor) -> Tensor:
    # Two small weights one after the other: their sum would be one more map, (B, C, h, w), in memory.
    image = image + RECTIFICATION_SHARE * channel * other
    return image + RECTIFICATION_SHARE * spatial * other


class GlobalContext(nn.Module):
    """Summary of one input's tokens for the other: softmax over the key channels of K^T V / sqrt(d), a head at a time.

    It is d x d whatever the number of tokens, which makes the attention linear in N. The softmax runs along the rows,
    the key channels, for each value channel. Source: CMX, section III-C, information exchange stage.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (channels // heads) ** -0.5
        self.key_value = nn.Linear(channels, 2 * channels, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, heads, d, d): key channels by value channels, every column sums to 1."""
        pair = self.key_value(tokens).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # A sum over all N tokens: it leaves float16's range, and exp() wants more digits than bfloat16 has.
        with full_precision(tokens.device.type):
            key, value = pair.to(torch.promote_types(pair.dtype, torch.float32))  # (B, heads, N, d)
            context = torch.softmax(key.transpose(2, 3) @ value * self.scale, dim=2)
        return context.to(tokens.dtype)


def read_context(tokens: Tensor, context: Tensor) -> Tensor:
    """Each token's answer from the other input's context: (B, N, C), (B, heads, d, d) -> (B, N, C).

    The tokens themselves are the queries.
    """
    batch, count, _ = tokens.shape
    queries = tokens.reshape(batch, count, context.shape[1], -1).transpose(1, 2)  # (B, heads, N, d)
    return (queries @ context).transpose(1, 2).flatten(2)


class FusionPath(nn.Module):
    """What belongs to one input in the exchange of contexts: projections, context and norm."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, 2 * channels)
        self.context = GlobalContext(channels, heads)
        self.contract = nn.Linear(2 * channels, channels)
        self.norm = nn.LayerNorm(channels)

    def split(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, C) -> what stays and what asks the other input, (B, N, C) each."""
        stays, asks = F.relu(self.expand(tokens)).chunk(2, dim=2)
        return stays, asks

    def join(self, tokens: Tensor, stays: Tensor, answer: Tensor) -> Tensor:
        """(B, N, C) three times -> (B, N, C), with a residual."""
        joined: Tensor = self.norm(tokens + self.contract(torch.cat([stays, answer], dim=2)))
        return joined


class ChannelEmbedding(nn.Module):
    """Two maps, concatenated, to one: a 1 x 1 convolution beside a chain of three that sees the neighbours.

    Source: CMX, section III-C, fusion stage.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Conv2d(2 * channels, channels, 1, bias=False)
        self.embed = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, both: Tensor) -> Tensor:
        """(B, 2C, h, w) -> (B, C, h, w)."""
        fused: Tensor = self.norm(self.residual(both) + self.embed(both))
        return fused


class FeatureFusion(nn.Module):
    """FFM: both maps read each other's global context, then become one map."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.primary = FusionPath(channels, heads)
        self.auxiliary = FusionPath(channels, heads)
        self.embedding = ChannelEmbedding(channels)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """(B, C, h, w) twice -> (B, C, h, w)."""
        tokens_p, tokens_a = as_tokens(primary), as_tokens(auxiliary)
        stays_p, asks_p = self.primary.split(tokens_p)
        stays_a, asks_a = self.auxiliary.split(tokens_a)
        answer_p = read_context(asks_p, self.auxiliary.context(asks_a))
        answer_a = read_context(asks_a, self.primary.context(asks_p))
        joined = [
            self.primary.join(tokens_p, stays_p, answer_p),
            self.auxiliary.join(tokens_a, stays_a, answer_a),
        ]
        fused: Tensor = self.embedding(as_map(torch.cat(joined, dim=2), (primary.shape[2], primary.shape[3])))
        return fused


class DualEncoder(nn.Module):
    """Two encoders side by side; after each stage the rectified maps go on, the fused one goes out."""

    def __init__(
        self, primary: nn.ModuleList, auxiliary: nn.ModuleList, *, widths: tuple[int, ...], heads: tuple[int, ...]
    ) -> None:
        """``primary`` and ``auxiliary``: stages, map to map, of equal strides and of ``widths`` channels."""
        super().__init__()
        self.primary, self.auxiliary = primary, auxiliary
        self.rectifications = nn.ModuleList(FeatureRectification(width) for width in widths)
        self.fusions = nn.ModuleList(FeatureFusion(width, n) for width, n in zip(widths, heads, strict=True))

    def forward(self, primary: Tensor, auxiliary: Tensor) -> list[Tensor]:
        """(B, C_p, H, W) and (B, C_a, H, W) -> fused maps (B, C_i, h_i, w_i), finest first."""
        maps: list[Tensor] = []
        steps = zip(self.primary, self.auxiliary, self.rectifications, self.fusions, strict=True)
        for primary_stage, auxiliary_stage, rectify, fuse in steps:
            primary, auxiliary = rectify(primary_stage(primary), auxiliary_stage(auxiliary))
            maps.append(fuse(primary, auxiliary))
        return maps
