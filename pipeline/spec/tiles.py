"""Tile: one 510 x 510 px square on the ground, described by its label raster. Pure geometry, no files, no network.

Coordinates are (x, y) = (easting, northing) in the tile's own UTM CRS, or (lon, lat) in EPSG:4326 where said so.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from typing import Literal

import numpy as np
from affine import Affine
from pyproj import Transformer

from ...manifests import load_toml
from ..errors import DataError, UsageError

TILE_SIZE_PX = 510
"""Height and width of a tile in pixels (paper, section III)."""

RESOLUTION_M = 10.0

Hemisphere = Literal["EH", "WH"]

_ID = re.compile(r"^dw_(-?\d+(?:\.\d+)?)_(-?\d+(?:\.\d+)?)-(\d{4})(\d{2})(\d{2})$")
_OWN_ID = re.compile(
    r"^([A-Za-z0-9_]{1,80})-(32[67]\d{2})-(-?\d+(?:\.\d+)?)-(-?\d+(?:\.\d+)?)-(\d{4})(\d{2})(\d{2})$", re.ASCII
)


@dataclass(frozen=True)
class TileId:
    """What a released name says: centre (to within a pixel) and day of the label."""

    lon: float
    lat: float
    date: date


def parse_tile_id(tile_id: str) -> TileId:
    """Centre and date out of ``dw_<lon>_<lat>-<YYYYMMDD>``.

    The centre is off by up to a pixel: the grid always comes from the label raster.

    Raises:
        DataError: the name does not follow the pattern.
    """
    match = _ID.match(tile_id)
    if match is None:
        raise DataError(f"{tile_id!r} is not a Dynamic World tile name (dw_<lon>_<lat>-<YYYYMMDD>)")
    lon, lat, year, month, day = match.groups()
    try:
        return TileId(float(lon), float(lat), date(int(year), int(month), int(day)))
    except ValueError as error:
        raise DataError(f"tile name {tile_id!r} holds no date: {error}") from None


@dataclass(frozen=True)
class OwnTileId:
    """What the id of a tile with a label of a user says.

    Attributes:
        name: of the input: ASCII letters, digits and ``_``, at most 80.
        crs: ``EPSG:326zz`` or ``EPSG:327zz``.
        x, y: of the upper left corner, metres.
        date: the label's day, or the first day of its period.
    """

    name: str
    crs: str
    x: float
    y: float
    date: date

    def __str__(self) -> str:
        return f"{self.name}-{self.crs.removeprefix('EPSG:')}-{self.x:.12g}-{self.y:.12g}-{self.date:%Y%m%d}"


def parse_own_tile_id(tile_id: str) -> OwnTileId:
    """What ``<name>-<EPSG>-<x>-<y>-<YYYYMMDD>`` says.

    Raises:
        DataError: the id does not follow the pattern.
    """
    match = _OWN_ID.match(tile_id)
    if match is None:
        raise DataError(f"{tile_id!r} is not the id of an own tile (<name>-<EPSG>-<x>-<y>-<YYYYMMDD>)")
    name, epsg, x, y, year, month, day = match.groups()
    try:
        return OwnTileId(name, f"EPSG:{epsg}", float(x), float(y), date(int(year), int(month), int(day)))
    except ValueError as error:
        raise DataError(f"tile id {tile_id!r} holds no date: {error}") from None


@dataclass(frozen=True)
class Tile:
    """One tile on its own grid.

    Attributes:
        id: released name without ending, ``dw_<lon>_<lat>-<YYYYMMDD>``, or ``str(OwnTileId)``.
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
        a, b, x0, d, e, y0 = self.transform
        x1, y1 = a * width + b * height + x0, d * width + e * height + y0
        return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)

    @cached_property
    def outline(self) -> tuple[tuple[float, float], ...]:
        """The four corners as (lon, lat), counter-clockwise from the lower left.

        Longitudes are continuous: beyond 180 or below -180 where the tile straddles the date line.
        """
        return _corners_and_centres(self.crs, [self])[0][0]

    @cached_property
    def centre(self) -> tuple[float, float]:
        """(lon, lat) of the middle of the grid, degrees, -180..180."""
        return _corners_and_centres(self.crs, [self])[0][1]

    @property
    def region(self) -> str:
        """The paper's region, by the centre's longitude (manifests/regions.toml)."""
        return region_of(self.centre[0])


Outline = tuple[tuple[float, float], ...]


def locate(tiles: Iterable[Tile]) -> None:
    """Work out ``outline`` and ``centre`` of many tiles, CRS by CRS: a hundred times faster than one by one."""
    by_crs: dict[str, list[Tile]] = defaultdict(list)
    for tile in tiles:
        if "outline" not in tile.__dict__ or "centre" not in tile.__dict__:
            by_crs[tile.crs].append(tile)
    for crs, members in by_crs.items():
        for tile, (outline, centre) in zip(members, _corners_and_centres(crs, members), strict=True):
            # Where cached_property keeps them.
            tile.__dict__["outline"], tile.__dict__["centre"] = outline, centre


def _corners_and_centres(crs: str, tiles: Sequence[Tile]) -> list[tuple[Outline, tuple[float, float]]]:
    bounds = np.array([tile.bounds for tile in tiles], dtype=np.float64)
    x0, y0, x1, y1 = bounds.T
    lons, lats = _transformer(crs).transform(
        np.stack([x0, x1, x1, x0, (x0 + x1) / 2]), np.stack([y0, y0, y1, y1, (y0 + y1) / 2])
    )
    middle = lons[4]
    corners = middle + (lons[:4] - middle + 180) % 360 - 180
    # Where nothing jumps the corners stay as they were computed, to the last bit.
    corners = np.where(np.abs(corners - lons[:4]) < 1, lons[:4], corners)
    return [
        (
            tuple(zip(corners[:, n].tolist(), lats[:4, n].tolist(), strict=True)),
            (float(middle[n]), float(lats[4, n])),
        )
        for n in range(len(tiles))
    ]


def lon_lat(crs: str, x: float, y: float) -> tuple[float, float]:
    """(lon, lat) in degrees of one point of a projected CRS; many tiles: ``locate``."""
    lon, lat = _transformer(crs).transform(x, y)
    return float(lon), float(lat)


@cache
def _transformer(crs: str) -> Transformer:
    """A few per data set; making one takes longer than using it."""
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


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


Labeler = Literal["expert", "non_expert", "consensus", "unknown"]


TEST_PREFIX = "label_"
"""Names of test tiles begin with it."""


_DECIMAL_P = re.compile(r"(?<=\d)p(?=\d)")


def tile_id_of(stem: str) -> str:
    """Released name out of a file's stem: ``label_`` off, ``p`` between digits is the decimal point.

    Raises:
        DataError: it is the name of something else.
    """
    if stem.startswith("probs_"):
        raise DataError("probabilities of the Dynamic World model, not a label")
    if stem.startswith("."):
        raise DataError("hidden file, not a label")
    tile_id = _DECIMAL_P.sub(".", stem.removeprefix(TEST_PREFIX))
    try:
        parse_tile_id(tile_id)
    except DataError as error:
        raise DataError(f"not the name of a label tile: {error}") from None
    return tile_id


_WEST_OF_LON = -20.0


def hemisphere_of(lon: float) -> Hemisphere:
    """Folder of a tile that lies in none: ``WH`` west of 20W, ``EH`` from there on.

    Brown et al. 2022 draw the line between the Western Hemisphere and Eastern Hemisphere 1 at 20W, not at Greenwich,
    and all 409 test tiles keep to it.
    """
    return "WH" if lon < _WEST_OF_LON else "EH"
