"""Counting a batch: what scores are computed from, tile by tile, on the device that holds the logits.

Comes after the network and before ``tile_table``. The only part of ``scores`` that knows torch.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...pipeline.spec.classes import IGNORE
from ..metrics import BINS, MILLION, count_pixels


class Counted(NamedTuple):
    """Counts of the tiles of a batch; whole numbers, so that sums over tiles are exact in any order.

    Attributes:
        matrices: int64 (B, K, K), rows truth, columns prediction.
        bins: int64 (B, 3, BINS), as ``metrics.Sums``: pixels, right pixels, confidences in millionths.
        squared_errors: int64 (B,), in millionths.
    """

    matrices: Tensor
    bins: Tensor
    squared_errors: Tensor


def count_batch(label: Tensor, prediction: Tensor, logits: Tensor) -> Counted:
    """Counts of each tile of a batch; values are trusted.

    Args:
        label: uint8 (B, H, W), class index or ``IGNORE``.
        prediction: uint8 (B, H, W), class of the largest logit.
        logits: float (B, K, H, W).
    """
    classes = logits.shape[1]
    matrices = count_pixels(label, prediction, classes)
    confidence, errors = _confidence_and_errors(logits.float(), label)
    marked = label != IGNORE
    # Ignored pixels go to one more bin, which is dropped: a mask of the pixels would cost more than all of this.
    place = (confidence * BINS).to(torch.uint8).clamp_(max=BINS - 1) + BINS * (prediction == label)
    place = torch.where(marked, place, torch.tensor(2 * BINS, dtype=torch.uint8, device=place.device))
    millionths = (confidence * MILLION).round_().double()
    bins = torch.stack([_bins(one, weights) for one, weights in zip(place, millionths, strict=True)])
    squared = torch.where(marked, (errors * MILLION).round_(), 0.0).flatten(1).sum(1, dtype=torch.float64)
    return Counted(matrices, bins, squared.long())


def _confidence_and_errors(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """float32 (B, H, W) each: the largest probability, and the squared distance of probabilities and truth.

    With e = exp(logit - largest): the largest probability is 1 / sum(e), and the squared distance is
    sum(e^2) / sum(e)^2 - 2 e[truth] / sum(e) + 1. ``amax`` is vectorised where ``max`` is not.
    """
    powers = (logits - logits.amax(1, keepdim=True)).exp_()
    confidence = powers.sum(1).reciprocal_()
    truth = label.clamp(max=logits.shape[1] - 1)[:, None].long()
    of_truth = powers.gather(1, truth)[:, 0]
    squares = powers.square_().sum(1)
    return confidence, (squares * confidence - 2 * of_truth) * confidence + 1


def _bins(place: Tensor, millionths: Tensor) -> Tensor:
    """int64 (3, BINS) of one tile; sums of whole numbers below 2^53 are exact in float64."""
    flat, length = place.flatten(), 2 * BINS + 1
    pixels = torch.bincount(flat, minlength=length)[: 2 * BINS].view(2, BINS)
    confidences = torch.bincount(flat, millionths.flatten(), minlength=length)[: 2 * BINS].view(2, BINS)
    return torch.stack([pixels.sum(0), pixels[1], confidences.sum(0).long()])


def mask_digest(label: Tensor) -> str:
    """Sixteen hexadecimal digits of which pixels of a tile count; uint8 (H, W) on the CPU."""
    counted = np.packbits(label.numpy() != IGNORE)
    return hashlib.sha256(repr(tuple(label.shape)).encode() + counted.tobytes()).hexdigest()[:16]
