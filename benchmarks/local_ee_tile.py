"""CPU seconds of the local Earth Engine for one tile: 11 Sentinel-2 bands, mean and count of 60 Sentinel-1 scenes.

    python benchmarks/local_ee_tile.py [--scenes 60] [--tiles 6]

The request is the one that ``dwplus build`` sends, built by the real client; it is answered in this process, without
HTTP. All scenes lie in the tile's own UTM zone. It prints CPU seconds per tile: in total, of reading the planet, and of
the evaluator (the rest), the last also as a multiple of copying the same pixels once. Bar: 0.7 CPU seconds per tile
(median).
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import ee
import numpy as np
from dwplus.local_ee.catalogue.catalogue import Catalogue
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.local_ee.planet.planet import make_planet
from dwplus.local_ee.server.pixels import compute_pixels
from dwplus.pipeline.earthengine.graphs import pixel_request
from dwplus.pipeline.earthengine.scene_choice import SceneRef
from dwplus.pipeline.spec.recipe import S2_COLLECTION, Recipe
from dwplus.pipeline.spec.tiles import Tile
from rigs import arguments

PLANET = {"kind": "earth", "seed": 7}
S1 = "COPERNICUS/S1_GRD"


class Watched:
    """A catalogue that counts the CPU seconds of its reads, and keeps what was read."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.windows: list[Any] = []
        self.reading_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalogue, name)

    def read(self, *window: Any) -> Any:
        begun = time.process_time()
        found = self._catalogue.read(*window)
        self.reading_s += time.process_time() - begun
        self.windows.append(found[0])
        return found


def tile(number: int) -> Tile:
    corner = (10.0, 0.0, 480_000.0 + 5100 * number, 0.0, -10.0, 6_600_000.0)
    return Tile(f"benchmark {number}", "EPSG:32632", corner, (510, 510), date(2019, 7, 1), "EH", 4)


def request(catalogue: Catalogue, tile: Tile, scenes: int) -> dict[str, Any]:
    """The body of the tile's request, its Sentinel-1 collection cut down to scenes of its own zone."""
    lon, lat = tile.centre
    around = (lon - 0.02, lat - 0.02, lon + 0.02, lat + 0.02)
    day = ee.Date(tile.date.isoformat()).millis().getInfo()
    optical = next(
        scene
        for scene in catalogue.find(S2_COLLECTION, start_ms=day, end_ms=day + 30 * 86_400_000, region=around)
        if scene.bands[0].crs == tile.crs
    )
    radar = [
        scene.index
        for scene in catalogue.find(S1, start_ms=day - 180 * 86_400_000, end_ms=day + 180 * 86_400_000, region=around)
        if scene.bands[0].crs == tile.crs and scene.properties["instrumentMode"] == "IW" and len(scene.bands) == 3
    ]
    print(f"{len(radar)} Sentinel-1 scenes in {tile.crs}, {min(scenes, len(radar))} of them taken")
    body = pixel_request(tile, Recipe(), SceneRef(S2_COLLECTION, optical.index, "index"))
    body["expression"] = ee.serializer.encode(body["expression"], for_cloud_api=True)
    body["fileFormat"] = "NPY"
    return narrowed(body, radar[:scenes])


def narrowed(body: dict[str, Any], indices: list[str]) -> dict[str, Any]:
    """The same request with a filter on ``system:index`` around its Sentinel-1 collection."""
    loaded = json.dumps({"functionName": "ImageCollection.load", "arguments": {"id": {"constantValue": S1}}})
    wanted = {
        "functionName": "Filter.inList",
        "arguments": {"leftField": {"constantValue": "system:index"}, "rightValue": {"constantValue": indices}},
    }
    chosen = {
        "functionName": "Collection.filter",
        "arguments": {
            "collection": {"functionInvocationValue": json.loads(loaded)},
            "filter": {"functionInvocationValue": wanted},
        },
    }
    text = json.dumps(body)
    assert loaded in text
    found: dict[str, Any] = json.loads(text.replace(loaded, json.dumps(chosen)))
    return found


def cpu_s(work: Callable[[], Any]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def copied(windows: list[Any]) -> None:
    for window in windows:
        np.take(window.ravel(), np.arange(window.size).reshape(window.shape))


def measured(catalogue: Catalogue, body: dict[str, Any]) -> tuple[float, float, float]:
    """CPU seconds of the answer, of what reading the planet takes of it, and of copying what was read."""
    watched = Watched(catalogue)
    whole = cpu_s(lambda: compute_pixels(watched, body))
    return whole, watched.reading_s, cpu_s(lambda: copied(watched.windows))


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("--scenes", type=int, default=60, help="Sentinel-1 scenes in the mean")
    # Side by side, each answered once: nothing of one tile is of use to the next. The first one warms the process up.
    parser.add_argument("--tiles", type=int, default=6)
    options = arguments.parse(parser, scenes=3, tiles=2)
    catalogue = Catalogue(make_planet(PLANET))
    with LocalEarthEngine(PLANET, workers=1) as engine:
        os.environ.update(engine.environment())
        ee.Initialize(url=engine.url, project=engine.project)
        bodies = [request(catalogue, tile(number), options.scenes) for number in range(options.tiles)]
    rows = [measured(catalogue, body) for body in bodies]
    for number, (whole, reading, gather) in enumerate(rows):
        rest = whole - reading
        print(
            f"tile {number}: {whole:.2f} CPU-s, of them planet {reading:.2f} and evaluator {rest:.2f}; "
            f"copying the same pixels {gather:.3f}, evaluator {rest / gather:.1f} times that"
        )
    pixels = np.load(io.BytesIO(compute_pixels(catalogue, bodies[-1]).body))
    print(f"S1_N of the last tile {pixels['S1_N'].min()}..{pixels['S1_N'].max()}")
    later = np.array(rows[1:])
    print(f"tiles 1..: median {np.median(later[:, 0]):.2f}, least {later[:, 0].min():.2f} CPU-s")


if __name__ == "__main__":
    main()
