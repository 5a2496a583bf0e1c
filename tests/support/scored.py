"""Counts of tiles that nobody predicted: made from a random number each, as a network of uneven skill would."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from dwplus.model.metrics import BINS, ConfusionMatrix, TileCounts
from dwplus.model.scores.tile_table import TileRecord, TileTable

THREE = ("water", "trees", "crops")


def record(number: int, **facts: Any) -> TileRecord:
    """A tile ``t000``, ``t001``, ... of one region and biome, 0.1 degrees further east each."""
    known = {
        "region": "eastern-hemisphere-1",
        "biome": 4,
        "date": date(2019, 7, 1),
        "lon": 5 + number / 10,
        "lat": 50.0,
    }
    return TileRecord(id=f"t{number:03}", **{**known, **facts})


def counts(matrix: Any, names: tuple[str, ...] = THREE) -> TileCounts:
    """Of a confusion matrix; every pixel is predicted with a confidence of 0.7."""
    found = ConfusionMatrix(np.array(matrix, dtype=np.int64), names)
    bins = np.zeros((3, BINS), np.int64)
    bins[:, 10] = found.pixels, np.trace(found.counts), 700_000 * found.pixels
    return TileCounts(found, bins, 300_000 * found.pixels)


def a_table(tiles: int = 12, seed: int = 0, *, skill: float = 0.8, cells: int = 2) -> TileTable:
    """Tiles of 1,000 pixels of two or three classes, whose accuracy varies from tile to tile."""
    rng = np.random.default_rng(seed)
    records = [record(number, biome=number % cells) for number in range(tiles)]
    return TileTable.of(records, [counts(_matrix(rng, skill)) for _ in records], THREE)


def _matrix(rng: np.random.Generator, skill: float) -> Any:
    shares = rng.dirichlet([2, 2, 0.3])
    right = np.clip(rng.normal(skill, 0.1, 3), 0.05, 0.95)
    confused = np.full((3, 3), 0.5) * (1 - right)[:, None]
    np.fill_diagonal(confused, right)
    return np.rint(1000 * shares[:, None] * confused)


def write(table: TileTable, path: Path) -> Path:
    table.write(path)
    return path
