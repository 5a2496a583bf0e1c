"""SpecSAR-Former: two branches that look at each other, one shared map between stages (paper, section IV).

The two figures that the paper prints (26.70 M parameters, 109.59 GFLOP) leave one configuration of its text; it is the
default here, with exactly 26,704,265 parameters and 109.5902 GFLOP by the paper's rule (``cost.py``) for 10 + 2 bands
at 512 px. What the figures cannot decide is a field of ``SpecSarFormerConfig``, each with its default and reason.

Letters as in ``layers.py``; p is the primary (spectral), a the auxiliary (SAR) branch, C_p + C_a = C. Choices that lie
outside the network: which of the 11 bands is left out (``pipeline/bands.py``), and where the loss is taken (at full
resolution, ``train.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..pipeline.errors import UsageError
from ..pipeline.spec.classes import DYNAMIC_WORLD
from .blocks.decoder import MlpDecoder
from .blocks.layers import (
    AttentionScale,
    DropPath,
    Form,
    Grid,
    MixFfn,
    PatchConv,
    PatchEmbedding,
    ReducedAttention,
    as_map,
    as_tokens,
    check_heads,
    check_size,
    check_stages,
    drop_path_rates,
    full_precision,
    initialise,
    quieten,
    upsample,
)


@dataclass(frozen=True)
class SpecSarFormerConfig:
    """Every choice of the network; the defaults are those of the paper, or, where it is silent, SegFormer's.

    Attributes:
        primary_bands, auxiliary_bands: channels of the two inputs. 10 + 2 fits the printed figures, 11 + 2 does not.
        classes: outputs; 9 fits the printed figures, 10 (with "unlabelled") does not.
        widths: channels C of each stage's fused map (MiT-B2).
        depths: blocks per stage.
        heads: attention heads per stage.
        auxiliary_heads: the same for the auxiliary branch; None: as ``heads``. Not decided by the figures.
        attention_scale: softmax scale from the width of a ``head`` or from the whole ``width``. Not decided.
        reductions: factor in both directions by which keys and values are reduced.
        ffn_ratio: hidden width of the Mix-FFN over its width.
        split: shares of primary : auxiliary in C (Table VI).
        decoder_width: channels of the decoder; 768 fits, 256 and 512 do not.
        decoder: order of sums, ``folded`` or ``plain`` as published: in the decoder (``decoder.MlpDecoder``) above all,
            and around attention (``layers.ReducedAttention``, ``CrossAttention``); changes rounding alone.
        self_attention, cross_attention, aggregation: the three modules that Table IV switches.
        cross_order: ``parallel``: both directions read the features after self-attention; ``sequential``: the auxiliary
            branch reads the primary one after its cross-attention. Not decided.
        cross_mlp: the MLP of eq. 3: ``linear``, one Linear and an output projection, or ``two-layer``, two Linear with
            a GELU and no output projection. Equal in every figure.
        stage_norm: LayerNorm at the end of a stage: per branch ``before`` the aggregation, or on the fused map
            ``after`` it. Equal in every figure.
        merge_norm: LayerNorm of the patch merging ``before`` or ``after`` the split into branches. Equal in every
            figure.
        aggregation_activation: between the two FC layers of the MMAM. Not decided.
        aggregation_bias: bias of the MMAM's FC layers. Both fit the two printed decimals (26.7022 M without).
        aggregation_pool: global average by an ``AdaptiveAvgPool2d`` module or by ``mean``; one number, counted
            differently (109.5902 and 109.5861 GFLOP).
        aggregation_residual: F + M F instead of eq. 5's M F.
        norm_eps: epsilon of LayerNorms, but 1e-5 after patch embeddings and reductions (as SegFormer).
        dropout: before the classifier, whole channels.
        attention_dropout: on attention weights.
        drop_path: stochastic depth of the last block; earlier ones linearly less.
        output: ``resize`` the logits to the input's size, or 4 x and ``crop`` (``layers.upsample``). Not decided.
    """

    primary_bands: int = 10
    auxiliary_bands: int = 2
    classes: int = len(DYNAMIC_WORLD)
    widths: tuple[int, ...] = (64, 128, 320, 512)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    heads: tuple[int, ...] = (1, 2, 5, 8)
    auxiliary_heads: tuple[int, ...] | None = None
    attention_scale: AttentionScale = "head"
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    ffn_ratio: int = 4
    split: tuple[int, int] = (3, 1)
    decoder_width: int = 768
    decoder: Form = "folded"
    self_attention: bool = True
    cross_attention: bool = True
    aggregation: bool = True
    cross_order: Literal["parallel", "sequential"] = "parallel"
    cross_mlp: Literal["linear", "two-layer"] = "linear"
    stage_norm: Literal["before", "after"] = "before"
    merge_norm: Literal["before", "after"] = "before"
    aggregation_activation: Literal["relu", "gelu"] = "relu"
    aggregation_bias: bool = True
    aggregation_pool: Literal["module", "mean"] = "module"
    aggregation_residual: bool = False
    norm_eps: float = 1e-6
    dropout: float = 0.1
    attention_dropout: float = 0.0
    drop_path: float = 0.1
    output: Literal["resize", "crop"] = "resize"

    def __post_init__(self) -> None:
        check_stages(depths=self.depths, widths=self.widths, heads=self.heads, reductions=self.reductions)
        check_stages(depths=self.depths, auxiliary_heads=self.heads_of_auxiliary)
        if self.primary_bands < 1 or self.auxiliary_bands < 1:
            raise UsageError(
                f"specsar-former needs two inputs, not {self.primary_bands} + {self.auxiliary_bands} bands; "
                "segformer takes one"
            )
        for stage, width in enumerate(self.widths):
            if width * self.split[0] % sum(self.split):
                raise UsageError(f"split {self.split} does not divide {width} channels of stage {stage + 1}")
            primary, auxiliary = self.branch_widths(stage)
            check_heads(primary, self.heads[stage], where=f"stage {stage + 1}, primary branch")
            check_heads(auxiliary, self.heads_of_auxiliary[stage], where=f"stage {stage + 1}, auxiliary branch")

    @property
    def heads_of_auxiliary(self) -> tuple[int, ...]:
        return self.heads if self.auxiliary_heads is None else self.auxiliary_heads

    def branch_widths(self, stage: int) -> tuple[int, int]:
        """(C_p, C_a) of a stage, counted from 0."""
        primary = self.widths[stage] * self.split[0] // sum(self.split)
        return primary, self.widths[stage] - primary


SMALL = SpecSarFormerConfig(
    widths=(32, 64, 96, 128),
    depths=(1, 1, 1, 1),
    heads=(1, 2, 3, 4),
    decoder_width=64,
    dropout=0.0,
    drop_path=0.0,
)
"""The same network, small enough to be trained on two CPU cores."""


class CrossAttention(nn.Module):
    """What one branch takes from the other (eq. 3): Attention(norm(x), MLP(other)); the residual is the caller's.

    The other branch's tokens enter the MLP as they are, without a norm. Where a reducing convolution follows the MLP's
    one Linear, nothing lies between the two, and ``form`` chooses their order as in ``decoder.MlpDecoder``: ``folded``
    multiplies their weights out and goes from the other branch's tokens to the reduced ones in one convolution, without
    the mapped tokens at full resolution.
    """

    def __init__(self, width: int, other: int, heads: int, reduction: int, config: SpecSarFormerConfig) -> None:
        super().__init__()
        two_layer = config.cross_mlp == "two-layer"
        self.form: Form = config.decoder
        self.foldable = reduction > 1 and not two_layer
        self.norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.mlp: nn.Module = nn.Linear(other, width)
        if two_layer:
            self.mlp = nn.Sequential(self.mlp, nn.GELU(), nn.Linear(width, width))
        self.attention = ReducedAttention(
            width,
            heads,
            reduction,
            projection=not two_layer,
            scale=config.attention_scale,
            dropout=config.attention_dropout,
            form=config.decoder,
        )

    def forward(self, x: Tensor, other: Tensor, grid: Grid) -> Tensor:
        """(B, N, C), (B, N, C_other) -> (B, N, C)."""
        if self.foldable and self.form == "folded":
            return self.attention.attend(self.norm(x), self._reduced(other, grid))
        result: Tensor = self.attention(self.norm(x), self.mlp(other), grid)
        return result

    def _reduced(self, other: Tensor, grid: Grid) -> Tensor:
        """(B, N, C_other) -> (B, N / reduction^2, C), what the reducing convolution gives of the mapped tokens."""
        mlp, reduce = self.mlp, self.attention.reduce
        assert isinstance(mlp, nn.Linear)
        with full_precision(other.device.type):
            weight = torch.einsum("oikl,ia->oakl", reduce.weight, mlp.weight)
            bias = torch.einsum("oikl,i->o", reduce.weight, mlp.bias)
        bias = bias if reduce.bias is None else bias + reduce.bias
        return as_tokens(F.conv2d(as_map(other, grid), weight, bias, reduce.stride))


class BranchBlock(nn.Module):
    """One branch's share of a DMEM: self-attention, cross-attention, Mix-FFN, each pre-normed with a residual."""

    def __init__(
        self, width: int, other: int, heads: int, reduction: int, drop_path: float, config: SpecSarFormerConfig
    ) -> None:
        super().__init__()
        self.drop_path = DropPath(drop_path)
        if config.self_attention:
            self.self_norm = nn.LayerNorm(width, eps=config.norm_eps)
            self.self_attention = ReducedAttention(
                width,
                heads,
                reduction,
                scale=config.attention_scale,
                dropout=config.attention_dropout,
                form=config.decoder,
            )
        if config.cross_attention:
            self.cross_attention = CrossAttention(width, other, heads, reduction, config)
        self.ffn_norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.ffn = MixFfn(width, config.ffn_ratio)

    def attend(self, x: Tensor, grid: Grid) -> Tensor:
        normed = self.self_norm(x)
        return self.drop_path.add(x, self.self_attention(normed, normed, grid))

    def cross(self, x: Tensor, other: Tensor, grid: Grid) -> Tensor:
        return self.drop_path.add(x, self.cross_attention(x, other, grid))

    def feed(self, x: Tensor, grid: Grid) -> Tensor:
        return self.drop_path.add(x, self.ffn(self.ffn_norm(x), grid))


class DualModalEnhancement(nn.Module):
    """DMEM: one block of both branches (section IV-B2)."""

    def __init__(self, stage: int, drop_path: float, config: SpecSarFormerConfig) -> None:
        super().__init__()
        self.config = config
        primary, auxiliary = config.branch_widths(stage)
        reduction = config.reductions[stage]
        self.primary = BranchBlock(primary, auxiliary, config.heads[stage], reduction, drop_path, config)
        self.auxiliary = BranchBlock(auxiliary, primary, config.heads_of_auxiliary[stage], reduction, drop_path, config)

    def forward(self, p: Tensor, a: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """(B, N, C_p), (B, N, C_a) -> the same shapes."""
        if self.config.self_attention:
            p, a = self.primary.attend(p, grid), self.auxiliary.attend(a, grid)
        if self.config.cross_attention:
            crossed = self.primary.cross(p, a, grid)
            source = p if self.config.cross_order == "parallel" else crossed
            p, a = crossed, self.auxiliary.cross(a, source, grid)
        return self.primary.feed(p, grid), self.auxiliary.feed(a, grid)


class MutualModalAggregation(nn.Module):
    """MMAM: channel weights for both branches out of the global average of both (eq. 5-7).

    The hidden width of each MLP is its branch's own: the only form that gives the printed parameters.
    """

    def __init__(self, primary: int, auxiliary: int, config: SpecSarFormerConfig) -> None:
        super().__init__()
        self.residual = config.aggregation_residual
        self.pool = nn.AdaptiveAvgPool2d(1) if config.aggregation_pool == "module" else None
        self.mlps = nn.ModuleList(_gate(primary + auxiliary, width, config) for width in (primary, auxiliary))

    def forward(self, features: Tensor, grid: Grid) -> Tensor:
        """Concatenated tokens (B, N, C) -> weighted tokens (B, N, C)."""
        pooled = features.mean(1) if self.pool is None else self.pool(as_map(features, grid)).flatten(1)  # (B, C)
        weights = torch.sigmoid(torch.cat([mlp(pooled) for mlp in self.mlps], dim=1))[:, None]  # (B, 1, C)
        weighted = features * weights
        return features + weighted if self.residual else weighted


def _gate(width_in: int, width: int, config: SpecSarFormerConfig) -> nn.Sequential:
    activation = {"relu": nn.ReLU, "gelu": nn.GELU}[config.aggregation_activation]()
    first = nn.Linear(width_in, width, bias=config.aggregation_bias)
    return nn.Sequential(first, activation, nn.Linear(width, width, bias=config.aggregation_bias))


class Merging(nn.Module):
    """Overlapped patch merging of the fused map of the stage before, then the split into two branches."""

    def __init__(self, stage: int, config: SpecSarFormerConfig) -> None:
        super().__init__()
        self.widths = list(config.branch_widths(stage))
        self.norm_before_split = config.merge_norm == "before"
        self.patches = PatchConv(config.widths[stage - 1], sum(self.widths), kernel=3, stride=2)
        norms = [sum(self.widths)] if self.norm_before_split else self.widths
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in norms)

    def forward(self, fused: Tensor) -> tuple[Tensor, Tensor, Grid]:
        """(B, C_before, h, w) -> tokens (B, N, C_p), (B, N, C_a) and their grid."""
        tokens, grid = self.patches(fused)
        if self.norm_before_split:
            p, a = self.norms[0](tokens).split(self.widths, dim=2)
        else:
            p, a = (norm(half) for norm, half in zip(self.norms, tokens.split(self.widths, dim=2), strict=True))
        return p, a, grid


class Stage(nn.Module):
    """Blocks of one resolution and the fusion of their result."""

    def __init__(self, stage: int, drop_paths: list[float], config: SpecSarFormerConfig) -> None:
        super().__init__()
        widths = config.branch_widths(stage)
        self.norm_per_branch = config.stage_norm == "before"
        self.blocks = nn.ModuleList(DualModalEnhancement(stage, rate, config) for rate in drop_paths)
        norms = widths if self.norm_per_branch else (sum(widths),)
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=config.norm_eps) for width in norms)
        self.aggregation = MutualModalAggregation(*widths, config) if config.aggregation else None

    def forward(self, p: Tensor, a: Tensor, grid: Grid) -> Tensor:
        """Tokens (B, N, C_p), (B, N, C_a) -> fused map (B, C, h, w)."""
        for block in self.blocks:
            p, a = block(p, a, grid)
        if self.norm_per_branch:
            p, a = self.norms[0](p), self.norms[1](a)
        fused = torch.cat([p, a], dim=2)
        if self.aggregation is not None:
            fused = self.aggregation(fused, grid)
        if not self.norm_per_branch:
            fused = self.norms[0](fused)
        return as_map(fused, grid)


class SpecSarFormer(nn.Module):
    """The whole network: logits at the input's size, whatever that is (29 px a side or more).

    510 px give 128 tokens a side, as 512 px do: the stem's padding covers the rest, nothing is cropped.
    """

    def __init__(self, config: SpecSarFormerConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SpecSarFormerConfig()
        primary, auxiliary = config.branch_widths(0)
        self.embed_primary = PatchEmbedding(config.primary_bands, primary, kernel=7, stride=4)
        self.embed_auxiliary = PatchEmbedding(config.auxiliary_bands, auxiliary, kernel=7, stride=4)
        self.mergings = nn.ModuleList(Merging(stage, config) for stage in range(1, len(config.widths)))
        rates = drop_path_rates(config.depths, config.drop_path)
        self.stages = nn.ModuleList(Stage(stage, rates[stage], config) for stage in range(len(config.widths)))
        self.decoder = MlpDecoder(
            config.widths, config.decoder_width, config.classes, dropout=config.dropout, form=config.decoder
        )
        self.apply(initialise)
        quieten(self.decoder.classify)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """Float32 (B, C_p, H, W) and (B, C_a, H, W), normalised, 0 = no data -> logits (B, classes, H, W)."""
        check_size(primary)
        p, grid = self.embed_primary(primary)
        a, _ = self.embed_auxiliary(auxiliary)
        maps = [self.stages[0](p, a, grid)]
        for merging, stage in zip(self.mergings, list(self.stages)[1:], strict=True):
            p, a, grid = merging(maps[-1])
            maps.append(stage(p, a, grid))
        logits = self.decoder(maps)
        return upsample(logits, (primary.shape[2], primary.shape[3]), self.config.output)
