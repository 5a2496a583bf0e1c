"""Layers of a web map out of the connected Earth Engine: the scene and the radar mean of a tile. Sends no request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import ee

from ..errors import UsageError
from ..spec.recipe import S2_COLLECTION, Recipe
from ..spec.tiles import Tile
from .graphs import s1_stack, tile_region
from .scene_choice import SceneRef


@dataclass(frozen=True)
class MapLayer:
    """An image of Earth Engine as a layer.

    Attributes:
        name: of the layer.
        image: ``ee.Image``.
        shown: parameters of its visualisation.
    """

    name: str
    image: Any
    shown: dict[str, Any]


def connected_to() -> str:
    """Host of the Earth Engine that the client is connected to.

    Raises:
        UsageError: it is connected to none.
    """
    if not ee.data.is_initialized():
        raise UsageError(
            "the Earth Engine client is not connected; call ee.Initialize(project=...) first, or for the local one "
            "ee.Initialize(url=engine.url, project=engine.project) (docs/local-earth-engine.md)"
        )
    return urlsplit(str(ee.data._get_state().api_base_url)).hostname or ""


def tile_layers(tile: Tile, scene: str, recipe: Recipe, *, radar: bool = True) -> list[MapLayer]:
    """Sentinel-2 true colour of a tile's scene, and the mean VV of its window of days, both cut to the tile.

    Args:
        scene: ``system:index`` of the Sentinel-2 scene; parts of the tile that it leaves open are transparent.
        radar: with Sentinel-1; of all scenes of the window, also where the recipe takes some of them.
    """
    optical = ee.Image(f"{S2_COLLECTION}/{scene}").select(["B4", "B3", "B2"]).clip(tile_region(tile))
    layers = [MapLayer("Sentinel-2 true colour (Earth Engine)", optical, {"min": 0, "max": 3000})]
    if radar:
        every = replace(recipe, s1_max_scenes=None)
        mean = s1_stack(tile, every, SceneRef(S2_COLLECTION, scene, "index")).select(["VV"]).mean()
        decibel = mean.log10().multiply(10) if recipe.s1_mean == "linear" else mean
        layers.append(MapLayer("VV, mean (Earth Engine)", decibel.clip(tile_region(tile)), {"min": -25, "max": 0}))
    return layers
