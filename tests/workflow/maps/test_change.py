"""Two small maps with a known change: counts by hand, hectares by geodesics, and a sample that finds the area."""

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
from dwplus.pipeline.errors import UsageError
from dwplus.workflow.maps.change import change_classes, transitions, write_change
from dwplus.workflow.maps.record import MapRecord, read_map
from support.fixture_types import Run
from support.small_maps import write_map

BEFORE = np.full((60, 80), 2, dtype=np.uint8)  # trees
BEFORE[:, :20] = 1  # water
BEFORE[:5] = 0
AFTER = BEFORE.copy()
AFTER[20:40, 40:60] = 7  # 20 x 20 px of trees become built
AFTER[50:55, 18:20] = 2  # 5 x 2 px of water become trees
AFTER[:, 79] = 0
TRANSITIONS = {("water", "water"): 1090, ("water", "trees"): 10, ("trees", "trees"): 2845, ("trees", "built"): 400}


def a_map(folder: Path, name: str, day: str, codes: Any, **tags: str) -> MapRecord:
    said = {"DATE": day, "IMAGES": f"{name} of {day}", "IDENTITY": name, **tags}
    return read_map(write_map(folder / f"{name}.tif", codes, tags=said))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[MapRecord, MapRecord]:
    return a_map(tmp_path, "a", "2019-07-01", BEFORE), a_map(tmp_path, "b", "2024-07-03", AFTER)


def test_transitions_are_counted_with_their_hectares_on_the_ellipsoid(pair: tuple[MapRecord, MapRecord]) -> None:
    found = transitions(*pair)

    assert {(row.before, row.after): row.pixels for row in found.rows} == TRANSITIONS
    assert found.unmapped_pixels == 5 * 80 + 55
    assert found.changed_share == pytest.approx(410 / 4345)
    assert found.share_of("trees", "built") == pytest.approx(400 / 4345)
    x = 500_000 + np.array([400, 600, 600, 400])
    y = 5_000_000 - np.array([200, 200, 400, 400])
    lon, lat = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform(x, y)
    area, _ = pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)
    built = next(row for row in found.rows if row.after == "built" and row.changed)
    assert built.hectares == pytest.approx(abs(area) / 1e4, rel=1e-5)


def test_a_change_map_has_stable_classes_and_change(tmp_path: Path, pair: tuple[MapRecord, MapRecord]) -> None:
    of = change_classes(pair[0], transitions(*pair))

    write_change(tmp_path / "change.tif", *pair, of)

    with rasterio.open(tmp_path / "change.tif") as file:
        codes, tags, colours = file.read(1), file.tags(), file.colormap(1)
    assert tags["CLASSES"] == "1=stable_water 2=stable_trees 3=change"
    assert np.array_equal(codes == 3, (BEFORE != AFTER) & (BEFORE > 0) & (AFTER > 0))
    assert np.array_equal(codes == 0, (BEFORE == 0) | (AFTER == 0))
    assert tags["DATE"] == "2019-07-01/2024-07-03"
    assert sum(colours[3][:3]) < sum(colours[1][:3])
    assert [one.pixels for one in read_map(tmp_path / "change.tif").classes] == [1090, 2845, 410]


def test_named_transitions_are_classes_of_their_own(pair: tuple[MapRecord, MapRecord]) -> None:
    found = transitions(*pair)

    named = change_classes(pair[0], found, [("trees", "built"), ("grass", "crops")], merge_stable=True)

    assert [(one.code, one.name, one.title) for one in named.classes] == [
        (1, "stable", "Stable"),
        (2, "trees_to_built", "Trees to built area"),
        (3, "other_change", "Other change"),
    ]
    assert named.rare == ("trees_to_built", "other_change")
    with pytest.raises(UsageError, match="no class 'forest'; there are water, trees"):
        change_classes(pair[0], found, [("forest", "built")])
    with pytest.raises(UsageError, match="is no change"):
        change_classes(pair[0], found, [("trees", "trees")])


def test_another_file_is_not_overwritten(tmp_path: Path, pair: tuple[MapRecord, MapRecord]) -> None:
    of = change_classes(pair[0], transitions(*pair))
    write_change(tmp_path / "change.tif", *pair, of)
    content = (tmp_path / "change.tif").read_bytes()

    write_change(tmp_path / "change.tif", *pair, of)
    assert (tmp_path / "change.tif").read_bytes() == content
    with pytest.raises(UsageError, match=r"change.tif exists and is no change map of these maps"):
        write_change(tmp_path / "change.tif", pair[0], a_map(tmp_path, "c", "2024-07-09", BEFORE), of)
    with pytest.raises(UsageError, match=r"a.tif exists"):
        write_change(tmp_path / "a.tif", *pair, of)


# --- the command ------------------------------------------------------------------------------------------------------


def test_change_becomes_a_sample_that_finds_its_area(
    dwplus_unconfigured: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    a_map(tmp_path, "a", "2019-07-01", BEFORE)
    a_map(tmp_path, "b", "2024-07-03", AFTER)
    wrong = AFTER.copy()
    wrong[30:35, 70:75] = 1  # 25 of 4,345 px
    a_map(tmp_path, "other", "2024-07-20", wrong)

    code, out, err = dwplus_unconfigured(
        "change", "a.tif", "b.tif", "-o", "change.tif", "--same-year", "b.tif", "other.tif"
    )

    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "no estimate of area" in lines[0]
    assert any(line.split()[:3] == ["trees", "built", "400"] for line in lines)
    assert "4,345 pixels with a class in both maps, 455 without; 9.44% show another class" in lines
    assert "two maps of one year differ in 0.58% of pixels: change that is false" in lines
    assert lines[-1] == "next: dwplus area sample change.tif -o points.gpkg --buffer 3 --rare change"
    assert (tmp_path / "change.qml").is_file()
    assert json.loads((tmp_path / "change.json").read_text())["properties"]["title"] == "Change of land cover change"

    words = ["--buffer", "3", "--rare", "change", "--total", "300"]
    assert dwplus_unconfigured("area", "sample", "change.tif", "-o", "points.gpkg", *words)[0] == 0
    points = geopandas.read_file(tmp_path / "points.gpkg")
    with rasterio.open(tmp_path / "change.tif") as file:
        xy = [(one.x, one.y) for one in points.to_crs(file.crs).geometry]
        names = {1: "stable_water", 2: "stable_trees", 3: "change"}
        points["answer"] = [names[int(value[0])] for value in file.sample(xy)]
    points.to_file(tmp_path / "points.gpkg")
    code, out, _ = dwplus_unconfigured("area", "estimate", "change.tif", "points.gpkg", "--json")
    areas = {row["name"]: row["area_hectares"]["value"] for row in json.loads(out)["whole"]["classes"]}
    assert areas["change"] == pytest.approx(410 * 0.01 / 0.9996**2, rel=1e-4)


def test_json_and_csv_hold_every_transition_and_sandbox(dwplus_unconfigured: Run, tmp_path: Path) -> None:
    for name, day, codes in (("a", "2019-07-01", BEFORE), ("b", "2024-07-03", AFTER)):
        a_map(tmp_path, name, day, codes, TRAINED_ON="SANDBOX", SANDBOX="synthetic")

    document = json.loads(dwplus_unconfigured("change", "a.tif", "b.tif", "-o", "change.tif", "--json")[1])
    rows = dwplus_unconfigured("change", "a.tif", "b.tif", "-o", "change.tif", "--csv")[1].splitlines()
    text = dwplus_unconfigured("change", "a.tif", "b.tif", "-o", "change.tif")[1]

    assert {(row["from"], row["to"]): row["pixels"] for row in document["transitions"]} == TRANSITIONS
    assert document["source"] == "SANDBOX"
    assert document["changed_share_of_pixels_in_one_year"] is None
    assert rows[0] == "from,to,pixels,hectares_of_pixels_biased,share,share_in_one_year"
    assert len(rows) == 1 + len(TRANSITIONS)
    assert "[SANDBOX]" in text
    assert "how much of it is false is not known" in text
    assert read_map(tmp_path / "change.tif").mark == "SANDBOX"


def test_maps_that_do_not_fit_leave_nothing(dwplus_unconfigured: Run, tmp_path: Path) -> None:
    a_map(tmp_path, "a", "2019-07-01", BEFORE)
    a_map(tmp_path, "b", "2024-11-03", AFTER)

    refused = dwplus_unconfigured("change", "a.tif", "b.tif", "-o", "change.tif")
    accepted = dwplus_unconfigured("change", "a.tif", "b.tif", "-o", "change.tif", "--accept", "season")

    assert refused[0] == 2
    assert "seasons differ; --accept season compares them all the same" in refused[2]
    assert accepted[0] == 0
    assert "warning: accepted: 2019-07-01 and 2024-11-03" in accepted[1]
    assert dwplus_unconfigured("change", "a.tif", "none.tif", "-o", "new.tif")[0] == 1
    assert not (tmp_path / "new.tif").exists()
