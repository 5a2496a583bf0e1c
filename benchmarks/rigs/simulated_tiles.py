"""Test sets that never existed: counts of tiles whose pixels share the difficulty of their tile.

A tile lies in one of 40 cells, which differ in their classes and in how hard these are. Its composition is drawn from
that of its cell; the last class is in a tenth of all tiles. The recall of each class varies from tile to tile (logit,
standard deviation 0.9), and pixels of a tile have it in common: that is how they are correlated.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from dwplus.model.metrics import Sums
from dwplus.model.scores.bootstrap import Design, design_of
from dwplus.model.scores.tile_table import TileRecord
from numpy.typing import NDArray

CLASSES = 6
RARE = CLASSES - 1
OCCURS = 0.1
CELLS = 40
PIXELS = 20_000


@dataclass(frozen=True)
class Tiles:
    """What tiles are like, before a network sees them.

    Attributes:
        shares: (tiles, K) of the classes.
        ease: (tiles, K) logit of the recall of each class.
        confusion: (tiles, K, K) where wrong pixels of a class go.
    """

    shares: NDArray[np.float64]
    ease: NDArray[np.float64]
    confusion: NDArray[np.float64]

    def seen(self, rng: np.random.Generator, *, skill: NDArray[np.float64] | float = 0.0, noise: float = 0.0) -> Sums:
        """Counts of a network: ``skill`` (K,) is added to every tile's ease, ``noise`` is its own for each tile."""
        ease = self.ease + skill + rng.normal(0, noise, self.ease.shape) if noise else self.ease + skill
        right = 1 / (1 + np.exp(-ease))
        matrix = self.shares[:, :, None] * (1 - right)[:, :, None] * self.confusion
        places = np.arange(CLASSES)
        matrix[:, places, places] = self.shares * right
        counts = np.rint(matrix * PIXELS).astype(np.int64)
        return Sums(counts[:, places, places], counts.sum(2), counts.sum(1))


class World:
    """Cells that tiles are drawn from."""

    def __init__(self, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.level = np.array([2.0, 1.2, 0.6, 0.3, 0.8, 0.2])
        self.of_cell = rng.normal(0, 0.5, (CELLS, CLASSES))
        self.shares = rng.dirichlet(np.full(CLASSES - 1, 1.5), CELLS)
        self.confusion = rng.dirichlet(np.ones(CLASSES), CLASSES)

    def draw(self, cells: NDArray[np.int64], rng: np.random.Generator) -> Tiles:
        """One tile for each place in ``cells``."""
        count = len(cells)
        shares = np.zeros((count, CLASSES))
        amounts = rng.gamma(np.maximum(self.shares[cells] * 2.5, 0.02))
        shares[:, :RARE] = amounts / amounts.sum(1, keepdims=True)
        held = rng.random(count) < OCCURS
        of_rare = np.where(held, rng.beta(1.2, 3, count), 0.0)
        shares *= (1 - of_rare)[:, None]
        shares[:, RARE] = of_rare
        shares = np.where(shares < 0.01, 0.0, shares)
        shares /= shares.sum(1, keepdims=True)
        ease = self.level + self.of_cell[cells] + rng.normal(0, 0.8, (count, 1)) + rng.normal(0, 0.5, shares.shape)
        confusion = rng.gamma(self.confusion * 3 + 0.02, size=(count, CLASSES, CLASSES))
        confusion[:, :, RARE] *= np.where(held, 1, 0.05)[:, None]
        places = np.arange(CLASSES)
        confusion[:, places, places] = 0
        return Tiles(shares, ease, confusion / confusion.sum(2, keepdims=True))


def allocation(tiles: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The cell of each tile of a test set: fixed by its design, uneven as that of Dynamic World."""
    weights = rng.dirichlet(np.full(CELLS, 0.8))
    numbers = np.floor(weights * tiles).astype(np.int64)
    numbers[np.argsort(numbers - weights * tiles)[: tiles - numbers.sum()]] += 1
    return np.repeat(np.arange(CELLS), numbers)


def design_for(cells: NDArray[np.int64]) -> Design:
    """Cells of 14 biomes make a region, as the product's rules for merging expect."""
    day: Any = None
    records = [
        TileRecord(f"t{number:05}", f"region {cell // 14}", int(cell % 14), day, 0.0, 0.0)
        for number, cell in enumerate(cells)
    ]
    return design_of(records)


def added(parts: list[Sums]) -> Sums:
    """Of several sets of tiles together, without axes."""
    total: dict[str, Any] = defaultdict(int)
    for one in parts:
        for name in ("hit", "truth", "predicted"):
            total[name] = total[name] + getattr(one, name).sum(0)
    return Sums(total["hit"], total["truth"], total["predicted"])
