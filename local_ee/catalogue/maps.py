"""Annual land-cover maps of the planet: ESA WorldCover in degrees, ESRI's time series in UTM tiles.

Both are imperfect views of the truth, in the class codes of the real maps. Comes after planet; the catalogue finds and
reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..planet import noise, utm
from ..planet.labelling import mapped
from ..planet.protocol import Planet, ViewGeometry
from ..scene import Scene, SceneBand
from .acquisition import Acquisition, footprint

# --- ESA WorldCover --------------------------------------------------------------------------------------------------

WORLDCOVER = {"ESA/WorldCover/v100": 2020, "ESA/WorldCover/v200": 2021}
"""Collections of one image each, and its year."""

_PER_DEGREE = 12_000
_TOP, _BOTTOM = 84, -60
_SHAPE = ((_TOP - _BOTTOM) * _PER_DEGREE, 360 * _PER_DEGREE)
_WORLDCOVER_CODE = np.array([80, 10, 30, 90, 40, 20, 50, 60, 70], np.uint8)
_MOSS, _MOSS_LAT = 100, 66.0  # bare ground north of the polar circle is given as moss and lichen
_WORLDCOVER_MISTAKEN = {2020: 0.22, 2021: 0.20}
_CODES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)
_STRIP_PX = 512


@lru_cache(maxsize=2)
def worldcover(collection: str) -> Scene:
    """The one image of a WorldCover collection."""
    year = WORLDCOVER[collection]
    step = 1 / _PER_DEGREE
    band = SceneBand("Map", "uint8", "EPSG:4326", (step, 0.0, -180.0, 0.0, -step, float(_TOP)), _SHAPE)
    properties = {**_year_properties(str(year), year), "Map_class_values": list(_CODES)}
    outline = ((-180.0, float(_BOTTOM)), (180.0, float(_BOTTOM)), (180.0, float(_TOP)), (-180.0, float(_TOP)))
    return Scene(collection, str(year), (band,), properties, outline)


def worldcover_pixels(planet: Planet, scene: Scene, rows: tuple[int, int], cols: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 (rows, cols), codes 10..100, of a window that lies inside the image."""
    year = WORLDCOVER[scene.collection]
    seed = noise.key(*(f"{name}={value}" for name, value in sorted(planet.config.items())))
    around = (cols[0] - 1, cols[1] + 1)
    found = np.empty((rows[1] - rows[0], cols[1] - cols[0]), np.uint8)
    for top in range(rows[0], rows[1], _STRIP_PX):
        strip = (top, min(top + _STRIP_PX, rows[1]))
        truth = _truth(planet, (strip[0] - 1, strip[1] + 1), around)
        mistakes = (("WorldCover", _WORLDCOVER_MISTAKEN[year] - 0.05), (f"WorldCover {year}", 0.05))
        cover = mapped(truth, strip, cols, seed, mistakes).cover
        codes = _WORLDCOVER_CODE[cover]
        lat = _TOP - (np.arange(*strip) + 0.5) / _PER_DEGREE
        codes[(cover == 7) & (lat > _MOSS_LAT)[:, None]] = _MOSS
        found[strip[0] - rows[0] : strip[1] - rows[0]] = codes
    return found


def _truth(planet: Planet, rows: tuple[int, int], cols: tuple[int, int]) -> NDArray[np.uint8]:
    """Class index 0..8 at the centres of pixels in degrees."""
    lon = -180 + (np.arange(*cols) + 0.5) / _PER_DEGREE
    lat = _TOP - (np.arange(*rows) + 0.5) / _PER_DEGREE
    zones = utm.home_zone(lon)
    found = np.empty((len(lat), len(lon)), np.uint8)
    for zone in np.unique(zones).tolist():
        here = zones == zone
        x, y = utm.forward(lon[here][None, :], lat[:, None], zone)
        col, row = np.floor(x / utm.LATTICE_M).astype(np.int64), np.floor(-y / utm.LATTICE_M).astype(np.int64)
        left, top = int(col.min()), int(row.min())
        window = utm.UtmGrid(zone, 0.0, 0.0, utm.LATTICE_M, (top, int(row.max()) + 1), (left, int(col.max()) + 1))
        found[:, here] = planet.landcover(window)[row - top, col - left]
    return found


# --- ESRI ------------------------------------------------------------------------------------------------------------

ESRI = "projects/sat-io/open-datasets/landcover/ESRI_Global-LULC_10m_TS"
ESRI_YEARS = range(2017, 2025)
_ESRI_CODE = np.array([1, 2, 11, 4, 5, 11, 7, 8, 9], np.uint8)
_ESRI_MISTAKEN = 0.18
_BANDS = "CDEFGHJKLMNPQRSTUVWX"  # 8 degrees each from 80 S; X reaches to 84 N


def esri_in(
    region: tuple[float, float, float, float] | None, start_s: float, end_s: float, seed: int
) -> Iterator[Acquisition]:
    """UTM tiles that may meet (west, south, east, north) in degrees, of years that begin in [start, end)."""
    years = [year for year in ESRI_YEARS if start_s <= _new_year(year) < end_s]
    west, south, east, north = region or (-180.0, -80.0, 180.0, 84.0)
    first, last = int((west + 180 - 0.2) // 6), int((east + 180 + 0.2) // 6)
    for number in range(first, min(last, first + 59) + 1):
        for band in _BANDS:
            low, high = _latitudes(band)
            if low - 0.2 <= north and high + 0.2 >= south:
                yield from (esri(number % 60 + 1, band, year, seed) for year in years)


def esri_of(index: str, seed: int) -> Acquisition | None:
    """The image of an index such as ``38T_2018``."""
    name, _, year = index.partition("_")
    if len(name) != 3 or not (name[:2] + year).isdigit() or name[2] not in _BANDS or len(year) != 4:
        return None
    zone = int(name[:2])
    return esri(zone, name[2], int(year), seed) if 1 <= zone <= 60 and int(year) in ESRI_YEARS else None


@lru_cache(maxsize=2048)
def esri(zone: int, band: str, year: int, seed: int) -> Acquisition:
    """One UTM tile of one year: the rectangle around a zone's part of a latitude band."""
    low, high = _latitudes(band)
    wide = low if low >= 0 else high
    middle = utm.central_meridian(zone)
    x, _ = utm.forward(np.array([middle - 3, middle + 3]), np.array([wide, wide]), zone)
    _, y = utm.forward(np.array([middle, middle, middle + 3, middle + 3]), np.array([low, high, low, high]), zone)
    left, right = np.floor(x.min() / 10) * 10, np.ceil(x.max() / 10) * 10
    bottom, top = np.floor(y.min() / 10) * 10, np.ceil(y.max() / 10) * 10
    south = band < "N"
    shape = int((top - bottom) // 10), int((right - left) // 10)
    transform = (10.0, 0.0, float(left), 0.0, -10.0, float(top + utm.FALSE_NORTHING * south))
    index = f"{zone:02d}{band}_{year}"
    seen = ((left, bottom), (right, bottom), (right, top), (left, top))
    bands = (SceneBand("b1", "uint8", utm.epsg(zone, south=south), transform, shape),)
    scene = Scene(ESRI, index, bands, _year_properties(index, year), footprint(seen, zone))
    return Acquisition(scene, zone, seen, ViewGeometry(noise.key(seed, index), 1, (low + high) / 2))


def esri_pixels(planet: Planet, grid: utm.UtmGrid, year: int) -> NDArray[np.uint8]:
    """uint8 (rows, cols), codes 1..11."""
    mistakes = (("ESRI", _ESRI_MISTAKEN - 0.04), (f"ESRI {year}", 0.04))
    return _ESRI_CODE[planet.mapped(grid, mistakes).cover]


def _latitudes(band: str) -> tuple[float, float]:
    low = -80.0 + 8 * _BANDS.index(band)
    return low, 84.0 if band == "X" else low + 8


def _new_year(year: int) -> float:
    return datetime(year, 1, 1, tzinfo=UTC).timestamp()


def _year_properties(index: str, year: int) -> dict[str, Any]:
    return {
        "system:index": index,
        "system:time_start": int(_new_year(year)) * 1000,
        "system:time_end": int(_new_year(year + 1)) * 1000,
    }
