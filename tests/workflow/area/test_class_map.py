"""A map is counted by rows, whatever its size; strata are its classes, and a buffer around rare ones."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from dwplus.workflow.area import class_map
from dwplus.workflow.area.class_map import NONE, Stratification, near, open_map, rare_codes, rows_of, take_census
from support.class_maps import town, write_map


def test_pixels_and_hectares_sum_to_the_raster(tmp_path: Path) -> None:
    of = open_map(write_map(tmp_path / "town.tif", town()))

    census = take_census(of, None)

    assert {code: pixels for code, (pixels, _) in census.classes.items()} == {1: 3_800, 2: 7_000, 3: 1_000}
    assert census.unmapped[0] == 200
    # On the central meridian of UTM, a square of 10 m is 0.01 / 0.9996^2 ha on the ellipsoid.
    assert census.classes[2][1] == pytest.approx(70 / 0.9996**2, rel=1e-6)
    assert (of.name_of(3), of.name_of(77), of.source) == ("built", "77", "SANDBOX")


def test_a_map_of_a_network_of_the_sandbox_says_so(tmp_path: Path) -> None:
    tags = {
        "CLASSES": "1=water 2=trees",
        "TRAINED_ON": "SANDBOX",
        "SANDBOX": "the network was trained on synthetic pixels",
    }

    of = open_map(write_map(tmp_path / "town.tif", town(), tags=tags))

    assert (of.source, of.name_of(2), of.name_of(3)) == ("SANDBOX", "trees", "3")


def test_codes_that_a_class_table_calls_unmarked_or_ignored_are_not_mapped(tmp_path: Path) -> None:
    """Given a label raster, whose code 0 is unmarked and 10 is cloud, and which declares no nodata."""
    codes = np.array([[0, 1, 2], [10, 1, 2]], dtype=np.uint8)
    tagged = {"CLASSES": " ".join(f"{code}={name}" for code, name in enumerate(DYNAMIC_WORLD.code_names))}
    by_tag = open_map(write_map(tmp_path / "tag.tif", codes, nodata=None, tags=tagged))
    by_table = open_map(write_map(tmp_path / "none.tif", codes, nodata=None, tags={}), DYNAMIC_WORLD)
    plain = open_map(write_map(tmp_path / "plain.tif", codes, nodata=None, tags={}))

    for of in (by_tag, by_table):
        census = take_census(of, None)
        assert (sorted(census.classes), census.unmapped[0]) == ([1, 2], 2)
    assert sorted(take_census(plain, None).classes) == [0, 1, 2, 10]


def test_rows_do_not_depend_on_how_many_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).integers(1, 4, (61, 40)).astype(np.uint8)
    of = open_map(write_map(tmp_path / "town.tif", codes))
    by = Stratification((1, 2, 3), rare=(3,), buffer_px=2)
    whole = np.concatenate([rows.strata for rows in rows_of(of, by)])

    monkeypatch.setattr(class_map, "_MOST_ROWS", 7)

    assert (np.concatenate([rows.strata for rows in rows_of(of, by)]) == whole).all()
    assert len(list(rows_of(of, by))) == 9


def test_the_buffer_is_what_lies_near_a_rare_class_and_is_not_of_it(tmp_path: Path) -> None:
    codes = np.ones((9, 9), dtype=np.uint8)
    codes[4, 4], codes[3, 3] = 2, 0
    of = open_map(write_map(tmp_path / "town.tif", codes))

    (rows,) = rows_of(of, Stratification((1, 2), rare=(2,), buffer_px=2))

    assert (rows.strata[2:7, 2:7] == 2).sum() == 23  # 5 x 5 without the rare pixel and the one without a class
    assert (rows.strata[4, 4], rows.strata[3, 3], rows.strata[0, 0]) == (1, NONE, 0)


def test_near_is_a_square_cut_at_the_border() -> None:
    chosen = np.zeros((6, 8), dtype=bool)
    chosen[0, 0] = chosen[5, 6] = True
    expected = np.zeros_like(chosen)
    expected[:3, :3] = expected[3:, 4:] = True

    assert (near(chosen, 2) == expected).all()


def test_rare_classes_are_those_below_a_share(tmp_path: Path) -> None:
    census = take_census(open_map(write_map(tmp_path / "town.tif", town())), None)

    assert rare_codes(census, 0.1) == (3,)
    with pytest.raises(UsageError, match=r"no class is below 2% of the mapped area; name the rare ones with --rare"):
        rare_codes(census, 0.02)


def test_a_file_that_is_no_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.tif does not exist"):
        open_map(tmp_path / "none.tif")
    with pytest.raises(DataError, match=r"has 1 band of float32; a map has one band of whole numbers"):
        open_map(write_map(tmp_path / "float.tif", np.ones((4, 4), dtype=np.float32)))
    with pytest.raises(DataError, match="has no CRS, so that its pixels have no area"):
        open_map(write_map(tmp_path / "nowhere.tif", town(), crs=""))
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(DataError, match="cannot be read as a GeoTIFF"):
        open_map(tmp_path / "text.tif")
    below = open_map(write_map(tmp_path / "below.tif", np.full((4, 4), -3, dtype=np.int16)))
    with pytest.raises(DataError, match="holds the code -3; codes of classes are 0 to 65,535"):
        take_census(below, None)


def test_nodata_may_lie_below_all_codes(tmp_path: Path) -> None:
    codes = town().astype(np.int16)
    codes[codes == 0] = -32_768
    of = open_map(write_map(tmp_path / "town.tif", codes, nodata=-32_768))

    assert take_census(of, None).unmapped[0] == 200


def test_degrees_are_counted_on_the_ellipsoid_too(tmp_path: Path) -> None:
    codes = np.ones((2, 3), dtype=np.uint8)
    path = write_map(tmp_path / "map.tif", codes, crs="EPSG:4326", transform=Affine(1, 0, 0, 0, -1, 1))

    # One degree square on either side of the equator: 12,309 km2 (WGS 84).
    assert take_census(open_map(path), None).classes[1][1] / 6 == pytest.approx(1_230_877, abs=50)
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 4326
