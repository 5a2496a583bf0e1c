"""CMX-B2: two Mix Transformers that rectify each other, one fused map a stage.

Source: Zhang et al. 2023, "CMX: Cross-Modal Fusion for RGB-X Semantic Segmentation with Transformers" (arXiv
2203.04838, IEEE T-ITS). With 10 + 2 bands it has exactly the paper's 66.58 M parameters (66,583,825) and 114.74 GFLOP
(114.7375 by the paper's rule at 512 px).

Inferred from these two figures: the decoder is 512 wide (256 gives 65.53 M, 768 gives 68.16 M). Its fusing convolution
has no bias, as in the code of CMNeXt's authors; CMX's own has one, 512 parameters that both printed figures would
forgive. Weights start as SegFormer's (and CMX's), without pretraining.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ...pipeline.errors import UsageError
from ...pipeline.spec.classes import DYNAMIC_WORLD
from ..blocks.decoder import MlpDecoder
from ..blocks.fusion import DualEncoder
from ..blocks.layers import Form, check_size, initialise, quieten, upsample
from ..blocks.mit import MixTransformer, check_mit


@dataclass(frozen=True)
class CmxConfig:
    """Choices of the network; both encoders are alike but for their bands.

    Attributes:
        primary_bands, auxiliary_bands: channels of the two inputs.
        classes: outputs.
        widths, depths, heads, reductions: per stage, MiT-B2; ``heads`` are also those of the fusion.
        ffn_ratio: hidden width of the Mix-FFN over its width.
        decoder_width, decoder: ``decoder.MlpDecoder``.
        norm_eps: epsilon of the encoders' LayerNorms, but 1e-5 after patch embeddings and reductions (as SegFormer).
        dropout: before the classifier, whole channels.
        drop_path: stochastic depth of the last block; earlier ones linearly less.
    """

    primary_bands: int = 10
    auxiliary_bands: int = 2
    classes: int = len(DYNAMIC_WORLD)
    widths: tuple[int, ...] = (64, 128, 320, 512)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    heads: tuple[int, ...] = (1, 2, 5, 8)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    ffn_ratio: int = 4
    decoder_width: int = 512
    decoder: Form = "folded"
    norm_eps: float = 1e-6
    dropout: float = 0.1
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        check_mit(self)
        if self.primary_bands < 1 or self.auxiliary_bands < 1:
            raise UsageError(
                f"cmx needs two inputs, not {self.primary_bands} + {self.auxiliary_bands} bands; segformer takes one"
            )


SMALL = CmxConfig(
    widths=(32, 64, 96, 128),
    depths=(1, 1, 1, 1),
    heads=(1, 2, 3, 4),
    decoder_width=64,
    dropout=0.0,
    drop_path=0.0,
)
"""The same network, small enough for tests."""


class Cmx(nn.Module):
    """Two MiT encoders joined after every stage, and an all-MLP decoder on the fused maps."""

    def __init__(self, config: CmxConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CmxConfig()
        self.encoder = DualEncoder(
            _stages(config, config.primary_bands),
            _stages(config, config.auxiliary_bands),
            widths=config.widths,
            heads=config.heads,
        )
        self.decoder = MlpDecoder(
            config.widths, config.decoder_width, config.classes, dropout=config.dropout, form=config.decoder
        )
        self.apply(initialise)
        quieten(self.decoder.classify)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """Float32 (B, C_p, H, W) and (B, C_a, H, W), H and W from 29 px -> logits (B, classes, H, W).

        Raises:
            UsageError: the input is too small.
        """
        check_size(primary)
        logits = self.decoder(self.encoder(primary, auxiliary))
        return upsample(logits, (primary.shape[2], primary.shape[3]))


def _stages(config: CmxConfig, bands: int) -> nn.ModuleList:
    return MixTransformer(bands, config).stages
