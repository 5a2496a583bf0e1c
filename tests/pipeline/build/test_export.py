"""Export: what is asked for, what is kept, what is discarded, and how a run ends."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dwplus.pipeline.build import export as export_module
from dwplus.pipeline.build.budget import Budget
from dwplus.pipeline.build.export import Callbacks, export
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import AuthenticationError, QuotaError, TileError, UsageError
from dwplus.pipeline.raster.geotiff import grid_of, read_bands, read_header
from dwplus.pipeline.spec.bands import SHARD_BANDS
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.spec.tiles import Tile
from numpy.typing import NDArray
from support.builds import Pixels, rows
from support.tiles import make_pixels, make_tile


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot.at(tmp_path)


def run(root: DataRoot, tiles: list[ManifestRow], pixels: Pixels, recipe: Recipe | None = None) -> dict[str, LedgerRow]:
    with root.open_ledger() as ledger:
        export(tiles, pixels=pixels, recipe=recipe or Recipe(), root=root, ledger=ledger, concurrency=2)
    return root.ledger()


def test_every_tile_becomes_a_shard_on_its_own_grid(root: DataRoot) -> None:
    tiles = rows()

    ledger = run(root, tiles, Pixels())

    assert {row.state for row in ledger.values()} == {"done"}
    for row in tiles:
        header = read_header(root.shard(row.tile))
        assert header.grid == grid_of(row.tile)
        assert (header.tags["DWPLUS_SOURCE"], header.tags["S1_WINDOW"]) == ("SANDBOX", "2019-01-02/2019-12-28")
        np.testing.assert_array_equal(read_bands(root.shard(row.tile), SHARD_BANDS), make_pixels())


def test_running_again_asks_for_nothing(root: DataRoot) -> None:
    run(root, rows(), Pixels())
    again = Pixels()

    run(root, rows(), again)

    assert again.asked == []


def test_only_what_is_missing_is_asked_for(root: DataRoot) -> None:
    # Given a data set that lost one shard, has one of another length, and gets one more tile.
    tiles = rows(4)
    run(root, tiles[:3], Pixels())
    root.shard(tiles[0].tile).unlink()
    root.shard(tiles[1].tile).write_bytes(b"half")
    again = Pixels()

    run(root, tiles, again)

    assert sorted(again.asked) == [tiles[n].tile.id for n in (0, 1, 3)]


def test_a_new_recipe_asks_again_and_a_new_label_does_not(root: DataRoot) -> None:
    run(root, rows(), Pixels())
    relabelled, other_recipe = Pixels(), Pixels()

    run(root, [replace(row, labeler="non_expert", label_sha256="1") for row in rows()], relabelled)
    run(root, rows(), other_recipe, Recipe(s1_mean="linear"))

    assert relabelled.asked == []
    assert len(other_recipe.asked) == 3


def test_a_shard_that_the_ledger_lost_is_taken_up_again(root: DataRoot) -> None:
    # Given a run that was killed between the rename of a shard and its line in the ledger.
    first = run(root, rows(), Pixels())
    (root.folder / "ledger.jsonl").unlink()
    again = Pixels()

    second = run(root, rows(), again)

    assert again.asked == []
    assert {t: (r.state, r.sha256, r.scene) for t, r in second.items()} == {
        t: (r.state, r.sha256, r.scene) for t, r in first.items()
    }


def test_parts_of_a_killed_run_are_removed(root: DataRoot) -> None:
    part = root.folder / "shards" / "EH" / "4" / ".dw_0.0_45.0-20190701.tif.77.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")

    run(root, rows(), Pixels())

    assert not part.exists()


def test_tiles_without_a_sensor_are_discarded_with_the_reason(root: DataRoot) -> None:
    def empty(tile: Tile, pixels: NDArray[np.uint16]) -> None:
        if tile.id.startswith("dw_0"):
            pixels[11:] = 0
        if tile.id.startswith("dw_1"):
            pixels[:11] = 0

    tiles = [*rows(3)[:2], replace(rows(3)[2], s2_index="no-scene"), replace(rows(4)[3], discard="test_overlap")]

    ledger = run(root, tiles, Pixels(react=empty))

    assert [(ledger[row.tile.id].state, ledger[row.tile.id].reason) for row in tiles] == [
        ("discarded", "no_s1"), ("discarded", "no_s2"), ("discarded", "no_s2"), ("discarded", "test_overlap"),
    ]  # fmt: skip
    assert not list(root.folder.rglob("*.tif"))
    again = Pixels()
    run(root, tiles, again)
    assert again.asked == []


def test_a_tile_that_fails_does_not_stop_the_others_and_is_asked_for_again(root: DataRoot) -> None:
    def fail(tile: Tile, _pixels: NDArray[np.uint16]) -> None:
        if tile.id.startswith("dw_1"):
            raise TileError("no answer after 6 attempts")

    ledger = run(root, rows(), Pixels(react=fail))

    assert [ledger[row.tile.id].state for row in rows()] == ["done", "failed", "done"]
    again = Pixels()
    assert run(root, rows(), again)[rows()[1].tile.id].state == "done"
    assert again.asked == [rows()[1].tile.id]


def test_refused_credentials_stop_the_run_and_nothing_done_is_lost(root: DataRoot) -> None:
    def refuse(tile: Tile, _pixels: NDArray[np.uint16]) -> None:
        if tile.id.startswith("dw_5"):
            raise AuthenticationError("token expired")

    pixels = Pixels(react=refuse)
    with pytest.raises(AuthenticationError):
        run(root, rows(20), pixels)

    ledger = root.ledger()
    assert 2 <= len(ledger) < 20
    assert len(list(root.folder.rglob("*.tif"))) == len(ledger)


def test_ctrl_c_finishes_what_is_in_flight(root: DataRoot) -> None:
    told: list[LedgerRow] = []

    def interrupt(row: LedgerRow) -> None:
        told.append(row)
        if len(told) == 1:
            raise KeyboardInterrupt

    with root.open_ledger() as ledger, pytest.raises(KeyboardInterrupt):
        export(
            rows(20),
            pixels=Pixels(),
            recipe=Recipe(),
            root=root,
            ledger=ledger,
            concurrency=3,
            callbacks=Callbacks(on_row=interrupt),
        )

    done = root.ledger()
    assert 1 <= len(done) <= 1 + 2 * 3
    assert len(list(root.folder.rglob("*.tif"))) == len(done)


def test_pixels_of_two_sources_never_mix(root: DataRoot) -> None:
    run(root, rows(), Pixels())

    with pytest.raises(UsageError, match="holds pixels of SANDBOX, this run would add earthengine"):
        run(root, rows(), Pixels(name="earthengine"))


def test_two_recipes_never_stand_side_by_side(root: DataRoot) -> None:
    # Given shards of one recipe; a run with another one may replace all of them, but not a part.
    run(root, rows(3), Pixels())

    with pytest.raises(UsageError, match="holds shards of another recipe"):
        run(root, rows(2), Pixels(), Recipe(s1_mean="linear"))
    assert {row.recipe for row in run(root, rows(3), Pixels(), Recipe(s1_mean="linear")).values()} == {
        Recipe(s1_mean="linear").hash
    }


def test_another_source_is_refused_whatever_tiles_are_asked_for(root: DataRoot) -> None:
    run(root, rows(1), Pixels())

    with pytest.raises(UsageError, match="holds pixels of SANDBOX"):
        run(root, rows(3)[2:], Pixels(name="earthengine"))


def test_a_label_on_another_grid_is_asked_for_again(root: DataRoot) -> None:
    run(root, rows(1), Pixels())
    moved = replace(rows(1)[0], tile=make_tile("dw_0.0_45.0-20190701", x=500000.0 + 1000))
    again = Pixels()

    run(root, [moved], again)

    assert again.asked == ["dw_0.0_45.0-20190701"]
    assert read_header(root.shard(moved.tile)).grid == grid_of(moved.tile)


def test_a_damaged_shard_of_the_right_length_is_asked_for_again(root: DataRoot) -> None:
    tiles = rows(2)
    run(root, tiles, Pixels())
    again = Pixels()

    with root.open_ledger() as ledger:
        damaged = frozenset({tiles[0].tile.id})
        export(tiles, pixels=again, recipe=Recipe(), root=root, ledger=ledger, damaged=damaged)

    assert again.asked == [tiles[0].tile.id]


def test_a_tile_that_got_no_answer_is_asked_for_once_more_at_the_end(root: DataRoot) -> None:
    # Given a service that is in trouble when the first tile is asked for, and a tile that it refuses.
    trouble: list[str] = []

    def fail(tile: Tile, _pixels: NDArray[np.uint16]) -> None:
        if tile.id.startswith("dw_0") and not trouble:
            trouble.append(tile.id)
            raise TileError("no answer after 6 attempts")
        if tile.id.startswith("dw_1"):
            raise TileError("refused", reason="refused")

    pixels = Pixels(react=fail)

    ledger = run(root, rows(), pixels)

    first, refused, third = (ledger[row.tile.id] for row in rows())
    assert (first.state, first.attempts) == ("done", 2)
    assert (refused.state, refused.reason, refused.attempts) == ("failed", "refused", 1)
    assert (third.state, third.attempts, third.requests, third.received) == ("done", 1, 2, 1000)
    assert pixels.asked.count(first.tile) == 2
    assert pixels.asked.count(refused.tile) == 1


def test_an_outage_is_sat_out(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a service that answers nobody for the first 45 tiles.
    waits: list[float] = []
    monkeypatch.setattr(export_module, "OUTAGE_FAILURES", 20)
    monkeypatch.setattr(export_module.time, "sleep", waits.append)
    asked: list[str] = []

    def fail(tile: Tile, _pixels: NDArray[np.uint16]) -> None:
        asked.append(tile.id)
        if len(asked) <= 45:
            raise TileError("no answer after 6 attempts")

    ledger = run(root, rows(60), Pixels(react=fail))

    assert waits == [10.0] * 9  # 30 s after 20 tiles without an answer, 60 s after 40; in naps
    assert {row.state for row in ledger.values()} == {"done"}


def test_a_tile_that_a_new_recipe_discards_leaves_no_shard_of_the_old_one(root: DataRoot) -> None:
    run(root, rows(1), Pixels())

    def unseen(_tile: Tile, pixels: NDArray[np.uint16]) -> None:
        pixels[11:] = 0

    ledger = run(root, rows(1), Pixels(react=unseen), Recipe(s1_passes=("ASCENDING",)))

    assert ledger[rows(1)[0].tile.id].reason == "no_s1"
    assert not list(root.folder.rglob("*.tif"))


def test_a_budget_stops_the_run_cleanly_and_the_next_run_goes_on(root: DataRoot) -> None:
    # Given tiles that cost 0.01 EECU-hours each and a budget of 0.1.
    budget, told = Budget(max_eecu_hours=0.1), []
    with (
        root.open_ledger() as ledger,
        pytest.raises(QuotaError, match=r"--max-eecu-hours 0\.1 is used up"),
    ):
        export(
            rows(40), pixels=Pixels(), recipe=Recipe(), root=root, ledger=ledger, concurrency=2, meter=budget,
            callbacks=Callbacks(on_plan=lambda plan: told.append(str(plan))),
        )  # fmt: skip
    first = root.ledger()
    again = Pixels()

    second = run(root, rows(40), again)

    assert told == ["40 tiles: 40 to request (40 new)"]
    assert 5 <= len(first) <= 10
    assert len(again.asked) == 40 - len(first)
    assert {row.state for row in second.values()} == {"done"}
