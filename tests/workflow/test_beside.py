"""Maps, people and Dynamic World's network on a data root, by the commands that users type."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dwplus import cli
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
from dwplus.workflow.beside import beside_rows, current_product_scores
from dwplus.workflow.pages import report
from dwplus.workflow.reproduce import maps_as_text
from support.builds import Pixels
from support.dynamic_world import made_up_variables
from support.fixture_types import LayOut, Run
from support.report_parts import without_costs
from support.roots import lay_out_ready_root
from support.runs import fresh_run, lay_out
from support.tensor_bundles import write_bundle


@pytest.fixture
def root(ready_root: LayOut) -> DataRoot:
    return ready_root(train=2, test=2, size=16)


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


def test_scores_on_shared_pixels_and_of_merged_classes_have_intervals_too(dwplus: Run, ready_root: LayOut) -> None:
    """On twelve tiles; where a single map lies beside the shards, its shared pixels are its own."""
    root = ready_root(train=2, test=12, size=16)
    export(root, "worldcover", "esri")

    scores = json.loads(dwplus("score", "--product", "worldcover", "--json")[1])
    _, printed, _ = dwplus("score", "--product", "esri")

    assert scores["shared"]["pixels"] == scores["own"]["pixels"]
    assert scores["shared_intervals"]["oa"] == scores["intervals"]["oa"] is not None
    low, high = scores["merged_intervals"]["oa"]
    assert low < high
    assert low < scores["merged"]["oa"] < high
    assert (scores["kind"], scores["lost"]) == ("map", 0.0)
    assert "grass_or_shrub_and_scrub" in scores["merged_intervals"]["classes"]
    assert printed.splitlines()[3].count("[") == 3
    world, esri = beside_rows(root)
    assert world.shared_intervals["oa"] == tuple(scores["shared_intervals"]["oa"])
    assert (esri.shared_intervals, set(esri.merged_intervals) >= {"oa", "miou", "f1"}) == ({}, True)
    # The lines at the end of a reproduction have them as well: three intervals and the mark.
    kept = {name: current_product_scores(root, name, split="test") for name in ("worldcover", "esri")}
    lines = maps_as_text({name: found for name, found in kept.items() if found is not None})
    assert [line.count("[") for line in lines] == [4, 4]


@pytest.fixture(scope="module")
def compared_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with twelve test tiles, two maps and an untrained network, all scored on shared pixels."""
    home = tmp_path_factory.mktemp("compared")
    root = lay_out_ready_root(home / "data" / "sandbox", train=2, test=12, size=32)

    def mask(_: Tile, stored: np.ndarray) -> None:
        stored[:, :4] = 255

    export(root, "worldcover", pixels=Pixels(react=mask))
    export(root, "esri")
    lay_out(fresh_run(root, "one"), root.runs)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for words in (("--product", "worldcover"), ("--product", "esri"), ("one", "--shared", "-q")):
            patch.setattr(sys, "argv", ["dwplus", "score", *words])
            cli.main()
    return root.folder


@pytest.fixture
def compared(compared_once: Path, tmp_path: Path) -> DataRoot:
    """A copy of it, which a test may change."""
    return DataRoot.at(Path(shutil.copytree(compared_once, tmp_path / "data" / "sandbox")))


def test_a_map_is_a_side_of_a_comparison_on_the_pixels_that_all_share(compared: DataRoot, dwplus: Run) -> None:
    code, printed, said = dwplus("compare", "one", "product:worldcover", "--metric", "oa", "--json")

    assert code == 0, said
    document = json.loads(printed)
    folders = {"one": compared.runs / "one" / "scores-shared.json"}
    folders["worldcover"] = compared.folder / "products" / "worldcover" / "scores.json"
    oa = {name: json.loads(path.read_text())["shared"]["oa"] for name, path in folders.items()}
    (row,) = document["comparisons"]
    assert row["difference"] == pytest.approx(oa["worldcover"] - oa["one"])
    assert row["low"] < row["difference"] < row["high"]
    assert (row["first"], row["of"], document["mask"]["kind"]) == ("product:worldcover", "weights", "shared")
    assert document["sides"][1] == {"name": "product:worldcover", "kind": "map", "runs": ["worldcover"]}
    assert document["sides"][0]["kind"] == "runs"
    assert "compared on the pixels that all maps beside the shards share" in document["notes"]
    _, printed, _ = dwplus("compare", "one", "product:worldcover")
    assert "with fewer than 3 seeds a side (one 1 run)" in printed
    assert "compared on the pixels that all maps beside the shards share" in printed


def test_with_a_map_of_eight_classes_all_sides_have_eight(compared: DataRoot, dwplus: Run) -> None:
    document = json.loads(dwplus("compare", "one", "product:esri", "product:worldcover", "--json")[1])
    printed = dwplus("compare", "product:esri", "product:worldcover")[1]

    assert len(document["classes"]) == 8
    assert "one class: grass_or_shrub_and_scrub, which a map does not tell apart" in printed
    assert "these weights" not in printed  # two maps, which have no seeds


@pytest.mark.parametrize("row", [("--product", "worldcover"), ("one", "--shared")])
def test_rows_have_parts_on_shared_pixels_like_networks(compared: DataRoot, dwplus: Run, row: tuple[str, ...]) -> None:
    whole = json.loads(dwplus("score", *row, "--json")[1])["shared"]

    by_region = json.loads(dwplus("score", *row, "--group", "region", "--json")[1])
    classes = list(csv.DictReader(io.StringIO(dwplus("score", *row, "--csv")[1])))
    printed = dwplus("score", *row, "--group", "region")[1]

    # Parts have all of the pixels, and right ones among them, once.
    assert (by_region["pixels"], by_region["source"]) == ("shared", "SANDBOX")
    assert sum(part["tiles"] for part in by_region["rows"]) == 12
    assert sum(part["pixels"] for part in by_region["rows"]) == whole["pixels"]
    right = sum(part["pixels"] * part["oa"] for part in by_region["rows"])
    assert right == pytest.approx(whole["pixels"] * whole["oa"])
    assert [one["class"] for one in classes] == list(DYNAMIC_WORLD.names)
    assert {one["source"] for one in classes} == {"SANDBOX"}
    assert sum(int(one["pixels"]) for one in classes) == whole["pixels"]
    assert "on the pixels that all maps beside the shards share [SANDBOX]" in printed


def test_a_map_that_merges_classes_has_parts_in_its_eight(compared: DataRoot, dwplus: Run) -> None:
    classes = json.loads(dwplus("score", "--product", "esri", "--group", "class", "--json")[1])["rows"]

    assert len(classes) == 8
    assert "grass_or_shrub_and_scrub" in [one["class"] for one in classes]


def test_scores_of_another_split_lie_beside_those_of_the_test_tiles(compared: DataRoot, dwplus: Run) -> None:
    # Given two maps of the validation tile, too.
    layers = [product_layer("worldcover"), product_layer("esri")]
    build_beside(compared, layers, compared.manifest().of_split("val", "strict"), BuildSetup(Pixels(), in_process))
    kept = (compared.folder / "products" / "worldcover" / "scores.json").read_bytes()

    code, printed, said = dwplus("score", "--product", "worldcover", "--split", "val")

    assert code == 0, said
    assert "ESA WorldCover, 1 tile [SANDBOX]" in printed
    assert (compared.folder / "products" / "worldcover" / "scores.json").read_bytes() == kept
    assert (compared.folder / "products" / "worldcover" / "scores-val.json").is_file()
    assert [row.name for row in beside_rows(compared)] == ["worldcover", "esri", "one"]


def test_maps_that_cannot_be_compared_are_refused_in_one_line(compared: DataRoot, dwplus: Run) -> None:
    lay_out(fresh_run(compared, "two"), compared.runs)

    for words, message in (
        ("one product:landsat", "product:landsat: there is no such map; choose one of product:dynamic-world"),
        ("one product:dynamic-world", "score it with 'dwplus score --product dynamic-world'"),
        ("two product:esri", "two has no scores-shared.json; score it with 'dwplus score runs/two --shared'"),
        ("one product:esri --split val", "score it with 'dwplus score runs/one --split val --shared'"),
        ("one product:esri --mask own", "leave --weights and --mask out"),
        ("one product:esri --metric ece", "a map gives no probabilities"),
    ):
        code, _, said = dwplus("compare", *words.split())

        assert code in (1, 2), words
        assert message in said
        assert said.count("\n") == 1


def test_sides_that_were_scored_beside_other_layers_are_not_compared(compared: DataRoot, dwplus: Run) -> None:
    export(compared, "dynamic-world")
    assert dwplus("score", "--product", "esri")[0] == 0

    assert "cannot be compared: their tiles differ" in dwplus("compare", "one", "product:esri")[2]


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
        (("--product", "esri", "--tta", "--mask", "own"), "--mask, --tta cannot be used with --product; leave it out"),
        (("one", "--shared", "--drop", "auxiliary"), "--drop cannot be used with --shared; leave it out"),
        (("one", "--json", "--csv"), "--json and --csv are two forms of one answer"),
    ],
)
def test_what_cannot_be_scored_is_one_line(root: DataRoot, dwplus: Run, words: tuple[str, ...], message: str) -> None:
    code, _, said = dwplus("score", *words)

    assert code in (1, 2)
    assert message in said
    assert said.count("\n") == 1
    assert root.folder.is_dir()
