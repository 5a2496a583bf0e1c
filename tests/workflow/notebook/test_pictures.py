"""Pictures on a web map lie where their pixels lie, in the colours that they had."""

import base64
import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.raster.class_map import colours_of, write_names
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from dwplus.workflow.notebook.pictures import Picture, opaque, place, read_map
from pyproj import Transformer
from support.map_tiles import pixels_of_tile

UTM32, TEN_M = "EPSG:32632", Affine(10, 0, 500_000, 0, -10, 5_000_000)


def pixels(picture: Picture) -> np.ndarray:
    return pixels_of_tile(base64.b64decode(picture.url.removeprefix("data:image/png;base64,")))


def colour_at(picture: Picture, lon: float, lat: float) -> list[int]:
    """Leaflet stretches a picture evenly over its bounds in Web Mercator."""
    west, south, east, north = picture.bounds
    found = pixels(picture)
    upper, here, lower = (math.asinh(math.tan(math.radians(one))) for one in (north, lat, south))
    col = int((lon - west) / (east - west) * found.shape[2])
    row = int((upper - here) / (upper - lower) * found.shape[1])
    return found[:, row, col].tolist()


def numbered(height: int, width: int) -> np.ndarray:
    """Each pixel has its column as red and its row as green."""
    rows, cols = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([cols, rows, np.full_like(cols, 7), np.full_like(cols, 255)])


@pytest.mark.parametrize(("crs", "y"), [(UTM32, 5_000_000), ("EPSG:32732", 6_200_000), (UTM32, 7_900_000)])
def test_each_pixel_of_a_tile_lies_where_pyproj_says(crs: str, y: float) -> None:
    affine = Affine(10, 0, 700_000, 0, -10, y)
    picture = place("tile", numbered(60, 80), crs, affine)

    back = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    for row, col in ((3, 3), (30, 40), (56, 76), (3, 76)):
        lon, lat = back.transform(*(affine @ (col + 0.5, row + 0.5)))
        red, green, blue, alpha = colour_at(picture, lon, lat)
        # a pixel of the picture is no larger than one of the tile, and shows the nearest of them
        assert abs(red - col) <= 1
        assert abs(green - row) <= 1
        assert (blue, alpha) == (7, 255)


def test_what_lies_beside_the_tile_is_transparent() -> None:
    """A square of a UTM zone is turned in Web Mercator, away from the middle of the zone."""
    found = pixels(place("tile", numbered(200, 200), UTM32, Affine(10, 0, 700_000, 0, -10, 7_000_000)))

    assert found[3, 0, 0] == 0
    assert found[3, found.shape[1] // 2, found.shape[2] // 2] == 255


def test_a_tile_over_the_date_line_stays_in_one_piece() -> None:
    """500 px of zone 1 that begin 0.03 degrees west of the line."""
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32601", always_xy=True).transform(-180.03, -16.0)
    picture = place("tile", numbered(200, 250), "EPSG:32601", Affine(20, 0, x, 0, -20, y))

    west, _, east, _ = picture.bounds
    assert 0.04 < east - west < 0.06
    assert west < 180 < east or west < -180 < east


def test_a_large_map_is_shown_coarser() -> None:
    found = pixels(place("map", numbered(100, 250), UTM32, TEN_M, most_px=50))

    assert max(found.shape) == 50


def test_pixels_that_were_not_seen_are_transparent() -> None:
    grey = np.array([[0.0, 0.5, 1.0]])

    rgba = opaque(grey, np.array([[True, True, False]]))

    assert rgba[:, 0].T.tolist() == [[0, 0, 0, 255], [128, 128, 128, 255], [255, 255, 255, 0]]


def write_map(path: Path, codes: np.ndarray, *, colours: bool = True, crs: str | None = UTM32, **tags: str) -> Path:
    profile = {"driver": "GTiff", "dtype": codes.dtype, "count": 1, "height": codes.shape[0], "width": codes.shape[1]}
    with rasterio.open(path, "w", **profile, crs=crs, transform=TEN_M, nodata=0) as file:
        file.write(codes, 1)
        if colours:
            file.write_colormap(1, colours_of(DYNAMIC_WORLD))
        file.update_tags(**tags)
    return path


def test_a_map_file_has_the_colours_and_names_of_its_classes(tmp_path: Path) -> None:
    path = write_map(tmp_path / "town.tif", np.array([[0, 1, 2, 9]] * 4, dtype=np.uint8), SANDBOX="synthetic")
    write_names(path, DYNAMIC_WORLD, [4, 4, 0, 0, 0, 0, 0, 0, 4])

    found = read_map(path)

    back = Transformer.from_crs(UTM32, "EPSG:4326", always_xy=True)
    seen = [colour_at(found.picture, *back.transform(*(TEN_M @ (col + 0.5, 2)))) for col in range(4)]
    assert seen[0][3] == 0
    assert [tuple(one[:3]) for one in seen[1:]] == [DYNAMIC_WORLD.classes[i].rgb for i in (0, 1, 8)]
    assert found.legend.entries[:2] == (("Water", "#419bdf"), ("Trees", "#397d49"))
    assert (found.sandbox, found.coarser, len(found.legend.entries)) == (True, 1.0, 9)


def test_names_come_from_the_tags_where_the_file_beside_is_gone(tmp_path: Path) -> None:
    path = write_map(tmp_path / "town.tif", np.ones((4, 4), dtype=np.uint8), CLASSES="1=water 2=trees")

    found = read_map(path)

    assert found.legend.entries == (("water", "#419bdf"), ("trees", "#397d49"))
    assert not found.sandbox


def test_a_raster_without_names_has_its_codes_in_the_legend(tmp_path: Path) -> None:
    path = write_map(tmp_path / "town.tif", np.array([[1, 5]], dtype=np.uint8))

    assert read_map(path).legend.entries == (("code 1", "#419bdf"), ("code 5", "#e49635"))


@pytest.mark.parametrize(
    ("codes", "settings", "words"),
    [
        (np.ones((2, 2), np.float32), {"colours": False}, "has one of uint8"),
        (np.ones((2, 2), np.uint8), {"colours": False}, "has no colour table"),
        (np.ones((2, 2), np.uint8), {"crs": None}, "has no CRS"),
    ],
)
def test_a_raster_that_is_no_map_is_refused(tmp_path: Path, codes: np.ndarray, settings: dict, words: str) -> None:
    path = write_map(tmp_path / "town.tif", codes, **settings)

    with pytest.raises(DataError, match=words):
        read_map(path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "town.tif").write_bytes(b"II*\0nothing")

    with pytest.raises(DataError, match=r"town\.tif cannot be read as a map"):
        read_map(tmp_path / "town.tif")
