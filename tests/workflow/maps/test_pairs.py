"""Maps that may be compared, and those that are refused with the reason."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dwplus.pipeline.errors import UsageError
from dwplus.workflow.maps.pairs import check_pair, check_same_year, days_apart
from dwplus.workflow.maps.record import MapRecord, read_map
from support.small_maps import write_map

CODES = np.array([[1, 1, 2], [0, 7, 2]], dtype=np.uint8)


def a_map(folder: Path, name: str, day: str = "2024-07-03", codes: Any = CODES, **settings: Any) -> MapRecord:
    tags = {"DATE": day, "IMAGES": f"{name} of {day}" if day else "", **settings.pop("tags", {})}
    return read_map(write_map(folder / f"{name}.tif", codes, tags=tags, **settings))


@pytest.fixture
def first(tmp_path: Path) -> MapRecord:
    return a_map(tmp_path, "first", "2019-07-01")


def test_maps_of_one_run_recipe_season_and_grid_are_compared(tmp_path: Path, first: MapRecord) -> None:
    assert check_pair(first, a_map(tmp_path, "second", "2024-07-31")) == ()


@pytest.mark.parametrize(
    ("settings", "why", "kind"),
    [
        ({"day": "2024-08-03"}, "33 days of the year apart, more than 30: seasons differ", "season"),
        ({"day": ""}, "second.tif does not say the day of its image", "season"),
        ({"tags": {"RUN": "0000"}}, r"two runs made them \(feedfeedfeedfeed and 0000\)", "run"),
        ({"tags": {"RUN": ""}}, "second.tif does not say which run made it", "run"),
        ({"tags": {"SETTINGS": "window 256, overlap 64"}}, "settings is 'window 512, overlap 64' of one", "recipe"),
        ({"tags": {"PIXELS": "earthengine"}}, "pixels is 'files' of one and 'earthengine'", "recipe"),
        ({"codes": CODES[:, :2]}, "they lie on different grids", ""),
        ({"corner": (500_005.0, 5_000_000.0)}, "their grids are shifted", ""),
        ({"crs": "EPSG:32633"}, "they lie on different grids", ""),
        ({"day": "2018-07-01"}, "2018-07-01 comes before 2019-07-01; name the earlier map first", ""),
        ({"tags": {"CHANGE": "a to b"}}, "second.tif is a change map", ""),
    ],
)
def test_what_differs_in_more_than_the_year_is_refused(
    tmp_path: Path, first: MapRecord, settings: dict[str, Any], why: str, kind: str
) -> None:
    second = a_map(tmp_path, "second", **settings)

    with pytest.raises(UsageError, match=why):
        check_pair(first, second)
    if kind:
        with pytest.raises(UsageError, match=f"--accept {kind}"):
            check_pair(first, second)
        assert len(check_pair(first, second, [kind])) == 1
    else:
        with pytest.raises(UsageError, match=why):
            check_pair(first, second, ["run", "recipe", "season"])


def test_maps_of_a_year_fit_whichever_clear_day_was_the_first(tmp_path: Path) -> None:
    years = [
        a_map(tmp_path, "2019", "", tags={"S2_DAYS": "2019-03-02 + 2019-03-04, 2019-06-30, 2019-11-20"}),
        a_map(tmp_path, "2023", "", tags={"S2_DAYS": "2023-01-15, 2023-07-01, 2023-12-02"}),
    ]

    assert years[0].days == (date(2019, 3, 2), date(2019, 11, 20))
    assert check_pair(*years) == ()  # the middle of their days: 11 July and 25 June
    with pytest.raises(UsageError, match="are times of other lengths, 321 and 0 days"):
        check_pair(years[1], a_map(tmp_path, "day", "2024-06-26"))


def test_days_of_the_year_go_round() -> None:
    assert days_apart(date(2019, 12, 28), date(2024, 1, 4)) == 7
    assert days_apart(date(2019, 3, 1), date(2021, 3, 31)) == 30
    assert days_apart(date(2019, 7, 1), date(2024, 7, 31)) == 30  # 2024 has a 29 February


def test_false_change_needs_two_scene_sets_of_one_year(tmp_path: Path, first: MapRecord) -> None:
    check_same_year(first, a_map(tmp_path, "august", "2019-08-01"))

    with pytest.raises(UsageError, match="2019-07-01 and 2020-07-01; name two maps of one year"):
        check_same_year(first, a_map(tmp_path, "later", "2020-07-01"))
    with pytest.raises(UsageError, match="they are of the same images"):
        check_same_year(first, first)
