"""Masks of 0 and 1, where 0 is a class: from the files of a user to scores and a report, by the commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from support.fixture_types import Run
from support.own_labels import write_codes
from support.own_tiles import own_tile, write_s2
from support.report_parts import without_costs

TABLE = """
name = "water masks"
unlabelled = 255

[[class]]
code = 0
name = "land"
title = "Land"

[[class]]
code = 1
name = "water"
title = "Open water"
"""
SMALL_NETWORK = ("--model", "segformer-small", "--auxiliary", "none", "--epochs", "1", "--set", "device=cpu")


def test_masks_of_0_and_1_are_trained_scored_and_reported(
    dwplus_unconfigured: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given four masks of 32 x 32 px, 51 km from one another, a quarter of each unmarked; and Sentinel-2 on each.
    without_costs(monkeypatch)
    run = dwplus_unconfigured
    (tmp_path / "masks.toml").write_text(TABLE)
    codes = np.zeros((32, 32), dtype=np.uint8)
    codes[:, 16:], codes[24:] = 1, 255
    for n in range(4):
        tile = own_tile(x=500_000.0 + 51_000 * n)
        write_codes(tmp_path / "masks" / f"m{n}.tif", codes, x=tile.bounds[0], y=tile.bounds[3], crs=tile.crs)
        write_s2(tmp_path / "s2" / f"s2_{n}_20190703.tif", tile, seed=n)
    data = ("--data", "mine")

    added = run("labels", "add", "masks", "--classes", "masks.toml", "--date", "2019-07-01", *data, "-q")
    assert added[0] == 0, added
    assert run("pixels", "add", "s2", "--as", "s2", *data, "-q")[0] == 0
    assert run("build", *data, "-q")[0] == 0
    code, _, said = run("train", *SMALL_NETWORK, *data, "-q")
    assert code == 0, said
    code, out, said = run("score", "segformer-small", "--json", *data, "-q")
    assert code == 0, said
    code, _, said = run("report", *data, "-q")
    assert code == 0, said

    # Then the class of code 0 counts like the other, and both stand by their titles in all that is said of them.
    root = DataRoot.at(tmp_path / "mine")
    assert set(np.unique(Dataset(root, split="test", auxiliary=())[0].label)) == {0, 1, 255}
    scores = json.loads(out)
    assert tuple(scores["classes"]) == ("land", "water")
    assert scores["pixels"] == 24 * 32
    assert scores["matrix"]["classes"] == ["land", "water"]
    assert [sum(row) for row in scores["matrix"]["counts"]] == [24 * 16, 24 * 16]
    assert root.statistics("strict").class_counts == (2 * 24 * 16, 2 * 24 * 16)
    page = root.report_page.read_text()
    assert "Land" in page
    assert "Open water" in page
    assert "Flooded vegetation" not in page
    label = root.own_label(root.manifest().rows[0])
    with rasterio.open(label) as file:
        assert file.colormap(1)[1] != file.colormap(1)[2]
