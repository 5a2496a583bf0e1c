"""Scores, all of them functions of one confusion matrix (paper, section V-C).

Rows are the truth, columns the prediction, in pixels; pixels whose truth is ``IGNORE`` are not in it. Scores are
fractions, 0..1.

Which classes there are, a matrix says itself: it carries their names, in the order of their indices.

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
from ..pipeline.spec.classes import DYNAMIC_WORLD, FEWEST_CLASSES, IGNORE


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """Pixels by true and predicted class.

    Attributes:
        counts: int64 (K, K), rows truth, columns prediction, class indices in order.
        names: of the K classes; Dynamic World's nine unless said otherwise.
    """

    counts: NDArray[np.int64]
    names: tuple[str, ...] = DYNAMIC_WORLD.names

    def __post_init__(self) -> None:
        counts, classes = np.asarray(self.counts), len(self.names)
        if counts.shape != (classes, classes) or not np.issubdtype(counts.dtype, np.integer):
            raise DataError(f"a confusion matrix is {classes} x {classes} whole numbers, not {counts.shape}")
        frozen = counts.astype(np.int64)
        frozen.flags.writeable = False
        object.__setattr__(self, "counts", frozen)

    @classmethod
    def zero(cls, names: tuple[str, ...] = DYNAMIC_WORLD.names) -> ConfusionMatrix:
        return cls(np.zeros((len(names), len(names)), dtype=np.int64), names)

    @classmethod
    def of(
        cls, truth: NDArray[np.uint8], prediction: NDArray[np.uint8], names: tuple[str, ...] = DYNAMIC_WORLD.names
    ) -> ConfusionMatrix:
        """Count pixels.

        Args:
            truth: uint8, class index 0..K - 1 or 255 = ignored.
            prediction: uint8 of the same shape, class index 0..K - 1.
            names: of the K classes.

        Raises:
            DataError: the shapes differ or a value is none of these.
        """
        if truth.shape != prediction.shape:
            raise DataError(f"truth is {truth.shape}, prediction {prediction.shape}; they must be of one shape")
        classes = len(names)
        if prediction.size and prediction.max() >= classes:
            raise DataError(f"prediction holds {prediction.max()}; classes are 0..{classes - 1}")
        if np.any((truth >= classes) & (truth != IGNORE)):
            raise DataError(f"truth holds values that are neither 0..{classes - 1} nor {IGNORE} (ignored)")
        one = torch.from_numpy(np.ascontiguousarray(truth)), torch.from_numpy(np.ascontiguousarray(prediction))
        return cls(count_pixels(one[0][None], one[1][None], classes)[0].numpy(), names)

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """Raises DataError where the other one is of other classes."""
        if self.names != other.names:
            raise DataError(
                f"confusion matrices of other classes do not add up: {', '.join(self.names)} and "
                f"{', '.join(other.names)}; begin with ConfusionMatrix.zero(names)"
            )
        return ConfusionMatrix(self.counts + other.counts, self.names)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConfusionMatrix) or self.names != other.names:
            return False
        return bool(np.array_equal(self.counts, other.counts))

    def __hash__(self) -> int:
        return hash(self.counts.tobytes())

    @property
    def pixels(self) -> int:
        return int(self.counts.sum())

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the classes that are neither in the truth nor in the prediction."""
        seen = self.counts.sum(0) + self.counts.sum(1)
        return tuple(name for name, pixels in zip(self.names, seen, strict=True) if pixels == 0)

    @property
    def iou(self) -> NDArray[np.float64]:
        """(K,) intersection over union; NaN for an absent class."""
        hit, union = self._hit, self.counts.sum(0) + self.counts.sum(1) - self._hit
        return _ratio(hit, union)

    @property
    def f1(self) -> NDArray[np.float64]:
        """(K,) F1 = 2 IoU / (1 + IoU); NaN for an absent class."""
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
        return {"classes": list(self.names), "counts": self.counts.tolist()}

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> ConfusionMatrix:
        """Raises DataError where it is no matrix."""
        names = mapping.get("classes", ())
        if (
            not isinstance(names, list | tuple)
            or len(names) < FEWEST_CLASSES
            or not all(isinstance(name, str) for name in names)
            or len(set(names)) != len(names)
        ):
            raise DataError(f"no confusion matrix: its classes are {str(names)[:80]}, not a list of names")
        try:
            return cls(np.array(mapping["counts"]), tuple(names))
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
            for index, name in enumerate(self.matrix.names)
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
        value: a fraction 0..1, NaN where there is no score; of a class metric float64 (K,).
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


_LARGEST_BYTE = 255


def count_pixels(truth: Tensor, prediction: Tensor, classes: int = len(DYNAMIC_WORLD)) -> Tensor:
    """One confusion matrix per sample, on the tensors' device; values are trusted.

    Args:
        truth: uint8 (B, ...), class index or ``IGNORE``.
        prediction: uint8 (B, ...), class index.
        classes: K, how many there are.

    Returns:
        int64 (B, K, K), rows truth.
    """
    # K x truth + prediction, with one more truth for ignored pixels; up to 15 classes a code fits a byte.
    codes = (classes + 1) * classes
    if codes - 1 > _LARGEST_BYTE:
        truth, prediction = truth.to(torch.int16), prediction.to(torch.int16)
    code = truth.clamp(max=classes) * classes + prediction
    counts = torch.stack([torch.bincount(one.flatten(), minlength=codes)[:codes] for one in code])
    return counts.view(-1, classes + 1, classes)[:, :classes]


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
