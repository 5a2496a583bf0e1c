"""Data sets in memory, of any class table and tile sizes, and class tables to make them of."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import numpy as np
from dwplus.pipeline.dataset.samples import Sample
from dwplus.pipeline.spec.bands import Composite
from dwplus.pipeline.spec.classes import ClassTable, LandCover, spread_colours
from dwplus.pipeline.spec.radar import Radar
from dwplus.pipeline.spec.tiles import Tile


def table(*names: str, name: str = "mine") -> ClassTable:
    """A class table; original codes count from 0, so that 0 is a class as in a mask."""
    colours = spread_colours(len(names))
    classes = (LandCover(i, n, n.capitalize(), colours[i], original=i) for i, n in enumerate(names))
    return ClassTable(name, tuple(classes), unlabelled=255)


def numbered(count: int) -> ClassTable:
    """A table of ``count`` classes ``c0``, ``c1``, ..."""
    return table(*(f"c{number}" for number in range(count)))


@dataclass
class Band:
    mean: float
    std: float
    log_mean: float | None = None
    log_std: float | None = None


@dataclass
class BandsAndClasses:
    bands: dict[str, Band]
    class_counts: tuple[int, ...]
    shards_hash: str = "abc"


PHYSICAL = {"VV": Band(-12, 5), "VH": Band(-19, 5)}


@dataclass
class MemoryTiles:
    """Tiles of patches of 8 px, one class each; the class is the brightness, made from the tile's number.

    Attributes:
        shapes: (height, width) of the tiles, in turn.
        first: number of the first tile; tiles lie 5.12 km apart, from 3 E, 45 N to the east.
    """

    classes: ClassTable
    split: str = "train"
    count: int = 6
    shapes: tuple[tuple[int, int], ...] = ((32, 32),)
    primary: tuple[str, ...] = ("B2", "B8")
    auxiliary: tuple[str, ...] = ("VV",)
    protocol: str = "strict"
    source: str = "SANDBOX"
    tiles_hash: str = "0"
    trained_here: bool = True
    first: int = 0
    shards_hash: str = "abc"
    labelers: tuple[str, ...] = ()
    radars: tuple[Radar, ...] = ()
    composite: Composite | None = None
    planet: int | None = None
    reads: list[int] = field(default_factory=list)

    @property
    def statistics(self) -> BandsAndClasses:
        bands = {name: PHYSICAL.get(name, Band(0.3, 0.2, 2.5, 0.8)) for name in (*self.primary, *self.auxiliary)}
        return BandsAndClasses(bands, (100,) * len(self.classes), self.shards_hash)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Sample:
        self.reads.append(index)
        rng = np.random.default_rng((len(self.split), self.first + index))
        height, width = self.tiles[index].shape
        patches = rng.integers(0, len(self.classes), (-(-height // 8), -(-width // 8)))
        label = np.kron(patches, np.ones((8, 8), dtype=int))[:height, :width].astype(np.uint8)
        bright = 1000 + label.astype(int) * (6000 // len(self.classes))
        optical = np.stack([bright + rng.integers(0, 50, label.shape) for _ in self.primary])
        radar = np.array([8000 + label.astype(int) * 10 for _ in self.auxiliary]).reshape(-1, height, width)
        label[:2] = 255
        return Sample(optical.astype(np.uint16), radar.astype(np.uint16), label, self.tiles[index].id)

    @property
    def tiles(self) -> tuple[Tile, ...]:
        return tuple(
            Tile(
                f"{self.split}-{self.first + i}",
                "EPSG:32631",
                (10, 0, 500000 + 5120 * (self.first + i), 0, -10, 5e6),
                self.shapes[i % len(self.shapes)],
                date(2022, 6, 1),
                "EH",
                0,
            )
            for i in range(self.count)
        )
