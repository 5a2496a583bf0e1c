"""Tiles: names, geometry, regions."""

from datetime import date

import pytest
from dwplus.manifests import load_csv
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.spec.tiles import (
    OwnTileId,
    biome_names,
    check_region,
    in_region,
    parse_own_tile_id,
    parse_tile_id,
    region_of,
)
from support.tiles import make_tile


def test_a_released_name_tells_centre_and_day() -> None:
    parsed = parse_tile_id("dw_111.8412562864_-8.1289167721-20190713")

    assert (parsed.lon, parsed.lat, parsed.date) == (111.8412562864, -8.1289167721, date(2019, 7, 13))


@pytest.mark.parametrize("name", ["dw_1.0-20190101", "label_dw_1.0_2.0-20190101", "dw_1.0_2.0-20191301"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="tile name"):
        parse_tile_id(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "fields-32633-408000-5513100-20220101",
            OwnTileId("fields", "EPSG:32633", 408_000, 5_513_100, date(2022, 1, 1)),
        ),
        ("A_1-32733-5000.5--20-20200229", OwnTileId("A_1", "EPSG:32733", 5000.5, -20, date(2020, 2, 29))),
    ],
)
def test_the_id_of_an_own_tile_says_name_grid_and_day(text: str, expected: OwnTileId) -> None:
    assert parse_own_tile_id(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text",
    [
        "dw_1.0_2.0-20190101",
        "a-4326-1-2-20200101",
        "a b-32633-1-2-20200101",
        "a-32633-1-2-20200230",
        "a/b-32633-1-2-20200101",
    ]
    + ["-32633-1-2-20200101", "a-32633-1-2"],
)
def test_other_ids_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"own tile|no date"):
        parse_own_tile_id(text)


def test_centre_of_a_real_tile() -> None:
    # Given the grid of a released tile, measured: EPSG:32749, upper left 590130, 9103900, 510 px.
    tile = make_tile(crs="EPSG:32749", x=590130, y=9103900, size=510)

    # Then its bounds are 5.1 km wide and its centre is the measured one.
    assert tile.bounds == (590130, 9098800, 595230, 9103900)
    assert tile.centre == pytest.approx((111.8412598, -8.1289524), abs=1e-7)


@pytest.mark.parametrize(
    ("lon", "region"),
    [
        (-160.0, "western-hemisphere"), (-20.1, "western-hemisphere"),
        (-20.0, "eastern-hemisphere-1"), (99.9, "eastern-hemisphere-1"),
        (100.0, "eastern-hemisphere-2"), (179.9, "eastern-hemisphere-2"), (-160.1, "eastern-hemisphere-2"),
    ],
)  # fmt: skip
def test_regions_begin_at_their_western_border(lon: float, region: str) -> None:
    assert region_of(lon) == region


def test_all_known_test_tiles_have_a_region_and_a_biome() -> None:
    rows = load_csv("test_409")
    in_the_west = sum(region_of(float(row["lon"])) == "western-hemisphere" for row in rows)

    assert len(rows) == 409
    # 140 tiles lie in the west; one of them, at 162.7W, is past the written border.
    assert in_the_west == 139
    assert {row["BIOME_NAME"] for row in rows} == set(biome_names().values())


def test_a_region_is_chosen_by_name_or_by_released_folder() -> None:
    tile = make_tile()

    assert [in_region(tile, name) for name in ("all", "eastern-hemisphere-1", "EH", "WH")] == [True, True, True, False]
    with pytest.raises(UsageError, match="unknown region 'europe'; choose one of all, western-hemisphere"):
        check_region("europe")
