"""Level-1C and maps over real HTTP: the label's own scene, the label's grid, the agreement the planet is made with."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import numpy as np
import pytest
from dwplus.local_ee.catalogue.catalogue import Catalogue
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.local_ee.planet.planet import make_planet
from dwplus.local_ee.planet.utm import UtmGrid
from dwplus.pipeline.earthengine.configuration import Configuration
from dwplus.pipeline.earthengine.connection import connect
from dwplus.pipeline.earthengine.layer_graphs import stored_layer
from dwplus.pipeline.earthengine.session import RequestRetries, Session, Tally
from dwplus.pipeline.spec.bands import L1C_BANDS
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from dwplus.pipeline.spec.layers import L1C, Layer, product_layer, products
from dwplus.pipeline.spec.tiles import Tile
from numpy.typing import NDArray

PLANET = {"kind": "earth", "seed": 7}
SCENE = "20190713T023559_20190713T025403_T49MEM"  # its upper left corner: 499980, 9200020
SIZE = 300


def tile(step: int = 0) -> Tile:
    transform = (10.0, 0.0, 590130.0 - 9000.0 * step, 0.0, -10.0, 9103900.0 + 9000.0 * step)
    return Tile(f"dw_{step}.0_1.0-20190713", "EPSG:32749", transform, (SIZE, SIZE), date(2019, 7, 13), "EH", 1)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with LocalEarthEngine(planet=PLANET, workers=1) as engine:
        there = Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file)
        yield connect(there, retries=RequestRetries(deadline_s=120, attempts=2))


def fetched(session: Session, layer: Layer, step: int = 0, scene: str = SCENE) -> NDArray[np.generic]:
    return session.fetch_layer(tile(step), layer, [scene], Tally())


def truth(step: int) -> NDArray[np.uint8]:
    """What covers the ground of a tile: class index 0..8, off the planet itself."""
    left, top = (590130 - 9000 * step) // 10, (9103900 + 9000 * step - 10_000_000) // 10
    grid = UtmGrid(49, 0.0, 0.0, 10.0, (-top, -top + SIZE), (left, left + SIZE))
    return make_planet(PLANET).landcover(grid)


def test_level_1c_is_that_of_the_labels_scene_on_the_labels_grid(session: Session) -> None:
    found = fetched(session, L1C)

    catalogue = Catalogue(make_planet(PLANET))
    scene = catalogue.scene(f"COPERNICUS/S2_HARMONIZED/{SCENE}")
    assert scene is not None
    rows, cols = ((9200020 - 9103900) // 10, (590130 - 499980) // 10)
    for band in ("B2", "B8"):  # bands of 10 m need no interpolation here
        values, mask = catalogue.read(scene, band, (rows, rows + SIZE), (cols, cols + SIZE))
        np.testing.assert_array_equal(found[L1C_BANDS.index(band)], np.where(mask, values, 0))


def test_a_scene_that_was_processed_again_under_another_name_is_found(session: Session) -> None:
    again = "20190713T023559_20190713T025405_T49MEM"

    np.testing.assert_array_equal(fetched(session, L1C, scene=again), fetched(session, L1C))


def test_a_scene_that_is_not_there_leaves_no_data(session: Session) -> None:
    found = fetched(session, product_layer("dynamic-world"), scene="20190714T023559_20190714T025403_T49MEM")

    assert found.shape == (1, SIZE, SIZE)
    assert (found == 255).all()


@pytest.mark.parametrize(("name", "wrong"), [("worldcover", 0.22), ("esri", 0.18), ("dynamic-world", 0.24)])
def test_maps_agree_with_the_ground_as_often_as_the_planet_makes_them(
    session: Session, name: str, wrong: float
) -> None:
    # Given the shares of mistakes of local_ee/catalogue/maps.py and of planet/labelling.py, and five places.
    layer, agreement = product_layer(name), []
    to_class = np.full(256, 255, np.uint8)
    merged = products()[name].merged
    for code, classes in products()[name].codes.items():
        to_class[code] = DYNAMIC_WORLD.names.index(classes[0])
    for step in range(5):
        found, ground = to_class[fetched(session, layer, step)[0]], truth(step)
        if merged:
            ground = np.where(ground == DYNAMIC_WORLD.names.index("shrub_and_scrub"), 2, ground)
        seen = found != 255
        agreement.append(float((found == ground)[seen].mean()))

    # Then their mean is what was asked for, within three standard errors and what places so near to each other have in
    # common: they share patches of mistakes. Classes that a map merges agree more often.
    error = 3 * np.std(agreement, ddof=1) / np.sqrt(len(agreement)) + 0.05
    assert 1 - wrong - error <= np.mean(agreement) <= (1 if merged else 1 - wrong + error), agreement


def test_codes_that_a_map_does_not_have_are_a_bad_answer() -> None:
    layer = product_layer("esri")
    answer = np.array([[(1,), (3,)]], dtype=[("b1", "u1")])

    with pytest.raises(ValueError, match=r"codes \(3,\) are not in the table of esri"):
        stored_layer(answer, layer, (1, 2))
