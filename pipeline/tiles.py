"""Tile: one 510 x 510 px square on the ground, described by its label raster. Pure geometry, no files, no network.

Coordinates are (x, y) = (easting, northing) in the tile's own UTM CRS, or (lon, lat) in EPSG:4326 where said so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Literal

from affine import Affine
from pyproj import Transformer

from ..manifests import load_toml
from .errors import DataError, UsageError

TILE_SIZE_PX = 510
"""Height and width of a tile in pixels (paper, section III)."""

RESOLUTION_M = 10.0

Hemisphere = Literal["EH", "WH"]

_ID = re.compile(r"^dw_(-?\d+(?:\.\d+)?)_(-?\d+(?:\.\d+)?)-(\d{4})(\d{2})(\d{2})$")


@dataclass(frozen=True)
class TileId:
    """What a released name says: centre (to within a pixel) and day of the label."""

    lon: float
    lat: float
    date: date


def parse_tile_id(dw_id: str) -> TileId:
    """Centre and date out of ``dw_<lon>_<lat>-<YYYYMMDD>``.

    The centre is off by up to a pixel: the grid always comes from the label raster.

    Raises:
        DataError: the name does not follow the pattern.
    """
    match = _ID.match(dw_id)
    if match is None:
        raise DataError(f"{dw_id!r} is not a Dynamic World tile name (dw_<lon>_<lat>-<YYYYMMDD>)")
    lon, lat, year, month, day = match.groups()
    try:
        return TileId(float(lon), float(lat), date(int(year), int(month), int(day)))
    except ValueError as error:
        raise DataError(f"tile name {dw_id!r} holds no date: {error}") from None


@dataclass(frozen=True)
class Tile:
    """One tile on its own grid.

    Attributes:
        id: released name without ending, ``dw_<lon>_<lat>-<YYYYMMDD>``.
        crs: ``EPSG:326zz`` or ``EPSG:327zz``.
        transform: (a, b, c, d, e, f): x = a col + b row + c, y = d col + e row + f, of pixel corners.
        shape: (height, width) in pixels.
        date: day of the label and of its Sentinel-2 scene.
        hemisphere: ``EH`` or ``WH``, the released folder.
        biome: RESOLVE biome number 1..14, the released folder; 0 = not known.
    """

    id: str
    crs: str
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]
    date: date
    hemisphere: Hemisphere
    biome: int

    @cached_property
    def affine(self) -> Affine:
        return Affine(*self.transform)

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """(x_min, y_min, x_max, y_max) in the tile's CRS, metres."""
        height, width = self.shape
        x0, y0 = self.affine @ (0, 0)
        x1, y1 = self.affine @ (width, height)
        return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)

    @cached_property
    def outline(self) -> tuple[tuple[float, float], ...]:
        """The four corners as (lon, lat), counter-clockwise from the lower left."""
        x_min, y_min, x_max, y_max = self.bounds
        return tuple(_to_lonlat(self.crs, [(x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max)]))

    @cached_property
    def centre(self) -> tuple[float, float]:
        """(lon, lat) of the middle of the grid, degrees."""
        x_min, y_min, x_max, y_max = self.bounds
        return _to_lonlat(self.crs, [((x_min + x_max) / 2, (y_min + y_max) / 2)])[0]

    @property
    def region(self) -> str:
        """The paper's region, by the centre's longitude (manifests/regions.toml)."""
        return region_of(self.centre[0])


def _to_lonlat(crs: str, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    transformer = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lons, lats = transformer.transform([p[0] for p in points], [p[1] for p in points])
    return list(zip(lons, lats, strict=True))


def region_of(lon: float) -> str:
    """Name of the region that holds a longitude in degrees (-180..180)."""
    for row in load_toml("regions")["region"]:
        if row["from_lon"] <= lon < row["to_lon"] or row["from_lon"] <= lon + 360 < row["to_lon"]:
            return str(row["name"])
    raise AssertionError(f"longitude {lon} lies in no region")


def region_names() -> tuple[str, ...]:
    return tuple(str(row["name"]) for row in load_toml("regions")["region"])


def biome_names() -> dict[int, str]:
    """RESOLVE biome number (1..14) -> name."""
    return {int(number): str(name) for number, name in load_toml("regions")["biomes"].items()}


def check_region(name: str) -> str:
    """The name of a region or hemisphere folder, as given.

    Raises:
        UsageError: nothing is called that.
    """
    choices = ("all", *region_names(), "EH", "WH")
    if name not in choices:
        raise UsageError(f"unknown region {name!r}; choose one of {', '.join(choices)}")
    return name


def in_region(tile: Tile, name: str) -> bool:
    """Whether a tile belongs to ``all``, to one of the three regions, or to the folder ``EH`` or ``WH``."""
    return name == "all" or name in (tile.region, tile.hemisphere)
