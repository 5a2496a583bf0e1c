"""What annotators drew on the sandbox's label tiles, as released and as images of an Earth Engine collection.

Comes after sites and planet; releases packs it into archives, the catalogue offers it as `LabelAssets`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...pipeline.spec.classes import CODE_UNMARKED
from ..planet import noise
from ..planet.labelling import Annotator, with_clouds
from ..planet.protocol import Planet
from ..scene import Scene, SceneBand, SceneSource
from .sites import SandboxTile, cloudy, sandbox_tiles

COLLECTION = "projects/wri-datalab/dynamic_world/v1/DW_LABELS"

_DAY_MS = 86_400_000


def world_seed(planet: Planet) -> int:
    """What the places of a planet's label tiles are drawn from."""
    return noise.key(json.dumps(planet.config, sort_keys=True))


def annotate(
    planet: Planet, catalogue: SceneSource, tile: SandboxTile, annotator: Annotator, *, hand: str = ""
) -> NDArray[np.uint8]:
    """uint8 (H, W), released codes 0..10 of a tile: the clouds are those of its scene.

    ``hand`` tells several people of one kind apart, who draw the same tile differently.
    """
    grid = tile.tile
    name = grid.id + hand
    codes = planet.annotate(grid.crs, grid.transform, grid.shape, annotator, name)
    if tile.scene is not None:
        clouds = cloudy(catalogue, tile.scene, grid)
        codes = with_clouds(codes, clouds, annotator, noise.key(world_seed(planet), name))
    return codes if tile.marked == 1 else _barely_marked(codes, tile.marked)


def is_nameless(tile: SandboxTile) -> bool:
    """Whether the records of a tile lack the name of its scene: one in thirty, and those without a scene."""
    return tile.scene is None or noise.unit("nameless", tile.tile.id) < 1 / 30


def _barely_marked(codes: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """The marks of an annotator who stopped early: those around the middle, on at most that share of the pixels."""
    height, width = codes.shape
    rows, cols = np.ogrid[:height, :width]
    distance = np.hypot(rows - height / 2, cols - width / 2)
    marked = np.sort(distance[codes != CODE_UNMARKED])
    if marked.size <= share * codes.size:
        return codes
    return np.where(distance < marked[int(share * codes.size)], codes, CODE_UNMARKED).astype(np.uint8)


class LabelAssets:
    """Label tiles of the default world as images: band ``lulc``, 0 masked; made at the first request.

    A tile that experts and non-experts marked shows the experts' marks.
    """

    def __init__(self, planet: Planet, catalogue: SceneSource) -> None:
        self._planet, self._catalogue = planet, catalogue

    @cached_property
    def scenes(self) -> dict[str, Scene]:
        """By ``system:index``."""
        return {scene.index: scene for scene in map(_scene, self._tiles.values())}

    @cached_property
    def _tiles(self) -> dict[str, SandboxTile]:
        tiles = sandbox_tiles(self._catalogue, seed=world_seed(self._planet))
        return {tile.tile.id: tile for tile in tiles}

    def codes(self, scene: Scene) -> NDArray[np.uint8]:
        """All pixels of an image, uint8 (H, W), released codes 0..10."""
        tile = self._tiles[scene.properties["dw_id"]]
        return annotate(self._planet, self._catalogue, tile, tile.annotators[0])


def _scene(tile: SandboxTile) -> Scene:
    grid = tile.tile
    start_ms = int(datetime(grid.date.year, grid.date.month, grid.date.day, tzinfo=UTC).timestamp()) * 1000
    a, b, c, d, e, f = grid.transform
    index = grid.id.replace(".", "d")
    properties: dict[str, object] = {
        "system:index": index,
        "system:time_start": start_ms,
        "system:time_end": start_ms + _DAY_MS,
        "dw_id": grid.id,
    }
    if tile.scene is not None and not is_nameless(tile):
        properties["S2_GEE_ID"] = tile.scene.index
    height, width = grid.shape
    band = SceneBand("lulc", "uint8", grid.crs, (a, b, c, d, e, f), (height, width))
    west, east = grid.outline[0][0], max(lon for lon, _ in grid.outline)
    turned = tuple((lon + 360 if east - west > 180 and lon < 0 else lon, lat) for lon, lat in grid.outline)
    return Scene(COLLECTION, index, (band,), properties, turned)
