"""Splits by geographic blocks."""

from itertools import permutations

import numpy as np
import pytest
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.own.blocks import Marked, Splits, assign, block_of
from dwplus.pipeline.spec.overlaps import shared_ground
from dwplus.pipeline.spec.tiles import Tile
from support.tiles import make_tile


def tile_of(n: int, x: float, y: float, size: int = 510, crs: str = "EPSG:32633") -> Tile:
    return make_tile(f"own-{crs[5:]}-{x:g}-{y:g}-20220601-{n}", crs=crs, x=x, y=y, size=size)


def far_apart(number: int, classes: frozenset[int] = frozenset({0})) -> list[Marked]:
    """Tiles 51 km from each other: a block each, no neighbours."""
    return [
        Marked(tile_of(n, 408_000 + 51_000 * (n % 4), 5_508_000 + 51_000 * (n // 4)), classes) for n in range(number)
    ]


def side_by_side(columns: int, rows: int) -> list[Marked]:
    """Tiles that touch, all with two classes."""
    places = [(column, row) for column in range(columns) for row in range(rows)]
    return [
        Marked(tile_of(n, 408_000 + 5100 * column, 5_508_000 + 5100 * row), frozenset({0, 1}))
        for n, (column, row) in enumerate(places)
    ]


def tiles_in(splits: Splits, split: str) -> set[str]:
    return {tile for tile, of in splits.of_tile.items() if of == split and tile not in splits.beside}


def test_three_blocks_give_each_split_one() -> None:
    splits = assign(far_apart(3), classes=1)

    assert sorted(splits.of_tile.values()) == ["test", "train", "val"]
    assert dict(splits.blocks) == {"train": 1, "val": 1, "test": 1}
    assert (splits.block_km, splits.beside, splits.missing) == (10, frozenset(), {})


def test_fewer_than_three_blocks_are_refused() -> None:
    with pytest.raises(DataError, match=r"lie in 2 blocks of 1.25 km.*--split-column"):
        assign(far_apart(2), classes=1)


def test_blocks_become_smaller_until_there_are_three() -> None:
    # Given three tiles of 1.28 km in a row, 2.56 km from one another: at most two blocks of 10 km.
    tiles = [Marked(tile_of(n, 408_000 + 2560 * n, 5_508_000, size=128), frozenset({0})) for n in range(3)]

    splits = assign(tiles, classes=1)

    assert splits.block_km < 10
    assert sorted(splits.of_tile.values()) == ["test", "train", "val"]


def test_shares_are_fifteen_per_cent_each() -> None:
    splits = assign(far_apart(40), classes=1)

    assert dict(splits.blocks) == {"train": 28, "val": 6, "test": 6}


def test_a_block_with_many_tiles_trains() -> None:
    # Given twenty tiles of 1.28 km in one block of 10 km, and twenty blocks of one tile: 15 % of 40 tiles are 6.
    crowd = [
        Marked(tile_of(100 + n, 1_000_000 + 1300 * (n % 5), 5_508_000 - 1300 * (n // 5), size=64), frozenset({0, 1}))
        for n in range(20)
    ]
    tiles = [*crowd, *far_apart(20, frozenset({0}))]
    together = len({block_of(one.tile, 10) for one in crowd})

    splits = assign(tiles, classes=1)

    number = {split: len(tiles_in(splits, split)) for split in ("train", "val", "test")}
    assert together <= 2
    assert (number["val"], number["test"]) == (6, 6)
    assert sum(number.values()) + len(splits.beside) == 40


def test_of_three_blocks_the_one_with_most_tiles_trains() -> None:
    crowd = [Marked(tile_of(100 + n, 1_000_000 + 1300 * n, 5_508_000, size=64), frozenset({0})) for n in range(3)]
    tiles = [*crowd, *far_apart(2)]

    splits = assign(tiles, classes=1)

    assert sorted(splits.of_tile[one.tile.id] for one in tiles[3:]) == ["test", "val"]
    assert {splits.of_tile[one.tile.id] for one in crowd} == {"train"}


def test_splits_depend_on_the_set_of_tiles_and_not_on_their_order() -> None:
    tiles = far_apart(5)
    expected = assign(tiles, classes=1)

    assert all(assign(order, classes=1) == expected for order in permutations(tiles))


def test_tiles_of_one_block_share_a_split() -> None:
    splits = assign(side_by_side(10, 10), classes=2)
    tiles = {one.tile.id: one.tile for one in side_by_side(10, 10)}

    of_block: dict[tuple[int, int], set[str]] = {}
    for tile, split in splits.of_tile.items():
        of_block.setdefault(block_of(tiles[tile], splits.block_km), set()).add(split)

    assert all(len(found) == 1 for found in of_block.values())


def test_every_class_is_in_every_split_where_three_blocks_hold_it() -> None:
    # Given forty blocks, with a rare class in three of them and another in two.
    rng = np.random.default_rng(3)
    tiles = far_apart(40, frozenset({0}))
    rare = rng.permutation(40)
    marks = {int(n): frozenset({0, 1}) for n in rare[:3]} | {int(n): frozenset({0, 2}) for n in rare[3:5]}
    tiles = [Marked(one.tile, marks.get(n, one.classes)) for n, one in enumerate(tiles)]

    splits = assign(tiles, classes=4)

    # Then the one in two blocks has none to validate on, and a class that nobody drew is said to be nowhere.
    assert splits.missing == {2: ("val",), 3: ("train", "val", "test")}


def test_training_tiles_beside_another_split_leave_and_no_other() -> None:
    tiles = side_by_side(12, 12)
    splits = assign(tiles, classes=2)
    place = {
        one.tile.id: ((one.tile.transform[2] - 408_000) / 5100, (one.tile.transform[5] - 5_508_000) / 5100)
        for one in tiles
    }

    def touches(tile: str, other: str) -> bool:
        return all(abs(a - b) <= 1 for a, b in zip(place[tile], place[other], strict=True))

    others = [tile for tile, split in splits.of_tile.items() if split != "train"]
    expected = {
        tile for tile, split in splits.of_tile.items() if split == "train" and any(touches(tile, o) for o in others)
    }
    assert splits.beside == expected
    assert splits.kept_beside == frozenset()
    # Blocks of val and test lie together, so that at most a quarter is lost.
    assert 0 < len(splits.beside) < 144 / 4
    assert splits.missing == {}


def test_where_all_training_tiles_have_such_neighbours_they_stay_unless_they_share_ground() -> None:
    tiles = side_by_side(3, 1)
    small = [Marked(one.tile, one.classes) for one in tiles]

    splits = assign(small, classes=2, block_km=2.5)

    assert sorted(splits.of_tile.values()) == ["test", "train", "val"]
    assert splits.beside == frozenset()
    assert splits.kept_beside == tiles_in(splits, "train")


def test_tiles_of_two_zones_on_the_same_ground_never_sit_on_both_sides() -> None:
    # Given tiles of zone 32 and 33 around 12 degrees east, which overlap.
    east = [tile_of(n, 275_400 + 5100 * (n % 4), 5_540_000 - 5100 * (n // 4)) for n in range(24)]
    west = [tile_of(n, 710_000 - 5100 * (n % 4), 5_540_000 - 5100 * (n // 4), crs="EPSG:32632") for n in range(24)]
    tiles = [*east, *west]
    assert shared_ground(east, west)

    splits = assign([Marked(tile, frozenset({0})) for tile in tiles], classes=1)

    used = {split: [tile for tile in tiles if tile.id in tiles_in(splits, split)] for split in ("train", "val", "test")}
    assert used["train"]
    assert shared_ground(used["train"], used["val"] + used["test"]) == []


def test_splits_that_were_given_are_kept_and_the_others_are_drawn() -> None:
    given = [
        Marked(tile_of(n, 408_000 + 5100 * n, 6_000_000), frozenset({0}), split)
        for n, split in enumerate(["train", "test"])
    ]

    splits = assign([*far_apart(3), *given], classes=1)

    assert [splits.of_tile[one.tile.id] for one in given] == ["train", "test"]
    assert splits.kept_beside == {given[0].tile.id}
    alone = assign(given, classes=1)
    assert (alone.block_km, alone.missing) == (0, {0: ("val",)})
