"""dwplus area sample and estimate: what they write, print and refuse."""

from __future__ import annotations

import csv
import errno
import json
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from dwplus.pipeline.files.atomic import cannot_write
from dwplus.workflow.area.design import read_design
from support.class_maps import answer, town, truth_of, write_map
from support.fixture_types import Run
from support.own_tiles import own_tile

NAMES = {1: "water", 2: "trees", 3: "built"}
SAMPLE = ("sample", "town.tif", "-o", "points.gpkg")
TRUE_HA = {NAMES[code]: float((truth_of(town()) == code).sum()) * 0.01 / 0.9996**2 for code in NAMES}


@pytest.fixture
def run(dwplus_unconfigured: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command of 'dwplus area' in a folder that holds the map town.tif."""
    monkeypatch.setenv("COLUMNS", "200")
    write_map(tmp_path / "town.tif", town())
    return partial(dwplus_unconfigured, "area")


@pytest.fixture
def answered(run: Run, tmp_path: Path) -> geopandas.GeoDataFrame:
    """The points of a sample of 300 with true answers; they are in points.gpkg, too."""
    assert run(*SAMPLE, "--total", "300")[0] == 0
    frame = answer(tmp_path / "points.gpkg", truth_of(town()), NAMES)
    frame.to_file(tmp_path / "points.gpkg")
    return frame


def test_a_sample_is_drawn_and_hides_the_map(run: Run, tmp_path: Path) -> None:
    code, out, err = run(*SAMPLE, "--expect", "water=0.9", "--expect", "0.8", "--standard-error", "0.03")

    assert (code, err) == (0, "")
    design = read_design(tmp_path / "points.design.json")
    # (W S) = 38/118 * .3 + 80/118 * .4 = .3678; (.3678 / .03)^2 = 150.3, less by the 11,800 px of the map: 149
    assert [one.points for one in design.strata] == [50, 50, 50]
    assert "150 points of town.tif (SANDBOX), seed 0" in out
    assert out.splitlines()[-1] == "next: dwplus area estimate town.tif points.gpkg"
    assert [one.name for one in design.classes] == ["water", "trees", "built", "snow"]
    assert (design.strata[2].probability, design.unmapped_pixels) == (0.05, 200)
    points = geopandas.read_file(tmp_path / "points.gpkg")
    assert list(points.columns) == ["plotid", "answer", "note", "geometry"]
    assert set(points["answer"]) == {""}
    codes = [one.code for one in design.points]
    assert codes != sorted(codes)
    assert [p.x for p in points.geometry] == [one.lon for one in design.points]
    with (tmp_path / "points.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["LON", "LAT", "PLOTID"]
    assert float(rows[7]["LON"]) == pytest.approx(design.points[7].lon, abs=1e-8)


def test_a_seed_draws_the_same_points_again(run: Run, tmp_path: Path) -> None:
    for name, seed in (("a", "4"), ("b", "4"), ("c", "5")):
        assert run("sample", "town.tif", "-o", f"{name}.gpkg", "--total", "160", "--seed", seed)[0] == 0

    a, b, c = (read_design(tmp_path / f"{name}.design.json").points for name in "abc")
    assert a == b != c


def test_answers_become_areas_that_cover_the_truth(run: Run, answered: geopandas.GeoDataFrame) -> None:
    code, out, err = run("estimate", "town.tif", "points.gpkg", "--json")

    assert (code, err) == (0, "")
    document = json.loads(out)
    whole = document["whole"]
    assert (document["source"], document["decided"], whole["points"]) == ("SANDBOX", 300, 300)
    by_name = {one["name"]: one for one in whole["classes"]}
    for name, hectares in TRUE_HA.items():
        area = by_name[name]["area_hectares"]
        assert area["low_95"] < hectares < area["high_95"]
    assert by_name["snow"]["area_hectares"]["value"] == 0
    assert sum(one["area_hectares"]["value"] for one in whole["classes"]) == pytest.approx(whole["mapped_hectares"])
    whole_ha = whole["mapped_hectares"] + whole["unmapped_hectares"]
    assert whole_ha == pytest.approx(120 / 0.9996**2, rel=1e-6)
    assert by_name["built"]["pixel_count_biased"] == {"pixels": 1000, "hectares": pytest.approx(10.008, abs=1e-3)}


def test_the_table_says_what_is_biased_and_warns(run: Run, answered: geopandas.GeoDataFrame) -> None:
    code, out, _ = run("estimate", "town.tif", "points.gpkg")

    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "town.tif (SANDBOX): 300 points, 300 decided"
    assert "(biased)" in out
    assert next(line for line in lines if line.startswith("water")).split()[5] == "100"  # of its points, with bounds
    assert "..100.0) %" in out
    assert any(line.split()[:2] == ["unmapped", "2.0"] for line in lines)
    assert any(line.split()[:2] == ["all", "120.1"] for line in lines)
    assert any(line.startswith("warning: stratum water has no error in") for line in lines)
    assert any(line.startswith("warning: trees rests on 0 omission points, fewer than 5") for line in lines)


def test_cannot_tell_and_no_answer_are_told_apart(run: Run, answered: geopandas.GeoDataFrame, tmp_path: Path) -> None:
    answered.loc[:9, "answer"] = "cannot tell"
    answered.loc[10:14, "answer"] = None
    answered.drop(index=299).to_file(tmp_path / "points.gpkg")

    code, out, _ = run("estimate", "town.tif", "points.gpkg")
    document = json.loads(run("estimate", "town.tif", "points.gpkg", "--json")[1])

    assert code == 0
    assert "300 points, 284 decided, 10 cannot tell, 6 without an answer (non-response: " in out
    assert "with 'cannot tell'" in out
    trees = document["whole"]["classes"][1]["area_hectares"]
    assert trees["with_undecided"]["low"] < trees["low_95"] < trees["high_95"] < trees["with_undecided"]["high"]


def test_districts_are_reported_one_by_one(run: Run, answered: geopandas.GeoDataFrame, tmp_path: Path) -> None:
    # West: columns 0..59, with all unmapped pixels; east: columns 60..119, but for the first row.
    west, east = (
        shapely.box(500_000, 4_999_000, 500_600, 5_000_000),
        shapely.box(500_600, 4_999_000, 501_200, 4_999_990),
    )
    frame = geopandas.GeoDataFrame({"name": ["west", "east"]}, geometry=[west, east], crs="EPSG:32632")
    frame.to_crs(4326).to_file(tmp_path / "districts.gpkg")

    code, out, _ = run("estimate", "town.tif", "points.gpkg", "--by", "districts.gpkg", "--json")

    assert code == 0
    parts = {part["name"]: part for part in json.loads(out)["districts"]}
    assert parts["west"]["mapped_hectares"] + parts["west"]["unmapped_hectares"] == pytest.approx(60.05, abs=0.01)
    assert parts["west"]["unmapped_hectares"] == pytest.approx(2.0016, abs=1e-3)
    points = read_design(tmp_path / "points.design.json").points
    assert parts["west"]["points"] == sum(one.column < 60 for one in points)
    assert parts["east"]["points"] == sum(one.column >= 60 and one.row > 0 for one in points)
    for part in parts.values():
        assert sum(one["area_hectares"]["value"] for one in part["classes"]) == pytest.approx(part["mapped_hectares"])
    water = parts["west"]["classes"][0]
    assert water["area_hectares"]["low_95"] < 43.03 < water["area_hectares"]["high_95"]  # 3,800 + 500 px
    assert any(line.startswith("west: built rests on") for line in parts["west"]["warnings"])


def spoil(frame: geopandas.GeoDataFrame, how: str) -> geopandas.GeoDataFrame:
    frame = frame.copy()
    if how == "moved":
        frame.loc[4, "geometry"] = shapely.affinity.translate(frame.geometry[4], 0.001)
    elif how == "added":
        frame.loc[len(frame)] = {"plotid": 301, "answer": "water", "note": "", "geometry": frame.geometry[0]}
    elif how == "without a number":
        frame["plotid"] = frame["plotid"].astype("Int64")
        frame.loc[4, "plotid"] = None
    elif how == "twice":
        frame.loc[4, "plotid"] = 1
    else:
        frame.loc[4, "answer"] = "Lava"
    return frame


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("moved", "point 5 was moved by 78."),
        ("added", "point 301 was added: the design does not know it; remove it"),
        ("without a number", "feature 5 has no plotid, so no inclusion probability; remove it"),
        ("twice", "point 1 is there 2 times; keep one"),
        ("no class", "point 5 has the answer 'Lava', which is no class; use one of water, trees, built, snow, cannot"),
    ],
)
def test_points_that_the_design_does_not_know_are_refused(
    run: Run, answered: geopandas.GeoDataFrame, tmp_path: Path, how: str, said: str
) -> None:
    spoil(answered, how).to_file(tmp_path / "points.gpkg")

    code, out, err = run("estimate", "town.tif", "points.gpkg")

    assert (code, out) == (1, "")
    assert f"points.gpkg: {said}" in err


def test_a_changed_map_or_design_is_refused(run: Run, answered: geopandas.GeoDataFrame, tmp_path: Path) -> None:
    write_map(tmp_path / "other.tif", truth_of(town()))
    code, _, err = run("estimate", "other.tif", "points.gpkg")
    assert code == 1
    assert err.startswith("dwplus: other.tif is not the map that was sampled (town.tif): sha256 ")

    path = tmp_path / "points.design.json"
    path.write_text(path.read_text().replace('"probability": ', '"probability": 1'))
    code, _, err = run("estimate", "town.tif", "points.gpkg")
    assert (code, "was changed since dwplus wrote it" in err) == (1, True)
    path.unlink()
    code, _, err = run("estimate", "town.tif", "points.gpkg")
    assert (code, "points.design.json does not exist; name the design of" in err) == (1, True)


def test_answers_of_collect_earth_online_come_as_csv(
    run: Run, answered: geopandas.GeoDataFrame, tmp_path: Path
) -> None:
    frame = answered.assign(lon=answered.geometry.x.round(6), lat=answered.geometry.y.round(6))
    table = frame[["plotid", "lon", "lat", "answer"]].rename(columns={"answer": "Land cover"})
    table.to_csv(tmp_path / "ceo.csv", index=False)

    words = ("estimate", "town.tif", "ceo.csv", "--answer", "Land cover", "--design", "points.design.json", "--csv")
    code, out, err = run(*words)

    assert (code, err) == (0, "")
    rows = list(csv.reader(out.splitlines()))
    assert len({len(row) for row in rows}) == 1
    same = json.loads(run("estimate", "town.tif", "points.gpkg", "--json")[1])
    assert rows[0][:5] == ["source", "part", "class", "area_ha", "area_ha_se"]
    assert [row[2] for row in rows[1:]] == ["water", "trees", "built", "snow", "all classes", "unmapped"]
    assert float(rows[1][3]) == same["whole"]["classes"][0]["area_hectares"]["value"]


def test_a_buffer_and_an_area_of_interest(run: Run, tmp_path: Path) -> None:
    south = geopandas.GeoDataFrame(geometry=[shapely.box(500_000, 4_999_000, 501_200, 4_999_500)], crs="EPSG:32632")
    south.to_file(tmp_path / "south.geojson")

    words = ("--buffer", "3", "--rare", "built", "--total", "200", "--area", "south.geojson")
    assert run(*SAMPLE, *words)[0] == 0

    design = read_design(tmp_path / "points.design.json")
    assert [(one.name, one.pixels) for one in design.strata] == [
        ("water", 2_000),
        ("trees", 50 * 67),
        ("built", 500),
        ("buffer", 50 * 3),
    ]
    assert (design.unmapped_pixels, min(one.row for one in design.points) >= 50) == (0, True)
    answer(tmp_path / "points.gpkg", truth_of(town()), NAMES).to_file(tmp_path / "points.gpkg")
    whole = json.loads(run("estimate", "town.tif", "points.gpkg", "--json")[1])["whole"]
    assert whole["mapped_hectares"] == pytest.approx(60 / 0.9996**2, rel=1e-6)
    built = (truth_of(town())[50:] == 3).sum() * 0.01 / 0.9996**2
    area = whole["classes"][2]["area_hectares"]
    assert area["low_95"] < built < area["high_95"]


def test_points_in_training_tiles_are_flagged(run: Run, tmp_path: Path) -> None:
    from support.own_tiles import lay_out_labels

    tile = own_tile(x=500_000.0, y=5_000_000.0)
    lay_out_labels(tmp_path / "mine", [tile])

    code, out, err = run(*SAMPLE, "--total", "200", "--data", "mine")

    assert (code, err) == (0, "")
    flagged = [one for one in read_design(tmp_path / "points.design.json").points if one.in_training]
    x_min, y_min, x_max, y_max = tile.bounds
    rows_cols = np.array([(one.row, one.column) for one in read_design(tmp_path / "points.design.json").points])
    x, y = 500_005 + 10 * rows_cols[:, 1], 4_999_995 - 10 * rows_cols[:, 0]
    assert len(flagged) == int(((x > x_min) & (x < x_max) & (y > y_min) & (y < y_max)).sum()) > 0
    assert f"{len(flagged)} points inside training tiles: flagged" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "points.shp"), "points.shp is no GeoPackage by its name; use -o points.gpkg"),
        (("-o", "held.gpkg"), "held.gpkg exists and may hold answers"),
        (("-o", "p.gpkg", "--rare", "built"), "--rare names classes for a buffer; add --buffer PX"),
        (("-o", "p.gpkg", "--expect", "lava=0.9"), "has no class 'lava'; it has water, trees, built"),
        (("-o", "p.gpkg", "--expect", "water=9"), "--expect water=9: an accuracy between 0 and 1 is wanted"),
        (("-o", "p.gpkg", "--buffer", "2"), "no class is below 2% of the mapped area"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_written(
    run: Run, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "held.gpkg").touch()

    code, _, err = run("sample", "town.tif", *words)

    assert code == 2
    assert said in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["held.gpkg", "town.tif"]


def test_a_disk_that_is_full_leaves_no_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, _document: object, **_: str) -> None:
        raise cannot_write(path, OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr("dwplus.workflow.area.sample.write_record", full)

    code, _, err = run(*SAMPLE, "--total", "160")

    assert (code, "cannot write points.design.json: No space left on device; free some space" in err) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["town.tif"]


def test_points_that_are_not_there_are_named(run: Run) -> None:
    code, _, err = run("estimate", "town.tif", "none.gpkg")

    assert (code, err) == (1, "dwplus: none.gpkg does not exist\n")


def test_expectations_come_from_a_run_and_a_file(run: Run, tmp_path: Path) -> None:
    matrix: dict[str, Any] = {"classes": ["water", "trees", "crops"], "counts": [[90, 10, 0], [10, 30, 0], [0, 0, 5]]}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scores.json").write_text(json.dumps({"matrix": matrix}))
    (tmp_path / "expected.toml").write_text("built = 0.6\n")

    assert run(*SAMPLE, "--total", "160", "--run", "run", "--expect", "expected.toml")[0] == 0

    assert read_design(tmp_path / "points.design.json").expected == (0.9, 0.75, 0.6)
