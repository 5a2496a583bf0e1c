"""The eight symmetries of a square, and what a network says on average over them (test-time augmentation).

Used by scores and by maps alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from .loader import Symmetry

SYMMETRIES = tuple(Symmetry(turns, mirrored) for turns in range(4) for mirrored in (False, True))
"""The first one leaves an image as it is."""


def mean_probabilities(
    network: nn.Module,
    inputs: Sequence[Tensor],
    meanings: Sequence[Callable[[Tensor], Tensor]],
    *,
    tta: bool,
) -> list[Tensor]:
    """Probabilities of each meaning of the logits, float32 (B, K, H, W): of the images as they are, or averaged.

    Args:
        network: in evaluation mode.
        inputs: normalised, (B, C, H, W) each.
        meanings: logits -> probabilities, such as a softmax; the network runs once for all of them.
        tta: average the probabilities over the eight symmetries (eight times the work).
    """
    totals: list[Tensor] = []
    chosen = SYMMETRIES if tta else SYMMETRIES[:1]
    for symmetry in chosen:
        logits = network(*(symmetry(one) for one in inputs)).float()
        found = [symmetry.undo(meaning(logits)) for meaning in meanings]
        totals = [total + one for total, one in zip(totals, found, strict=True)] if totals else found
    return [total / len(chosen) for total in totals] if tta else totals


def plain(logits: Tensor) -> Tensor:
    """Softmax over the classes: (B, K, ...) -> the same."""
    return logits.softmax(dim=1)
