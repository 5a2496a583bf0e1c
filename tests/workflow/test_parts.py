"""Parts of a test set on the report, and its best and worst tiles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from dwplus.model.runs import RunFolder
from dwplus.model.scores.kept import write_scores
from dwplus.model.scores.tile_table import TileTable
from dwplus.model.training_range import OutsideCounts
from dwplus.workflow.pages.parts import extremes, parts_of_runs, table_of
from dwplus.workflow.pages.runs import Faults
from support.runs import make_run
from support.scored import THREE, a_table, counts, record


def table(right: list[int]) -> TileTable:
    """Tiles of ten pixels, of which so many are right."""
    matrices = [counts([[number, 10 - number, 0], [0, 0, 0], [0, 0, 0]]) for number in right]
    return TileTable.of([record(n) for n in range(len(right))], matrices, THREE)


def test_the_best_and_the_worst_tiles_are_named_with_their_accuracy():
    found = extremes(table([5, 9, 1, 10, 3, 7, 2]))

    assert found == [
        ("t003", "best: OA 100.0%"),
        ("t001", "best: OA 90.0%"),
        ("t005", "best: OA 70.0%"),
        ("t004", "worst: OA 30.0%"),
        ("t006", "worst: OA 20.0%"),
        ("t002", "worst: OA 10.0%"),
    ]


def test_the_best_and_the_worst_tiles_say_how_much_of_them_is_outside_the_training_range():
    seen, beyond = np.full(2, 10), np.array([0, 4])
    outside = OutsideCounts(("B2",), seen[:, None], beyond[:, None], seen, beyond)

    assert extremes(replace(table([9, 5]), outside=outside)) == [
        ("t000", "best: OA 90.0%, 0.0% outside"),
        ("t001", "best: OA 50.0%, 40.0% outside"),
    ]


def test_no_tile_is_both_among_the_best_and_the_worst():
    assert [tile for tile, _ in extremes(table([5, 9, 1, 4]))] == ["t001", "t000", "t003", "t002"]


def test_groupings_that_do_not_part_the_tiles_are_left_out():
    (parts,) = parts_of_runs([("one", a_table(12, cells=3))])

    assert parts.run == "one"
    assert [(by, len(groups)) for by, groups in parts.groups.items()] == [("biome", 3)]


def test_a_run_of_an_earlier_version_has_no_parts(tmp_path: Path):
    run, faults = make_run("one", folder=tmp_path), Faults()
    assert table_of(run, faults) is None

    kept = write_scores(RunFolder(tmp_path), "scores.json", run.scores, table([1, 2]))

    found = table_of(replace(run, scores=kept), faults)
    assert found is not None
    assert faults.sentences == {}
    assert np.array_equal(found.sums.hit, table([1, 2]).sums.hit)


def test_counts_of_tiles_that_are_damaged_are_a_fault_that_the_report_names(tmp_path: Path):
    run, faults = make_run("one", folder=tmp_path), Faults()
    kept = write_scores(RunFolder(tmp_path), "scores.json", run.scores, table([1, 2]))
    (tmp_path / "scores.tiles.parquet").write_bytes(b"PAR1")

    assert table_of(replace(run, scores=kept), faults) is None

    (sentence,) = faults.sentences["one"]
    assert "scores.tiles.parquet is not the file that the scores beside it were computed from" in sentence
