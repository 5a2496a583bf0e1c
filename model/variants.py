"""What is scored beside a network as it is: the calibrated network, and probabilities averaged over symmetries.

Each variant has a name, which stands in its file of scores, so that no two are mixed up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .calibration import Calibration
from .symmetries import mean_probabilities, plain


@dataclass(frozen=True)
class Variant:
    """A way to read a network's logits.

    Attributes:
        tta: averaged over the eight symmetries of a tile.
        calibration: of the run, or None.
    """

    tta: bool = False
    calibration: Calibration | None = None

    @property
    def name(self) -> str:
        """``tta-calibrated``; empty for the network as it is."""
        return variant_name(tta=self.tta, calibrated=self.calibration is not None)

    @property
    def sentence(self) -> str:
        """How it was calibrated; empty where it was not."""
        return "" if self.calibration is None else self.calibration.sentence()

    @property
    def meaning(self) -> Callable[[Tensor], Tensor]:
        """Logits -> probabilities."""
        return plain if self.calibration is None else self.calibration.probabilities


def variant_name(*, tta: bool = False, calibrated: bool = False) -> str:
    """Name of a variant in files of scores."""
    return "-".join([*(["tta"] if tta else []), *(["calibrated"] if calibrated else [])])


def variants_of(calibration: Calibration | None, *, tta: bool) -> list[Variant]:
    """Those that are scored together: as it is first, then calibrated."""
    return [Variant(tta), *([] if calibration is None else [Variant(tta, calibration)])]


def variant_logits(network: nn.Module, inputs: Sequence[Tensor], variants: Sequence[Variant]) -> list[Tensor]:
    """Logits of each variant, (B, K, H, W); the network runs once for all, or once for each symmetry.

    Averaged probabilities have their logarithms for logits.
    """
    if variants[0].tta:
        means = mean_probabilities(network, inputs, [one.meaning for one in variants], tta=True)
        return [mean.clamp(min=torch.finfo(mean.dtype).tiny).log() for mean in means]
    logits = network(*inputs)
    return [logits if one.calibration is None else one.calibration.logits(logits) for one in variants]
