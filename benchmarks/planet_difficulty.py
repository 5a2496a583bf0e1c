"""How hard the sandbox's land cover is: overall accuracy of a random forest on single pixels.

    python benchmarks/planet_difficulty.py [--tiles 132] [--seed 7] [--dates 40]

Trains on the experts' training tiles and tests on the test tiles of the sandbox, both as released; pixels that are
unmarked or marked as cloud, and those under clouds in the scene, are left out. Prints the overall accuracy from ten
Sentinel-2 bands, from the mean VV and VH of all dates, and from both, and that of always predicting the commonest
class. Needs scikit-learn. Takes about three minutes on one core.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import islice

import numpy as np
from dwplus.local_ee.catalogue.catalogue import Catalogue
from dwplus.local_ee.catalogue.sites import SandboxTile, cloudy, sandbox_tiles
from dwplus.local_ee.planet import noise, utm
from dwplus.local_ee.planet.labelling import Annotator
from dwplus.local_ee.planet.planet import make_planet
from dwplus.local_ee.scene import Scene
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, IGNORE
from dwplus.pipeline.spec.tiles import Tile
from numpy.typing import NDArray
from rigs import arguments

BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
PIXELS_PER_TILE = 700
TREES = 100


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("--tiles", type=int, default=132)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--dates", type=int, default=40, help="Sentinel-1 scenes in the mean, at most")
    options = arguments.parse(parser, tiles=6, dates=1)
    arguments.need("sklearn", "pip install scikit-learn")
    from sklearn.ensemble import RandomForestClassifier

    catalogue = Catalogue(make_planet({"kind": "earth", "seed": options.seed}))
    world = sandbox_tiles(catalogue, options.tiles, seed=noise.key(json.dumps(catalogue.planet.config, sort_keys=True)))
    train = _samples(catalogue, [t for t in world if "expert" in t.annotators], "expert", options.dates)
    test = _samples(catalogue, [t for t in world if "consensus" in t.annotators], "consensus", options.dates)
    print(f"{len(train[1])} training pixels, {len(test[1])} test pixels")
    classes, counts = np.unique(train[1], return_counts=True)
    print(f"commonest class      {np.mean(test[1] == classes[counts.argmax()]):.3f}")
    number = len(BANDS)
    for name, columns in (("S2", slice(0, number)), ("S1", slice(number, None)), ("S1 and S2", slice(None))):
        forest = RandomForestClassifier(TREES, min_samples_leaf=2, n_jobs=2, random_state=0)
        forest.fit(train[0][:, columns], train[1])
        print(f"{name:<20} {np.mean(forest.predict(test[0][:, columns]) == test[1]):.3f}")


def _samples(
    catalogue: Catalogue, tiles: list[SandboxTile], annotator: Annotator, dates: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Features (n, 12) and class indices (n,) of pixels drawn from tiles that both sensors see."""
    features, classes = [], []
    for item in tiles:
        tile, scene = item.tile, item.scene
        radar = _radar_scenes(catalogue, tile, dates)
        if scene is None or not radar:
            continue
        codes = catalogue.planet.annotate(tile.crs, tile.transform, tile.shape, annotator, tile.id)
        index = DYNAMIC_WORLD.class_indices(codes)
        index[cloudy(catalogue, scene, tile)] = IGNORE
        rows, cols = np.nonzero(index != IGNORE)
        drawn = np.random.default_rng(noise.key(tile.id) % 2**32).permutation(len(rows))[:PIXELS_PER_TILE]
        rows, cols = rows[drawn], cols[drawn]
        x, y = tile.transform[2] + 10 * (cols + 0.5), tile.transform[5] - 10 * (rows + 0.5)
        pixels = [_at(catalogue, scene, band, tile.crs, x, y)[0] for band in BANDS]
        for band in ("VV", "VH"):
            views = [_at(catalogue, view, band, tile.crs, x, y) for view in radar]
            count = np.maximum(sum(mask for _, mask in views), 1)
            pixels.append(sum(np.where(mask, values, 0) for values, mask in views) / count)
        features.append(np.stack(pixels, axis=1).astype(np.float32))
        classes.append(index[rows, cols])
    return np.concatenate(features), np.concatenate(classes)


def _radar_scenes(catalogue: Catalogue, tile: Tile, most: int) -> list[Scene]:
    """Scenes with VV and VH of the 360 days around the tile's day, evenly thinned out."""
    noon = datetime(tile.date.year, tile.date.month, tile.date.day, tzinfo=UTC)
    start, end = ((noon + timedelta(days=days)).timestamp() * 1000 for days in (-180, 180))
    lon, lat = tile.centre
    found = catalogue.find(
        "COPERNICUS/S1_GRD",
        start_ms=int(start),
        end_ms=int(end),
        region=(lon - 0.01, lat - 0.01, lon + 0.01, lat + 0.01),
    )
    usable = [scene for scene in found if {"VV", "VH"} <= {band.id for band in scene.bands}]
    return list(islice(usable, 0, None, max(1, -(-len(usable) // most))))


def _at(
    catalogue: Catalogue, scene: Scene, band_id: str, crs: str, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(values, mask) of a band at points of a UTM zone: nearest neighbour."""
    band = scene.band(band_id)
    (zone, south), (target, target_south) = utm.zone_of(crs), utm.zone_of(band.crs)
    y = y - utm.FALSE_NORTHING * south
    if zone != target:
        x, y = utm.forward(*utm.inverse(x, y, zone), target)
    size, _, left, _, _, top = band.transform
    rows = np.floor((top - utm.FALSE_NORTHING * target_south - y) / size).astype(int)
    cols = np.floor((x - left) / size).astype(int)
    values, mask = catalogue.read(
        scene, band_id, (int(rows.min()), int(rows.max()) + 1), (int(cols.min()), int(cols.max()) + 1)
    )
    rows, cols = rows - rows.min(), cols - cols.min()
    return values[rows, cols].astype(float), mask[rows, cols]


if __name__ == "__main__":
    main()
