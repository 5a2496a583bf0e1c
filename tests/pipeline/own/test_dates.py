"""Days and periods out of what users write."""

from datetime import date, datetime
from pathlib import Path

import pytest
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.own.dates import day_in_name, period_of
from dwplus.pipeline.spec.periods import Period

JUNE_15 = Period(date(2022, 6, 15), date(2022, 6, 15))


@pytest.mark.parametrize(
    "value",
    ["2022-06-15", "20220615", "2022/06/15", 20220615, 20220615.0, "2022-06-15T10:20:00Z", date(2022, 6, 15)]
    + [datetime(2022, 6, 15, 12)],
)
def test_a_day_is_read_however_it_is_written(value: object) -> None:
    assert period_of(value, where="--date") == JUNE_15
    assert JUNE_15.text == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2022", "2022-01-01/2022-12-31"),
        (2022, "2022-01-01/2022-12-31"),
        (2022.0, "2022-01-01/2022-12-31"),
        ("2020-02", "2020-02-01/2020-02-29"),
        ("2022-03-01/2022-05-31", "2022-03-01/2022-05-31"),
        ("2021/2022", "2021-01-01/2022-12-31"),
    ],
)
def test_a_period_is_read_as_its_first_and_last_day(value: object, text: str) -> None:
    assert period_of(value, where="--date").text == text


@pytest.mark.parametrize("value", ["spring", "2022-13-01", "15.06.2022", "20220230", "", "6/15/2022"])
def test_what_is_no_date_is_refused_with_an_example(value: str) -> None:
    with pytest.raises(DataError, match=r"--date is .*write a day \(2022-06-15\)"):
        period_of(value, where="--date")


def test_a_date_before_sentinel_2_and_a_period_that_runs_backwards_are_refused() -> None:
    with pytest.raises(DataError, match="before the first Sentinel-2 image"):
        period_of("1998-06-15", where="--date")
    with pytest.raises(DataError, match="ends before it begins"):
        period_of("2022-06-15/2022-06-01", where="--date")


def test_periods_share_a_day_where_they_touch() -> None:
    year, june = period_of("2022", where=""), period_of("2022-06", where="")

    assert year.shares_a_day(june)
    assert not june.shares_a_day(period_of("2022-07", where=""))
    assert june.shares_a_day(period_of("2022-06-30/2022-08-01", where=""))


@pytest.mark.parametrize(
    ("path", "day"),
    [
        ("a/field_20220615.tif", date(2022, 6, 15)),
        ("a/field-2022-06-15-v2.tif", date(2022, 6, 15)),
        ("chips/S2A_MSIL2A_20170613T101031_N9999_R022/label.tif", date(2017, 6, 13)),
        ("chips/2020-01-02/x/label.tif", date(2020, 1, 2)),
    ],
)
def test_the_day_of_a_name_is_that_of_the_file_or_of_the_nearest_folder(path: str, day: date) -> None:
    found = day_in_name(Path(path), below=Path())

    assert found is not None
    assert found.first == day


def test_a_name_without_a_day_has_none_and_one_with_two_is_refused() -> None:
    assert day_in_name(Path("20220615/a/field_1234567890.tif")) is None  # the folder next to the file alone
    with pytest.raises(DataError, match=r"2 dates \(2020-01-01, 2021-01-01\)"):
        day_in_name(Path("change_20200101_20210101.tif"))
