"""Windowed attention: a hierarchical encoder whose tokens look at each other within small windows.

The encoder of MultiSenseSeg ("pipeline"): Swin's windows, shifts, merging and relative positions (Liu et al. 2021,
arXiv 2103.14030), with narrower queries and keys, and with convolutions in the feed-forward part.

Letters: B batch, C channels, h and w the grid of a stage, s the side of a window, N = s x s its tokens, M the number of
windows of one image. Maps are (B, C, h, w), and lie channels-last in memory: tokens (B, h, w, C) are a view of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import DropPath, Grid, drop_path_rates

AttentionForm = Literal["fused", "plain"]
FfnResidual = Literal["normed", "hidden"]

FUSED_MULTIPLE = 8
"""Fused kernels on GPUs want widths of a head that are multiples of 8 (16 bytes of half precision)."""


def channels_last(image: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h, w, C), a view."""
    return image.permute(0, 2, 3, 1)


def channels_first(tokens: Tensor) -> Tensor:
    """(B, h, w, C) -> (B, C, h, w), a view."""
    return tokens.permute(0, 3, 1, 2)


def query_width(width: int, heads: int, ratio: float) -> int:
    """Channels of all queries (and of all keys): ``width / ratio``, rounded down for each head."""
    return int(width / ratio / heads) * heads


@dataclass(frozen=True)
class Windows:
    """How a grid is cut into windows.

    As Swin does: a side that is no multiple of the window gets zeros at its end; a shifted cut first rolls the grid by
    half a window, so that tokens meet which the plain cut keeps apart. In a direction that one window covers all tokens
    meet anyway: it is not rolled, or, with ``roll_single``, rolled like any other, which parts that window's halves.

    Attributes:
        grid: (h, w).
        side: tokens along a window.
        shifted: whether the grid is rolled.
        roll_single: whether that also holds for a direction that one window covers (MultiSenseSeg's original, and Swin
            for dense prediction; Swin for classification leaves it).
    """

    grid: Grid
    side: int
    shifted: bool = False
    roll_single: bool = False

    @property
    def padded(self) -> Grid:
        height, width = self.grid
        return height + -height % self.side, width + -width % self.side

    @property
    def shift(self) -> Grid:
        height, width = self.padded
        half = self.side // 2 if self.shifted else 0
        fewest = 0 if self.roll_single else self.side
        return (half if height > fewest else 0), (half if width > fewest else 0)

    def cut(self, tokens: Tensor) -> Tensor:
        """(B, h, w, C) -> (B * M, N, C)."""
        (height, width), (down, across) = self.padded, self.shift
        if self.padded != self.grid:
            tokens = F.pad(tokens, (0, 0, 0, width - self.grid[1], 0, height - self.grid[0]))
        if down or across:
            tokens = torch.roll(tokens, (-down, -across), dims=(1, 2))
        return self._partition(tokens)

    def join(self, windows: Tensor) -> Tensor:
        """(B * M, N, C) -> (B, h, w, C): undoes ``cut``."""
        (height, width), (down, across) = self.padded, self.shift
        side, channels = self.side, windows.shape[2]
        parts = windows.reshape(-1, height // side, width // side, side, side, channels)
        tokens = parts.transpose(2, 3).reshape(-1, height, width, channels)  # (B, padded h, padded w, C)
        if down or across:
            tokens = torch.roll(tokens, (down, across), dims=(1, 2))
        return tokens[:, : self.grid[0], : self.grid[1]]

    def outsiders(self, device: torch.device) -> Tensor | None:
        """Which tokens of a window lie side by side only because the roll brought opposite edges together.

        Bool (M, N, N), query by key; they must not look at each other. None where nothing is rolled. Made of a few
        comparisons on the device, so that it needs no cache and can be traced.
        """
        (height, width), (down, across) = self.padded, self.shift
        if not (down or across):
            return None
        below = torch.arange(height, device=device) >= height - down
        right = torch.arange(width, device=device) >= width - across
        origin = 2 * below.long()[:, None] + right.long()  # (h, w): which side of which edge a token came from
        parts = self._partition(origin[None, :, :, None])[..., 0]  # (M, N)
        return parts[:, :, None] != parts[:, None, :]

    def _partition(self, tokens: Tensor) -> Tensor:
        batch, height, width, channels = tokens.shape
        side = self.side
        parts = tokens.reshape(batch, height // side, side, width // side, side, channels)
        return parts.transpose(2, 3).reshape(-1, side * side, channels)


def relative_positions(side: int) -> Tensor:
    """Row of the table of relative positions for each pair of tokens of a window, int64 (N, N), query by key."""
    steps = torch.arange(side)
    rows, columns = (axis.flatten() for axis in torch.meshgrid(steps, steps, indexing="ij"))
    down, across = rows[:, None] - rows, columns[:, None] - columns  # from -(s - 1) to s - 1
    return (down + side - 1) * (2 * side - 1) + across + side - 1


class WindowAttention(nn.Module):
    """Multi-head attention within windows, with a learned bias for each head and relative position.

    ``form``: ``fused`` is one call that keeps no score matrix; ``plain`` writes the products out, with the softmax as a
    module, as it was counted. They differ by rounding alone, and by what dropout leaves out.

    Args:
        dropout: of the projected result.
        attention_dropout: of the attention weights.
    """

    positions: Tensor

    def __init__(
        self,
        width: int,
        heads: int,
        window: int,
        queries: int,
        *,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.form: AttentionForm = "fused"
        self.heads, self.widths = heads, (queries, queries, width)
        self.scale = (width // heads) ** -0.5  # of the values' width, though queries and keys are narrower
        self.query_key_value = nn.Linear(width, 2 * queries + width)
        self.projection = nn.Linear(width, width)
        self.softmax = nn.Softmax(dim=-1)
        self.attention_dropout = nn.Dropout(attention_dropout)
        self.dropout = nn.Dropout(dropout)
        self.position_bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        if not self.position_bias.is_meta:
            nn.init.trunc_normal_(self.position_bias, std=0.02)
        self.register_buffer("positions", relative_positions(window), persistent=False)

    def forward(self, windows: Tensor, outsiders: Tensor | None = None) -> Tensor:
        """(B * M, N, C), bool (M, N, N) -> (B * M, N, C)."""
        parts = self.query_key_value(windows).split(self.widths, dim=2)
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        bias = self._bias(outsiders, count=windows.shape[0])
        attend = self._fused if self.form == "fused" else self._plain
        mixed = attend(query, key, value, bias)  # (B * M, heads, N, C / heads)
        result: Tensor = self.dropout(self.projection(mixed.transpose(1, 2).flatten(2)))
        return result

    def _bias(self, outsiders: Tensor | None, count: int) -> Tensor:
        """What is added to the scores of ``count`` = B * M windows, (1 or B * M, heads, N, N).

        No row is masked completely, because a token always attends to itself.
        """
        bias = self.position_bias[self.positions].permute(2, 0, 1)[None].contiguous()
        if outsiders is None:
            return bias
        masked = bias.masked_fill(outsiders[:, None], float("-inf"))  # (M, heads, N, N)
        return masked.expand(count // masked.shape[0], -1, -1, -1, -1).flatten(0, 1)

    def _fused(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        fill = (0, -query.shape[-1] % FUSED_MULTIPLE)  # channels of zeros change no product
        query, key = F.pad(query, fill), F.pad(key, fill)
        rate = self.attention_dropout.p if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=rate, scale=self.scale)

    def _plain(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        scores = (self.scale * query) @ key.transpose(2, 3) + bias
        weights: Tensor = self.attention_dropout(self.softmax(scores))
        return weights @ value


class ConvFfn(nn.Module):
    """1 x 1 to more channels, GELU, depthwise 3 x 3 with BatchNorm, GELU, 1 x 1 back; with its own residual.

    ``residual`` says around what: the whole of it (``normed``: its input is a normed map), or the depthwise convolution
    (``hidden``). ``dropout`` follows each of the three.
    """

    def __init__(self, width: int, ratio: int, *, groups: int, residual: FfnResidual, dropout: float = 0.0) -> None:
        super().__init__()
        hidden = ratio * width
        self.residual: FfnResidual = residual
        self.expand = nn.Sequential(nn.Conv2d(width, hidden, 1, groups=groups), nn.GELU())
        self.depthwise = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.GELU()
        )
        self.contract = nn.Conv2d(hidden, width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        hidden = self.dropout(self.expand(image))
        near = self.dropout(self.depthwise(hidden))
        change: Tensor = self.dropout(self.contract(hidden + near if self.residual == "hidden" else near))
        return change if self.residual == "hidden" else image + change


class WindowBlock(nn.Module):
    """Attention after a LayerNorm, feed-forward after a BatchNorm, each with a residual."""

    def __init__(self, attention: WindowAttention, ffn: ConvFfn, width: int, drop_path: float) -> None:
        super().__init__()
        self.drop_path = DropPath(drop_path)
        self.norm = nn.LayerNorm(width)
        self.attention = attention
        self.ffn_norm = nn.BatchNorm2d(width)
        self.ffn = ffn

    def forward(self, image: Tensor, windows: Windows, outsiders: Tensor | None) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        mixed = windows.join(self.attention(windows.cut(self.norm(channels_last(image))), outsiders))
        image = image + self.drop_path(channels_first(mixed))
        change: Tensor = self.drop_path(self.ffn(self.ffn_norm(image)))
        return image + change


class PatchMerging(nn.Module):
    """Four neighbours become one token of twice their width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduce = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w), even sides -> (B, 2 C, h / 2, w / 2); the upper left one first, then the one below it."""
        batch, channels, height, width = image.shape
        pairs = channels_last(image).reshape(batch, height // 2, 2, width // 2, 2, channels)
        fours = pairs.permute(0, 1, 3, 4, 2, 5).flatten(3)  # (B, h / 2, w / 2, 4 C)
        return channels_first(self.reduce(self.norm(fours)))


@dataclass(frozen=True)
class WindowSettings:
    """What all stages of a ``WindowEncoder`` share.

    Attributes:
        window: tokens along a window.
        ratio: of the feed-forward part's hidden width.
        query_ratio: how much narrower queries and keys are than values.
        group_width: channels of a group of the first 1 x 1 convolution in blocks 0, 2, ...; in the others it is dense.
        residual: as in ``ConvFfn``.
        dropout: of the tokens that enter, of what attention projects, and within the feed-forward part.
        attention_dropout: of the attention weights.
        roll_single: as in ``Windows``.
    """

    window: int
    ratio: int
    query_ratio: float
    group_width: int
    residual: FfnResidual
    dropout: float = 0.0
    attention_dropout: float = 0.0
    roll_single: bool = False

    def block(self, number: int, width: int, heads: int, drop_path: float) -> WindowBlock:
        """Block ``number`` of a stage."""
        queries = query_width(width, heads, self.query_ratio)
        groups = 1 if number % 2 else width // self.group_width
        return WindowBlock(
            WindowAttention(
                width, heads, self.window, queries, dropout=self.dropout, attention_dropout=self.attention_dropout
            ),
            ConvFfn(width, self.ratio, groups=groups, residual=self.residual, dropout=self.dropout),
            width,
            drop_path,
        )


class WindowStage(nn.Module):
    """Blocks at one resolution, every second one with shifted windows, and the LayerNorm of what leaves the encoder."""

    def __init__(self, width: int, heads: int, drop_paths: list[float], settings: WindowSettings) -> None:
        super().__init__()
        self.window, self.roll_single = settings.window, settings.roll_single
        self.blocks = nn.ModuleList(settings.block(i, width, heads, rate) for i, rate in enumerate(drop_paths))
        self.norm = nn.LayerNorm(width)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) -> the map for the next stage, and the normed one, both (B, C, h, w)."""
        grid = (image.shape[2], image.shape[3])
        plain = Windows(grid, self.window)
        shifted = Windows(grid, self.window, shifted=True, roll_single=self.roll_single)
        outsiders = shifted.outsiders(image.device)
        for number, block in enumerate(self.blocks):
            image = block(image, shifted, outsiders) if number % 2 else block(image, plain, None)
        return image, channels_first(self.norm(channels_last(image)))


class WindowEncoder(nn.Module):
    """Stages of doubling width and halving resolution."""

    def __init__(
        self, width: int, *, depths: tuple[int, ...], heads: tuple[int, ...], drop_path: float, settings: WindowSettings
    ) -> None:
        super().__init__()
        rates = drop_path_rates(depths, drop_path)
        widths = [width * 2**stage for stage in range(len(depths))]
        self.dropout = nn.Dropout(settings.dropout)
        self.merges = nn.ModuleList(PatchMerging(channels) for channels in widths[:-1])
        self.stages = nn.ModuleList(
            WindowStage(channels, heads[stage], rates[stage], settings) for stage, channels in enumerate(widths)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C, h, w) -> maps (B, 2^i C, h / 2^i, w / 2^i), finest first."""
        image, normed = self.stages[0](self.dropout(image))
        maps = [normed]
        for merge, stage in zip(self.merges, self.stages[1:], strict=True):
            image, normed = stage(merge(image))
            maps.append(normed)
        return maps
