"""On which day a file was acquired."""

from datetime import date
from pathlib import Path

import pytest
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.own.pixels_dates import Dates, days_in, read_date_table


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("field_20190701.tif", [date(2019, 7, 1)]),
        ("field-2019-07-01.tif", [date(2019, 7, 1)]),
        ("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_20200101T000000", [date(2017, 6, 13), date(2020, 1, 1)]),
        ("20190231", []),
        ("120190701", []),
        ("tile_2019_7", []),
    ],
)
def test_days_in_a_name(text: str, days: list[date]) -> None:
    assert days_in(text) == days


def test_what_is_said_goes_before_a_table_a_tag_and_a_name(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file,date,s1_date\nchip_20190701.tif,20190702,20190705\n")
    path, tags = Path("chips/chip_20190701.tif"), {"DATE": "2019-07-03"}
    by_table = Dates(table=read_date_table(table), table_name="t.csv")

    assert Dates(said=date(2019, 7, 4)).day_of(path, tags, "S2") == date(2019, 7, 4)
    assert by_table.day_of(path, tags, "S2") == date(2019, 7, 2)
    assert by_table.day_of(path, tags, "S1") == date(2019, 7, 5)
    assert Dates().day_of(path, tags, "S2") == date(2019, 7, 3)
    assert Dates().day_of(path, {}, "S2") == date(2019, 7, 1)


def test_a_table_names_files_or_the_folder_above_them(tmp_path: Path) -> None:
    table = tmp_path / "chips.csv"
    table.write_text("chip,date,offset_1000\na,20190701,True\nb,20190702,False\n")
    dates = Dates(table=read_date_table(table))

    assert dates.day_of(Path("chips/b/S2.tif"), {}, "S2") == date(2019, 7, 2)
    assert [dates.row(Path(f"chips/{name}/S2.tif")).offset for name in "ab"] == [1000.0, 0.0]  # type: ignore[union-attr]
    assert dates.row(Path("chips/c/S2.tif")) is None


def test_products_begin_with_the_day_of_the_acquisition_other_names_may_hold_one_day_alone() -> None:
    product = Path("S2B_MSIL2A_20190701T101031_N0212_R022_T33UUP_20190701T120000.SAFE")
    later = Path("S2B_MSIL2A_20190701T101031_N0500_R022_T33UUP_20230101T120000.SAFE")

    assert Dates().day_of(product, {}, "S2") == Dates().day_of(later, {}, "S2") == date(2019, 7, 1)
    with pytest.raises(DataError, match=r"the name mean_20190101_20190131.tif holds several dates; say which"):
        Dates().day_of(Path("mean_20190101_20190131.tif"), {}, "S1")


def test_a_file_without_a_day_is_refused() -> None:
    with pytest.raises(DataError, match=r"b.tif has no date in its name or tags; name it ..._YYYYMMDD, or say --date"):
        Dates().day_of(Path("a/b.tif"), {"AREA_OR_POINT": "Area"}, "S2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,date\n", "it needs one of file, folder, chip, name, and date"),
        ("file\na.tif\n", "it needs one of file, folder, chip, name, and date"),
        ("file,date\na.tif,July\n", "line 2: date is 'July'; write 2019-07-01 or 20190701"),
        ("file,date\na.tif,20190701\na.tif,20190702\n", "line 3: a.tif stands here again, with another date"),
        ("file,date,offset\na.tif,20190701,much\n", "line 2: offset is 'much'"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)

    with pytest.raises(DataError) as error:
        read_date_table(path)

    assert message in str(error.value)
