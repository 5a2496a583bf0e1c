"""The counts of tiles, and their file."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dwplus.model.metrics import ConfusionMatrix, TileCounts
from dwplus.model.scores.tile_table import TileRecord, TileTable
from dwplus.model.training_range import OutsideCounts
from dwplus.pipeline.errors import DataError
from support.scored import THREE, a_table, counts, record

ONE = [[5, 1, 0], [0, 3, 0], [0, 0, 0]]
OTHER = [[0, 0, 0], [2, 0, 0], [0, 0, 7]]


def test_sums_of_tiles_are_margins_and_diagonals_of_their_matrices():
    table = TileTable.of([record(0), record(1)], [counts(ONE), counts(OTHER)], THREE)

    assert table.sums.hit.tolist() == [[5, 3, 0], [0, 0, 7]]
    assert table.sums.truth.tolist() == [[6, 3, 0], [0, 2, 7]]
    assert table.sums.predicted.tolist() == [[5, 4, 0], [2, 0, 7]]
    assert table.counts().matrix.counts.tolist() == (np.array(ONE) + OTHER).tolist()
    assert table.counts(np.array([False, True])).matrix.counts.tolist() == OTHER


def test_tiles_stand_in_order_of_their_ids_whatever_order_they_were_counted_in():
    records, matrices = [record(1), record(0)], [counts(ONE), counts(OTHER)]

    table = TileTable.of(records, matrices, THREE)

    assert [one.id for one in table.records] == ["t000", "t001"]
    assert table.sums.hit.tolist() == [[0, 0, 7], [5, 3, 0]]


def test_a_table_survives_its_file(tmp_path: Path):
    facts = {"labeler": "expert", "annotator": "Anna", "block": "2,25", "whole_block": True, "km": 12.5, "mask": "ab"}
    records = [record(0, **facts), record(1, date=date(2018, 2, 3), lat=-12.25)]
    table = TileTable.of(records, [counts(ONE), counts(OTHER)], THREE)

    table.write(tmp_path / "t.parquet")
    read = TileTable.read(tmp_path / "t.parquet")

    assert read.names == THREE
    assert read.records[0] == records[0]
    assert np.isnan(read.records[1].km)
    for name in ("tile", "field", "pixels", "bins", "squared_errors"):
        assert np.array_equal(getattr(read, name), getattr(table, name)), name
    assert pq.read_table(tmp_path / "t.parquet").column("id").to_pylist() == ["t000", "t001"]  # plain Parquet


def test_counts_of_pixels_outside_the_training_range_survive_the_file_and_stay_with_their_tiles(tmp_path: Path):
    outside = OutsideCounts(
        ("B2", "VV"),
        seen=np.array([[10, 10], [0, 0]]),
        beyond=np.array([[1, 0], [0, 0]]),
        seen_any=np.array([10, 0]),
        beyond_any=np.array([1, 0]),
    )
    table = TileTable.of([record(1), record(0)], [counts(ONE), counts(OTHER)], THREE, outside)

    table.write(tmp_path / "t.parquet")
    read = TileTable.read(tmp_path / "t.parquet").outside

    assert read is not None
    assert (read.bands, read.beyond.tolist(), read.seen_any.tolist()) == (("B2", "VV"), [[0, 0], [1, 0]], [0, 10])
    assert pq.read_table(tmp_path / "t.parquet").column("outside").to_pylist() == [None, 0.1]
    part = table.part(np.array([False, True])).outside
    assert part is not None
    assert part.shares().pixels == 0.1


def test_the_same_table_is_the_same_file(tmp_path: Path):
    for name in ("one", "two"):
        a_table(5).write(tmp_path / name)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_many_tiles_of_many_classes_stay_small(tmp_path: Path):
    """1,000 tiles with five of sixty classes each; ten times as many are 4 MB."""
    rng = np.random.default_rng(0)
    names = tuple(f"c{number}" for number in range(60))
    matrices = []
    for _ in range(1000):
        matrix = np.zeros((60, 60), np.int64)
        held = rng.choice(60, 5, replace=False)
        matrix[np.ix_(held, held)] = rng.integers(0, 50_000, (5, 5))
        matrices.append(TileCounts(ConfusionMatrix(matrix, names)))

    TileTable.of([record(number) for number in range(1000)], matrices, names).write(tmp_path / "t.parquet")

    assert (tmp_path / "t.parquet").stat().st_size < 400_000


def test_a_tile_that_was_counted_twice_is_refused():
    with pytest.raises(DataError, match="tile t003 was counted twice"):
        TileTable.of([record(3), record(3)], [counts(ONE), counts(OTHER)], THREE)


@pytest.mark.parametrize("content", [b"", b"no parquet at all", None])
def test_what_is_no_such_file_is_refused_with_what_to_do(tmp_path: Path, content: bytes | None):
    path = tmp_path / "t.parquet"
    if content is None:
        pq.write_table(pa.table({"id": ["a"]}), path)
    else:
        path.write_bytes(content)

    with pytest.raises(DataError, match=r"t\.parquet cannot be read .*score the run again"):
        TileTable.read(path)


def test_the_mask_of_a_table_is_that_of_all_its_tiles():
    tables = [
        TileTable.of([record(0, mask=a), record(1, mask=b)], [counts(ONE), counts(OTHER)], THREE)
        for a, b in (("x", "y"), ("x", "y"), ("x", "z"))
    ]

    first, same, other = (table.mask_hash for table in tables)

    assert first == same != other


def test_units_are_tiles_of_releases_and_blocks_of_labels_of_users():
    released, own = record(0, biome=7), record(1, block="3,4", whole_block=True)

    assert (released.unit, released.cell) == ("t000", "eastern-hemisphere-1, biome 7")
    assert (own.unit, own.cell) == ("block 3,4", "blocks")
    assert isinstance(released, TileRecord)
