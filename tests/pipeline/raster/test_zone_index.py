"""One layer over maps of two UTM zones, opened by GDAL from anywhere."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from dwplus.pipeline.raster.class_map import RowWriter, colours_of
from dwplus.pipeline.raster.geotiff import RasterGrid
from dwplus.pipeline.raster.zone_index import write_index
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD

LON, LAT = 12.0, 45.0


def write_zone(path: Path, epsg: int, code: int, *, west_px: int, width: int) -> None:
    """A map of one class, 40 px high, that ends or begins at 12 E in its own zone."""
    x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(LON, LAT)
    transform = (10.0, 0.0, 10 * round(x / 10) + 10.0 * west_px, 0.0, -10.0, 10.0 * round(y / 10))
    grid = RasterGrid(f"EPSG:{epsg}", transform, (40, width))
    writer = RowWriter(
        path, grid, nodata=0, overviews="mode", colours=colours_of(DYNAMIC_WORLD), tags={"SANDBOX": "synthetic"}
    )
    with writer.open() as file:
        file.write(0, np.full((40, width), code, np.uint8))


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write_zone(tmp_path / "town-32N.tif", 32632, 1, west_px=-80, width=80)
    write_zone(tmp_path / "town-33N.tif", 32633, 7, west_px=0, width=50)
    maps = [tmp_path / "town-32N.tif", tmp_path / "town-33N.tif"]
    written = write_index(tmp_path / "town.vrt", maps, DYNAMIC_WORLD)
    assert [path.name for path in written] == ["town.vrt", "town-33N.warped.vrt"]
    return written[0]


def test_both_zones_are_one_layer_on_the_grid_of_the_larger_one(index: Path) -> None:
    with rasterio.open(index) as file, rasterio.open(index.parent / "town-32N.tif") as main:
        assert (file.crs.to_epsg(), file.res, file.nodata) == (32632, (10.0, 10.0), 0)
        assert file.colormap(1)[1] == (*DYNAMIC_WORLD.classes[0].rgb, 255)
        assert file.tags()["SANDBOX"] == "synthetic"
        codes = file.read(1)
        offset = ~file.transform @ (main.transform.c, main.transform.f)
    column, row = (round(value) for value in offset)
    # The main map lies in it unchanged; the other one keeps its pixels, but for those that nearest neighbour
    # drops or doubles at its edges.
    assert (codes[row : row + 40, column : column + 80] == 1).all()
    assert np.count_nonzero(codes == 1) == 40 * 80
    assert np.count_nonzero(codes == 7) == pytest.approx(40 * 50, rel=0.04)


def test_places_east_of_the_meridian_show_the_eastern_map(index: Path) -> None:
    to_utm = pyproj.Transformer.from_crs(4326, 32632, always_xy=True)
    places = [to_utm.transform(LON + step, LAT - 0.0015) for step in (-0.002, -0.0005, 0.0005, 0.003)]

    with rasterio.open(index) as file:
        found = [int(value[0]) for value in file.sample(places)]

    assert found == [1, 1, 7, 7]


def test_the_layer_can_be_moved_with_its_maps_and_read_by_another_gdal(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in tmp_path.glob("town*"):
        shutil.copy(path, moved)
        path.unlink()
    monkeypatch.chdir("/")

    with rasterio.open(moved / "town.vrt") as file:
        assert set(np.unique(file.read(1))) == {0, 1, 7}
    if shutil.which("gdalinfo") is None:
        pytest.skip("gdalinfo is not on this machine")
    said = subprocess.run(["gdalinfo", moved / "town.vrt"], capture_output=True, text=True, check=True).stdout
    assert "0: no data" in said
    assert "1: Water" in said
