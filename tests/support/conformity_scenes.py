"""Scenes of the conformity suite: a few pixels each, known by heart; the server under test loads this file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from dwplus.local_ee.scene import Scene, SceneBand
from pyproj import Transformer

from support.local_ee_scenes import S2, ArrayCatalogue

ZONE = "EPSG:32633"
X, Y = 500_000.0, 5_000_000.0
SOUTH_ZONE, SOUTH_Y = "EPSG:32733", 6_200_000.0

ROW = np.array([[0, 10, 30, 70]], dtype=np.uint16)
GAP = np.array([[True, False, True, True]])
SIGNED = np.array([[-2.7, -0.5, 0.5, 300.4]])
RED = np.array([[100, 300, 0, 50]], dtype=np.int16)
NIR = np.array([[300, 100, 0, -50]], dtype=np.int16)
CLASSES = np.array([[4, 9, 3, 5]], dtype=np.uint8)
FLAGS = np.array([[0, 1 << 10, 1 << 11, 3 << 10]], dtype=np.uint16)
HILL = (np.add.outer(7.0 * np.arange(60), 3.0 * np.arange(60)) + 1000).astype(np.float32)
"""Grows by 3 a column and 7 a row: bilinear samples of it follow from positions."""

DAYS = {
    "day1": (np.array([[1, 2, 3, 4]], dtype=np.float32), np.array([[True, True, True, False]]), 30.0),
    "day2": (np.array([[5, 1, 9, 8]], dtype=np.float32), np.array([[True, False, True, False]]), 10.0),
    "day3": (np.array([[3, 6, 4, 2]], dtype=np.float32), np.array([[True, True, False, False]]), 20.0),
}
"""Three days of one pixel row: values, masks, cloud percentages."""


def scene(
    index: str,
    bands: dict[str, Any],
    *,
    size_m: float = 10.0,
    crs: str = ZONE,
    corner: tuple[float, float] = (X, Y),
    masks: dict[str, Any] | None = None,
    **properties: Any,
) -> tuple[Scene, Any, Any]:
    affine = (size_m, 0.0, corner[0], 0.0, -size_m, corner[1])
    found = tuple(SceneBand(name, array.dtype.name, crs, affine, array.shape) for name, array in bands.items())
    height, width = next(iter(bands.values())).shape
    right, low = corner[0] + size_m * width, corner[1] - size_m * height
    change = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    corners = [(corner[0], low), (right, low), (right, corner[1]), (corner[0], corner[1])]
    outline = tuple(tuple(map(float, change.transform(*point))) for point in corners)
    known = {"system:index": index, "system:time_start": 0, "system:time_end": 0, **properties}
    return Scene(S2, index, found, known, outline), bands, masks


def world(planet: dict[str, Any] | None = None) -> ArrayCatalogue:
    catalogue = ArrayCatalogue()
    day_ms = 86_400_000
    scenes = [
        scene("row", {"b": ROW}, kind="row"),
        scene("gap", {"b": ROW}, masks={"b": GAP}, kind="gap"),
        scene("signed", {"b": SIGNED}),
        scene("land", {"red": RED, "nir": NIR, "SCL": CLASSES, "QA60": FLAGS}, tags=["VV", "VH"]),
        scene("coarse", {"b": np.array([[100, 200]], dtype=np.uint16)}, size_m=20.0),
        scene("hill", {"b": HILL}),
        scene("south", {"b": HILL}, crs=SOUTH_ZONE, corner=(X, SOUTH_Y)),
        scene("far", {"b": ROW}, corner=(X + 90_000, Y), kind="row"),
        *(
            scene(
                name,
                {"v": values, "q": values[:, ::-1].copy()},
                masks={"v": mask, "q": np.ones_like(mask)},
                cloud=cloud,
                series="days",
                **{"system:time_start": number * day_ms},
            )
            for number, (name, (values, mask, cloud)) in enumerate(DAYS.items())
        ),
    ]
    for item, arrays, masks in scenes:
        catalogue.add(item, arrays, masks)
    return catalogue
