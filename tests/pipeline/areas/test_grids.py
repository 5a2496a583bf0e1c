"""Grids of areas: every place in one zone, whole pixels, surroundings for the network, blocks to download."""

from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from dwplus.pipeline.areas.grids import ZoneGrid, count_blocks, zone_grids
from dwplus.pipeline.areas.outline import Outline, outline_of_box, outline_of_raster
from dwplus.pipeline.errors import DataError
from rasterio import Affine
from support.own_tiles import write_raster


def in_metres(*shapes: shapely.Geometry, crs: str = "EPSG:32632") -> Outline:
    """An area that is drawn in UTM."""
    move = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform
    shape = shapely.union_all([shapely.transform(s, lambda p: np.stack(move(*p.T), axis=1)) for s in shapes])
    return Outline("drawn", "drawn", shape)


def whole_mask(one: ZoneGrid) -> np.ndarray:
    return one.belongs(0, one.grid.shape[0])


def pixel_centres(one: ZoneGrid, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, _, c, _, e, f = one.grid.transform
    return c + a * (columns + 0.5), f + e * (rows + 0.5)


def centres(one: ZoneGrid) -> tuple[np.ndarray, np.ndarray]:
    """Degrees of the pixels that belong to a map, by an independent transformation."""
    rows, columns = np.nonzero(whole_mask(one))
    x, y = pixel_centres(one, rows, columns)
    return pyproj.Transformer.from_crs(one.grid.crs, 4326, always_xy=True).transform(x, y)


def test_a_rectangle_of_whole_pixels_is_a_map_of_just_these() -> None:
    (one,) = zone_grids(in_metres(shapely.box(500_000, 5_000_000, 500_300, 5_000_200)))

    assert (one.map_grid.crs, one.map_grid.shape) == ("EPSG:32632", (20, 30))
    assert one.map_grid.transform == (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_200.0)
    assert whole_mask(one).sum() == 600


def test_grids_begin_at_multiples_of_320_m_and_reach_beyond_the_map() -> None:
    (one,) = zone_grids(in_metres(shapely.box(500_010, 5_000_010, 500_310, 5_000_210)))

    a, _, x, _, _, y = one.grid.transform
    height, width = one.grid.shape
    assert (a, x % 320, y % 320, height % 32, width % 32) == (10.0, 0, 0, 0, 0)
    assert x <= 500_010 - 320
    assert y >= 5_000_210 + 320
    assert x + 10 * width >= 500_310 + 320
    assert y - 10 * height <= 5_000_010 - 320


def test_pixels_belong_to_an_area_whose_centre_it_holds() -> None:
    # A triangle with legs of 100 m: of a square of 100 pixels, those below the diagonal, and half of those on it.
    corner = shapely.Polygon([(500_000, 5_000_000), (500_100, 5_000_000), (500_000, 5_000_101)])
    hole = shapely.box(500_010, 5_000_010, 500_030, 5_000_030)

    (one,) = zone_grids(in_metres(corner.difference(hole)))

    rows, columns = np.nonzero(whole_mask(one))
    x, y = pixel_centres(one, rows, columns)
    expected = {
        (cx, cy)
        for cx in range(500_005, 500_105, 10)
        for cy in range(5_000_005, 5_000_105, 10)
        if corner.contains(shapely.Point(cx, cy)) and not hole.contains(shapely.Point(cx, cy))
    }
    assert set(zip(np.round(x), np.round(y), strict=True)) == expected
    assert len(expected) == 55 - 4


@pytest.mark.parametrize(
    "box", ["11.99,45,12.01,45.02", "11.99,-30,12.01,-29.99", "179.99,-17,-179.99,-16.99", "23.98,70,24.02,70.01"]
)
def test_an_area_over_two_zones_is_cut_at_their_meridian(box: str) -> None:
    outline = outline_of_box(box)

    grids = zone_grids(outline)

    assert len(grids) == 2
    meridian = round(outline.shape.centroid.x)
    pixels = 0
    for one in grids:
        lon, lat = centres(one)
        lon = np.where(lon < meridian - 180, lon + 360, lon)
        first = one.zone.west % 360 == meridian % 360
        assert (lon >= meridian).all() if first else (lon < meridian).all()
        assert shapely.contains_xy(outline.shape, lon, lat).mean() > 0.999
        pixels += len(lon)
    # 100 m2 a pixel, but for the scale of UTM near the edge of a zone.
    assert pixels * 1e-4 == pytest.approx(outline.km2, rel=3e-3)


def test_an_area_over_the_equator_is_cut_there() -> None:
    north, south = zone_grids(outline_of_box("9.0,-0.01,9.01,0.01"))

    assert (north.grid.crs, south.grid.crs) == ("EPSG:32632", "EPSG:32732")
    assert whole_mask(north).sum() == pytest.approx(whole_mask(south).sum(), abs=120)
    assert (centres(north)[1] >= 0).all()
    assert (centres(south)[1] < 0).all()


def test_an_area_that_ends_at_a_meridian_has_one_map() -> None:
    assert [one.grid.crs for one in zone_grids(outline_of_box("12,45,12.01,45.01"))] == ["EPSG:32633"]
    assert [one.grid.crs for one in zone_grids(outline_of_box("11.99,45,12,45.01"))] == ["EPSG:32632"]


def test_an_area_smaller_than_a_pixel_is_a_map_of_the_pixels_that_it_touches() -> None:
    one_pixel = shapely.box(500_001, 5_000_001, 500_004, 5_000_004)
    four = shapely.box(500_009, 5_000_009, 500_011, 5_000_011)

    (single,), (touched,) = zone_grids(in_metres(one_pixel)), zone_grids(in_metres(four))

    assert (single.map_grid.shape, whole_mask(single).sum()) == ((1, 1), 1)
    assert (touched.map_grid.shape, whole_mask(touched).sum()) == ((2, 2), 4)


def test_rows_can_be_looked_at_in_any_part() -> None:
    (one,) = zone_grids(in_metres(shapely.Point(500_000, 5_000_000).buffer(700)))
    height = one.grid.shape[0]

    parts = [one.belongs(start, min(height, start + 37)) for start in range(0, height, 37)]

    assert np.array_equal(np.concatenate(parts), whole_mask(one))
    assert whole_mask(one).sum() == pytest.approx(np.pi * 70**2, rel=0.01)


def test_blocks_cover_the_map_and_its_surroundings_and_no_more() -> None:
    # Two fields of 1 km at the corners of a square of 20 km.
    far = [shapely.box(500_000, 5_000_000, 501_000, 5_001_000), shapely.box(519_000, 5_019_000, 520_000, 5_020_000)]

    (one,) = zone_grids(in_metres(*far))
    blocks = list(one.blocks(512))

    seen = np.zeros(one.grid.shape, dtype=int)
    for block in blocks:
        seen[block.row : block.row + block.height, block.column : block.column + block.width] += 1
    assert seen.max() == 1
    needed = np.zeros(one.grid.shape, dtype=bool)
    for row, column in zip(*np.nonzero(whole_mask(one)[::20, ::20]), strict=True):
        needed[max(0, 20 * row - 31) : 20 * row + 32, max(0, 20 * column - 31) : 20 * column + 32] = True
    assert seen[needed].all()
    assert len(blocks) < 9 < (one.grid.shape[0] // 512 + 1) * (one.grid.shape[1] // 512 + 1)
    assert count_blocks([one]) == (len(blocks), seen.sum())


def test_the_map_of_a_raster_is_on_its_grid_also_beyond_the_zone(tmp_path: Path) -> None:
    # 300 m west of the western edge of zone 33 at 45 N.
    x, y = pyproj.Transformer.from_crs(4326, 32633, always_xy=True).transform(12.0, 45.0)
    affine = Affine(10, 0, round(x) - 300, 0, -10, round(y))
    path = write_raster(tmp_path / "like.tif", np.ones((1, 40, 50), np.uint8), affine, crs="EPSG:32633")

    (one,) = zone_grids(outline_of_raster(path))

    assert (one.map_grid.transform, one.map_grid.shape) == (tuple(affine)[:6], (40, 50))
    assert whole_mask(one).sum() == 2000
    assert [side % 32 for side in one.grid.shape] == [0, 0]


def test_an_area_without_any_pixel_is_refused() -> None:
    line = Outline("line", "line", shapely.Polygon([(9, 90), (9.1, 90), (9.1, 89.9), (9, 90)]))

    with pytest.raises(DataError, match="holds no pixel of the 10 m grid"):
        zone_grids(line)
