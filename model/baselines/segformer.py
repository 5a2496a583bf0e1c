"""SegFormer-B2: the single-branch rows of Tables I, II and V.

Source: Xie et al. 2021 (arXiv 2105.15203). With 12 bands it has exactly the paper's 27.38 M parameters (27,381,769) and
114.53 GFLOP (114.5277 by the paper's rule at 512 px).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...pipeline.errors import UsageError
from ...pipeline.spec.classes import DYNAMIC_WORLD
from ..blocks.decoder import MlpDecoder
from ..blocks.layers import Form, check_size, initialise, quieten, upsample
from ..blocks.mit import MixTransformer, check_mit


@dataclass(frozen=True)
class SegFormerConfig:
    """Choices of the network; ``decoder`` as in ``decoder.MlpDecoder``. Bands of both inputs are concatenated."""

    primary_bands: int = 10
    auxiliary_bands: int = 2
    classes: int = len(DYNAMIC_WORLD)
    widths: tuple[int, ...] = (64, 128, 320, 512)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    heads: tuple[int, ...] = (1, 2, 5, 8)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    ffn_ratio: int = 4
    decoder_width: int = 768
    decoder: Form = "folded"
    norm_eps: float = 1e-6
    dropout: float = 0.1
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        check_mit(self)
        if self.primary_bands < 1 or self.auxiliary_bands < 0:
            raise UsageError(f"segformer needs at least one band, not {self.primary_bands} + {self.auxiliary_bands}")


SMALL = SegFormerConfig(
    widths=(32, 64, 96, 128),
    depths=(1, 1, 1, 1),
    heads=(1, 2, 3, 4),
    decoder_width=64,
    dropout=0.0,
    drop_path=0.0,
)
"""As small as the small SpecSAR-Former."""


class SegFormer(nn.Module):
    """MiT encoder and all-MLP decoder on all bands at once."""

    def __init__(self, config: SegFormerConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SegFormerConfig()
        self.encoder = MixTransformer(config.primary_bands + config.auxiliary_bands, config)
        self.decoder = MlpDecoder(
            config.widths, config.decoder_width, config.classes, dropout=config.dropout, form=config.decoder
        )
        self.apply(initialise)
        quieten(self.decoder.classify)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """Float32 (B, C_p, H, W) and (B, C_a, H, W), C_a may be 0 -> logits (B, classes, H, W)."""
        check_size(primary)
        image = torch.cat([primary, auxiliary], dim=1)
        return upsample(self.decoder(self.encoder(image)), (primary.shape[2], primary.shape[3]))
