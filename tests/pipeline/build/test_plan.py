"""Plans: why a tile is asked for, said before anything is asked."""

from dataclasses import replace
from pathlib import Path

import pytest
from dwplus.pipeline.build.plan import plan
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.raster.geotiff import grid_of
from dwplus.pipeline.spec.recipe import Recipe
from support.builds import rows
from support.tiles import make_tile


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot.at(tmp_path)


def done(root: DataRoot, number: int, **changes: object) -> LedgerRow:
    """The ledger row of a complete tile, with a shard of four bytes on disk."""
    tile = rows(number + 1)[number].tile
    root.shard(tile).parent.mkdir(parents=True, exist_ok=True)
    root.shard(tile).write_bytes(b"1234")
    row = LedgerRow(tile.id, "done", source="SANDBOX", recipe=Recipe().hash, bytes=4, grid=str(grid_of(tile)))
    return replace(row, **changes)


def test_each_tile_has_its_own_reason(root: DataRoot) -> None:
    tiles = [
        *rows(6),
        replace(rows(7)[6], tile=make_tile("dw_6.0_45.0-20190701", x=700000.0)),
        replace(rows(8)[7], discard="test_overlap"),
    ]
    known = [
        done(root, 0),
        done(root, 1, bytes=5),
        done(root, 2, state="failed", reason="no_answer"),
        done(root, 3, recipe="another"),
        done(root, 4, state="discarded", reason="no_s1"),
        # tile 5 is new
        done(root, 6),
    ]

    todo = plan(
        tiles, known={row.tile: row for row in known}, root=root, recipe=Recipe(), source="SANDBOX",
        damaged=frozenset(), again=frozenset(),
    )  # fmt: skip

    assert [todo.why.get(row.tile.id) for row in tiles] == [
        None, "shard damaged", "failed before", "another recipe", None, "new", "another grid", None,
    ]  # fmt: skip
    assert str(todo) == (
        "8 tiles: 1 complete, 2 discarded, 5 to request (1 shard damaged, 1 failed before, 1 another recipe, 1 new, "
        "1 another grid)"
    )
    assert [(row.tile, row.reason) for row in todo.record] == [(tiles[7].tile.id, "test_overlap")]


def test_a_tile_can_be_asked_for_again_whatever_is_known_of_it(root: DataRoot) -> None:
    tile = rows(1)[0]
    known = {tile.tile.id: done(root, 0, state="discarded", reason="no_s2")}

    todo = plan([tile], known=known, root=root, recipe=Recipe(), source="SANDBOX", again=frozenset({tile.tile.id}))

    assert todo.why == {tile.tile.id: "requested"}


def test_a_plan_with_nothing_to_ask_says_so(root: DataRoot) -> None:
    tile = rows(1)[0]

    todo = plan([tile], known={tile.tile.id: done(root, 0)}, root=root, recipe=Recipe(), source="SANDBOX")

    assert str(todo) == "1 tile: 1 complete, none to request"
