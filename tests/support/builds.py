"""A source of made-up pixels, and rows to build from it."""

from collections.abc import Callable

import numpy as np
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.earthengine.scene_choice import SceneHint, SceneRef
from dwplus.pipeline.earthengine.session import Request, Tally
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.spec.tiles import Tile
from numpy.typing import NDArray

from support.tiles import make_pixels, make_tile


class Pixels:
    """A source of made-up pixels that counts what it is asked for; ``react`` may change the answer or raise."""

    def __init__(
        self, name: str = "SANDBOX", react: Callable[[Tile, NDArray[np.uint16]], object] | None = None
    ) -> None:
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
