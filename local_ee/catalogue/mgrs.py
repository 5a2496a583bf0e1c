"""Sentinel-2 granules: squares of the Military Grid Reference System, by name, by place and as pixel grids.

A granule covers its 100 km square from the upper left corner, snapped outwards to a grid of 60 m counted from the
equator, and overlaps its neighbours to the right and below: 109,800 m a side. Northings are signed.

Source: Sentinel-2 tiling grid (ESA), NGA.SIG.0012 (letters of MGRS, zones of south-west Norway and Svalbard).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from ..planet import utm

SIDE_M = 109_800
SQUARE_M = 100_000
SNAP_M = 60

_COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")  # by zone mod 3, from 100 km east
_ROWS = "ABCDEFGHJKLMNPQRSTUV"  # every 2,000 km; five letters on in even zones
_BANDS = "CDEFGHJKLMNPQRSTUVWX"  # 8 degrees each from 80 S; X reaches to 84 N

_ODD_ZONES: dict[tuple[int, str], tuple[float, float]] = {
    (31, "V"): (0, 3),
    (32, "V"): (3, 12),
    (31, "X"): (0, 9),
    (33, "X"): (9, 21),
    (35, "X"): (21, 33),
    (37, "X"): (33, 42),
    **{(zone, "X"): (0.0, 0.0) for zone in (32, 34, 36)},
}


@dataclass(frozen=True, order=True)
class Granule:
    """One square: ``column`` and ``row`` count hundreds of kilometres of easting and signed northing."""

    zone: int
    column: int
    row: int

    @property
    def x(self) -> int:
        """Easting of the left edge."""
        return self.column * SQUARE_M // SNAP_M * SNAP_M

    @property
    def y(self) -> int:
        """Signed northing of the upper edge."""
        return -(-(self.row + 1) * SQUARE_M // SNAP_M) * SNAP_M

    @cached_property
    def centre(self) -> tuple[float, float]:
        """(lon, lat) of the middle of the granule."""
        lon, lat = utm.inverse(self.x + SIDE_M / 2, self.y - SIDE_M / 2, self.zone)
        return (float(lon) + 180) % 360 - 180, float(lat)

    @cached_property
    def band(self) -> str:
        """Latitude band of the square's middle."""
        _, lat = utm.inverse((self.column + 0.5) * SQUARE_M, (self.row + 0.5) * SQUARE_M, self.zone)
        return _BANDS[int(np.clip((float(lat) + 80) // 8, 0, 19))]

    @cached_property
    def name(self) -> str:
        """MGRS designator, e.g. ``34HCH``."""
        letter = _COLUMNS[self.zone % 3][self.column - 1]
        return f"{self.zone:02d}{self.band}{letter}{_ROWS[(self.row + (0 if self.zone % 2 else 5)) % 20]}"

    @property
    def south(self) -> bool:
        """Whether its CRS is EPSG:327zz."""
        return self.band < "N"

    @property
    def crs(self) -> str:
        return utm.epsg(self.zone, south=self.south)

    @property
    def origin(self) -> tuple[int, int]:
        """Upper left corner in its CRS."""
        return self.x, self.y + (int(utm.FALSE_NORTHING) if self.south else 0)

    @cached_property
    def exists(self) -> bool:
        """Whether its square reaches into its zone, between 80 S and 84 N."""
        steps = np.linspace(0.01, 0.99, 7) * SQUARE_M
        x, y = np.meshgrid(self.column * SQUARE_M + steps, self.row * SQUARE_M + steps)
        lon, lat = utm.inverse(x, y, self.zone)
        west, east = _ODD_ZONES.get((self.zone, self.band), (6.0 * self.zone - 186, 6.0 * self.zone - 180))
        return bool(((lon >= west) & (lon < east) & (lat > -80) & (lat < 84)).any())


@lru_cache(maxsize=8192)
def granule(zone: int, column: int, row: int) -> Granule | None:
    """The granule of a square, or None where there is none."""
    found = Granule(zone, column, row)
    return found if 1 <= column <= 8 and found.exists else None


@lru_cache(maxsize=4096)
def named(name: str) -> Granule | None:
    """The granule of a designator such as ``34HCH``, or None where there is none."""
    if len(name) != 5 or not name[:2].isdigit() or not 1 <= int(name[:2]) <= 60 or name[2] not in _BANDS:
        return None
    zone, column, letter = int(name[:2]), _COLUMNS[int(name[:2]) % 3].find(name[3]) + 1, _ROWS.find(name[4])
    if column == 0 or letter < 0:
        return None
    first = (letter - (0 if zone % 2 else 5)) % 20
    return next(
        (g for row in range(first - 100, 100, 20) if (g := granule(zone, column, row)) and g.name == name), None
    )


def granules_in(region: tuple[float, float, float, float]) -> set[Granule]:
    """Granules that may meet (west, south, east, north) in degrees; east may exceed 180."""
    west, south, east, north = region
    south, north = max(south, -80.0), min(north, 84.0)
    if south > north:
        return set()
    # A granule reaches out of its zone by at most its own width.
    reach = np.degrees(2 * SIDE_M / 6.37e6) / max(np.cos(np.radians(max(abs(south), abs(north)))), 0.1)
    first, last = int((west - reach + 180) // 6), int((east + reach + 180) // 6)
    zones = sorted({number % 60 + 1 for number in range(first, min(last, first + 59) + 1)})
    return {g for zone in zones for g in _granules_of(zone, (west, south, east, north))}


def _granules_of(zone: int, region: tuple[float, float, float, float]) -> list[Granule]:
    west, south, east, north = region
    middle = utm.central_meridian(zone)
    # The turn of the region that lies nearest to the zone, cut off where the zone's granules end.
    turn = 360 * round((middle - (west + east) / 2) / 360)
    limit = 3 + np.degrees(2 * SIDE_M / 6.37e6) / max(np.cos(np.radians(max(abs(south), abs(north)))), 0.1)
    west, east = max(west + turn, middle - limit), min(east + turn, middle + limit)
    if west > east:
        return []
    count = 2 + int(max(east - west, north - south))
    lon, lat = np.meshgrid(np.linspace(west, east, count), np.linspace(south, north, count))
    x, y = utm.forward(lon, lat, zone)
    # Parallels bend: 4 km for a step of two degrees at 80 degrees, which the margin covers.
    margin = 5_000 if count > 2 and max(east - west, north - south) > 0.5 else 500
    columns = range(int((x.min() - margin - SIDE_M) // SQUARE_M), int((x.max() + margin) // SQUARE_M) + 1)
    rows = range(int((y.min() - margin) // SQUARE_M), int((y.max() + margin + SIDE_M) // SQUARE_M) + 1)
    found = [granule(zone, column, row) for column in columns for row in rows]
    return [
        g
        for g in found
        if g
        and g.x <= x.max() + margin
        and g.x + SIDE_M >= x.min() - margin
        and g.y >= y.min() - margin
        and g.y - SIDE_M <= y.max() + margin
    ]
