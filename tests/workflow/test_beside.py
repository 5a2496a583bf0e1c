"""Maps, people and Dynamic World's network on a data root, by the commands that users type."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dwplus.pipeline.build.beside import build_beside
from dwplus.pipeline.build.build import BuildSetup, normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.manifest import ManifestRow, write_manifest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.labels.splits import make_manifest
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.raster.geotiff import label_name, read_layer, write_label
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from dwplus.pipeline.spec.layers import L1C, product_layer, products
from dwplus.pipeline.spec.tiles import Tile
from dwplus.workflow.beside import beside_rows
from dwplus.workflow.pages import report
from support.builds import Pixels
from support.dynamic_world import made_up_variables
from support.fixture_types import LayOut, Run
from support.report_parts import without_costs
from support.tensor_bundles import write_bundle


@pytest.fixture
def root(data_root: LayOut) -> DataRoot:
    root = data_root(train=2, test=2, size=16)
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    return root


def export(root: DataRoot, *names: str, pixels: Pixels | None = None) -> None:
    layers = [L1C if name == "l1c" else product_layer(name) for name in names]
    build_beside(root, layers, root.manifest().of_split("test", "strict"), BuildSetup(pixels or Pixels(), in_process))


def test_a_map_is_scored_like_a_network(root: DataRoot, dwplus: Run) -> None:
    export(root, "worldcover")

    ended, printed, _ = dwplus("score", "--product", "worldcover", "--json")

    # Then its accuracy is that of a plain count over codes and labels.
    scores, hits, pixels = json.loads(printed), 0, 0
    dataset, layer, ledger = Dataset(root, split="test"), product_layer("worldcover"), {}
    for line in (root.folder / layer.folder / "ledger.jsonl").read_text().splitlines():
        ledger[json.loads(line)["tile"]] = json.loads(line)["sha256"]
    for place, tile in enumerate(dataset.tiles):
        codes = read_layer(root.folder / layer.file_name(tile), layer, sha256=ledger[tile.id])[0]
        for code, index in zip(codes.ravel().tolist(), dataset[place].label.ravel().tolist(), strict=True):
            if index != 255:
                pixels += 1
                hits += products()["worldcover"].codes[code] == (DYNAMIC_WORLD.names[index],)
    assert ended == 0
    assert (scores["own"]["pixels"], scores["own"]["oa"]) == (pixels, pytest.approx(hits / pixels))
    assert scores["shared"]["pixels"] == pixels
    assert (scores["intervals"]["units"], scores["intervals"]["too_few"]) == (2, True)
    assert (scores["source"], scores["years"], scores["label_years"]) == ("SANDBOX", {"2020": 2}, {"2019": 2})
    assert (root.folder / "products" / "worldcover" / "SHA256SUMS").is_file()


def test_pixels_that_one_map_leaves_open_are_shared_by_none_and_lost_by_it_alone(root: DataRoot, dwplus: Run) -> None:
    # Given Dynamic World masked in the upper half, and ESRI whole.
    def mask(_: Tile, stored: np.ndarray) -> None:
        stored[:, :8] = 255

    export(root, "dynamic-world", pixels=Pixels(react=mask))
    export(root, "esri")
    dwplus("score", "--product", "dynamic-world")
    _, printed, _ = dwplus("score", "--product", "esri")

    masked, whole = beside_rows(root)
    assert (masked.name, whole.name) == ("dynamic-world", "esri")
    assert 0.4 < masked.lost < 0.6
    assert whole.lost == 0
    assert masked.own == masked.shared
    assert whole.own == {}  # nothing says whether rangeland is grass or shrub
    assert set(whole.merged) == {"miou", "oa", "f1"}
    assert "years of the labels 2019 (2); of this row 2019 (2)" in printed


def test_scores_that_were_changed_are_named_and_left_out(root: DataRoot, dwplus: Run) -> None:
    export(root, "worldcover")
    dwplus("score", "--product", "worldcover")
    (root.folder / "products" / "worldcover" / "scores.json").write_text("{}")
    faults: list[tuple[str, str]] = []

    assert beside_rows(root, lambda *fault: faults.append(fault)) == []

    ((name, why),) = faults
    assert name == "worldcover"
    assert "SHA256SUMS" in why


def test_scores_are_stale_once_another_layer_lies_beside_them(root: DataRoot, dwplus: Run) -> None:
    export(root, "worldcover")
    dwplus("score", "--product", "worldcover")
    assert [row.stale for row in beside_rows(root)] == [False]

    export(root, "dynamic-world")

    assert [row.stale for row in beside_rows(root)] == [True]


def test_dynamic_worlds_network_reads_level_1c_and_stands_beside_the_maps(
    root: DataRoot, dwplus: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dwplus("models", "import", "dynamic-world", str(write_bundle(tmp_path / "variables", made_up_variables())))
    code, _, said = dwplus("score", "runs/dynamic-world")
    assert (code, said.count("\n")) == (1, 1)
    assert "dwplus build --l1c --split test" in said

    export(root, "l1c", "worldcover")
    code, printed, said = dwplus("score", "runs/dynamic-world", "-q")
    assert code == 0, said
    assert "[SANDBOX]" in printed
    code, printed, said = dwplus("score", "runs/dynamic-world", "--shared", "-q")
    assert code == 0, said
    scores = json.loads((root.runs / "dynamic-world" / "scores.json").read_text())
    shared = json.loads((root.runs / "dynamic-world" / "scores-shared.json").read_text())
    assert shared["own"]["matrix"] == scores["matrix"]

    # And the report shows its row, not as one that was scored on other tiles.
    without_costs(monkeypatch)
    page = report.write_report(root, progress=Silent()).read_text()
    assert "Maps, people and networks on the same pixels" in page
    assert "scored on other" not in page
    assert "dynamic-world-fcn (dynamic-world)" in page


def test_people_are_scored_where_their_label_lies_on_a_test_tile(data_root: LayOut, dwplus: Run) -> None:
    # Given a non-expert who drew trees on a tile three pixels east and one north of a test tile.
    root = data_root(train=2, test=1, size=16)
    rows = root.manifest().rows
    (test,) = (row for row in rows if row.release == "test")
    a, _, x, _, e, y = test.tile.transform
    drawn = replace(test.tile, id="dw_15.1_45.0-20190702", transform=(a, 0.0, x + 30, 0.0, e, y + 10))
    label = label_name(drawn, "non_expert")
    sha256 = write_label(root.folder / label, np.full((16, 16), 2, np.uint8), drawn, {})
    row = ManifestRow(drawn, "non_expert", "train", label, "0", 1.0, label_written_sha256=sha256)
    write_manifest(root.folder, make_manifest([*rows, row]))
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())

    code, printed, said = dwplus("score", "--product", "non-experts", "--json")

    # Then what counts is the part that both show: 13 columns of the test tile and its first 15 rows.
    assert code == 0, said
    truth = Dataset(root, split="test")[0].label[:15, 3:]
    scores = json.loads(printed)
    assert scores["own"]["pixels"] == np.count_nonzero(truth != 255)
    assert scores["own"]["oa"] == pytest.approx(np.count_nonzero(truth == 1) / np.count_nonzero(truth != 255))
    assert [(row.name, row.kind) for row in beside_rows(root)] == [("non-experts", "people")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--product", "worldcover"), "dwplus build --products --split test"),
        (("--product", "non-experts"), "no label of a non-expert"),
        (("--product", "esri", "runs/one"), "in place of a run"),
        ((), "name a run"),
    ],
)
def test_what_cannot_be_scored_is_one_line(root: DataRoot, dwplus: Run, words: tuple[str, ...], message: str) -> None:
    code, _, said = dwplus("score", *words)

    assert code in (1, 2)
    assert message in said
    assert said.count("\n") == 1
    assert root.folder.is_dir()
