"""Polygons over a map, in any CRS."""

from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import shapely
from dwplus.pipeline.errors import DataError
from dwplus.workflow.area.districts import read_districts
from dwplus.workflow.area.ellipsoid import Grid
from support.class_maps import UTM

GRID = Grid(pyproj.CRS.from_epsg(32632), UTM, 12, 10)
"""10 m: x 500,000 to 500,120, y 4,999,900 to 5,000,000."""


def write(path: Path, boxes: dict[str, tuple[float, float, float, float]], crs: int = 32632) -> Path:
    shapes = [shapely.box(500_000 + a, 4_999_900 + b, 500_000 + c, 4_999_900 + d) for a, b, c, d in boxes.values()]
    geopandas.GeoDataFrame({"Name": list(boxes)}, geometry=shapes, crs=32632).to_crs(crs).to_file(path)
    return path


def test_a_pixel_belongs_to_the_polygon_of_its_centre(tmp_path: Path) -> None:
    # The border at x = 34 lies right of the centre of column 2 (25) and left of that of column 3 (35).
    path = write(tmp_path / "d.gpkg", {"west": (0, 0, 34, 100), "east": (34, 0, 120, 50)})
    expected = np.full((10, 12), -1)
    expected[:, :3], expected[5:, 3:] = 0, 1

    districts = read_districts(path, GRID)

    assert districts.names == ("west", "east")
    assert (districts.numbers(0, 10) == expected).all()
    assert (np.concatenate([districts.numbers(0, 3), districts.numbers(3, 7)]) == expected).all()
    assert (districts.inside(0, 10) == (expected >= 0)).all()


def test_another_crs_gives_the_same_pixels_and_parts_of_one_name_are_one(tmp_path: Path) -> None:
    boxes = {"a": (0, 0, 34, 100), "b": (34, 0, 120, 50)}
    here = read_districts(write(tmp_path / "here.gpkg", boxes), GRID)

    there = read_districts(write(tmp_path / "there.geojson", boxes, crs=4326), GRID)

    assert (there.numbers(0, 10) == here.numbers(0, 10)).all()
    frame = geopandas.read_file(tmp_path / "here.gpkg").assign(Name="both")
    frame.to_file(tmp_path / "both.gpkg")
    assert read_districts(tmp_path / "both.gpkg", GRID).names == ("both",)


def test_polygons_of_another_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no polygon that touches the map; is it of another place"):
        read_districts(write(tmp_path / "far.gpkg", {"a": (9_000, 0, 9_100, 100)}), GRID)
