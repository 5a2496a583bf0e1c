"""Both files of a run: scores name the counts that they were computed from."""

from __future__ import annotations

from pathlib import Path

import pytest
from dwplus.model.metrics import ConfusionMatrix
from dwplus.model.runs import RunFolder
from dwplus.model.scores.document import Scores
from dwplus.model.scores.kept import read_scores, read_table, write_scores
from dwplus.pipeline.errors import DataError
from support.scored import THREE, a_table


def some_scores() -> Scores:
    matrix = ConfusionMatrix.zero(THREE)
    return Scores("test", "strict", "SANDBOX", "m", "w", matrix, {}, {}, 12, "0", ("water", 0.5), 1.0, 1.0)


def test_counts_of_tiles_are_read_back_by_their_hash(tmp_path: Path):
    folder, table = RunFolder(tmp_path), a_table()

    written = write_scores(folder, "scores-val.json", some_scores(), table)

    read = read_scores(folder, "scores-val.json")
    assert read == written
    assert read.tiles_file is not None
    assert read.tiles_file.name == "scores-val.tiles.parquet"
    assert read_table(folder, read).counts().matrix == table.counts().matrix


def test_counts_of_another_scoring_are_refused(tmp_path: Path):
    folder = RunFolder(tmp_path)
    first = write_scores(folder, "scores.json", some_scores(), a_table(seed=1))
    write_scores(folder, "scores.json", some_scores(), a_table(seed=2))

    with pytest.raises(DataError, match="is not the file that the scores beside it were computed from; score it again"):
        read_table(folder, first)


def test_scores_without_counts_say_what_to_do(tmp_path: Path):
    folder = RunFolder(tmp_path)
    with pytest.raises(DataError, match="earlier version, which kept no counts of tiles; score it again"):
        read_table(folder, some_scores())

    written = write_scores(folder, "scores.json", some_scores(), a_table())
    (tmp_path / "scores.tiles.parquet").unlink()
    with pytest.raises(DataError, match=r"scores\.tiles\.parquet is missing; score it again"):
        read_table(folder, written)
    with pytest.raises(DataError, match=r"has no scores-val\.json: score it first"):
        read_scores(folder, "scores-val.json")
