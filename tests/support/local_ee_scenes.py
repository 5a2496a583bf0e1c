"""A small catalogue of scenes whose pixels are known by heart: planes over longitude and latitude, on any grid.

The server under test loads this file by its path (planet kind ``python``); the tests import it.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from dwplus.local_ee.scene import Scene, SceneBand, TooManyScenesError
from dwplus.local_ee.server.pixels import compute_pixels, compute_value
from pyproj import Transformer

S2 = "COPERNICUS/S2_SR_HARMONIZED"
S1 = "COPERNICUS/S1_GRD"
NATIVE_M = {
    "B1": 60,
    "B2": 10,
    "B3": 10,
    "B4": 10,
    "B5": 20,
    "B6": 20,
    "B7": 20,
    "B8": 10,
    "B8A": 20,
    "B11": 20,
    "B12": 20,
}


@dataclass(frozen=True)
class Place:
    """A tile and the planes over it.

    DN grows by 4 for 10 m to the east and by 3 to the south; dB by 0.1 for 1e-4 degrees east, 0.07 for as much north.
    """

    crs: str
    neighbour: str
    x: float
    y: float

    def lonlat(self, x: Any, y: Any, crs: str) -> Any:
        return Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)

    def digital_number(self, x: Any, y: Any) -> Any:
        return 2000 + 0.4 * (np.asarray(x) - self.x) + 0.3 * (self.y - np.asarray(y))

    def decibel(self, x: Any, y: Any, crs: str) -> Any:
        lon0, lat0 = self.lonlat(self.x, self.y, self.crs)
        lon, lat = self.lonlat(x, y, crs)
        return -10 + 1000 * (np.asarray(lon) - lon0) + 700 * (np.asarray(lat) - lat0)

    def affine(self, size_m: float = 10.0) -> tuple[float, float, float, float, float, float]:
        return (size_m, 0.0, self.x, 0.0, -size_m, self.y)


NORTH = Place("EPSG:32633", "EPSG:32632", 270_000.0, 5_000_000.0)
SOUTH = Place("EPSG:32733", "EPSG:32732", 270_000.0, 6_200_000.0)


class ArrayCatalogue:
    """Scenes whose bands are arrays in memory; implements ``Catalogue``."""

    def __init__(self) -> None:
        self.scenes: dict[str, Scene] = {}
        self.arrays: dict[tuple[str, str], tuple[Any, Any]] = {}
        self.reads: list[tuple[str, str]] = []
        self.searches: list[dict[str, Any]] = []

    def add(self, scene: Scene, arrays: dict[str, Any], masks: dict[str, Any] | None = None) -> None:
        self.scenes[scene.id] = scene
        for band, array in arrays.items():
            mask = (masks or {}).get(band)
            self.arrays[scene.id, band] = (array, np.ones(array.shape, bool) if mask is None else mask)

    @property
    def collections(self) -> tuple[str, ...]:
        return (S2, S1)

    def find(self, collection: str, **search: Any) -> list[Scene]:
        self.searches.append(search)
        if collection not in self.collections:
            raise KeyError(collection)
        if not any(value is not None for value in search.values()):
            raise TooManyScenesError
        found = [scene for scene in self.scenes.values() if scene.collection == collection]
        names, products = search.get("indices"), search.get("product_ids")
        if names is not None:
            found = [scene for scene in found if scene.index in names]
        if products is not None:
            found = [scene for scene in found if scene.properties.get("PRODUCT_ID") in products]
        return sorted(found, key=lambda scene: (scene.start_ms, scene.index))

    def scene(self, asset_id: str) -> Scene | None:
        return self.scenes.get(asset_id)

    def read(self, scene: Scene, band_id: str, rows: tuple[int, int], cols: tuple[int, int]) -> Any:
        self.reads.append((scene.id, band_id))
        array, valid = self.arrays[scene.id, band_id]
        height, width = array.shape
        values = np.zeros((rows[1] - rows[0], cols[1] - cols[0]), array.dtype)
        mask = np.zeros(values.shape, bool)
        top, left = max(rows[0], 0), max(cols[0], 0)
        bottom, right = min(rows[1], height), min(cols[1], width)
        if top < bottom and left < right:
            into = np.s_[top - rows[0] : bottom - rows[0], left - cols[0] : right - cols[0]]
            values[into], mask[into] = array[top:bottom, left:right], valid[top:bottom, left:right]
        return np.where(mask, values, 0).astype(array.dtype), mask


def centres(affine: tuple[float, ...], shape: tuple[int, int]) -> Any:
    """(x, y) of the centres of all pixels."""
    cols, rows = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    a, b, c, d, e, f = affine
    return a * cols + b * rows + c, d * cols + e * rows + f


def outline(
    place: Place, crs: str, affine: tuple[float, ...], shape: tuple[int, int]
) -> tuple[tuple[float, float], ...]:
    a, _, c, _, e, f = affine
    height, width = shape
    corners = [(c, f + e * height), (c + a * width, f + e * height), (c + a * width, f), (c, f)]
    return tuple(tuple(map(float, place.lonlat(x, y, crs))) for x, y in corners)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def s2_scene(
    place: Place, index: str, *, side_m: int = 2400, shift_m: float = 0.0, product: str = ""
) -> tuple[Scene, Any]:
    """A scene of 11 bands that starts 600 m up and left of the tile; ``shift_m`` moves its pixels, not its plane."""
    x0, y0 = place.x - 600, place.y + 600
    bands, arrays = [], {}
    for name, size in NATIVE_M.items():
        affine, shape = (float(size), 0.0, x0, 0.0, -float(size), y0), (side_m // size, side_m // size)
        bands.append(SceneBand(name, "uint16", place.crs, affine, shape))
        x, y = centres(affine, shape)
        arrays[name] = np.round(place.digital_number(x - shift_m, y)).astype(np.uint16)
    properties = {
        "system:index": index,
        "system:time_start": ms("2019-05-02T10:00:00"),
        "system:time_end": ms("2019-05-02T10:00:00"),
        "PRODUCT_ID": product or f"S2A_MSIL2A_{index}",
        "PROCESSING_BASELINE": "02.12",
    }
    footprint = outline(place, place.crs, (10.0, 0.0, x0, 0.0, -10.0, y0), (side_m // 10, side_m // 10))
    return Scene(S2, index, tuple(bands), properties, footprint), arrays


def s1_scene(
    place: Place,
    index: str,
    when: str,
    *,
    crs: str | None = None,
    offset_m: tuple[float, float] = (3.7, -2.2),
    size: int = 240,
    bands: tuple[str, ...] = ("VV", "VH", "angle"),
    mode: str = "IW",
    bias: float = 0.0,
    start_m: tuple[float, float] = (-600.0, 600.0),
    shift_m: float = 0.0,
) -> tuple[Scene, Any]:
    """A scene of 10 m pixels off the tile's lattice, in the tile's zone or another; VH is VV - 7 dB."""
    crs = crs or place.crs
    corner = (place.x + start_m[0], place.y + start_m[1])
    change = Transformer.from_crs(place.crs, crs, always_xy=True)
    x0, y0 = (
        round(value / 10) * 10 + offset for value, offset in zip(change.transform(*corner), offset_m, strict=True)
    )
    affine, shape = (10.0, 0.0, x0, 0.0, -10.0, y0), (size, size)
    x, y = centres(affine, shape)
    decibel = place.decibel(x - shift_m, y, crs) + bias
    known = {"VV": decibel, "VH": decibel - 7, "angle": np.full(shape, 38.0)}
    properties = {
        "system:index": index,
        "system:time_start": ms(when),
        "system:time_end": ms(when) + 25_000,
        "instrumentMode": mode,
        "transmitterReceiverPolarisation": [name for name in bands if name != "angle"],
        "orbitProperties_pass": "ASCENDING",
        "relativeOrbitNumber_start": 44,
    }
    found = tuple(SceneBand(name, "float32", crs, affine, shape) for name in bands)
    scene = Scene(S1, index, found, properties, outline(place, crs, affine, shape))
    return scene, {name: known[name].astype(np.float32) for name in bands}


def world(planet: dict[str, Any] | None = None) -> ArrayCatalogue:
    """Two tiles with everything that can be mistaken.

    ``shift_m`` of ``planet`` moves the pixels of the northern S2 scene and of the first S1 scenes. The window of a
    label of 2019-05-02 is [2018-11-03, 2019-10-29).
    """
    shift_m = float((planet or {}).get("shift_m", 0.0))
    catalogue = ArrayCatalogue()
    catalogue.add(*s2_scene(NORTH, "NORTH", shift_m=shift_m))
    catalogue.add(*s2_scene(SOUTH, "SOUTH"))
    for place, name in ((NORTH, "N"), (SOUTH, "S")):
        neighbour = {"crs": place.neighbour, "size": 340, "start_m": (-1100.0, 1100.0)}
        scenes = [
            s1_scene(place, f"{name}_first", "2018-11-03T00:00:00", bias=-1.0, shift_m=shift_m),
            s1_scene(place, f"{name}_zone", "2019-01-01T05:00:00", bias=1.0, **neighbour),
            s1_scene(place, f"{name}_before", "2018-11-02T23:59:59", bias=50.0),
            s1_scene(place, f"{name}_end", "2019-10-29T00:00:00", bias=50.0),
            s1_scene(place, f"{name}_ew", "2019-02-01T00:00:00", mode="EW", bias=50.0),
            s1_scene(place, f"{name}_vv_only", "2019-02-02T00:00:00", bands=("VV", "angle"), bias=50.0),
            s1_scene(place, f"{name}_far", "2019-02-03T00:00:00", start_m=(90_000.0, 0.0), bias=50.0),
        ]
        for scene in scenes:
            catalogue.add(*scene)
    # a scene that covers a part of the northern tile, half a year too early for its window
    catalogue.add(*s1_scene(NORTH, "N_half", "2018-06-01T00:00:00", start_m=(-2100.0, 600.0)))
    return catalogue


# A collection of label images, small enough to know every one of them

LABELS = "projects/wri-datalab/dynamic_world/v1/DW_LABELS"
TRAIN = "dw_9.0000000000_45.0000000000-20190701"
SHARED = "dw_9.2000000000_45.0000000000-20190701"
TEST = "dw_-0.5169602165_51.4043077942-20170409"  # of the 409, biome 4
SCENE = "20190701T101031_20190701T101030_T32TNQ"


class LabelCatalogue(ArrayCatalogue):
    collections = (LABELS,)

    def find(self, collection: str, **search: Any) -> list[Scene]:
        return super().find(collection, **{**search, "start_ms": 0})

    def label(
        self, name: str, codes: Any, *, crs: str = "EPSG:32632", x: float = 5e5, y: float = 5e6, **more: Any
    ) -> None:
        """Add an image; ``more`` are properties, and ``band``, ``index``."""
        index = more.pop("index", name.replace(".", "d"))
        band_id = more.pop("band", "lulc")
        height, width = codes.shape
        affine = (10.0, 0.0, x, 0.0, -10.0, y)
        start = 1_561_939_200_000
        properties = {"system:index": index, "system:time_start": start, "system:time_end": start + 86_400_000, **more}
        footprint = ((8.9, 44.9), (9.3, 44.9), (9.3, 45.2), (8.9, 45.2))
        band = SceneBand(band_id, "uint8", crs, affine, (height, width))
        self.add(Scene(LABELS, index, (band,), properties, footprint), {band_id: codes}, {band_id: codes != 0})


def codes(seed: int, size: int = 510) -> Any:
    """Released codes with a margin that nobody marked."""
    values = np.random.default_rng(seed).integers(1, 11, (size // 30, size // 30), dtype=np.uint8)
    drawn = np.kron(values, np.ones((30, 30), np.uint8))
    drawn = np.pad(drawn, (0, size - len(drawn)))
    drawn[:7] = 0
    return drawn


def labels_world(planet: dict[str, Any]) -> LabelCatalogue:
    """Four label images and one of something else; ``tiles``: files of label tiles that are shown instead."""
    world = LabelCatalogue()
    for path in planet.get("tiles", []):
        with rasterio.open(path) as raster:
            crs, x, y = f"EPSG:{raster.crs.to_epsg()}", raster.transform.c, raster.transform.f
            world.label(Path(path).stem, raster.read(1), crs=crs, x=x, y=y, dw_id=Path(path).stem)
    if planet.get("tiles"):
        return world
    world.label(TRAIN, codes(1), dw_id=TRAIN, S2_GEE_ID=SCENE)  # nothing says who drew it
    world.label(SHARED, codes(2), x=516e3, dw_id=SHARED, folder="v1/data/dev/Experts/EH/4", index="a_expert")
    world.label(SHARED, codes(3), x=516e3, dw_id=SHARED, labeler="Non-expert", biome=4.0, index="b_other", band="b1")
    world.label(TEST, codes(4, 512), crs="EPSG:32630", x=672420.0, y=5.7e6)  # named by its index alone
    world.label("a_country", np.ones((40, 40), np.uint8), index="z_country", dw_id="a country")
    return world


def other_world(_planet: dict[str, Any]) -> LabelCatalogue:
    """A collection of the right name that holds something else."""
    world = LabelCatalogue()
    world.label(TRAIN, np.ones((40, 40), np.uint8), dw_id=TRAIN)
    return world


# Expressions by hand, for tests that go without a client


def node(value: Any) -> dict[str, Any]:
    """A value as a node of an expression; nodes stay as they are."""
    kinds = ("functionInvocationValue", "arrayValue", "valueReference", "argumentReference", "functionDefinitionValue")
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in kinds:
        return value
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return {"arrayValue": {"values": [node(item) for item in value]}}
    return {"constantValue": value}


def call(name: str, /, **arguments: Any) -> dict[str, Any]:
    """A call of a server function; a trailing underscore keeps argument names apart from Python's words."""
    given = {key.rstrip("_"): node(value) for key, value in arguments.items()}
    return {"functionInvocationValue": {"functionName": name, "arguments": given}}


def expression(result: dict[str, Any], **values: dict[str, Any]) -> dict[str, Any]:
    return {"result": "0", "values": {"0": node(result), **values}}


def collection(asset: str = S1, *filters: dict[str, Any]) -> dict[str, Any]:
    found = call("ImageCollection.load", id=asset)
    for item in filters:
        found = call("Collection.filter", collection=found, filter=item)
    return found


def image(index: str = "NORTH", asset: str = S2) -> dict[str, Any]:
    return call("Image.load", id=f"{asset}/{index}")


def value(catalogue: Any, result: dict[str, Any], **values: dict[str, Any]) -> Any:
    """What ``value:compute`` answers."""
    return json.loads(compute_value(catalogue, {"expression": expression(result, **values)}).body)["result"]


def pixels(
    catalogue: Any,
    result: dict[str, Any],
    affine: Any,
    size: int = 8,
    crs: str = "EPSG:32633",
    **values: dict[str, Any],
) -> Any:
    """What ``image:computePixels`` answers, a structured array of ``size`` x ``size`` pixels."""
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    grid = {
        "crsCode": crs,
        "affineTransform": dict(zip(names, affine, strict=True)),
        "dimensions": {"width": size, "height": size},
    }
    body = {"expression": expression(result, **values), "fileFormat": "NPY", "grid": grid}
    return np.load(io.BytesIO(compute_pixels(catalogue, body).body))
