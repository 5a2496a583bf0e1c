"""Scores, all of them functions of one confusion matrix (paper, section V-C).

Rows are the truth, columns the prediction, in pixels; pixels whose truth is ``IGNORE`` are not in it. Scores are
fractions, 0..1.

A class that is neither in the truth nor in the prediction has no score: it is NaN, named in ``absent`` and left out of
the means. A class that is in the truth and never predicted, or predicted and never in the truth, scores 0 and counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..pipeline.errors import DataError, in_brief
from ..pipeline.spec.landcover import CLASS_COUNT, CLASS_NAMES, IGNORE

_CODES = (CLASS_COUNT + 1) * CLASS_COUNT
"""Codes 9 x truth + prediction, with one more truth for ignored pixels: 90, so that a code fits a byte."""


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """Pixels by true and predicted class.

    Attributes:
        counts: int64 (9, 9), rows truth, columns prediction, class indices in order.
    """

    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts)
        if counts.shape != (CLASS_COUNT, CLASS_COUNT) or not np.issubdtype(counts.dtype, np.integer):
            raise DataError(f"a confusion matrix is {CLASS_COUNT} x {CLASS_COUNT} whole numbers, not {counts.shape}")
        frozen = counts.astype(np.int64)
        frozen.flags.writeable = False
        object.__setattr__(self, "counts", frozen)

    @classmethod
    def zero(cls) -> ConfusionMatrix:
        return cls(np.zeros((CLASS_COUNT, CLASS_COUNT), dtype=np.int64))

    @classmethod
    def of(cls, truth: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> ConfusionMatrix:
        """Count pixels.

        Args:
            truth: uint8, class index 0..8 or 255 = ignored.
            prediction: uint8 of the same shape, class index 0..8.

        Raises:
            DataError: the shapes differ or a value is none of these.
        """
        if truth.shape != prediction.shape:
            raise DataError(f"truth is {truth.shape}, prediction {prediction.shape}; they must be of one shape")
        if prediction.size and prediction.max() >= CLASS_COUNT:
            raise DataError(f"prediction holds {prediction.max()}; classes are 0..{CLASS_COUNT - 1}")
        if np.any((truth >= CLASS_COUNT) & (truth != IGNORE)):
            raise DataError(f"truth holds values that are neither 0..{CLASS_COUNT - 1} nor {IGNORE} (ignored)")
        one = torch.from_numpy(np.ascontiguousarray(truth)), torch.from_numpy(np.ascontiguousarray(prediction))
        return cls(count_pixels(one[0][None], one[1][None])[0].numpy())

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        return ConfusionMatrix(self.counts + other.counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConfusionMatrix) and bool(np.array_equal(self.counts, other.counts))

    def __hash__(self) -> int:
        return hash(self.counts.tobytes())

    @property
    def pixels(self) -> int:
        return int(self.counts.sum())

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the classes that are neither in the truth nor in the prediction."""
        seen = self.counts.sum(0) + self.counts.sum(1)
        return tuple(name for name, pixels in zip(CLASS_NAMES, seen, strict=True) if pixels == 0)

    @property
    def iou(self) -> NDArray[np.float64]:
        """(9,) intersection over union; NaN for an absent class."""
        hit, union = self._hit, self.counts.sum(0) + self.counts.sum(1) - self._hit
        return _ratio(hit, union)

    @property
    def f1(self) -> NDArray[np.float64]:
        """(9,) F1 = 2 IoU / (1 + IoU); NaN for an absent class."""
        return _ratio(2 * self._hit, self.counts.sum(0) + self.counts.sum(1))

    @property
    def miou(self) -> float:
        """Unweighted mean of ``iou`` over the classes that are not absent; NaN for an empty matrix."""
        return _mean(self.iou)

    @property
    def macro_f1(self) -> float:
        """Unweighted mean of ``f1`` over the classes that are not absent: the F1 of the paper's tables."""
        return _mean(self.f1)

    @property
    def oa(self) -> float:
        """Overall accuracy: share of pixels that were predicted right; NaN for an empty matrix."""
        return float(self._hit.sum() / self.pixels) if self.pixels else float("nan")

    @property
    def _hit(self) -> NDArray[np.int64]:
        return np.diagonal(self.counts)

    def to_dict(self) -> dict[str, Any]:
        return {"classes": list(CLASS_NAMES), "counts": self.counts.tolist()}

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> ConfusionMatrix:
        """Raises DataError where the matrix is of other classes or no matrix."""
        if list(mapping.get("classes", ())) != list(CLASS_NAMES):
            raise DataError(f"confusion matrix is of classes {mapping.get('classes')}, not of {list(CLASS_NAMES)}")
        try:
            return cls(np.array(mapping["counts"]))
        except (KeyError, ValueError) as error:
            raise DataError(f"no confusion matrix: {in_brief(error)}") from None


@dataclass(frozen=True)
class TileCounts:
    """What adds up over tiles: all that a metric is computed from.

    Attributes:
        matrix: pixels by true and predicted class.
    """

    matrix: ConfusionMatrix

    def __add__(self, other: TileCounts) -> TileCounts:
        return TileCounts(self.matrix + other.matrix)

    def scores(self) -> dict[str, Any]:
        """All metrics for JSON: the overall ones by key, those of each class, absent; None where there is no score."""
        of_classes = {metric.key: metric.value(self) for metric in METRICS if metric.per_class}
        pixels = self.matrix.counts.sum(1)
        classes = {
            name: {
                **{key: _or_none(values[index]) for key, values in of_classes.items()},
                "pixels": int(pixels[index]),
            }
            for index, name in enumerate(CLASS_NAMES)
        }
        return {
            **{metric.key: _or_none(metric.value(self)) for metric in overall()},
            "classes": classes,
            "absent": list(self.matrix.absent),
            "pixels": self.matrix.pixels,
        }


@dataclass(frozen=True)
class Metric:
    """One score, wherever scores are written or shown.

    Attributes:
        key: in ``metrics.jsonl``, ``scores.json`` and the paper's tables; overall and class metrics have keys apart.
        title: as people write it.
        value: a fraction 0..1, NaN where there is no score; of a class metric float64 (9,).
        per_class: one value for each class instead of one for all.
    """

    key: str
    title: str
    value: Callable[[TileCounts], Any]
    per_class: bool = False


METRICS: tuple[Metric, ...] = (
    Metric("miou", "mIoU", lambda counts: counts.matrix.miou),
    Metric("oa", "OA", lambda counts: counts.matrix.oa),
    Metric("f1", "F1", lambda counts: counts.matrix.macro_f1),
    Metric("iou", "IoU", lambda counts: counts.matrix.iou, per_class=True),
    Metric("f1", "F1", lambda counts: counts.matrix.f1, per_class=True),
)
"""Every metric: the epoch row, the console, ``scores.json`` and the report loop over it (described in
``docs/networks.md``)."""


def overall() -> tuple[Metric, ...]:
    """The metrics that are one number."""
    return tuple(metric for metric in METRICS if not metric.per_class)


def count_pixels(truth: Tensor, prediction: Tensor) -> Tensor:
    """One confusion matrix per sample, on the tensors' device; values are trusted.

    Args:
        truth: uint8 (B, ...), class index or ``IGNORE``.
        prediction: uint8 (B, ...), class index.

    Returns:
        int64 (B, 9, 9), rows truth.
    """
    code = truth.clamp(max=CLASS_COUNT) * CLASS_COUNT + prediction
    counts = torch.stack([torch.bincount(one.flatten(), minlength=_CODES)[:_CODES] for one in code])
    return counts.view(-1, CLASS_COUNT + 1, CLASS_COUNT)[:, :CLASS_COUNT]


def predicted_classes(logits: Tensor) -> Tensor:
    """(B, K, H, W) -> uint8 (B, H, W), the class of the largest logit, the first of equals.

    ``max`` over the channels is vectorised where ``argmax`` is not: 4 against 24 ms for a tile on a CPU core.
    """
    return logits.max(dim=1).indices.to(torch.uint8)


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratio


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.any(np.isfinite(values)) else float("nan")


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
