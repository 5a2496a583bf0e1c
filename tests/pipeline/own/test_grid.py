"""The 10 m grid of UTM: zones, cells, ownership of pixels."""

import numpy as np
import pyproj
import pytest
from dwplus.pipeline.own.grid import Grid, Zone, cell, utm_zone, zones_between


@pytest.mark.parametrize(
    ("box", "epsg"),
    [
        ((9, 45, 9.1, 45.1), [32632]),
        ((11.9, 45, 12.1, 45.1), [32632, 32633]),
        ((12, 45, 12.1, 45.1), [32633]),
        ((11.9, 45, 12, 45.1), [32632]),
        ((12.1, -0.1, 12.2, 0.1), [32633, 32733]),
        ((179.9, -17, 180.1, -16.9), [32701, 32760]),
        ((-180.1, 10, -179.9, 10.1), [32601, 32660]),
    ],
)
def test_a_box_meets_the_zones_that_it_lies_in(box: tuple[float, float, float, float], epsg: list[int]) -> None:
    assert sorted(zone.epsg for zone in zones_between(*box)) == epsg


def test_every_place_belongs_to_one_zone() -> None:
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(-180, 180, 2000), rng.uniform(-80, 84, 2000)
    lon[:3], lat[:3] = (180.0, -180.0, 6.0), (0.0, 5.0, -5.0)

    owners = sum(Zone(n, half).owns(lon, lat).astype(int) for n in range(1, 61) for half in (False, True))

    assert (owners == 1).all()


def test_a_cell_has_corners_at_multiples_of_its_side() -> None:
    grid = cell(Zone(33, south=False), 80, 1080, 510)

    assert grid.bounds == (408_000, 5_508_000, 413_100, 5_513_100)
    assert grid.owned() is None


def test_pixels_beyond_the_edge_of_a_zone_belong_to_the_next_one() -> None:
    # Given a cell of zone 33 over its western edge, at 12 degrees east.
    x, y = pyproj.Transformer.from_crs(4326, 32633, always_xy=True).transform(12.0, 50.0)
    grid = Grid(Zone(33, south=False), round(x / 10) * 10 - 2550, round(y / 10) * 10 + 2550, 510, 510)

    owned = grid.owned()

    # Then its pixels east of the meridian are its own: an independent test by the longitude of two of them.
    assert owned is not None
    middle = owned[255]
    edge = int(np.flatnonzero(middle)[0])
    to_degrees = pyproj.Transformer.from_crs(32633, 4326, always_xy=True)
    row_y = grid.y - 2555
    assert (
        to_degrees.transform(grid.x + 10 * edge - 5, row_y)[0]
        < 12
        <= to_degrees.transform(grid.x + 10 * edge + 5, row_y)[0]
    )
    assert middle[edge:].all()


def test_utm_is_known_by_its_code() -> None:
    assert utm_zone(pyproj.CRS(32733)) == Zone(33, south=True)
    assert utm_zone(pyproj.CRS(25832)) == Zone(32, south=False)  # ETRS89
    assert utm_zone(pyproj.CRS(3035)) is None
    assert utm_zone(pyproj.CRS(4326)) is None
