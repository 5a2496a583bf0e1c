"""Earth Engine expressions: which pixels one tile asks for. Builds graphs, never asks the server.

One image per tile: eleven Sentinel-2 bands of the scene the label was drawn on, the mean Sentinel-1 VV and VH of the
360 days around it, and the number of observations in that mean. Sources: paper, section III; catalogue pages of
COPERNICUS/S2_SR_HARMONIZED, COPERNICUS/S1_GRD and COPERNICUS/S1_GRD_FLOAT.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import ee

from .bands import S1_BANDS, S2_BANDS
from .tiles import Tile

S2_COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"
S1_COLLECTIONS: dict[str, str] = {"dB": "COPERNICUS/S1_GRD", "linear": "COPERNICUS/S1_GRD_FLOAT"}

S1_FILL = -999.0
"""Value of VV and VH where no scene has a pixel: far below every backscatter (0 dB is a legal value)."""

S2_SHIFT = 1
"""The request adds this to every valid DN, so that a masked pixel (0) differs from a valid DN of 0."""

REQUEST_BANDS: tuple[str, ...] = (*S2_BANDS, *S1_BANDS, "S1_N")

MeanDomain = Literal["dB", "linear"]
OrbitPass = Literal["ASCENDING", "DESCENDING"]


@dataclass(frozen=True)
class Recipe:
    """What is asked for besides the tile; two shards with the same recipe can be used side by side.

    Attributes:
        half_window_days: Sentinel-1 is averaged over [date - n, date + n) days; the paper takes 360 days centred on
            the label, and filterDate's end is exclusive.
        s1_mean: ``dB`` averages sigma0 in dB over S1_GRD, ``linear`` averages power over S1_GRD_FLOAT and then takes
            10 log10. The paper does not say; the two differ by 0.5-1 dB and never mix.
        s1_passes: orbit directions that enter the mean.
    """

    half_window_days: int = 180
    s1_mean: MeanDomain = "dB"
    s1_passes: tuple[OrbitPass, ...] = ("ASCENDING", "DESCENDING")

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with anything that changes pixels."""
        content = {**asdict(self), "s2": S2_COLLECTION, "bands": REQUEST_BANDS, "resampling": "bilinear"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def window(self, day: date) -> tuple[date, date]:
        """First day and day after the last one of the Sentinel-1 window."""
        half = timedelta(days=self.half_window_days)
        return day - half, day + half


def tile_region(tile: Tile) -> ee.Geometry:
    """The tile's square as a planar geometry in its own CRS."""
    region: ee.Geometry = ee.Geometry.Rectangle(list(tile.bounds), proj=tile.crs, geodesic=False)
    return region


def tile_image(tile: Tile, recipe: Recipe, scene_index: str) -> ee.Image:
    """All that one tile needs, as one image with the bands of ``REQUEST_BANDS``.

    S2 bands are uint16 DN + 1, 0 = masked; VV and VH float32 dB, ``S1_FILL`` = no observation; S1_N uint16.

    Every scene is resampled bilinearly by itself, before it is averaged: a composite has no grid of its own that
    could still be interpolated.
    """
    s2 = ee.Image(f"{S2_COLLECTION}/{scene_index}").select(list(S2_BANDS)).resample("bilinear")
    # Casting truncates, so round first.
    s2 = s2.round().add(S2_SHIFT).unmask(0, False).toUint16()
    stack = _s1_scenes(tile, recipe)
    mean = stack.mean()
    if recipe.s1_mean == "linear":
        mean = mean.log10().multiply(10)
    mean = mean.unmask(S1_FILL, False).toFloat()
    count = stack.select(["VV"]).count().rename(["S1_N"]).unmask(0, False).toUint16()
    image: ee.Image = s2.addBands(mean).addBands(count)
    return image


def _s1_scenes(tile: Tile, recipe: Recipe) -> ee.ImageCollection:
    start, end = recipe.window(tile.date)
    scenes = (
        ee.ImageCollection(S1_COLLECTIONS[recipe.s1_mean])
        .filterDate(start.isoformat(), end.isoformat())
        .filterBounds(tile_region(tile))
        .filter(ee.Filter.eq("instrumentMode", "IW"))
        .filter(ee.Filter.listContains("transmitterReceiverPolarisation", "VV"))
        .filter(ee.Filter.listContains("transmitterReceiverPolarisation", "VH"))
    )
    if len(recipe.s1_passes) == 1:
        scenes = scenes.filter(ee.Filter.eq("orbitProperties_pass", recipe.s1_passes[0]))
    resampled = scenes.select(list(S1_BANDS)).map(lambda image: image.resample("bilinear"))
    # The mean of an empty collection has no bands. One wholly masked image turns "no scene" into an answer.
    blank = ee.Image.constant([0, 0]).rename(list(S1_BANDS)).toDouble().updateMask(0)
    scenes_or_blank: ee.ImageCollection = resampled.merge(ee.ImageCollection([blank]))
    return scenes_or_blank


def scene_candidates(tile: Tile, start: datetime, end: datetime) -> ee.Dictionary:
    """Properties of all Sentinel-2 scenes sensed in [start, end) that touch the tile, one list per property."""
    scenes = ee.ImageCollection(S2_COLLECTION).filterDate(_utc(start), _utc(end)).filterBounds(tile_region(tile))
    return ee.Dictionary({name: scenes.aggregate_array(name) for name in CANDIDATE_PROPERTIES})


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


CANDIDATE_PROPERTIES: tuple[str, ...] = (
    "system:index",
    "PRODUCT_ID",
    "MGRS_TILE",
    "PROCESSING_BASELINE",
    "system:footprint",
)


def pixel_request(tile: Tile, recipe: Recipe, scene_index: str) -> dict[str, Any]:
    """Parameters of ``ee.data.computePixels`` for one tile: the image, on exactly the label's grid."""
    a, b, c, d, e, f = tile.transform
    height, width = tile.shape
    return {
        "expression": tile_image(tile, recipe, scene_index),
        "fileFormat": "NUMPY_NDARRAY",
        "workloadTag": "dwplus",
        "grid": {
            "crsCode": tile.crs,
            "affineTransform": {
                "scaleX": a, "shearX": b, "translateX": c, "shearY": d, "scaleY": e, "translateY": f,
            },
            "dimensions": {"width": width, "height": height},
        },
    }  # fmt: skip
