"""dwplus labels over the sandbox's releases: fetch, index, show."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.raster.geotiff import write_label
from matplotlib.image import imread
from support.fixture_types import Run
from support.local_ee_client import FIXTURES
from support.tiles import make_tile

SANDBOX = ("--source", "sandbox", "--tiles", "6", "-q")


@pytest.fixture
def run(dwplus_unconfigured: Run) -> Run:
    """Run a command of 'dwplus labels'."""
    return partial(dwplus_unconfigured, "labels")


def test_labels_are_fetched_indexed_and_shown_without_any_pixels(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("fetch", *SANDBOX)
    assert code == 0
    assert "zenodo/dw_test.zip: " in out
    assert "validation" not in out
    assert all(line.endswith("[SANDBOX]") for line in out.splitlines())

    code, out, _ = run("index", *SANDBOX, "--json", "--csv", "tiles.csv")
    document = json.loads(out)
    assert (code, document["source"], document["tiles"]) == (0, "SANDBOX", 6)
    assert document["counts"]["release"] == {"test": 2, "train": 4}
    lines = (tmp_path / "tiles.csv").read_text().splitlines()
    assert len(lines) == 7
    assert not list(tmp_path.rglob("shards"))

    tile_id = next(line for line in lines if ",consensus," in line).split(",")[0]
    code, out, err = run("show", tile_id, "--json", "--png", "label.png")
    (facts,) = json.loads(out)
    assert (code, facts["dw_id"], facts["labelers"], facts["source"]) == (0, tile_id, ["consensus"], "SANDBOX")
    assert facts["test_tile"] is True
    assert sum(facts["class_shares"].values()) == pytest.approx(1, abs=0.001)
    assert "label.png" in err
    assert (tmp_path / "label.png").read_bytes()[:4] == b"\x89PNG"


def test_a_second_fetch_writes_nothing_and_verifying_mends_what_was_changed(run: Run, tmp_path: Path) -> None:
    run("fetch", *SANDBOX, "--split", "test")
    tile = next((tmp_path / "data/sandbox/releases/zenodo/dw_test").rglob("label_*.tif"))
    content = tile.read_bytes()
    tile.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    files = json.loads(run("fetch", *SANDBOX, "--split", "test", "--json")[1])["files"]
    assert [(file["file"], file["written"]) for file in files] == [("zenodo/dw_test.zip", 0)]
    files = json.loads(run("fetch", *SANDBOX, "--split", "test", "--json", "--verify")[1])["files"]
    assert [file["written"] for file in files] == [1]
    assert tile.read_bytes() == content


def test_single_experts_are_fetched_on_request_and_never_indexed(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("fetch", *SANDBOX, "--release", "pangaea-validation")
    assert code == 0
    assert "validation_set_tiles.zip: 7 files" in out  # three of each of two test tiles, and a note

    tiles = json.loads(run("index", *SANDBOX, "--split", "test", "--json")[1])
    assert tiles["counts"]["labeler"] == {"consensus": 2}


def test_a_file_is_shown_by_itself(run: Run, tmp_path: Path) -> None:
    tile_id = "dw_9.0_45.0-20190701"
    codes = np.zeros((510, 510), np.uint8)
    codes[:255] = 7
    codes[:51] = 10
    write_label(tmp_path / f"{tile_id}.tif", codes, make_tile(size=510), {})

    code, out, _ = run("show", f"{tile_id}.tif")

    assert code == 0
    assert "built 100.0%" in out
    assert "marked share    40.0%" in out
    assert "cloud share     10.0%" in out
    assert "EPSG:32632" in out


def test_real_tiles_are_shown_as_they_are_known(run: Run, real_data: Path, tmp_path: Path) -> None:
    path = real_data / "dynamic_world_tiles" / "dw_111.8412562864_-8.1289167721-20190713.tif"

    (facts,) = json.loads(run("show", str(path), "--json", "--png", "real.png")[1])

    assert (facts["crs"], facts["transform"][2], facts["transform"][5]) == ("EPSG:32749", 590130, 9103900)
    assert facts["unmarked_share"] == pytest.approx(31318 / 260100, abs=1e-4)
    assert facts["cloud_share"] == pytest.approx(1003 / 260100, abs=1e-4)
    assert list(facts["class_shares"]) == ["crops", "built", "trees"]
    picture = imread(tmp_path / "real.png")
    assert picture.shape[2] == 4
    crops = np.array([0xE4, 0x96, 0x35]) / 255
    assert np.isclose(picture[..., :3], crops, atol=0.005).all(axis=-1).mean() > 0.1


def test_labels_need_no_account(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project without credentials stops a build; labels given by hand, or by their publishers, do not ask for any."""
    monkeypatch.setenv("EE_PROJECT_ID", "my-project")
    tile_id = "dw_9.0_45.0-20190701"
    (tmp_path / "own").mkdir()
    write_label(tmp_path / "own" / f"{tile_id}.tif", np.ones((510, 510), np.uint8), make_tile(size=510), {})

    code, out, _ = run("index", "--labels", "own", "-q")

    assert code == 0
    assert "data/earthengine: 1 tile, 1 label read, 0 unusable" in out
    assert run("index", "--from", "earth-engine", "-q")[0] == 4


def test_what_cannot_be_meant_is_a_line_with_the_way_out(run: Run, tmp_path: Path) -> None:
    assert run("fetch", *SANDBOX, "--release", "venus")[2].strip().endswith("pangaea, zenodo, pangaea-validation")
    code, _, err = run("fetch", *SANDBOX, "--release", "zenodo", "--from", "earth-engine")
    assert (code, "leave out --from earth-engine" in err) == (2, True)
    code, _, err = run("show", "dw_nowhere")
    assert (code, "holds no data set" in err) == (1, True)


def test_labels_may_come_from_earth_engine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server that has four label images, one of them of a test tile.
    with LocalEarthEngine({"kind": "python", "file": str(FIXTURES), "function": "labels_world"}, workers=1) as engine:
        for name, value in engine.environment().items():
            monkeypatch.setenv(name, value)

        code, out, _ = run("fetch", "--from", "earth-engine", "--split", "test", "--json", "-q")

    document = json.loads(out)
    assert (code, document["failed"]) == (0, {})
    assert document["images"] == document["written"] == 1


@pytest.mark.slow  # the same for all test tiles of the sandbox
def test_labels_of_the_sandbox_may_come_from_earth_engine(run: Run) -> None:
    code, out, _ = run("fetch", *SANDBOX, "--from", "earth-engine", "--split", "test", "--json")

    document = json.loads(out)
    assert (code, document["source"], document["failed"]) == (0, "SANDBOX", {})
    assert document["images"] == document["written"] == 42
