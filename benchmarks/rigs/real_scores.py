"""Scores of a network on tiles, on their labels and on labels that Dynamic World's network did not make."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import dwplus
import numpy as np
import rasterio
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, IGNORE
from numpy.typing import NDArray

Predicted = Mapping[str, NDArray[np.uint8]]
"""Id of a tile -> uint8 (H, W), class index; 255 where no pixel counts."""

FOREST = ("trees",)
CORINE: dict[str, tuple[str, ...]] = {
    "Mixed forest": FOREST,
    "Broad-leaved forest": FOREST,
    "Coniferous forest": FOREST,
    "Pastures": ("grass", "crops"),
    "Inland waters": ("water",),
    "Marine waters": ("water",),
    "Water bodies": ("water",),
    "Arable land": ("crops", "bare"),
    "Non-irrigated arable land": ("crops", "bare"),
    "Complex cultivation patterns": ("crops", "grass", "trees"),
    "Land principally occupied by agriculture, with significant areas of natural vegetation": (
        *("crops", "grass", "trees", "shrub_and_scrub"),
    ),
    "Urban fabric": ("built", "grass"),
    "Industrial or commercial units": ("built", "bare"),
    "Transitional woodland, shrub": ("shrub_and_scrub", "trees", "grass"),
    "Transitional woodland/shrub": ("shrub_and_scrub", "trees", "grass"),
    "Inland wetlands": ("flooded_vegetation", "grass", "shrub_and_scrub"),
    "Peatbogs": ("flooded_vegetation", "grass", "shrub_and_scrub"),
}
"""CORINE class -> the classes of Dynamic World that may stand for it."""


def predictions(run: Path, tiles: Dataset) -> tuple[NDArray[np.int64], Predicted]:
    """Confusion matrix (truth in rows) over the tiles of a data set, and what was predicted."""
    loaded = dwplus.load(run, device="cpu")
    size = len(DYNAMIC_WORLD)
    counts, predicted = np.zeros((size, size), dtype=np.int64), {}
    for sample in tiles:
        classes = dwplus.predict(loaded, sample)
        counted = sample.label != IGNORE
        np.add.at(counts, (sample.label[counted], classes[counted]), 1)
        predicted[sample.tile_id] = np.where(counted, classes, IGNORE).astype(np.uint8)
    return counts, predicted


def scores_of(counts: NDArray[np.int64]) -> dict[str, float]:
    """OA, and mIoU over the classes that occur, 0..1."""
    hits = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - hits
    return {
        "oa": float(hits.sum() / max(1, counts.sum())),
        "miou": float(np.mean(hits[union > 0] / union[union > 0])) if union.any() else float("nan"),
    }


def corine_share(predicted: Predicted, classes_of: Mapping[str, str]) -> float | None:
    """Share of pixels whose class may stand for one of the chip's CORINE classes; None without such chips.

    Args:
        classes_of: name of a chip -> its CORINE classes, ``a / b``.
    """
    allowed = total = 0
    for tile, classes in predicted.items():
        names = _allowed(next((text for chip, text in classes_of.items() if chip in tile), ""))
        if names:
            counted = classes[classes != IGNORE]
            indices = [DYNAMIC_WORLD.names.index(name) for name in names]
            allowed, total = allowed + int(np.isin(counted, indices).sum()), total + counted.size
    return allowed / total if total else None


def _allowed(text: str) -> set[str]:
    return {name for one in text.split(" / ") for name in CORINE.get(one, ())}


def esri_accuracy(predicted: Predicted, folder: Path) -> float | None:
    """Overall accuracy against ESRI's map, where chips have one on their own grid; None where none has."""
    right = total = 0
    for tile, classes in predicted.items():
        for chip in (folder / "chips").iterdir():
            path = chip / "LULC_esri_as_dw_codes.tif"
            if chip.name not in tile or not path.is_file():
                continue
            with rasterio.open(path) as file:
                truth = DYNAMIC_WORLD.class_indices(file.read(1))
            counted = (truth != IGNORE) & (classes != IGNORE)
            right, total = right + int((truth == classes)[counted].sum()), total + int(counted.sum())
    return right / total if total else None
