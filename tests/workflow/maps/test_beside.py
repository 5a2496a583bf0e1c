"""Files beside a map: written once, of this map, and never over somebody's own."""

from pathlib import Path

import numpy as np
from dwplus.pipeline.progress import Silent
from dwplus.workflow.maps.beside import MAKERS, PAGE, describe
from support.small_maps import write_map

CODES = np.array([[1, 1, 2], [0, 7, 2]], dtype=np.uint8)


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_files_of_this_map_are_written_once_and_those_of_another_map_anew(tmp_path: Path) -> None:
    path = write_map(tmp_path / "town.tif", CODES)
    files = [tmp_path / f"town{ending}" for ending in (*MAKERS, PAGE)]

    describe(path, progress=Silent())
    first = [(one.read_bytes(), one.stat().st_mtime_ns) for one in files]
    describe(path, progress=Silent())
    again = [(one.read_bytes(), one.stat().st_mtime_ns) for one in files]
    write_map(path, CODES, tags={"IDENTITY": "another"})
    describe(path, progress=Silent())

    assert first == again
    assert all(b"dwplus-map:another" in one.read_bytes() for one in files)


def test_a_file_of_somebody_else_is_left_alone_and_named(tmp_path: Path) -> None:
    path, heard = write_map(tmp_path / "town.tif", CODES), Heard()
    (tmp_path / "town.qml").write_text("my own style")

    describe(path, page=False, progress=heard)

    assert (tmp_path / "town.qml").read_text() == "my own style"
    assert heard.lines == [f"{tmp_path / 'town.qml'} is there already and not of this program; it is left as it is"]
