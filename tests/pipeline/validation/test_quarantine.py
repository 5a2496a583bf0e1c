"""Quarantine: shards go aside and come back byte by byte, whatever happens in between."""

from pathlib import Path

import pytest
from dwplus.pipeline.build.plan import plan
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.findings import Finding
from dwplus.pipeline.dataset.ledger import ASKED_REASONS
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.files.atomic import read_json
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.validation.quarantine import plan_quarantine, quarantine, restore
from dwplus.pipeline.validation.validate import validate
from support.fixture_types import LayOut


def error(tile: str) -> Finding:
    return Finding(tile, "stuck-band", "error", "bands B11 hold one value only")


@pytest.fixture
def root(data_root: LayOut) -> Path:
    return data_root(train=4, test=1)


@pytest.fixture
def rows(root: DataRoot) -> tuple[ManifestRow, ...]:
    return root.manifest().rows


def test_tiles_with_errors_are_planned_those_with_warnings_are_not(
    root: DataRoot, rows: tuple[ManifestRow, ...]
) -> None:
    first, second = rows[0].tile.id, rows[1].tile.id
    findings = [error(first), Finding(second, "gaps", "warning", "2% of VV has no data"), error("dw_0.0_0.0-20190101")]

    assert [(m.tile.id, m.errors) for m in plan_quarantine(rows, findings, root.ledger())] == [(first, (error(first),))]


def test_a_shard_goes_aside_and_comes_back_as_it_was(root: DataRoot, rows: tuple[ManifestRow, ...]) -> None:
    tile = rows[0].tile
    content, before = root.shard(tile).read_bytes(), root.ledger()[tile.id]

    assert quarantine(root, rows, [error(tile.id)]) == (tile.id,)

    assert not root.shard(tile).exists()
    assert root.set_aside(tile).read_bytes() == content
    note = read_json(root.set_aside(tile).with_suffix(".json"))
    assert note["errors"][0]["rule"] == "stuck-band"
    last = root.ledger()[tile.id]
    assert (last.state, last.reason, last.detail) == (
        "discarded",
        "quarantined",
        "stuck-band: bands B11 hold one value only",
    )
    assert f"{tile.id},discarded,quarantined" in (root.folder / "failures.csv").read_text()

    restore(root, rows, tile.id)

    assert root.shard(tile).read_bytes() == content
    after = root.ledger()[tile.id]
    assert (after.state, after.sha256, after.bytes) == ("done", before.sha256, before.bytes)
    assert not list((root.folder / "quarantine").rglob("*.*"))


def test_a_tile_in_quarantine_is_neither_trained_on_nor_asked_for_until_somebody_wants_it(
    root: DataRoot, rows: tuple[ManifestRow, ...]
) -> None:
    validate(rows, root=root, run=in_process)
    row = next(r for r in rows if r.split_strict == "train")
    quarantine(root, rows, [error(row.tile.id)])

    assert row not in root.usable("train", "strict")
    known = {"known": root.ledger(), "root": root, "recipe": Recipe(), "source": "SANDBOX"}
    assert plan(rows, **known).ask == ()
    assert plan(rows, **known, again=frozenset({row.tile.id})).ask == (row,)
    assert "quarantined" in ASKED_REASONS


def test_a_shard_damaged_on_disk_comes_back_as_it_was_put_there(root: DataRoot, rows: tuple[ManifestRow, ...]) -> None:
    # Given a shard that is not what the ledger says, which is its very error.
    tile = rows[0].tile
    root.shard(tile).write_bytes(b"torn")
    quarantine(root, rows, [error(tile.id)])

    restore(root, rows, tile.id)

    assert root.shard(tile).read_bytes() == b"torn"


def test_a_second_quarantine_of_a_tile_keeps_the_first(root: DataRoot, rows: tuple[ManifestRow, ...]) -> None:
    # Given a tile that was asked for again, and is bad again.
    tile, done = rows[0].tile, root.ledger()[rows[0].tile.id]
    quarantine(root, rows, [error(tile.id)])
    first = root.set_aside(tile).read_bytes()
    root.shard(tile).write_bytes(b"second")
    with root.open_ledger() as ledger:
        ledger.append(done)

    quarantine(root, rows, [error(tile.id)])

    assert root.set_aside(tile).read_bytes() == b"second"
    assert root.set_aside(tile).with_suffix(".1.tif").read_bytes() == first


def test_a_kill_between_ledger_and_move_loses_nothing(root: DataRoot, rows: tuple[ManifestRow, ...]) -> None:
    # Given what a kill leaves: the ledger and the note are written, the shard has not moved.
    tile = rows[0].tile
    content = root.shard(tile).read_bytes()
    quarantine(root, rows, [error(tile.id)])
    root.set_aside(tile).replace(root.shard(tile))

    quarantine(root, rows, [])
    assert root.set_aside(tile).read_bytes() == content

    root.set_aside(tile).replace(root.shard(tile))
    restore(root, rows, tile.id)
    assert root.shard(tile).read_bytes() == content
    assert root.ledger()[tile.id].state == "done"


def test_a_missing_shard_is_left_to_the_next_build(root: DataRoot, rows: tuple[ManifestRow, ...]) -> None:
    tile = rows[0].tile
    root.shard(tile).unlink()

    assert quarantine(root, rows, [error(tile.id)]) == ()
    assert root.ledger()[tile.id].state == "done"


def test_what_cannot_be_brought_back_is_said(root: DataRoot, rows: tuple[ManifestRow, ...]) -> None:
    tile = rows[0].tile
    with pytest.raises(UsageError, match="is not in the manifest; nothing is in quarantine"):
        restore(root, rows, "dw_0.0_0.0-20190101")
    with pytest.raises(UsageError, match="is not in quarantine"):
        restore(root, rows, tile.id)
    quarantine(root, rows, [error(tile.id)])
    root.set_aside(tile).write_bytes(b"changed")
    with pytest.raises(DataError, match=r"another hash.*retry --reason quarantined"):
        restore(root, rows, tile.id)
    root.set_aside(tile).unlink()
    with pytest.raises(DataError, match="does not exist"):
        restore(root, rows, tile.id)
