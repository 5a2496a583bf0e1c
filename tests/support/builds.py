"""A source of made-up pixels, and rows to build from it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.earthengine.scene_choice import SceneHint, SceneRef
from dwplus.pipeline.earthengine.session import Request, Tally
from dwplus.pipeline.spec.layers import Layer
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.spec.tiles import Tile
from numpy.typing import NDArray

from support.tiles import make_pixels, make_tile


class Pixels:
    """A source of made-up pixels that counts what it is asked for; ``react`` may change the answer or raise."""

    def __init__(self, name: str = "SANDBOX", react: Callable[[Tile, NDArray[Any]], object] | None = None) -> None:
        self.name = name
        self.asked: list[str] = []
        self._react = react

    def resolve(self, tile: Tile, hint: SceneHint, recipe: Recipe, tally: Tally) -> SceneRef | None:
        tally.requests += 1
        return None if "no-scene" in (hint.index or "") else SceneRef("COPERNICUS/S2_SR_HARMONIZED", "s", "index")

    def request(self, tile: Tile, recipe: Recipe, scene: SceneRef) -> Request:
        return Request(tile, scene, recipe)

    def stop(self) -> None:
        pass

    def settle(self, tally: Tally) -> None:
        if tally.measure:
            tally.eecu_s = 36.0

    def fetch_layer(self, tile: Tile, layer: Layer, scenes: Sequence[str], tally: Tally) -> NDArray[np.generic]:
        """Codes of the map from row to row, or DN 100, 101, ...; nothing of a map of scenes for tiles in the west."""
        self.asked.append(f"{layer.name} {tile.id} {' '.join(scenes)}")
        tally.requests += 1
        stored = np.full((len(layer.bands), *tile.shape), layer.nodata, layer.dtype)
        if layer.product is None:
            stored[:] = 100 + np.arange(len(layer.bands))[:, None, None]
        elif layer.product.by == "year" or tile.hemisphere == "EH":
            codes = np.array([*layer.product.codes])
            stored[:] = codes[np.arange(tile.shape[0]) % len(codes)][:, None]
        if self._react is not None:
            self._react(tile, stored)
        return stored

    def fetch(self, request: Request, tally: Tally) -> NDArray[np.uint16]:
        self.asked.append(request.tile.id)
        tally.requests += 1
        tally.received_bytes += 1000
        pixels = make_pixels()
        if self._react is not None:
            self._react(request.tile, pixels)
        return pixels


def rows(count: int = 3) -> list[ManifestRow]:
    tiles = [make_tile(f"dw_{n}.0_45.0-20190701", x=500000.0 + 100 * n) for n in range(count)]
    return [ManifestRow(tile, "expert", "train", "labels/x.tif", "0", 0.9) for tile in tiles]
