"""Recipes and what is asked with them, over the real client and a local Earth Engine where pixels matter."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.build.export import make_shard
from dwplus.pipeline.build.provenance import asked_for
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.earthengine.configuration import Configuration
from dwplus.pipeline.earthengine.connection import connect
from dwplus.pipeline.earthengine.decoding import stored_values
from dwplus.pipeline.earthengine.graphs import pixel_request, used_s1_scenes
from dwplus.pipeline.earthengine.scene_choice import SceneHint, SceneRef
from dwplus.pipeline.earthengine.session import Session, Tally
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.raster.geotiff import read_bands, read_header
from dwplus.pipeline.spec.bands import SHARD_BANDS
from dwplus.pipeline.spec.recipe import Recipe, recipe_from
from dwplus.pipeline.spec.tiles import Tile
from ee import serializer

TILE = Tile(
    "dw_111.8412562864_-8.1289167721-20190713", "EPSG:32749", (10.0, 0.0, 590130.0, 0.0, -10.0, 9103900.0), (40, 30),
    date(2019, 7, 13), "EH", 1,
)  # fmt: skip


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with LocalEarthEngine(workers=1) as engine:
        yield connect(Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file))


def found(session: Session, recipe: Recipe) -> SceneRef:
    scene = session.resolve(TILE, SceneHint(), recipe, Tally())
    assert scene is not None
    return scene


def s1(day: int, second: int = 10) -> str:
    """A slice of the pass of a day."""
    time = f"201907{day:02}T1010"
    return f"S1A_IW_GRDH_1SDV_{time}{second}_{time}{second + 25}_0280{day:02}_032900_ABCD"


def test_scenes_are_spread_evenly_over_the_window() -> None:
    ten = [s1(day) for day in range(1, 11)]

    assert used_s1_scenes(ten[::-1], Recipe()) == tuple(ten)
    assert used_s1_scenes(ten, Recipe(s1_max_scenes=4)) == tuple(s1(day) for day in (1, 4, 7, 10))
    assert used_s1_scenes(ten, Recipe(s1_max_scenes=1)) == (s1(6),)
    assert used_s1_scenes(ten, Recipe(s1_max_scenes=10)) == tuple(ten)
    assert used_s1_scenes([], Recipe(s1_max_scenes=3)) == ()
    assert len(set(used_s1_scenes(ten, Recipe(s1_max_scenes=7)))) == 7


def test_the_slices_of_a_pass_are_taken_together() -> None:
    # Given ten passes that see the north of a tile in one slice and its south in the next.
    slices = [s1(day, second) for day in range(1, 11) for second in (10, 35)]

    used = used_s1_scenes(slices, Recipe(s1_max_scenes=7))

    assert used == tuple(s1(day, second) for day in (1, 5, 10) for second in (10, 35))
    assert len(used_s1_scenes(slices, Recipe(s1_max_scenes=1))) == 1  # no pass is as small


def test_scenes_are_ordered_by_time_not_by_satellite() -> None:
    early_b = s1(1).replace("S1A", "S1B")

    assert used_s1_scenes([s1(2), early_b], Recipe()) == (early_b, s1(2))


def test_a_search_finds_the_radar_scenes_of_the_window_in_the_same_request(session: Session) -> None:
    tally = Tally()

    both = session.resolve(TILE, SceneHint(), Recipe(), tally)

    assert both is not None
    assert tally.requests == 1
    assert len(both.s1_scenes) > 10
    assert all("_IW_GRDH_1SDV_" in index for index in both.s1_scenes)
    # Over Java Sentinel-1 looks down on descending passes alone.
    assert found(session, Recipe(s1_passes=("DESCENDING",))).s1_scenes == both.s1_scenes
    assert found(session, Recipe(s1_passes=("ASCENDING",))).s1_scenes == ()


def test_no_more_scenes_enter_the_mean_than_the_recipe_allows(session: Session) -> None:
    few = Recipe(s1_max_scenes=3)
    scene = found(session, few)

    stored = session.fetch(session.request(TILE, few, scene), Tally())

    count = stored[SHARD_BANDS.index("S1_N")]
    assert 1 <= count.max() <= 3
    everything = session.fetch(session.request(TILE, Recipe(), scene), Tally())
    np.testing.assert_array_equal(stored[:11], everything[:11])
    assert everything[SHARD_BANDS.index("S1_N")].max() > 3


def test_of_a_scene_that_was_processed_twice_the_newest_is_taken_unless_the_release_names_one(session: Session) -> None:
    # Given a day of which the catalogue holds both processings.
    tile = replace(TILE, id="dw_111.84_-8.13-20190218", date=date(2019, 2, 18))
    old, new = (f"20190218T023559_20190218T0254{second}_T49MEM" for second in ("03", "05"))

    def chosen(hint: SceneHint) -> tuple[str, str, object]:
        scene = session.resolve(tile, hint, Recipe(), Tally())
        assert scene is not None
        return scene.index, scene.rule, scene.properties["PROCESSING_BASELINE"]

    withdrawn = "S2A_MSIL2A_20190218T023559_N0206_R089_T49MEM_20190218T060000"
    assert chosen(SceneHint()) == (new, "same-day", "05.00")
    assert chosen(SceneHint(product_id=withdrawn)) == (new, "sensing-time", "05.00")
    assert chosen(SceneHint(index=old)) == (old, "index", "02.11")


def test_a_tile_is_made_again_from_its_shard_alone(session: Session, tmp_path: Path) -> None:
    recipe = Recipe(s1_max_scenes=5, s1_mean="linear")
    row = ManifestRow(TILE, "expert", "train", "labels/x.tif", "0", 1.0)
    root = DataRoot.at(tmp_path)
    assert make_shard(row, pixels=session, recipe=recipe, root=root).state == "done"
    path = root.shard(TILE)

    again = asked_for(read_header(path))
    answer = session.pixels(pixel_request(*again))

    np.testing.assert_array_equal(stored_values(answer, TILE.shape), read_bands(path, SHARD_BANDS))


def test_a_part_of_a_tile_has_the_same_pixels_as_the_whole(session: Session) -> None:
    scene = found(session, Recipe())
    whole = session.pixels(pixel_request(TILE, Recipe(), scene))

    part = session.pixels(pixel_request(TILE, Recipe(), scene, window=(7, 11, 20, 13)))

    np.testing.assert_array_equal(part, whole[7:27, 11:24])


def test_parts_of_a_tile_with_scenes_of_another_zone_differ_by_no_more_than_a_step(session: Session) -> None:
    # Given a tile at the border of zones 32 and 33, a scene in zone 33: positions are worked out for each request.
    place = (10.0, 0.0, 760000.0, 0.0, -10.0, 5000000.0)
    tile = Tile("dw_12.2_45.1-20190703", "EPSG:32632", place, (64, 64), date(2019, 7, 3), "EH", 4)
    scene = session.resolve(tile, SceneHint(index="20190703T100801_20190703T101705_T33TTL"), Recipe(), Tally())
    assert scene is not None
    assert scene.index.endswith("_T33TTL")
    whole = stored_values(session.pixels(pixel_request(tile, Recipe(), scene)), (64, 64))

    part = stored_values(session.pixels(pixel_request(tile, Recipe(), scene, window=(9, 21, 40, 33))), (40, 33))

    difference = np.abs(part.astype(int) - whole[:, 9:49, 21:54])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_a_tile_on_two_slices_has_radar_everywhere_from_a_few_passes(session: Session) -> None:
    # Given a tile that passes see in two slices each: taken one by one, some would see a part of it only.
    place = (10.0, 0.0, 760000.0, 0.0, -10.0, 5000000.0)
    tile = Tile("dw_12.2_45.1-20190703", "EPSG:32632", place, (64, 64), date(2019, 7, 3), "EH", 4)
    few = Recipe(s1_max_scenes=9)
    scene = session.resolve(tile, SceneHint(), few, Tally())
    assert scene is not None

    count = session.fetch(session.request(tile, few, scene), Tally())[SHARD_BANDS.index("S1_N")]

    assert 4 <= count.min() <= count.max() <= 9


@pytest.mark.usefixtures("session")
def test_one_scene_needs_no_mosaic() -> None:
    one = SceneRef("COPERNICUS/S2_SR_HARMONIZED", "a", "index")

    text = str(serializer.encode(pixel_request(TILE, Recipe(), one)["expression"]))

    assert "mosaic" not in text
    assert "inList" not in text


EARLY_TILE = Tile(
    "dw_11.5_48.1-20170701", "EPSG:32632", (10.0, 0.0, 690000.0, 0.0, -10.0, 5330000.0), (40, 30),
    date(2017, 7, 1), "EH", 4,
)  # fmt: skip
EARLY_SCENE = SceneRef(
    "COPERNICUS/S2_SR_HARMONIZED", "20170701T102021_20170701T102019_T32UPU", "index", {}, (),
    tuple(f"S1A_IW_GRDH_1SDV_2017070{d}T101010_2017070{d}T101035_028000_032900_ABCD" for d in range(1, 6)),
)  # fmt: skip


def request_text(tile: Tile, recipe: Recipe) -> str:
    request = pixel_request(tile, recipe, EARLY_SCENE)
    return json.dumps({**request, "expression": serializer.encode(request["expression"])}, sort_keys=True)


@pytest.mark.usefixtures("session")
def test_a_recipe_that_masks_no_edges_sends_the_request_that_older_versions_sent() -> None:
    plain, few = (request_text(EARLY_TILE, r) for r in (Recipe(), Recipe(s1_mean="linear", s1_max_scenes=3)))

    assert hashlib.sha256(plain.encode()).hexdigest()[:16] == "4554a7fd19067d8e"
    assert hashlib.sha256(few.encode()).hexdigest()[:16] == "445dabf424bba54a"


@pytest.mark.usefixtures("session")
def test_edges_are_masked_in_scenes_before_march_2018_alone() -> None:
    edge = Recipe(s1_edge_m=2000)
    across = replace(EARLY_TILE, date=date(2018, 4, 1))
    after = replace(EARLY_TILE, date=date(2018, 8, 28))  # the window begins on 1 March
    texts = [request_text(tile, edge) for tile in (EARLY_TILE, across, after)]

    assert [text.count('"Geometry.buffer"') for text in texts] == [1, 1, 0]
    assert ['"2018-03-01"' in text for text in texts] == [True, True, True]
    # Where all scenes are old there is nothing to merge but the blank one.
    assert [text.count('"ImageCollection.merge"') for text in texts] == [1, 2, 1]
    assert '"distance": {"constantValue": -2000}' in texts[0]
    assert texts[2] == request_text(after, Recipe())


def test_a_recipe_comes_back_from_what_was_written_down() -> None:
    recipe = Recipe(s1_mean="linear", s1_passes=("ASCENDING",), s1_max_scenes=12)
    written = {**asdict(recipe), "s1_passes": ["ASCENDING"]}

    assert recipe_from(written) == recipe
    assert recipe_from(written).hash == recipe.hash
    assert recipe_from({}) == Recipe()


@pytest.mark.parametrize(
    "values",
    [
        {"s3_mean": "dB"},
        {"s1_mean": "median"},
        {"s1_passes": ["UP"]},
        {"s1_passes": []},
        {"half_window_days": "x"},
        {"half_window_days": 0},
        {"half_window_days": 90.5},
        {"s1_max_scenes": 0},
        {"s1_max_scenes": "5"},
        {"s1_max_scenes": True},
        {"s1_edge_m": 0},
        {"s1_edge_m": 2000.5},
        {"s1_edge_m": "2km"},
    ],
)
def test_anything_else_is_no_recipe(values: dict[str, object]) -> None:
    with pytest.raises(DataError, match="recipe"):
        recipe_from(values)


def test_each_recipe_has_a_hash_of_its_own() -> None:
    recipes = [
        Recipe(), Recipe(s1_mean="linear"), Recipe(s1_passes=("ASCENDING",)), Recipe(s1_max_scenes=5),
        replace(Recipe(), half_window_days=90), Recipe(s1_edge_m=2000), Recipe(s1_edge_m=1000),
    ]  # fmt: skip

    assert len({recipe.hash for recipe in recipes}) == len(recipes)
