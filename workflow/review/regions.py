"""Regions of a tile: connected pixels of one label to which a sure network gives one other class.

Comes after the network and before ``files``. Pure: arrays in, polygons in pixels out.

Letters: K classes, H and W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize, shapes
from shapely.geometry import Polygon, shape

from ...pipeline.spec.classes import IGNORE


@dataclass(frozen=True)
class Rule:
    """What is worth a look.

    Attributes:
        confidence: least probability of the predicted class, 0..1, of every pixel of a region.
        size_px: least number of pixels of a region, which touch along their edges.
    """

    confidence: float = 0.8
    size_px: int = 25


@dataclass(frozen=True)
class Region:
    """A connected group of contradicted pixels.

    Attributes:
        outline: along the edges of its pixels, x = column, y = row.
        label, predicted: class index of the label, and of the network.
        pixels: how many.
        confidence: mean probability of the predicted class.
        weight: sum over its pixels of the probability of the predicted class less that of the label's: what regions are
            ranked by.
        hectares: area on the ground.
    """

    outline: Polygon
    label: int
    predicted: int
    pixels: int
    confidence: float
    weight: float
    hectares: float


@dataclass(frozen=True)
class TileCounts:
    """How far a network contradicts the label of a tile.

    Attributes:
        labelled: pixels that count.
        wrong: those of them whose class the network does not give.
        sure: those of these where it is sure, in regions of any size.
        weight: of these, as ``Region.weight``.
    """

    labelled: int
    wrong: int
    sure: int
    weight: float

    def __add__(self, other: TileCounts) -> TileCounts:
        return TileCounts(
            self.labelled + other.labelled, self.wrong + other.wrong, self.sure + other.sure, self.weight + other.weight
        )

    @property
    def wrong_share(self) -> float:
        """Of the pixels that count; 0 where there are none."""
        return self.wrong / self.labelled if self.labelled else 0.0

    @property
    def sure_share(self) -> float:
        return self.sure / self.labelled if self.labelled else 0.0


@dataclass
class Sureness:
    """How sure a network is where it contradicts labels: pixels by their confidence, in hundredths."""

    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(101, np.int64))

    def add(self, label: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> None:
        """Count a tile; arrays as in ``reviewed``."""
        wrong = (label != IGNORE) & (probabilities.argmax(axis=0) != label)
        hundredths = (100 * probabilities.max(axis=0)[wrong]).astype(np.int64)
        self.pixels += np.bincount(hundredths, minlength=len(self.pixels))[: len(self.pixels)]

    def reached_in(self, share: float) -> float | None:
        """The confidence, in whole hundredths, that this share of the pixels reaches; None without a pixel."""
        from_above = np.cumsum(self.pixels[::-1])[::-1]
        reached = np.flatnonzero(from_above >= share * from_above[0])
        return float(reached[-1]) / 100 if from_above[0] else None


def reviewed(
    label: NDArray[np.uint8], probabilities: NDArray[np.float32], hectares: NDArray[np.float64], rule: Rule
) -> tuple[TileCounts, list[Region]]:
    """What a network says against the label of a tile.

    Args:
        label: uint8 (H, W), class index or ``IGNORE``.
        probabilities: float32 (K, H, W), sum 1.
        hectares: float64 (H, W), area of each pixel.
    """
    predicted = probabilities.argmax(axis=0)
    confidence = np.take_along_axis(probabilities, predicted[None], axis=0)[0]
    counted = label != IGNORE
    of_label = np.take_along_axis(probabilities, np.where(counted, label, 0)[None].astype(np.intp), axis=0)[0]
    wrong = counted & (predicted != label)
    sure = wrong & (confidence >= rule.confidence)
    margin = (confidence - of_label).astype(np.float64)
    counts = TileCounts(int(counted.sum()), int(wrong.sum()), int(sure.sum()), float(margin[sure].sum()))
    pairs = label.astype(np.int32) * len(probabilities) + predicted.astype(np.int32)
    outlines = [
        (outline, divmod(int(pair), len(probabilities)))
        for geometry, pair in shapes(pairs, mask=sure, connectivity=4)
        if (outline := shape(geometry)).area >= rule.size_px  # of one pixel: 1
    ]
    if not outlines:
        return counts, []
    numbers = rasterize(
        [(outline, n) for n, (outline, _) in enumerate(outlines, 1)], out_shape=label.shape, dtype="int32"
    )
    sums = (
        np.bincount(numbers.ravel(), weights.ravel().astype(np.float64), minlength=len(outlines) + 1)[1:]
        for weights in (np.ones(label.shape), confidence, margin, hectares)
    )
    rows = zip(outlines, *sums, strict=True)
    return counts, [
        Region(shapely.normalize(outline), pair[0], pair[1], round(pixels), total / pixels, weight, area)
        for (outline, pair), pixels, total, weight, area in rows
    ]
