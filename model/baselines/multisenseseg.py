"""MultiSenseSeg: experts for each input, one windowed encoder, a convolutional pyramid, and gated decoding.

Source: Wang et al. 2024, "MultiSenseSeg: A Cost-Effective Unified Multimodal Semantic Segmentation Model for Remote
Sensing", TGRS 62, DOI 10.1109/TGRS.2024.3390750. With 10 + 2 bands at 512 px it has the 58.62 M parameters (58,624,585)
and 531.50 GFLOP of Table II by the paper's rule, auxiliary head included (529.69 without). The rule does not see the
36,450 relative positions and 4 scales: in truth there are 58,661,039 parameters.

Written from the list of layers that these figures leave, and compared with the authors' code (W-qp/MultiSenseSeg): the
same weights give the same logits. Its dropouts, aligned corners and rolling of small grids have no part in the figures
and are settings; all of ``OLDER_FORM`` together is what earlier versions of this package built. Where a shifted window
holds tokens of opposite edges, they do not see each other; the original adds -100 to their scores, which comes to the
same in float32. Initialisation is Swin's and SegFormer's: truncated normal of 0.02 for Linear layers and relative
positions, fan-out normal for convolutions (the original leaves PyTorch's defaults). We compute some parts in another
order that gives the same sums, see ``form`` of ``WindowAttention`` and ``MultimodalMatching``.

Letters: B batch, H and W the input in pixels, maps (B, C, h, w).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...pipeline.errors import UsageError
from ...pipeline.spec.classes import DYNAMIC_WORLD
from ..blocks.convolutions import conv_norm, tied
from ..blocks.layers import check_heads, check_stages, initialise, quieten, resize
from ..blocks.modality_fusion import PATCH, ChannelGate, FuseHead
from ..blocks.padding import run_padded
from ..blocks.windowed import FfnResidual, WindowEncoder, WindowSettings, query_width
from ..domains import check_domains

STAGES = 4
MULTIPLE = PATCH * 2 ** (STAGES - 1)
"""Sides in pixels are brought to a multiple of 32: patches of 4, and three mergings of 2 x 2."""


@dataclass(frozen=True)
class MultiSenseSegConfig:
    """Choices of the network; the defaults are the original's, which fit the printed figures.

    Attributes:
        primary_bands, auxiliary_bands: channels of the two inputs; both are needed.
        classes: outputs.
        expert_width: channels of each input's expert.
        group_width: channels of a group in grouped convolutions.
        width: channels at 1/4; twice as many at each further stage.
        depths, heads: of the four stages.
        window: tokens along a window.
        ffn_ratio: hidden width of the feed-forward part.
        query_ratio: how much narrower queries and keys are than values.
        ffn_residual: the residual inside the feed-forward part, around the whole of it (``normed``) or around its
            depthwise convolution (``hidden``).
        fuse_heads: heads of the matching of channels; they share out (H / 8 - 2) x (W / 8 - 2) positions.
        offset_scale: end of the log-spaced channel offsets.
        gate_ratio: narrowing inside channel gates.
        decoder_width: channels of the pyramid; decoding and the auxiliary head have half of them.
        pools: cells a side of the pyramid's max-pooling.
        aux: whether there is an auxiliary head.
        drop_path: stochastic depth of the last block; earlier ones linearly less.
        dropout: of the encoder's tokens, of what its attention projects, and within its feed-forward parts.
        attention_dropout: of attention weights, between windows' tokens and between channels, and of what the matching
            of channels mixes.
        align_corners: whether resizing puts the centres of corner cells onto those of corner pixels.
        roll_single: whether shifted windows also roll a grid that one window covers (at most 256 px at 1/32), see
            ``windowed.Windows``.
    """

    OLDER_FORM: ClassVar[Mapping[str, Any]] = {
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "align_corners": False,
        "roll_single": False,
    }

    primary_bands: int = 10
    auxiliary_bands: int = 2
    classes: int = len(DYNAMIC_WORLD)
    expert_width: int = 32
    group_width: int = 8
    width: int = 96
    depths: tuple[int, ...] = (2, 2, 8, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 8
    ffn_ratio: int = 4
    query_ratio: float = 1.5
    ffn_residual: FfnResidual = "normed"
    fuse_heads: int = 4
    offset_scale: int = 8
    gate_ratio: int = 8
    decoder_width: int = 512
    pools: tuple[int, ...] = (1, 2, 3, 6)
    aux: bool = True
    drop_path: float = 0.1
    dropout: float = 0.1
    attention_dropout: float = 0.1
    align_corners: bool = True
    roll_single: bool = True

    def __post_init__(self) -> None:
        if self.primary_bands < 1 or self.auxiliary_bands < 1:
            raise UsageError(
                f"multisenseseg needs two inputs, not {self.primary_bands} + {self.auxiliary_bands} bands; "
                "choose a single-input model such as segformer"
            )
        check_domains(self)
        if self.offset_scale < 2:
            raise UsageError(f"offset_scale is {self.offset_scale}; choose 2 or more: its logarithm divides")
        if len(self.depths) != STAGES:
            raise UsageError(f"multisenseseg has {STAGES} stages; depths has {len(self.depths)} values")
        check_stages(depths=self.depths, heads=self.heads)
        for stage, (width, heads) in enumerate(zip(self.widths, self.heads, strict=True)):
            check_heads(width, heads, where=f"stage {stage + 1}")
            if query_width(width, heads, self.query_ratio) < 1:
                raise UsageError(f"query_ratio {self.query_ratio} leaves no queries in stage {stage + 1}; choose less")
        if self.fuse_heads not in (1, 2, 4):  # sides of 32 i and 32 j px leave (4 i - 2) (4 j - 2) positions
            raise UsageError(f"fuse_heads is {self.fuse_heads}; choose 1, 2 or 4: no other divides every size")
        if min(self.expert_width, self.decoder_width // 2) < self.gate_ratio:
            raise UsageError(
                f"gate_ratio {self.gate_ratio} leaves channel gates without channels; choose at most expert_width "
                f"({self.expert_width}) and half of decoder_width ({self.decoder_width})"
            )
        for name, width in (("width", self.width), ("half of expert_width", self.expert_width // 2)):
            if width % self.group_width:
                raise UsageError(f"{name} is {width}; choose a multiple of group_width, {self.group_width}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.width * 2**stage for stage in range(STAGES))


SMALL = MultiSenseSegConfig(
    expert_width=16,
    group_width=4,
    width=32,
    depths=(2, 2, 2, 2),
    heads=(2, 2, 4, 4),
    window=4,
    ffn_ratio=2,
    decoder_width=32,
    drop_path=0.0,
    dropout=0.0,
    attention_dropout=0.0,
)
"""All parts, few channels; 64 px leave windows of all kinds: many, one, and one that reaches beyond the grid."""


class MaxPyramidPooling(nn.Module):
    """Pyramid pooling by maxima instead of means, merged by a 3 x 3 convolution."""

    def __init__(self, channels_in: int, channels: int, pools: tuple[int, ...], *, align_corners: bool = False) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.levels = nn.ModuleList(
            nn.Sequential(nn.AdaptiveMaxPool2d(side), conv_norm(channels_in, channels)) for side in pools
        )
        self.merge = conv_norm(channels_in + len(pools) * channels, channels, 3)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, C, h, w)."""
        enlarge = partial(resize, size=image.shape[-2:], align_corners=self.align_corners)
        levels = [enlarge(level(image)) for level in self.levels]
        result: Tensor = self.merge(torch.cat([image, *levels], dim=1))
        return result


class PyramidNeck(nn.Module):
    """Maps of all stages, coarsest to finest, then all of them together at 1/4 (as UPerNet, arXiv 1807.10221)."""

    def __init__(
        self, widths: tuple[int, ...], channels: int, pools: tuple[int, ...], *, align_corners: bool = False
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.pool = MaxPyramidPooling(widths[-1], channels, pools, align_corners=align_corners)
        self.laterals = nn.ModuleList(conv_norm(width, channels) for width in widths[:-1])
        self.smooths = nn.ModuleList(conv_norm(channels, channels, 3) for _ in widths[:-1])
        self.fuse = conv_norm(len(widths) * channels, channels, 3)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """(B, C_i, h_i, w_i), finest first -> (B, C, h_1, w_1)."""
        enlarge = partial(resize, align_corners=self.align_corners)
        pyramid = [self.pool(maps[-1])]
        for stage in reversed(range(len(maps) - 1)):
            finer = maps[stage]
            up = self.smooths[stage](enlarge(pyramid[0], finer.shape[-2:]))
            pyramid.insert(0, up + self.laterals[stage](finer))
        result: Tensor = self.fuse(torch.cat([enlarge(one, maps[0].shape[-2:]) for one in pyramid], dim=1))
        return result


class DetailGate(nn.Module):
    """A map times a factor of 0 to 1 at each place, which the map and the details at full resolution decide."""

    def __init__(self, width: int, details: int) -> None:
        super().__init__()
        self.map = conv_norm(width, width, bias=True, activation=None)
        self.pool = nn.MaxPool2d(PATCH)
        self.details = conv_norm(details, width, bias=True, activation=None)
        self.gate = nn.Sequential(nn.ReLU(), *conv_norm(width, 1, bias=True, activation=None), nn.Sigmoid())

    def forward(self, image: Tensor, details: Tensor) -> Tensor:
        """(B, C, h, w), (B, D, 4 h, 4 w) -> (B, C, h, w)."""
        mapped = self.map(image)
        result: Tensor = mapped * self.gate(mapped + self.details(self.pool(details)))
        return result


class GatedDecoder(nn.Module):
    """The neck's map, gated by place and by channel, and its classification."""

    def __init__(self, width: int, details: int, classes: int, ratio: int) -> None:
        super().__init__()
        half = width // 2
        self.reduce = conv_norm(width, half, 3, activation=None)
        self.detail_gate = DetailGate(half, details)
        self.channel_gate = ChannelGate(half, ratio)
        self.mix = conv_norm(half, half, 3, groups=half, bias=True, activation=None)
        self.expand = nn.Conv2d(half, width, 1, bias=False)
        self.activation = nn.ReLU()
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor, details: Tensor) -> Tensor:
        """(B, C, h, w), (B, D, 4 h, 4 w) -> logits (B, classes, h, w)."""
        reduced = self.reduce(image)
        gated = self.detail_gate(reduced, details) + self.channel_gate(reduced)
        logits: Tensor = self.classify(self.activation(image + self.expand(self.mix(gated))))
        return logits


class MultiSenseSeg(nn.Module):
    """Two inputs, fused at 1/4, one encoder, logits and auxiliary logits."""

    def __init__(self, config: MultiSenseSegConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MultiSenseSegConfig()
        half = config.decoder_width // 2
        self.fuse_head = FuseHead(
            (config.primary_bands, config.auxiliary_bands),
            width=config.expert_width,
            group_width=config.group_width,
            channels=config.width,
            heads=config.fuse_heads,
            offset_scale=config.offset_scale,
            ratio=config.gate_ratio,
            dropout=config.attention_dropout,
        )
        self.encoder = WindowEncoder(
            config.width,
            depths=config.depths,
            heads=config.heads,
            drop_path=config.drop_path,
            settings=WindowSettings(
                config.window,
                config.ffn_ratio,
                config.query_ratio,
                config.group_width,
                config.ffn_residual,
                dropout=config.dropout,
                attention_dropout=config.attention_dropout,
                roll_single=config.roll_single,
            ),
        )
        self.neck = PyramidNeck(config.widths, config.decoder_width, config.pools, align_corners=config.align_corners)
        self.decoder = GatedDecoder(config.decoder_width, config.expert_width, config.classes, config.gate_ratio)
        if config.aux:
            self.aux_head = nn.Sequential(conv_norm(config.widths[2], half, 3), nn.Conv2d(half, config.classes, 1))
        self.apply(initialise)
        quieten(self.decoder.classify)
        if config.aux:
            quieten(self.aux_head[-1])

    @property
    def has_aux(self) -> bool:
        return self.config.aux

    def forward(self, primary: Tensor, auxiliary: Tensor, *, aux: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Float32 (B, C_p, H, W) and (B, C_a, H, W) -> logits (B, classes, H, W); with ``aux`` those of both heads.

        Raises:
            UsageError: ``aux`` is set and the network has no auxiliary head.
        """
        if aux and not self.has_aux:
            raise UsageError("this multisenseseg has no auxiliary head; build it with aux = true")
        if aux:
            return run_padded(self._both_logits, primary, auxiliary, multiple=MULTIPLE)
        return run_padded(self._logits, primary, auxiliary, multiple=MULTIPLE)

    def _logits(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        logits, third = self._decoded(primary, auxiliary)
        if self.training and self.has_aux:
            logits = tied(logits, self.aux_head(third))
        return self._enlarged(logits, primary)

    def _both_logits(self, primary: Tensor, auxiliary: Tensor) -> tuple[Tensor, Tensor]:
        logits, third = self._decoded(primary, auxiliary)
        return self._enlarged(logits, primary), self._enlarged(self.aux_head(third), primary)

    def _enlarged(self, logits: Tensor, like: Tensor) -> Tensor:
        return resize(logits, like.shape[-2:], align_corners=self.config.align_corners)

    def _decoded(self, primary: Tensor, auxiliary: Tensor) -> tuple[Tensor, Tensor]:
        """Logits at 1/4 and the encoder's third map, at 1/16."""
        patches, details = self.fuse_head(primary, auxiliary)
        maps = self.encoder(patches)
        return self.decoder(self.neck(maps), details), maps[2]
