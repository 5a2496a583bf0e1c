"""Building blocks of the MiT family: patch embedding, reduced attention, Mix-FFN. The decoder is in ``decoder.py``.

Shared by SpecSAR-Former and by SegFormer. Written from the papers: Xie et al. 2021 (SegFormer, arXiv 2105.15203), Wang
et al. 2021 (PVT, sequence reduction) and Yu et al., section IV.

Letters: B batch, C channels, N tokens = h x w (row by row), h and w the grid of a stage, H and W the input in pixels.
Tokens are (B, N, C). ``as_map`` and ``as_tokens`` are views: a map made of tokens lies channels-last in memory, which
is what the depthwise convolution likes best.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...pipeline.errors import UsageError
from .recompute import gelu_linear

Grid = tuple[int, int]
"""(h, w) of a stage, in tokens."""

Form = Literal["folded", "plain"]
AttentionScale = Literal["head", "width"]

MIN_SIZE_PX = 29
"""Smallest input whose first stage (stride 4, reduction 8) leaves a key: (29 + 6 - 7) // 4 + 1 = 8 tokens a side."""


def as_map(tokens: Tensor, grid: Grid) -> Tensor:
    """(B, N, C) -> (B, C, h, w), a view, and channels-last to torch.

    The order of these two steps matters: the strides of a batch of one come out otherwise in a way that convolutions do
    not take for channels-last, and a depthwise one then takes eight times as long.
    """
    height, width = grid
    return tokens.reshape(tokens.shape[0], height, width, tokens.shape[2]).permute(0, 3, 1, 2)


def as_tokens(image: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, N, C); a view of a channels-last map."""
    return image.permute(0, 2, 3, 1).flatten(1, 2)


def initialise(module: nn.Module) -> None:
    """Set the weights of one module the way SegFormer does; for ``network.apply``."""
    if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
        return  # no memory, nothing to set: sizes alone are wanted
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
    elif isinstance(module, nn.LayerNorm | nn.BatchNorm2d | nn.GroupNorm):
        nn.init.ones_(module.weight)
    bias = getattr(module, "bias", None)
    if isinstance(bias, nn.Parameter):
        nn.init.zeros_(bias)


def quieten(classifier: nn.Module) -> None:
    """Let logits begin near 0, every class about as likely as the next.

    By the rule for convolutions (fan-out, ReLU) nine outputs of 768 channels would have a deviation of nine.
    """
    assert isinstance(classifier, nn.Conv2d), classifier
    nn.init.normal_(classifier.weight, std=0.01)
    if classifier.bias is not None:
        nn.init.zeros_(classifier.bias)


def drop_path_rates(depths: tuple[int, ...], last: float) -> list[list[float]]:
    """Rate of every block, per stage: from 0 in the first block to ``last`` in the last one, linearly."""
    total = sum(depths)
    rates = iter([last * i / max(1, total - 1) for i in range(total)])
    return [[next(rates) for _ in range(depth)] for depth in depths]


def check_stages(*, depths: tuple[int, ...], **others: tuple[int, ...]) -> None:
    """Refuse settings whose tuples do not all have one value a stage.

    Raises:
        UsageError: two lengths differ.
    """
    for name, values in others.items():
        if len(values) != len(depths):
            raise UsageError(f"{name} has {len(values)} values for {len(depths)} stages (depths {depths})")


def check_heads(width: int, heads: int, *, where: str) -> None:
    """Refuse a width that its heads do not divide.

    Raises:
        UsageError: they do not.
    """
    if width % heads:
        raise UsageError(f"{where}: {heads} heads do not divide {width} channels; choose heads or widths that fit")


def check_size(image: Tensor) -> None:
    """Refuse an input smaller than ``MIN_SIZE_PX``.

    Raises:
        UsageError: it is smaller.
    """
    if min(image.shape[-2:]) < MIN_SIZE_PX:
        raise UsageError(f"input of {tuple(image.shape[-2:])} px is too small; {MIN_SIZE_PX} px a side are needed")


class DropPath(nn.Module):
    """Leaves a residual branch out for a whole sample, with probability ``rate``, in training only."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return x if self._idle else x * self._kept(x)

    def add(self, x: Tensor, change: Tensor) -> Tensor:
        """``x`` with what is left of a residual branch's ``change``, in one step."""
        return x + change if self._idle else torch.addcmul(x, change, self._kept(change))

    @property
    def _idle(self) -> bool:
        return not self.training or self.rate == 0.0

    def _kept(self, x: Tensor) -> Tensor:
        """(B, 1, ...), 0 or 1 / (1 - rate) for each sample."""
        keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return keep / (1 - self.rate)


class PatchConv(nn.Module):
    """Overlapped patches: a strided convolution, not yet normalised.

    Stage 1 uses 7 x 7, stride 4 (510 px and 512 px both give 128 tokens a side); later stages 3 x 3, stride 2.
    Source: paper, section IV-B1.
    """

    def __init__(self, channels_in: int, channels: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2)

    def forward(self, image: Tensor) -> tuple[Tensor, Grid]:
        """(B, C_in, H, W) -> tokens (B, N, C) and their grid."""
        patches: Tensor = self.conv(image)
        return as_tokens(patches), (patches.shape[2], patches.shape[3])


class PatchEmbedding(PatchConv):
    """Overlapped patches and their LayerNorm."""

    def __init__(self, channels_in: int, channels: int, *, kernel: int, stride: int) -> None:
        super().__init__(channels_in, channels, kernel=kernel, stride=stride)
        self.norm = nn.LayerNorm(channels)

    def forward(self, image: Tensor) -> tuple[Tensor, Grid]:
        tokens, grid = super().forward(image)
        return self.norm(tokens), grid


class ReducedAttention(nn.Module):
    """Multi-head attention on a source whose grid was reduced ``reduction`` times in both directions.

    The paper's eq. 1 and 2 (reshape, then Linear) are one convolution with kernel = stride = reduction; it is followed
    by a LayerNorm, as in PVT and SegFormer. Self-attention where source = queries, cross-attention otherwise.

    ``form``: with one head, the output projection may as well be applied to the few values as to the many results
    (``folded``), since the weights of each query sum to 1; differs from ``plain`` by rounding alone.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        reduction: int,
        *,
        projection: bool = True,
        scale: AttentionScale = "head",
        dropout: float = 0.0,
        form: Form = "folded",
    ) -> None:
        super().__init__()
        self.heads, self.reduction, self.dropout = heads, reduction, dropout
        self.form: Form = form
        self.scale = (width // heads if scale == "head" else width) ** -0.5
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.projection = nn.Linear(width, width) if projection else nn.Identity()
        if reduction > 1:
            self.reduce = nn.Conv2d(width, width, reduction, reduction)
            self.reduce_norm = nn.LayerNorm(width)

    def forward(self, queries: Tensor, source: Tensor, grid: Grid) -> Tensor:
        """(B, N, C), (B, N, C) -> (B, N, C)."""
        return self.attend(queries, as_tokens(self.reduce(as_map(source, grid))) if self.reduction > 1 else source)

    def attend(self, queries: Tensor, source: Tensor) -> Tensor:
        """(B, N, C) and what the reducing convolution gave, (B, N / reduction^2, C) -> (B, N, C)."""
        if self.reduction > 1:
            source = self.reduce_norm(source)
        query = self.query(queries).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, C / heads)
        pair = self.key_value(source).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        key, value = pair[0], pair[1]  # (B, heads, N / reduction^2, C / heads)
        dropout = self.dropout if self.training else 0.0
        early = self.form == "folded" and self.heads == 1 and dropout == 0.0
        if early:
            value = self.projection(value)
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=self.scale)
        tokens = mixed.transpose(1, 2).flatten(2)
        result: Tensor = tokens if early else self.projection(tokens)
        return result


class MixFfn(nn.Module):
    """Linear, depthwise 3 x 3, GELU, Linear; zero padding of the convolution encodes the tokens' positions (eq. 4)."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        hidden = ratio * width
        self.expand = nn.Linear(width, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        hidden = as_tokens(self.depthwise(as_map(self.expand(tokens), grid)))
        if self.training and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return gelu_linear(hidden, self.contract.weight, self.contract.bias)
        result: Tensor = self.contract(F.gelu(hidden))
        return result


def full_precision(device: str) -> AbstractContextManager[object]:
    """No autocast in here; the meta device knows none."""
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def upsample(logits: Tensor, size: tuple[int, int], how: Literal["resize", "crop"] = "resize") -> Tensor:
    """Logits at 1/4 -> logits of the input's size: bilinear to exactly ``size``, or 4 x bilinear, then cropped.

    510 px are 127.5 strides: ``resize`` stretches 128 cells over 510 px (factor 3.984), ``crop`` keeps the stride of 4.
    """
    if how == "resize":
        return resize(logits, size)
    return resize(logits, (4 * logits.shape[2], 4 * logits.shape[3]))[:, :, : size[0], : size[1]]


def resize(image: Tensor, size: torch.Size | tuple[int, ...], *, align_corners: bool = False) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), bilinear.

    Cells are areas, unless ``align_corners``: then the centres of the corner cells lie on those of the corner pixels.
    """
    if tuple(image.shape[2:]) == tuple(size):
        return image
    return F.interpolate(image, size=tuple(size), mode="bilinear", align_corners=align_corners)
