"""The STAC item of a map: geometry against pyproj, codes, terms, SANDBOX."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from dwplus.workflow.maps.item import item_of
from dwplus.workflow.maps.record import read_map
from support.small_maps import write_map

CODES = np.array([[1, 1, 2], [0, 7, 2]], dtype=np.uint8)


def item(tmp_path: Path, codes: Any = CODES, **settings: Any) -> dict[str, Any]:
    return json.loads(item_of(read_map(write_map(tmp_path / "town.tif", codes, **settings))))


def test_an_item_says_where_the_map_lies(tmp_path: Path) -> None:
    found = item(tmp_path)

    ring = found["geometry"]["coordinates"][0]
    to_utm = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32632", always_xy=True)
    x, y = to_utm.transform(*np.array(ring).T)
    assert (min(x), max(x), min(y), max(y)) == pytest.approx((500_000, 500_030, 4_999_980, 5_000_000), abs=0.02)
    assert shapely.geometry.shape(found["geometry"]).exterior.is_ccw
    assert found["bbox"] == pytest.approx(shapely.geometry.shape(found["geometry"]).bounds)
    said = found["properties"]
    assert (said["proj:code"], said["proj:shape"]) == ("EPSG:32632", [2, 3])
    assert said["proj:transform"] == [10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0]
    assert said["datetime"] == "2024-07-03T00:00:00Z"


def test_a_map_over_the_date_line_has_two_parts(tmp_path: Path) -> None:
    # 180 degrees east on the equator has x = 833,979 in zone 60.
    found = item(tmp_path, np.ones((4, 8), np.uint8), crs="EPSG:32660", corner=(833_000.0, 100_000.0), pixel=300.0)

    assert found["geometry"]["type"] == "MultiPolygon"
    west, _, east, _ = found["bbox"]
    assert (west, east) == pytest.approx((179.99, -179.99), abs=0.02)
    assert west > 0 > east
    lons = [lon for part in found["geometry"]["coordinates"] for lon, _ in part[0]]
    assert -180 <= min(lons) <= max(lons) <= 180


def test_an_item_says_what_codes_mean_and_hashes_its_files(tmp_path: Path) -> None:
    found = item(tmp_path)

    asset = found["assets"]["map"]
    classes = {one["name"]: one for one in asset["classification:classes"]}
    assert classes["water"] == {
        "value": 1, "name": "water", "title": "Water", "description": "Water", "color_hint": "419bdf",
    }  # fmt: skip
    assert classes["nodata"]["nodata"] is True
    content = (tmp_path / "town.tif").read_bytes()
    assert asset["file:checksum"] == f"1220{hashlib.sha256(content).hexdigest()}"
    assert (asset["file:size"], asset["href"]) == (len(content), "./town.tif")
    assert found["assets"]["names"]["href"] == "./town.tif.aux.xml"
    assert "confidence" not in found["assets"]


def test_an_item_names_run_images_and_terms(tmp_path: Path) -> None:
    found = item(tmp_path)

    said = found["properties"]
    assert (said["dwplus:run"], said["dwplus:scenes"]) == ("feedfeedfeedfeed", ["s2_20240703 of 2024-07-03"])
    assert said["attribution"].startswith("Contains modified Copernicus Sentinel data 2024; network trained on:")
    assert "labels CC BY 4.0" in said["attribution"]
    assert [link["rel"] for link in found["links"]] == ["license", "license"]
    assert "dwplus:sandbox" not in said


def test_a_map_of_the_sandbox_says_so_in_title_and_description(tmp_path: Path) -> None:
    said = item(tmp_path, tags={"TRAINED_ON": "SANDBOX", "SANDBOX": "synthetic", "PIXELS": "SANDBOX"})

    assert said["properties"]["title"] == "Land cover town (SANDBOX)"
    assert said["properties"]["description"].startswith("SANDBOX: synthetic.")
    assert "Contains modified Copernicus" not in said["properties"]["attribution"]
    assert said["links"] == []


def test_terms_that_the_map_states_are_taken(tmp_path: Path) -> None:
    said = item(tmp_path, tags={"LICENCE": "Contains modified Copernicus Sentinel data 2023-2024"})["properties"]

    assert said["attribution"].startswith("Contains modified Copernicus Sentinel data 2023-2024; network trained on:")


def test_a_range_of_days_has_a_begin_and_an_end(tmp_path: Path) -> None:
    said = item(tmp_path, tags={"DATE": "2023-01-09/2023-12-20"})["properties"]

    assert said["datetime"] is None
    assert (said["start_datetime"], said["end_datetime"]) == ("2023-01-09T00:00:00Z", "2023-12-20T23:59:59Z")
