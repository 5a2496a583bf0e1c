"""Conformity of maps: layers in the words of the real client, and what Earth Engine's documentation says they show.

Each row of ``LAYERS`` is a name, an image, how it is visualised, the colours that must come out at each pixel of a
tile, and the page that says so. Where pixels lie follows from the formulas of Web Mercator and pyproj, colours from
arithmetic.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ee
import numpy as np
import pytest
from dwplus.local_ee.launch import LocalEarthEngine
from pyproj import Transformer
from support import conformity_scenes as scenes
from support.conformity_scenes import HILL, SOUTH_Y, SOUTH_ZONE, ZONE, X, Y
from support.local_ee_client import connect
from support.local_ee_scenes import S2
from support.map_tiles import centres_of_tile, pixels_of_tile, tile_of

GUIDE = "https://developers.google.com/earth-engine/guides/image_visualization"
VISUALIZE = "https://developers.google.com/earth-engine/apidocs/ee-image-visualize"
PNG = {"format": "png"}


@dataclass(frozen=True)
class Layer:
    """One row.

    Attributes:
        name: what is shown.
        image: makes the image of the layer.
        shown: parameters of its visualisation.
        colours: of the hill's value: red, green, blue, alpha of 0..255, where the hill is.
        source: where Earth Engine says so.
        zoom: of the tile.
        place: the scene's CRS and upper left corner.
    """

    name: str
    image: Callable[[], Any]
    shown: dict[str, Any]
    colours: Callable[[Any], tuple[Any, Any, Any, Any]]
    source: str
    zoom: int = 15
    place: tuple[str, float, float] = (ZONE, X, Y)


def hill(index: str = "hill") -> Any:
    return ee.Image(f"{S2}/{index}")


def scaled(values: Any, low: float, high: float, gamma: float = 1.0) -> Any:
    return np.floor(255 * np.clip((values - low) / (high - low), 0, 1) ** (1 / gamma) + 0.5)


def grey(low: float, high: float, gamma: float = 1.0) -> Callable[[Any], Any]:
    return lambda values: (*(scaled(values, low, high, gamma),) * 3, 255)


BLUE_TO_RED = {"palette": ["blue", "#f00"], "min": 1000, "max": 1600}

LAYERS = [
    Layer("a grey between min and max", hill, {"min": 1000, "max": 1600}, grey(1000, 1600), GUIDE),
    Layer(
        "in the south",
        lambda: hill("south"),
        {"min": 1000, "max": 1600},
        grey(1000, 1600),
        GUIDE,
        15,
        (SOUTH_ZONE, X, SOUTH_Y),
    ),
    Layer("close up", hill, {"min": 1000, "max": 1600}, grey(1000, 1600), GUIDE, zoom=18),
    Layer("far out", hill, {"min": 1000, "max": 1600}, grey(1000, 1600), GUIDE, zoom=12),
    Layer("gamma", hill, {"min": 1000, "max": 1600, "gamma": 1.4}, grey(1000, 1600, 1.4), GUIDE),
    Layer("gain and bias", hill, {"gain": 0.5, "bias": -500}, grey(1000, 1510), VISUALIZE),
    Layer(
        "a palette",
        hill,
        BLUE_TO_RED,
        lambda v: (scaled(v, 1000, 1600), 0, np.floor(255.5 - 255 * np.clip((v - 1000) / 600, 0, 1)), 255),
        GUIDE,
    ),
    Layer(
        "opacity",
        hill,
        {**BLUE_TO_RED, "opacity": 0.25},
        lambda v: (scaled(v, 1000, 1600), 0, np.floor(255.5 - 255 * np.clip((v - 1000) / 600, 0, 1)), 64),
        VISUALIZE,
    ),
    Layer(
        "three bands with a range each",
        lambda: hill().addBands(hill().multiply(2)).addBands(hill().multiply(3)),
        {"min": [1000, 2000, 3000], "max": [1600, 3000, 6000]},
        lambda v: (scaled(v, 1000, 1600), scaled(2 * v, 2000, 3000), scaled(3 * v, 3000, 6000), 255),
        GUIDE,
    ),
    Layer(
        "bands chosen by name",
        lambda: hill().addBands(hill().multiply(2).rename("double")),
        {"bands": ["double", "b", "b"], "min": 1000, "max": 3000},
        lambda v: (scaled(2 * v, 1000, 3000), scaled(v, 1000, 3000), scaled(v, 1000, 3000), 255),
        GUIDE,
    ),
    Layer(
        "masked pixels are transparent",
        lambda: hill().updateMask(hill().lt(1300)),
        {"min": 1000, "max": 1600},
        lambda v: (*(np.where(v < 1300, scaled(v, 1000, 1600), 0),) * 3, np.where(v < 1300, 255, 0)),
        GUIDE,
    ),
    Layer(
        "a picture that is visualised already",
        lambda: hill().visualize(min=1000, max=1600),
        {},
        grey(1000, 1600),
        VISUALIZE,
    ),
    Layer(
        "bytes without parameters",
        lambda: hill().divide(8).toByte(),
        {},
        lambda v: (*(np.floor(v / 8),) * 3, 255),
        GUIDE,
    ),
    Layer("floats without parameters", lambda: hill().divide(1711), {}, grey(0, 1711), GUIDE),
    Layer(
        "a mosaic", lambda: ee.ImageCollection([hill()]).mosaic(), {"min": 1000, "max": 1600}, grey(1000, 1600), GUIDE
    ),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEarthEngine]:
    planet = {"kind": "python", "file": str(Path(scenes.__file__)), "function": "world"}
    with LocalEarthEngine(planet, workers=1) as running:
        connect(running)
        ee.data.setMaxRetries(0)
        yield running
        ee.data.setMaxRetries(5)
        ee.Reset()


def middle(place: tuple[str, float, float]) -> Any:
    """(lon, lat) of the hill's middle."""
    return Transformer.from_crs(place[0], "EPSG:4326", always_xy=True).transform(place[1] + 300, place[2] - 300)


def expected_tile(layer: Layer, index: tuple[int, int, int]) -> tuple[Any, Any]:
    """The tile, float64 (4, 256, 256), and where it is certain: not within 0.02 px of two pixels of the scene."""
    crs, left, upper = layer.place
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*centres_of_tile(*index))
    col, row = (x - left) / 10, (upper - y) / 10
    inside = (col >= 0) & (col < 60) & (row >= 0) & (row < 60)
    values = np.where(inside, HILL[np.clip(row, 0, 59).astype(int), np.clip(col, 0, 59).astype(int)], 0)
    colours = np.stack([np.broadcast_to(part, values.shape) for part in layer.colours(values.astype(float))])
    certain = (np.abs(col - np.round(col)) > 0.02) & (np.abs(row - np.round(row)) > 0.02)
    return np.where(inside, colours, 0), certain


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_a_layer_shows_what_earth_engine_documents(layer: Layer, engine: LocalEarthEngine) -> None:
    z = layer.zoom
    x, y = tile_of(*middle(layer.place), z)
    expected, certain = expected_tile(layer, (z, x, y))

    fetcher = layer.image().getMapId({**layer.shown, **PNG})["tile_fetcher"]
    found = pixels_of_tile(fetcher.fetch_tile(x, y, z))

    assert expected[3].any()
    assert certain.mean() > 0.9
    # a sum that ends in exactly a half may be rounded either way
    assert (np.abs(found - expected)[:, certain] <= 1).all()
    assert (found == expected)[:, certain].mean() > 0.999


def fetched(url: str) -> bytes:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60) as answer:
        content: bytes = answer.read()
    return content


def test_a_browser_needs_no_credentials_for_a_tile_but_its_name(engine: LocalEarthEngine) -> None:
    map_id = hill().getMapId({"min": 1000, "max": 1600})
    x, y = tile_of(*middle((ZONE, X, Y)), 15)
    url = map_id["tile_fetcher"].format_tile_url(x, y, 15)

    assert url == f"{engine.url}/v1/{map_id['mapid']}/tiles/15/{x}/{y}"
    assert fetched(url) == map_id["tile_fetcher"].fetch_tile(x, y, 15)
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetched(url.replace(map_id["mapid"][-32:], "0" * 32))
    assert caught.value.code == 401


def test_opaque_tiles_are_jpeg_where_the_format_is_left_open(engine: LocalEarthEngine) -> None:
    """Source: https://developers.google.com/earth-engine/reference/rest/v1/ImageFileFormat"""
    made = ee.Image.constant([1.0, 0.5, 0.0])

    assert made.getMapId()["tile_fetcher"].fetch_tile(0, 0, 1)[:3] == b"\xff\xd8\xff"
    assert made.getMapId(PNG)["tile_fetcher"].fetch_tile(0, 0, 1)[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("made", "shown", "code", "words"),
    [
        (lambda: hill().select("nothing"), {}, 400, "did not match any bands"),
        (lambda: hill().addBands(hill()), {"palette": ["red"]}, 400, "Cannot provide a palette"),
        (hill, {"palette": ["reddish"]}, 400, "Invalid color"),
        (hill, {"format": "gif"}, 501, "The file format 'GIF' of a map"),
        (lambda: hill().entropy(ee.Kernel.square(1)), {}, 501, "not implemented"),
    ],
)
def test_what_cannot_be_shown_is_said_when_the_layer_is_added(
    made: Callable[[], Any], shown: dict[str, Any], code: int, words: str, engine: LocalEarthEngine
) -> None:
    with pytest.raises(ee.EEException, match=words) as caught:
        made().getMapId(shown)

    assert caught.value.__context__.resp.status == code


@pytest.mark.parametrize("place", [(2, 0, 1), (0, -1, 0), (0, 0, 30)])
def test_tiles_beyond_the_world_are_refused(place: tuple[int, int, int], engine: LocalEarthEngine) -> None:
    x, y, z = place

    with pytest.raises(ee.EEException, match="Invalid tile"):
        hill().getMapId(PNG)["tile_fetcher"].fetch_tile(x, y, z)
