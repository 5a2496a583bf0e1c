"""Which products a tile takes its pixels from: those that overlap it, day by day, the nearest day first. Pure.

Comes after ``pixels_products``, which reads headers, and before ``pixels_tile``, which reads pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from pyproj.exceptions import ProjError
from shapely.affinity import translate

from ..dataset.manifest import ManifestRow
from ..errors import DataError
from ..spec.bands import Sensor
from ..spec.tiles import Tile, locate
from ..spec.words import count_of
from .pixels_bands import sensor_title
from .pixels_products import Product

FULL = 0.99
"""Share of a tile from which on it counts as covered."""

_PROBES = 17
"""Pixel centres along each side of a tile that are looked for in a product."""

_EDGE_PROBES = 21
"""Points along each side of a product that its outline is made of."""


@dataclass(frozen=True)
class Day:
    """Products of one sensor and one day that overlap a tile.

    Attributes:
        days: between them and the tile's date; 0 within the period of its label.
        covered: share (0..1) of the tile inside their outlines.
        products: the one that covers most first.
    """

    day: date
    days: int
    covered: float
    products: tuple[Product, ...]


@dataclass(frozen=True)
class Choice:
    """What a tile may take of one sensor.

    Attributes:
        days: in the order in which they are tried; empty where there are none.
        why_none: why there are none, as text; empty where there are.
    """

    days: tuple[Day, ...]
    why_none: str = ""


@dataclass(frozen=True)
class Choices:
    """What the tiles may take of the products of an addition.

    Attributes:
        of: tile id -> sensor -> choice.
        dropped: place of a product among all -> why no tile can take it.
        tiles: place of a product -> number of tiles that may take it.
    """

    of: Mapping[str, Mapping[Sensor, Choice]]
    dropped: Mapping[int, str]
    tiles: Mapping[int, int]


def choose(rows: Sequence[ManifestRow], products: Sequence[Product], *, days: int) -> Choices:
    """What each tile may take: by overlap, then by the distance of days.

    Args:
        days: most days between a product and the date of a label, or the period in which it is true.

    Raises:
        DataError: a product lies nowhere on Earth, or none overlaps any tile.
    """
    overlaps = _overlaps([row.tile for row in rows], products)
    if not overlaps and rows:
        raise DataError(_far_away(rows, products))
    by_tile: dict[int, list[tuple[int, NDArray[np.bool_]]]] = defaultdict(list)
    near: dict[int, int] = defaultdict(int)
    nearest: dict[int, int] = {}
    for place, number, inside in overlaps:
        apart = days_apart(rows[number], products[place].day)
        nearest[place] = min(apart, nearest.get(place, apart))
        by_tile[number].append((place, inside))
        near[place] += apart <= days
    dropped = {}
    for place in range(len(products)):
        if place not in nearest:
            dropped[place] = "overlaps no tile"
        elif not near[place]:
            dropped[place] = f"lies {count_of(nearest[place], 'day')} from the date of every tile that it overlaps"
    sensors = tuple(dict.fromkeys(product.sensor for product in products))
    of = {
        row.tile.id: {sensor: _choice(row, by_tile[number], products, sensor, days) for sensor in sensors}
        for number, row in enumerate(rows)
    }
    return Choices(of, dropped, dict(near))


def days_apart(row: ManifestRow, day: date) -> int:
    """Days between a day and the date of a label; 0 within its period."""
    first, _, last = row.period.partition("/")
    start, end = (date.fromisoformat(first), date.fromisoformat(last)) if last else (row.tile.date, row.tile.date)
    return max((start - day).days, (day - end).days, 0)


def _choice(
    row: ManifestRow,
    found: Iterable[tuple[int, NDArray[np.bool_]]],
    products: Sequence[Product],
    sensor: Sensor,
    most: int,
) -> Choice:
    by_day: dict[date, list[tuple[int, NDArray[np.bool_]]]] = defaultdict(list)
    for place, inside in found:
        if products[place].sensor == sensor:
            by_day[products[place].day].append((place, inside))
    title = sensor_title(sensor)
    if not by_day:
        return Choice((), f"no {title} file overlaps it")
    near = {day: members for day, members in by_day.items() if days_apart(row, day) <= most}
    if not near:
        apart = min(days_apart(row, day) for day in by_day)
        return Choice((), f"the nearest {title} file is {count_of(apart, 'day')} away, more than {most}")
    return Choice(tuple(sorted((_day(row, day, members, products) for day, members in near.items()), key=_order)))


def _day(
    row: ManifestRow, day: date, members: Sequence[tuple[int, NDArray[np.bool_]]], products: Sequence[Product]
) -> Day:
    best = sorted(members, key=lambda one: (-int(one[1].sum()), products[one[0]].name, one[0]))
    covered = float(np.any([inside for _, inside in members], axis=0).mean())
    return Day(day, days_apart(row, day), covered, tuple(products[place] for place, _ in best))


def _order(one: Day) -> tuple[bool, int, float, date]:
    return one.covered < FULL, one.days, -one.covered, one.day


# --- overlap ----------------------------------------------------------------------------------------------------------


def _overlaps(tiles: Sequence[Tile], products: Sequence[Product]) -> list[tuple[int, int, NDArray[np.bool_]]]:
    """(place of a product, place of a tile, which of the tile's probes lie in it) where any does."""
    locate(tiles)
    tree = shapely.STRtree([shapely.Polygon(tile.outline) for tile in tiles])
    found = []
    for place, product in enumerate(products):
        outline = _outline(product)
        near = {int(n) for turn in (-360, 0, 360) for n in tree.query(translate(outline, turn))}
        for number in sorted(near):
            inside = _inside(tiles[number], product)
            if inside.any():
                found.append((place, number, inside))
    return found


def _outline(product: Product) -> shapely.Polygon:
    """Outline of a product in degrees; longitudes are continuous.

    Raises:
        DataError: its CRS and transform place it nowhere.
    """
    grid = product.grid
    rows, columns = grid.shape
    steps = np.linspace(0, 1, _EDGE_PROBES)
    zero = np.zeros_like(steps)
    across = np.concatenate([steps, zero + 1, 1 - steps, zero])
    down = np.concatenate([zero, steps, zero + 1, 1 - steps])
    x, y = _moved(Affine(*grid.transform), across * columns, down * rows)
    try:
        lon, lat = _transformer(grid.crs, "EPSG:4326").transform(x, y)
    except ProjError as error:
        raise DataError(
            f"{product.name} has the CRS {grid.crs[:60]}, which PROJ cannot use ({error}); reproject it"
        ) from None
    if not (np.isfinite(lon).all() and np.isfinite(lat).all() and np.abs(lat).max() <= 90):
        raise DataError(
            f"{product.name} lies nowhere on Earth by its CRS and transform ({grid}); set the CRS that it has "
            "('gdal_edit.py -a_srs'), then add it again"
        )
    lon = lon[0] + (lon - lon[0] + 180) % 360 - 180
    return shapely.Polygon(np.column_stack([lon, lat])).buffer(1e-4)


def _inside(tile: Tile, product: Product) -> NDArray[np.bool_]:
    """Which probes of a tile (centres of pixels, spread evenly) lie in a product: bool (n,)."""
    height, width = tile.shape
    rows, columns = np.meshgrid(
        np.linspace(0.5, height - 0.5, _PROBES), np.linspace(0.5, width - 0.5, _PROBES), indexing="ij"
    )
    x, y = _moved(tile.affine, columns.ravel(), rows.ravel())
    if tile.crs != product.grid.crs:
        x, y = _transformer(tile.crs, product.grid.crs).transform(x, y)
    column, row = _moved(~Affine(*product.grid.transform), x, y)
    height, width = product.grid.shape
    found: NDArray[np.bool_] = (column >= 0) & (column <= width) & (row >= 0) & (row <= height)
    return found


Coordinates = NDArray[np.float64]


def _moved(affine: Affine, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Points under an affine transform; for arrays of any shape."""
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


@cache
def _transformer(crs: str, to: str) -> Transformer:
    return Transformer.from_crs(crs, to, always_xy=True)


def _far_away(rows: Sequence[ManifestRow], products: Sequence[Product]) -> str:
    """Where the products lie that overlap no tile, and where the tiles do."""
    first = products[0]
    lon, lat = _outline(first).centroid.coords[0]
    there = rows[0].tile.centre
    return (
        f"none of {count_of(len(products), 'file')} overlaps a tile: {first.name} lies at lon, lat "
        f"{(lon + 180) % 360 - 180:.2f}, {lat:.2f}, tile {rows[0].tile.id} at {there[0]:.2f}, {there[1]:.2f}; look at "
        "the CRS of the file, or add labels where it is"
    )
