"""Provenance: where the pixels of a shard came from; enough to request the same ones again, and to cite them.

It holds no time, address or path: the same request gives the same bytes. ``export`` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..earthengine.graphs import used_s1_scenes
from ..earthengine.scene_choice import Candidate, SceneRef
from ..errors import DataError
from ..files.atomic import parse_json
from ..raster.geotiff import ShardHeader
from ..spec.bands import NODATA, S2_BANDS, SHARD_BANDS
from ..spec.licences import LabelMaker, LabelTerms, licence_between
from ..spec.recipe import S1_COLLECTIONS, Recipe, recipe_from
from ..spec.tiles import Tile
from ..spec.version import __version__

PROCESSING = (
    "each scene bilinear on the label's grid by itself; Sentinel-2: first scene on top where several are named, then "
    "rounded to DN, a valid 0 stored as 1; Sentinel-1: mean over the half-open window in the domain of S1_MEAN, stored "
    "as (dB + 100) x 100; 0 = no data"
)
"""What is done to pixels besides what the recipe says."""

_UNKNOWN = "-"
"""In place of an id that the service does not report, so that the others keep their positions."""


def provenance(
    tile: Tile,
    scene: SceneRef,
    recipe: Recipe,
    stored: NDArray[np.uint16],
    source: str,
    *,
    label: LabelMaker | None = None,
    terms: tuple[LabelTerms, ...] = (),
) -> dict[str, str]:
    """Tags of a shard.

    Args:
        stored: uint16 (bands, H, W) in the order of ``SHARD_BANDS``, 0 = no data.
        source: where the pixels came from.
        label: who made the tile's label; None = the release that goes with this source.
        terms: of an own label.
    """
    start, end = recipe.window(tile.date)
    count = stored[SHARD_BANDS.index("S1_N")]
    s2_seen = np.all(stored[: len(S2_BANDS)] != NODATA, axis=0)
    products = [scene.properties.get("PRODUCT_ID"), *(c.product_id for c in scene.neighbours)]
    baselines = [scene.properties.get("PROCESSING_BASELINE"), *(c.baseline for c in scene.neighbours)]
    last_day = end - timedelta(days=1)
    tags = {
        "DWPLUS_SOURCE": source,
        "DWPLUS_VERSION": __version__,
        "DWPLUS_RECIPE": recipe.hash,
        "DWPLUS_RECIPE_FIELDS": json.dumps(recipe.document, sort_keys=True),
        "DWPLUS_PROCESSING": PROCESSING,
        "TILE": tile.id,
        "DATE": tile.date.isoformat(),
        "HEMISPHERE": tile.hemisphere,
        "BIOME": str(tile.biome),
        "S2_COLLECTION": scene.collection,
        "S2_SCENE": scene.index,
        "S2_SCENES": " ".join(scene.indices),
        "S2_RULE": scene.rule,
        "S2_PRODUCT_ID": " ".join(name or _UNKNOWN for name in products),
        "S2_BASELINE": " ".join(name or _UNKNOWN for name in baselines),
        "S2_COVERED_SHARE": f"{s2_seen.mean():.4f}",
        "S1_COLLECTION": S1_COLLECTIONS[recipe.s1_mean],
        "S1_MEAN": recipe.s1_mean,
        "S1_PASSES": ",".join(recipe.s1_passes),
        "S1_EDGE_M": "" if recipe.s1_edge_m is None else str(recipe.s1_edge_m),
        "S1_WINDOW": f"{start.isoformat()}/{end.isoformat()}",
        "S1_OBSERVATIONS": f"{count.min()}..{count.max()}",
        "S1_COVERED_SHARE": f"{(count > 0).mean():.4f}",
        "S1_SCENES": " ".join(used_s1_scenes(scene.s1_scenes, recipe)),
        "LICENCE": licence_between(source, start, last_day, () if label is None else (label,), terms),
    }
    return {name: value for name, value in tags.items() if value}


def asked_for(header: ShardHeader) -> tuple[Tile, Recipe, SceneRef]:
    """The request that a shard was made with, from its header: the arguments of ``graphs.pixel_request``.

    ::

        tile, recipe, scene = asked_for(read_header(path))
        answer = session.pixels(pixel_request(tile, recipe, scene))
        assert (stored_values(answer, tile.shape) == read_bands(path, SHARD_BANDS)).all()

    Raises:
        DataError: the header does not say; the shard was not written by ``dwplus build``, or by a version that
            requested pixels in another way.
    """
    tags = header.tags
    try:
        recipe = recipe_from(_fields_of(tags))
        if recipe.hash != tags["DWPLUS_RECIPE"]:
            raise DataError(
                f"{tags['TILE']}: dwplus {tags.get('DWPLUS_VERSION', 'of another version')} wrote recipe "
                f"{tags['DWPLUS_RECIPE']}, which means {recipe.hash} to this version ({__version__}): install that one "
                "to request the same pixels"
            )
        grid = header.grid
        tile = Tile(
            id=tags["TILE"],
            crs=grid.crs,
            transform=grid.transform,
            shape=grid.shape,
            date=date.fromisoformat(tags["DATE"]),
            hemisphere="WH" if tags["HEMISPHERE"] == "WH" else "EH",
            biome=int(tags["BIOME"]),
        )
        return tile, recipe, _scene_of(tags)
    except (KeyError, ValueError) as error:
        raise DataError(f"a shard without complete provenance ({error!r}); was it written by 'dwplus build'?") from None


def _fields_of(tags: Mapping[str, str]) -> dict[str, Any]:
    fields = parse_json(tags["DWPLUS_RECIPE_FIELDS"], where="its tag DWPLUS_RECIPE_FIELDS")
    if not isinstance(fields, dict):
        raise DataError("its tag DWPLUS_RECIPE_FIELDS holds no recipe")
    return fields


def _scene_of(tags: Mapping[str, str]) -> SceneRef:
    top, *others = tags["S2_SCENES"].split(" ")
    products, baselines = (_names(tags.get(name, ""), 1 + len(others)) for name in ("S2_PRODUCT_ID", "S2_BASELINE"))
    properties = {"PRODUCT_ID": products[0], "PROCESSING_BASELINE": baselines[0]}
    neighbours = tuple(
        Candidate(index, product, index.rsplit("_T", 1)[-1], baseline, footprint=())
        for index, product, baseline in zip(others, products[1:], baselines[1:], strict=True)
    )
    s1_scenes = tuple(tags.get("S1_SCENES", "").split())
    return SceneRef(tags["S2_COLLECTION"], top, tags["S2_RULE"], properties, neighbours, s1_scenes)


def _names(tag: str, count: int) -> list[str]:
    """The names of a tag, one for each scene."""
    names = ["" if name == _UNKNOWN else name for name in tag.split(" ")]
    return [*names, *[""] * count][:count]
