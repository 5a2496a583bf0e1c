"""What is scored beside a network as it is: the calibrated network, and probabilities averaged over symmetries.

Each variant has a name, which stands in its file of scores, so that no two are mixed up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .calibration import Calibration
from .metrics import predicted_classes
from .scores.counting import Counted, count_batch, count_with_other_logits, counted_rows
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


def variant_counts(
    network: nn.Module, inputs: Sequence[Tensor], label: Tensor, variants: Sequence[Variant]
) -> list[Counted]:
    """Counts of each variant; the network runs once for all, or once for each symmetry.

    Averaged probabilities have their logarithms for logits. A calibration that keeps the classes is counted in the
    rows of calibration alone.

    Args:
        network: of both inputs.
        inputs: float32 (B, C, H, W) each, normalised.
        label: uint8 (B, H, W), class index or ``IGNORE``.
        variants: of ``variants_of``.
    """
    if variants[0].tta:
        means = mean_probabilities(network, inputs, [one.meaning for one in variants], tta=True)
        return [_counted(label, mean.clamp(min=torch.finfo(mean.dtype).tiny).log()) for mean in means]
    logits = network(*inputs)
    prediction, rows = predicted_classes(logits), counted_rows(logits)
    counted = [count_batch(label, prediction, logits, rows)]
    for calibration in (one.calibration for one in variants[1:] if one.calibration is not None):
        if calibration.changes_classes:
            counted.append(_counted(label, calibration.logits(logits)))
        else:
            counted.append(count_with_other_logits(counted[0], label, prediction, calibration.logits(rows)))
    return counted


def _counted(label: Tensor, logits: Tensor) -> Counted:
    return count_batch(label, predicted_classes(logits), logits)
