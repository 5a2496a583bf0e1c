"""Provenance: a shard says enough to ask for the same pixels again."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.build.provenance import asked_for, provenance
from dwplus.pipeline.earthengine.configuration import Configuration
from dwplus.pipeline.earthengine.connection import connect
from dwplus.pipeline.earthengine.graphs import pixel_request, used_s1_scenes
from dwplus.pipeline.earthengine.scene_choice import Candidate, SceneRef
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.raster.geotiff import encode_shard, read_header
from dwplus.pipeline.spec.recipe import Recipe
from ee import serializer
from support.paths import REPOSITORY
from support.tiles import make_pixels, make_tile

S1 = tuple(f"S1A_IW_GRDH_1SDV_2019070{day}T101010_2019070{day}T101035_028000_032900_ABCD" for day in range(1, 6))
NEIGHBOUR = Candidate("20190701T101031_20190701T101030_T32TPQ", "PRODUCT_B", "32TPQ", "02.13", ())
SCENE = SceneRef(
    "COPERNICUS/S2_SR_HARMONIZED", "20190701T101031_20190701T101030_T32TNQ", "sensing-time",
    {"PRODUCT_ID": "PRODUCT_A", "PROCESSING_BASELINE": "05.00"}, (NEIGHBOUR,), S1,
)  # fmt: skip


@pytest.fixture(scope="module")
def client() -> Iterator[None]:
    """The client needs a server's list of functions before it can write requests."""
    with LocalEarthEngine(workers=1) as engine:
        connect(Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file))
        yield


def graph(request: dict[str, object]) -> object:
    return {**request, "expression": serializer.encode(request["expression"])}


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    "recipe",
    [Recipe(), Recipe(s1_mean="linear", s1_passes=("DESCENDING",)), Recipe(s1_max_scenes=3), Recipe(s1_edge_m=2000)],
    ids=["default", "linear", "few scenes", "without edges"],
)
def test_the_request_can_be_made_again_from_the_shard_alone(tmp_path: Path, recipe: Recipe) -> None:
    tile, pixels = make_tile(), make_pixels()
    path = tmp_path / "shard.tif"
    path.write_bytes(encode_shard(pixels, tile, provenance(tile, SCENE, recipe, pixels, "SANDBOX")))

    again_tile, again_recipe, again_scene = asked_for(read_header(path))

    assert (again_tile, again_recipe) == (tile, recipe)
    assert again_scene.indices == SCENE.indices
    assert again_scene.s1_scenes == used_s1_scenes(S1, recipe)
    assert graph(pixel_request(again_tile, again_recipe, again_scene)) == graph(pixel_request(tile, recipe, SCENE))


def test_the_tags_name_what_has_to_be_cited() -> None:
    tile, pixels = make_tile(), make_pixels()
    pixels[:11, 0] = 0  # an eighth of the tile has no Sentinel-2

    tags = provenance(tile, SCENE, Recipe(), pixels, "earthengine")

    assert tags["DWPLUS_SOURCE"] == "earthengine"
    assert tags["S2_PRODUCT_ID"] == "PRODUCT_A PRODUCT_B"
    assert tags["S2_SCENES"].split(" ") == list(SCENE.indices)
    assert (tags["S2_RULE"], tags["S2_COVERED_SHARE"]) == ("sensing-time", "0.8750")
    assert tags["S1_WINDOW"] == "2019-01-02/2019-12-28"
    assert (tags["S1_OBSERVATIONS"], tags["S1_SCENES"].count("S1A_")) == ("30..30", 5)
    assert tags["LICENCE"].startswith(
        "Contains modified Copernicus Sentinel data 2019; labels CC BY 4.0 (Tait et al. 2021"
    )
    longer = provenance(tile, SCENE, Recipe(half_window_days=200), pixels, "earthengine")["LICENCE"]
    assert "Sentinel data 2018 to 2020;" in longer


def test_ids_that_the_service_does_not_tell_leave_the_others_in_their_places(tmp_path: Path) -> None:
    path, tile, pixels = tmp_path / "shard.tif", make_tile(), make_pixels()
    scene = replace(SCENE, properties={}, neighbours=(NEIGHBOUR, replace(NEIGHBOUR, index="c_c_T32TPP", product_id="")))
    path.write_bytes(encode_shard(pixels, tile, provenance(tile, scene, Recipe(), pixels, "SANDBOX")))

    again = asked_for(read_header(path))[2]

    assert read_header(path).tags["S2_PRODUCT_ID"] == "- PRODUCT_B -"
    assert again.properties["PRODUCT_ID"] == ""
    assert [c.product_id for c in again.neighbours] == ["PRODUCT_B", ""]


def test_a_recipe_that_meant_something_else_is_not_asked_for_again(tmp_path: Path) -> None:
    path, tile, pixels = tmp_path / "shard.tif", make_tile(), make_pixels()
    tags = provenance(tile, SCENE, Recipe(), pixels, "SANDBOX") | {"DWPLUS_RECIPE": "0123456789ab"}
    path.write_bytes(encode_shard(pixels, tile, tags))

    with pytest.raises(DataError, match=r"dwplus .* wrote recipe 0123456789ab, which means [0-9a-f]{12} to this"):
        asked_for(read_header(path))


def test_synthetic_pixels_do_not_claim_to_be_copernicus_data() -> None:
    tags = provenance(make_tile(), SCENE, Recipe(), make_pixels(), "SANDBOX")

    assert tags["LICENCE"].startswith("SANDBOX: synthetic pixels")


def test_a_shard_of_somebody_else_does_not_say(tmp_path: Path) -> None:
    path = tmp_path / "shard.tif"
    path.write_bytes(encode_shard(make_pixels(), make_tile(), {"TILE": "x"}))

    with pytest.raises(DataError, match="without complete provenance"):
        asked_for(read_header(path))


def test_the_documentation_names_every_tag() -> None:
    text = (REPOSITORY / "docs" / "scenes.md").read_text()
    table = text.split("## What a shard says")[1].split("\n## ")[0]
    tags = provenance(make_tile(), SCENE, Recipe(s1_edge_m=2000), make_pixels(), "SANDBOX")

    named = {
        tag
        for line in table.splitlines()
        if line.startswith("| `")
        for tag in re.findall(r"`(\w+)`", line.split("|")[1])
    }

    assert named == set(tags)


def test_no_clock_stands_in_the_tags() -> None:
    first, second = (provenance(make_tile(), SCENE, Recipe(), np.ones((14, 8, 8), np.uint16), "S") for _ in range(2))

    assert first == second


def test_the_licence_of_a_shard_never_gives_user_supplied_labels_away() -> None:
    tile = make_tile()
    by_maker = {
        (source, label): provenance(tile, SCENE, Recipe(), make_pixels(), source, label=label)["LICENCE"]
        for source in ("earthengine", "SANDBOX")
        for label in (None, "synthetic", "dynamic-world", "user-supplied")
    }

    for (source, label), words in by_maker.items():
        assert ("CC BY 4.0" in words) == (label == "dynamic-world" or (source, label) == ("earthengine", None))
        assert ("makers" in words) == (label == "user-supplied")
        assert ("Contains modified Copernicus" in words) == (source == "earthengine")
    assert by_maker["earthengine", None] == by_maker["earthengine", "dynamic-world"]
    assert by_maker["SANDBOX", None] == by_maker["SANDBOX", "synthetic"]
