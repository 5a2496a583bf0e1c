"""Mix Transformer (MiT), the encoder of SegFormer: one branch, four resolutions.

Source: Xie et al. 2021 (arXiv 2105.15203), section 3.1; the defaults of its users are MiT-B2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from .layers import (
    DropPath,
    Form,
    Grid,
    MixFfn,
    PatchEmbedding,
    ReducedAttention,
    as_map,
    check_heads,
    check_stages,
    drop_path_rates,
)


@dataclass(frozen=True)
class MitSize:
    """One of the six published sizes (Table 6 of the paper's appendix).

    Attributes:
        widths, depths: channels and blocks per stage; heads 1/2/5/8 and reductions 8/4/2/1 are common to all.
        decoder_width: of the all-MLP decoder that SegFormer puts behind this size.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    decoder_width: int


MIT_SIZES: dict[str, MitSize] = {
    "b0": MitSize((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": MitSize((64, 128, 320, 512), (2, 2, 2, 2), 256),
    "b2": MitSize((64, 128, 320, 512), (3, 4, 6, 3), 768),
    "b3": MitSize((64, 128, 320, 512), (3, 4, 18, 3), 768),
    "b4": MitSize((64, 128, 320, 512), (3, 8, 27, 3), 768),
    "b5": MitSize((64, 128, 320, 512), (3, 6, 40, 3), 768),
}


class MitConfig(Protocol):
    """What the settings of a network say about its MiT encoder, one value a stage where there are several."""

    @property
    def widths(self) -> tuple[int, ...]: ...
    @property
    def depths(self) -> tuple[int, ...]: ...
    @property
    def heads(self) -> tuple[int, ...]: ...
    @property
    def reductions(self) -> tuple[int, ...]: ...
    @property
    def ffn_ratio(self) -> int: ...
    @property
    def drop_path(self) -> float: ...
    @property
    def norm_eps(self) -> float: ...
    @property
    def decoder(self) -> Form: ...


def check_mit(config: MitConfig) -> None:
    """Refuse settings that do not fit each other.

    Raises:
        UsageError: they have different numbers of stages, or heads that do not divide a width.
    """
    check_stages(depths=config.depths, widths=config.widths, heads=config.heads, reductions=config.reductions)
    for stage, (width, heads) in enumerate(zip(config.widths, config.heads, strict=True)):
        check_heads(width, heads, where=f"stage {stage + 1}")


class MitBlock(nn.Module):
    """Self-attention and Mix-FFN, each pre-normed with a residual."""

    def __init__(
        self, width: int, heads: int, reduction: int, ratio: int, drop_path: float, eps: float, form: Form
    ) -> None:
        super().__init__()
        self.drop_path = DropPath(drop_path)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.attention = ReducedAttention(width, heads, reduction, form=form)
        self.ffn_norm = nn.LayerNorm(width, eps=eps)
        self.ffn = MixFfn(width, ratio)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        normed = self.norm(x)
        x = self.drop_path.add(x, self.attention(normed, normed, grid))
        return self.drop_path.add(x, self.ffn(self.ffn_norm(x), grid))


class MitStage(nn.Module):
    """Patch embedding, blocks, LayerNorm."""

    def __init__(
        self,
        channels_in: int,
        width: int,
        *,
        first: bool,
        heads: int,
        reduction: int,
        ratio: int,
        drop_paths: list[float],
        eps: float,
        form: Form,
    ) -> None:
        super().__init__()
        kernel, stride = (7, 4) if first else (3, 2)
        self.embed = PatchEmbedding(channels_in, width, kernel=kernel, stride=stride)
        self.blocks = nn.ModuleList(MitBlock(width, heads, reduction, ratio, rate, eps, form) for rate in drop_paths)
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, h, w)."""
        tokens, grid = self.embed(image)
        for block in self.blocks:
            tokens = block(tokens, grid)
        return as_map(self.norm(tokens), grid)


class MixTransformer(nn.Module):
    """Four stages at 1/4, 1/8, 1/16 and 1/32 of the input."""

    def __init__(self, bands: int, config: MitConfig) -> None:
        super().__init__()
        rates = drop_path_rates(config.depths, config.drop_path)
        self.stages = nn.ModuleList(
            MitStage(
                channels_in,
                width,
                first=stage == 0,
                heads=config.heads[stage],
                reduction=config.reductions[stage],
                ratio=config.ffn_ratio,
                drop_paths=rates[stage],
                eps=config.norm_eps,
                form=config.decoder,
            )
            for stage, (channels_in, width) in enumerate(zip((bands, *config.widths[:-1]), config.widths, strict=True))
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, bands, H, W) -> maps (B, C_i, h_i, w_i), finest first."""
        maps: list[Tensor] = []
        for stage in self.stages:
            maps.append(stage(maps[-1] if maps else image))
        return maps
