"""The catalogue of a planet: which scenes exist, and their pixels (see `scene.SceneSource`).

Scenes are not stored: they follow from orbits and the acquisition plan, so a search computes them from place and time.
Maps of the whole planet (`maps`) have one image each, or one per UTM tile and year.
Which scenes exist is the same for every planet and seed; their pixels are the planet's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...pipeline.spec.classes import CODE_UNMARKED
from ..planet import noise, utm
from ..planet.materials import OPTICAL_BANDS
from ..planet.protocol import Planet
from ..scene import Scene, SceneBand, TooManyScenesError
from . import maps, mgrs, products, sentinel1, sentinel2
from .acquisition import Acquisition, inside
from .annotations import COLLECTION as LABEL_TILES
from .annotations import LabelAssets

MOST_SCENES = 5_000
"""Longest answer to a search. Source: Earth Engine's limit on elements of a collection that are shown or aggregated."""

FIRST_S, LAST_S = 1_451_606_400.0, 1_798_761_600.0
"""2016-01-01 and 2027-01-01."""

_WIDEST_DEGREES2 = 900.0  # larger regions are searched by time
_LONGEST_S = 6 * 3600.0  # longer times are searched by place
_LONGEST_OF_MAPS_S = 4 * 366 * 86_400.0


class Catalogue:
    """All scenes of a planet; the structure is that of `scene.SceneSource`."""

    def __init__(self, planet: Planet) -> None:
        self.planet = planet
        self._seed = noise.key(*(f"{name}={value}" for name, value in sorted(planet.config.items())))
        self._recent: dict[str, Acquisition] = {}
        self._lock = Lock()
        self._labels = LabelAssets(planet, self)

    def __reduce__(self) -> tuple[type[Catalogue], tuple[Planet]]:
        return Catalogue, (self.planet,)

    @property
    def collections(self) -> tuple[str, ...]:
        return (*sentinel2.BANDS, *sentinel1.COLLECTIONS, *maps.WORLDCOVER, maps.ESRI, LABEL_TILES)

    def find(
        self,
        collection: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        region: tuple[float, float, float, float] | None = None,
        indices: frozenset[str] | None = None,
        product_ids: frozenset[str] | None = None,
    ) -> list[Scene]:
        if collection not in self.collections:
            raise KeyError(collection)
        start_s = FIRST_S if start_ms is None else max(start_ms / 1000, FIRST_S)
        end_s = LAST_S if end_ms is None else min(end_ms / 1000, LAST_S)
        if start_s >= end_s:
            return []
        if collection in maps.WORLDCOVER or collection == LABEL_TILES:
            listed = [scene for scene in self._listed(collection).values() if product_ids is None]
            return sorted(
                (
                    scene
                    for scene in listed
                    if start_s * 1000 <= scene.start_ms < end_s * 1000
                    and (indices is None or scene.index in indices)
                    and (region is None or _may_meet(scene, region))
                ),
                key=_order,
            )
        if indices is not None or product_ids is not None:
            candidates = self._named(collection, indices, product_ids)
        else:
            candidates = self._between(collection, start_s, end_s, region)
        found: dict[str, Scene] = {}
        for acquisition in candidates:
            scene = acquisition.scene
            if start_s * 1000 <= scene.start_ms < end_s * 1000 and (region is None or _may_meet(scene, region)):
                found[scene.index] = self._kept(acquisition).scene
                if len(found) > MOST_SCENES:
                    raise TooManyScenesError(_too_many(collection))
        return sorted(found.values(), key=_order)

    def scene(self, asset_id: str) -> Scene | None:
        collection, _, index = asset_id.rpartition("/")
        if collection in maps.WORLDCOVER or collection == LABEL_TILES:
            return self._listed(collection).get(index)
        acquisition = self._acquisition(asset_id)
        return None if acquisition is None else acquisition.scene

    def read(
        self, scene: Scene, band_id: str, rows: tuple[int, int], cols: tuple[int, int]
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        band = scene.band(band_id)
        values = np.zeros((max(rows[1] - rows[0], 0), max(cols[1] - cols[0], 0)), band.dtype)
        mask = np.zeros(values.shape, bool)
        # Only what lies inside the image.
        top, bottom = max(rows[0], 0), min(rows[1], band.shape[0])
        left, right = max(cols[0], 0), min(cols[1], band.shape[1])
        if top >= bottom or left >= right:
            return values, mask
        pixels, valid = self._pixels(scene, band, (top, bottom), (left, right))
        window = np.s_[top - rows[0] : bottom - rows[0], left - cols[0] : right - cols[0]]
        mask[window] = valid
        np.copyto(values[window], pixels, where=valid, casting="same_kind")
        return values, mask

    def _pixels(
        self, scene: Scene, band: SceneBand, rows: tuple[int, int], cols: tuple[int, int]
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | bool]:
        """(values, mask) of a window that lies inside the image."""
        if scene.collection in maps.WORLDCOVER:
            return maps.worldcover_pixels(self.planet, scene, rows, cols), True
        if scene.collection == LABEL_TILES:
            codes = self._labels.codes(scene)[rows[0] : rows[1], cols[0] : cols[1]]
            return codes, codes != CODE_UNMARKED
        acquisition = self._acquisition(scene.id)
        if acquisition is None:
            return np.zeros((1, 1), band.dtype), False
        if band.id == "angle":
            return sentinel1.angles(band, rows, cols), True
        grid = _grid(band, rows, cols)
        seen = inside(acquisition.seen, grid)
        if not seen.any():
            return np.zeros((1, 1), band.dtype), False
        if scene.collection == sentinel2.DYNAMIC_WORLD_V1:
            pixels, clear = products.dynamic_world(self.planet, band.id, grid, acquisition.geometry, scene.index)
            return pixels, seen & clear
        return self._seen(acquisition, band, grid), True if seen.all() else seen

    def _seen(self, acquisition: Acquisition, band: SceneBand, grid: utm.UtmGrid) -> NDArray[Any]:
        collection, geometry = acquisition.scene.collection, acquisition.geometry
        factor = round(grid.step_m) // 10
        if collection == maps.ESRI:
            return maps.esri_pixels(self.planet, grid, int(acquisition.scene.index[-4:]))
        if band.id == "QA60":
            return products.cloud_bits(self.planet, grid, geometry)
        if collection == sentinel2.CLOUD_SCORE:
            return products.cloud_score(self.planet, band.id, grid, geometry)
        if collection == sentinel2.L1C:
            return products.top_of_atmosphere(self.planet, band.id, grid, factor, geometry)
        if collection == sentinel2.L2A:
            if band.id in OPTICAL_BANDS:
                return self.planet.optical(band.id, grid, factor, geometry)
            return products.quality(self.planet, band.id, grid, geometry)
        decibel = self.planet.backscatter(band.id, grid, geometry)
        return decibel if collection == "COPERNICUS/S1_GRD" else np.power(10.0, decibel / 10)

    def _listed(self, collection: str) -> dict[str, Scene]:
        """All images of a collection that has few, by their index."""
        if collection == LABEL_TILES:
            return self._labels.scenes
        whole = maps.worldcover(collection)
        return {whole.index: whole}

    def _named(
        self, collection: str, indices: frozenset[str] | None, product_ids: frozenset[str] | None
    ) -> Iterator[Acquisition]:
        """Scenes that names alone lead to; with both kinds of names, those that both know."""
        if indices is None:
            assert product_ids is not None
            if collection in sentinel2.BANDS:
                yield from _found(sentinel2.by_product(collection, name, self._seed) for name in sorted(product_ids))
            return
        for acquisition in _found(self._acquisition(f"{collection}/{index}") for index in sorted(indices)):
            if product_ids is None or acquisition.scene.properties.get("PRODUCT_ID") in product_ids:
                yield acquisition

    def _between(
        self, collection: str, start_s: float, end_s: float, region: tuple[float, float, float, float] | None
    ) -> Iterator[Acquisition]:
        """Scenes that place and time lead to."""
        if region is not None and (region[2] - region[0]) * (region[3] - region[1]) > _WIDEST_DEGREES2:
            region = None
        if collection == maps.ESRI:
            if region is None and end_s - start_s > _LONGEST_OF_MAPS_S:
                raise TooManyScenesError(_too_many(collection))
            return maps.esri_in(region, start_s, end_s, self._seed)
        if region is None and end_s - start_s > _LONGEST_S:
            raise TooManyScenesError(_too_many(collection))
        if collection in sentinel2.BANDS:
            granules = sentinel2.granules_between(start_s, end_s) if region is None else mgrs.granules_in(region)
            return chain.from_iterable(
                sentinel2.acquisitions(collection, g, start_s, end_s, self._seed) for g in granules
            )
        slices = sentinel1.slices_between(start_s, end_s) if region is None else sentinel1.slices_in(region)
        return chain.from_iterable(
            sentinel1.acquisitions(part, collection, start_s, end_s, self._seed) for part in slices
        )

    def _acquisition(self, asset_id: str) -> Acquisition | None:
        with self._lock:
            known = self._recent.get(asset_id)
        if known is not None:
            return known
        collection, _, index = asset_id.rpartition("/")
        if collection in sentinel2.BANDS:
            found = sentinel2.by_index(collection, index, self._seed)
        elif collection == maps.ESRI:
            found = maps.esri_of(index, self._seed)
        elif collection in sentinel1.COLLECTIONS:
            found = sentinel1.by_index(collection, index, self._seed)
        else:
            found = None
        return None if found is None else self._kept(found)

    def _kept(self, acquisition: Acquisition) -> Acquisition:
        """Remember a scene that is likely to be read next."""
        with self._lock:
            if len(self._recent) >= 4 * MOST_SCENES:
                self._recent.clear()
            self._recent[acquisition.scene.id] = acquisition
        return acquisition


def _order(scene: Scene) -> tuple[int, str]:
    return scene.start_ms, scene.index


def _found(candidates: Iterable[Acquisition | None]) -> Iterator[Acquisition]:
    return (candidate for candidate in candidates if candidate is not None)


def _too_many(collection: str) -> str:
    return (
        f"a search of {collection} leads to more than {MOST_SCENES} scenes; "
        "narrow it with filterDate, filterBounds or an id"
    )


def _grid(band: SceneBand, rows: tuple[int, int], cols: tuple[int, int]) -> utm.UtmGrid:
    zone, south = utm.zone_of(band.crs)
    size, _, left, _, _, top = band.transform
    return utm.UtmGrid(zone, left, top - utm.FALSE_NORTHING * south, size, rows, cols)


def _may_meet(scene: Scene, region: tuple[float, float, float, float]) -> bool:
    """Whether the box of the footprint meets the region, on any turn."""
    lons, lats = [p[0] for p in scene.footprint], [p[1] for p in scene.footprint]
    west, south, east, north = region
    if max(lats) < south - 0.02 or min(lats) > north + 0.02:
        return False
    return any(max(lons) + turn >= west - 0.02 and min(lons) + turn <= east + 0.02 for turn in (-360, 0, 360))
