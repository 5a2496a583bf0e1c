"""dwplus labels add, remove and report: what they print, what they refuse in a line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from support.fixture_types import Run
from support.own_labels import TABLE, crops, fields, scattered, square, write_codes, write_table
from support.own_tiles import write_raster

ADD = ("--column", "landuse", "--classes", "crops.toml", "--year", "2022", "--data", "mine", "-q")


@pytest.fixture
def run(dwplus_unconfigured: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command of 'dwplus labels' in a folder that holds a class table, on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "200")
    write_table(tmp_path)
    return partial(dwplus_unconfigured, "labels")


def test_labels_are_added_reported_and_removed(run: Run, tmp_path: Path) -> None:
    scattered().to_file(tmp_path / "fields.gpkg")

    code, out, err = run("add", "fields.gpkg", *ADD, "--licence", "CC BY 4.0", "--cite", "Smith et al. 2023")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{tmp_path.name}/fields.gpkg: 12 polygons, 12 tiles, 120,000 marked pixels (12.00 km2; polygons: 12.00 km2)",
        "12 tiles in all: train 6, val 3, test 3",
        "splits are drawn by blocks of 10 km: train 6, val 3, test 3",
        "next: dwplus labels report --data mine, then dwplus build --data mine",
    ]

    code, out, _ = run("report", "--data", "mine")
    assert code == 0
    wheat = next(line.split() for line in out.splitlines() if line.startswith("wheat"))
    assert wheat == ["wheat", "40,000", "4.00", "4", "4", "4", "1", "20,000", "10,000", "10,000", "too", "few"]
    assert "too few (in fewer than 10 blocks): wheat, maize, forest" in out
    assert "not the accuracy of a map" in out
    assert "fields.gpkg: 12 tiles, CC BY 4.0" in out
    page = (tmp_path / "mine/report/labels.html").read_text()
    assert "not the accuracy of a map" in page
    assert "Smith et al. 2023" in page
    assert page.count("too few") == 3

    code, out, _ = run("remove", "fields.gpkg", "--data", "mine")
    assert (code, out.splitlines()) == (
        0,
        [f"{tmp_path.name}/fields.gpkg: 12 tiles removed", "mine holds no labels any more"],
    )
    assert not (tmp_path / "mine/labels").exists()


def test_numbers_come_as_json(run: Run, tmp_path: Path) -> None:
    scattered().to_file(tmp_path / "fields.gpkg")

    added = json.loads(run("add", "fields.gpkg", *ADD, "--json")[1])
    assert added["tiles"] == 12
    assert added["splits"]["tiles"] == {"train": 6, "val": 3, "test": 3}
    assert added["inputs"][0]["features"] == {"wheat": 4, "maize": 4, "forest": 4}

    report = json.loads(run("report", "--data", "mine", "--json")[1])
    maize = report["classes"][1]
    assert {key: maize[key] for key in ("name", "pixels", "features", "tiles", "blocks", "dates", "first", "last")} == {
        "name": "maize",
        "pixels": 40_000,
        "features": 4,
        "tiles": 4,
        "blocks": 4,
        "dates": 1,
        "first": "2022-01-01",
        "last": "2022-12-31",
    }
    assert report["too_few"] == ["wheat", "maize", "forest"]
    assert report["inputs"][0]["key"] == added["inputs"][0]["key"]


def test_a_class_that_is_missing_from_a_split_and_lost_neighbours_are_said(run: Run, tmp_path: Path) -> None:
    # Given wheat everywhere in touching tiles, and maize in one place.
    shapes = [square(408_000 + 5100 * (n % 8) + 1000, 5_508_000 + 5100 * (n // 8) + 1000) for n in range(64)]
    fields(shapes, ["wheat"] * 63 + ["maize"]).to_file(tmp_path / "fields.gpkg")

    out = run("add", "fields.gpkg", *ADD)[1]

    assert "class maize: not in val, test" in out
    assert "class forest: not in train, val, test" in out
    assert "training tiles beside a val or test tile left out" in out


def test_some_files_refused_ends_with_exit_code_3(run: Run, tmp_path: Path) -> None:
    scattered().to_file(tmp_path / "good.gpkg")
    (tmp_path / "bad.tif").write_bytes(b"")

    code, out, _ = run("add", "good.gpkg", "bad.tif", *ADD)

    assert code == 3
    assert "refused: bad.tif is empty" in out


def test_pixels_among_labels_are_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    # Given ten chips, each a folder with a label and a stack of four bands, as archives ship them.
    for n in range(10):
        x = 500_000.0 + 51_000 * n
        write_codes(tmp_path / "chips" / f"c{n}" / "label.tif", np.full((60, 60), [1, 2][n % 2], np.uint8), x=x)
        stack = np.ones((4 + n % 2, 60, 60), np.uint16)
        write_raster(tmp_path / "chips" / f"c{n}" / "S2.tif", stack, Affine(10, 0, x, 0, -10, 5_500_000))

    code, out, _ = run("add", "chips", "--classes", "crops.toml", "--year", "2022", "--data", "mine")

    assert code == 3
    lines = [line for line in out.splitlines() if line.startswith("refused")]
    assert len(lines) == 1
    assert lines[0].startswith("refused: 10 files (c0/S2.tif, c1/S2.tif, c2/S2.tif, ...): the first has 4 bands")
    assert "10 tiles in all" in out


# Bad input ------------------------------------------------------------------------------------------------------------


def polygons(change: Callable[[geopandas.GeoDataFrame], object] = lambda frame: frame) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        frame = scattered()
        change(frame)
        frame.to_file(folder / "fields.gpkg")

    return make


def unknown_class(frame: geopandas.GeoDataFrame) -> None:
    frame.loc[3, "landuse"] = "rice"


def lines(folder: Path) -> None:
    fields([shapely.LineString([(5e5, 5.5e6), (5e5, 5.6e6)])], ["wheat"]).to_file(folder / "fields.gpkg")


def empty_layer(folder: Path) -> None:
    scattered().iloc[:0].to_file(folder / "fields.gpkg", engine="pyogrio")


def no_crs(folder: Path) -> None:
    scattered().set_crs(None, allow_override=True).to_file(folder / "fields.gpkg")


def no_prj(folder: Path) -> None:
    scattered().to_file(folder / "fields.shp")
    (folder / "fields.prj").unlink()
    (folder / "fields.cpg").unlink(missing_ok=True)


def metres_called_degrees(folder: Path) -> None:
    scattered().set_crs(4326, allow_override=True).to_file(folder / "fields.gpkg")


def degrees_called_metres(folder: Path) -> None:
    scattered().to_crs(4326).set_crs(32633, allow_override=True).to_file(folder / "fields.gpkg")


def two_layers(folder: Path) -> None:
    scattered().to_file(folder / "fields.gpkg", layer="a")
    scattered().to_file(folder / "fields.gpkg", layer="b")


def no_file(folder: Path) -> None:
    """Nothing lies there."""


def no_bytes(folder: Path) -> None:
    (folder / "fields.gpkg").write_bytes(b"")


def no_geopackage(folder: Path) -> None:
    (folder / "fields.gpkg").write_bytes(b"SQLite format 3\0" + bytes(5000))


def plain_parquet(folder: Path) -> None:
    scattered().drop(columns="geometry").to_parquet(folder / "fields.parquet")


def torn_parquet(folder: Path) -> None:
    scattered().to_parquet(folder / "fields.parquet")
    content = (folder / "fields.parquet").read_bytes()
    (folder / "fields.parquet").write_bytes(content[: len(content) // 2])


def at_the_pole(folder: Path) -> None:
    fields([shapely.box(n, 86, n + 1, 86.1) for n in range(3)], ["wheat"] * 3, 4326).to_file(folder / "fields.gpkg")


def mixed(folder: Path) -> None:
    fields([square(5e5, 5.5e6), shapely.Point(5e5, 5.5e6)], ["wheat"] * 2).to_file(folder / "fields.geojson")


def all_overlapping(folder: Path) -> None:
    shapes = [square(408_000 + 25_500 * n, 5_508_000) for n in range(3)]
    fields([*shapes, *shapes], ["wheat"] * 3 + ["maize"] * 3).to_file(folder / "fields.gpkg")


def collapsed(folder: Path) -> None:
    flat = shapely.Polygon([(5e5, 5.5e6), (5.1e5, 5.5e6), (5e5, 5.5e6)])
    fields([flat], ["wheat"]).to_file(folder / "fields.gpkg")


def bad_split(frame: geopandas.GeoDataFrame) -> None:
    frame["part"] = ["train"] * 11 + ["holdout"]


def unknown_code(folder: Path) -> None:
    write_codes(folder / "fields.tif", np.full((60, 60), 42, np.uint8))


def all_unlabelled(folder: Path) -> None:
    write_codes(folder / "fields.tif", np.zeros((60, 60), np.uint8))


def picture(folder: Path) -> None:
    (folder / "fields.docx").write_bytes(b"PK")


def spreadsheet_dates(frame: geopandas.GeoDataFrame) -> None:
    frame["seen"] = "15/06/2022"


def old(frame: geopandas.GeoDataFrame) -> None:
    frame["seen"] = "1998"


NO_YEAR = ("--column", "landuse", "--classes", "crops.toml", "--data", "mine", "-q")
BAD: list[tuple[Callable[[Path], object], str, tuple[str, ...], str]] = [
    (no_file, "gpkg", ADD, "fields.gpkg does not exist"),
    (no_bytes, "gpkg", ADD, "fields.gpkg is empty (0 bytes)"),
    (no_geopackage, "gpkg", ADD, "fields.gpkg cannot be read as a file of polygons or points"),
    (empty_layer, "gpkg", ADD, "fields.gpkg holds no features"),
    (lines, "gpkg", ADD, "fields.gpkg is a layer of LineString"),
    (mixed, "geojson", ADD, "holds polygons and points; write them into two files"),
    (no_crs, "gpkg", ADD, "fields.gpkg has no CRS"),
    (no_prj, "shp", ADD, "fields.shp has no CRS"),
    (metres_called_degrees, "gpkg", ADD, "features outside the area of their CRS (WGS 84): 12 (1, 2, 3, ...)"),
    (degrees_called_metres, "gpkg", ADD, "look like degrees (13.7"),
    (at_the_pole, "gpkg", ADD, "features beyond 80 S or 84 N, where there is no UTM: 3 (1, 2, 3)"),
    (two_layers, "gpkg", ADD, "fields.gpkg has 2 layers (a, b); name one with --layer"),
    (polygons(), "gpkg", (*ADD, "--layer", "c"), "fields.gpkg has no layer 'c'; it has fields"),
    (polygons(), "gpkg", ADD[2:], "name the column that holds the classes with --column; it has landuse"),
    (polygons(), "gpkg", (*ADD, "--column", "crop"), "has no column 'crop'; it has landuse"),
    (polygons(unknown_class), "gpkg", ADD, "column 'landuse' holds 'rice' (1 feature), which class table 'crops'"),
    (polygons(), "gpkg", NO_YEAR, "fields.gpkg has no date: give one for all (--date 2022-06-15"),
    (polygons(), "gpkg", (*NO_YEAR, "--date", "June"), "--date is 'June', which is no date; write a day"),
    (polygons(), "gpkg", (*ADD, "--date", "2022-06-15"), "--date and --year both say when"),
    (
        polygons(spreadsheet_dates),
        "gpkg",
        (*NO_YEAR, "--date-column", "seen"),
        "column 'seen' of feature 1 is '15/06/2022'",
    ),
    (polygons(old), "gpkg", (*NO_YEAR, "--date-column", "seen"), "lies before the first Sentinel-2 image"),
    (polygons(), "gpkg", (*NO_YEAR, "--date-from", "name"), "fields.gpkg has no date in its name"),
    (
        polygons(bad_split),
        "gpkg",
        (*ADD, "--split-column", "part"),
        "column 'part' of feature 12 is 'holdout'; a split is",
    ),
    (polygons(), "gpkg", (*ADD, "--split-from", "folder"), "lies in no folder train, val or test"),
    (polygons(), "gpkg", (*ADD, "--table", "none.csv"), "--table none.csv is no file"),
    (polygons(), "gpkg", (*ADD, "--classes", "none.toml"), "none.toml is no file; write a class table"),
    (polygons(), "gpkg", (*ADD[:2], *ADD[4:]), "mine has no class table yet; name one with --classes"),
    (collapsed, "gpkg", ADD, "polygons without area: 1 (1)"),
    (all_overlapping, "gpkg", ADD, "pixels that features of two classes mark are ignored: 30,000 (features 1 (wheat)"),
    (plain_parquet, "parquet", ADD, "is Parquet without geometries"),
    (torn_parquet, "parquet", ADD, "fields.parquet cannot be read"),
    (unknown_code, "tif", ADD, "fields.tif holds the code 42, which class table 'crops' does not have"),
    (all_unlabelled, "tif", ADD, "fields.tif marks no pixel with a class"),
    (picture, "docx", ADD, "fields.docx is no file of labels by its ending"),
]


@pytest.mark.parametrize(("make", "ending", "options", "said"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_bad_input_gets_one_line_that_says_what_and_where(
    run: Run, tmp_path: Path, make: Callable[[Path], object], ending: str, options: tuple[str, ...], said: str
) -> None:
    make(tmp_path)

    code, out, err = run("add", f"fields.{ending}", *options)

    assert said in err
    assert err.startswith("dwplus: ")
    assert len(err.splitlines()) == 1
    assert (code in (1, 2), out) == (True, "")
    # Nothing is left behind.
    assert not (tmp_path / "mine").exists()


def test_without_pyogrio_polygons_name_the_extra_and_rasters_are_added(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scattered().to_file(tmp_path / "fields.gpkg")
    for n in range(3):
        write_codes(tmp_path / "set" / f"a{n}.tif", np.full((60, 60), 1, np.uint8), x=500_000.0 + 51_000 * n)
    monkeypatch.setitem(sys.modules, "pyogrio", None)

    code, _, err = run("add", "fields.gpkg", *ADD)
    assert (code, "pip install 'dwplus[own]'" in err, len(err.splitlines())) == (1, True, 1)
    assert run("add", "set", *ADD)[0] == 0


def test_each_label_says_whose_it_is(run: Run, tmp_path: Path) -> None:
    scattered().to_file(tmp_path / "fields.gpkg")
    run("add", "fields.gpkg", *ADD, "--licence", "CC BY 4.0", "--cite", "Smith et al. 2023", "--annotator", "AB")

    path = next((tmp_path / "mine/labels/own").glob("*.tif"))
    with rasterio.open(path) as file:
        tags, colours = file.tags(), file.colormap(1)

    assert tags["TILE"] == path.stem
    said = {name: tags[name] for name in ("LABELER", "LICENCE", "CITATION", "ANNOTATOR", "PERIOD", "CLASSES")}
    assert said == {
        "LABELER": "own",
        "LICENCE": "CC BY 4.0",
        "CITATION": "Smith et al. 2023",
        "ANNOTATOR": "AB",
        "PERIOD": "2022-01-01/2022-12-31",
        "CLASSES": "0=unmarked 1=wheat 2=maize 3=forest 4=ignored",
    }
    assert colours[1][:3] == tuple(bytes.fromhex(crops(tmp_path).classes[0].colour))
    assert path.read_bytes() == (tmp_path / "mine/own/labels" / path.name).read_bytes()


def test_a_folder_of_released_data_sets_takes_no_own_labels(run: Run, tmp_path: Path) -> None:
    scattered().to_file(tmp_path / "fields.gpkg")
    run("index", "--source", "sandbox", "--tiles", "6", "-q")

    for folder in ("data", "data/sandbox"):
        code, _, err = run("add", "fields.gpkg", *ADD[:-3], "--data", folder, "-q")
        assert code == 2
        assert "own labels have a data set of their own" in err


def test_a_table_that_contradicts_itself_is_refused(run: Run, tmp_path: Path) -> None:
    scattered().to_file(tmp_path / "fields.gpkg")
    (tmp_path / "chips.csv").write_text("file,date\nfields.gpkg,2020\nfields.gpkg,2021\n")

    _, _, err = run("add", "fields.gpkg", *NO_YEAR, "--table", "chips.csv")
    assert "names 'fields.gpkg' twice, in lines 2 and 3, and differently" in err
    (tmp_path / "chips.csv").write_text("when,date\nx,2020\n")
    _, _, err = run("add", "fields.gpkg", *NO_YEAR, "--table", "chips.csv")
    assert "has no column that names files (file, folder, path, chip, name); it has when, date" in err
    (tmp_path / "chips.csv").write_text("file,date\nother.gpkg,2020\n")
    _, _, err = run("add", "fields.gpkg", *NO_YEAR, "--table", "chips.csv")
    assert "fields.gpkg has no date: --table chips.csv has no row for it" in err


def test_a_report_of_a_root_without_own_labels_is_refused(run: Run, tmp_path: Path) -> None:
    code, _, err = run("report", "--data", "mine")

    assert code == 1
    assert len(err.splitlines()) == 1


def test_the_class_table_of_these_tests_is_one(tmp_path: Path) -> None:
    assert TABLE.count("[[class]]") == 3
