"""ViT-Adapter-B with UPerNet: the ViT-Adapter row of Tables I and II.

A plain vision transformer at 1/16, beside it a convolutional pyramid at 1/8, 1/16 and 1/32. Four times the transformer
looks up the pyramid before three of its blocks (injector) and the pyramid looks up the transformer after them
(extractor), both by deformable attention. Source: Chen et al. 2023, ICLR (arXiv 2205.08534), section 3; deformable
attention: Zhu et al. 2021 (arXiv 2010.04159), section 4.1; ViT-B/16: Dosovitskiy et al. 2021 (arXiv 2010.11929).

This is the authors' configuration for ADE20K (base, UPerNet with 512 channels, DeiT's position table) with 12 bands and
9 classes: 133,530,665 parameters, of which the paper's rule sees 133,355,561, and 773.5 GFLOP by that rule at 512 px.
**The row of Table II, 179.35 M and 1978.31 GFLOP, is not this network and could not be identified**: no choice of
width, depth, heads, ratios and head gave both figures. They mean a heavier head at 1/4, which ``head_channels`` gives:
168.95 M and 1302.5 GFLOP with 768, 217.52 M and 2039.3 GFLOP with 1024.

By the rule invisible: the position table (197 x 768), the level embedding (3 x 768), the injectors' gamma (4 x 768) and
the layer scales (12 x 2 x 768), which are bare parameters, and the sampling, attention products and softmax, which are
functions.

Where this differs from the authors' code:

- Trained from scratch here: no DeiT weights. Linear layers start from a truncated normal distribution of 0.02, as do
  the positions; the patch embedding as torch leaves it (as in DeiT); convolutions by fan-out; the level embedding from
  a standard normal distribution; deformable attention as its authors have it (``DeformableAttention.initialise``).
- BatchNorm2d instead of its synchronised form; deformable attention through ``grid_sample`` instead of a CUDA kernel.
- Sides that 32 does not divide are padded (``model.blocks.padding``).
- The auxiliary head is an option and off: the count above has none. With it 135,302,962 parameters.

Drop path is 0.3 as there: rising from 0 to 0.3 over the transformer's blocks, 0.3 in every extractor.

Letters: B batch, C channels, d channels of a head, h and w a grid, N = h x w tokens of the transformer, S tokens of the
pyramid (all levels, finest first, row by row), Q queries, P points. Tokens are (B, N, C).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...pipeline.errors import UsageError
from ...pipeline.spec.classes import DYNAMIC_WORLD
from ..blocks.convolutions import DropoutUnit, conv_norm, head, tied
from ..blocks.layers import DropPath, Grid, as_map, as_tokens, check_heads, drop_path_rates, initialise, quieten, resize
from ..blocks.padding import run_padded
from ..blocks.upernet import UPerNet
from ..domains import check_domains

PATCH_PX = 16
MULTIPLE_PX = 32
"""Sides have to be a multiple of the coarsest level's stride."""

INTERACTIONS = 4
"""One for each of the four maps: the transformer's tokens after interaction i are added to map i."""

LEVELS = 3
"""Levels of the pyramid that take part in the interactions: 1/8, 1/16 and 1/32."""


@dataclass(frozen=True)
class VitAdapterConfig:
    """Choices of the network. Bands of both inputs are concatenated.

    Attributes:
        prior_width: channels of the spatial prior's stem; its levels have 1, 2, 4 and 4 times as many.
        deform_heads, deform_points, deform_ratio: heads and points per level of the deformable attention, and the width
            of its values as a share of ``width``.
        extractor_ffn_ratio: hidden width of an extractor's feed-forward network as a share of ``width``.
        position_side: side of the position table; 14 for DeiT's 224 px.
        aux: train a second, plain head on the map at 1/16 too.
        layer_scale: multiply what each of the transformer's residual branches adds with a learned factor per channel,
            1 at the start; 18,432 parameters. Without it, as in earlier versions of this package, 133,512,233 in all.
        aux_dropout_unit: whether dropout in the auxiliary head leaves out whole channels, as mmsegmentation's heads do,
            or single numbers.
        checkpointing: compute the interactions anew in the backward pass: slower, in much less memory.
    """

    OLDER_FORM: ClassVar[Mapping[str, Any]] = {"layer_scale": False, "aux_dropout_unit": "numbers"}

    primary_bands: int = 10
    auxiliary_bands: int = 2
    classes: int = len(DYNAMIC_WORLD)
    width: int = 768
    depth: int = 12
    heads: int = 12
    ffn_ratio: int = 4
    layer_scale: bool = True
    prior_width: int = 64
    deform_heads: int = 12
    deform_points: int = 4
    deform_ratio: float = 0.5
    extractor_ffn_ratio: float = 0.25
    position_side: int = 14
    head_channels: int = 512
    aux: bool = False
    aux_channels: int = 256
    aux_dropout_unit: DropoutUnit = "channels"
    norm_eps: float = 1e-6
    dropout: float = 0.1
    drop_path: float = 0.3
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.primary_bands < 1 or self.auxiliary_bands < 0:
            raise UsageError(f"vit-adapter needs at least one band, not {self.primary_bands} + {self.auxiliary_bands}")
        check_domains(self)
        if self.depth < 1 or self.depth % INTERACTIONS:
            raise UsageError(f"vit-adapter: depth {self.depth} is no multiple of {INTERACTIONS}; choose 4, 8, 12, ...")
        if not (math.isfinite(self.deform_ratio) and math.isfinite(self.extractor_ffn_ratio)):
            raise UsageError(
                f"vit-adapter: deform_ratio is {self.deform_ratio}, extractor_ffn_ratio {self.extractor_ffn_ratio}; "
                "finite numbers above 0 are wanted"
            )
        if min(self.deform_width, self.extractor_width) < 1:
            raise UsageError(
                f"vit-adapter: deform_ratio {self.deform_ratio} or extractor_ffn_ratio {self.extractor_ffn_ratio} "
                f"leaves nothing of {self.width} channels; choose larger ones"
            )
        check_heads(self.width, self.heads, where="transformer")
        check_heads(self.deform_width, self.deform_heads, where="deformable attention")

    @property
    def deform_width(self) -> int:
        """Channels of the values of all heads of a deformable attention."""
        return int(self.width * self.deform_ratio)

    @property
    def extractor_width(self) -> int:
        """Hidden channels of an extractor's feed-forward network."""
        return int(self.width * self.extractor_ffn_ratio)


SMALL = VitAdapterConfig(
    width=32,
    depth=4,
    heads=4,
    prior_width=8,
    deform_heads=4,
    position_side=3,
    head_channels=16,
    aux_channels=16,
    dropout=0.0,
    drop_path=0.0,
)
"""One block per interaction and 32 channels."""


class ImageGrids(NamedTuple):
    """Grids of one image, and the centres of their cells as ``centres`` gives them."""

    patches: Grid
    levels: tuple[Grid, ...]
    patch_centres: Tensor
    level_centres: Tensor


def grids_of(image: Tensor) -> ImageGrids:
    """Grids of the transformer and of the pyramid for an image (B, bands, H, W) with sides that 32 divides."""
    height, width = image.shape[-2:]
    eighth, patches, coarsest = ((height // stride, width // stride) for stride in (8, PATCH_PX, MULTIPLE_PX))
    levels = (eighth, patches, coarsest)
    return ImageGrids(patches, levels, centres((patches,), like=image), centres(levels, like=image))


def centres(grids: tuple[Grid, ...], *, like: Tensor) -> Tensor:
    """Centres of the cells of all grids, (sum of h x w, 2), as (x, y); 0 and 1 are the outer edges of the image.

    In float32 at least: neighbouring bfloat16 numbers below 1 are a quarter of a cell of a 64 x 64 grid apart.
    """
    dtype = _precise(like.dtype)
    pairs = []
    for height, width in grids:
        y = (torch.arange(height, dtype=dtype, device=like.device) + 0.5) / height
        x = (torch.arange(width, dtype=dtype, device=like.device) + 0.5) / width
        pairs.append(torch.stack([x.repeat(height), y.repeat_interleave(width)], dim=1))
    return torch.cat(pairs)


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def sample(value: Tensor, grids: tuple[Grid, ...], locations: list[Tensor], weights: Tensor) -> Tensor:
    """Weighted sums of a pyramid's values at given places: eq. 3 of Zhu et al. without its projections.

    A value between cell centres is bilinear; whatever lies outside the map counts as zero.

    Args:
        value: (B, S, heads, d), the cells of all levels.
        grids: (h, w) of every level, in the order of ``value``.
        locations: for every level (B, Q, heads, P, 2), as (x, y); 0 and 1 are the outer edges of the map.
        weights: (B, Q, heads, levels, P).

    Returns:
        (B, Q, heads * d).
    """
    batch, _, heads, channels = value.shape
    parts = value.split_with_sizes([height * width for height, width in grids], dim=1)
    sums = [
        _sample_level(part.permute(0, 2, 3, 1).reshape(batch * heads, channels, *grid), places, weight)
        for part, grid, places, weight in zip(parts, grids, locations, weights.unbind(3), strict=True)
    ]
    total = sums[0] if len(sums) == 1 else torch.stack(sums).sum(0)  # (B * heads, d, Q)
    return total.reshape(batch, heads * channels, -1).transpose(1, 2)


def _sample_level(image: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """(B * heads, d, h, w), (B, Q, heads, P, 2), (B, Q, heads, P) -> (B * heads, d, Q)."""
    places = 2 * locations.transpose(1, 2).flatten(0, 1) - 1  # (B * heads, Q, P, 2), as grid_sample counts: -1 to 1
    found = F.grid_sample(image, places, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (found * weights.transpose(1, 2).flatten(0, 1)[:, None]).sum(3)


class DeformableAttention(nn.Module):
    """Every query looks at a few places of every level, which it chooses itself, relative to its own centre.

    Offsets count cells of the level. Values may have fewer channels than the tokens: a saving of Chen et al.
    """

    def __init__(self, width: int, value_width: int, *, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.offsets = nn.Linear(width, heads * levels * points * 2)
        self.weights = nn.Linear(width, heads * levels * points)
        self.value = nn.Linear(width, value_width)
        self.projection = nn.Linear(value_width, width)

    def forward(self, queries: Tensor, at: Tensor, source: Tensor, grids: tuple[Grid, ...]) -> Tensor:
        """Queries (B, Q, C) with centres (Q, 2), source (B, S, C) on the given grids -> (B, Q, C)."""
        value = self.value(source).unflatten(2, (self.heads, -1))  # (B, S, heads, d)
        precise = _precise(value.dtype)  # float32 under autocast too: places, softmax and interpolation
        offsets = self.offsets(queries).to(precise).unflatten(2, (self.heads, self.levels, self.points, 2))
        scores = self.weights(queries).to(precise).unflatten(2, (self.heads, self.levels * self.points))
        weights = scores.softmax(3).unflatten(3, (self.levels, self.points))
        mixed = sample(value.to(precise), grids, self._locations(offsets, at, grids), weights)
        result: Tensor = self.projection(mixed.to(value.dtype))
        return result

    @staticmethod
    def _locations(offsets: Tensor, at: Tensor, grids: tuple[Grid, ...]) -> list[Tensor]:
        """Offsets (B, Q, heads, levels, P, 2) in cells of their level, from (Q, 2) -> (B, Q, heads, P, 2) per level."""
        steps = [
            torch.stack([step[..., 0] / width, step[..., 1] / height], dim=-1)
            for step, (height, width) in zip(offsets.unbind(3), grids, strict=True)
        ]
        return [at[:, None, None] + step for step in steps]

    def initialise(self) -> None:
        """Start by looking, with equal weights, at 1, 2, ... cells from the centre, every head its own way.

        The directions are evenly spread; the farther coordinate of point i is i cells away. Values and projection are
        Xavier-uniform. Source: Zhu et al. 2021, appendix A.4.
        """
        if self.offsets.weight.is_meta:
            return
        for layer in (self.offsets, self.weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.value, self.projection):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.offsets.bias.copy_(self._first_offsets().flatten())

    def _first_offsets(self) -> Tensor:
        """(heads, levels, P, 2)."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=1)
        direction = direction / direction.abs().amax(1, keepdim=True)
        steps = torch.arange(1, self.points + 1)
        return (direction[:, None, None] * steps[:, None]).expand(-1, self.levels, -1, -1)


class PatchEmbedding(nn.Module):
    """Patches of 16 x 16 px that do not overlap, with learned positions resized to their grid.

    The first row of the table is that of ViT's class token, which a network for segmentation does not have; it is kept
    so that the table is DeiT's.
    """

    def __init__(self, bands: int, width: int, *, side: int) -> None:
        super().__init__()
        self.side = side
        self.conv = nn.Conv2d(bands, width, PATCH_PX, PATCH_PX)
        self.positions = nn.Parameter(torch.empty(1 + side * side, width))
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, image: Tensor) -> Tensor:
        """(B, bands, H, W) -> (B, N, C)."""
        patches = self.conv(image)
        return as_tokens(patches) + self.positions_on((patches.shape[2], patches.shape[3]))

    def positions_on(self, grid: Grid) -> Tensor:
        """(1, N, C), bicubic."""
        table = as_map(self.positions[None, 1:], (self.side, self.side))  # (1, C, side, side)
        return as_tokens(F.interpolate(table, size=grid, mode="bicubic", align_corners=False))


class SelfAttention(nn.Module):
    """Multi-head attention of all tokens with all."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        triple = self.query_key_value(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(triple[0], triple[1], triple[2])  # (B, heads, N, d)
        result: Tensor = self.projection(mixed.transpose(1, 2).flatten(2))
        return result


class TransformerBlock(nn.Module):
    """ViT's block: self-attention and a feed-forward network, each pre-normed with a residual.

    ``layer_scale``: each adds its result times a learned factor per channel (Touvron et al. 2021, arXiv 2103.17239),
    which starts at 1 in Chen et al.'s code.
    """

    def __init__(
        self, width: int, heads: int, ratio: int, *, drop_path: float, eps: float, layer_scale: bool = True
    ) -> None:
        super().__init__()
        self.drop_path = DropPath(drop_path)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.attention = SelfAttention(width, heads)
        self.ffn_norm = nn.LayerNorm(width, eps=eps)
        self.ffn = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))
        self.layer_scale = layer_scale
        if layer_scale:
            self.attention_scale = nn.Parameter(torch.ones(width))
            self.ffn_scale = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        change: Tensor = self.attention(self.norm(tokens))
        tokens = tokens + self.drop_path(self.attention_scale * change if self.layer_scale else change)
        change = self.ffn(self.ffn_norm(tokens))
        added: Tensor = self.drop_path(self.ffn_scale * change if self.layer_scale else change)
        return tokens + added


class SpatialPrior(nn.Module):
    """Convolutional pyramid: what a transformer on patches of 16 px cannot see."""

    def __init__(self, bands: int, hidden: int, width: int) -> None:
        super().__init__()
        widths = (hidden, 2 * hidden, 4 * hidden, 4 * hidden)
        self.stem = nn.Sequential(
            conv_norm(bands, hidden, 3, stride=2),
            conv_norm(hidden, hidden, 3),
            conv_norm(hidden, hidden, 3),
            nn.MaxPool2d(3, 2, 1),
        )
        self.down = nn.ModuleList(conv_norm(finer, coarser, 3, stride=2) for finer, coarser in pairwise(widths))
        self.projections = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in widths)
        self.level_embedding = nn.Parameter(torch.empty(LEVELS, width))
        nn.init.normal_(self.level_embedding)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, bands, H, W) -> the map at 1/4 (B, C, H / 4, W / 4) and the tokens of the others (B, S, C)."""
        maps = [self.stem(image)]
        for down in self.down:
            maps.append(down(maps[-1]))
        finest, *others = (projection(one) for projection, one in zip(self.projections, maps, strict=True))
        tokens = [as_tokens(one) + level for one, level in zip(others, self.level_embedding, strict=True)]
        return finest, torch.cat(tokens, dim=1)


class PyramidFfn(nn.Module):
    """Linear, depthwise 3 x 3, GELU, Linear on the pyramid's tokens: one convolution, on each level by itself."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor, grids: tuple[Grid, ...]) -> Tensor:
        """(B, S, C) -> (B, S, C)."""
        levels = pyramid_maps(self.expand(tokens), grids)
        hidden = torch.cat([as_tokens(self.depthwise(level)) for level in levels], dim=1)
        result: Tensor = self.contract(F.gelu(hidden))
        return result


def pyramid_maps(tokens: Tensor, grids: tuple[Grid, ...]) -> list[Tensor]:
    """(B, S, C) -> maps (B, C, h, w) of every level, views."""
    parts = tokens.split_with_sizes([height * width for height, width in grids], dim=1)
    return [as_map(part, grid) for part, grid in zip(parts, grids, strict=True)]


class Injector(nn.Module):
    """Adds what the transformer's tokens find in the pyramid, times ``gamma``.

    ``gamma`` starts at zero, so that the transformer starts as if there were no adapter; in the first step the other
    weights of an injector have gradients of zero.
    """

    def __init__(self, config: VitAdapterConfig) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.source_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attention = _deformable(config, levels=LEVELS)
        self.gamma = nn.Parameter(torch.zeros(config.width))

    def forward(self, tokens: Tensor, pyramid: Tensor, geometry: ImageGrids) -> Tensor:
        """(B, N, C), (B, S, C) -> (B, N, C)."""
        queries, source = self.query_norm(tokens), self.source_norm(pyramid)
        found: Tensor = self.attention(queries, geometry.patch_centres, source, geometry.levels)
        return tokens + self.gamma * found


class Extractor(nn.Module):
    """Adds what the pyramid's tokens find among the transformer's, then a feed-forward network."""

    def __init__(self, config: VitAdapterConfig) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.source_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attention = _deformable(config, levels=1)
        self.ffn_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.ffn = PyramidFfn(config.width, config.extractor_width)
        self.drop_path = DropPath(config.drop_path)

    def forward(self, pyramid: Tensor, tokens: Tensor, geometry: ImageGrids) -> Tensor:
        """(B, S, C), (B, N, C) -> (B, S, C)."""
        queries, source = self.query_norm(pyramid), self.source_norm(tokens)
        pyramid = pyramid + self.attention(queries, geometry.level_centres, source, (geometry.patches,))
        change: Tensor = self.drop_path(self.ffn(self.ffn_norm(pyramid), geometry.levels))
        return pyramid + change


def _deformable(config: VitAdapterConfig, *, levels: int) -> DeformableAttention:
    return DeformableAttention(
        config.width, config.deform_width, heads=config.deform_heads, levels=levels, points=config.deform_points
    )


class Interaction(nn.Module):
    """A quarter of the transformer between an injector and one or more extractors."""

    def __init__(self, config: VitAdapterConfig, *, drop_paths: list[float], extractors: int) -> None:
        super().__init__()
        self.injector = Injector(config)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                config.width,
                config.heads,
                config.ffn_ratio,
                drop_path=rate,
                eps=config.norm_eps,
                layer_scale=config.layer_scale,
            )
            for rate in drop_paths
        )
        self.extractors = nn.ModuleList(Extractor(config) for _ in range(extractors))

    def forward(self, tokens: Tensor, pyramid: Tensor, geometry: ImageGrids) -> tuple[Tensor, Tensor]:
        """(B, N, C), (B, S, C) -> both, changed."""
        tokens = self.injector(tokens, pyramid, geometry)
        for block in self.blocks:
            tokens = block(tokens)
        for extractor in self.extractors:
            pyramid = extractor(pyramid, tokens, geometry)
        return tokens, pyramid


class MapMerger(nn.Module):
    """The four maps of the backbone: of the spatial prior, of the pyramid and of the transformer, summed and normed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(width, width, 2, 2)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(1 + LEVELS))

    def forward(self, finest: Tensor, levels: list[Tensor], tokens: list[Tensor]) -> list[Tensor]:
        """Map at 1/4, maps at 1/8, 1/16, 1/32, the transformer's four maps at 1/16 -> maps (B, C, h, w), 1/4 first."""
        maps = [self.up(levels[0]) + finest, *levels]
        return [
            norm(one + resize(token_map, one.shape[-2:]))
            for norm, one, token_map in zip(self.norms, maps, tokens, strict=True)
        ]


class VitAdapterBackbone(nn.Module):
    """Transformer, spatial prior and their four interactions; two extractors more after the last one."""

    def __init__(self, config: VitAdapterConfig) -> None:
        super().__init__()
        self.checkpointing = config.checkpointing
        bands = config.primary_bands + config.auxiliary_bands
        rates = drop_path_rates((config.depth // INTERACTIONS,) * INTERACTIONS, config.drop_path)
        self.prior = SpatialPrior(bands, config.prior_width, config.width)
        self.embed = PatchEmbedding(bands, config.width, side=config.position_side)
        self.interactions = nn.ModuleList(
            Interaction(config, drop_paths=part, extractors=3 if i == INTERACTIONS - 1 else 1)
            for i, part in enumerate(rates)
        )
        self.merge = MapMerger(config.width)
        self._initialise()

    def _initialise(self) -> None:
        self.prior.apply(initialise)
        self.interactions.apply(initialise)
        self.merge.apply(initialise)
        for module in self.interactions.modules():
            if isinstance(module, DeformableAttention):
                module.initialise()

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, bands, H, W), sides a multiple of 32 -> maps (B, C, h, w) at 1/4, 1/8, 1/16 and 1/32."""
        geometry = grids_of(image)
        finest, pyramid = self.prior(image)
        tokens, token_maps = self.embed(image), []
        for interaction in self.interactions:
            tokens, pyramid = self._interact(interaction, tokens, pyramid, geometry)
            token_maps.append(as_map(tokens, geometry.patches))
        merged: list[Tensor] = self.merge(finest, pyramid_maps(pyramid, geometry.levels), token_maps)
        return merged

    def _interact(
        self, interaction: nn.Module, tokens: Tensor, pyramid: Tensor, geometry: ImageGrids
    ) -> tuple[Tensor, Tensor]:
        if self.checkpointing and self.training:
            tokens, pyramid = checkpoint(interaction, tokens, pyramid, geometry, use_reentrant=False)
        else:
            tokens, pyramid = interaction(tokens, pyramid, geometry)
        return tokens, pyramid


class VitAdapter(nn.Module):
    """ViT-Adapter backbone and UPerNet on all bands at once, with an optional auxiliary head.

    Training needs a batch of two (``UPerNet``).
    """

    def __init__(self, config: VitAdapterConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VitAdapterConfig()
        self.backbone = VitAdapterBackbone(config)
        widths = (config.width,) * (1 + LEVELS)
        self.decoder = UPerNet(widths, config.head_channels, config.classes, dropout=config.dropout)
        if config.aux:
            self.aux_head = head(
                config.width,
                config.aux_channels,
                config.classes,
                dropout=config.dropout,
                unit=config.aux_dropout_unit,
            )
            self.aux_head.apply(initialise)
            quieten(self.aux_head[-1])

    @property
    def has_aux(self) -> bool:
        """Whether there is an auxiliary head."""
        return self.config.aux

    def forward(self, primary: Tensor, auxiliary: Tensor, *, aux: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Logits of the input's size; with ``aux`` those of the auxiliary head too.

        Args:
            primary, auxiliary: float32 (B, C_p, H, W) and (B, C_a, H, W), C_a may be 0.
            aux: whether the auxiliary logits are wanted.

        Returns:
            (B, classes, H, W), or a pair of such.

        Raises:
            UsageError: the image is too small to be padded, or ``aux`` is set and the network has no such head.
        """
        if aux and not self.has_aux:
            raise UsageError("this vit-adapter has no auxiliary head; build it with aux = true")
        if not (aux or (self.training and self.has_aux)):
            return run_padded(self._logits, primary, auxiliary, multiple=MULTIPLE_PX)
        pair = run_padded(self._both_logits, primary, auxiliary, multiple=MULTIPLE_PX)
        return pair if aux else tied(*pair)

    def _maps(self, primary: Tensor, auxiliary: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.backbone(torch.cat([primary, auxiliary], dim=1))
        return maps

    def _logits(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        return resize(self.decoder(self._maps(primary, auxiliary)), primary.shape[-2:])

    def _both_logits(self, primary: Tensor, auxiliary: Tensor) -> tuple[Tensor, Tensor]:
        maps, size = self._maps(primary, auxiliary), primary.shape[-2:]
        return resize(self.decoder(maps), size), resize(self.aux_head(maps[2]), size)
