"""Overlaps: which tiles share ground, across zones and the antimeridian; distances on the sphere, against haversine."""

import numpy as np
import pytest
import shapely
from dwplus.pipeline.spec.overlaps import EARTH_RADIUS_KM, nearest_km, shared_ground
from pyproj import Transformer
from support.tiles import tile_at


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


def test_a_degree_of_latitude_is_111_km_and_the_nearest_counts() -> None:
    places = np.array([[9.0, 45.0], [9.0, 50.0]])
    others = np.array([[9.0, 46.0], [9.0, 49.5], [120.0, -30.0]])

    assert nearest_km(places, others) == pytest.approx([111.195, 55.597], abs=0.01)


def test_the_date_line_is_no_border() -> None:
    assert nearest_km(np.array([[179.9, 0.0]]), np.array([[-179.9, 0.0], [0.0, 0.0]]))[0] == pytest.approx(
        22.24, abs=0.01
    )


def test_metres_apart_are_still_told() -> None:
    # One hundred-thousandth of a degree is 1.112 m.
    assert nearest_km(np.array([[0.0, 10.0]]), np.array([[0.0, 10.00001]]))[0] == pytest.approx(1.112e-3, rel=1e-3)


def test_many_places_agree_with_the_haversine_formula() -> None:
    rng = np.random.default_rng(0)
    a, b = (np.stack([rng.uniform(-180, 180, n), rng.uniform(-80, 80, n)], axis=1) for n in (700, 30))
    lon, lat = np.radians(a)[:, None].transpose(2, 0, 1)
    lon2, lat2 = np.radians(b)[None].transpose(2, 0, 1)
    h = np.sin((lat - lat2) / 2) ** 2 + np.cos(lat) * np.cos(lat2) * np.sin((lon - lon2) / 2) ** 2

    assert nearest_km(a, b) == pytest.approx((2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(h))).min(axis=1))
