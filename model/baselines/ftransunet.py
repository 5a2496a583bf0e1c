"""FTransUNet: two ResNets, a vision transformer with attention across modalities, a U-Net decoder.

Source: Ma et al. 2024, "A multilevel multimodal fusion transformer for remote sensing semantic segmentation"
(IEEE TGRS 62, DOI 10.1109/TGRS.2024.3373033), built on TransUNet (Chen et al. 2021, arXiv 2102.04306).

With 10 + 2 bands it has 208,147,673 parameters, of which the paper's counter knows 184,142,529 (Table II: 184.14 M),
and 171.13 GFLOP by the paper's rule at 512 px. Weight-standardised convolutions, GroupNorm, the position table and the
attention products are not in those figures: the true work is far more.

Inferred from the figures alone: at 512 px the transformer keeps its default grid of 16 x 16 tokens (2 x 2 patches of
the map at 1/16), and the decoder meets the original's skips by one more bilinear step of 2. The original as published
has one token per cell of that map and no such step: ``FTransUNetConfig(patch=1, grid=32)``.

Differs from the original: any input size (padded to the next multiple; the position table resized to the grid), where
the original has one fixed, square size; dropout of attention weights and of attention's output like the rest of the
transformer, where the original's settings have none (``attention_dropout=0.0``); and it begins from scratch, as
Table I's rows do: the MLPs Xavier-uniform with biases of 1e-6, the position table 0, the mixing weights 0.5, everything
else by torch's defaults. The original does that, too, but then loads ImageNet-21k weights.

Letters: B batch, C channels, N tokens = h x w (row by row), H and W the input in pixels. Tokens are (B, N, C).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...pipeline.errors import UsageError
from ...pipeline.spec.classes import DYNAMIC_WORLD
from ..blocks.convolutions import conv_norm
from ..blocks.layers import Grid, as_map, as_tokens, check_heads
from ..blocks.padding import run_padded
from ..blocks.weight_standardised import DualResNet, Pair

AttentionForm = Literal["fused", "plain"]

NORM_EPS = 1e-6


@dataclass(frozen=True)
class FTransUNetConfig:
    """Choices of the network.

    Attributes:
        width: channels of the stems; the three blocks have 4, 8 and 16 times as many.
        units: bottlenecks of the three blocks.
        norm_groups: groups of the GroupNorms.
        squeeze: ratio of the excitations that fuse the branches.
        patch: side of a token in cells of the map at 1/16; the decoder's additional step makes up for it.
        grid: side of the position table in tokens; other grids have it resized.
        token_width, heads, mlp_width: of the transformer.
        layers: layers with self-attention alone, then with cross-attention besides, then with self-attention alone.
        decoder_width: channels of the map that the decoder begins with.
        decoder_widths: channels at 1/8, 1/4, 1/2 and 1/1 of the input.
        dropout: after the embedding and in the MLPs.
        attention_dropout: of the attention weights and of the attention's output.
    """

    primary_bands: int = 10
    auxiliary_bands: int = 2
    classes: int = len(DYNAMIC_WORLD)
    width: int = 64
    units: tuple[int, int, int] = (3, 4, 9)
    norm_groups: int = 32
    squeeze: int = 16
    patch: int = 2
    grid: int = 16
    token_width: int = 768
    heads: int = 12
    mlp_width: int = 3072
    layers: tuple[int, int, int] = (3, 6, 3)
    decoder_width: int = 512
    decoder_widths: tuple[int, int, int, int] = (256, 128, 64, 16)
    dropout: float = 0.1
    attention_dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.primary_bands < 1 or self.auxiliary_bands < 1:
            raise UsageError(
                f"ftransunet needs bands on both inputs, not {self.primary_bands} + {self.auxiliary_bands}; "
                "choose a network with one input, such as segformer, for these"
            )
        if min(self.units) < 1 or self.patch < 1 or self.grid < 1:
            raise UsageError(f"units {self.units}, patch {self.patch} and grid {self.grid} must be 1 or more")
        if min(self.layers) < 0:
            raise UsageError(f"layers {self.layers} must be 0 or more each")
        if self.width % self.norm_groups or self.width < self.squeeze:
            raise UsageError(
                f"width {self.width} must be a multiple of norm_groups ({self.norm_groups}) and at least "
                f"squeeze ({self.squeeze})"
            )
        check_heads(self.token_width, self.heads, where="token_width")


SMALL = FTransUNetConfig(
    width=16,
    units=(2, 1, 1),
    norm_groups=8,
    squeeze=4,
    grid=4,
    token_width=48,
    heads=3,
    mlp_width=96,
    layers=(1, 1, 1),
    decoder_width=32,
    decoder_widths=(32, 16, 16, 8),
    dropout=0.0,
    attention_dropout=0.0,
)
"""Every part at least once; its position table fits 128 px."""


class PairEmbedding(nn.Module):
    """Patches of both maps as tokens, plus one position table for both."""

    def __init__(self, channels: int, width: int, *, patch: int, grid: int, dropout: float) -> None:
        super().__init__()
        self.grid = grid
        self.primary = nn.Conv2d(channels, width, patch, patch)
        self.auxiliary = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Parameter(torch.zeros(1, grid * grid, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> tuple[Pair, Grid]:
        """Twice (B, C_in, h x patch, w x patch) -> tokens, twice (B, N, C), and their grid (h, w)."""
        first, second = self.primary(primary), self.auxiliary(auxiliary)
        grid = (first.shape[2], first.shape[3])
        positions = self.positions_on(grid)
        return (self.dropout(as_tokens(first) + positions), self.dropout(as_tokens(second) + positions)), grid

    def positions_on(self, grid: Grid) -> Tensor:
        """The table (1, N, C) of a grid: as it is on its own one, else resized (bicubic, corners not aligned)."""
        if grid == (self.grid, self.grid):
            return self.positions
        table = as_map(self.positions, (self.grid, self.grid))
        return as_tokens(F.interpolate(table, size=grid, mode="bicubic", align_corners=False))


class Attention(nn.Module):
    """Scaled dot-product attention of heads that are given.

    ``form`` chooses between the same sums: ``fused`` is one call, ``plain`` writes the weights out and has a Softmax
    module, as the paper's figures were counted (0.17 of 171.13 GFLOP).
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.form: AttentionForm = "fused"
        self.softmax = nn.Softmax(dim=-1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, heads, N, C / heads) each -> (B, N, C)."""
        if self.form == "fused":
            dropout = self.dropout.p if self.training else 0.0
            mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        else:
            # Scaled before the product: float16 has no room for the products of unscaled queries.
            scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)  # (B, heads, N, N)
            mixed = self.dropout(self.softmax(scores)) @ value
        return mixed.transpose(1, 2).flatten(2)


class Heads(NamedTuple):
    """Query, key and value of one modality, (B, heads, N, C / heads) each."""

    query: Tensor
    key: Tensor
    value: Tensor


class Projections(nn.Module):
    """What one modality owns of an attention: the linear maps into heads and out of them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Heads:
        """(B, N, C) -> heads; ``out`` is for whatever they attend to."""
        return Heads(self._split(self.query(tokens)), self._split(self.key(tokens)), self._split(self.value(tokens)))

    def _split(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, heads, N, C / heads)."""
        batch, count, width = tokens.shape
        return tokens.reshape(batch, count, self.heads, width // self.heads).transpose(1, 2)


class PairAttention(nn.Module):
    """Self-attention of both modalities and, where ``crosses``, attention of each to the other.

    Both use the same projections. Crossing, the two results are mixed by four learned weights: ``mix[0]`` for the
    primary, ``mix[1]`` for the auxiliary tokens, own modality first, the other one second. This is the original's
    adaptive form of mutually boosted attention.
    """

    def __init__(self, width: int, heads: int, *, crosses: bool, dropout: float) -> None:
        super().__init__()
        self.primary = Projections(width, heads)
        self.auxiliary = Projections(width, heads)
        self.attention = Attention(dropout)
        self.dropout = nn.Dropout(dropout)
        self.mix: nn.Parameter | None = nn.Parameter(torch.full((2, 2), 0.5)) if crosses else None

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Pair:
        """Twice (B, N, C) -> twice (B, N, C)."""
        first, second = self.primary(primary), self.auxiliary(auxiliary)
        own = self._read(self.primary, first, first), self._read(self.auxiliary, second, second)
        if self.mix is None:
            return own
        other = self._read(self.primary, first, second), self._read(self.auxiliary, second, first)
        return (
            self.mix[0, 0] * own[0] + self.mix[0, 1] * other[0],
            self.mix[1, 0] * own[1] + self.mix[1, 1] * other[1],
        )

    def _read(self, reader: nn.Module, asking: Heads, source: Heads) -> Tensor:
        """What one modality's queries find in a source, (B, N, C)."""
        found = self.attention(asking.query, source.key, source.value)
        out: Tensor = self.dropout(reader.out(found))  # type: ignore[operator]  # torch knows tensors and modules alone
        return out


class Mlp(nn.Module):
    """Linear, GELU, Linear, with dropout after both."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        out: Tensor = self.dropout(self.contract(self.dropout(F.gelu(self.expand(tokens)))))
        return out


class Stream(nn.Module):
    """What one modality owns of a layer besides its projections: both norms and the MLP."""

    def __init__(self, width: int, mlp_width: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, mlp_width, dropout)

    def forward(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """The tokens and what attention made of them, both (B, N, C) -> (B, N, C)."""
        tokens = tokens + attended
        out: Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        return out


class PairLayer(nn.Module):
    """One layer of the transformer: attention of both modalities, then an MLP for each; pre-norm, with residuals."""

    def __init__(self, config: FTransUNetConfig, *, crosses: bool) -> None:
        super().__init__()
        width = config.token_width
        self.primary = Stream(width, config.mlp_width, config.dropout)
        self.auxiliary = Stream(width, config.mlp_width, config.dropout)
        self.attention = PairAttention(width, config.heads, crosses=crosses, dropout=config.attention_dropout)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Pair:
        """Twice (B, N, C) -> twice (B, N, C)."""
        normed = self.primary.attention_norm(primary), self.auxiliary.attention_norm(auxiliary)
        first, second = self.attention(*normed)
        return self.primary(primary, first), self.auxiliary(auxiliary, second)


class PairTransformer(nn.Module):
    """All layers, a last norm for each modality, and the sum of both."""

    def __init__(self, config: FTransUNetConfig) -> None:
        super().__init__()
        before, crossing, after = config.layers
        self.layers = nn.ModuleList(
            PairLayer(config, crosses=before <= layer < before + crossing) for layer in range(before + crossing + after)
        )
        self.primary_norm = nn.LayerNorm(config.token_width, eps=NORM_EPS)
        self.auxiliary_norm = nn.LayerNorm(config.token_width, eps=NORM_EPS)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """Twice (B, N, C) -> (B, N, C)."""
        for layer in self.layers:
            primary, auxiliary = layer(primary, auxiliary)
        out: Tensor = self.primary_norm(primary) + self.auxiliary_norm(auxiliary)
        return out


class DecoderStep(nn.Module):
    """Twice the size, bilinear with aligned corners, then the skip beside it, then two 3 x 3 convolutions."""

    def __init__(self, channels_in: int, skip: int, channels: int) -> None:
        super().__init__()
        self.enlarge = nn.UpsamplingBilinear2d(scale_factor=2)
        self.convolve = nn.Sequential(conv_norm(channels_in + skip, channels, 3), conv_norm(channels, channels, 3))

    def forward(self, image: Tensor, skip: Tensor | None) -> Tensor:
        """(B, C_in, h, w) and the skip (B, C_s, 2 h, 2 w), if there is one -> (B, C, 2 h, 2 w)."""
        image = self.enlarge(image)
        out: Tensor = self.convolve(image if skip is None else torch.cat([image, skip], dim=1))
        return out


class Decoder(nn.Module):
    """From the grid of the tokens to the input's size in four steps, three of them with a skip; then the classes."""

    def __init__(self, config: FTransUNetConfig) -> None:
        super().__init__()
        self.begin = conv_norm(config.token_width, config.decoder_width, 3)
        # The step that the printed figures call for: from the tokens' grid back to 1/16.
        self.enlarge = nn.UpsamplingBilinear2d(scale_factor=config.patch) if config.patch > 1 else nn.Identity()
        widths = config.decoder_widths
        skips = (8 * config.width, 4 * config.width, config.width, 0)
        self.steps = nn.ModuleList(
            DecoderStep(channels_in, skip, channels)
            for channels_in, skip, channels in zip((config.decoder_width, *widths[:-1]), skips, widths, strict=True)
        )
        self.classify = nn.Conv2d(widths[-1], config.classes, 3, padding=1)

    def forward(self, image: Tensor, skips: list[Tensor]) -> Tensor:
        """(B, C, h, w) and skips at 1/8, 1/4 and 1/2 of the input -> logits (B, classes, H, W)."""
        image = self.enlarge(self.begin(image))
        for step, skip in zip(self.steps, (*skips, None), strict=True):
            image = step(image, skip)
        logits: Tensor = self.classify(image)
        return logits


class FTransUNet(nn.Module):
    """Two ResNets whose maps are fused on the way, a transformer on both, one decoder."""

    def __init__(self, config: FTransUNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FTransUNetConfig()
        self.encoder = DualResNet(
            (config.primary_bands, config.auxiliary_bands),
            width=config.width,
            units=config.units,
            groups=config.norm_groups,
            ratio=config.squeeze,
        )
        self.embed = PairEmbedding(
            16 * config.width, config.token_width, patch=config.patch, grid=config.grid, dropout=config.dropout
        )
        self.transformer = PairTransformer(config)
        self.decoder = Decoder(config)
        self.apply(_initialise)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """Logits of a pair of images of any size.

        Args:
            primary, auxiliary: float32 (B, C_p, H, W) and (B, C_a, H, W).

        Returns:
            (B, classes, H, W), float32 unless autocast says otherwise.

        Raises:
            UsageError: a side is too small (under 12 px) to be padded to 32 px by reflection.
        """
        return run_padded(self._logits, primary, auxiliary, multiple=16 * self.config.patch)

    def _logits(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        maps, skips = self.encoder(primary, auxiliary)
        tokens, grid = self.embed(*maps)
        logits: Tensor = self.decoder(as_map(self.transformer(*tokens), grid), skips)
        return logits


def _initialise(module: nn.Module) -> None:
    """Set the weights of an MLP; all other modules keep torch's."""
    if not isinstance(module, Mlp) or module.expand.weight.is_meta:
        return
    for linear in (module.expand, module.contract):
        nn.init.xavier_uniform_(linear.weight)
        nn.init.normal_(linear.bias, std=1e-6)
