"""Who made pixels and labels: counted, and said in words that are true of what is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest
from dwplus.pipeline.dataset.inputs import Inputs, LabelInput, Note, read_inputs, write_inputs
from dwplus.pipeline.dataset.makers import LabelMaker, Makers, makers_of, makers_of_root, released_maker_of, terms_of
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.spec.licences import LabelTerms, licence_of
from support.fixture_types import LayOut
from support.tiles import make_tile


def test_tiles_are_counted_by_source_and_by_maker_of_their_label(data_root: LayOut) -> None:
    makers = makers_of_root(data_root(train=2, test=1))

    assert makers == Makers({"SANDBOX": 3}, {"synthetic": 3})
    assert (makers.name, makers.mark, makers.synthetic, makers.satellite) == ("SANDBOX", "SANDBOX", True, False)


@pytest.mark.parametrize(
    ("source", "files", "maker"),
    [
        # A sandbox of its own planet; an older one that says nothing; a server of synthetic pixels beside the archives.
        ("SANDBOX", {"planet.json": {"seed": 7}, "manifest.origin.json": {"origin": "releases"}}, "synthetic"),
        ("SANDBOX", {}, "synthetic"),
        ("SANDBOX", {"manifest.origin.json": {"origin": "releases"}}, "dynamic-world"),
        ("SANDBOX", {"manifest.origin.json": {"origin": "earth-engine"}}, "synthetic"),
        ("SANDBOX", {"manifest.origin.json": []}, "synthetic"),
        ("earthengine", {"manifest.origin.json": {"origin": "releases"}}, "dynamic-world"),
        ("earthengine", {}, "dynamic-world"),
        ("UNVERIFIED ee.example.org", {}, "dynamic-world"),
    ],
)
def test_who_made_released_labels_follows_from_where_they_came_from(
    data_root: LayOut, source: str, files: Mapping[str, object], maker: LabelMaker
) -> None:
    root = data_root(train=1, test=1, source=source)
    for name, content in files.items():
        (root.folder / name).write_text(json.dumps(content))

    assert released_maker_of(root, source) == maker


@pytest.mark.parametrize(
    ("pixels", "labels", "said", "not_said"),
    [
        ({"SANDBOX": 2}, {"synthetic": 2}, "Every label is computed", "real"),
        ({"SANDBOX": 2}, {"dynamic-world": 2}, "The labels are real", "Every label"),
        ({"SANDBOX": 2}, {"user-supplied": 2}, "The labels are user-supplied", "Dynamic World"),
        (
            {"SANDBOX": 3},
            {"synthetic": 2, "user-supplied": 1},
            "Labels: 2 of the synthetic planet, 1 user-supplied.",
            "real",
        ),
        (
            {"earthengine": 1, "SANDBOX": 2},
            {"dynamic-world": 3},
            "1 tile from Google's Earth Engine, 2 tiles from",
            "Every pixel",
        ),
        ({"UNVERIFIED x": 1}, {"dynamic-world": 1}, "UNVERIFIED x, which is not Google's Earth Engine", "synthetic"),
    ],
)
def test_what_is_said_is_true_of_what_is_there(
    pixels: dict[str, int], labels: dict[LabelMaker, int], said: str, not_said: str
) -> None:
    makers = Makers(pixels, labels)
    words = f"{makers.about_pixels()} {makers.about_labels()}"

    assert said in words
    assert not_said not in words


def test_dynamic_world_is_credited_for_its_own_labels_alone() -> None:
    supplied = Makers({"earthengine": 1}, {"user-supplied": 1})
    both = Makers({"earthengine": 3}, {"dynamic-world": 2, "user-supplied": 1})

    assert supplied.licence_of_labels() == "User-supplied labels keep the licence of their makers."
    assert both.licence_of_labels().startswith("Labels (2 tiles) of Dynamic World: CC BY 4.0")
    assert both.licence_of_labels().endswith("User-supplied labels (1 tile) keep the licence of their makers.")


# --- own labels -------------------------------------------------------------------------------------------------------

SMITH = LabelTerms("CC BY 4.0", "Smith et al. 2023")


def own_row(key: str = "a" * 16) -> ManifestRow:
    tile = make_tile("fields-32632-500000-5000000-20190701")
    return ManifestRow(tile, "own", "own", "labels/own/x.tif", "1", 0.5, added=key)


def test_own_labels_have_the_terms_of_their_inputs_and_dynamic_world_is_not_credited(tmp_path: Path) -> None:
    # Given two inputs, of which one has a row among those that are asked about.
    inputs = [
        LabelInput("a" * 16, "x/fields.gpkg", "1", "polygons", "t", licence=SMITH.licence, citation=SMITH.citation)
    ]
    inputs += [LabelInput("b" * 16, "x/more.gpkg", "2", "polygons", "t", licence="CC0")]
    write_inputs(tmp_path, Inputs(labels=inputs))
    root = DataRoot.at(tmp_path)

    terms = terms_of(root, [own_row()])
    makers = makers_of([own_row()], {}, source="earthengine", terms=terms)

    assert terms == (SMITH,)
    assert dict(makers.labels) == {"own": 1}
    assert makers.licence_of_labels() == "Own labels of the user: labels CC BY 4.0 (Smith et al. 2023)."
    said = licence_of("earthengine", [date(2019, 7, 1)], labels=makers.labels, terms=makers.terms)
    assert said == "Contains modified Copernicus Sentinel data 2019; labels CC BY 4.0 (Smith et al. 2023)"
    assert "Dynamic World" not in makers.about_labels()


def test_a_licence_that_nobody_named_is_said_to_be_unknown(tmp_path: Path) -> None:
    makers = makers_of([own_row()], {}, source="earthengine", terms=terms_of(DataRoot.at(tmp_path), [own_row()]))

    assert makers.licence_of_labels() == "Own labels of the user: labels under a licence that their user did not name."
    said = licence_of("earthengine", [date(2019, 7, 1)], labels=makers.labels)
    assert said.endswith("; labels under a licence that their user did not name")


def test_the_record_of_inputs_is_read_as_it_was_written_and_a_changed_one_refused(tmp_path: Path) -> None:
    one = LabelInput(
        "a" * 16, "x/fields.gpkg", "1", "polygons", "t", tiles={"id": [1, 2]}, left_out=[Note("why", 2, ["7"])]
    )
    written = Inputs(labels=[one], pixels=[{"key": "kept as it is"}])
    assert read_inputs(tmp_path) == Inputs()
    write_inputs(tmp_path, written)

    assert read_inputs(tmp_path) == written
    path = tmp_path / "own/inputs.json"
    path.write_text(path.read_text().replace("fields.gpkg", "fieldz.gpkg"))
    with pytest.raises(DataError, match=r"inputs.json .*add its labels and pixels again"):
        read_inputs(tmp_path)
