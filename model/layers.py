"""Building blocks of the MiT family: patch embedding, reduced attention, Mix-FFN, all-MLP decoder.

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

from ..pipeline.errors import UsageError
from .recompute import gelu_linear
from .strips import norm_relu_classify

Grid = tuple[int, int]
"""(h, w) of a stage, in tokens."""

DecoderForm = Literal["folded", "plain"]
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
    elif isinstance(module, MlpDecoder):
        quieten(module.classify)
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
        form: DecoderForm = "folded",
    ) -> None:
        super().__init__()
        self.heads, self.reduction, self.dropout = heads, reduction, dropout
        self.form: DecoderForm = form
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
    """Linear, depthwise 3 x 3, GELU, Linear; zero padding of the convolution tells tokens where they are (eq. 4)."""

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


class MlpDecoder(nn.Module):
    """All-MLP decoder: each map to ``width`` channels, to the finest grid, concatenated, fused, classified (eq. 8).

    The maps are concatenated coarsest first. ``form`` chooses between two orders of the same sums, with the same
    parameters and the same ``state_dict``:

    - ``plain``: as written. The fusing 1 x 1 convolution sees 4 x width channels at 1/4 of the input: 77 of the 109.59
      GFLOP of SpecSAR-Former at 512 px.
    - ``folded``: bilinear weights sum to 1, so up-sampling commutes with the two linear maps before the BatchNorm:
      fuse(cat(up(L_i F_i))) = sum_i up((W_i L_i) F_i) + sum_i W_i b_i, with W_i the columns of the fusing weight that
      belong to map i. W_i L_i is multiplied out anew in each call, so gradients reach both. Up-sampling is separable,
      up(Y) = R Y S^T, so maps go up by matrix products (``_fused``). Differs by rounding alone.
    """

    def __init__(
        self, widths: tuple[int, ...], width: int, classes: int, *, dropout: float, form: DecoderForm = "folded"
    ) -> None:
        super().__init__()
        self.form: DecoderForm = form
        self.linears = nn.ModuleList(nn.Linear(channels, width) for channels in widths)
        self.fuse = nn.Conv2d(len(widths) * width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (B, C_i, h_i, w_i), finest first -> logits (B, classes, h_1, w_1)."""
        if self.form == "plain":
            fused = self.activation(self.norm(self._fused_plain(maps)))
            logits: Tensor = self.classify(self.dropout(fused))
            return logits
        if self._may_go_in_strips(maps[0]):
            return self._logits_in_strips(maps)
        fused = self._fused_folded(maps)
        weight = self._weight_after_dropout(fused)
        if self._trains_in_strips(fused):
            logits = norm_relu_classify(as_tokens(fused), self.norm, weight)
        else:
            # What BatchNorm gives is needed by nobody else.
            logits = as_tokens(F.relu_(self.norm(fused))) @ weight.transpose(1, 2)
        assert self.classify.bias is not None
        return as_map(logits + self.classify.bias, (fused.shape[2], fused.shape[3]))

    def _weight_after_dropout(self, fused: Tensor) -> Tensor:
        """(B, classes, width): dropout leaves out whole channels, which is leaving out columns of the classifier."""
        kept = self.dropout(fused.new_ones(fused.shape[0], fused.shape[1], 1, 1)).flatten(1)
        weight: Tensor = self.classify.weight[:, :, 0, 0] * kept[:, None]
        return weight

    def _trains_in_strips(self, fused: Tensor) -> bool:
        return (
            self.training
            and type(self.norm) is nn.BatchNorm2d  # not one that asks other devices
            and fused.device.type == "cpu"
            and fused.dtype in (torch.float32, torch.float64)
            and not torch.compiler.is_compiling()
        )

    def _fused_plain(self, maps: list[Tensor]) -> Tensor:
        """Step by step as it was published, order in memory included."""
        lifted = [
            _resize(linear(as_tokens(one)).transpose(1, 2).reshape(one.shape[0], -1, *one.shape[2:]), maps[0].shape[2:])
            for linear, one in zip(self.linears, maps, strict=True)
        ]
        fused: Tensor = self.fuse(torch.cat(lifted[::-1], dim=1))
        return fused

    def _fused_folded(self, maps: list[Tensor]) -> Tensor:
        """Maps (B, C_i, h_i, w_i) -> (B, width, h_1, w_1), before the norm."""
        fused = _fused(maps, *self._folded_weights())
        return fused.view(maps[0].shape[0], -1, *fused.shape[1:]).permute(0, 3, 1, 2)

    def _may_go_in_strips(self, finest: Tensor) -> bool:
        """In inference on a processor nothing is kept, and nothing needs the whole map at once."""
        return (
            finest.device.type == "cpu"
            and not self.training
            and not torch.is_grad_enabled()
            and not torch.compiler.is_exporting()
        )

    def _logits_in_strips(self, maps: list[Tensor]) -> Tensor:
        """As ``forward``, from one strip of columns to the next: what is 48 MiB wide at 510 px stays in the cache."""
        weights, bias = self._folded_weights()
        scale, shift = _affine_of(self.norm)
        weights, bias = [weight * scale[:, None] for weight in weights], bias * scale + shift
        batch, classify = maps[0].shape[0], self.classify.weight[:, :, 0, 0]
        strips: list[Tensor] = []
        for top in range(0, maps[0].shape[2], _STRIP):
            fused = _fused(maps, weights, bias, slice(top, top + _STRIP))
            logits = F.linear(F.relu_(fused), classify, self.classify.bias)
            strips.append(logits.view(batch, -1, *logits.shape[1:]))
        return torch.cat(strips, dim=1).permute(0, 3, 1, 2)

    def _folded_weights(self) -> tuple[list[Tensor], Tensor]:
        """W_i L_i, each (width, C_i), and the sum of W_i b_i; in float32 also under autocast."""
        with full_precision(self.fuse.weight.device.type):
            slices = self.fuse.weight[:, :, 0, 0].chunk(len(self.linears), dim=1)[::-1]
            parameters = [(linear.weight, linear.bias) for linear in self.linears if isinstance(linear, nn.Linear)]
            weights = [w @ weight for w, (weight, _) in zip(slices, parameters, strict=True)]
            bias = torch.stack([w @ bias for w, (_, bias) in zip(slices, parameters, strict=True)]).sum(0)
        return weights, bias


_STRIP = 32
"""Rows at a time: 12 MiB at 510 px."""


NARROW = 2
"""Maps that go up before they are projected: the second one has so few channels that it costs no more, and spares
reading and writing the widest map once more."""


def _fused(maps: list[Tensor], weights: list[Tensor], bias: Tensor, rows: slice = slice(None)) -> Tensor:
    """The sum of all maps, projected and brought to the finest grid: sum_i R_i (F_i W_i^T) S_i^T.

    Args:
        maps: (B, C_i, h_i, w_i), finest first.
        weights, bias: of the projections, (width, C_i) and (width,).
        rows: of the finest grid that are wanted.

    Returns:
        (B rows, w_1, width), row by row.
    """
    grid, few = (maps[0].shape[2], maps[0].shape[3]), maps[NARROW:]
    fused = F.linear(_narrow(maps[:NARROW], grid, rows), torch.cat(weights[:NARROW], dim=1), None if few else bias)
    if not few:
        return fused
    projected = [F.linear(one.permute(0, 2, 3, 1), weight) for one, weight in zip(few, weights[NARROW:], strict=True)]
    projected[-1] = projected[-1] + bias  # up-sampling leaves a constant alone, and this map has the fewest cells
    tall = torch.cat([_along_columns(one, grid, rows) for one in projected], dim=1)  # (B rows, sum of w_i, width)
    matrices = [_interpolation(one.shape[3], grid[1], one) for one in few]
    return fused.baddbmm_(torch.cat(matrices, dim=1).to(tall.dtype).expand(len(tall), -1, -1), tall)


def _narrow(maps: list[Tensor], grid: Grid, rows: slice) -> Tensor:
    """The first maps on the finest grid, side by side: (B rows, w_1, sum of C_i)."""
    finest = maps[0][:, :, rows].permute(0, 2, 3, 1).flatten(0, 1)
    others = [_along_rows(_along_columns(one.permute(0, 2, 3, 1), grid, rows), grid) for one in maps[1:]]
    return torch.cat([finest, *others], dim=2)


def _along_columns(image: Tensor, grid: Grid, rows: slice) -> Tensor:
    """(B, h, w, C) -> (B rows, w, C), some rows of the finest grid."""
    matrix = _interpolation(image.shape[1], grid[0], image)[rows]
    return torch.matmul(matrix, image.flatten(2)).view(-1, *image.shape[2:])


def _along_rows(image: Tensor, grid: Grid) -> Tensor:
    """(R, w, C) -> (R, w_1, C)."""
    return torch.matmul(_interpolation(image.shape[1], grid[1], image), image)


def _interpolation(cells: int, size: int, like: Tensor) -> Tensor:
    """Matrix (size, cells) of linear interpolation, corners not aligned, as ``F.interpolate`` does it."""
    precise = torch.promote_types(like.dtype, torch.float32)  # half a type is rounded once, at the end
    identity = torch.eye(cells, device=like.device, dtype=precise)
    matrix = F.interpolate(identity[None], size=size, mode="linear", align_corners=False)[0]  # (cells, size)
    return matrix.t().to(like.dtype)


def _affine_of(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a BatchNorm in inference multiplies by and adds, each (C,)."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


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
        return _resize(logits, size)
    return _resize(logits, (4 * logits.shape[2], 4 * logits.shape[3]))[:, :, : size[0], : size[1]]


def _resize(image: Tensor, size: torch.Size | tuple[int, ...]) -> Tensor:
    if tuple(image.shape[2:]) == tuple(size):
        return image
    return F.interpolate(image, size=tuple(size), mode="bilinear", align_corners=False)
