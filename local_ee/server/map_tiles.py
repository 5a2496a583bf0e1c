"""Tiles of web maps: an image is announced as a map, and its tiles are fetched by that name, as with ``getMapId``.

A tile is 256 x 256 px of Web Mercator (EPSG:3857); x counts from the west, y from the north, each z halves the pixels.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluator.grid import RequestGrid
from ..evaluator.image import Band, Evaluation, Image
from ..evaluator.visualise import Faded, visualise
from ..refusal import Refusal, not_built
from ..scene import Scene, SceneSource
from .pixels import JSON, Answer, chosen_bands, image_of_request

TILE_PX = 256
MAX_ZOOM = 24

HALF_WORLD_M = math.pi * 6378137.0
"""From the middle of Web Mercator to its edges."""

FORMATS = ("AUTO_JPEG_PNG", "PNG", "JPEG")

MAX_READ_PX = 2_000_000
"""Pixels of a scene that a tile may take of one band: there are no pyramids, and a tile that shows much of a scene
would keep a worker for minutes."""

TileIndex = tuple[int, int, int]
"""(z, x, y)."""


def announce_map(catalogue: SceneSource, body: dict[str, Any]) -> Answer:
    """Check the announcement of a map: what cannot be shown is refused here, not with each tile.

    Raises:
        Refusal: it cannot be computed or shown.
    """
    _format(body)
    _picture(catalogue, body)
    return Answer(200, JSON, b"{}")


def map_tile(catalogue: SceneSource, place: str, body: dict[str, Any]) -> Answer:
    """A tile of an announced map: PNG with alpha, or JPEG where that is wanted, or where no pixel is transparent.

    Args:
        place: ``z/x/y``.

    Raises:
        Refusal: there is no such tile, or it is too much.
    """
    form = _format(body)
    grid = tile_grid(tile_index(place))
    bands, opacity = _picture(catalogue, body)
    pixels, valid = _drawn(catalogue, bands, grid)
    alpha = np.where(valid, np.floor(255.0 * opacity + 0.5), 0).astype(np.uint8)
    if form == "JPEG" or (form == "AUTO_JPEG_PNG" and (alpha == 255).all()):
        return Answer(200, "image/jpeg", _encoded("JPEG", np.where(valid, pixels, 0), QUALITY=90))
    return Answer(200, "image/png", _encoded("PNG", np.concatenate([pixels, alpha[np.newaxis]])))


def tile_index(place: str) -> TileIndex:
    """The numbers of ``z/x/y``.

    Raises:
        Refusal: Web Mercator has no such tile.
    """
    if not re.fullmatch(r"[0-9]{1,2}/[0-9]{1,9}/[0-9]{1,9}", place):
        raise Refusal(f"Invalid tile '{place[:60]}': zoom, x and y are needed.")
    z, x, y = (int(part) for part in place.split("/"))
    if z > MAX_ZOOM or max(x, y) >= 2**z:
        raise Refusal(f"Invalid tile {z}/{x}/{y}: zoom is 0 to {MAX_ZOOM}, x and y are 0 to 2^zoom - 1.")
    return z, x, y


def tile_grid(index: TileIndex) -> RequestGrid:
    """The pixels of a tile."""
    z, x, y = index
    size = 2 * HALF_WORLD_M / (TILE_PX * 2**z)
    left, upper = x * TILE_PX * size - HALF_WORLD_M, HALF_WORLD_M - y * TILE_PX * size
    return RequestGrid("EPSG:3857", (size, 0.0, left, 0.0, -size, upper), TILE_PX, TILE_PX)


def _format(body: dict[str, Any]) -> str:
    form = str(body.get("fileFormat") or "AUTO_JPEG_PNG")
    if form not in FORMATS:
        raise not_built(f"The file format {form[:40]!r} of a map")
    return form


def _picture(catalogue: SceneSource, body: dict[str, Any]) -> tuple[tuple[Band, ...], float]:
    """Three bands of 0..255, and their opacity 0..1."""
    image, made = _unfaded(chosen_bands(image_of_request(catalogue, body), body))
    shown, asked = _unfaded(_visualised(image, body.get("visualizationOptions")))
    return shown.bands * (3 // len(shown.bands)), made * asked


def _unfaded(image: Image) -> tuple[Image, float]:
    """An image without the opacity of its bands, and the least of them."""
    opacities = [band.node.opacity for band in image.bands if isinstance(band.node, Faded)]
    bands = [replace(b, node=b.node.inputs[0]) if isinstance(b.node, Faded) else b for b in image.bands]
    return replace(image, bands=tuple(bands)), min(opacities, default=1.0)


def _visualised(image: Image, options: Any) -> Image:
    """The picture by the options of a request.

    Source: https://developers.google.com/earth-engine/reference/rest/v1/VisualizationOptions
    """
    if options is None or options == {}:
        return visualise(image)
    if not isinstance(options, dict):
        raise Refusal("Invalid value for 'visualizationOptions': an object is needed.")
    ranges, gamma = options.get("ranges") or [], options.get("gamma")
    if not isinstance(ranges, list) or not all(isinstance(item, dict) for item in ranges):
        raise Refusal("Invalid value for 'visualizationOptions.ranges': a list of objects is needed.")
    if gamma is not None and not isinstance(gamma, dict):
        raise Refusal("Invalid value for 'visualizationOptions.gamma': an object is needed.")
    opacity = options.get("opacity")
    if opacity is not None and (isinstance(opacity, bool) or not isinstance(opacity, int | float)):
        raise Refusal("Invalid value for 'visualizationOptions.opacity': a number is needed.")
    return visualise(
        image,
        low=[item.get("min", 0.0) for item in ranges],
        high=[item.get("max", 0.0) for item in ranges],
        gamma=None if gamma is None else gamma.get("value"),
        opacity=opacity,
        palette=options.get("paletteColors"),
    )


class _CloseUp:
    """A catalogue that refuses to read much of a scene at once."""

    def __init__(self, catalogue: SceneSource) -> None:
        self._catalogue = catalogue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalogue, name)

    def read(self, scene: Scene, band_id: str, rows: tuple[int, int], cols: tuple[int, int]) -> Any:
        if (rows[1] - rows[0]) * (cols[1] - cols[0]) > MAX_READ_PX:
            raise Refusal(
                "The local Earth Engine has no pyramids: this tile shows too much of a scene; zoom in (12 or more "
                "where pixels have 10 m)."
            )
        return self._catalogue.read(scene, band_id, rows, cols)


def _drawn(
    catalogue: SceneSource, bands: tuple[Band, ...], grid: RequestGrid
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Red, green and blue, uint8 (3, H, W), 0 where masked; and where all are valid, bool (H, W)."""
    reader: Any = _CloseUp(catalogue)
    evaluation = Evaluation(reader)
    evaluation.expect(band.node for band in bands)
    pixels = np.zeros((len(bands), *grid.shape), dtype=np.uint8)
    valid = np.ones(grid.shape, dtype=bool)
    for number, band in enumerate(bands):
        raster = evaluation.pixels(band.node, grid)
        pixels[number], valid = raster.values, valid & raster.valid
    pixels[:, ~valid] = 0
    return pixels, valid


def _encoded(driver: str, pixels: NDArray[np.uint8], **options: Any) -> bytes:
    """A picture file of uint8 (bands, H, W)."""
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.io import MemoryFile

    count, height, width = pixels.shape
    profile = {"driver": driver, "width": width, "height": height, "count": count, "dtype": "uint8", **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile() as memory:
            with memory.open(**profile) as target:
                target.write(pixels)
            content: bytes = memory.read()
    return content
