"""The all-MLP decoder of SegFormer, which SpecSAR-Former, CMX and CMNeXt share: as published, and folded.

Comes after the encoders (``layers.py``) and before ``layers.upsample``; ``strips.py`` has the step that trains it on a
processor. Letters as in ``layers.py``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Form, Grid, as_map, as_tokens, full_precision, resize
from .strips import norm_relu_classify

STRIP_ROWS = 32
"""Rows at a time: 12 MiB at 510 px."""

NARROW = 2
"""Maps that go up before they are projected: the second one has so few channels that it costs no more, and spares
reading and writing the widest map once more."""


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
        self, widths: tuple[int, ...], width: int, classes: int, *, dropout: float, form: Form = "folded"
    ) -> None:
        super().__init__()
        self.form: Form = form
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
            # No other code needs the output of BatchNorm, so ReLU overwrites it.
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
            resize(linear(as_tokens(one)).transpose(1, 2).reshape(one.shape[0], -1, *one.shape[2:]), maps[0].shape[2:])
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
        """As ``forward``, from one strip of rows to the next: what is 48 MiB wide at 510 px stays in the cache."""
        weights, bias = self._folded_weights()
        scale, shift = _affine_of(self.norm)
        weights, bias = [weight * scale[:, None] for weight in weights], bias * scale + shift
        batch, classify = maps[0].shape[0], self.classify.weight[:, :, 0, 0]
        strips: list[Tensor] = []
        for top in range(0, maps[0].shape[2], STRIP_ROWS):
            fused = _fused(maps, weights, bias, slice(top, top + STRIP_ROWS))
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
