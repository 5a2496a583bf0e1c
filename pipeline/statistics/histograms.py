"""Histograms of stored values: how many pixels of each value, per band, and per class, by group of tiles.

Integers add up to the same sum in any order, and subtract again: statistics made of them depend neither on workers,
order nor batches. Comes before ``summary``; counted where a tile's pixels are already read (``normalise``,
``inspection``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..dataset.manifest import ManifestRow, Protocol
from ..raster.compiled_loops import count_values
from ..raster.targets import CODE_WITHOUT_DATA, counted_codes
from ..spec.bands import SHARD_BANDS
from ..spec.classes import DYNAMIC_WORLD

CODES = 256


class Cell(NamedTuple):
    """The finest group of tiles; splits, regions and biomes are sums of cells."""

    split_strict: str
    split_paper: str
    region: str
    biome: int

    def split(self, protocol: Protocol) -> str:
        return self.split_strict if protocol == "strict" else self.split_paper


def cell_of(row: ManifestRow) -> Cell:
    return Cell(row.split_strict, row.split_paper, row.tile.region, row.tile.biome)


@dataclass
class Histograms:
    """Counts over some tiles.

    Attributes:
        bands: band -> int64 (n,), pixels per stored value, n at most 65536.
        codes: int64 (256,), pixels per released code; marked pixels without data under ``CODE_WITHOUT_DATA``.
        tiles: number of tiles.
    """

    bands: dict[str, NDArray[np.int64]] = field(
        default_factory=lambda: {band: np.zeros(0, dtype=np.int64) for band in SHARD_BANDS}
    )
    codes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(CODES, dtype=np.int64))
    tiles: int = 0

    def add(self, other: Histograms, times: int = 1) -> None:
        """Add another's counts, or take them away with ``times=-1``."""
        for band, counts in other.bands.items():
            self.bands[band] = _sum(self.bands[band], times * counts if times != 1 else counts)
        self.codes = self.codes + times * other.codes
        self.tiles += times * other.tiles

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Pixels of each of the nine classes."""
        return tuple(int(number) for number in self.codes[1 : len(DYNAMIC_WORLD) + 1])

    @property
    def without_data(self) -> int:
        """Pixels that are marked and have no data: they count for no class."""
        return int(self.codes[CODE_WITHOUT_DATA])

    @property
    def ignored(self) -> int:
        """Pixels without a class (unmarked, cloud, no data)."""
        return int(self.codes.sum()) - sum(self.class_counts)


def _sum(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    long, short = (one, other) if len(one) >= len(other) else (other, one)
    total = long.copy()
    total[: len(short)] += short
    return total


def count_pixels(pixels: NDArray[np.uint16], codes: NDArray[np.uint8], *, has_s1: bool = True) -> Histograms:
    """Histograms of one tile; a pixel without data counts for no class.

    Args:
        pixels: uint16 (bands, H, W) in the order of ``SHARD_BANDS``, stored values.
        codes: uint8 (H, W), released codes.
        has_s1: the data set has Sentinel-1.
    """
    bands = {band: count_values(pixels[i]) for i, band in enumerate(SHARD_BANDS)}
    return Histograms(bands, np.bincount(counted_codes(codes, pixels, has_s1=has_s1).ravel(), minlength=CODES), 1)


Counts = dict[Cell, Histograms]
"""Histograms by cell."""


def add_counts(total: Counts, other: Mapping[Cell, Histograms], times: int = 1) -> None:
    for cell, histograms in other.items():
        total.setdefault(cell, Histograms()).add(histograms, times)


def merged(histograms: Iterable[Histograms]) -> Histograms:
    total = Histograms()
    for one in histograms:
        total.add(one)
    return total


# --- on the way from a worker -----------------------------------------------------------------------------------------

Sparse = tuple[NDArray[np.uint16], NDArray[np.uint32]]
Packed = list[tuple[Cell, dict[str, Sparse], NDArray[np.int64], int]]
"""Values that occur, and how often: about 0.3 MB a cell, where full histograms have 7 MB."""


def pack(counts: Mapping[Cell, Histograms]) -> Packed:
    """Counts of one task (fewer than 2^32 pixels), small enough to be sent."""
    return [
        (cell, {band: _sparse(values) for band, values in one.bands.items()}, one.codes, one.tiles)
        for cell, one in counts.items()
    ]


def _sparse(counts: NDArray[np.int64]) -> Sparse:
    values = np.flatnonzero(counts)
    return values.astype(np.uint16), counts[values].astype(np.uint32)


def unpack(packed: Packed) -> Counts:
    # Dask sends a named tuple as a plain one.
    return {
        Cell(*cell): Histograms({band: _dense(*sparse) for band, sparse in bands.items()}, codes, tiles)
        for cell, bands, codes, tiles in packed
    }


def _dense(values: NDArray[np.uint16], numbers: NDArray[np.uint32]) -> NDArray[np.int64]:
    counts = np.zeros(int(values[-1]) + 1 if len(values) else 0, dtype=np.int64)
    counts[values] = numbers
    return counts
