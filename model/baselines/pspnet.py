"""PSPNet on a dilated ResNet-101: the convolutional row of Table II with pyramid pooling.

Source: Zhao et al. 2017 (arXiv 1612.01105). With 12 bands it has exactly the paper's 68.07 M parameters (68,069,650)
and 545.54 GFLOP (by the paper's rule at 512 px, the auxiliary head included; without it 65,707,529 and 526.19). The
figures fit only the stem of three 3 x 3 convolutions with 64, 64 and 128 channels, an output stride of 8, and an input
of 512 px (510 px: 545.42). That is resnet101_v1s of Tramac/awesome-semantic-segmentation-pytorch; that the authors ran
it is inferred.

Difference from the original: trained from scratch, not from ImageNet weights. As there, resizing aligns corners, which
puts cell i exactly on pixel 8 i for inputs of 8 k + 1 pixels. ``align_corners=False`` takes cells as areas, as earlier
versions of this package did: 512 px are 64 cells of 8 px.

Weights start as in the original without its pretraining: the encoder as ResNet's (He et al. 2015, fan-out), the heads
by PyTorch's defaults.

Letters: B batch, C and D channels, h and w the grid of a map, s the side of a pyramid level, H and W the input in
pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...pipeline.errors import UsageError
from ...pipeline.spec.classes import DYNAMIC_WORLD
from ..blocks.convolutions import PyramidPooling, head, tied
from ..blocks.layers import resize
from ..blocks.resnet import RESNET101, OutputStride, ResNet, Stem, check_resnet, map_widths
from ..domains import check_domains

HeadForm = Literal["fused", "plain"]


@dataclass(frozen=True)
class PSPNetConfig:
    """Choices of the network. Bands of both inputs are concatenated.

    Attributes:
        blocks, width, stem, output_stride: of the encoder, as in ``resnet.ResNet``.
        bins: cells a side of the pyramid's levels.
        aux: whether there is an auxiliary head on the encoder's third map; the paper's row has it.
        dropout: before each classification.
        align_corners: whether resizing puts the centres of corner cells onto those of corner pixels.
    """

    OLDER_FORM: ClassVar[Mapping[str, Any]] = {"align_corners": False}

    primary_bands: int = 10
    auxiliary_bands: int = 2
    classes: int = len(DYNAMIC_WORLD)
    blocks: tuple[int, ...] = RESNET101
    width: int = 64
    stem: Stem = "deep"
    output_stride: OutputStride = 8
    bins: tuple[int, ...] = (1, 2, 3, 6)
    aux: bool = True
    dropout: float = 0.1
    align_corners: bool = True

    def __post_init__(self) -> None:
        if self.primary_bands < 1 or self.auxiliary_bands < 0:
            raise UsageError(f"pspnet needs at least one band, not {self.primary_bands} + {self.auxiliary_bands}")
        check_resnet(self.blocks, self.width, self.output_stride)
        if not self.bins or min(self.bins) < 1:
            raise UsageError(f"bins is {self.bins}; one or more numbers from 1 on are wanted, as (1, 2, 3, 6)")
        check_domains(self)


SMALL = PSPNetConfig(blocks=(1, 1, 2, 2), width=8, dropout=0.0)
"""An eighth of the width; both dilated stages keep a block of either dilation."""


class PyramidHead(nn.Module):
    """Pyramid pooling, 3 x 3 convolution over the map and its levels, classification.

    ``form`` chooses between two orders of the same sums, with the same parameters and the same ``state_dict``:

    - ``plain``: as written. Every level is resized to the map, and half of the convolution's input channels are
      resized levels of at most 36 cells: 77 of PSPNet's 545.54 GFLOP at 512 px.
    - ``fused``: resizing and convolving a level are both linear and both split into rows and columns, so they become
      two matrix products with the level's few cells (``_spread``). Differs by rounding alone.
    """

    def __init__(
        self, channels: int, classes: int, *, bins: tuple[int, ...], dropout: float, align_corners: bool = False
    ) -> None:
        super().__init__()
        hidden, of_level = channels // 4, channels // len(bins)  # the levels together are as wide as the map
        self.form: HeadForm = "fused"
        self.pyramid = PyramidPooling(channels, of_level, bins=bins, align_corners=align_corners)
        self.fuse = nn.Conv2d(channels + len(bins) * of_level, hidden, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Conv2d(hidden, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> logits (B, classes, h, w)."""
        mixed = self._mixed_fused(image) if self.form == "fused" else self.fuse(self.pyramid(image))
        logits: Tensor = self.classify(self.dropout(self.activation(self.norm(mixed))))
        return logits

    def _mixed_fused(self, image: Tensor) -> Tensor:
        weight, rest = self.fuse.weight.tensor_split([image.shape[1]], dim=1)
        levels = [level(image) for level in self.pyramid.levels]
        weights = rest.chunk(len(levels), dim=1)
        size, align = (image.shape[2], image.shape[3]), self.pyramid.align_corners
        return F.conv2d(image, weight, padding=1) + _spread(levels, weights, size, align_corners=align)


def _spread(
    levels: list[Tensor], weights: tuple[Tensor, ...], size: tuple[int, int], *, align_corners: bool = False
) -> Tensor:
    """Sum over the levels of: resize to ``size``, then convolve 3 x 3 with zeros around.

    A level's cells are multiplied with all nine taps; then columns and rows are spread over the map.

    Args:
        levels: (B, C, s, s) each, with its own s.
        weights: (D, C, 3, 3) each.
        size: (h, w).
        align_corners: of the resizing.

    Returns:
        (B, D, h, w).
    """
    spreading = partial(_spreading, align_corners=align_corners)
    parts: list[Tensor] = []
    for level, weight in zip(levels, weights, strict=True):
        cells = torch.einsum("bcij,dcyx->bdyixj", level, weight).flatten(4)  # (B, D, 3, s, 3 s)
        parts.append((cells @ spreading(level, size[1]).T).flatten(2, 3))  # (B, D, 3 s, w)
    rows = torch.cat([spreading(level, size[0]) for level in levels], dim=1)  # (h, all 3 s)
    return rows @ torch.cat(parts, dim=2)


def _spreading(level: Tensor, length: int, *, align_corners: bool) -> Tensor:
    """Share of cell i in what tap y of a 3-wide window sees at a position of the resized row: (length, 3 s), y first.

    Column i of the resized identity is how far cell i reaches; a tap sees the position before, at or after its own.
    """
    side = level.shape[-1]
    reach = F.interpolate(
        torch.eye(side, device=level.device)[None], size=length, mode="linear", align_corners=align_corners
    )  # (1, s, length)
    windows = F.pad(reach[0], (1, 1)).unfold(1, 3, 1)  # (s, length, 3)
    return windows.permute(1, 2, 0).flatten(1).to(level.dtype)


class PSPNet(nn.Module):
    """ResNet, pyramid head on its last map, auxiliary head on the one before."""

    def __init__(self, config: PSPNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PSPNetConfig()
        third, last = map_widths(config.width)[2:]
        self.encoder = ResNet(
            config.primary_bands + config.auxiliary_bands,
            config.blocks,
            width=config.width,
            stem=config.stem,
            output_stride=config.output_stride,
        )
        self.head = PyramidHead(
            last, config.classes, bins=config.bins, dropout=config.dropout, align_corners=config.align_corners
        )
        if config.aux:
            self.aux_head = head(third, third // 4, config.classes, dropout=config.dropout)

    @property
    def has_aux(self) -> bool:
        """Whether ``forward`` can return the auxiliary head's logits."""
        return self.config.aux

    def forward(self, primary: Tensor, auxiliary: Tensor, *, aux: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Logits of the input's size, on request with those of the auxiliary head.

        Args:
            primary, auxiliary: float32 (B, C_p, H, W) and (B, C_a, H, W), C_a may be 0.
            aux: whether to return the auxiliary head's logits too.

        Returns:
            (B, classes, H, W), or a pair of such.

        Raises:
            UsageError: ``aux`` is set and the network has no auxiliary head.
        """
        if aux and not self.has_aux:
            raise UsageError("this pspnet has no auxiliary head; build it with aux = true")
        image = torch.cat([primary, auxiliary], dim=1)
        third, last = self.encoder(image)[2:]
        enlarge = partial(resize, size=image.shape[-2:], align_corners=self.config.align_corners)
        logits = enlarge(self.head(last))
        if not (aux or (self.training and self.has_aux)):
            return logits
        aux_logits = self.aux_head(third)
        return (logits, enlarge(aux_logits)) if aux else tied(logits, aux_logits)
