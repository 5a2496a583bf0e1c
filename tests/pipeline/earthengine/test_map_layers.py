"""Layers of a map out of the connected Earth Engine: colours at known places, and no connection."""

from collections.abc import Iterator
from typing import Any

import ee
import numpy as np
import pytest
from dwplus.pipeline.earthengine.map_layers import connected_to, tile_layers
from dwplus.pipeline.errors import UsageError
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.spec.tiles import Tile
from pyproj import Transformer
from support.local_ee_client import DAY, serving
from support.local_ee_scenes import NORTH
from support.map_tiles import centres_of_tile, pixels_of_tile, tile_of

TILE = Tile("north", NORTH.crs, NORTH.affine(), (32, 32), DAY.date(), "EH", 1)


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    with serving() as running:
        yield running


def test_a_client_that_is_not_connected_is_told_how() -> None:
    ee.Reset()

    with pytest.raises(UsageError, match=r"ee\.Initialize\(project=\.\.\.\)"):
        connected_to()


def test_the_scene_and_the_radar_mean_of_a_tile_are_cut_to_it(engine: Any) -> None:
    place = (15, *tile_of(*TILE.centre, 15))
    x, y = Transformer.from_crs("EPSG:4326", NORTH.crs, always_xy=True).transform(*centres_of_tile(*place))
    inside = (x > NORTH.x) & (x < NORTH.x + 320) & (y < NORTH.y) & (y > NORTH.y - 320)

    layers = tile_layers(TILE, "NORTH", Recipe())

    assert connected_to() == "127.0.0.1"
    assert [layer.name.split()[0] for layer in layers] == ["Sentinel-2", "VV,"]
    for layer in layers:
        fetcher = layer.image.getMapId({**layer.shown, "format": "png"})["tile_fetcher"]
        found = pixels_of_tile(fetcher.fetch_tile(place[1], place[2], place[0]))
        assert ((found[3] == 255) == inside).mean() > 0.999
        if layer.name.startswith("VV"):
            # the mean of some scenes, each of which has a bias of its own: only the slope to the east is known
            grey = found[0][inside]
            assert 0 < grey.min() < grey.max() < 255


def test_without_radar_there_is_one_layer(engine: Any) -> None:
    assert len(tile_layers(TILE, "NORTH", Recipe(), radar=False)) == 1
    assert np.prod(TILE.shape) == 1024
