"""Class tables of users: what a TOML file may say, and what each mistake in it is called."""

from pathlib import Path

import numpy as np
import pytest
from dwplus.pipeline.dataset.class_file import read_class_table
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, class_table_of

CROPS = """
name = "crops of the valley"
unlabelled = 255
ignored = [254]

[[class]]
code = 0
name = "fallow"
dynamic_world = "bare"

[[class]]
code = 7
name = "wheat"
title = "Winter wheat"
colour = "#E49635"
values = ["WW", "winter wheat"]
dynamic_world = "crops"

[[class]]
code = 12
name = "maize"
"""


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    path = tmp_path / "crops.toml"
    path.write_text(CROPS)
    return path


def test_codes_of_users_become_1_to_n_and_0_may_be_a_class(table_file: Path) -> None:
    # Given a table whose codes are 0, 7 and 12, 255 without a label, 254 ignored
    table = read_class_table(table_file)
    raster = np.array([[0, 7, 12], [254, 255, 7]], dtype=np.int16)

    stored = table.stored_codes(raster, where="fields.tif")

    assert stored.tolist() == [[1, 2, 3], [4, 0, 2]]
    assert stored.dtype == np.uint8
    assert table.class_indices(stored).tolist() == [[0, 1, 2], [255, 255, 1]]
    assert table.marked_share(stored) == 4 / 6
    assert table.codes == {0, 1, 2, 3, 4}
    assert table.to_dynamic_world() == (7, 4, None)


def test_values_of_a_column_are_found_by_name_title_code_or_by_the_values_given(table_file: Path) -> None:
    table = read_class_table(table_file)

    assert [table.code_of_text(value) for value in ("ww", " Winter Wheat ", 7, 7.0, "7")] == [2] * 5
    assert [table.code_of_text(value) for value in ("Maize", "fallow", 0, 255, 254)] == [3, 1, 1, 0, 4]
    # A class that names its values is not found by its name.
    assert table.code_of_text("wheat") is None
    assert table.code_of_text("rye") is None
    assert table.code_of_text(3.5) is None


def test_colours_and_titles_are_filled_in_where_they_are_not_named(table_file: Path) -> None:
    table = read_class_table(table_file)

    assert table.titles == ("Fallow", "Winter wheat", "Maize")
    assert table.classes[1].colour == "e49635"
    assert len({c.colour for c in table.classes}) == 3
    assert table.code_colours[2] == (0xE4, 0x96, 0x35, 255)


def test_a_table_survives_json_and_its_hash_follows_the_meaning_alone(table_file: Path) -> None:
    table = read_class_table(table_file)
    repainted = CROPS.replace("E49635", "000000").replace("Winter wheat", "Wheat")
    table_file.write_text(repainted)
    other = read_class_table(table_file)
    table_file.write_text(CROPS.replace("code = 12", "code = 13"))
    recoded = read_class_table(table_file)

    assert class_table_of(table.as_dict()) == table
    assert class_table_of(DYNAMIC_WORLD.as_dict()) is DYNAMIC_WORLD
    assert other.hash == table.hash
    assert table.difference(other) == ""
    assert table.difference(recoded) == "3 classes each; code 3 is maize (12) against maize (13)"
    assert table.difference(DYNAMIC_WORLD).startswith("3 classes against 9; code 1 is fallow (0) against water (1)")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[[class]]\ncode = 12", "[[class]]\ncode = 7", "the code 7 stands there twice"),
        ('name = "maize"', 'name = "wheat"', "the name 'wheat' stands there twice"),
        ('name = "maize"', 'name = "maize"\nvalues = ["ww"]', "the value 'ww' stands there twice"),
        ("ignored = [254]", "ignored = [12]", "the code 12 stands there twice"),
        ("ignored = [254]", "ignored = 254", "'ignored' is 254; write a list of codes"),
        ('name = "maize"', 'name = "Sugar beet"', "'Sugar beet' is no name of a class"),
        ("#E49635", "orange", "has the colour 'orange'; write #rrggbb"),
        ('dynamic_world = "crops"', 'dynamic_world = "field"', "maps to 'field'; Dynamic World has water, trees"),
        ('title = "Winter wheat"', 'titel = "Winter wheat"', "class 2 has the key 'titel'; known are code, colour"),
        ("unlabelled = 255", "unlabeled = 255", "the table has the key 'unlabeled'"),
        ("code = 12\n", "", "class 3 has no code"),
        ("code = 12", 'code = "12"', "class 3: 'code' is '12'; write a whole number"),
        ("code = 12", "code = true", "write a whole number"),
        ('values = ["WW", "winter wheat"]', 'values = "WW"', "write a list of texts"),
        ("[[class]]", "[class]", "is not TOML"),
        ("code = 0", "code = 00", "is not TOML"),
    ],
)
def test_mistakes_in_a_table_are_named_with_the_file(table_file: Path, before: str, after: str, message: str) -> None:
    assert before in CROPS
    table_file.write_text(CROPS.replace(before, after))

    with pytest.raises(DataError) as caught:
        read_class_table(table_file)

    assert message in str(caught.value)
    assert str(table_file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [0, 1, 61])
def test_a_table_has_2_to_60_classes(tmp_path: Path, number: int) -> None:
    path = tmp_path / "many.toml"
    path.write_text("".join(f'[[class]]\ncode = {n}\nname = "c{n}"\n' for n in range(number)))

    with pytest.raises(DataError, match="a table has 2 to 60"):
        read_class_table(path)


def test_a_missing_file_and_unknown_codes_say_what_to_do(table_file: Path) -> None:
    with pytest.raises(UsageError, match="is no file; write a class table"):
        read_class_table("nowhere.toml")

    table = read_class_table(table_file)
    with pytest.raises(
        DataError, match=r"fields.tif holds the code 9, which class table 'crops of the valley' does not"
    ):
        table.stored_codes(np.array([[0, 9]]), where="fields.tif")


def test_dynamic_world_is_a_word() -> None:
    assert read_class_table("dynamic-world") is DYNAMIC_WORLD
