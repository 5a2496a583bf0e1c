"""A part of the training tiles: how much a network learns from fewer labels.

Tiles are put in an order once, so that any beginning of it holds all classes in about the shares of the whole; a part
of a share is that beginning. The order depends on the tiles alone: the tenth of a data set is part of its fifth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .loader import BandStatistics, Statistics, TileSet, composite_of, labelers_of, planet_of, radars_of

if TYPE_CHECKING:
    from ..pipeline.dataset.samples import Sample
    from ..pipeline.spec.bands import Composite
    from ..pipeline.spec.classes import ClassTable
    from ..pipeline.spec.radar import Radar
    from ..pipeline.spec.tiles import Tile


def stratified_order(content: NDArray[np.int64], ids: Sequence[str]) -> list[int]:
    """Places of the tiles in an order in which the classes keep their shares as well as possible.

    Each next tile is the one after which the pixels of all classes are closest to their share of the tiles so far; the
    distance is relative to each class's pixels, so that rare classes count as much. Equals go by the hash of their id.

    Args:
        content: int64 (tiles, K), marked pixels of each class.
        ids: of the tiles.
    """
    by_hash = sorted(range(len(ids)), key=lambda i: hashlib.sha256(ids[i].encode()).digest())
    left = np.array(by_hash)
    total = np.maximum(content.sum(axis=0), 1)
    shares = content / total
    held = np.zeros(content.shape[1])
    order: list[int] = []
    while len(left):
        wanted = (len(order) + 1) / len(ids)
        distance = np.abs(held + shares[left] - wanted).sum(axis=1)
        best = int(np.argmin(distance))
        order.append(int(left[best]))
        held += shares[left[best]]
        left = np.delete(left, best)
    return order


def part_of(tiles: TileSet, share: float) -> TileSet:
    """A share (above 0, 1 at most) of the tiles of a data set, at least one; all of them for 1.

    Reads all labels, where the data set does not keep how many pixels of each class its tiles have.
    """
    if share == 1:
        return tiles
    content = class_pixels(tiles)
    order = stratified_order(content, [tile.id for tile in tiles.tiles])
    chosen = sorted(order[: max(1, round(share * len(tiles)))])
    return Part(tiles, tuple(chosen), _counts(content[chosen]))


def some_of(tiles: TileSet, chosen: Sequence[int]) -> TileSet:
    """The tiles at some places of a data set; reads their labels."""
    return Part(tiles, tuple(chosen), _counts(class_pixels(tiles, chosen)))


def class_pixels(tiles: TileSet, chosen: Sequence[int] | None = None) -> NDArray[np.int64]:
    """int64 (tiles, K): marked pixels of each class in the tiles at some places, or in all.

    Reads their labels; those of all tiles only where the data set does not keep the numbers.
    """
    kept: Callable[[], NDArray[np.int64]] | None = getattr(tiles, "class_pixels", None)
    if chosen is None and kept is not None:
        return kept()
    classes, chosen = len(tiles.classes), range(len(tiles)) if chosen is None else chosen
    return np.stack([np.bincount(tiles[i].label.ravel(), minlength=256)[:classes] for i in chosen])


def _counts(content: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(int(pixels) for pixels in content.sum(axis=0))


@dataclass(frozen=True)
class _CountedAnew:
    """Statistics of a data set, with the class pixels of a part of it; bands are those of all its tiles."""

    whole: Statistics
    class_counts: tuple[int, ...]

    @property
    def bands(self) -> Mapping[str, BandStatistics]:
        return self.whole.bands

    @property
    def shards_hash(self) -> str:
        return self.whole.shards_hash


@dataclass(frozen=True)
class Part:
    """Some tiles of a ``TileSet``, which is one itself.

    Attributes:
        whole: the data set.
        chosen: places of its tiles, in order.
        class_counts: marked pixels of each class in these tiles.
    """

    whole: TileSet
    chosen: tuple[int, ...]
    class_counts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int, /) -> Sample:
        return self.whole[self.chosen[index]]

    @property
    def tiles(self) -> Sequence[Tile]:
        located = self.whole.tiles
        return [located[i] for i in self.chosen]

    @property
    def statistics(self) -> Statistics:
        return _CountedAnew(self.whole.statistics, self.class_counts)

    @property
    def primary(self) -> tuple[str, ...]:
        return self.whole.primary

    @property
    def auxiliary(self) -> tuple[str, ...]:
        return self.whole.auxiliary

    @property
    def split(self) -> str:
        return self.whole.split

    @property
    def protocol(self) -> str:
        return self.whole.protocol

    @property
    def source(self) -> str:
        return self.whole.source

    @property
    def classes(self) -> ClassTable:
        return self.whole.classes

    def class_pixels(self) -> NDArray[np.int64]:
        kept: Callable[[], NDArray[np.int64]] | None = getattr(self.whole, "class_pixels", None)
        return class_pixels(self.whole, self.chosen) if kept is None else kept()[list(self.chosen)]

    @property
    def planet(self) -> int | None:
        return planet_of(self.whole)

    @property
    def radars(self) -> tuple[Radar, ...]:
        return radars_of(self.whole)

    @property
    def composite(self) -> Composite | None:
        return composite_of(self.whole)

    @property
    def tiles_hash(self) -> str:
        return hashlib.sha256(f"{self.whole.tiles_hash} {self.chosen}".encode()).hexdigest()[:12]

    @property
    def trained_here(self) -> bool:
        return self.whole.trained_here

    @property
    def labelers(self) -> tuple[str, ...]:
        known = labelers_of(self.whole)
        return tuple(known[i] for i in self.chosen) if known else ()
