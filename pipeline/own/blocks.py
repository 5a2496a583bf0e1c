"""Splits of own labels by geographic blocks: neighbours never sit on both sides. Pure.

A tile belongs to the block in which its centre lies; a block goes to one split as a whole. Which split depends on all
tiles of the data set and on nothing else: not on the order in which they were added. Comes before the manifest is
written.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import DataError
from ..spec.overlaps import EARTH_RADIUS_KM, shared_ground
from ..spec.tiles import RESOLUTION_M, Tile, locate
from ..spec.words import count_of

SPLITS = ("train", "val", "test")
SHARES: Mapping[str, float] = {"test": 0.15, "val": 0.15}
"""Share of the tiles of each class that goes to a split, block by block, in the order in which they choose; the others
train."""

BLOCK_KM = 10.0
SMALLEST_BLOCK_KM = 1.25
FEWEST_BLOCKS = 3

Block = tuple[int, int]


@dataclass(frozen=True)
class Marked:
    """A tile as the splits see it.

    Attributes:
        classes: indices of the classes that it marks.
        given: split that its user named; empty = to be drawn.
    """

    tile: Tile
    classes: frozenset[int]
    given: str = ""


@dataclass(frozen=True)
class Splits:
    """Which split each tile belongs to.

    Attributes:
        of_tile: tile id -> split.
        beside: training tiles that touch or overlap a val or test tile, and are left out for it.
        kept_beside: such tiles that stay: without them nothing would be left to train on, or their user named their
            split.
        block_km: side of the blocks; 0 where every split was given.
        blocks: split -> number of blocks that were drawn for it.
        missing: class index -> splits that have no tile with it.
    """

    of_tile: Mapping[str, str]
    beside: frozenset[str]
    kept_beside: frozenset[str]
    block_km: float
    blocks: Mapping[str, int]
    missing: Mapping[int, tuple[str, ...]]


def assign(tiles: Iterable[Marked], *, classes: int, block_km: float = BLOCK_KM) -> Splits:
    """The split of every tile.

    Args:
        classes: number of classes of the table.
        block_km: side of a block; halved until there are three blocks, down to 1.25 km.

    Raises:
        DataError: the tiles to be drawn lie in fewer than three blocks.
    """
    marked = sorted(tiles, key=lambda one: one.tile.id)
    locate(one.tile for one in marked)
    drawn = [one for one in marked if not one.given]
    of_tile = {one.tile.id: one.given for one in marked if one.given}
    side, counts = 0.0, dict.fromkeys(SPLITS, 0)
    if drawn:
        side = _side(drawn, block_km)
        of_block = _draw(drawn, side)
        of_tile |= {one.tile.id: of_block[block_of(one.tile, side)] for one in drawn}
        counts = {split: sum(found == split for found in of_block.values()) for split in SPLITS}
    beside, kept = _beside(marked, of_tile)
    used: dict[str, set[int]] = {split: set() for split in SPLITS}
    for one in marked:
        if one.tile.id not in beside:
            used[of_tile[one.tile.id]] |= one.classes
    absent = {index: tuple(split for split in SPLITS if index not in used[split]) for index in range(classes)}
    return Splits(of_tile, beside, kept, side, counts, {index: splits for index, splits in absent.items() if splits})


def block_of(tile: Tile, side_km: float) -> Block:
    """The block that holds the centre of a tile."""
    return block_at(*tile.centre, side_km)


def block_at(lon: float, lat: float, side_km: float = BLOCK_KM) -> Block:
    """The block that holds a place: rows of one height, cut into pieces of one length on the ground."""
    km_per_degree = math.radians(1) * EARTH_RADIUS_KM
    row = math.floor(lat * km_per_degree / side_km)
    middle = (row + 0.5) * side_km / km_per_degree
    return row, math.floor(lon * km_per_degree * math.cos(math.radians(middle)) / side_km)


def _side(drawn: Sequence[Marked], side: float) -> float:
    """The side of blocks: the first one, halved until there are three."""
    found = 0
    while side >= SMALLEST_BLOCK_KM:
        found = len({block_of(one.tile, side) for one in drawn})
        if found >= FEWEST_BLOCKS:
            return side
        side /= 2
    raise DataError(
        f"the labels lie in {count_of(found, 'block')} of {SMALLEST_BLOCK_KM:g} km, and train, val and test need one "
        f"each; add labels of other places in the same call, or name the splits (--split, --split-column, --table)"
    )


# Drawing --------------------------------------------------------------------------------------------------------------


def _draw(drawn: Sequence[Marked], side: float) -> dict[Block, str]:
    """The split of each block: classes in few blocks first; the last block of a class trains.

    Val and test take blocks that do not make them larger than they should be, if there are any: a block with many tiles
    trains. Of these they take the one beside which training loses fewest tiles for each class that it serves: where
    blocks lie side by side, those of val and test come to lie together. Among equals a hash decides.
    """
    choice = _Choice(drawn, side)
    for index in sorted(choice.holders, key=lambda index: (len(choice.holders[index]), index)):
        for split in SHARES:
            while choice.wanted[index][split] > 0 and choice.take(index, split):
                pass
    return choice.finish()


class _Choice:
    """Blocks that were chosen so far, and what each class still wants."""

    def __init__(self, drawn: Sequence[Marked], side: float) -> None:
        self._classes: dict[Block, Counter[int]] = defaultdict(Counter)
        self._tiles: dict[Block, set[str]] = defaultdict(set)
        for one in drawn:
            block = block_of(one.tile, side)
            self._classes[block].update(one.classes)
            self._tiles[block].add(one.tile.id)
        self._blocks = sorted(self._classes, key=_by_hash)
        self._order = {block: n for n, block in enumerate(self._blocks)}
        touching = _touching([one.tile for one in drawn])
        self._beside = {
            block: set().union(*(touching.get(tile, frozenset()) for tile in tiles)) - tiles
            for block, tiles in self._tiles.items()
        }
        self._chosen: dict[Block, str] = {}
        self._lost: set[str] = set()
        self._held: set[str] = set()
        indices = sorted(set().union(*self._classes.values()))
        self.holders = {index: [b for b in self._blocks if index in self._classes[b]] for index in indices}
        self.wanted = {index: _wanted(self._classes[b][index] for b in held) for index, held in self.holders.items()}
        """Class -> split -> tiles that it should still get, times the number of blocks with the class."""
        self._room = _wanted(len(self._tiles[block]) for block in self._blocks)
        self._left = {index: len(held) for index, held in self.holders.items()}
        self._has: dict[int, set[str]] = {index: set() for index in indices}

    def take(self, index: int, split: str) -> bool:
        """Give the best block with a class to val or test; whether there was one."""
        free = [
            block
            for block in self.holders[index]
            if block not in self._chosen and all(self._spare(other, split) for other in self._classes[block])
        ]
        if not free:
            return False
        block = min(free, key=lambda block: self._rank(block, split, index))
        # What the split would have too many of, against what it lacks without the block.
        if split in self._has[index] and self._over(block, split, index) > self.wanted[index][split]:
            return False
        self._give(block, split)
        return True

    def _spare(self, index: int, split: str) -> bool:
        """Whether a split may take a block with a class: one is kept to train on, and one for val where it has none."""
        waits = split == "test" and self.wanted[index]["val"] > 0 and "val" not in self._has[index]
        return self._left[index] > 1 + waits

    def _rank(self, block: Block, split: str, index: int) -> tuple[int, int, float, int]:
        """The lowest is taken."""
        number = len(self._blocks)
        beyond = max(0, number * len(self._tiles[block]) - self._room[split])
        return (
            self._over(block, split, index),
            beyond,
            self._cost(block) / self._serves(block, split),
            self._order[block],
        )

    def _over(self, block: Block, split: str, index: int) -> int:
        """How many tiles of a class a split would have too many with a block, times the number of blocks with it."""
        return max(0, len(self.holders[index]) * self._classes[block][index] - self.wanted[index][split])

    def finish(self) -> dict[Block, str]:
        """The split of every block; where val or test went without one, it takes the one that costs least."""
        for split in SHARES:
            if split not in self._chosen.values():
                free = [block for block in self._blocks if block not in self._chosen]
                number = len(self._blocks)
                self._give(min(free, key=lambda block: self._last_rank(block, split, number)), split)
        return {block: self._chosen.get(block, "train") for block in self._blocks}

    def _last_rank(self, block: Block, split: str, number: int) -> tuple[int, int, int]:
        beyond = max(0, number * len(self._tiles[block]) - self._room[split])
        return beyond, self._cost(block), self._order[block]

    def _give(self, block: Block, split: str) -> None:
        self._chosen[block] = split
        self._held |= self._tiles[block]
        self._lost = (self._lost | self._beside[block]) - self._held
        for index in self._classes[block]:
            self._left[index] -= 1
            self._has[index].add(split)
            self.wanted[index][split] -= len(self.holders[index]) * self._classes[block][index]
        self._room[split] -= len(self._blocks) * len(self._tiles[block])

    def _serves(self, block: Block, split: str) -> int:
        """How many classes want the block for this split; at least 1."""
        return max(1, sum(self.wanted[index][split] > 0 for index in self._classes[block]))

    def _cost(self, block: Block) -> int:
        """How many more tiles beside it training would lose, and 1.

        Its own tiles do not count: val and test would get the smallest blocks.
        """
        return 1 + len(self._beside[block] - self._held - self._lost)


def _parts(number: int) -> dict[str, int]:
    """How many of so many blocks val and test should have: at least one each of three or more; of two, test has one."""
    if number < FEWEST_BLOCKS:
        return {"test": max(0, number - 1), "val": 0}
    return {split: max(1, round(share * number)) for split, share in SHARES.items()}


def _wanted(tiles: Iterable[int]) -> dict[str, int]:
    """Tiles that val and test should have of blocks with so many, times the number of blocks: whole numbers."""
    counts = list(tiles)
    return {split: part * sum(counts) for split, part in _parts(len(counts)).items()}


def _by_hash(block: Block) -> bytes:
    return hashlib.sha256(f"{block[0]},{block[1]}".encode()).digest()


# Neighbours -----------------------------------------------------------------------------------------------------------


def _beside(marked: Sequence[Marked], of_tile: Mapping[str, str]) -> tuple[frozenset[str], frozenset[str]]:
    """Training tiles beside a val or test tile: those that are left out, and those that stay."""
    training = [one for one in marked if of_tile[one.tile.id] == "train"]
    others = [one.tile for one in marked if of_tile[one.tile.id] != "train"]
    drawn = {one.tile.id for one in training if not one.given}
    touching = _that_share(training, others, margin_px=1)
    leaving = touching & drawn
    if len(leaving) == len(training):
        # All of them touch: those that share ground leave all the same, their pixels would be seen twice.
        leaving &= _that_share(training, others, margin_px=0)
    return leaving, touching - leaving


@dataclass(frozen=True)
class Placed:
    """A tile that is used, its split, and whether its user named it."""

    tile: Tile
    split: str
    named: bool


def check_named(placed: Sequence[Placed], fresh: Collection[str]) -> None:
    """Make sure that no ground lies in two splits because a user named them so.

    Args:
        placed: tiles that are used.
        fresh: ids of tiles that come in now; ground that tiles of before share is left as it is.

    Raises:
        DataError: it does; names two tiles.
    """
    if not any(one.named for one in placed):
        return
    entering = [one for one in placed if one.tile.id in fresh]
    pairs = [
        (entering[i], placed[j], share)
        for i, j, share in shared_ground([one.tile for one in entering], [one.tile for one in placed])
        if entering[i].split != placed[j].split and (entering[i].named or placed[j].named)
    ]
    if not pairs:
        return
    one, other, share = pairs[0]
    tiles = len({part.tile.id for pair in pairs for part in pair[:2]})
    more = f" ({tiles:,} tiles share ground with another split in all)" if tiles > 2 else ""
    raise DataError(
        f"tiles {one.tile.id} ({one.split}) and {other.tile.id} ({other.split}) share {share:.0%} of their ground"
        f"{more}: a network would be scored on what it was trained on; name one split for both, make tiles "
        "smaller (--tile-px), or name no splits and let blocks decide"
    )


def _touching(tiles: Sequence[Tile]) -> dict[str, frozenset[str]]:
    """Tile id -> ids of the others that it touches or overlaps."""
    found: dict[str, set[str]] = defaultdict(set)
    for i, j, _ in shared_ground([_wider(tile, 1) for tile in tiles], tiles):
        if i != j:
            found[tiles[i].id].add(tiles[j].id)
    return {tile: frozenset(others) for tile, others in found.items()}


def _that_share(training: Sequence[Marked], others: Sequence[Tile], *, margin_px: int) -> frozenset[str]:
    pairs = shared_ground([_wider(one.tile, margin_px) for one in training], others)
    return frozenset(training[i].tile.id for i, _, _ in pairs)


def _wider(tile: Tile, margin_px: int) -> Tile:
    """A tile with a margin: what merely touches it shares ground with it."""
    if not margin_px:
        return tile
    margin = margin_px * RESOLUTION_M
    a, b, x, d, e, y = tile.transform
    shape = (tile.shape[0] + 2 * margin_px, tile.shape[1] + 2 * margin_px)
    return replace(tile, transform=(a, b, x - margin, d, e, y + margin), shape=shape)
