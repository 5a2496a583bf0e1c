"""Scores of a network on tiles, on their labels and on labels that Dynamic World's network did not make."""

from __future__ import annotations

import csv
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
    predicted = {}
    for sample in tiles:
        classes = dwplus.predict(loaded, sample)
        predicted[sample.tile_id] = np.where(sample.label != IGNORE, classes, IGNORE).astype(np.uint8)
    return matrix_of(predicted, tiles), predicted


def matrix_of(predicted: Predicted, tiles: Dataset) -> NDArray[np.int64]:
    """Confusion matrix (truth in rows), int64 (classes, classes), over the pixels that count."""
    size = len(DYNAMIC_WORLD)
    counts = np.zeros((size, size), dtype=np.int64)
    for sample in tiles:
        counted = sample.label != IGNORE
        np.add.at(counts, (sample.label[counted], predicted[sample.tile_id][counted]), 1)
    return counts


def scores_of(counts: NDArray[np.int64]) -> dict[str, float]:
    """OA, and mIoU over the classes that occur, 0..1."""
    hits = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - hits
    return {
        "oa": float(hits.sum() / max(1, counts.sum())),
        "miou": float(np.mean(hits[union > 0] / union[union > 0])) if union.any() else float("nan"),
    }


Chips = Mapping[tuple[str, ...], dict[str, str]]
"""CRS, x, y (whole metres) and day of a chip -> its row of the table of chips."""


def chips_by_place(folder: Path) -> Chips:
    """Rows of a table of chips by place and day, as far as it says them."""
    with (folder / "chips.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("x") and row.get("y")]
    return {_place(row["crs"].split(":")[-1], row["x"], row["y"], row["date"].replace("-", "")): row for row in rows}


def _place(crs: str, x: str, y: str, day: str) -> tuple[str, ...]:
    return crs, f"{float(x):.0f}", f"{float(y):.0f}", day


def _chip_of(tile: str, chips: Chips) -> dict[str, str]:
    """Row of the chip that a tile was made of, by its id, such as ``label_dw-32633-344400-5292000-20170613``."""
    return chips.get(_place(*tile.rsplit("-", 4)[1:]), {}) if tile.count("-") >= 4 else {}


def corine_share(predicted: Predicted, chips: Chips) -> float | None:
    """Share of pixels whose class may stand for one of the chip's CORINE classes; None without such chips.

    Args:
        chips: see ``chips_by_place``; ``corine`` is ``class / class``.
    """
    allowed = total = 0
    for tile, classes in predicted.items():
        named = _chip_of(tile, chips).get("corine", "")
        names = {name for one in named.split(" / ") for name in CORINE.get(one, ())}
        if names:
            counted = classes[classes != IGNORE]
            indices = [DYNAMIC_WORLD.names.index(name) for name in names]
            allowed, total = allowed + int(np.isin(counted, indices).sum()), total + counted.size
    return allowed / total if total else None


def esri_accuracy(predicted: Predicted, chips: Chips, folder: Path) -> float | None:
    """Overall accuracy against ESRI's map, where chips have one on their own grid; None where none has."""
    right = total = 0
    for tile, classes in predicted.items():
        path = folder / "chips" / _chip_of(tile, chips).get("chip", "none") / "LULC_esri_as_dw_codes.tif"
        if path.is_file():
            with rasterio.open(path) as file:
                truth = DYNAMIC_WORLD.class_indices(file.read(1))
            counted = (truth != IGNORE) & (classes != IGNORE)
            right, total = right + int((truth == classes)[counted].sum()), total + int(counted.sum())
    return right / total if total else None
