"""Status: how far a data set is, counted by hand."""

from dataclasses import replace

from dwplus.pipeline.build.status import Group, status
from dwplus.pipeline.dataset.ledger import LedgerRow
from support.builds import rows


def test_every_tile_is_counted_once_by_its_last_row() -> None:
    # Given six tiles: complete at the second try, no Sentinel-1, failed, two open, one overlapping a test tile.
    tiles = [replace(row, split_strict="train" if n < 4 else "test") for n, row in enumerate(rows(6))]
    tiles[5] = replace(tiles[5], discard="test_overlap")
    ids = [row.tile.id for row in tiles]
    events = [
        LedgerRow(ids[0], "failed", "no_answer", recipe="r", requests=6),
        LedgerRow(ids[1], "discarded", "no_s1", recipe="r", requests=2),
        LedgerRow(ids[0], "done", recipe="r", requests=2, received=10, bytes=4_000_000),
        LedgerRow(ids[2], "failed", "too_heavy", recipe="r", requests=9),
        LedgerRow("dw_1.0_2.0-20190101", "discarded", "bad_label"),
    ]

    now = status(tiles, events, recipe_hash="r", concurrency=20)

    assert (now.tiles, now.states) == (7, {"discarded": 3, "open": 2, "done": 1, "failed": 1})
    assert now.groups["split"] == (Group("test", 2, 0, 1, 0, 1), Group("train", 4, 1, 1, 1, 1))
    assert now.reasons == {"no_s1": 1, "too_heavy": 1, "bad_label": 1}
    assert now.shard_bytes == 4_000_000
    assert now.left.tiles == 3
    assert now.used_eecu_hours is None


def test_groups_add_up_to_the_manifest() -> None:
    now = status(rows(5), [], recipe_hash="r", concurrency=20)

    for groups in now.groups.values():
        assert sum(group.tiles for group in groups) == 5
        assert all(g.tiles == g.done + g.discarded + g.failed + g.open for g in groups)
    assert now.states == {"open": 5}
