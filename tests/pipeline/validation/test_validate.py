"""Validation of a data root: what is broken on disk is found, written down, and looked at again."""

import shutil
from pathlib import Path

import pytest
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.findings import bad_tiles
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.validation.validate import to_validate, validate, validate_tile, view_of
from support.fixture_types import LayOut


def test_a_sound_data_set_has_no_error(data_root: LayOut) -> None:
    root = data_root(train=2, test=1)

    assert validate(root.manifest().rows, root=root, run=in_process) == []


def test_files_that_cannot_be_read_are_findings(data_root: LayOut) -> None:
    # Given a data set with one truncated shard, one missing shard and one foreign file under a shard's name.
    root = data_root(train=4, test=1)
    rows = root.manifest().rows
    paths = [root.shard(row.tile) for row in rows]
    paths[0].write_bytes(paths[0].read_bytes()[:900])
    paths[1].unlink()
    paths[2].write_text("<html>")
    shutil.copy(paths[4], paths[3])  # another tile's pixels

    findings = validate(rows, root=root, run=in_process)

    errors = [{f.rule for f in findings if f.tile == row.tile.id and f.severity == "error"} for row in rows]
    assert errors[0] == {"readable"}
    assert errors[1] == {"readable"}
    assert errors[2] == {"readable"}
    assert errors[3] >= {"grid", "label-grid", "provenance", "hash"}
    assert errors[4] == set()
    assert bad_tiles(root.findings()) == {row.tile.id for row in rows[:4]}
    assert (root.folder / "findings.csv").read_text().startswith("tile,rule,severity,message\n")


def test_a_data_set_that_was_not_validated_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run 'dwplus validate'"):
        DataRoot.at(tmp_path).findings()


def test_a_shard_that_was_changed_behind_the_ledger_is_asked_for_again(data_root: LayOut) -> None:
    # Given a whole data set in which one byte of a shard's tags changes.
    root = data_root(train=2, test=1)
    rows = root.manifest().rows
    path = root.shard(rows[0].tile)
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b"SANDBOX", b"sandbox"))

    findings = validate(rows, root=root, run=in_process)

    assert [f.rule for f in findings] == ["hash"]
    assert "is not the file that was exported" in findings[0].message
    assert root.unreadable() == {rows[0].tile.id}

    # When it is written anew, as it was, a build that looks at new shards alone looks at it again.
    path.write_bytes(sound)
    assert to_validate(rows, root=root) == 1
    assert validate(rows, root=root, run=in_process, all_again=False) == []


def test_a_broken_label_is_not_the_fault_of_its_shard(data_root: LayOut) -> None:
    root = data_root(train=2, test=1)
    rows = root.manifest().rows
    (root.folder / rows[0].label).write_bytes(b"II*\0")

    findings = validate(rows, root=root, run=in_process)

    assert [f.rule for f in findings] == ["label-readable"]
    assert rows[0].label in findings[0].message
    assert root.unreadable() == frozenset()


def test_one_look_serves_rules_and_statistics(data_root: LayOut) -> None:
    root = data_root(train=1, test=1)
    row = root.manifest().rows[0]

    view = view_of(row, root, root.targets())

    assert validate_tile(row, root, root.targets()) == []
    assert view.counts("B2").sum() == 64
    assert view.counts("B2") is view.counts("B2")
