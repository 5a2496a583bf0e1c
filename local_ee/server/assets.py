"""Assets: what ``getAsset`` and ``listImages`` show of collections and scenes."""

from __future__ import annotations

import json
import re
from typing import Any

from ..evaluator.collection import Loaded
from ..evaluator.filters import Compare, Filter
from ..evaluator.image import Image, scene_image
from ..evaluator.values import Date, DateRange, encode, parse_date
from ..refusal import Refusal, not_built
from ..scene import SceneSource
from .pixels import JSON, Answer

PUBLIC = "projects/earthengine-public/assets/"
PAGE_SIZE = 1000


def get_asset(catalogue: SceneSource, asset: str) -> Answer:
    """An image or a collection as an ``EarthEngineAsset``.

    Raises:
        Refusal: there is nothing of that id.
    """
    if asset in catalogue.collections:
        found: dict[str, Any] = {"type": "IMAGE_COLLECTION", "name": PUBLIC + asset, "id": asset}
        return Answer(200, JSON, json.dumps(found).encode())
    scene = catalogue.scene(asset)
    if scene is None:
        raise Refusal(f"Asset '{asset[:200]}' not found (does not exist or caller does not have access).", 404)
    return Answer(200, JSON, json.dumps(_asset(scene_image(scene))).encode())


def list_assets(catalogue: SceneSource, asset: str, query: dict[str, str]) -> Answer:
    """Images of a collection, in pages.

    Raises:
        Refusal: there is no such collection, the filter is not understood, or it finds too much.
    """
    if asset not in catalogue.collections:
        raise Refusal(f"Asset '{asset[:200]}' is not an image collection.", 404)
    collection = Loaded(catalogue, asset, scene_image, tuple(_filters(query.get("filter", ""))))
    try:
        start, size = int(query.get("pageToken") or 0), int(query.get("pageSize") or PAGE_SIZE)
    except ValueError:
        raise Refusal("Invalid value for 'pageToken' or 'pageSize'.") from None
    images = collection.elements
    page: dict[str, Any] = {"assets": [_asset(image) for image in images[start : start + size]]}
    if start + size < len(images):
        page["nextPageToken"] = str(start + size)
    return Answer(200, JSON, json.dumps(page).encode())


def _asset(image: Image) -> dict[str, Any]:
    properties = {name: value for name, value in image.properties.items() if not name.startswith("system:")}
    asset: dict[str, Any] = {"type": "IMAGE", "name": PUBLIC + (image.id or ""), "id": image.id}
    for key, name in (("startTime", "system:time_start"), ("endTime", "system:time_end")):
        if name in image.properties:
            asset[key] = Date(int(image.properties[name])).when.isoformat().replace("+00:00", "Z")
    if image.geometry is not None:
        asset["geometry"] = image.geometry.encoded()
    return asset | {"bands": [band.encoded() for band in image.bands], "properties": encode(properties)}


def _filters(text: str) -> list[Filter]:
    """``startTime >= "..." AND endTime < "..." AND properties.X = "..."``; more is answered with 501."""
    filters: list[Filter] = []
    for term in filter(None, (part.strip() for part in text.split(" AND "))):
        match = re.fullmatch(r'(startTime|endTime|properties\.[\w:.]+)\s*(>=|<|=)\s*"?([^"]*)"?', term)
        if match is None:
            raise not_built(f"The asset filter {term[:60]!r}")
        field, sign, value = match.groups()
        if (field, sign) == ("startTime", ">="):
            filters.append(_window(DateRange(parse_date(value).ms, None)))
        elif (field, sign) == ("endTime", "<"):
            filters.append(_window(DateRange(-(2**62), parse_date(value).ms)))
        elif field.startswith("properties.") and sign == "=":
            filters.append(Compare("Filter.equals", (field.removeprefix("properties."), None), (None, value)))
        else:
            raise not_built(f"The asset filter {term[:60]!r}")
    return filters


def _window(window: DateRange) -> Compare:
    return Compare("Filter.dateRangeContains", (None, window), ("system:time_start", None))
