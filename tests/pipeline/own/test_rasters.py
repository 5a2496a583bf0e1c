"""Rasters of class codes, cut to tiles: grids that are kept, grids that are resampled, values, memory."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.own.grid import Grid, Zone
from dwplus.pipeline.own.rasters import Resample, open_raster, tiles_of
from dwplus.pipeline.spec.classes import ClassTable
from numpy.typing import NDArray
from support.own_labels import crops, write_codes

Z33 = Zone(33, south=False)


@pytest.fixture
def table(tmp_path: Path) -> ClassTable:
    return crops(tmp_path)


def cut(
    path: Path, table: ClassTable, tile_px: int = 510, resample: Resample = "nearest"
) -> dict[Grid, NDArray[np.uint8]]:
    return dict(tiles_of(open_raster(path), table, tile_px=tile_px, resample=resample))


def mosaic(tiles: dict[Grid, NDArray[np.uint8]], x: float, y: float, height: int, width: int) -> NDArray[np.uint8]:
    """The codes of tiles on one grid with its upper left corner at (x, y)."""
    whole = np.zeros((height, width), dtype=np.uint8)
    for grid, codes in tiles.items():
        row, column = round((y - grid.y) / 10), round((grid.x - x) / 10)
        r, c = max(0, row), max(0, column)
        part = codes[r - row : r - row + height - r, c - column : c - column + width - c]
        if part.size:
            whole[r : r + part.shape[0], c : c + part.shape[1]] |= part
    return whole


def draw(shape: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Original codes of the table of crops: 0, 1, 2, 7 and 9."""
    return np.random.default_rng(seed).choice(np.array([0, 1, 2, 7, 9], dtype=np.uint8), shape)


TIE = 1e-6
"""Pixels: a centre so near to the edge of two source pixels belongs to the one right or below."""

STORED = np.zeros(256, dtype=np.uint8)
STORED[[1, 2, 7, 9]] = 1, 2, 3, 4


# Grids that are kept --------------------------------------------------------------------------------------------------


def test_a_utm_raster_of_10_m_keeps_its_grid_and_its_pixels(tmp_path: Path, table: ClassTable) -> None:
    # Given an origin that is no multiple of 10 m, and a raster that is no multiple of a tile.
    codes = draw((700, 600))
    path = write_codes(tmp_path / "a.tif", codes, x=500_003.0, y=5_500_007.0)

    tiles = cut(path, table)

    assert sorted((grid.x, grid.y, grid.height, grid.width) for grid in tiles) == [
        (500_003, 5_494_907, 510, 510),
        (500_003, 5_500_007, 510, 510),
        (505_103, 5_494_907, 510, 510),
        (505_103, 5_500_007, 510, 510),
    ]
    np.testing.assert_array_equal(mosaic(tiles, 500_003, 5_500_007, 700, 600), STORED[codes])
    # Beyond the raster nothing is marked.
    assert not tiles[Grid(Z33, 505_103, 5_494_907, 510, 510)][190:].any()


def test_a_raster_smaller_than_a_tile_is_one_tile_of_its_own_size(tmp_path: Path, table: ClassTable) -> None:
    codes = draw((120, 90))
    path = write_codes(tmp_path / "a.tif", codes)

    ((grid, found),) = cut(path, table).items()

    assert grid == Grid(Z33, 500_000, 5_500_000, 120, 90)
    np.testing.assert_array_equal(found, STORED[codes])


def test_etrs89_utm_is_utm(tmp_path: Path, table: ClassTable) -> None:
    path = write_codes(tmp_path / "a.tif", draw((50, 50)), crs="EPSG:25833", x=500_001.0)

    ((grid, _),) = cut(path, table).items()

    assert (grid.zone.crs, grid.x) == ("EPSG:32633", 500_001)


# Grids that are resampled ---------------------------------------------------------------------------------------------


def at_every_centre(path: Path, height: int, width: int, x: float, y: float) -> NDArray[Any]:
    """The independent oracle: each pixel centre transformed by itself, and the source pixel that holds it.

    GDAL's warper is within an eighth of a pixel of it at best: it puts lines between places.
    """
    columns, rows = np.meshgrid(x + 10 * (np.arange(width) + 0.5), y - 10 * (np.arange(height) + 0.5))
    out = np.zeros((height, width), dtype=np.uint8)
    with rasterio.open(path) as file:
        to_source = pyproj.Transformer.from_crs(32633, pyproj.CRS(file.crs.to_wkt()), always_xy=True)
        px, py = to_source.transform(columns.ravel(), rows.ravel())
        a, b, c, d, e, f = tuple(~file.transform)[:6]
        u = np.floor(a * px + b * py + c + TIE).astype(int).reshape(height, width)
        v = np.floor(d * px + e * py + f + TIE).astype(int).reshape(height, width)
        inside = (u >= 0) & (v >= 0) & (u < file.width) & (v < file.height)
        out[inside] = file.read(1)[v[inside], u[inside]]
    return out


@pytest.mark.parametrize(
    ("crs", "pixel", "x", "y"),
    [
        ("EPSG:3035", 25.0, 4_600_000, 2_980_000),
        ("EPSG:4326", 0.0003, 15.0, 49.65),
        ("EPSG:32633", 7.0, 500_001, 5_500_003),
    ],
)
def test_nearest_takes_the_source_pixel_that_holds_each_centre(
    tmp_path: Path, table: ClassTable, crs: str, pixel: float, x: float, y: float
) -> None:
    codes = draw((300, 320))
    path = write_codes(tmp_path / "a.tif", codes, crs=crs, pixel=pixel, x=x, y=y)

    tiles = cut(path, table)

    left, top = min(grid.x for grid in tiles), max(grid.y for grid in tiles)
    found = mosaic(tiles, left, top, 1530, 1530)
    np.testing.assert_array_equal(found, STORED[at_every_centre(path, 1530, 1530, left, top)])
    assert np.count_nonzero(found) > 20_000


def test_half_a_pixel_of_shift_is_seen(tmp_path: Path, table: ClassTable) -> None:
    codes = draw((300, 320))
    right = cut(write_codes(tmp_path / "a.tif", codes, crs="EPSG:3035", pixel=25.0, x=4_600_000, y=2_980_000), table)
    moved = cut(write_codes(tmp_path / "b.tif", codes, crs="EPSG:3035", pixel=25.0, x=4_600_012.5, y=2_980_000), table)

    left, top = min(grid.x for grid in right), max(grid.y for grid in right)
    one, other = (mosaic(tiles, left, top, 1530, 1530) for tiles in (right, moved))

    assert np.count_nonzero(one != other) > 0.3 * np.count_nonzero(one)


def test_a_centre_on_the_edge_of_source_pixels_takes_the_one_right_and_below(tmp_path: Path, table: ClassTable) -> None:
    # Given pixels of 5 m: the centre of each 10 m pixel lies on the corner of four of them.
    codes = draw((204, 204))
    path = write_codes(tmp_path / "a.tif", codes, pixel=5.0, x=499_800.0, y=5_497_800.0)

    found = mosaic(cut(path, table), 499_800, 5_497_800, 102, 102)

    np.testing.assert_array_equal(found, STORED[codes[1::2, 1::2]])


def test_majority_counts_the_source_pixels_of_each_pixel(tmp_path: Path, table: ClassTable) -> None:
    # Given 4 x 4 source pixels in each pixel.
    codes = draw((400, 400), seed=5)
    path = write_codes(tmp_path / "a.tif", codes, pixel=2.5, x=499_800.0, y=5_497_800.0)

    found = mosaic(cut(path, table, resample="majority"), 499_800, 5_497_800, 100, 100)

    sixteen = STORED[codes].reshape(100, 4, 100, 4).transpose(0, 2, 1, 3).reshape(100, 100, 16)
    counts = np.stack([(sixteen == code).sum(axis=2) for code in (1, 2, 3, 4, 0)])  # a class before unmarked
    np.testing.assert_array_equal(found, np.array([1, 2, 3, 4, 0])[counts.argmax(axis=0)])


def test_majority_is_nearest_where_source_pixels_are_larger(tmp_path: Path, table: ClassTable) -> None:
    path = write_codes(tmp_path / "a.tif", draw((60, 60)), crs="EPSG:3035", pixel=60.0, x=4_600_000, y=2_980_000)

    nearest, majority = cut(path, table), cut(path, table, resample="majority")

    assert nearest.keys() == majority.keys()
    assert all(np.array_equal(nearest[grid], majority[grid]) for grid in nearest)


def test_a_raster_over_two_zones_is_marked_once(tmp_path: Path, table: ClassTable) -> None:
    # Given a raster of one class in degrees around 12 degrees east, of known area on the ellipsoid.
    codes = np.full((200, 400), 2, dtype=np.uint8)
    path = write_codes(tmp_path / "a.tif", codes, crs="EPSG:4326", pixel=0.0005, x=11.9, y=48.1)

    tiles = cut(path, table)

    assert {grid.zone.number for grid in tiles} == {32, 33}
    area = sum(np.count_nonzero(found) for found in tiles.values()) * 100
    expected, _ = pyproj.Geod(ellps="WGS84").polygon_area_perimeter(
        np.concatenate([np.linspace(11.9, 12.1, 99), np.linspace(12.1, 11.9, 99)]), [48.0] * 99 + [48.1] * 99
    )
    # Three degrees from its meridian UTM enlarges areas by 0.05 %.
    assert area == pytest.approx(expected, rel=0.002)


def test_a_raster_that_counts_longitudes_to_360_lies_where_it_says(tmp_path: Path, table: ClassTable) -> None:
    codes = draw((40, 40))
    here = cut(write_codes(tmp_path / "a.tif", codes, crs="EPSG:4326", pixel=0.0005, x=-70.0, y=-30.0), table)
    there = cut(write_codes(tmp_path / "b.tif", codes, crs="EPSG:4326", pixel=0.0005, x=290.0, y=-30.0), table)

    assert here.keys() == there.keys()
    assert {grid.zone.crs for grid in here} == {"EPSG:32719"}
    assert all(np.array_equal(here[grid], there[grid]) for grid in here)


def test_a_rotated_raster_lies_where_its_transform_says(tmp_path: Path, table: ClassTable) -> None:
    c, s = 20 * np.cos(0.5), 20 * np.sin(0.5)
    transform = Affine(c, s, 500_000, s, -c, 5_490_000)
    codes = draw((100, 100))
    path = write_codes(tmp_path / "a.tif", codes, transform=transform)

    tiles = cut(path, table)

    left, top = min(grid.x for grid in tiles), max(grid.y for grid in tiles)
    expected = STORED[at_every_centre(path, 1020, 1020, left, top)]
    np.testing.assert_array_equal(mosaic(tiles, left, top, 1020, 1020), expected)


# Values ---------------------------------------------------------------------------------------------------------------


def test_no_data_and_not_a_number_are_unmarked(tmp_path: Path, table: ClassTable) -> None:
    codes = np.array([[1, 2, 255], [7, 9, 255]], dtype=np.uint8)
    path = write_codes(tmp_path / "a.tif", codes, nodata=255)
    floats = np.array([[1, 2, np.nan], [7, 9, np.nan]], dtype=np.float32)
    other = write_codes(tmp_path / "b.tif", floats)

    expected = [[1, 2, 0], [3, 4, 0]]
    assert next(iter(cut(path, table).values())).tolist() == expected
    assert next(iter(cut(other, table).values())).tolist() == expected


def test_a_code_of_the_table_counts_also_where_the_file_calls_it_no_data(tmp_path: Path, table: ClassTable) -> None:
    path = write_codes(tmp_path / "a.tif", np.array([[1, 7]], dtype=np.uint8), nodata=7)

    assert next(iter(cut(path, table).values())).tolist() == [[1, 3]]


def test_a_code_that_the_table_does_not_have_is_refused(tmp_path: Path, table: ClassTable) -> None:
    path = write_codes(tmp_path / "a.tif", np.array([[1, 42]], dtype=np.uint8))

    with pytest.raises(DataError, match=r"a.tif holds the code 42, which class table 'crops' does not have"):
        cut(path, table)


def test_the_label_of_several_bands_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "dtype": "uint8", "crs": 32633, "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
    with rasterio.open(path, "w", height=4, width=4, count=2, **profile) as file:
        file.write(np.ones((2, 4, 4), dtype=np.uint8))

    with pytest.raises(DataError, match=r"has 2 bands .*--band"):
        open_raster(path)
    with pytest.raises(UsageError, match="no band 3"):
        open_raster(path, 3)
    assert open_raster(path, 2).band == 2


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("no raster")


def torn(path: Path) -> None:
    write_codes(path, draw((600, 600)))
    path.write_bytes(path.read_bytes()[:100_000])


def complex_values(path: Path) -> None:
    write_codes(path, np.ones((4, 4), dtype=np.complex64))


def lossy(path: Path) -> None:
    write_codes(path, draw((64, 64)), compress="jpeg")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (nothing, "is empty"),
        (text, "cannot be read as a raster"),
        (torn, "cannot be read as a raster"),
        (complex_values, "complex64 values"),
        (lossy, "compressed with"),
        (lambda path: write_codes(path, draw((4, 4)), crs=None), "has no CRS"),
        (lambda path: write_codes(path, draw((4, 4)), transform=Affine.identity()), "has no grid"),
        (lambda path: write_codes(path, draw((4, 4)), crs=3035, pixel=1e6, x=0.0, y=9e9), "beyond the Earth"),
    ],
)
def test_a_raster_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, table: ClassTable, make: Any, said: str
) -> None:
    make(tmp_path / "a.tif")

    with pytest.raises(DataError, match=rf"a\.tif.* {said}"):
        cut(tmp_path / "a.tif", table)


# Memory ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crs", "x", "y"), [("EPSG:32633", 500_000.0, 5_500_000.0), ("EPSG:3035", 4_600_000.0, 2_980_000.0)]
)
def test_memory_does_not_grow_with_the_raster(tmp_path: Path, table: ClassTable, crs: str, x: float, y: float) -> None:
    def peak(size: int) -> int:
        path = write_codes(
            tmp_path / f"{size}.tif", np.full((size, size), 2, np.uint8), crs=crs, x=x, y=y, compress="zstd"
        )
        tracemalloc.start()
        for _ in tiles_of(open_raster(path), table, tile_px=128):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    small, large = peak(400), peak(1600)

    assert large < 1.5 * small
    assert large < 20e6
