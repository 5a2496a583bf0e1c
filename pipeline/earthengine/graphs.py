"""Earth Engine expressions: which pixels one tile needs. Builds graphs, sends no request.

One image per tile: eleven Sentinel-2 bands of the scene the label was drawn on, the mean Sentinel-1 VV and VH of the
360 days around it, and the number of observations in that mean. Sources: paper, section III; catalogue pages of
COPERNICUS/S2_SR_HARMONIZED, COPERNICUS/S1_GRD and COPERNICUS/S1_GRD_FLOAT.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import ee

from ..spec.bands import S1_BANDS, S2_BANDS
from ..spec.periods import Period
from ..spec.recipe import (
    REQUEST_BANDS,
    S1_BORDER_NOISE_UNTIL,
    S1_COLLECTIONS,
    S1_FILL,
    S2_COLLECTION,
    S2_SHIFT,
    Recipe,
    s1_sensing_start,
)
from ..spec.tiles import Tile
from .clear_scenes import CLOUD_SCORE_FILL, CLOUD_STEP_M, CLOUDY_PERCENT, cloud_shape
from .scene_choice import SceneRef

# --- the search -------------------------------------------------------------------------------------------------------

CANDIDATE_PROPERTIES: tuple[str, ...] = (
    "system:index",
    "PRODUCT_ID",
    "MGRS_TILE",
    "PROCESSING_BASELINE",
    "system:footprint",
    "system:time_start",
)
"""Requested of each Sentinel-2 scene of the day; ``scene_choice.found_in`` reads the answer."""

S1_SCENES_KEY = "s1"
"""Key of the Sentinel-1 scenes in the same answer."""


def scene_search(tile: Tile, recipe: Recipe, start: datetime, end: datetime) -> ee.Dictionary:
    """All scenes that a tile can be made from, in one answer.

    Properties of the Sentinel-2 scenes sensed in [start, end) that touch the tile, one list per property, and
    ``system:index`` of the Sentinel-1 scenes of its window under ``S1_SCENES_KEY``.
    """
    s2 = ee.ImageCollection(S2_COLLECTION).filterDate(_utc(start), _utc(end)).filterBounds(tile_region(tile))
    answer = {name: s2.aggregate_array(name) for name in CANDIDATE_PROPERTIES}
    return ee.Dictionary({**answer, S1_SCENES_KEY: _s1_found(tile, recipe).aggregate_array("system:index")})


def period_search(tile: Tile, period: Period) -> ee.Dictionary:
    """Properties of all Sentinel-2 scenes of a period that touch a tile, one list per property, as ``scene_search``."""
    return ee.Dictionary(_period_lists(tile, period))


def _period_lists(tile: Tile, period: Period) -> dict[str, Any]:
    touching = _within(S2_COLLECTION, tile, period)
    return {name: touching.aggregate_array(name) for name in (*CANDIDATE_PROPERTIES, CLOUDY_PERCENT)}


def _within(collection: str, tile: Tile, period: Period) -> ee.ImageCollection:
    end = period.last + timedelta(days=1)
    images = ee.ImageCollection(collection).filterDate(period.first.isoformat(), end.isoformat())
    touching: ee.ImageCollection = images.filterBounds(tile_region(tile))
    return touching


CLOUD_SCORES_KEY = "scores"
"""Key of the scenes that have a Cloud Score+, in the answer to ``area_search``."""


def area_search(tile: Tile, period: Period) -> ee.Dictionary:
    """The answer of ``period_search``, and ``system:index`` of the scenes with a Cloud Score+ under
    ``CLOUD_SCORES_KEY``; for the grid of an area."""
    scored = _within(CLOUD_SCORE, tile, period).aggregate_array("system:index")
    return ee.Dictionary({**_period_lists(tile, period), CLOUD_SCORES_KEY: scored})


def s1_search(tile: Tile, recipe: Recipe) -> ee.List:
    """``system:index`` of the Sentinel-1 scenes of a tile's window."""
    indices: ee.List = _s1_found(tile, recipe).aggregate_array("system:index")
    return indices


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _s1_found(tile: Tile, recipe: Recipe) -> ee.ImageCollection:
    """The Sentinel-1 scenes of a tile: IW mode, VV and VH, the recipe's passes, its window, touching the tile."""
    start, end = recipe.window(tile.date)
    scenes: ee.ImageCollection = (
        ee.ImageCollection(S1_COLLECTIONS[recipe.s1_mean])
        .filterDate(start.isoformat(), end.isoformat())
        .filterBounds(tile_region(tile))
        .filter(ee.Filter.eq("instrumentMode", "IW"))
        .filter(ee.Filter.listContains("transmitterReceiverPolarisation", "VV"))
        .filter(ee.Filter.listContains("transmitterReceiverPolarisation", "VH"))
    )
    if len(recipe.s1_passes) == 1:
        scenes = scenes.filter(ee.Filter.eq("orbitProperties_pass", recipe.s1_passes[0]))
    return scenes


def used_s1_scenes(found: Sequence[str], recipe: Recipe) -> tuple[str, ...]:
    """Which of the Sentinel-1 scenes found enter the mean: all, or at most ``s1_max_scenes``.

    A pass comes in slices, and a tile may lie on two: they are taken together, or a part of the tile would go without.
    Of n passes in order of time those at positions i (n - 1) / (m - 1), rounded, are taken, the first and the last
    among them, for the largest m whose slices are not too many.

    Args:
        found: ``system:index`` of each, in any order.

    Returns:
        In order of time.
    """
    ordered = sorted(found, key=_sensing_time)
    most = recipe.s1_max_scenes
    if most is None or len(ordered) <= most:
        return tuple(ordered)
    passes: dict[tuple[str, ...], list[str]] = {}
    for index in ordered:
        passes.setdefault(_pass_of(index), []).append(index)
    for count in range(min(most, len(passes)), 0, -1):
        slices = [index for number in _spread(len(passes), count) for index in list(passes.values())[number]]
        if len(slices) <= most:
            return tuple(sorted(slices, key=_sensing_time))
    return tuple(ordered[number] for number in _spread(len(ordered), most))


def _spread(length: int, count: int) -> list[int]:
    """``count`` positions out of ``length``, evenly; one alone is the middle."""
    if count == 1:
        return [length // 2]
    return [round(i * (length - 1) / (count - 1)) for i in range(count)]


def _sensing_time(index: str) -> tuple[str, str]:
    """Start of sensing, then the whole."""
    return s1_sensing_start(index), index


def _pass_of(index: str) -> tuple[str, ...]:
    """Satellite and absolute orbit; of an index of another form the whole."""
    parts = index.split("_")
    return (parts[0], parts[6]) if len(parts) > 6 else (index,)


# --- the pixels -------------------------------------------------------------------------------------------------------


def tile_region(tile: Tile) -> ee.Geometry:
    """The tile's square as a planar geometry in its own CRS."""
    region: ee.Geometry = ee.Geometry.Rectangle(list(tile.bounds), proj=tile.crs, geodesic=False)
    return region


def tile_image(tile: Tile, recipe: Recipe, scene: SceneRef) -> ee.Image:
    """All that one tile needs, as one image with the bands of ``REQUEST_BANDS``.

    S2 bands are uint16 DN + 1, 0 = masked; VV and VH float32 dB, ``S1_FILL`` = no observation; S1_N uint16.

    Every scene is resampled bilinearly by itself, before scenes are put together: a composite has no native grid
    that could still be interpolated.
    """
    image: ee.Image = _stored_s2(scene)
    for part in _stored_s1(tile, recipe, scene):
        image = image.addBands(part)
    return image


def _stored_s2(scene: SceneRef) -> ee.Image:
    # Casting truncates, so round first.
    image: ee.Image = _s2_image(scene).round().add(S2_SHIFT).unmask(0, False).toUint16()
    return image


def _stored_s1(tile: Tile, recipe: Recipe, scene: SceneRef) -> tuple[ee.Image, ee.Image]:
    """VV and VH, and the number of observations."""
    stack = s1_stack(tile, recipe, scene)
    mean = stack.mean()
    if recipe.s1_mean == "linear":
        mean = mean.log10().multiply(10)
    mean = mean.unmask(S1_FILL, False).toFloat()
    count = stack.select(["VV"]).count().rename(["S1_N"]).unmask(0, False).toUint16()
    return mean, count


def _s2_image(scene: SceneRef) -> ee.Image:
    """The scene of the label; where it leaves a part of the tile open, its neighbours show through below it."""
    images: list[ee.Image] = [
        ee.Image(f"{S2_COLLECTION}/{index}").select(list(S2_BANDS)).resample("bilinear") for index in scene.indices
    ]
    if len(images) == 1:
        return images[0]
    # The last image of a mosaic is on top.
    mosaic: ee.Image = ee.ImageCollection(images[::-1]).mosaic()
    return mosaic


def s1_stack(tile: Tile, recipe: Recipe, scene: SceneRef) -> ee.ImageCollection:
    """The Sentinel-1 scenes that a tile's mean is taken of, VV and VH, each interpolated by itself; never empty."""
    scenes = _s1_found(tile, recipe)
    if recipe.s1_max_scenes is not None:
        scenes = scenes.filter(ee.Filter.inList("system:index", list(used_s1_scenes(scene.s1_scenes, recipe))))
    resampled = _with_edges(scenes)
    start, end = recipe.window(tile.date)
    if recipe.s1_edge_m is not None and start < S1_BORDER_NOISE_UNTIL:
        noisy = _without_edges(
            scenes.filterDate(start.isoformat(), S1_BORDER_NOISE_UNTIL.isoformat()), recipe.s1_edge_m
        )
        later = _with_edges(scenes.filterDate(S1_BORDER_NOISE_UNTIL.isoformat(), end.isoformat()))
        resampled = noisy.merge(later) if end > S1_BORDER_NOISE_UNTIL else noisy
    # The mean of an empty collection has no bands. One wholly masked image turns "no scene" into an answer.
    blank = ee.Image.constant([0, 0]).rename(list(S1_BANDS)).toDouble().updateMask(0)
    scenes_or_blank: ee.ImageCollection = resampled.merge(ee.ImageCollection([blank]))
    return scenes_or_blank


def _with_edges(scenes: ee.ImageCollection) -> ee.ImageCollection:
    resampled: ee.ImageCollection = scenes.select(list(S1_BANDS)).map(lambda image: image.resample("bilinear"))
    return resampled


def _without_edges(scenes: ee.ImageCollection, edge_m: int) -> ee.ImageCollection:
    """The same scenes, masked where the edge of their footprint is closer.

    The outline decides, never a value: below the noise of the sensor lies calm water too. It is cut after resampling,
    so that it runs through the tile's pixels, and says how exact it has to be: a hundredth of the width, as Earth
    Engine takes where nothing is said.
    """

    def cut(image: ee.Image) -> ee.Image:
        inner = image.geometry().buffer(-edge_m, edge_m / 100)
        clipped: ee.Image = image.resample("bilinear").clip(inner)
        return clipped

    masked: ee.ImageCollection = scenes.select(list(S1_BANDS)).map(cut)
    return masked


def pixel_request(
    tile: Tile,
    recipe: Recipe,
    scene: SceneRef,
    *,
    window: tuple[int, int, int, int] | None = None,
    bands: Sequence[str] = REQUEST_BANDS,
) -> dict[str, Any]:
    """Parameters of ``ee.data.computePixels`` for one tile: the image, on exactly the label's grid.

    Args:
        window: (row, column, height, width) of a part of that grid; None = all of it. Its pixels are those of the
            whole. Where a scene lies in another UTM zone, positions are worked out for each request, and a stored value
            may differ by one (1 pixel of 1,000 over the local Earth Engine).
        bands: ``REQUEST_BANDS``, or those of one sensor.
    """
    if tuple(bands) == S2_BANDS:
        image = _stored_s2(scene)
    elif tuple(bands) == REQUEST_BANDS[len(S2_BANDS) :]:
        mean, count = _stored_s1(tile, recipe, scene)
        image = mean.addBands(count)
    else:
        image = tile_image(tile, recipe, scene)
    return tile_request(image, tile, window or (0, 0, *tile.shape))


def one_pixel_request() -> dict[str, Any]:
    """Parameters of ``ee.data.computePixels`` for one pixel of red (B4, DN) where a scene of 13 July 2019 is known: the
    least that shows that pixels are available. 0 = the service has none there."""
    transform = (10.0, 0.0, 592680.0, 0.0, -10.0, 9101350.0)
    tile = Tile("dw_111.86_-8.13-20190713", "EPSG:32749", transform, (1, 1), date(2019, 7, 13), "EH", 1)
    day = tile.date
    scenes = ee.ImageCollection(S2_COLLECTION).filterDate(day.isoformat(), (day + timedelta(days=1)).isoformat())
    red = scenes.filterBounds(tile_region(tile)).select(["B4"])
    blank = ee.Image.constant([0]).rename(["B4"]).toDouble().updateMask(0)
    image = red.merge(ee.ImageCollection([blank])).mean().unmask(0, False).toUint16()
    return tile_request(image, tile, (0, 0, 1, 1))


def cloud_request(
    tile: Tile, choices: Sequence[Sequence[str]], *, cloud_score: bool, step_m: float = CLOUD_STEP_M
) -> dict[str, Any]:
    """Parameters of ``ee.data.computePixels``: what tells cloud from ground, a band per choice (``c0``, ``c1``, ...).

    Args:
        choices: ``system:index`` of the scenes of one day each, the first on top.
        cloud_score: Cloud Score+ (``cs_cdf`` in per cent, 0..100, ``CLOUD_SCORE_FILL`` where there is none) in place of
            the scene classification (SCL, 0..11, 0 = no pixel). Both as uint8.
        step_m: side of the pixels.
    """
    bands = [_cloud_score(indices) if cloud_score else _scene_classes(indices) for indices in choices]
    image = bands[0].rename(["c0"])
    for number, band in enumerate(bands[1:], 1):
        image = image.addBands(band.rename([f"c{number}"]))
    rows, columns = cloud_shape(tile, step_m)
    request = tile_request(image, tile, (0, 0, rows, columns))
    request["grid"]["affineTransform"] |= {"scaleX": step_m, "scaleY": -step_m}
    return request


def _scene_classes(indices: Sequence[str]) -> ee.Image:
    images = [ee.Image(f"{S2_COLLECTION}/{index}").select(["SCL"]) for index in indices]
    # The last image of a mosaic is on top.
    image = images[0] if len(images) == 1 else ee.ImageCollection(images[::-1]).mosaic()
    classes: ee.Image = image.unmask(0, False).toUint8()
    return classes


CLOUD_SCORE = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"


def _cloud_score(indices: Sequence[str]) -> ee.Image:
    scores = ee.ImageCollection(CLOUD_SCORE).filter(ee.Filter.inList("system:index", list(indices)))
    # Scenes without a score leave an empty collection, whose mosaic has no band.
    blank = ee.Image.constant([0]).rename(["cs_cdf"]).toFloat().updateMask(0)
    mosaic = scores.select(["cs_cdf"]).merge(ee.ImageCollection([blank])).mosaic()
    score: ee.Image = mosaic.multiply(100).round().unmask(CLOUD_SCORE_FILL, False).toUint8()
    return score


def tile_request(image: ee.Image, tile: Tile, window: tuple[int, int, int, int]) -> dict[str, Any]:
    """Parameters of ``ee.data.computePixels``: an image on a part of a tile's grid (row, column, height, width)."""
    a, b, c, d, e, f = tile.transform
    row, col, height, width = window
    return {
        "expression": image,
        "fileFormat": "NUMPY_NDARRAY",
        "workloadTag": "dwplus",
        "grid": {
            "crsCode": tile.crs,
            "affineTransform": {
                "scaleX": a, "shearX": b, "translateX": c + a * col + b * row,
                "shearY": d, "scaleY": e, "translateY": f + d * col + e * row,
            },
            "dimensions": {"width": width, "height": height},
        },
    }  # fmt: skip
