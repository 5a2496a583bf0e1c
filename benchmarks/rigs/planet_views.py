"""What the sensors see of the sandbox's label tiles: the pixels of any scene on a tile's own grid."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import numpy as np
from dwplus.local_ee.catalogue.catalogue import Catalogue
from dwplus.local_ee.catalogue.sites import SandboxTile, sandbox_tiles
from dwplus.local_ee.planet import noise, utm
from dwplus.local_ee.planet.planet import make_planet
from dwplus.local_ee.scene import Scene
from dwplus.pipeline.spec.tiles import Tile
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sandbox:
    """A planet's catalogue and its label tiles."""

    catalogue: Catalogue
    tiles: tuple[SandboxTile, ...]

    @classmethod
    def of(cls, tiles: int, seed: int) -> Sandbox:
        """The sandbox that ``dwplus build --source sandbox --tiles N --seed N`` makes."""
        catalogue = Catalogue(make_planet({"kind": "earth", "seed": seed}))
        places = noise.key(json.dumps(catalogue.planet.config, sort_keys=True))
        return cls(catalogue, tuple(sandbox_tiles(catalogue, tiles, seed=places)))

    def radar_scenes(self, tile: Tile, most: int) -> list[Scene]:
        """Scenes with VV and VH of the 360 days around the tile's day, evenly thinned out to at most ``most``."""
        noon = datetime(tile.date.year, tile.date.month, tile.date.day, tzinfo=UTC)
        start, end = (int((noon.timestamp() + days * 86_400) * 1000) for days in (-180, 180))
        lon, lat = tile.centre
        region = (lon - 0.01, lat - 0.01, lon + 0.01, lat + 0.01)
        found = self.catalogue.find("COPERNICUS/S1_GRD", start_ms=start, end_ms=end, region=region)
        usable = [scene for scene in found if {"VV", "VH"} <= {band.id for band in scene.bands}]
        return list(islice(usable, 0, None, max(1, -(-len(usable) // most))))

    def mean_backscatter(self, band: str, scenes: Sequence[Scene], crs: str, x: Floats, y: Floats) -> Floats:
        """Mean in dB over scenes of VV or VH at places of a UTM zone; 0 where no scene has a pixel."""
        views = [self.at(scene, band, crs, x, y) for scene in scenes]
        count = np.maximum(sum(mask.astype(int) for _, mask in views), 1)
        return np.asarray(sum(np.where(mask, values, 0) for values, mask in views) / count)

    def at(self, scene: Scene, band_id: str, crs: str, x: Floats, y: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """(values, mask) of a band at places of a UTM zone (metres, of one shape): the nearest pixel."""
        band = scene.band(band_id)
        (zone, south), (target, target_south) = utm.zone_of(crs), utm.zone_of(band.crs)
        y = y - utm.FALSE_NORTHING * south
        if zone != target:
            x, y = utm.forward(*utm.inverse(x, y, zone), target)
        size, _, left, _, _, top = band.transform
        rows = np.floor((top - utm.FALSE_NORTHING * target_south - y) / size).astype(int)
        cols = np.floor((x - left) / size).astype(int)
        values, mask = self.catalogue.read(
            scene, band_id, (int(rows.min()), int(rows.max()) + 1), (int(cols.min()), int(cols.max()) + 1)
        )
        rows, cols = rows - rows.min(), cols - cols.min()
        return values[rows, cols].astype(float), mask[rows, cols]


def centres(tile: Tile) -> tuple[Floats, Floats]:
    """(easting, northing) of each pixel centre of a tile in its CRS, metres, float64 (H, W) each."""
    height, width = tile.shape
    left, top = tile.transform[2], tile.transform[5]
    x, y = np.meshgrid(left + 10 * (np.arange(width) + 0.5), top - 10 * (np.arange(height) + 0.5))
    return x, y
