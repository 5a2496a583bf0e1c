"""Export: what is asked for, what is kept, what is discarded, and how a run ends."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.tiles import make_pixels
from support.tiles import make_tile
from dwplus.pipeline.build import export as export_module
from dwplus.pipeline.spec.bands import SHARD_BANDS
from dwplus.pipeline.build.budget import Budget
from dwplus.pipeline.errors import AuthenticationError, QuotaError, TileError, UsageError
from dwplus.pipeline.build.export import Watch, export
from dwplus.pipeline.dataset.ledger import Ledger, LedgerRow, read_ledger
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.earthengine.scene_choice import SceneHint, SceneRef
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.earthengine.session import Request, Tally
from dwplus.pipeline.raster.geotiff import grid_of, read_bands, read_header, shard_path
from dwplus.pipeline.spec.tiles import Tile
from numpy.typing import NDArray
from support.builds import Pixels, rows


def run(root: Path, tiles: list[ManifestRow], pixels: Pixels, recipe: Recipe | None = None) -> dict[str, LedgerRow]:
    with Ledger(root) as ledger:
        export(tiles, pixels=pixels, recipe=recipe or Recipe(), ledger=ledger, concurrency=2)
    return read_ledger(root)


def test_every_tile_becomes_a_shard_on_its_own_grid(tmp_path: Path) -> None:
    tiles = rows()

    ledger = run(tmp_path, tiles, Pixels())

    assert {row.state for row in ledger.values()} == {"done"}
    for row in tiles:
        header = read_header(shard_path(tmp_path, row.tile))
        assert header.grid == grid_of(row.tile)
        assert (header.tags["DWPLUS_SOURCE"], header.tags["S1_WINDOW"]) == ("SANDBOX", "2019-01-02/2019-12-28")
        np.testing.assert_array_equal(read_bands(shard_path(tmp_path, row.tile), SHARD_BANDS), make_pixels())


def test_running_again_asks_for_nothing(tmp_path: Path) -> None:
    run(tmp_path, rows(), Pixels())
    again = Pixels()

    run(tmp_path, rows(), again)

    assert again.asked == []


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    # Given a data set that lost one shard, has one of another length, and gets one more tile.
    tiles = rows(4)
    run(tmp_path, tiles[:3], Pixels())
    shard_path(tmp_path, tiles[0].tile).unlink()
    shard_path(tmp_path, tiles[1].tile).write_bytes(b"half")
    again = Pixels()

    run(tmp_path, tiles, again)

    assert sorted(again.asked) == [tiles[n].tile.id for n in (0, 1, 3)]


def test_a_new_recipe_asks_again_and_a_new_label_does_not(tmp_path: Path) -> None:
    run(tmp_path, rows(), Pixels())
    relabelled, other_recipe = Pixels(), Pixels()

    run(tmp_path, [replace(row, labeler="non_expert", label_sha256="1") for row in rows()], relabelled)
    run(tmp_path, rows(), other_recipe, Recipe(s1_mean="linear"))

    assert relabelled.asked == []
    assert len(other_recipe.asked) == 3


def test_a_shard_that_the_ledger_lost_is_taken_up_again(tmp_path: Path) -> None:
    # Given a run that was killed between the rename of a shard and its line in the ledger.
    first = run(tmp_path, rows(), Pixels())
    (tmp_path / "ledger.jsonl").unlink()
    again = Pixels()

    second = run(tmp_path, rows(), again)

    assert again.asked == []
    assert {t: (r.state, r.sha256, r.scene) for t, r in second.items()} == {
        t: (r.state, r.sha256, r.scene) for t, r in first.items()
    }


def test_parts_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    part = tmp_path / "shards" / "EH" / "4" / ".dw_0.0_45.0-20190701.tif.77.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")

    run(tmp_path, rows(), Pixels())

    assert not part.exists()


def test_tiles_without_a_sensor_are_discarded_with_the_reason(tmp_path: Path) -> None:
    def empty(tile: Tile, pixels: NDArray[np.uint16]) -> None:
        if tile.id.startswith("dw_0"):
            pixels[11:] = 0
        if tile.id.startswith("dw_1"):
            pixels[:11] = 0

    tiles = [*rows(3)[:2], replace(rows(3)[2], s2_index="no-scene"), replace(rows(4)[3], discard="test_overlap")]

    ledger = run(tmp_path, tiles, Pixels(react=empty))

    assert [(ledger[row.tile.id].state, ledger[row.tile.id].reason) for row in tiles] == [
        ("discarded", "no_s1"), ("discarded", "no_s2"), ("discarded", "no_s2"), ("discarded", "test_overlap"),
    ]  # fmt: skip
    assert not list(tmp_path.rglob("*.tif"))
    again = Pixels()
    run(tmp_path, tiles, again)
    assert again.asked == []


def test_a_tile_that_fails_does_not_stop_the_others_and_is_asked_for_again(tmp_path: Path) -> None:
    def fail(tile: Tile, _pixels: NDArray[np.uint16]) -> None:
        if tile.id.startswith("dw_1"):
            raise TileError("no answer after 6 attempts")

    ledger = run(tmp_path, rows(), Pixels(react=fail))

    assert [ledger[row.tile.id].state for row in rows()] == ["done", "failed", "done"]
    again = Pixels()
    assert run(tmp_path, rows(), again)[rows()[1].tile.id].state == "done"
    assert again.asked == [rows()[1].tile.id]


def test_refused_credentials_stop_the_run_and_nothing_done_is_lost(tmp_path: Path) -> None:
    def refuse(tile: Tile, _pixels: NDArray[np.uint16]) -> None:
        if tile.id.startswith("dw_5"):
            raise AuthenticationError("token expired")

    pixels = Pixels(react=refuse)
    with pytest.raises(AuthenticationError):
        run(tmp_path, rows(20), pixels)

    ledger = read_ledger(tmp_path)
    assert 2 <= len(ledger) < 20
    assert len(list(tmp_path.rglob("*.tif"))) == len(ledger)


def test_ctrl_c_finishes_what_is_in_flight(tmp_path: Path) -> None:
    told: list[LedgerRow] = []

    def interrupt(row: LedgerRow) -> None:
        told.append(row)
        if len(told) == 1:
            raise KeyboardInterrupt

    with Ledger(tmp_path) as ledger, pytest.raises(KeyboardInterrupt):
        export(rows(20), pixels=Pixels(), recipe=Recipe(), ledger=ledger, concurrency=3, watch=Watch(on_row=interrupt))

    done = read_ledger(tmp_path)
    assert 1 <= len(done) <= 1 + 2 * 3
    assert len(list(tmp_path.rglob("*.tif"))) == len(done)


def test_pixels_of_two_sources_never_mix(tmp_path: Path) -> None:
    run(tmp_path, rows(), Pixels())

    with pytest.raises(UsageError, match="holds pixels of SANDBOX, this run would add earthengine"):
        run(tmp_path, rows(), Pixels(name="earthengine"))


def test_two_recipes_never_stand_side_by_side(tmp_path: Path) -> None:
    # Given shards of one recipe; a run with another one may replace all of them, but not a part.
    run(tmp_path, rows(3), Pixels())

    with pytest.raises(UsageError, match="holds shards of another recipe"):
        run(tmp_path, rows(2), Pixels(), Recipe(s1_mean="linear"))
    assert {row.recipe for row in run(tmp_path, rows(3), Pixels(), Recipe(s1_mean="linear")).values()} == {
        Recipe(s1_mean="linear").hash
    }


def test_another_source_is_refused_whatever_tiles_are_asked_for(tmp_path: Path) -> None:
    run(tmp_path, rows(1), Pixels())

    with pytest.raises(UsageError, match="holds pixels of SANDBOX"):
        run(tmp_path, rows(3)[2:], Pixels(name="earthengine"))


def test_a_label_on_another_grid_is_asked_for_again(tmp_path: Path) -> None:
    run(tmp_path, rows(1), Pixels())
    moved = replace(rows(1)[0], tile=make_tile("dw_0.0_45.0-20190701", x=500000.0 + 1000))
    again = Pixels()

    run(tmp_path, [moved], again)

    assert again.asked == ["dw_0.0_45.0-20190701"]
    assert read_header(shard_path(tmp_path, moved.tile)).grid == grid_of(moved.tile)


def test_a_damaged_shard_of_the_right_length_is_asked_for_again(tmp_path: Path) -> None:
    tiles = rows(2)
    run(tmp_path, tiles, Pixels())
    again = Pixels()

    with Ledger(tmp_path) as ledger:
        damaged = frozenset({tiles[0].tile.id})
        export(tiles, pixels=again, recipe=Recipe(), ledger=ledger, damaged=damaged)

    assert again.asked == [tiles[0].tile.id]


def test_a_tile_that_got_no_answer_is_asked_for_once_more_at_the_end(tmp_path: Path) -> None:
    # Given a service that is in trouble when the first tile is asked for, and a tile that it refuses.
    trouble: list[str] = []

    def fail(tile: Tile, _pixels: NDArray[np.uint16]) -> None:
        if tile.id.startswith("dw_0") and not trouble:
            trouble.append(tile.id)
            raise TileError("no answer after 6 attempts")
        if tile.id.startswith("dw_1"):
            raise TileError("refused", reason="refused")

    pixels = Pixels(react=fail)

    ledger = run(tmp_path, rows(), pixels)

    first, refused, third = (ledger[row.tile.id] for row in rows())
    assert (first.state, first.attempts) == ("done", 2)
    assert (refused.state, refused.reason, refused.attempts) == ("failed", "refused", 1)
    assert (third.state, third.attempts, third.requests, third.received) == ("done", 1, 2, 1000)
    assert pixels.asked.count(first.tile) == 2
    assert pixels.asked.count(refused.tile) == 1


def test_an_outage_is_sat_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a service that answers nobody for the first 45 tiles.
    waits: list[float] = []
    monkeypatch.setattr(export_module, "OUTAGE_FAILURES", 20)
    monkeypatch.setattr(export_module.time, "sleep", waits.append)
    asked: list[str] = []

    def fail(tile: Tile, _pixels: NDArray[np.uint16]) -> None:
        asked.append(tile.id)
        if len(asked) <= 45:
            raise TileError("no answer after 6 attempts")

    ledger = run(tmp_path, rows(60), Pixels(react=fail))

    assert waits == [10.0] * 9  # 30 s after 20 tiles without an answer, 60 s after 40; in naps
    assert {row.state for row in ledger.values()} == {"done"}


def test_a_tile_that_a_new_recipe_discards_leaves_no_shard_of_the_old_one(tmp_path: Path) -> None:
    run(tmp_path, rows(1), Pixels())

    def unseen(_tile: Tile, pixels: NDArray[np.uint16]) -> None:
        pixels[11:] = 0

    ledger = run(tmp_path, rows(1), Pixels(react=unseen), Recipe(s1_passes=("ASCENDING",)))

    assert ledger[rows(1)[0].tile.id].reason == "no_s1"
    assert not list(tmp_path.rglob("*.tif"))


def test_a_budget_stops_the_run_cleanly_and_the_next_run_goes_on(tmp_path: Path) -> None:
    # Given tiles that cost 0.01 EECU-hours each and a budget of 0.1.
    budget, told = Budget(max_eecu_hours=0.1), []
    with Ledger(tmp_path) as ledger, pytest.raises(QuotaError, match=r"--max-eecu-hours 0\.1 is used up"):
        export(
            rows(40), pixels=Pixels(), recipe=Recipe(), ledger=ledger, concurrency=2, meter=budget,
            watch=Watch(on_plan=lambda plan: told.append(str(plan))),
        )  # fmt: skip
    first = read_ledger(tmp_path)
    again = Pixels()

    second = run(tmp_path, rows(40), again)

    assert told == ["40 tiles: 40 to ask for (40 new)"]
    assert 5 <= len(first) <= 10
    assert len(again.asked) == 40 - len(first)
    assert {row.state for row in second.values()} == {"done"}
