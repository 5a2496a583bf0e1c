"""Footprints: which tiles share ground, across zones, across the antimeridian, up to 83 degrees north."""

import numpy as np
import pytest
import shapely
from conftest import make_tile
from dwplus.pipeline.footprints import shared_ground
from dwplus.pipeline.tiles import Tile
from pyproj import Transformer


def tile_at(lon: float, lat: float, *, zone: int | None = None, east_px: int = 0, north_px: int = 0) -> Tile:
    """A tile of 510 x 510 px on whole pixels, centred near (lon, lat), moved by some pixels."""
    zone = zone or min(int((lon + 180) // 6) + 1, 60)
    crs = f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    left, top = round(x / 10) * 10 - 2550 + 10 * east_px, round(y / 10) * 10 + 2550 + 10 * north_px
    return make_tile(f"dw_{lon}_{lat}-20190701", crs=crs, x=float(left), y=float(top), size=510)


@pytest.mark.parametrize("lat", [-44.0, 0.5, 45.0, 70.0, 83.0])
def test_tiles_that_touch_do_not_overlap_and_one_pixel_more_does(lat: float) -> None:
    tile = tile_at(7.3, lat)
    # Neighbours to the right, touching all along, along half an edge, and in one corner.
    touching = [tile_at(7.3, lat, east_px=510, north_px=n) for n in (0, 255, 510)]
    sharing = [tile_at(7.3, lat, east_px=509, north_px=n) for n in (0, 255, 509)]

    assert shared_ground([tile], touching) == []
    shares = [share for _, _, share in shared_ground([tile], sharing)]
    assert shares == pytest.approx([1 / 510, 255 / 510**2, 1 / 510**2])


@pytest.mark.parametrize("lat", [-44.0, 10.0, 70.0, 83.0])
def test_the_same_ground_in_two_zones_overlaps(lat: float) -> None:
    # Given a tile on the border between zones 32 and 33, in the grid of each, and one 7 km further east.
    border = 12.0
    here, there = tile_at(border, lat, zone=32), tile_at(border, lat, zone=33)
    # The grids are turned against each other by 6 sin(lat) degrees. Four corners stick out of a turned unit square:
    # right triangles whose legs are h cos a and h sin a, where a whole side is h + h cos a + h sin a = 1.
    a = np.radians(6 * abs(np.sin(np.radians(lat))))
    kept = 1 - 2 * np.sin(a) * np.cos(a) / (1 + np.sin(a) + np.cos(a)) ** 2

    ((_, _, share),) = shared_ground([here], [there])

    # Both centres are rounded to whole pixels, so they lie up to 7 m (0.3 %) apart.
    assert share == pytest.approx(kept, abs=4e-3)
    far = tile_at(border + 7500 / (111_320 * np.cos(np.radians(lat))), lat, zone=33)
    assert shared_ground([here], [far]) == []


@pytest.mark.parametrize("lat", [-17.0, 0.2, 65.0, 71.5, 82.9])
def test_tiles_on_both_sides_of_the_antimeridian_overlap_where_they_share_ground(lat: float) -> None:
    km = 1000 / (111_320 * np.cos(np.radians(lat)))
    # Centres 1 km west and 1 km east of it: 3.1 of 5.1 km in common. Centres 4 km west and 4 km east: nothing.
    west, east = tile_at(180 - km, lat), tile_at(-180 + km, lat)
    assert (west.crs[-2:], east.crs[-2:]) == ("60", "01")
    turn = np.radians(6 * abs(np.sin(np.radians(lat))))

    ((_, _, share),) = shared_ground([west], [east])
    assert share == pytest.approx(3.1 / 5.1, abs=0.01 + turn / 2)
    assert [pair[:2] for pair in shared_ground([east], [west])] == [(0, 0)]
    assert shared_ground([tile_at(180 - 4 * km, lat)], [tile_at(-180 + 4 * km, lat)]) == []


def test_a_tile_on_the_antimeridian_shares_nothing_with_the_rest_of_its_parallel() -> None:
    straddling = tile_at(179.999, 10.0)

    assert shared_ground([straddling], [tile_at(lon, 10.0) for lon in range(-177, 178, 6)]) == []


def test_all_pairs_are_found_as_by_comparing_each_with_each() -> None:
    # Given 60 tiles crowded around the corner of zones 32 and 33.
    rng = np.random.default_rng(3)
    tiles = [
        tile_at(11.95 + rng.uniform(0, 0.2), 48 + rng.uniform(0, 0.2), zone=int(rng.integers(32, 34)))
        for _ in range(60)
    ]
    # A projection of its own, that no tile uses, judges.
    to_plane = Transformer.from_crs("EPSG:4326", "+proj=laea +lat_0=48.1 +lon_0=12.05", always_xy=True).transform
    squares = [shapely.Polygon([to_plane(*corner) for corner in tile.outline]) for tile in tiles]
    expected = {
        (i, j): squares[i].intersection(squares[j]).area / 5100**2
        for i in range(60)
        for j in range(i + 1, 60)
        if squares[i].intersection(squares[j]).area > 1000
    }

    found = {(i, j): share for i, j, share in shared_ground(tiles, tiles) if i < j}

    assert len(expected) > 100
    assert {pair for pair in found if pair not in expected} <= {p for p, share in found.items() if share < 1e-4}
    assert {pair: found[pair] for pair in expected} == pytest.approx(expected, abs=2e-3)
