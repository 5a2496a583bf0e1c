"""Programs of two other Earth Engine clients, Xee and geemap: what they run, what they sent, what has to come back."""

from __future__ import annotations

import io
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ee
import numpy as np
import rasterio
from pyproj import Transformer

from support.local_ee_scenes import NORTH, S1, S2, centres
from support.map_tiles import centres_of_tile, pixels_of_tile, tile_of

SIDE = 32

LAYER: dict[str, Any] = {"bands": ["B2"], "min": 0, "max": 6000}
LAYER_TILE = (15, *tile_of(*NORTH.lonlat(NORTH.x + 150, NORTH.y - 150, NORTH.crs), 15))


def dn(side: int = SIDE, size_m: float = 10.0) -> Any:
    """What B2 holds on the tile's first pixels: the plane, rounded, since grid and scene share their lattice."""
    x, y = centres(NORTH.affine(size_m), (side, side))
    return np.round(NORTH.digital_number(x, y))


def decibel(bias: float, shift: tuple[float, float] = (0.0, 0.0)) -> Any:
    """VV on the tile's first pixels, or so many metres beside them."""
    x, y = centres(NORTH.affine(), (SIDE, SIDE))
    return NORTH.decibel(x + shift[0], y + shift[1], NORTH.crs) + bias


def s2_image() -> Any:
    return ee.Image(f"{S2}/NORTH").select(["B2", "B3"])


def region(side: int = SIDE) -> Any:
    corners = [NORTH.x, NORTH.y - 10 * side, NORTH.x + 10 * side, NORTH.y]
    return ee.Geometry.Rectangle(corners, proj=NORTH.crs, geodesic=False)


def with_xee(folder: Path) -> Any:
    import xarray as xr

    names = ee.Filter.inList("system:index", ["N_first", "N_half"])
    scenes = ee.ImageCollection(S1).filter(names).select(["VV", "VH"])
    a, b, c, d, e, f = NORTH.affine()
    opened = xr.open_dataset(
        scenes, engine="ee", crs=NORTH.crs, crs_transform=(a, b, c, d, e, f), shape_2d=(SIDE, SIDE)
    )
    return opened["VV"].transpose("time", "y", "x").values


def with_geemap_numpy(folder: Path) -> Any:
    import geemap

    return geemap.ee_to_numpy(s2_image(), region=region(), scale=10)


def with_geemap_export(folder: Path, **more: Any) -> Any:
    import geemap

    target = folder / "tile.tif"
    geemap.ee_export_image(s2_image(), filename=str(target), region=region(), verbose=False, **more)
    return sorted(folder.glob("*.tif"))


def with_geemap_scale(folder: Path) -> Any:
    (path,) = with_geemap_export(folder, scale=20)
    return read_tiff(path)


def with_geemap_transform(folder: Path) -> Any:
    (path,) = with_geemap_export(folder, crs=NORTH.crs, crs_transform=list(NORTH.affine()))
    return read_tiff(path)


def with_geemap_files(folder: Path) -> Any:
    paths = with_geemap_export(folder, scale=10, file_per_band=True)
    return {path.name: read_tiff(path)[0] for path in paths}


def with_geemap_layer(folder: Path) -> Any:
    import geemap

    shown = geemap.Map(ee_initialize=False)
    shown.add_layer(s2_image(), LAYER, "B2")
    url = shown.ee_layers["B2"]["ee_layer"].url
    return pixels_of_tile(fetched(url.format(z=LAYER_TILE[0], x=LAYER_TILE[1], y=LAYER_TILE[2])))


def fetched(url: str) -> bytes:
    """What a browser gets: no credentials, no client."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60) as answer:
        content: bytes = answer.read()
    return content


def read_tiff(source: Any) -> Any:
    with rasterio.open(source) as opened:
        assert opened.crs.to_string() == NORTH.crs
        assert opened.transform.c == NORTH.x
        assert opened.transform.f == NORTH.y
        return opened.read()


# What the pixels must be, from answers over http or from replayed ones ------------------------------------------------


def check_xee(found: Any) -> None:
    half, first = found  # in the order of their times
    # pixels of the scenes start 3.7 m to the right and 2.2 m below those of the grid, so theirs stand so far off
    assert np.abs(first - decibel(-1.0, (3.7, -2.2))).max() < 1e-4
    seen = ~np.isnan(half)
    assert (seen == (np.arange(SIDE) < 30)).all()  # its last column ends 303.7 m from the corner
    assert np.abs(half - decibel(0.0, (3.7, -2.2)))[seen].max() < 1e-4


def check_numpy(found: Any) -> None:
    assert found.shape == (SIDE, SIDE, 2)
    assert (found[:, :, 0] == dn()).all()


def check_scale(found: Any) -> None:
    assert found.shape == (2, SIDE // 2, SIDE // 2)
    # centres of 20 m pixels are corners of 10 m pixels: the one to the lower right is taken
    x, y = centres(NORTH.affine(20.0), (SIDE // 2, SIDE // 2))
    assert (found[0] == np.round(NORTH.digital_number(x + 5, y - 5))).all()


def check_transform(found: Any) -> None:
    assert found.shape == (2, SIDE, SIDE)
    assert (found == dn()).all()


def check_files(found: Any) -> None:
    assert sorted(found) == ["tile.B2.tif", "tile.B3.tif"]
    assert all((pixels == dn()).all() for pixels in found.values())


def check_layer(found: Any) -> None:
    lon, lat = centres_of_tile(*LAYER_TILE)
    x, y = Transformer.from_crs("EPSG:4326", NORTH.crs, always_xy=True).transform(lon, lat)
    col, row = np.floor((x - NORTH.x) / 10), np.floor((NORTH.y - y) / 10)
    within = (col >= 2) & (col < 30) & (row >= 2) & (row < 30)  # away from the edges of the scene
    number = np.round(NORTH.digital_number(NORTH.x + 10 * col + 5, NORTH.y - 10 * row - 5))
    grey = np.floor(255 * (number - LAYER["min"]) / (LAYER["max"] - LAYER["min"]) + 0.5)
    assert within.sum() > 1000
    # geemap leaves the format open, and an opaque tile is a JPEG, whose greys are off by one or two
    off = np.abs(found[:3, within].astype(float) - grey[within])
    assert off.mean() < 1
    assert off.max() <= 4


# Answers to a trace, put together the way the package does ------------------------------------------------------------


def npy(answer: Any) -> Any:
    return np.load(io.BytesIO(answer.body))


def replay_xee(answers: list[Any]) -> Any:
    fetched = npy(answers[-1])
    stacked = np.stack([fetched[name] for name in fetched.dtype.names]).astype(float)
    return np.where(np.abs(stacked) > 1e6, np.nan, stacked)


def replay_numpy(answers: list[Any]) -> Any:
    fetched = npy(answers[-1])
    return np.dstack([fetched[name] for name in fetched.dtype.names])


def replay_layer(answers: list[Any]) -> Any:
    return pixels_of_tile(answers[-1].body)


def replay_files(answers: list[Any]) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(answers[-1].body)) as archive:
        return {name: read_tiff(io.BytesIO(archive.read(name)))[0] for name in archive.namelist()}


def replay_export(answers: list[Any]) -> Any:
    with zipfile.ZipFile(io.BytesIO(answers[-1].body)) as archive:
        assert archive.namelist() == ["tile.tif"]
        return read_tiff(io.BytesIO(archive.read("tile.tif")))


@dataclass(frozen=True)
class Program:
    """A few lines that use a package, what must come out, and how to get there from the answers to its requests."""

    package: str
    run: Callable[[Path], Any]
    replay: Callable[[list[Any]], Any]
    check: Callable[[Any], None]


PROGRAMS = {
    "xee-open-dataset": Program("xee", with_xee, replay_xee, check_xee),
    "geemap-ee-to-numpy": Program("geemap", with_geemap_numpy, replay_numpy, check_numpy),
    "geemap-export-scale": Program("geemap", with_geemap_scale, replay_export, check_scale),
    "geemap-export-transform": Program("geemap", with_geemap_transform, replay_export, check_transform),
    "geemap-map-layer": Program("geemap", with_geemap_layer, replay_layer, check_layer),
    "geemap-export-per-band": Program("geemap", with_geemap_files, replay_files, check_files),
}
