"""Walking a folder: links are followed, loops are cut, what cannot be used is named."""

import os
from pathlib import Path

from dwplus.pipeline.files.walk import walk


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_a_linked_folder_is_followed_and_a_loop_is_cut(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "b.TIF")
    a = touch(tmp_path / "here" / "a.tif")
    (tmp_path / "here" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "here")

    found = walk(tmp_path / "here", (".tif",))

    assert [path.name for path in found.files] == ["a.tif", "b.TIF"]
    assert found.files[0] == a
    assert found.unusable == {}


def test_a_link_to_nothing_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.tif").symlink_to(".git/annex/objects/zz.tif")

    found = walk(tmp_path, (".tif",))

    assert found.files == ()
    assert "git annex get" in found.unusable[tmp_path / "a.tif"]


def test_files_of_other_kinds_and_of_other_programs_are_passed_over(tmp_path: Path) -> None:
    for name in ("a.png", "._a.tif", ".git/x.tif", "b.tif"):
        touch(tmp_path / name)

    assert [path.name for path in walk(tmp_path, (".tif",)).files] == ["b.tif"]


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    # A pipe that was called like a tile: to read it would wait for ever.
    os.mkfifo(tmp_path / "dw_1.0_2.0-20190101.tif")
    os.mkfifo(tmp_path / "other.txt")

    found = walk(tmp_path, (".tif",))

    assert found.files == ()
    assert list(found.unusable) == [tmp_path / "dw_1.0_2.0-20190101.tif"]
    assert "is no file" in found.unusable[tmp_path / "dw_1.0_2.0-20190101.tif"]
