"""--s1-edge: which pixels of old Sentinel-1 scenes are masked, by geometry worked out here with numpy and pyproj."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from dwplus.local_ee.catalogue.catalogue import Catalogue
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.local_ee.planet.earth import EarthPlanet
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.earthengine.configuration import Configuration
from dwplus.pipeline.earthengine.connection import connect
from dwplus.pipeline.earthengine.scene_choice import SceneHint
from dwplus.pipeline.earthengine.session import Session, Tally
from dwplus.pipeline.raster.geotiff import read_bands, read_header, write_label
from dwplus.pipeline.spec.bands import SHARD_BANDS
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.spec.tiles import Tile
from pyproj import Proj, Transformer
from support import edge_scenes
from support.edge_scenes import EARLY_DB, LATE_DB, LATER, OUTLINE, SIDE_PX, TILE
from support.fixture_types import Run
from support.in_process import run_here
from support.local_ee_scenes import NORTH
from support.tiles import make_tile

VV, VH, S1_N = (SHARD_BANDS.index(name) for name in ("VV", "VH", "S1_N"))
SPHERE_M = 6_371_007.1809
EDGE_M = 2000.0

ERROR_M = 0.01 * EDGE_M + 5
"""How far off the edge of a mask may be: 1 % of the width, as the request says, and what this page leaves out."""


def xy(tile: Tile, step: int = 1) -> tuple[Any, Any]:
    """Centres of the pixels of a tile, or of each n-th of them."""
    a, _, c, _, e, f = tile.transform
    cols, rows = np.meshgrid(np.arange(0, tile.shape[1], step) + 0.5, np.arange(0, tile.shape[0], step) + 0.5)
    return a * cols + c, e * rows + f


# --- two scenes whose values are known --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_scenes() -> Iterator[Session]:
    planet = {"kind": "python", "file": str(Path(edge_scenes.__file__)), "function": "world"}
    with LocalEarthEngine(planet, workers=1) as engine:
        yield connect(Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file))


def stored(session: Session, tile: Tile, recipe: Recipe) -> Any:
    scene = session.resolve(tile, SceneHint(), recipe, Tally())
    assert scene is not None
    return session.fetch(session.request(tile, recipe, scene), Tally())


def test_near_the_edge_of_an_old_scene_the_mean_is_that_of_the_later_one_alone(two_scenes: Session) -> None:
    # Given a scene of 28 February 2018 and one of 1 March, both 600 m larger than the tile on every side.
    recipe, width_m = Recipe(s1_edge_m=700), 700.0

    found = stored(two_scenes, TILE, recipe)

    x, y = xy(TILE)
    west, south, east, north = OUTLINE
    to_edge = np.minimum(np.minimum(x - west, east - x), np.minimum(y - south, north - y))
    certain = np.abs(to_edge - width_m) > 0.01 * width_m + 3  # the error that is asked for, and the sphere's
    count = np.where(to_edge >= width_m, 2, 1)
    plane = NORTH.decibel(x, y, NORTH.crs)
    mean = plane + np.where(to_edge >= width_m, (EARLY_DB + LATE_DB) / 2, LATE_DB)
    assert 0.1 < (count[certain] == 1).mean() < 0.5
    np.testing.assert_array_equal(found[S1_N][certain], count[certain])
    assert np.abs(found[VV] / 100 - 100 - mean)[certain].max() <= 0.0051
    assert np.abs(found[VH] / 100 - 100 - (mean - 7))[certain].max() <= 0.0051


def test_an_edge_that_leaves_nothing_of_a_scene_leaves_the_others(two_scenes: Session) -> None:
    found = stored(two_scenes, TILE, Recipe(s1_edge_m=1300))  # half of the scene's 2.4 km

    assert found[S1_N].tolist() == np.ones((SIDE_PX, SIDE_PX)).tolist()


def test_without_the_option_and_after_march_2018_all_scenes_count_to_their_edges(two_scenes: Session) -> None:
    off, on = (stored(two_scenes, TILE, Recipe(s1_edge_m=edge)) for edge in (None, 700))
    later = [stored(two_scenes, LATER, Recipe(s1_edge_m=edge)) for edge in (None, 700)]

    assert set(off[S1_N].ravel().tolist()) == {2}
    np.testing.assert_array_equal(off[:VV], on[:VV])
    np.testing.assert_array_equal(*later)


# --- tiles of the sandbox ---------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """A tile of zone 32 by its upper left corner, and what is known of its scenes."""

    x: float
    y: float
    day: date
    early: int
    changes: bool


PLACES = {
    "across an edge": Place(526290.0, 5173290.0, date(2018, 4, 17), 28, changes=True),
    "30 km from every edge": Place(497420.0, 5221730.0, date(2018, 4, 20), 16, changes=False),
    "across an edge, but later": Place(526290.0, 5173290.0, date(2018, 10, 14), 0, changes=False),
}


def tile_of(place: Place) -> Tile:
    lon, lat = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform(place.x + 2550, place.y - 2550)
    return make_tile(f"dw_{lon:.4f}_{lat:.4f}-{place.day:%Y%m%d}", x=place.x, y=place.y, size=510, day=place.day)


class Built(NamedTuple):
    """Two data sets of the same tiles, with and without the option."""

    off: DataRoot
    on: DataRoot
    said: str

    def shards(self, name: str) -> tuple[Any, Any]:
        tile = tile_of(PLACES[name])
        off, on = (read_bands(root.shard(tile_in(root, tile)), SHARD_BANDS) for root in (self.off, self.on))
        return off, on


def tile_in(root: DataRoot, tile: Tile) -> Tile:
    return next(row.tile for row in root.manifest().rows if row.tile.id == tile.id)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    labels, data = tmp_path_factory.mktemp("labels"), tmp_path_factory.mktemp("data")
    for number, place in enumerate(PLACES.values()):
        tile = tile_of(place)
        write_label(labels / f"{tile.id}.tif", np.full((510, 510), 1 + number, np.uint8), tile, {})
    said = ""
    with LocalEarthEngine(workers=2) as engine:
        for name, options in (("off", ()), ("on", ("--s1-edge", "2km"))):
            command = ["build", "--labels", str(labels), "--workers", "1", "--data", str(data / name), *options]
            done = run_here(*command, cwd=data, environment={**environment(), **engine.environment()})
            assert done.returncode == 0, done.stderr
            said = done.stderr + done.stdout
    return Built(DataRoot.at(data / "off" / "earthengine"), DataRoot.at(data / "on" / "earthengine"), said)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("EE_", "DWPLUS_"))}


STEP = 3
"""Each third pixel of each third row is worked out here."""


def to_outline_m(tile: Tile, outline: Any) -> tuple[Any, Any]:
    """Distance of pixels to the outline of a scene in metres on the sphere, and whether they lie inside.

    On a plane around the tile: great circles that pass close by are straight there.
    """
    lon, lat = Transformer.from_crs(tile.crs, "EPSG:4326", always_xy=True).transform(*xy(tile, STEP))
    plane = Proj(f"+proj=aeqd +R={SPHERE_M} +lon_0={lon.mean()} +lat_0={lat.mean()}")
    px, py = plane(lon, lat)
    corners = np.column_stack(plane(*np.array(outline).T))
    distance, inside = np.full(px.shape, np.inf), np.zeros(px.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along = np.clip(((px - ax) * (bx - ax) + (py - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0, 1)
        distance = np.minimum(distance, np.hypot(px - ax - along * (bx - ax), py - ay - along * (by - ay)))
        crossed = ((ay > py) != (by > py)) & (px < (bx - ax) * (py - ay) / (by - ay + 1e-30) + ax)
        inside ^= crossed
    return distance, inside


@pytest.mark.parametrize("name", PLACES)
def test_the_pixels_that_are_masked_are_those_near_the_edges_of_old_scenes(built: Built, name: str) -> None:
    place, catalogue = PLACES[name], Catalogue(EarthPlanet(seed=7))
    off, on = built.shards(name)
    tile = tile_in(built.on, tile_of(place))

    scenes = read_header(built.on.shard(tile)).tags["S1_SCENES"].split()
    all_of, without, certain = np.int64(0), np.int64(0), np.True_
    early = [index for index in scenes if index.split("_")[4] < "20180301"]
    for index in scenes:
        scene = catalogue.scene(f"COPERNICUS/S1_GRD/{index}")
        assert scene is not None
        distance, inside = to_outline_m(tile, scene.footprint)
        all_of = all_of + inside
        without = without + (inside & (distance >= (EDGE_M if index in early else 0)))
        certain = certain & (distance > 30) & ((np.abs(distance - EDGE_M) > ERROR_M) | (index not in early))
    assert len(early) == place.early
    assert certain.mean() > 0.8
    np.testing.assert_array_equal(off[S1_N, ::STEP, ::STEP][certain], all_of[certain])
    np.testing.assert_array_equal(on[S1_N, ::STEP, ::STEP][certain], without[certain])

    # Sentinel-2 stays, and so does Sentinel-1 wherever no scene was masked.
    same = off[S1_N] == on[S1_N]
    np.testing.assert_array_equal(off[:VV], on[:VV])
    np.testing.assert_array_equal(off[VV:][:, same], on[VV:][:, same])
    assert bool((~same).any()) == place.changes


def test_the_record_of_the_data_set_says_what_was_masked(built: Built) -> None:
    words = "pixels within 2km of the edge of a Sentinel-1 scene from before March 2018 are masked"
    recipes = [json.loads(root.recipe_file.read_text()) for root in (built.off, built.on)]
    assert recipes[0].pop("checksum") != recipes[1].pop("checksum")
    tags = read_header(built.on.shard(tile_in(built.on, tile_of(PLACES["across an edge"])))).tags

    assert "s1_edge_m" not in recipes[0]
    assert recipes[1] == {**recipes[0], "s1_edge_m": 2000, "hash": Recipe(s1_edge_m=2000).hash}
    assert built.on.recipe() == Recipe(s1_edge_m=2000)
    assert tags["S1_EDGE_M"] == "2000"
    assert json.loads(tags["DWPLUS_RECIPE_FIELDS"])["s1_edge_m"] == 2000
    assert words in built.said  # the plan
    card = built.on.card_file.read_text()
    assert f"- Border noise: {words} before the mean." in card
    assert "--s1-pass both --s1-edge 2km\n" in card
    assert "Border noise" not in built.off.card_file.read_text()


def test_status_says_what_was_masked(built: Built, dwplus: Run) -> None:
    code, out, _ = dwplus("status", "--data", str(built.on.folder.parent), "--source", "earthengine")
    _, document, _ = dwplus("status", "--data", str(built.on.folder.parent), "--source", "earthengine", "--json")
    _, plain, _ = dwplus("status", "--data", str(built.off.folder.parent), "--source", "earthengine", "--json")

    assert code == 0
    assert "recipe: pixels within 2km of the edge" in out
    assert json.loads(document)["s1_edge_m"] == 2000
    assert "s1_edge_m" not in json.loads(plain)


def test_old_scenes_are_a_warning_unless_their_edges_are_masked(built: Built) -> None:
    def early(root: DataRoot) -> dict[str, str]:
        findings = json.loads(root.findings_file.read_text())["findings"]
        return {found["tile"]: found["message"] for found in findings if found["rule"] == "s1-early"}

    found = early(built.off)

    assert len(found) == 2
    assert found[tile_of(PLACES["across an edge"]).id] == (
        "28 of its 52 Sentinel-1 scenes (54%) are from before March 2018 and may have noise along the edges; to mask "
        "them build all tiles with --s1-edge 2km"
    )
    assert early(built.on) == {}
