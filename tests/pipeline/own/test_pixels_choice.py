"""Which files a tile takes its pixels from."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.own.pixels_choice import choose, days_apart
from dwplus.pipeline.own.pixels_products import BandPlace, Product
from dwplus.pipeline.own.pixels_units import Unit
from dwplus.pipeline.raster.geotiff import RasterGrid, grid_of
from dwplus.pipeline.spec.bands import Sensor
from dwplus.pipeline.spec.tiles import Tile
from support.own_tiles import own_tile


def row_of(tile: Tile, period: str = "") -> ManifestRow:
    return ManifestRow(tile, "own", "own", "labels/x.tif", "0", 1.0, period=period)


def product(name: str, day: date, grid: RasterGrid, sensor: Sensor = "S2") -> Product:
    bands: Mapping[str, BandPlace] = {"B2": BandPlace(Path(name), 1, Unit())}
    return Product(name, sensor, day, bands, grid)


def moved(tile: Tile, east_px: float) -> RasterGrid:
    a, b, x, d, e, y = tile.transform
    return RasterGrid(tile.crs, (a, b, x + 10 * east_px, d, e, y), tile.shape)


def days_of(tile: Tile, products: list[Product], days: int = 30) -> list[tuple[str, int, float]]:
    found = choose([row_of(tile)], products, days=days).of[tile.id]["S2"].days
    return [(day.products[0].name, day.days, round(day.covered, 2)) for day in found]


def test_the_nearest_day_comes_first_and_days_too_far_away_are_left_out() -> None:
    tile, grid = own_tile(), grid_of(own_tile())
    products = [product(f"d{day}", date(2019, 7, day), grid) for day in (9, 3, 31)]

    assert days_of(tile, products) == [("d3", 2, 1.0), ("d9", 8, 1.0), ("d31", 30, 1.0)]
    assert days_of(tile, products, days=8) == [("d3", 2, 1.0), ("d9", 8, 1.0)]


def test_a_file_that_covers_the_tile_goes_before_a_nearer_one_that_covers_half() -> None:
    tile = own_tile()
    half, whole = product("half", date(2019, 7, 1), moved(tile, 16)), product("whole", date(2019, 7, 5), grid_of(tile))

    assert days_of(tile, [half, whole]) == [("whole", 4, 1.0), ("half", 0, pytest.approx(0.5, abs=0.04))]


def test_two_files_of_one_day_cover_a_tile_together() -> None:
    tile = own_tile()
    west, east = (product(name, date(2019, 7, 1), moved(tile, px)) for name, px in (("west", -12), ("east", 20)))

    (day,) = choose([row_of(tile)], [west, east], days=0).of[tile.id]["S2"].days

    assert [one.name for one in day.products] == ["west", "east"]
    assert day.covered == 1.0


@pytest.mark.parametrize(("day", "apart"), [(date(2022, 6, 15), 0), (date(2021, 12, 30), 2), (date(2023, 1, 10), 10)])
def test_days_are_counted_from_the_period_of_a_label(day: date, apart: int) -> None:
    row = row_of(own_tile(day=date(2022, 1, 1)), period="2022-01-01/2022-12-31")

    assert days_apart(row, day) == apart


def test_what_no_tile_can_take_is_dropped_with_its_reason() -> None:
    tile = own_tile()
    products = [
        product("here", date(2019, 7, 1), grid_of(tile)),
        product("far", date(2019, 7, 1), moved(tile, 10_000)),
        product("old", date(2018, 7, 1), grid_of(tile)),
    ]

    choices = choose([row_of(tile)], products, days=30)

    assert choices.dropped == {1: "overlaps no tile", 2: "lies 365 days from the date of every tile that it overlaps"}
    assert choices.tiles[0] == 1


def test_a_tile_says_why_it_can_take_nothing() -> None:
    here, there = own_tile(), own_tile(x=600_000.0)
    products = [product("old", date(2019, 8, 15), grid_of(here)), product("s1", date(2019, 7, 1), grid_of(here), "S1")]

    of = choose([row_of(here), row_of(there)], products, days=30).of

    assert of[here.id]["S2"].why_none == "the nearest Sentinel-2 file is 45 days away, more than 30"
    assert of[there.id]["S1"].why_none == "no Sentinel-1 file overlaps it"


def test_files_in_another_crs_and_over_the_date_line_are_found() -> None:
    # UTM zone 60 ends at 180 E: the tile lies on both sides of the date line.
    tile = own_tile(x=833_800.0, y=1_000_000.0, crs="EPSG:32660")
    lon = tile.centre[0]
    assert abs(lon) > 179.9
    grid = RasterGrid("EPSG:32601", (10.0, 0.0, 160_000.0, 0.0, -10.0, 1_020_000.0), (4_000, 4_000))

    assert days_of(tile, [product("east", date(2019, 7, 1), grid)])[0][:2] == ("east", 0)


def test_files_that_lie_elsewhere_or_nowhere_are_refused_with_both_places() -> None:
    tile = own_tile()
    south = RasterGrid("EPSG:32732", *list(vars(grid_of(tile)).values())[1:])
    nowhere = RasterGrid("EPSG:4326", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), (32, 32))

    with pytest.raises(DataError, match=r"none of 1 file overlaps a tile: a lies at lon, lat 9.00, -45.1., tile field"):
        choose([row_of(tile)], [product("a", date(2019, 7, 1), south)], days=30)
    with pytest.raises(DataError, match=r"b lies nowhere on Earth by its CRS and transform"):
        choose([row_of(tile)], [product("b", date(2019, 7, 1), nowhere)], days=30)
