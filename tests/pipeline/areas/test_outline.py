"""Areas that files, boxes and rasters mean: an outline in degrees, or one line that says what is wrong."""

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from dwplus.pipeline.areas.outline import (
    check_size,
    outline_of_box,
    outline_of_file,
    outline_of_raster,
)
from dwplus.pipeline.errors import DataError, DwplusError, UsageError
from rasterio import Affine
from support.own_tiles import write_raster

TOWN = shapely.box(9.0, 45.0, 9.1, 45.1)


def write_area(path: Path, *shapes: shapely.Geometry | None, crs: Any = 4326, to: Any = None) -> Path:
    frame = geopandas.GeoDataFrame(geometry=list(shapes), crs=crs)
    (frame if to is None else frame.to_crs(to)).to_file(path)
    return path


def test_a_box_in_degrees_has_the_area_that_it_has_on_the_ellipsoid() -> None:
    # A box of 0.1 x 0.1 degrees at 45 N: 111.13 km x 78.85 km to the degree, by the radii of curvature of WGS 84.
    outline = outline_of_box("9.0,45.0,9.1,45.1")

    assert outline.km2 == pytest.approx(0.1 * 111.132 * 0.1 * 78.78, rel=2e-3)
    assert outline.shape.bounds == pytest.approx((9.0, 45.0, 9.1, 45.1))
    assert outline.place == "9.05 E 45.05 N"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9,45,9.4", "is no box"),
        ("a,b,c,d", "is no box"),
        ("9,45,nan,46", "does not hold degrees"),
        ("45,9,46,120", "latitude beyond 90"),
        ("9,45.3,9.4,45.0", "is empty; the order is west,south,east,north"),
        ("9,45,9,46", "is empty"),
        ("9.4,45,9.0,45.3", "is 359.6 degrees wide"),
        ("500000,5000000,510000,5010000", "does not hold degrees"),
        ("9,-89,10,-85", "beyond 80 S or 84 N"),
    ],
)
def test_a_box_that_is_none_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(DwplusError, match=said) as refused:
        outline_of_box(text)
    assert "\n" not in str(refused.value)


def test_a_box_whose_west_is_greater_than_its_east_lies_over_the_date_line() -> None:
    outline = outline_of_box("179.9,-17,-179.9,-16.8")

    assert outline.shape.bounds == pytest.approx((179.9, -17, 180.1, -16.8))
    assert outline.km2 == pytest.approx(outline_of_box("9.9,-17,10.1,-16.8").km2)


@pytest.mark.parametrize("name", ["town.geojson", "town.gpkg", "town.shp", "town.fgb"])
@pytest.mark.parametrize("to", [None, 32632, 3035, 3857])
def test_an_area_is_the_same_in_every_format_and_crs(tmp_path: Path, name: str, to: int | None) -> None:
    if name == "town.geojson" and to is not None:
        pytest.skip("GeoJSON is in degrees")
    outline = outline_of_file(write_area(tmp_path / name, TOWN, to=to))

    assert outline.name == "town"
    # Its edges are straight in its own CRS: along a parallel they leave that of another by metres.
    assert outline.km2 == pytest.approx(outline_of_box("9.0,45.0,9.1,45.1").km2, rel=1e-4)


def test_holes_and_several_polygons_count_as_they_are_drawn(tmp_path: Path) -> None:
    ring = shapely.Polygon(TOWN.exterior, [shapely.box(9.04, 45.04, 9.06, 45.06).exterior])
    beside = shapely.box(9.2, 45.0, 9.3, 45.1)

    outline = outline_of_file(write_area(tmp_path / "a.geojson", ring, beside, TOWN.intersection(beside), None))

    assert outline.shape.area == pytest.approx(0.01 - 0.0004 + 0.01)
    assert not outline.shape.covers(shapely.Point(9.05, 45.05))


def test_an_area_over_the_date_line_lies_on_one_turn_of_the_earth(tmp_path: Path) -> None:
    # As RFC 7946 wants it: cut in two at the date line.
    cut = shapely.MultiPolygon([shapely.box(179.9, -17, 180, -16.8), shapely.box(-180, -17, -179.9, -16.8)])
    around = shapely.Polygon([(179.9, -17), (-179.9, -17), (-179.9, -16.8), (179.9, -16.8)])

    halves, whole = (outline_of_file(write_area(tmp_path / f"{n}.geojson", s)) for n, s in enumerate((cut, around)))

    for outline in (halves, whole):
        west, _, east, _ = outline.shape.bounds
        assert east - west == pytest.approx(0.2)
    assert halves.km2 == pytest.approx(outline_of_box("9.9,-17,10.1,-16.8").km2, rel=1e-6)
    assert halves.shape.geom_type == "Polygon"


def test_a_polygon_that_crosses_itself_is_mended_and_that_is_said(tmp_path: Path) -> None:
    bow = shapely.Polygon([(9, 45), (9.1, 45.1), (9.1, 45), (9, 45.1)])

    outline = outline_of_file(write_area(tmp_path / "bow.geojson", bow))

    assert outline.shape.area == pytest.approx(0.005)  # two triangles
    assert outline.notes == (f"{tmp_path / 'bow.geojson'}: 1 polygon that crossed itself was mended",)


def test_collections_and_heights_are_flattened(tmp_path: Path) -> None:
    path = tmp_path / "mixed.geojson"
    square = [[9, 45, 5], [9.1, 45, 5], [9.1, 45.1, 5], [9, 45.1, 5], [9, 45, 5]]
    parts = [{"type": "Polygon", "coordinates": [square]}, {"type": "Point", "coordinates": [9, 45]}]
    path.write_text(json.dumps({"type": "GeometryCollection", "geometries": parts}))

    outline = outline_of_file(path)

    assert outline.shape.area == pytest.approx(0.01)
    assert not outline.shape.has_z


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"is empty \(0 bytes\)"),
        ("no json", "cannot be read as a file of polygons"),
        ('{"type": "FeatureCollection", "features": []}', "holds no"),
        ('{"type": "Point", "coordinates": [9, 45]}', "only Point; an area is made of polygons"),
        ('{"type": "LineString", "coordinates": [[9, 45], [10, 46]]}', "polygons"),
        ('{"type": "Feature", "properties": {}, "geometry": null}', "no geometry"),
        ('{"type": "Polygon", "coordinates": [[[9, 45], [9, 45], [9, 45], [9, 45]]]}', "encloses no area"),
        ('{"type": "Polygon", "coordinates": [[[5e5, 5e6], [6e5, 5e6], [6e5, 6e6], [5e5, 5e6]]]}', "outside the area"),
        ('{"type": "Polygon", "coordinates": [[[9, 85], [9.1, 85], [9.1, 86], [9, 85]]]}', "beyond 80 S or 84 N"),
    ],
)
def test_a_file_without_an_area_is_refused_in_one_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "area.geojson"
    path.write_text(content)

    with pytest.raises(DataError, match=said) as refused:
        outline_of_file(path)
    assert "\n" not in str(refused.value)
    assert "area.geojson" in str(refused.value)


def test_files_that_do_not_say_where_or_what_they_are_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.geojson: no such file"):
        outline_of_file(tmp_path / "nowhere.geojson")
    with pytest.raises(DataError, match="has no CRS"):
        outline_of_file(write_area(tmp_path / "lost.shp", TOWN, crs=None))
    with pytest.raises(DataError, match="look like degrees"):
        outline_of_file(write_area(tmp_path / "wrong.gpkg", TOWN, crs=32632))
    two = write_area(tmp_path / "two.gpkg", TOWN)
    geopandas.GeoDataFrame(geometry=[TOWN], crs=4326).to_file(two, layer="other")
    with pytest.raises(UsageError, match="2 layers"):
        outline_of_file(two)
    assert outline_of_file(two, "other").km2 > 80


def test_an_area_larger_than_allowed_is_refused_with_the_option_that_allows_it() -> None:
    outline = outline_of_box("9,45,11,47")

    with pytest.raises(UsageError, match=r"has 34,\d{3} km2, more than --max-km2 10,000;.*--max-km2 35000") as refused:
        check_size(outline, 10_000)
    assert "--dry-run" in str(refused.value)
    check_size(outline, 35_000)


def test_the_hash_follows_the_corners() -> None:
    one, same, other = (outline_of_box(text).hash for text in ("9,45,9.1,45.1", "9.0,45.00,9.1,45.1", "9,45,9.1,45.2"))

    assert one == same != other


# --- another raster ---------------------------------------------------------------------------------------------------


def raster(path: Path, *, crs: str | None = "EPSG:32632", size: float = 10.0, turn: float = 0.0) -> Path:
    affine = Affine(size, turn, 500_005.0, -turn, -size, 5_000_003.0)
    return write_raster(path, np.ones((1, 20, 30), np.uint8), affine, crs=crs)


def test_the_grid_of_another_raster_is_kept_to_the_last_digit(tmp_path: Path) -> None:
    outline = outline_of_raster(raster(tmp_path / "like.tif"))

    assert outline.grid is not None
    assert (outline.grid.crs, outline.grid.shape) == ("EPSG:32632", (20, 30))
    assert outline.grid.transform == (10.0, 0.0, 500_005.0, 0.0, -10.0, 5_000_003.0)
    assert outline.km2 == pytest.approx(0.06, rel=1e-3)  # 300 m x 200 m, 0.04 % larger on the ground


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"crs": None}, "has no CRS"),
        ({"crs": "EPSG:3857"}, r"maps are made in UTM on WGS 84: warp it with 'gdalwarp -t_srs EPSG:326"),
        ({"crs": "EPSG:25832"}, "is in ETRS89 / UTM zone 32N; .*EPSG:32632 -tr 10 10"),
        ({"size": 30.0}, "has pixels that are 30 x 30 m; maps have 10 x 10 m"),
        ({"turn": 1.0}, "turned"),
    ],
)
def test_a_raster_on_which_no_map_is_made_is_refused_with_the_remedy(tmp_path: Path, settings: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        outline_of_raster(raster(tmp_path / "like.tif", **settings))


def test_what_is_no_raster_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("text")

    with pytest.raises(DataError, match="cannot be read as a raster"):
        outline_of_raster(tmp_path / "text.tif")
    with pytest.raises(UsageError, match="no such file"):
        outline_of_raster(tmp_path / "nothing.tif")
