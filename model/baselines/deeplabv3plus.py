"""DeepLabV3+ with Xception-71: atrous pyramid at 1/16, decoder at 1/4. A single-branch row of Tables I and II.

Source: Chen et al. 2018, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation" (arXiv
1802.02611), as Tramac/awesome-semantic-segmentation-pytorch builds it with Xception-71 and an output stride of 8. That
network has exactly the paper's 57.56 M parameters (57,564,748) and 174.42 GFLOP (by the paper's rule at 512 px,
auxiliary head included) with 12 bands; with the same weights this one gives the same logits. That the paper's authors
ran it is inferred from the two figures.

What its "output stride of 8" does: the fourth entry block of Xception-71 does not stride, the middle flow and the exit
block dilate by 2, the exit steps by 4. Three entry blocks and the stem stride, so the deepest maps are at 1/16.

Differences from Chen et al., all in Tramac's: plain instead of separable convolutions in pyramid and decoder, rates 12,
24 and 36 (theirs are 6, 12 and 18 at stride 16), a 3 x 3 instead of a 1 x 1 on the low-level map, an auxiliary head on
the middle flow; ReLUs in place, so shortcuts and auxiliary head get the ReLU of their input (``skip="rectified"``),
but for the third entry block, which begins without one (``third_relu=False``); resizing that aligns corners; for the
encoder see ``xception``.

Settings that have no part in the counts reach other forms; all of ``OLDER_FORM`` together is what earlier versions of
this package built: shortcuts as they are, dilations 1, 1, 2, cells as areas.

Weights start at random, not from ImageNet, for the paper trains from scratch: as He et al. 2015 have it (fan-out, a
depthwise convolution's fan per channel), separable ones as ``xception.initialise_step`` says, logits near 0.
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
from ..blocks.convolutions import conv_norm, head, tied
from ..blocks.layers import initialise, quieten, resize
from ..blocks.xception import Dilations, SkipInput, Xception, initialise_step
from ..domains import check_domains


@dataclass(frozen=True)
class DeepLabV3PlusConfig:
    """Choices of the network; bands of both inputs are concatenated.

    Attributes:
        stem_widths, entry_widths, middle_blocks, undilated, exit_widths, third_relu, skip: see ``xception.Xception``.
        dilations: of the middle flow, the exit block and the exit steps.
        rates: dilations of the pyramid's 3 x 3 convolutions.
        width: channels of the pyramid's branches and of the decoder.
        low_level_width: channels that the map at 1/4 brings into the decoder.
        dropouts: after the pyramid, after the decoder's first convolution, and before each classification.
        aux: an auxiliary head on the middle flow; the paper's counts include it.
        align_corners: whether resizing puts the centres of corner cells onto those of corner pixels.
    """

    OLDER_FORM: ClassVar[Mapping[str, Any]] = {
        "undilated": 0,
        "dilations": [1, 1, 2],
        "third_relu": True,
        "skip": "raw",
        "align_corners": False,
    }

    primary_bands: int = 10
    auxiliary_bands: int = 2
    classes: int = len(DYNAMIC_WORLD)
    stem_widths: tuple[int, int] = (32, 64)
    entry_widths: tuple[int, int, int] = (128, 256, 728)
    middle_blocks: int = 17
    undilated: int = 1
    dilations: Dilations = (2, 2, 4)
    exit_widths: tuple[int, int, int, int] = (1024, 1536, 1536, 2048)
    third_relu: bool = False
    skip: SkipInput = "rectified"
    rates: tuple[int, ...] = (12, 24, 36)
    width: int = 256
    low_level_width: int = 48
    dropouts: tuple[float, float, float] = (0.5, 0.5, 0.1)
    aux: bool = True
    align_corners: bool = True

    def __post_init__(self) -> None:
        if self.primary_bands < 1 or self.auxiliary_bands < 0:
            raise UsageError(
                f"deeplabv3plus needs at least one band, not {self.primary_bands} + {self.auxiliary_bands}"
            )
        if self.middle_blocks < 1:
            raise UsageError(
                f"middle_blocks is {self.middle_blocks}; at least 1 is needed, 17 are Xception-71's, 16 Xception-65's"
            )
        if not 0 <= self.undilated <= self.middle_blocks:
            raise UsageError(f"undilated is {self.undilated}; choose 0 to middle_blocks ({self.middle_blocks})")
        check_domains(self)
        if self.aux and self.entry_widths[-1] < 4:
            raise UsageError(
                f"entry_widths end with {self.entry_widths[-1]} channels, the auxiliary head needs 4; widen it or set "
                "aux to false"
            )


SMALL = DeepLabV3PlusConfig(
    stem_widths=(8, 16),
    entry_widths=(16, 24, 32),
    middle_blocks=2,
    exit_widths=(40, 48, 48, 64),
    rates=(1, 2, 3),
    width=24,
    low_level_width=8,
    dropouts=(0.0, 0.0, 0.0),
)
"""The same structure, narrow and shallow."""


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: 1 x 1, dilated 3 x 3s and the whole map's average, side by side.

    Source: Chen et al. 2017 (arXiv 1706.05587), figure 5.
    """

    def __init__(self, channels_in: int, channels: int, *, rates: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.point = conv_norm(channels_in, channels)
        self.dilated = nn.ModuleList(conv_norm(channels_in, channels, 3, dilation=rate) for rate in rates)
        self.average = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_norm(channels_in, channels))
        self.project = nn.Sequential(conv_norm((2 + len(rates)) * channels, channels), nn.Dropout(dropout))

    def forward(self, image: Tensor) -> Tensor:
        """(B, C_in, h, w) -> (B, C, h, w)."""
        average = self.average(image).expand(-1, -1, *image.shape[-2:])
        branches = [self.point(image), *(dilated(image) for dilated in self.dilated), average]
        result: Tensor = self.project(torch.cat(branches, dim=1))
        return result


class Decoder(nn.Module):
    """The pyramid's map, enlarged to that of the low level, both refined together into logits."""

    def __init__(
        self,
        low_channels: int,
        low_width: int,
        width: int,
        classes: int,
        *,
        dropouts: tuple[float, float],
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.low_level = conv_norm(low_channels, low_width, 3)
        self.refine = nn.Sequential(
            conv_norm(width + low_width, width, 3),
            nn.Dropout(dropouts[0]),
            conv_norm(width, width, 3),
            nn.Dropout(dropouts[1]),
        )
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, deep: Tensor, low: Tensor) -> Tensor:
        """(B, C, H / 16, W / 16) and (B, C_low, H / 4, W / 4) -> logits (B, classes, H / 4, W / 4)."""
        enlarged = resize(deep, low.shape[-2:], align_corners=self.align_corners)
        both = torch.cat([enlarged, self.low_level(low)], dim=1)
        logits: Tensor = self.classify(self.refine(both))
        return logits


class DeepLabV3Plus(nn.Module):
    """Xception, atrous pyramid, decoder. Trains on two images or more: the pyramid normalises one pixel an image."""

    def __init__(self, config: DeepLabV3PlusConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DeepLabV3PlusConfig()
        self.encoder = Xception(
            config.primary_bands + config.auxiliary_bands,
            stem=config.stem_widths,
            entry=config.entry_widths,
            middle_blocks=config.middle_blocks,
            undilated=config.undilated,
            dilations=config.dilations,
            exit_widths=config.exit_widths,
            third_relu=config.third_relu,
            skip=config.skip,
        )
        self.pyramid = AtrousPyramid(
            config.exit_widths[-1], config.width, rates=config.rates, dropout=config.dropouts[0]
        )
        self.decoder = Decoder(
            config.entry_widths[0],
            config.low_level_width,
            config.width,
            config.classes,
            dropouts=config.dropouts[1:],
            align_corners=config.align_corners,
        )
        if config.aux:
            middle = config.entry_widths[-1]
            self.aux_head = head(middle, middle // 4, config.classes, dropout=config.dropouts[2])
        self._initialise()

    def _initialise(self) -> None:
        self.apply(initialise)
        self.apply(initialise_step)
        quieten(self.decoder.classify)
        if self.has_aux:
            classify = self.aux_head[-1]
            assert isinstance(classify, nn.Conv2d)
            quieten(classify)

    @property
    def has_aux(self) -> bool:
        """Whether ``forward`` can return the auxiliary head's logits."""
        return self.config.aux

    def forward(self, primary: Tensor, auxiliary: Tensor, *, aux: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Float32 (B, C_p, H, W) and (B, C_a, H, W), C_a may be 0 -> logits (B, classes, H, W).

        Returns:
            The logits; with ``aux`` those of the auxiliary head too.

        Raises:
            UsageError: ``aux`` is set and the network has no such head.
        """
        if aux and not self.has_aux:
            raise UsageError("this deeplabv3plus has no auxiliary head; build it with aux = true")
        enlarge = partial(resize, size=primary.shape[-2:], align_corners=self.config.align_corners)
        low, middle, deep = self.encoder(torch.cat([primary, auxiliary], dim=1))
        logits = enlarge(self.decoder(self.pyramid(deep), low))
        if aux:
            return logits, enlarge(self.aux_head(middle))
        if self.training and self.has_aux:
            return tied(logits, self.aux_head(middle))
        return logits
