"""DeepLabV3+ with Xception: atrous pyramid at 1/16, decoder at 1/4. A single-branch row of Tables I and II.

Source: Chen et al. 2018, "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation" (arXiv
1802.02611). With 12 bands it has exactly the paper's 57.56 M parameters (57,564,748) and 174.42 GFLOP (by the paper's
rule at 512 px, auxiliary head included).

Inferred from these two figures, for the authors' code is not known: output stride 16, an auxiliary head on the middle
flow, and **17** middle blocks; with the 16 of Xception-65 (``middle_blocks=16``) it has 55.9464 M and 171.09 GFLOP.

Differences from Chen et al., as counted: plain instead of separable convolutions in pyramid and decoder, rates 12, 24
and 36 (theirs are 6, 12 and 18 at stride 16), a 3 x 3 instead of a 1 x 1 on the low-level map, the auxiliary head; for
the encoder see ``xception``. The counts do not determine the following:

- ``skip``: Chen et al. add the blocks' inputs as they are (``raw``, the default). The public PyTorch implementation
  whose layers fit the counts rectifies in place, so its shortcuts - and its auxiliary head - get the ReLU of them:
  ``rectified`` does the same.
- Maps are resized as everywhere in this package, cells as areas (``align_corners=False``). Both implementations align
  corners, which is exact for inputs of 16 k + 1 pixels; of 512 px it would stretch the map at 1/16.
- Weights start at random, not from ImageNet, for the paper trains from scratch: as He et al. 2015 have it (fan-out, a
  depthwise convolution's fan per channel), separable ones as ``xception.initialise_step`` says, logits near 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...pipeline.errors import UsageError
from ...pipeline.spec.landcover import CLASS_COUNT
from ..blocks.convolutions import conv_norm, head, tied
from ..blocks.layers import initialise, quieten, resize
from ..blocks.xception import SkipInput, Xception, initialise_step


@dataclass(frozen=True)
class DeepLabV3PlusConfig:
    """Choices of the network; bands of both inputs are concatenated.

    Attributes:
        stem_widths, entry_widths, middle_blocks, exit_widths, skip: see ``xception.Xception``.
        rates: dilations of the pyramid's 3 x 3 convolutions.
        width: channels of the pyramid's branches and of the decoder.
        low_level_width: channels that the map at 1/4 brings into the decoder.
        dropouts: after the pyramid, after the decoder's first convolution, and before each classification.
        aux: an auxiliary head on the middle flow; the paper's counts include it.
    """

    primary_bands: int = 10
    auxiliary_bands: int = 2
    classes: int = CLASS_COUNT
    stem_widths: tuple[int, int] = (32, 64)
    entry_widths: tuple[int, int, int] = (128, 256, 728)
    middle_blocks: int = 17
    exit_widths: tuple[int, int, int, int] = (1024, 1536, 1536, 2048)
    skip: SkipInput = "raw"
    rates: tuple[int, ...] = (12, 24, 36)
    width: int = 256
    low_level_width: int = 48
    dropouts: tuple[float, float, float] = (0.5, 0.5, 0.1)
    aux: bool = True

    def __post_init__(self) -> None:
        if self.primary_bands < 1 or self.auxiliary_bands < 0:
            raise UsageError(
                f"deeplabv3plus needs at least one band, not {self.primary_bands} + {self.auxiliary_bands}"
            )
        if self.middle_blocks < 1:
            raise UsageError(f"middle_blocks is {self.middle_blocks}; at least 1 is needed, 16 are Xception-65's")
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
        self, low_channels: int, low_width: int, width: int, classes: int, *, dropouts: tuple[float, float]
    ) -> None:
        super().__init__()
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
        both = torch.cat([resize(deep, low.shape[-2:]), self.low_level(low)], dim=1)
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
            exit_widths=config.exit_widths,
            skip=config.skip,
        )
        self.pyramid = AtrousPyramid(
            config.exit_widths[-1], config.width, rates=config.rates, dropout=config.dropouts[0]
        )
        self.decoder = Decoder(
            config.entry_widths[0], config.low_level_width, config.width, config.classes, dropouts=config.dropouts[1:]
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
        size = primary.shape[-2:]
        low, middle, deep = self.encoder(torch.cat([primary, auxiliary], dim=1))
        logits = resize(self.decoder(self.pyramid(deep), low), size)
        if aux:
            return logits, resize(self.aux_head(middle), size)
        if self.training and self.has_aux:
            return tied(logits, self.aux_head(middle))
        return logits
