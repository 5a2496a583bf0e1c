"""Records: whatever a document holds, one error or the right dataclass."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.files.records import read_record, write_record


@dataclass(frozen=True)
class Inner:
    tile: str
    share: float


@dataclass(frozen=True)
class Outer:
    tiles: tuple[Inner, ...]
    counts: Mapping[str, int]


GOOD: dict[str, Any] = {"tiles": [{"tile": "a", "share": 0.5}], "counts": {"a": 3}}


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = Outer((Inner("a", 0.5),), {"a": 3})
    write_record(tmp_path / "x.json", record)

    assert read_record(tmp_path / "x.json", Outer, remedy="") == record


def test_a_field_of_a_later_version_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({**GOOD, "later": [1, 2]}))

    assert read_record(tmp_path / "x.json", Outer, remedy="").counts == {"a": 3}


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "3", '"x"', "{}", '{"tiles": null, "counts": {}}', '{"tiles": [3], "counts": {}}',
     '{"tiles": [{"tile": 1, "share": 0}], "counts": {}}', '{"tiles": [], "counts": {"a": "3"}}', "[" * 99_999,
     '{"tiles": [], "counts": {"a": 1e999}}', "\x00", '{"tiles"'],
)  # fmt: skip
def test_another_shape_is_one_error_with_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)

    with pytest.raises(DataError, match=r"x\.json.*; run it again") as caught:
        read_record(tmp_path / "x.json", Outer, remedy="run it again")
    assert "\n" not in str(caught.value)


def test_no_flipped_byte_is_accepted_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_record(path, GOOD)
    whole, record = path.read_bytes(), read_record(path, Outer, remedy="")
    draw = random.Random(4)
    for _ in range(40):
        place = draw.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << draw.randrange(8))]) + whole[place + 1 :])
        try:
            assert read_record(path, Outer, remedy="") == record
        except DataError:
            continue
