"""Own labels in and out of a data root: what is marked, what is named, what stays the same."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyproj
import pytest
import shapely
from dwplus.pipeline.dataset.class_file import read_class_table
from dwplus.pipeline.dataset.ledger import REASONS
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import DataError, UsageError
from dwplus.pipeline.files import atomic
from dwplus.pipeline.own.add import Added, add_labels, remove_labels
from dwplus.pipeline.own.chip_table import read_chip_table
from dwplus.pipeline.own.inputs_of import Asked
from dwplus.pipeline.spec.tiles import parse_own_tile_id
from support.own_labels import codes_of, crops, fields, files_of, scattered, square, write_codes


def add(folder: Path, *paths: Path, block_km: float | None = None, **options: Any) -> Added:
    """Add files to the data root ``mine`` of a folder; polygons by the column ``landuse``, dated 2022."""
    chosen: dict[str, Any] = {"classes": crops(folder), "column": "landuse", "year": 2022, **options}
    return add_labels(DataRoot.at(folder / "mine"), paths, Asked(**chosen), block_km=block_km)


def written(frame: geopandas.GeoDataFrame, path: Path, **options: Any) -> Path:
    frame.to_file(path, **options)
    return path


def marked(folder: Path) -> int:
    """Pixels with a class of the table of crops."""
    return sum(int(np.isin(codes, (1, 2, 3)).sum()) for codes in codes_of(folder / "mine").values())


# What is marked -------------------------------------------------------------------------------------------------------


def test_squares_become_their_pixels_in_tiles_of_the_shared_grid(tmp_path: Path) -> None:
    # Given twelve squares of 1 km, each 1 km from the left and lower edge of its tile of 5.1 km.
    added = add(tmp_path, written(scattered(), tmp_path / "fields.gpkg"))

    found = codes_of(tmp_path / "mine")
    first = found["fields-32633-408000-5513100-20220101"]
    assert len(found) == 12
    assert first.shape == (510, 510)
    expected = np.zeros((510, 510), dtype=np.uint8)
    expected[310:410, 100:200] = 1
    np.testing.assert_array_equal(first, expected)
    row = next(row for row in added.manifest.rows if row.tile.id == "fields-32633-408000-5513100-20220101")
    assert (row.release, row.labeler, row.period, row.tile.biome) == ("own", "own", "2022-01-01/2022-12-31", 0)
    assert row.split_strict == row.split_paper
    assert row.added == added.inputs[0].key
    assert parse_own_tile_id(row.tile.id).x == 408_000
    assert added.inputs[0].features == {"wheat": 4, "maize": 4, "forest": 4}
    assert added.inputs[0].area_m2 == pytest.approx(12e6)


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> geopandas.GeoDataFrame:
    """A thousand polygons of 5 to 11 corners and 0.3 to 20 ha, in EPSG:32633; none overlaps another."""
    rng = np.random.default_rng(1)
    shapes = []
    for n in range(1000):
        corners = int(rng.integers(5, 12))
        angles, radius = (
            np.sort(rng.uniform(0, 2 * np.pi, corners)),
            rng.uniform(60, 280) * rng.uniform(0.7, 1, corners),
        )
        x, y = 420_000 + 900 * (n % 40) + rng.uniform(0, 300), 5_500_000 + 900 * (n // 40) + rng.uniform(0, 300)
        ring = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
        shapes.append(shapely.Polygon(ring).convex_hull)
    assert shapely.coverage_is_valid(shapes)
    return fields(shapes, rng.choice(["wheat", "maize", "forest"], 1000))


def test_the_area_of_a_thousand_polygons_is_that_of_their_pixels(
    tmp_path: Path, thousand: geopandas.GeoDataFrame
) -> None:
    add(tmp_path, written(thousand, tmp_path / "fields.gpkg"), block_km=5)

    assert marked(tmp_path) * 100 == pytest.approx(thousand.area.sum(), rel=0.001)


@pytest.mark.parametrize("crs", [3035, 4326, 2154])
def test_any_crs_gives_the_same_tiles_to_a_pixel(tmp_path: Path, thousand: geopandas.GeoDataFrame, crs: int) -> None:
    few = thousand.iloc[:200]
    for code in (32633, crs):
        (tmp_path / str(code)).mkdir()
        add(tmp_path / str(code), written(few.to_crs(code), tmp_path / str(code) / "fields.gpkg"), block_km=2.5)

    expected, found = (codes_of(tmp_path / str(code) / "mine") for code in (32633, crs))
    assert found.keys() == expected.keys()
    for tile in expected:
        np.testing.assert_array_equal(found[tile], expected[tile])


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.parquet", "a.fgb"])
def test_every_format_gives_the_same_tiles(tmp_path: Path, name: str) -> None:
    frame = scattered(6).to_crs(4326)
    (frame.to_parquet if name.endswith("parquet") else frame.to_file)(tmp_path / name)

    add(tmp_path, tmp_path / name)

    assert marked(tmp_path) == pytest.approx(6 * 10_000, abs=6)
    assert len(codes_of(tmp_path / "mine")) == 6


def geodesic_m2(shape: shapely.Geometry) -> float:
    return abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(shape)[0])


def three(shape: shapely.Geometry) -> geopandas.GeoDataFrame:
    """A shape in degrees between two small ones 0.3 and 0.6 degrees north of it, so that there are three places."""
    lon, lat = shape.centroid.x, shape.centroid.y
    others = [shapely.box(lon - 0.003, lat + up, lon + 0.003, lat + up + 0.004) for up in (0.3, 0.6)]
    return fields([shape, *others], ["maize", "wheat", "wheat"], 4326)


@pytest.mark.parametrize(
    ("box", "epsg"),
    [
        ((11.96, 48.0, 12.05, 48.03), {"32632", "32633"}),
        ((20.0, -33.04, 20.05, -33.0), {"32734"}),
        ((20.0, -0.02, 20.05, 0.03), {"32634", "32734"}),
        ((179.97, -17.03, 180.03, -17.0), {"32760", "32701"}),
    ],
    ids=["two zones", "south of the equator", "over the equator", "over the date line"],
)
def test_polygons_over_edges_of_the_grid_are_marked_once(
    tmp_path: Path, box: tuple[float, float, float, float], epsg: set[str]
) -> None:
    shape = shapely.segmentize(shapely.box(*box), 0.002)

    added = add(tmp_path, written(three(shape), tmp_path / "fields.geojson"))

    maize = {tile: int((codes == 2).sum()) for tile, codes in codes_of(tmp_path / "mine").items()}
    assert {tile.split("-")[1] for tile, number in maize.items() if number} == epsg
    # Areas of UTM are up to 0.2 % off the ground, and an edge of a zone may fall into a pixel of each side.
    assert sum(maize.values()) * 100 == pytest.approx(geodesic_m2(shape), rel=0.003)
    assert added.inputs[0].area_m2 == pytest.approx(geodesic_m2(three(shape).union_all()), rel=0.003)


def test_a_ring_that_jumps_from_180_to_minus_180_crosses_the_date_line(tmp_path: Path) -> None:
    # Given the same box written with longitudes from -180 to 180, as GDAL and PostGIS write it.
    beyond = shapely.box(179.97, -17.03, 180.03, -17.0)
    jumping = shapely.transform(
        beyond, lambda c: np.stack([np.where(c[:, 0] > 180, c[:, 0] - 360, c[:, 0]), c[:, 1]], 1)
    )
    assert jumping.bounds[2] - jumping.bounds[0] > 359
    for name, shape in (("beyond", beyond), ("jumping", jumping)):
        (tmp_path / name).mkdir()
        frame = three(beyond)
        frame.geometry = [shape, *frame.geometry[1:]]
        add(tmp_path / name, written(frame, tmp_path / name / "fields.geojson"))

    one, other = (codes_of(tmp_path / name / "mine") for name in ("beyond", "jumping"))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[tile], other[tile]) for tile in one)


def test_an_edge_of_many_kilometres_is_straight_in_the_crs_of_the_file(tmp_path: Path) -> None:
    # Given a box of 0.7 degrees along a parallel, which in UTM is bent by 70 m.
    shape = shapely.box(14.0, 50.0, 14.7, 50.01)

    add(tmp_path, written(three(shape), tmp_path / "fields.geojson"))

    maize = sum(int((codes == 2).sum()) for codes in codes_of(tmp_path / "mine").values())
    assert maize * 100 == pytest.approx(geodesic_m2(shapely.segmentize(shape, 0.001)), rel=0.003)


def test_touch_all_marks_every_pixel_that_is_touched(tmp_path: Path) -> None:
    # Given a square of 20 m whose corners lie 1 m beside those of pixels: 2 x 2 centres, 3 x 3 pixels.
    frame = scattered(3)
    frame.geometry = [square(shape.bounds[0] + 1, shape.bounds[1] + 1, 20) for shape in frame.geometry]
    path = written(frame, tmp_path / "fields.gpkg")

    add(tmp_path, path)
    (tmp_path / "all").mkdir()
    add(tmp_path / "all", path, touch="all")

    assert (marked(tmp_path), marked(tmp_path / "all")) == (3 * 4, 3 * 9)


def test_points_become_marks_of_one_pixel_in_small_tiles(tmp_path: Path) -> None:
    frame = scattered(6)
    frame.geometry = [shapely.Point(shape.bounds[0] + 14.9, shape.bounds[1] + 25.1) for shape in frame.geometry]

    add(tmp_path, written(frame, tmp_path / "points.gpkg"))

    found = codes_of(tmp_path / "mine")
    assert {codes.shape for codes in found.values()} == {(128, 128)}
    assert [int((codes > 0).sum()) for codes in found.values()] == [1] * 6
    for tile, codes in found.items():
        at = parse_own_tile_id(tile)
        row, column = np.argwhere(codes > 0)[0]
        x, y = at.x + 10 * column, at.y - 10 * row
        # The pixel that holds the point.
        assert any(x <= p.x < x + 10 and y - 10 <= p.y < y for p in frame.geometry)


def test_a_point_on_the_corner_of_four_tiles_marks_one_pixel(tmp_path: Path) -> None:
    frame = scattered(3)
    corner = shapely.Point(320 * 1280.0, 4300 * 1280.0)
    frame.geometry = [corner, *(shape.centroid for shape in frame.geometry[1:])]

    add(tmp_path, written(frame, tmp_path / "points.gpkg"))

    assert marked(tmp_path) == 3


# What is named --------------------------------------------------------------------------------------------------------


def notes(added: Added) -> dict[str, tuple[int, list[str]]]:
    (one,) = added.inputs
    return {note.reason: (note.count, note.names) for note in (*one.left_out, *one.changed)}


def test_pixels_that_two_classes_mark_are_ignored_and_the_features_named(tmp_path: Path) -> None:
    # Given a maize field over 20 x 100 pixels of the wheat field of feature 1, and one wheat field over another.
    frame = scattered(6)
    x, y, *_ = frame.geometry[0].bounds
    more = fields([square(x + 800, y, 1000), square(x - 500, y, 1000)], ["maize", "wheat"])
    frame = geopandas.GeoDataFrame(
        {"landuse": [*frame.landuse, *more.landuse]}, geometry=[*frame.geometry, *more.geometry], crs=32633
    )

    added = add(tmp_path, written(frame, tmp_path / "fields.gpkg"))

    codes = codes_of(tmp_path / "mine")["fields-32633-408000-5513100-20220101"]
    assert np.bincount(codes.ravel(), minlength=5)[1:].tolist() == [13_000, 8_000, 0, 2_000]
    reason = "pixels that features of two classes mark are ignored"
    assert notes(added)[reason] == (2000, ["features 1 (wheat) and 7 (maize), 2000 px"])


def test_polygons_that_cross_themselves_are_mended_and_named(tmp_path: Path) -> None:
    # Given a bow tie of two triangles of 500 m x 1 km / 2 each.
    frame = scattered(6)
    x, y, *_ = frame.geometry[3].bounds
    frame.loc[3, "geometry"] = shapely.Polygon([(x, y), (x + 1000, y + 1000), (x + 1000, y), (x, y + 1000)])

    added = add(tmp_path, written(frame, tmp_path / "fields.gpkg"))

    assert notes(added) == {"polygons that cross themselves were mended": (1, ["4"])}
    assert added.inputs[0].area_m2 == pytest.approx(5.5e6)


def test_what_is_left_out_has_its_reason_and_is_kept(tmp_path: Path) -> None:
    x, y = 408_000, 5_508_000
    shapes = [
        *scattered(6).geometry,
        None,
        square(x, y, 3),
        square(x + 9, y + 9),
        square(x + 2e3, y + 2e3),
        square(x, y, 500),
    ]
    landuse = [*scattered(6).landuse, "wheat", "wheat", None, "0", "wheat"]
    seen = ["2022-06-01"] * 10 + ["spring"]

    added = add(
        tmp_path,
        written(fields(shapes, landuse, seen=seen), tmp_path / "fields.gpkg"),
        year=None,
        date_column="seen",
    )

    found = notes(added)
    assert {reason: count for reason, (count, _) in found.items()} == {
        "features without a geometry that can be read": 1,
        "polygons that hold no pixel centre": 1,
        "features without a class (column 'landuse' is empty)": 1,
        "features that the class table calls unlabelled": 1,
        "features whose date cannot be used": 1,
    }
    assert found["polygons that hold no pixel centre"][1] == ["8"]
    assert DataRoot.at(tmp_path / "mine").inputs().labels == list(added.inputs)


def test_tiles_with_too_few_marked_pixels_are_left_out(tmp_path: Path) -> None:
    frame = scattered(7)
    x, y, *_ = frame.geometry[0].bounds
    frame.loc[0, "geometry"] = square(x, y, 50)

    added = add(tmp_path, written(frame, tmp_path / "fields.gpkg"), min_marked=26)

    assert len(codes_of(tmp_path / "mine")) == 6
    assert notes(added) == {"tiles with fewer than 26 marked pixels": (1, ["32633-408000-5513100"])}


# Dates, splits, tables ------------------------------------------------------------------------------------------------


def test_a_date_column_gives_a_tile_per_day(tmp_path: Path) -> None:
    frame = scattered(6)
    x, y, *_ = frame.geometry[0].bounds
    shapes = [*frame.geometry, square(x + 1500, y)]
    frame = fields(shapes, [*frame.landuse, "maize"], seen=["2022-06-15"] * 6 + ["2021"])

    added = add(tmp_path, written(frame, tmp_path / "f.gpkg"), year=None, date_column="seen")

    periods = {row.tile.id: (row.tile.date.isoformat(), row.period) for row in added.manifest.rows}
    assert periods["f-32633-408000-5513100-20220615"] == ("2022-06-15", "")
    assert periods["f-32633-408000-5513100-20210101"] == ("2021-01-01", "2021-01-01/2021-12-31")
    splits = {row.split_strict for row in added.manifest.rows if "-408000-5513100-" in row.tile.id}
    assert len(splits) == 1  # one place, one split


def test_a_split_column_is_obeyed(tmp_path: Path) -> None:
    frame = scattered(6)
    frame["part"] = ["train", "Training", "val", "validation", "test", "test"]

    added = add(tmp_path, written(frame, tmp_path / "f.gpkg"), split_column="part")

    assert [row.split_strict for row in sorted(added.manifest.rows, key=lambda r: r.split_given)].count("train") == 2
    assert all(row.split_strict == row.split_given for row in added.manifest.rows)
    assert {row.tile.id.split("-")[0] for row in added.manifest.rows} == {"f_train", "f_val", "f_test"}


def test_named_splits_that_share_ground_are_refused_and_nothing_is_added(tmp_path: Path) -> None:
    # Given two fields of one tile of 5.1 km, one to train on and one to test on, among six places.
    frame = scattered(6)
    x, y, *_ = frame.geometry[0].bounds
    shapes = [*frame.geometry, square(x + 1500, y)]
    frame = fields(shapes, [*frame.landuse, "maize"], part=["train", "train", "val", "val", "test", "test", "test"])
    path = written(frame, tmp_path / "f.gpkg")

    with pytest.raises(DataError) as caught:
        add(tmp_path, path, split_column="part")

    first, second = "f_test-32633-408000-5513100-20220101", "f_train-32633-408000-5513100-20220101"
    assert str(caught.value).startswith(f"tiles {first} (test) and {second} (train) share 100% of their ground: ")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "mine" / "manifest.csv").exists()
    assert codes_of(tmp_path / "mine") == {}
    # Tiles of 320 m hold one field each.
    assert add(tmp_path, path, split_column="part", tile_px=32).refused == {}


def test_a_named_split_shares_no_ground_with_places_that_were_drawn_for_another(tmp_path: Path) -> None:
    add(tmp_path, written(scattered(6), tmp_path / "a.gpkg"))
    rows = DataRoot.at(tmp_path / "mine").manifest().rows
    tested = next(row.tile for row in rows if row.split_strict == "test")
    frame = fields([square(tested.bounds[0] + 3000, tested.bounds[1] + 3000)], ["wheat"])
    path = written(frame, tmp_path / "b.gpkg")

    with pytest.raises(
        DataError, match=rf"tiles b_train-\S+ \(train\) and {tested.id} \(test\) share 100% of their ground"
    ):
        add(tmp_path, path, split="train")
    assert DataRoot.at(tmp_path / "mine").manifest().rows == rows
    add(tmp_path, path, split="test")

    assert len(DataRoot.at(tmp_path / "mine").manifest().rows) == 7


def chips(folder: Path, number: int = 4) -> list[Path]:
    """Rasters of 60 x 60 px, 51 km from one another, each in a folder of its own."""
    paths = []
    for n in range(number):
        codes = np.full((60, 60), [1, 2, 7][n % 3], dtype=np.uint8)
        paths.append(write_codes(folder / f"chip_{n}_2019060{n + 1}" / "label.tif", codes, x=500_000.0 + 51_000 * n))
    return paths


def test_days_stand_in_names_of_folders(tmp_path: Path) -> None:
    chips(tmp_path / "chips")

    added = add(tmp_path, tmp_path / "chips", year=None, date_from_name=True)

    assert [row.tile.id for row in added.manifest.rows] == [
        f"label-32633-{500_000 + 51_000 * n}-5500000-2019060{n + 1}" for n in range(4)
    ]
    assert {one.file for one in added.inputs} == {f"chip_{n}_2019060{n + 1}/label.tif" for n in range(4)}


def test_a_table_maps_files_and_folders(tmp_path: Path) -> None:
    paths = chips(tmp_path / "chips", 3)
    lines = ["chip,date,split,annotator,offset_1000", "chip_0_20190601,2020-05-01,train,AB,False"]
    lines += ["chip_1_20190602/label.tif,20200502,val,CD,False", "chip_2_20190603,2020,test,,True"]
    (tmp_path / "chips.csv").write_text("\n".join(lines))

    added = add(tmp_path, *paths, year=None, table=read_chip_table(tmp_path / "chips.csv"))

    found = [(str(row.tile.date), row.period[:4], row.split_strict, row.annotator) for row in added.manifest.rows]
    assert found == [
        ("2020-05-01", "", "train", "AB"),
        ("2020-05-02", "", "val", "CD"),
        ("2020-01-01", "2020", "test", ""),
    ]


def test_folders_called_train_val_and_test_name_the_split(tmp_path: Path) -> None:
    for n, split in enumerate(("train", "val", "test")):
        write_codes(tmp_path / "set" / split / f"a{n}.tif", np.full((60, 60), 1, np.uint8), x=500_000.0 + 51_000 * n)

    added = add(tmp_path, tmp_path / "set", split_from_folder=True)

    assert {row.tile.id[:2]: row.split_strict for row in added.manifest.rows} == {
        "a0": "train",
        "a1": "val",
        "a2": "test",
    }


# What stays the same --------------------------------------------------------------------------------------------------


def test_the_same_input_again_changes_nothing(tmp_path: Path) -> None:
    path = written(scattered(6), tmp_path / "fields.gpkg")
    add(tmp_path, path)
    before = files_of(tmp_path / "mine")

    again = add(tmp_path, path)

    assert (again.inputs, again.known, again.splits) == ((), (f"{tmp_path.name}/fields.gpkg",), None)
    assert files_of(tmp_path / "mine") == before


def test_the_order_of_adding_does_not_matter_and_removing_undoes_it(tmp_path: Path) -> None:
    one = written(scattered(6), tmp_path / "one.gpkg")
    two = written(scattered(12).iloc[6:], tmp_path / "two.gpkg")
    roots = [tmp_path / name for name in ("ab", "ba", "both")]
    for root, order in zip(roots, ([one, two], [two, one], []), strict=True):
        root.mkdir()
        for path in order:
            add(root, path)
    add(roots[2], one, two)
    only_one = tmp_path / "only"
    only_one.mkdir()
    add(only_one, one)

    first, second, third = (files_of(root / "mine") for root in roots)
    assert first == second == third
    removed = remove_labels(DataRoot.at(roots[0] / "mine"), [str(two)])
    assert [one.file for one in removed.inputs] == [f"{tmp_path.name}/two.gpkg"]
    assert files_of(roots[0] / "mine") == files_of(only_one / "mine")
    remove_labels(DataRoot.at(roots[0] / "mine"), ["one.gpkg"])
    assert files_of(roots[0] / "mine") == {}


def test_removing_what_leaves_too_few_places_keeps_the_rest_out_of_training(tmp_path: Path) -> None:
    one = written(scattered(2), tmp_path / "one.gpkg")
    two = written(scattered(4).iloc[2:], tmp_path / "two.gpkg")
    add(tmp_path, one, two)

    removed = remove_labels(DataRoot.at(tmp_path / "mine"), ["two.gpkg"])

    assert removed.splits is None
    assert [row.split_strict for row in removed.manifest.rows] == ["inspect", "inspect"]
    with pytest.raises(UsageError, match=r"no labels of 'three.gpkg'; it has .*one.gpkg"):
        remove_labels(DataRoot.at(tmp_path / "mine"), ["three.gpkg"])


def test_inputs_are_removed_by_path_folder_or_key_and_never_by_a_name_of_several(tmp_path: Path) -> None:
    chips(tmp_path / "chips", 6)
    root = DataRoot.at(tmp_path / "mine")
    added = add(tmp_path, tmp_path / "chips", year=None, date_from_name=True)

    with pytest.raises(UsageError, match=r"6 inputs are called 'label.tif' \(.*; name one with its folder"):
        remove_labels(root, ["label.tif"])
    by_path = remove_labels(root, [str(tmp_path / "chips/chip_2_20190603/label.tif")])
    by_key = remove_labels(root, [next(one.key for one in added.inputs if "chip_4" in one.file)])

    assert [one.file for one in (*by_path.inputs, *by_key.inputs)] == [
        "chip_2_20190603/label.tif",
        "chip_4_20190605/label.tif",
    ]
    assert len(remove_labels(root, [str(tmp_path / "chips")]).inputs) == 4


class Killed(BaseException):
    """As SIGKILL: nothing catches it."""


@pytest.mark.parametrize("moment", range(10))
def test_killed_and_run_again_it_leaves_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    path = written(scattered(6), tmp_path / "fields.gpkg")
    (tmp_path / "whole").mkdir()
    add(tmp_path / "whole", path)
    replace_file, calls = Path.replace, []

    def replace(part: Path, target: Path) -> Path:
        calls.append(target)
        # Fourteen files are written: 12 labels, manifest, record of inputs; the last two moments are theirs.
        if len(calls) > {8: 12, 9: 13}.get(moment, moment):
            raise Killed
        return replace_file(part, target)

    monkeypatch.setattr(atomic.Path, "replace", replace)
    with pytest.raises(Killed):
        add(tmp_path, path)
    monkeypatch.undo()
    assert files_of(tmp_path / "mine") != files_of(tmp_path / "whole" / "mine")

    add(tmp_path, path)

    assert files_of(tmp_path / "mine") == files_of(tmp_path / "whole" / "mine")


# What is refused ------------------------------------------------------------------------------------------------------


def test_training_tiles_beside_another_split_are_not_requested(tmp_path: Path) -> None:
    shapes = [square(408_000 + 5100 * (n % 8) + 1000, 5_508_000 + 5100 * (n // 8) + 1000) for n in range(64)]

    added = add(tmp_path, written(fields(shapes, ["wheat"] * 64), tmp_path / "fields.gpkg"))

    assert added.splits is not None
    left_out = {row.tile.id for row in added.manifest.rows if row.discard}
    assert left_out == added.splits.beside != frozenset()
    assert {row.discard for row in added.manifest.rows} == {"", "split_border"} <= {"", *REASONS}
    assert left_out.isdisjoint(row.tile.id for row in added.manifest.of_split("train", "strict"))


def test_two_labels_of_one_place_are_refused(tmp_path: Path) -> None:
    add(tmp_path, written(scattered(6), tmp_path / "one.gpkg"))
    before = files_of(tmp_path / "mine")
    other = scattered(3)
    other.landuse = ["maize", "maize", "forest"]

    with pytest.raises(
        DataError, match=r"two.gpkg and one-32633-.* are two labels of one place: 10,000 pixels of tile"
    ):
        add(tmp_path, written(other, tmp_path / "two.gpkg"))
    assert files_of(tmp_path / "mine") == before
    # In another year the field may have been another one.
    assert len(add(tmp_path, tmp_path / "two.gpkg", year=2021).inputs) == 1


def test_a_root_has_one_class_table(tmp_path: Path) -> None:
    path = written(scattered(6), tmp_path / "one.gpkg")
    add(tmp_path, path)

    with pytest.raises(UsageError, match=r"has other classes than --classes .*3 classes against 9"):
        add(tmp_path, path, classes=read_class_table("dynamic-world"))


def test_files_that_cannot_be_used_are_named_and_the_others_added(tmp_path: Path) -> None:
    good = written(scattered(6), tmp_path / "good.gpkg")
    (tmp_path / "bad.gpkg").write_bytes(b"")

    added = add(tmp_path, good, tmp_path / "bad.gpkg")

    assert len(added.inputs) == 1
    assert list(added.refused) == [str(tmp_path / "bad.gpkg")]
    kept = DataRoot.at(tmp_path / "mine").inputs().refused
    assert kept == {f"{tmp_path.name}/bad.gpkg": f"{tmp_path.name}/bad.gpkg is empty (0 bytes); export it again"}


def test_too_few_places_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lie in 2 blocks"):
        add(tmp_path, written(scattered(2), tmp_path / "fields.gpkg"))

    assert files_of(tmp_path / "mine") == {}
