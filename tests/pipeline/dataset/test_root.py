"""A data root: the small records that say what it is are refused where they were changed."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.files.atomic import write_json
from dwplus.pipeline.files.records import write_record
from dwplus.pipeline.spec.recipe import Recipe
from support.fixture_types import LayOut
from support.flips import answers_after_flips

RECORDS: dict[str, tuple[dict[str, Any], Callable[[Path], object]]] = {
    "recipe.json": ({"hash": Recipe().hash, **asdict(Recipe())}, lambda folder: DataRoot.at(folder).recipe()),
    "origin.json": ({"url": "https://example.org/dynamic/world"}, lambda folder: str(DataRoot.at(folder).pixels)),
}


@pytest.mark.parametrize("name", RECORDS)
def test_no_flipped_byte_of_a_record_of_the_root_is_accepted_in_silence(tmp_path: Path, name: str) -> None:
    content, read = RECORDS[name]
    write_record(tmp_path / name, content)
    whole = read(tmp_path)

    answers = answers_after_flips(tmp_path / name, lambda: read(tmp_path))

    assert all(found == whole for found in answers.accepted)
    assert len(answers.refused) > 25
    assert all(name in said for said in answers.refused)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_an_earlier_version_is_read_and_reported(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    content, read = RECORDS[name]
    write_json(tmp_path / name, content)

    assert read(tmp_path)
    assert f"{name} has no checksum" in caplog.text


@pytest.mark.parametrize(
    "change",
    [{"s1_mean": {"a": 1}}, {"s1_passes": [["ASCENDING"]]}, {"s1_passes": {"ASCENDING": 1}}, {"s1_passes": None},
     {"s1_mean": []}, {"half_window_days": 10**30}, {"half_window_days": True}, {"s1_max_scenes": 2.5}],
    ids=str,
)  # fmt: skip
def test_a_recipe_of_another_shape_is_one_error(tmp_path: Path, change: dict[str, Any]) -> None:
    write_record(tmp_path / "recipe.json", {**asdict(Recipe()), **change})

    with pytest.raises(DataError, match=r"recipe\.json: .* is no recipe"):
        DataRoot.at(tmp_path).recipe()


def test_the_same_recipe_comes_back(data_root: LayOut) -> None:
    root = data_root(train=1, test=0)
    write_record(root.recipe_file, {"hash": "x", **asdict(Recipe(s1_max_scenes=3))})

    assert root.recipe() == Recipe(s1_max_scenes=3)
