"""Files that are complete or absent."""

from pathlib import Path

import pytest
from dwplus.pipeline.errors import DataError, DwplusError
from dwplus.pipeline.files.atomic import check_writable, read_json, remove_parts, write_atomically, write_json


def test_a_written_file_is_whole_and_leaves_no_part_behind(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b.json", b"{}")

    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.json"]
    assert read_json(tmp_path / "a" / "b.json") == {}


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "EH").mkdir()
    (tmp_path / "EH" / ".x.tif.123.part").write_bytes(b"half")
    (tmp_path / "EH" / "x.tif").write_bytes(b"whole")

    assert remove_parts(tmp_path) == 1
    assert [p.name for p in (tmp_path / "EH").iterdir()] == ["x.tif"]


def test_a_place_that_cannot_be_written_is_named_with_a_way_out(tmp_path: Path) -> None:
    # A file where a folder is needed: also root cannot write below it.
    (tmp_path / "data").write_text("not a folder")

    with pytest.raises(DwplusError, match=r"cannot write .*data.*--data"):
        check_writable(tmp_path / "data" / "sandbox")
    with pytest.raises(DwplusError, match=r"cannot write .*x\.json.*--data"):
        write_json(tmp_path / "data" / "x.json", {})
    with pytest.raises(DwplusError, match=r"cannot write .*x\.json.* with -o$"):
        write_json(tmp_path / "data" / "x.json", {}, option="-o")


def test_a_damaged_document_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")

    with pytest.raises(DataError, match=r"x\.json is not a JSON document"):
        read_json(tmp_path / "x.json")


def test_looking_whether_a_folder_can_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "data" / "sandbox")

    assert list(tmp_path.iterdir()) == []
