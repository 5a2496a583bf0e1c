"""Tiles of a data root as outlines: each once, by split, or by what became of it."""

from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.workflow.notebook.outlines import bounds_of, outlines_of
from support.fixture_types import LayOut


def test_complete_tiles_are_grouped_by_split_the_others_by_what_became_of_them(data_root: LayOut) -> None:
    root: DataRoot = data_root(train=4, test=2)
    rows = root.manifest().rows
    with root.open_ledger() as ledger:
        ledger.append(LedgerRow(rows[0].tile.id, "failed", "no_answer", source="SANDBOX"))
        ledger.append(LedgerRow(rows[1].tile.id, "discarded", "no_s1", source="SANDBOX"))

    groups = {one.title: one for one in outlines_of(root)}

    assert sum(len(one.rows) for one in groups.values()) == len(rows)
    assert [row.tile.id for row in groups["failed"].rows] == [rows[0].tile.id]
    assert groups["discarded"].geojson()["features"][0]["properties"]["reason"] == "no_s1"
    assert groups["test"].name == "test (2)"
    assert list(groups)[-2:] == ["failed", "discarded"]


def test_an_outline_is_the_closed_ring_of_its_tile(data_root: LayOut) -> None:
    root: DataRoot = data_root(train=1, test=1)
    (group,) = outlines_of(root, splits=("test",))

    (feature,) = group.geojson()["features"]

    ring = feature["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    assert [tuple(point) for point in ring[:-1]] == list(group.rows[0].tile.outline)
    assert feature["properties"]["tile"] == group.rows[0].tile.id
    west, south, east, north = bounds_of(group.rows)
    assert west < group.rows[0].tile.centre[0] < east
    assert south < group.rows[0].tile.centre[1] < north


def test_tiles_that_were_not_built_are_there_too(data_root: LayOut) -> None:
    root: DataRoot = data_root(train=2, test=0)
    root.ledger_file.unlink()

    assert [one.name for one in outlines_of(root)] == ["not built (2)"]
