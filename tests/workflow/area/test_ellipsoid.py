"""Hectares of pixels, against geodesic polygons around them."""

import numpy as np
import pyproj
import pytest
from affine import Affine
from dwplus.pipeline.errors import DataError
from dwplus.workflow.area.ellipsoid import Grid, check_grid, pixel_hectares


def grid(crs: str, *transform: float, width: int = 200, height: int = 150) -> Grid:
    return Grid(pyproj.CRS.from_user_input(crs), Affine(*transform), width, height)


def geodesic(one: Grid, row: int, column: int) -> float:
    """Hectares of a pixel as a polygon of geodesics through many points of its edges."""
    steps = np.linspace(0, 1, 50, endpoint=False)
    edge = [(t, 0.0) for t in steps] + [(1.0, t) for t in steps] + [(1 - t, 1.0) for t in steps]
    edge += [(0.0, 1 - t) for t in steps]
    corners = [one.transform @ (column + x, row + y) for x, y in edge]
    to_degrees = pyproj.Transformer.from_crs(one.crs, one.crs.geodetic_crs, always_xy=True)
    lon, lat = to_degrees.transform(*np.transpose(corners))
    return abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0]) / 1e4


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(grid("EPSG:32632", 10, 0, 500_000, 0, -10, 5_000_000), id="UTM, central meridian"),
        pytest.param(grid("EPSG:32632", 10, 0, 830_000, 0, -10, 50_000), id="UTM, edge of a zone"),
        pytest.param(grid("EPSG:32632", 7, 7, 700_000, 7, -7, 7_800_000), id="UTM, turned, 70 N"),
        pytest.param(grid("EPSG:3857", 10, 0, 1_000_000, 0, -10, 8_400_000), id="Web Mercator, 60 N"),
        pytest.param(grid("EPSG:6933", 100, 0, 900_000, 0, -100, 5_000_000), id="equal area"),
        pytest.param(grid("EPSG:2263", 30, 0, 980_000, 0, -30, 200_000), id="feet"),
        pytest.param(grid("EPSG:4326", 0.0001, 0, 9.0, 0, -0.0001, 45.0), id="degrees"),
        pytest.param(grid("EPSG:4326", 0.5, 0, -60.0, 0, -0.5, 89.5), id="large degrees, over the equator"),
    ],
)
def test_pixels_have_the_area_of_a_geodesic_polygon(one: Grid) -> None:
    areas = np.concatenate([pixel_hectares(one, 0, 70), pixel_hectares(one, 70, 80)])

    assert areas.shape == (150, 200)
    for row, column in ((0, 0), (75, 100), (149, 199)):
        # Geodesics are not parallels: 50 points a side of half a degree leave some millionths.
        assert areas[row, column] == pytest.approx(
            geodesic(one, row, column), rel=1e-6 if one.transform.a > 1 else 3e-5
        )


def test_the_whole_ellipsoid_has_the_area_of_the_earth() -> None:
    earth = grid("EPSG:4326", 1, 0, -180, 0, -1, 90, width=360, height=180)

    assert pixel_hectares(earth, 0, 180).sum() / 100 == pytest.approx(510_065_621.7, rel=1e-9)  # km2, WGS 84


def test_grids_without_areas_are_refused() -> None:
    with pytest.raises(DataError, match=r"^town.tif is a turned grid of degrees; warp it"):
        check_grid(grid("EPSG:4326", 0.1, 0.1, 0, 0.1, -0.1, 0), "town.tif")
    local = 'LOCAL_CS["field",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    with pytest.raises(DataError, match="in which pixels have no area"):
        check_grid(grid(local, 10, 0, 0, 0, -10, 0), "town.tif")
