"""Small maps of classes, and answers to samples of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from affine import Affine
from dwplus.workflow.area.design import read_design
from numpy.typing import NDArray

UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
CLASSES = "0=unmarked 1=water 2=trees 3=built 4=snow"


def write_map(
    path: Path, codes: NDArray[Any], *, crs: str = "EPSG:32632", transform: Affine = UTM, **more: Any
) -> Path:
    """A GeoTIFF of class codes with the tag CLASSES; 0 is nodata unless said otherwise."""
    profile = {"driver": "GTiff", "count": 1, "dtype": codes.dtype, "nodata": 0, "crs": crs, "transform": transform}
    tags = more.pop("tags", {"CLASSES": CLASSES, "DWPLUS_SOURCE": "SANDBOX"})
    height, width = codes.shape
    with rasterio.open(path, "w", **{**profile, **more}, height=height, width=width) as file:
        file.write(codes, 1)
        file.update_tags(**tags)
    return path


def town() -> NDArray[np.uint8]:
    """100 x 120 px: 40 columns of water, 70 of trees, 10 of built, but 200 px of these without a class."""
    codes = np.full((100, 120), 2, dtype=np.uint8)
    codes[:, :40], codes[:, 110:] = 1, 3
    codes[:10, :20] = 0
    return codes


def truth_of(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is true where ``town`` is the map: water and trees meet five columns further right, some trees are built."""
    truth = codes.copy()
    truth[:, 40:45] = 1
    truth[::3, 90:110] = 3
    return truth


def answer(points: Path, truth: NDArray[np.uint8], names: dict[int, str]) -> geopandas.GeoDataFrame:
    """The points with the true class of each as its answer, not yet written."""
    places = {one.plotid: (one.row, one.column) for one in read_design(points.with_suffix(".design.json")).points}
    frame = geopandas.read_file(points)
    frame["answer"] = [names[int(truth[places[plotid]])] for plotid in frame["plotid"]]
    return frame
