"""Scores, all of them functions of sums over tiles: a confusion matrix (paper, section V-C) and calibration counts.

Rows of a matrix are the truth, columns the prediction, in pixels; pixels whose truth is ``IGNORE`` are not in it.
Scores are fractions, 0..1. Formulas take sums with any leading axes, so that thousands of bootstrap replicates are
scored at once (``scores/bootstrap.py``).

Which classes there are, a matrix says itself: it carries their names, in the order of their indices.

A class that is neither in the truth nor in the prediction has no score: it is NaN, named in ``absent`` and left out of
the means. A class that is in the truth and never predicted, or predicted and never in the truth, scores 0 and counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
    def sums(self) -> Sums:
        """Its margins and its diagonal, of which every score is computed."""
        return Sums(np.diagonal(self.counts), self.counts.sum(1), self.counts.sum(0))

    @property
    def iou(self) -> NDArray[np.float64]:
        """(K,) intersection over union; NaN for an absent class."""
        return iou(self.sums)

    @property
    def f1(self) -> NDArray[np.float64]:
        """(K,) F1 = 2 IoU / (1 + IoU); NaN for an absent class."""
        return f1(self.sums)

    @property
    def miou(self) -> float:
        """Unweighted mean of ``iou`` over the classes that are not absent; NaN for an empty matrix."""
        return float(_mean(self.iou))

    @property
    def macro_f1(self) -> float:
        """Unweighted mean of ``f1`` over the classes that are not absent: the F1 of the paper's tables."""
        return float(_mean(self.f1))

    @property
    def oa(self) -> float:
        """Overall accuracy: share of pixels that were predicted right; NaN for an empty matrix."""
        return float(oa(self.sums))

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


# --- sums and formulas ------------------------------------------------------------------------------------------------

BINS = 15
"""Bins of confidence, of equal width, of which the calibration error is computed (Guo et al. 2017)."""

MILLION = 1_000_000
"""Confidences and squared errors are summed as whole millionths, so that a sum is the same in any order."""


@dataclass(frozen=True, eq=False)
class Sums:
    """What adds up over tiles, and all that a formula reads. ``...`` are leading axes: tiles, replicates, runs, none.

    Attributes:
        hit, truth, predicted: (..., K) pixels of each class that are right, true, predicted.
        bins: (..., 3, BINS): pixels, right pixels, and the sum of confidences in millionths, of the pixels whose
            calibration was counted; None where none were.
        squared_errors: (...) sum over these pixels of the squared distance between probabilities and truth, in
            millionths.
    """

    hit: NDArray[Any]
    truth: NDArray[Any]
    predicted: NDArray[Any]
    bins: NDArray[Any] | None = None
    squared_errors: NDArray[Any] | None = None

    @property
    def pixels(self) -> NDArray[Any]:
        """(...) pixels in all."""
        pixels: NDArray[Any] = self.truth.sum(-1)
        return pixels


def precision(sums: Sums) -> NDArray[np.float64]:
    """(..., K) share of the pixels predicted as a class that are of it (user's accuracy); NaN where none is."""
    return _ratio(sums.hit, sums.predicted)


def recall(sums: Sums) -> NDArray[np.float64]:
    """(..., K) share of the pixels of a class that are predicted as it (producer's accuracy); NaN where none is."""
    return _ratio(sums.hit, sums.truth)


def iou(sums: Sums) -> NDArray[np.float64]:
    """(..., K) intersection over union; NaN for an absent class."""
    return _ratio(sums.hit, sums.truth + sums.predicted - sums.hit)


def f1(sums: Sums) -> NDArray[np.float64]:
    """(..., K) F1 = 2 IoU / (1 + IoU); NaN for an absent class."""
    return _ratio(2 * sums.hit, sums.truth + sums.predicted)


def oa(sums: Sums) -> NDArray[np.float64]:
    """(...) share of pixels that were predicted right; NaN without pixels."""
    return _ratio(sums.hit.sum(-1), sums.pixels)


def quantity_disagreement(sums: Sums) -> NDArray[np.float64]:
    """(...) half the difference between true and predicted amounts of the classes, as a share of all pixels.

    Source: Pontius and Millones 2011, equations 2 and 3.
    """
    return _ratio(np.abs(sums.truth - sums.predicted).sum(-1), 2 * sums.pixels)


def allocation_disagreement(sums: Sums) -> NDArray[np.float64]:
    """(...) share of pixels that are wrong although the amounts would fit: classes in each other's places.

    Source: Pontius and Millones 2011, equations 4 and 5. With the quantity disagreement it adds up to 1 - OA.
    """
    swapped = np.minimum(sums.truth - sums.hit, sums.predicted - sums.hit)
    return _ratio(swapped.sum(-1), sums.pixels)


def calibration_error(sums: Sums) -> NDArray[np.float64]:
    """(...) expected calibration error: mean distance of confidence and accuracy over bins; NaN where not counted.

    Source: Guo et al. 2017, equation 3.
    """
    if sums.bins is None:
        return np.full(sums.pixels.shape, np.nan)
    pixels, right, confidence = (sums.bins[..., row, :] for row in range(3))
    return _ratio(np.abs(right - confidence / MILLION).sum(-1), pixels.sum(-1))


def brier(sums: Sums) -> NDArray[np.float64]:
    """(...) mean over pixels of the squared distance between probabilities and truth, 0..2; NaN where not counted.

    Source: Brier 1950, in its form for several classes.
    """
    if sums.squared_errors is None or sums.bins is None:
        return np.full(sums.pixels.shape, np.nan)
    return _ratio(sums.squared_errors / MILLION, sums.bins[..., 0, :].sum(-1))


@dataclass(frozen=True)
class TileCounts:
    """Counts of one tile, or of several together.

    Attributes:
        matrix: pixels by true and predicted class.
        calibration: int64 (3, BINS), as ``Sums.bins``; None where it was not counted.
        squared_errors: as of ``Sums``; None where they were not counted.
    """

    matrix: ConfusionMatrix
    calibration: NDArray[np.int64] | None = None
    squared_errors: int | None = None

    def __add__(self, other: TileCounts) -> TileCounts:
        """What one of them did not count, the sum does not have."""
        bins, errors = (self.calibration, other.calibration), (self.squared_errors, other.squared_errors)
        return TileCounts(
            self.matrix + other.matrix,
            None if bins[0] is None or bins[1] is None else bins[0] + bins[1],
            None if errors[0] is None or errors[1] is None else errors[0] + errors[1],
        )

    @property
    def sums(self) -> Sums:
        """Without leading axes."""
        errors = None if self.squared_errors is None else np.array(self.squared_errors)
        return replace(self.matrix.sums, bins=self.calibration, squared_errors=errors)

    def scores(self) -> dict[str, Any]:
        """All metrics for JSON: the overall ones by key, those of each class, absent; None where there is no score."""
        of_classes = {metric.key: metric.value(self) for metric in METRICS if metric.per_class}
        pixels = self.matrix.counts.sum(1)
        classes = {
            name: {
                **{key: or_none(values[index]) for key, values in of_classes.items()},
                "pixels": int(pixels[index]),
            }
            for index, name in enumerate(self.matrix.names)
        }
        return {
            **{metric.key: or_none(metric.value(self)) for metric in METRICS if not metric.per_class},
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
        formula: sums -> float64 (...), or (..., K) of a class metric; NaN where there is no score.
        per_class: one value for each class instead of one for all.
        headline: an overall metric that stands in every table of scores, and after each epoch.
        less_is_better: as of errors and disagreements.
        largest: value that it can have at most; of other than 1 it is no share and not written in percent.
    """

    key: str
    title: str
    formula: Callable[[Sums], NDArray[np.float64]]
    per_class: bool = False
    headline: bool = True
    less_is_better: bool = False
    largest: float = 1.0

    def value(self, counts: TileCounts) -> Any:
        """A float; of a class metric float64 (K,)."""
        found = self.formula(counts.sums)
        return found if self.per_class else float(found)


METRICS: tuple[Metric, ...] = (
    Metric("miou", "mIoU", lambda sums: _mean(iou(sums))),
    Metric("oa", "OA", oa),
    Metric("f1", "F1", lambda sums: _mean(f1(sums))),
    Metric("quantity", "quantity disagreement", quantity_disagreement, headline=False, less_is_better=True),
    Metric("allocation", "allocation disagreement", allocation_disagreement, headline=False, less_is_better=True),
    Metric("ece", "ECE", calibration_error, headline=False, less_is_better=True),
    Metric("brier", "Brier score", brier, headline=False, less_is_better=True, largest=2.0),
    Metric("iou", "IoU", iou, per_class=True),
    Metric("f1", "F1", f1, per_class=True),
    Metric("precision", "precision", precision, per_class=True),
    Metric("recall", "recall", recall, per_class=True),
)
"""Every metric: the epoch row, the console, ``scores.json`` and the report loop over it (described in
``docs/scores.md``)."""


def overall() -> tuple[Metric, ...]:
    """The metrics that are one number and stand in every table of scores."""
    return tuple(metric for metric in METRICS if metric.headline and not metric.per_class)


def further() -> tuple[Metric, ...]:
    """The other metrics that are one number."""
    return tuple(metric for metric in METRICS if not metric.headline and not metric.per_class)


def of_classes() -> tuple[Metric, ...]:
    """The metrics that are one number for each class."""
    return tuple(metric for metric in METRICS if metric.per_class)


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


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    ratio: NDArray[np.float64] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratio


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(...) mean over the classes that have a score; NaN where none has."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0.0).sum(-1), known.sum(-1))


def or_none(value: float) -> float | None:
    """For JSON, which has no NaN."""
    return float(value) if np.isfinite(value) else None
