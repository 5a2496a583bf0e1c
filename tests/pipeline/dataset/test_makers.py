"""Who made pixels and labels: counted, and said in words that are true of what is there."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from dwplus.pipeline.dataset.makers import LabelMaker, Makers, makers_of_root, released_maker_of
from support.fixture_types import LayOut


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
