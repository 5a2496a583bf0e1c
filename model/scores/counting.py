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

ROWS = 2
"""Calibration is counted in one of so many rows of a tile, from the first one on."""

_SAFE = 1e15
"""Where the largest e^logit of each pixel is within this, its square and sums over classes fit float32 as they are."""


class Counted(NamedTuple):
    """Counts of the tiles of a batch; whole numbers, so that sums over tiles are exact in any order.

    Attributes:
        matrices: int64 (B, K, K), rows truth, columns prediction.
        bins: int64 (B, 3, BINS), as ``metrics.Sums``: pixels, right pixels, confidences in millionths, of every second
            row.
        squared_errors: int64 (B,), in millionths, of the same rows.
    """

    matrices: Tensor
    bins: Tensor
    squared_errors: Tensor


def count_batch(label: Tensor, prediction: Tensor, logits: Tensor, rows: Tensor | None = None) -> Counted:
    """Counts of each tile of a batch; values are trusted.

    The matrix is of all pixels. Calibration is counted in every second row, whose neighbours resemble it: it would cost
    more than all the rest, and one percent of the time of the network is what scores may cost.

    Args:
        label: uint8 (B, H, W), class index or ``IGNORE``.
        prediction: uint8 (B, H, W), class of the largest logit.
        logits: float (B, K, H, W).
        rows: their ``counted_rows``, where the caller has them.
    """
    matrices = count_pixels(label, prediction, logits.shape[1])
    rows = counted_rows(logits) if rows is None else rows
    return Counted(matrices, *_count_calibration(label, prediction, rows))


def count_with_other_logits(counted: Counted, label: Tensor, prediction: Tensor, rows: Tensor) -> Counted:
    """Counts of logits that choose the same classes as those counted before, such as logits over a temperature.

    Only calibration is counted again; the matrix stays.

    Args:
        counted: of the logits before.
        label, prediction: uint8 (B, H, W), as of ``count_batch``.
        rows: float32 (B, K, rows, W), the other logits in ``counted_rows``.
    """
    return Counted(counted.matrices, *_count_calibration(label, prediction, rows))


def counted_rows(logits: Tensor) -> Tensor:
    """The rows of a batch in which calibration is counted: (B, K, H, W) -> float32 (B, K, rows, W).

    They are put apart class by class: what follows is several times as fast as on channels that lie side by side.
    """
    return logits[:, :, ::ROWS].float().contiguous()


def _count_calibration(label: Tensor, prediction: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Bins and squared errors of ``Counted``, of labels and classes (B, H, W) and of logits in the counted rows."""
    label, prediction = label[:, ::ROWS], prediction[:, ::ROWS]
    confidence, errors = _confidence_and_errors(rows, label)
    marked = label != IGNORE
    # Ignored pixels go to one more bin, which is dropped: a mask of the pixels would cost more than all of this.
    # Bytes throughout: a bool times a number would be eight of them.
    place = (confidence * BINS).to(torch.uint8).clamp_(max=BINS - 1)
    place += (prediction == label).to(torch.uint8).mul_(BINS)
    place.masked_fill_(~marked, 2 * BINS)
    millionths = (confidence * MILLION).round_().double()
    bins = torch.stack([_bins(one, weights) for one, weights in zip(place, millionths, strict=True)])
    squared = errors.mul_(MILLION).round_().mul_(marked).flatten(1).sum(1, dtype=torch.float64)
    return bins, squared.long()


def _confidence_and_errors(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """float32 (B, H, W) each: the largest probability, and the squared distance of probabilities and truth.

    With e = exp(logit): the largest probability is max(e) / sum(e), and the squared distance is
    sum(e^2) / sum(e)^2 - 2 e[truth] / sum(e) + 1. ``amax`` is vectorised where ``max`` is not.
    """
    powers = logits.exp()
    largest = powers.amax(1)
    if not (float(largest.min()) > 1 / _SAFE and float(largest.max()) < _SAFE):
        powers = (logits - logits.amax(1, keepdim=True)).exp_()
        largest = torch.ones_like(largest)
    share = powers.sum(1).reciprocal_()
    truth = label.clamp(max=logits.shape[1] - 1)[:, None].long()
    of_truth = powers.gather(1, truth)[:, 0].mul_(2)
    errors = powers.square_().sum(1).mul_(share).sub_(of_truth).mul_(share).add_(1)
    return largest.mul_(share), errors


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
