"""CMNeXt-B2: a Mix Transformer for the primary input, a light convolutional encoder for the auxiliary one.

Source: Zhang et al. 2023, "Delivering Arbitrary-Modal Semantic Segmentation" (arXiv 2303.01480, CVPR), section 3. Both
branches rectify each other and are fused after every stage as in CMX (``fusion.py``). With 10 + 2 bands the paper's
rule counts 58,692,417 parameters (58.69 M) and 117.0868 GFLOP at 512 px; the network truly has 58,704,833. The rule
does not see the layer scales (8,320) and the channel norms (4,096), because they are no modules that it knows.

The self-query hub of the original chooses among several auxiliary inputs; with one of them it has nothing to choose,
and neither the original nor this builds it. The decoder's width of 512 is the original's.

Weights start as SegFormer's, layer scales at 0.01, without pretraining. The original's initialisation does not divide
the fan-out of a depthwise convolution by its groups, against the formula that it follows; this does.

Letters: B batch, C channels, h and w the grid of a stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...pipeline.errors import UsageError
from ...pipeline.spec.classes import DYNAMIC_WORLD
from ..blocks.decoder import MlpDecoder
from ..blocks.fusion import DualEncoder
from ..blocks.layers import DropPath, Form, check_size, check_stages, drop_path_rates, initialise, quieten, upsample
from ..blocks.mit import MixTransformer, check_mit

CHANNEL_NORM_EPS = 1e-6


@dataclass(frozen=True)
class CmNextConfig:
    """Choices of the network.

    Attributes:
        primary_bands, auxiliary_bands: channels of the two inputs.
        classes: outputs.
        widths, depths: per stage, of both encoders (MiT-B2).
        heads, reductions: attention of the primary encoder, per stage; ``heads`` are also those of the fusion.
        ffn_ratio: hidden width over width in the primary encoder.
        auxiliary_ffn_ratios: the same in the auxiliary encoder, per stage.
        pools: cells a side of the averages in the auxiliary encoder's attention; odd.
        layer_scale: what the auxiliary encoder's blocks add in the beginning, per channel.
        decoder_width, decoder: ``decoder.MlpDecoder``.
        norm_eps: epsilon of the primary encoder's LayerNorms (the original keeps torch's default in all of them).
        dropout: before the classifier, whole channels.
        drop_path: stochastic depth of the last block of both encoders; earlier ones linearly less.
    """

    primary_bands: int = 10
    auxiliary_bands: int = 2
    classes: int = len(DYNAMIC_WORLD)
    widths: tuple[int, ...] = (64, 128, 320, 512)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    heads: tuple[int, ...] = (1, 2, 5, 8)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    ffn_ratio: int = 4
    auxiliary_ffn_ratios: tuple[int, ...] = (8, 8, 4, 4)
    pools: tuple[int, ...] = (3, 7, 11)
    layer_scale: float = 1e-2
    decoder_width: int = 512
    decoder: Form = "folded"
    norm_eps: float = 1e-5
    dropout: float = 0.1
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        check_mit(self)
        check_stages(depths=self.depths, auxiliary_ffn_ratios=self.auxiliary_ffn_ratios)
        if self.primary_bands < 1 or self.auxiliary_bands < 1:
            raise UsageError(
                f"cmnext needs two inputs, not {self.primary_bands} + {self.auxiliary_bands} bands; segformer takes one"
            )
        if any(side < 1 or side % 2 == 0 for side in self.pools):
            raise UsageError(f"pools {self.pools}: an average around a cell needs an odd number of cells a side")


SMALL = CmNextConfig(
    widths=(32, 64, 96, 128),
    depths=(1, 1, 1, 1),
    heads=(1, 2, 3, 4),
    decoder_width=64,
    dropout=0.0,
    drop_path=0.0,
)
"""The same network, small enough for tests."""


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of a map, with bare parameters: the paper's rule must not know it.

    An ``nn.LayerNorm`` would be counted and shift both figures.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w), channels-last in memory."""
        last = image.permute(0, 2, 3, 1)  # (B, h, w, C)
        return F.layer_norm(last, self.weight.shape, self.weight, self.bias, CHANNEL_NORM_EPS).permute(0, 3, 1, 2)


class NeighbourhoodMeans(nn.Module):
    """A map plus its averages over squares of several sizes; outside the map nothing is averaged.

    ``form`` chooses between two orders of the same sums:

    - ``plain``: one square after the other, as counted.
    - ``fused``: columns, then rows; cells inside the map are a product of the two, so the average is too. 2 k instead
      of k x k cells are read: three times as fast on a CPU. Differs by rounding alone.
    """

    def __init__(self, sides: tuple[int, ...]) -> None:
        super().__init__()
        self.form: Literal["fused", "plain"] = "fused"
        self.sides = sides
        self.pools = nn.ModuleList(nn.AvgPool2d(side, 1, side // 2, count_include_pad=False) for side in sides)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        total = image
        for side, pool in zip(self.sides, self.pools, strict=True):
            total = total + (_mean_around(image, side) if self.form == "fused" else pool(image))
        return total


def _mean_around(image: Tensor, side: int) -> Tensor:
    columns = F.avg_pool2d(image, (side, 1), 1, (side // 2, 0), count_include_pad=False)
    return F.avg_pool2d(columns, (1, side), 1, (0, side // 2), count_include_pad=False)


class PoolingAttention(nn.Module):
    """Multi-scale pooling attention: each cell times 1 to 2, from its surroundings of up to 17 cells a side."""

    def __init__(self, channels: int, pools: tuple[int, ...]) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.means = NeighbourhoodMeans(pools)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        weights = torch.sigmoid(self.mix(self.means(self.depthwise(image))))
        return image + weights * image


class ChannelGate(nn.Module):
    """A factor of 0-1 for every channel, from its average and that of the channels beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.average = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, 1, 1)."""
        averages = self.average(image).flatten(2).transpose(1, 2)  # (B, 1, C): the convolution runs along channels
        return torch.sigmoid(self.conv(averages)).transpose(1, 2)[..., None]


class ConvFfn(nn.Module):
    """Mix-FFN on a map: 1 x 1, depthwise 3 x 3, GELU, 1 x 1."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        hidden = ratio * channels
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.contract = nn.Conv2d(hidden, channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        result: Tensor = self.contract(F.gelu(self.depthwise(self.expand(image))))
        return result


class MspaBlock(nn.Module):
    """Pooling attention with a residual, then a gate on the map beside the FFN; layer scales before each sum.

    Not a residual the second time: what passes by the FFN is the gated map.
    """

    def __init__(
        self, channels: int, *, ratio: int, pools: tuple[int, ...], drop_path: float, layer_scale: float
    ) -> None:
        super().__init__()
        self.drop_path = DropPath(drop_path)
        self.norm = nn.BatchNorm2d(channels)
        self.attention = PoolingAttention(channels, pools)
        self.attention_scale = nn.Parameter(torch.full((channels,), layer_scale))
        self.gate = ChannelGate()
        self.ffn_norm = nn.BatchNorm2d(channels)
        self.ffn = ConvFfn(channels, ratio)
        self.ffn_scale = nn.Parameter(torch.full((channels,), layer_scale))

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        attended = self.attention_scale[:, None, None] * self.attention(self.norm(image))
        image = image + self.drop_path(attended)
        changed = self.ffn_scale[:, None, None] * self.ffn(self.ffn_norm(image))
        result: Tensor = self.gate(image) * image + self.drop_path(changed)
        return result


class MspaStage(nn.Module):
    """Patch embedding, blocks, each of both ending in a channel norm; strides as ``mit.MitStage``."""

    def __init__(self, channels_in: int, stage: int, config: CmNextConfig, drop_paths: list[float]) -> None:
        super().__init__()
        width = config.widths[stage]
        kernel, stride = (7, 4) if stage == 0 else (3, 2)
        self.embed = nn.Conv2d(channels_in, width, kernel, stride, kernel // 2)
        self.embed_norm = ChannelNorm(width)
        self.blocks = nn.Sequential(
            *(
                MspaBlock(
                    width,
                    ratio=config.auxiliary_ffn_ratios[stage],
                    pools=config.pools,
                    drop_path=rate,
                    layer_scale=config.layer_scale,
                )
                for rate in drop_paths
            )
        )
        self.norm = ChannelNorm(width)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, h, w)."""
        result: Tensor = self.norm(self.blocks(self.embed_norm(self.embed(image))))
        return result


class CmNext(nn.Module):
    """A MiT and an MSPA encoder joined after every stage, and an all-MLP decoder on the fused maps."""

    def __init__(self, config: CmNextConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CmNextConfig()
        self.encoder = DualEncoder(
            _primary_stages(config), _auxiliary_stages(config), widths=config.widths, heads=config.heads
        )
        self.decoder = MlpDecoder(
            config.widths, config.decoder_width, config.classes, dropout=config.dropout, form=config.decoder
        )
        self.apply(initialise)
        quieten(self.decoder.classify)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """Float32 (B, C_p, H, W) and (B, C_a, H, W), H and W from 29 px -> logits (B, classes, H, W).

        Raises:
            UsageError: the input is too small.
        """
        check_size(primary)
        logits = self.decoder(self.encoder(primary, auxiliary))
        return upsample(logits, (primary.shape[2], primary.shape[3]))


def _primary_stages(config: CmNextConfig) -> nn.ModuleList:
    return MixTransformer(config.primary_bands, config).stages


def _auxiliary_stages(config: CmNextConfig) -> nn.ModuleList:
    rates = drop_path_rates(config.depths, config.drop_path)
    inputs = (config.auxiliary_bands, *config.widths[:-1])
    return nn.ModuleList(MspaStage(channels, stage, config, rates[stage]) for stage, channels in enumerate(inputs))
