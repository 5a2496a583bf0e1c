"""Plans: why a tile is asked for, said before anything is asked."""

from dataclasses import replace
from pathlib import Path

from support.tiles import make_tile
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.build.plan import plan
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.raster.geotiff import grid_of, shard_path
from support.builds import rows


def done(root: Path, number: int, **changes: object) -> LedgerRow:
    """The ledger row of a complete tile, with a shard of four bytes on disk."""
    tile = rows(number + 1)[number].tile
    shard_path(root, tile).parent.mkdir(parents=True, exist_ok=True)
    shard_path(root, tile).write_bytes(b"1234")
    row = LedgerRow(tile.id, "done", source="SANDBOX", recipe=Recipe().hash, bytes=4, grid=str(grid_of(tile)))
    return replace(row, **changes)  # type: ignore[arg-type]


def test_each_tile_has_its_own_reason(tmp_path: Path) -> None:
    tiles = [
        *rows(6),
        replace(rows(7)[6], tile=make_tile("dw_6.0_45.0-20190701", x=700000.0)),
        replace(rows(8)[7], discard="test_overlap"),
    ]
    known = [
        done(tmp_path, 0),
        done(tmp_path, 1, bytes=5),
        done(tmp_path, 2, state="failed", reason="no_answer"),
        done(tmp_path, 3, recipe="another"),
        done(tmp_path, 4, state="discarded", reason="no_s1"),
        # tile 5 is new
        done(tmp_path, 6),
    ]

    todo = plan(
        tiles, known={row.tile: row for row in known}, root=tmp_path, recipe=Recipe(), source="SANDBOX",
        damaged=frozenset(), again=frozenset(),
    )  # fmt: skip

    assert [todo.why.get(row.tile.id) for row in tiles] == [
        None, "shard damaged", "failed before", "another recipe", None, "new", "another grid", None,
    ]  # fmt: skip
    assert str(todo) == (
        "8 tiles: 1 complete, 2 discarded, 5 to ask for (1 shard damaged, 1 failed before, 1 another recipe, 1 new, "
        "1 another grid)"
    )
    assert [(row.tile, row.reason) for row in todo.record] == [(tiles[7].tile.id, "test_overlap")]


def test_a_tile_can_be_asked_for_again_whatever_is_known_of_it(tmp_path: Path) -> None:
    tile = rows(1)[0]
    known = {tile.tile.id: done(tmp_path, 0, state="discarded", reason="no_s2")}

    todo = plan([tile], known=known, root=tmp_path, recipe=Recipe(), source="SANDBOX", again=frozenset({tile.tile.id}))

    assert todo.why == {tile.tile.id: "asked for"}


def test_a_plan_with_nothing_to_ask_says_so(tmp_path: Path) -> None:
    tile = rows(1)[0]

    todo = plan([tile], known={tile.tile.id: done(tmp_path, 0)}, root=tmp_path, recipe=Recipe(), source="SANDBOX")

    assert str(todo) == "1 tiles: 1 complete, none to ask for"
