"""The 10 m grid of UTM: its zones, its cells, and which pixels near the edge of a zone belong to it. Pure.

Every place belongs to one zone of 6 degrees and one half of the Earth; a pixel belongs to the zone in which its centre
lies. So a polygon over two zones is marked once on the ground, by pixels of two grids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pyproj
from numpy.typing import NDArray
from pyproj import Transformer

from ..spec.tiles import RESOLUTION_M

SOUTHERNMOST, NORTHERNMOST = -80.0, 84.0
"""Degrees of latitude between which UTM is defined."""

_ETRS89_UTM = {25800 + zone: zone for zone in range(28, 39)}
"""EPSG codes of UTM on ETRS89, which differs from WGS 84 by less than a tenth of a pixel."""


@dataclass(frozen=True, order=True)
class Zone:
    """One zone of UTM on one half of the Earth.

    Attributes:
        number: 1..60.
        south: south of the equator.
    """

    number: int
    south: bool

    @property
    def epsg(self) -> int:
        return (32700 if self.south else 32600) + self.number

    @property
    def crs(self) -> str:
        return f"EPSG:{self.epsg}"

    @property
    def west(self) -> float:
        """Degrees of its western edge, -180..174."""
        return self.number * 6.0 - 186.0

    @property
    def latitudes(self) -> tuple[float, float]:
        return (SOUTHERNMOST, 0.0) if self.south else (0.0, NORTHERNMOST)

    @cached_property
    def from_lon_lat(self) -> Transformer:
        return _between("EPSG:4326", self.crs)

    def owns(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether places (degrees) lie in the zone; the western edge and the equator (northern half) belong to it."""
        column = np.floor((np.mod(lon + 180.0, 360.0)) / 6.0) + 1
        half = (lat < 0) if self.south else (lat >= 0)
        owned: NDArray[np.bool_] = (column == self.number) & half & (lat >= SOUTHERNMOST) & (lat <= NORTHERNMOST)
        return owned


def zone_of(epsg: int) -> Zone:
    """The zone of ``EPSG:326zz`` or ``EPSG:327zz``."""
    return Zone(epsg % 100, epsg // 100 == 327)


def utm_zone_of(crs: str) -> Zone:
    """The zone of ``"EPSG:326zz"`` or ``"EPSG:327zz"``."""
    return zone_of(int(crs.removeprefix("EPSG:")))


def zones_between(west: float, south: float, east: float, north: float) -> list[Zone]:
    """Zones that a box in degrees meets; longitudes may lie beyond 180.

    A box that touches the edge of the next zone does not meet it.
    """
    first, last = math.floor((west + 180) / 6), math.ceil((east + 180) / 6) - 1
    numbers = sorted({n % 60 + 1 for n in range(first, max(first, last) + 1)})
    halves = [half for half, meets in ((True, south < 0), (False, north >= 0)) if meets]
    return [Zone(number, half) for number in numbers for half in halves]


@dataclass(frozen=True, order=True)
class Grid:
    """The pixels of one tile.

    Attributes:
        zone: of its CRS.
        x, y: of the upper left corner, metres.
        height, width: pixels.
    """

    zone: Zone
    x: float
    y: float
    height: int
    width: int

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        return RESOLUTION_M, 0.0, self.x, 0.0, -RESOLUTION_M, self.y

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(x_min, y_min, x_max, y_max), metres."""
        return self.x, self.y - self.height * RESOLUTION_M, self.x + self.width * RESOLUTION_M, self.y

    def owned(self) -> NDArray[np.bool_] | None:
        """bool (H, W): pixels whose centre lies in the zone; None where all of them do."""
        columns = self.x + RESOLUTION_M * (np.arange(self.width) + 0.5)
        rows = self.y - RESOLUTION_M * (np.arange(self.height) + 0.5)
        # The outline tells: between its points, meridians and parallels bend by less than the margin.
        step = slice(None, None, 8)
        x = np.concatenate([columns[step], columns[step], *[np.full(len(rows[step]), c) for c in columns[[0, -1]]]])
        y = np.concatenate([*[np.full(len(columns[step]), r) for r in rows[[0, -1]]], rows[step], rows[step]])
        lon, lat = self._lon_lat(np.append(x, columns[-1]), np.append(y, rows[-1]))
        near = 0.001
        places = [(lon + dx, lat + dy) for dx in (-near, near) for dy in (-near, near)]
        if all(self.zone.owns(*place).all() for place in places):
            return None
        lon, lat = self._lon_lat(*(part.ravel() for part in np.meshgrid(columns, rows)))
        return self.zone.owns(lon, lat).reshape(self.height, self.width)

    def _lon_lat(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        lon, lat = _between(self.zone.crs, "EPSG:4326").transform(x, y)
        return np.asarray(lon), np.asarray(lat)


def cell(zone: Zone, column: int, row: int, tile_px: int) -> Grid:
    """The tile at a place of the grid that all inputs share: its corners are multiples of the tile's side."""
    side = tile_px * RESOLUTION_M
    return Grid(zone, column * side, (row + 1) * side, tile_px, tile_px)


def utm_zone(crs: pyproj.CRS) -> Zone | None:
    """The zone of a CRS that is UTM on WGS 84 or ETRS89; None for any other."""
    code = crs.to_epsg()
    if code in _ETRS89_UTM:
        return Zone(_ETRS89_UTM[code], south=False)
    known = code is not None and code // 100 in (326, 327) and 1 <= code % 100 <= 60
    return zone_of(code) if known and code is not None else None


def between(crs: pyproj.CRS | str, other: pyproj.CRS | str) -> Transformer:
    """From one CRS to another, x before y; what cannot be transformed becomes infinite."""
    return _between(*(one if isinstance(one, str) else one.to_wkt() for one in (crs, other)))


@cache
def _between(crs: str, other: str) -> Transformer:
    return Transformer.from_crs(crs, other, always_xy=True)
