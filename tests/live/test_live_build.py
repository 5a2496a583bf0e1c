"""The build of three released tiles against Google's service, compared with the record of an earlier one.

Runs where a person names a project: ``DWPLUS_LIVE_PROJECT=my-project pytest tests/live``; see README.md here. The same
recorder runs against the local Earth Engine always, so that it works when it is needed.
"""

from __future__ import annotations

import copy
import os
from datetime import date
from pathlib import Path

import ee
import numpy as np
import pytest
from dwplus import cli
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.raster.geotiff import write_label
from dwplus.pipeline.spec.tiles import Tile
from live import recorder

GOLDEN = Path(__file__).with_name("golden") / "earthengine.json"
PROJECT = os.environ.get("DWPLUS_LIVE_PROJECT")

# Ids and grids of three released label tiles (10 m, 510 x 510): the ground and the day of the real data set.
TILES = tuple(
    Tile(tile_id, crs, (10.0, 0.0, x, 0.0, -10.0, y), (510, 510), date.fromisoformat(day), "EH", 1)
    for tile_id, crs, x, y, day in (
        ("dw_-2.7415152153_5.6549699454-20181226", "EPSG:32630", 526080.0, 627620.0, "2018-12-26"),
        ("dw_-3.4095852505_5.5380582684-20181226", "EPSG:32630", 452090.0, 614700.0, "2018-12-26"),
        ("dw_111.8412562864_-8.1289167721-20190713", "EPSG:32749", 590130.0, 9103900.0, "2019-07-13"),
    )
)


def build(folder: Path, tiles: tuple[Tile, ...], *options: str) -> recorder.Record:
    """Run ``dwplus build`` for label tiles that are made here; the record of it."""
    for tile in tiles:
        # Trees and crops in stripes: what is marked does not matter to the pixels, the grid does.
        codes = np.full(tile.shape, 2, dtype=np.uint8)
        codes[:, ::2] = 5
        write_label(folder / "labels" / f"{tile.id}.tif", codes, tile, {})
    data = folder / "data"
    command = ["build", "--labels", str(folder / "labels"), "--source", "earthengine", "--data", str(data)]
    with recorder.listening() as requests:
        cli.cli.main([*command, "--workers", "1", "-q", *options], standalone_mode=False)
    return recorder.record(DataRoot.at(data / "earthengine"), requests)


@pytest.mark.live
@pytest.mark.skipif(not PROJECT, reason="asks Google's service: set DWPLUS_LIVE_PROJECT to a project of yours")
def test_three_tiles_from_earth_engine_are_those_of_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EE_URL", raising=False)

    now = build(tmp_path, TILES, "--project", str(PROJECT))
    ee.Reset()

    assert now["source"] == ["earthengine"]
    assert {tile["state"] for tile in now["tiles"].values()} == {"done"}
    told = recorder.compare_or_record(GOLDEN, now, anew=os.environ.get("DWPLUS_LIVE_RECORD") == "1")
    if told is None:
        pytest.skip(f"recorded {GOLDEN}: look at it, commit it, and run again to compare")
    assert not told, "not as recorded (DWPLUS_LIVE_RECORD=1 records anew):\n" + "\n".join(told)


# --- the same, over the local Earth Engine ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> recorder.Record:
    """The record of the three tiles from the local Earth Engine, reached by address, project and key as Google's is."""
    folder = tmp_path_factory.mktemp("live")
    with pytest.MonkeyPatch.context() as patch, LocalEarthEngine(workers=1) as engine:
        for name, value in engine.environment().items():
            patch.setenv(name, value)
        patch.setenv("HOME", str(folder))
        made = build(folder, TILES)
        ee.Reset()
    return made


def test_the_record_holds_what_was_sent_and_what_came(local: recorder.Record) -> None:
    tile = local["tiles"][TILES[2].id]
    pixels = [one for one in local["requests"] if one["call"] == "computePixels"]

    assert local["source"] == ["SANDBOX"]
    assert (tile["state"], tile["scene"]) == ("done", "20190713T023559_20190713T025403_T49MEM")
    assert {one["grid"]["affineTransform"]["translateX"] for one in pixels} == {526080.0, 452090.0, 590130.0}
    assert pixels[0]["expression"]["result"] in pixels[0]["expression"]["values"]
    assert any(one["call"] == "computeValue" for one in local["requests"])
    assert 0 < tile["bands"]["B4"]["min"] < tile["bands"]["B4"]["mean"] < tile["bands"]["B4"]["max"]
    assert tile["bands"]["VV"]["nodata"] == 0


def test_the_first_run_records_and_the_next_one_compares(local: recorder.Record, tmp_path: Path) -> None:
    golden = tmp_path / "golden" / "x.json"
    other = copy.deepcopy(local) | {"recipe": ["another"]}

    assert recorder.compare_or_record(golden, local) is None
    assert recorder.read(golden) == local
    assert recorder.compare_or_record(golden, local) == []
    assert recorder.compare_or_record(golden, other) == [f"recipe: recorded {local['recipe']}, now ['another']"]
    assert recorder.compare_or_record(golden, other, anew=True) is None
    assert recorder.compare_or_record(golden, other) == []


def test_what_is_beyond_the_tolerance_is_told_and_what_is_within_is_not(local: recorder.Record) -> None:
    now = copy.deepcopy(local)
    tile = now["tiles"][TILES[2].id]
    tile["sha256"] = "another"
    tile["bands"]["B4"]["mean"] += 1.0  # of 2 DN
    tile["bands"]["VV"]["mean"] += 30.0  # 0.3 dB of 0.05 dB
    tile["bands"]["B8"]["nodata"] = 0.25
    tile["scene"] = "another"
    now["requests"][0]["sha256"] = "another"

    told = recorder.differences(local, now)

    assert len(told) == 4
    for part in ("scene", "VV mean", "B8 nodata", "of 3 requests"):
        assert any(part in line for line in told), part


def test_a_tile_that_is_missing_is_told(local: recorder.Record) -> None:
    now = copy.deepcopy(local)
    del now["tiles"][TILES[2].id]

    assert recorder.differences(local, now) == [f"{TILES[2].id}: recorded, but not built"]


def test_statistics_are_those_of_the_pixels_with_data() -> None:
    stored = np.array([[0, 2], [4, 9]], dtype=np.uint16)

    assert recorder.statistics(stored) == {"min": 2, "mean": 5.0, "max": 9, "nodata": 0.25}
    assert recorder.statistics(np.zeros((2, 2), np.uint16)) == {"min": 0, "mean": 0.0, "max": 0, "nodata": 1.0}
