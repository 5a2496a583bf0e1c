"""``dwplus review`` on a data root whose labels are wrong where we know it."""

import csv
import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import geopandas
import numpy as np
import pyogrio
import pytest
import torch
from dwplus.model.calibration import Calibration, Reliability
from dwplus.model.config import to_mapping
from dwplus.model.metrics import BINS
from dwplus.model.registry import build, configure
from dwplus.model.run_config import DataCard, RunConfig
from dwplus.model.run_files import weights_hash
from dwplus.model.runs import WEIGHTS, RunFolder
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.manifest import Manifest, ManifestRow, write_manifest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.raster.geotiff import label_name, write_label
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from support.fixture_types import Run
from support.roots import lay_out_root

MODEL, SIZE = "specsar-former-small", 32
TREES, WATER = 1, 0


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trees everywhere, but for squares of 120 and of 36 px on two test tiles; the network says trees."""
    root = lay_out_root(tmp_path_factory.mktemp("data") / "sandbox", train=4, test=3, size=SIZE)
    flipped = {1: (slice(4, 16), slice(3, 13)), 2: (slice(20, 26), slice(20, 26))}
    rows, tests = [], 0
    for row in root.manifest().rows:
        codes = np.full((SIZE, SIZE), TREES + 1, np.uint8)
        if row.release == "test":
            if tests in flipped:
                codes[flipped[tests]] = WATER + 1
            tests += 1
        written = write_label(root.folder / row.label, codes, row.tile, {"LABELER": row.labeler})
        rows.append(replace(row, label_written_sha256=written))
    rows.append(_drawn_again(root, [row for row in rows if row.release == "test"][1]))
    write_manifest(root.folder, Manifest(tuple(rows)))
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    _train_nothing(root, root.runs / "one")
    return root.folder


def _drawn_again(root: DataRoot, row: ManifestRow) -> ManifestRow:
    """Trees by a non-expert, three columns further east than a test tile; training leaves it out."""
    a, b, x, d, e, y = row.tile.transform
    tile = replace(row.tile, id="dw_9.1_45.0-20190702", transform=(a, b, x + 30, d, e, y))
    label = label_name(tile, "non_expert")
    written = write_label(root.folder / label, np.full((SIZE, SIZE), TREES + 1, np.uint8), tile, {})
    return ManifestRow(
        tile, "non_expert", "train", label, "0", 1.0, label_written_sha256=written, discard="test_overlap"
    )


def _train_nothing(root: DataRoot, path: Path) -> None:
    """A run whose network says trees everywhere, with a confidence of e^5 / (e^5 + 8) = 0.95."""
    card = DataCard.of(Dataset(root, split="train"))
    network = build(MODEL, len(card.primary), len(card.auxiliary))
    with torch.no_grad():
        network.decoder.classify.weight.zero_()
        network.decoder.classify.bias.zero_()
        network.decoder.classify.bias[TREES] = 5.0
    config = configure(MODEL, len(card.primary), len(card.auxiliary))
    RunFolder(path).write_config(RunConfig("0", MODEL, to_mapping(config), {}, card))
    RunFolder(path).write_weights("model.safetensors", network.state_dict())


@pytest.fixture
def root(laid_out: Path, tmp_path: Path) -> DataRoot:
    shutil.copytree(laid_out, tmp_path / "sandbox")
    return DataRoot.at(tmp_path / "sandbox")


def test_the_label_that_was_flipped_is_found_first(dwplus: Run, root: DataRoot, tmp_path: Path) -> None:
    out = tmp_path / "look"

    code, said, err = dwplus("review", "runs/one", "--data", str(root.folder), "-o", str(out), "-q")

    assert code == 0, err
    wrong = root.usable("test", "strict")[1].tile
    regions = geopandas.read_file(out / "SANDBOX-review.gpkg", layer="regions")
    assert regions["tile"].tolist() == [wrong.id, root.usable("test", "strict")[2].tile.id]
    first = regions.iloc[0]
    assert (first["label"], first["predicted"], first["pixels"], first["annotator"]) == (
        "water", "trees", 120, "consensus",
    )  # fmt: skip
    assert first["confidence"] == pytest.approx(np.exp(5) / (np.exp(5) + 8), abs=1e-3)
    assert first["hectares"] == pytest.approx(1.2, rel=2e-3)
    # Rows 4..16, columns 3..13 of the tile, in its own CRS.
    x, y = wrong.transform[2], wrong.transform[5]
    moved = regions.to_crs(wrong.crs).geometry.iloc[0].bounds
    assert moved == pytest.approx((x + 30, y - 160, x + 130, y - 40), abs=0.01)
    tiles = geopandas.read_file(out / "SANDBOX-review.gpkg", layer="tiles")
    assert tiles["tile"].iloc[0] == wrong.id
    assert tiles["sure_pct"].tolist() == pytest.approx([100 * 120 / 1024, 100 * 36 / 1024, 0], abs=1e-3)
    assert "2 regions in 3 tiles [SANDBOX" in said
    assert "not calibrated" in said
    assert "consensus: 3 tiles, the network disagrees in 5.08%" in said


def test_tables_and_layers_hold_the_same_and_say_that_pixels_are_synthetic(
    dwplus: Run, root: DataRoot, tmp_path: Path
) -> None:
    out = tmp_path / "look"
    dwplus("review", "one", "--data", str(root.folder), "-o", str(out), "-q", "--min-px", "50")

    assert {path.name for path in out.iterdir()} == {
        "SANDBOX-review.gpkg", "SANDBOX-regions.csv", "SANDBOX-tiles.csv", "SANDBOX-summary.json",
    }  # fmt: skip
    with (out / "SANDBOX-regions.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["rank"], row["label"], row["predicted"], row["verdict"]) == ("1", "water", "trees", "")
    for layer in ("regions", "tiles"):
        assert "SANDBOX" in pyogrio.read_info(out / "SANDBOX-review.gpkg", layer=layer)["layer_metadata"]["DESCRIPTION"]
    with sqlite3.connect(out / "SANDBOX-review.gpkg") as file:
        rows = file.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
        ).fetchall()
    assert [row[:3] for row in rows] == [("regions", "geom", 1), ("tiles", "geom", 1)]
    assert [one.get("value") for one in ElementTree.fromstring(rows[0][3]).iter("category")] == list(
        DYNAMIC_WORLD.names
    )
    summary = json.loads((out / "SANDBOX-summary.json").read_text())
    assert (summary["calibrated"], summary["regions"], summary["tiles"]) == (False, 1, 3)
    assert summary["annotators"][0]["sure"] == 156


def test_where_non_experts_drew_a_tile_too_the_network_takes_sides(dwplus: Run, root: DataRoot, tmp_path: Path) -> None:
    """They share 32 x 29 px; in the flipped square the non-expert says trees, as the network does."""
    _, said, _ = dwplus("review", "one", "--data", str(root.folder), "-o", str(tmp_path / "look"), "-q")

    summary = json.loads((tmp_path / "look" / "SANDBOX-summary.json").read_text())
    assert summary["non_experts_against_label"] == {
        "tiles": 1, "both": 928, "differ": 120, "label": 0, "others": 120, "neither": 0,
    }  # fmt: skip
    assert "1 tile drawn by non-experts too: they differ from the label in 12.93% of 928 pixels" in said


def test_where_nothing_is_contradicted_the_layers_are_empty(dwplus: Run, root: DataRoot, tmp_path: Path) -> None:
    code, said, _ = dwplus("review", "one", "--data", str(root.folder), "--split", "train", "-q")

    assert code == 0
    assert "0 regions in" in said
    assert "--min-confidence" not in said  # nothing is contradicted
    folder = root.runs / "one" / "review-train"
    assert len(geopandas.read_file(folder / "SANDBOX-review.gpkg", layer="regions")) == 0
    assert (folder / "SANDBOX-regions.csv").read_text().startswith("rank")


def test_a_threshold_that_the_network_never_reaches_is_named_with_one_that_it_does(
    dwplus: Run, root: DataRoot, tmp_path: Path
) -> None:
    words = ("review", "one", "--data", str(root.folder), "-o", str(tmp_path / "look"), "-q")

    _, said, _ = dwplus(*words, "--min-confidence", "0.99")

    assert "0 regions" in said
    assert "use --min-confidence 0.94 and another -o" in said  # e^5 / (e^5 + 8) = 0.949


def test_confidence_is_calibrated_where_the_run_has_a_calibration(dwplus: Run, root: DataRoot, tmp_path: Path) -> None:
    """Temperature 2: e^2.5 / (e^2.5 + 8) = 0.604 in place of 0.949."""
    run = root.runs / "one"
    some = Reliability((1,) * BINS, (1,) * BINS, (1,) * BINS, 1)
    facts = {"split": "val", "tiles": 1, "pixels": 9, "tiles_hash": "abc", "experts": True, "source": "SANDBOX"}
    weights = {"weights": WEIGHTS, "weights_sha256": weights_hash(run / WEIGHTS)}
    Calibration(2.0, {}, DYNAMIC_WORLD.names, **facts, **weights, before=some, after=some).write(run)
    out = tmp_path / "look"

    said = dwplus(
        *("review", "one", "--data", str(root.folder), "-o", str(out), "-q", "--min-confidence", "0.5")
    )[1]  # fmt: skip

    regions = geopandas.read_file(out / "SANDBOX-review.gpkg", layer="regions")
    assert regions["confidence"].tolist() == pytest.approx([np.exp(2.5) / (np.exp(2.5) + 8)] * 2, abs=1e-3)
    assert "confidence is calibrated: temperature 2.000" in said
    assert json.loads((out / "SANDBOX-summary.json").read_text())["calibrated"] is True


def test_a_folder_that_holds_something_is_left_alone(dwplus: Run, root: DataRoot, tmp_path: Path) -> None:
    out = tmp_path / "look"
    out.mkdir()
    words = ("review", "one", "--data", str(root.folder), "-o", str(out), "-q")
    assert dwplus(*words)[0] == 0  # an empty one is filled
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    code, _, err = dwplus(*words)

    assert code == 2
    assert "exists and may hold verdicts; name another folder with -o" in err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_file_in_place_of_the_folder_and_a_run_that_does_not_fit_are_refused(
    dwplus: Run, root: DataRoot, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    words = ("review", "one", "--data", str(root.folder), "-q")

    assert dwplus(*words, "-o", str(tmp_path / "file"))[0] == 2
    assert "no run 'two'" in dwplus("review", "two", "--data", str(root.folder))[2]
    folder = RunFolder(root.runs / "one")
    config = folder.read_config()
    folder.write_config(replace(config, data=replace(config.data, source="earthengine")))
    code, _, err = dwplus(*words, "-o", str(tmp_path / "other"))
    assert code == 2
    assert "trained on earthengine pixels, the data set is SANDBOX" in err
    assert not (tmp_path / "other").exists()
    (folder.path / "model.safetensors").unlink()
    assert "is not complete" in dwplus(*words, "-o", str(tmp_path / "other"))[2]
