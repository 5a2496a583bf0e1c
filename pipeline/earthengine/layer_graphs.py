"""Earth Engine expressions: what lies beside a shard, Level-1C reflectance or a land-cover map. Sends no request.

A scene is found by the start of its data take and its MGRS tile, which reprocessing does not change: the catalogue's
index of Level-1C may name another processing than that of the Level-2A scene that the shard was made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import ee
import numpy as np
from numpy.typing import NDArray

from ..spec.layers import L1C_COLLECTION, Layer, Product
from ..spec.recipe import S2_SHIFT
from ..spec.tiles import Tile
from .graphs import tile_region, tile_request


def layer_request(tile: Tile, layer: Layer, scenes: Sequence[str]) -> dict[str, Any]:
    """Parameters of ``ee.data.computePixels`` for one layer on the label's grid.

    Args:
        scenes: ``system:index`` of the label's Sentinel-2 scenes, the first on top.
    """
    image = _l1c(tile, layer, scenes) if layer.product is None else _map(tile, layer, layer.product, scenes)
    return tile_request(image, tile, (0, 0, *tile.shape))


def stored_layer(answer: NDArray[Any], layer: Layer, shape: tuple[int, int]) -> NDArray[np.generic]:
    """Stored values of an answer: (bands, H, W) of the layer's type.

    Raises:
        ValueError: names, types or shape do not match the request, or a code is not in the map's table.
    """
    if answer.dtype.names != layer.bands or answer.shape != shape:
        raise ValueError(f"{answer.shape} pixels of {answer.dtype.names} instead of {shape} of {layer.bands}")
    if any(answer.dtype[band] != np.dtype(layer.dtype) for band in layer.bands):
        raise ValueError(f"{answer.dtype[0]} instead of {layer.dtype}")
    stored = np.stack([answer[band] for band in layer.bands])
    if layer.product is None:
        stored -= (stored > 1).astype(stored.dtype)  # DN + 1 comes; 0 is masked, DN 0 is stored as 1
    if unknown := layer.unknown(stored):
        raise ValueError(f"codes {unknown} are not in the table of {layer.name} (manifests/products.toml)")
    return stored


def _l1c(tile: Tile, layer: Layer, scenes: Sequence[str]) -> ee.Image:
    """DN + 1 of each band, bilinear on each scene by itself; 0 = masked."""
    images = _scenes_in(L1C_COLLECTION, tile, scenes, list(layer.bands)).map(lambda image: image.resample("bilinear"))
    image: ee.Image = _or_blank(images, layer).round().add(S2_SHIFT).unmask(0, False).toUint16()
    return image


def _map(tile: Tile, layer: Layer, product: Product, scenes: Sequence[str]) -> ee.Image:
    """Codes, nearest neighbour; ``NO_MAP`` = masked."""
    collection = product.collection(tile.date)
    if product.by == "scene":
        images = _scenes_in(collection, tile, scenes, list(layer.bands))
    else:
        year = product.year(tile.date)
        images = ee.ImageCollection(collection).filterDate(f"{year}-01-01", f"{year + 1}-01-01")
        images = images.filterBounds(tile_region(tile)).select(list(layer.bands))
    image: ee.Image = _or_blank(images, layer).unmask(layer.nodata, False).toUint8()
    return image


def _scenes_in(collection: str, tile: Tile, scenes: Sequence[str], bands: list[str]) -> ee.ImageCollection:
    """The images of some scenes in a collection, the first scene last: the last image of a mosaic is on top."""
    found: ee.ImageCollection | None = None
    for index in reversed(scenes):
        start, granule = index.split("_")[0], index.split("_")[-1]
        begin = datetime.strptime(start, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        first, last = begin - timedelta(hours=1), begin + timedelta(hours=2)
        images = (
            ee.ImageCollection(collection)
            .filterDate(first.strftime("%Y-%m-%dT%H:%M:%S"), last.strftime("%Y-%m-%dT%H:%M:%S"))
            .filterBounds(tile_region(tile))
            .filter(ee.Filter.stringStartsWith("system:index", f"{start}_"))
            .filter(ee.Filter.stringEndsWith("system:index", f"_{granule}"))
            .select(bands)
        )
        found = images if found is None else found.merge(images)
    assert found is not None
    return found


def _or_blank(images: ee.ImageCollection, layer: Layer) -> ee.Image:
    """Their mosaic; wholly masked where there is none, whose mosaic would have no band."""
    blank = ee.Image.constant([0] * len(layer.bands)).rename(list(layer.bands)).toDouble().updateMask(0)
    mosaic: ee.Image = ee.ImageCollection([blank]).merge(images).mosaic()
    return mosaic
