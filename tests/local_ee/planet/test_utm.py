"""Own UTM against PROJ, and grids of pixels in home zones."""

from __future__ import annotations

import numpy as np
import pytest
from dwplus.local_ee.planet import utm
from dwplus.local_ee.planet.utm import UtmGrid
from pyproj import Transformer


@pytest.mark.parametrize("zone", [1, 31, 49, 60])
def test_utm_agrees_with_proj_within_a_millimetre(zone: int) -> None:
    rng = np.random.default_rng(zone)
    lon = utm.central_meridian(zone) + rng.uniform(-9, 9, 500)
    lat = rng.uniform(-84, 84, 500)
    east, north = Transformer.from_crs(4326, 32600 + zone, always_xy=True).transform(lon, lat)

    x, y = utm.forward(lon, lat, zone)

    assert np.allclose(x, east, atol=1e-3)
    assert np.allclose(y, north, atol=1e-3)


def test_inverse_undoes_forward() -> None:
    lon, lat = np.meshgrid(np.linspace(105, 117, 13), np.linspace(-84, 84, 15))

    back = utm.inverse(*utm.forward(lon, lat, 49), 49)

    assert np.allclose(back[0], lon, atol=1e-9)
    assert np.allclose(back[1], lat, atol=1e-9)


def test_home_zones_are_six_degrees_wide_and_wrap_at_the_date_line() -> None:
    assert utm.home_zone(np.array([-180.0, -3.0, 0.0, 5.999, 6.0, 179.9, 180.0, 540.0])).tolist() == [
        *(1, 30, 31, 31, 32, 60, 1, 1)
    ]


def test_southern_northings_count_from_the_equator() -> None:
    grid = UtmGrid.of("EPSG:32749", (10, 0, 590_130, 0, -10, 9_103_900), (510, 510))

    assert (grid.zone, grid.y) == (49, -896_100)


def test_a_rotated_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="north-up"):
        UtmGrid.of("EPSG:32749", (10, 1, 0, 0, -10, 0), (2, 2))


def test_a_grid_in_its_home_zone_meets_lattice_pixels_exactly() -> None:
    grid = UtmGrid(30, 526_080, 627_620, 10, (0, 3), (0, 2))

    (part,) = utm.parts(grid)

    assert part.inside is None
    assert part.rows.tolist() == [[-62_762], [-62_761], [-62_760]]
    assert part.cols.tolist() == [[52_608, 52_609]]


@pytest.mark.parametrize("lat", [-79.0, -45.0, 0.5, 60.0])
def test_a_grid_outside_its_home_zone_is_placed_within_a_centimetre(lat: float) -> None:
    """Ten degrees from the central meridian: the zone of the grid is not the zone of the place."""
    x, y = (float(value) for value in utm.forward(utm.central_meridian(33) - 10, lat, 33))
    grid = UtmGrid(33, x + 3.3, y - 4.4, 10, (100, 400), (-60, 300))

    (place,) = utm.located(grid)

    east, north = np.meshgrid(grid.eastings, grid.northings)
    x_home, y_home = Transformer.from_crs(32633, 32600 + place.zone, always_xy=True).transform(east, north)
    assert place.zone != 33
    assert np.abs(place.x - x_home).max() < 0.01
    assert np.abs(place.y - y_home).max() < 0.01


def test_a_grid_across_a_zone_border_falls_into_two_parts() -> None:
    x, y = (float(value) for value in utm.forward(6.0, 50.0, 31))
    grid = UtmGrid(31, round(x, -1) - 500, round(y, -1) + 500, 10, (0, 100), (0, 100))

    parts = {part.zone: part.inside for part in utm.parts(grid)}

    assert set(parts) == {31, 32}
    assert parts[31] is not None
    assert parts[32] is not None
    assert np.array_equal(parts[31], ~parts[32])


def test_windows_of_a_grid_are_placed_alike() -> None:
    x, y = (float(value) for value in utm.forward(6.0, 50.0, 31))
    whole = utm.parts(UtmGrid(31, x, y, 10, (0, 200), (0, 200)))
    part = utm.parts(UtmGrid(31, x, y, 10, (37, 101), (50, 70)))

    home = next(item for item in whole if item.zone == 32)
    (inner,) = (item for item in part if item.zone == 32)
    assert np.array_equal(inner.rows, home.rows[37:101, 50:70])
    assert np.array_equal(inner.cols, home.cols[37:101, 50:70])
