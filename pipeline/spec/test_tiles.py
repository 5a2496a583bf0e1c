"""The 409 released test tiles: their ids, biomes and places. Known before any file is downloaded."""

from __future__ import annotations

from datetime import date
from functools import cache

from pyproj import Transformer

from ...manifests import load_csv
from .tiles import RESOLUTION_M, TILE_SIZE_PX, Tile, biome_names, hemisphere_of


def is_test_tile(tile_id: str) -> bool:
    """Whether a tile is one of the 409 of the test release."""
    return tile_id in _biomes_of_test_tiles()


def biome_of(tile_id: str, stated: str) -> int:
    """RESOLVE biome of a tile, 1..14: as stated, else from the list of test tiles; 0 = not known."""
    if stated.isdecimal() and int(stated) in biome_names():
        return int(stated)
    return _biomes_of_test_tiles().get(tile_id, 0)


@cache
def _biomes_of_test_tiles() -> dict[str, int]:
    numbers = {name: number for number, name in biome_names().items()}
    return {row["dw_id"]: numbers.get(row["BIOME_NAME"], 0) for row in load_csv("test_409")}


TEST_SIZE_PX = 512
"""Side of the released test labels: one pixel more on each side than a tile."""


@cache
def known_test_tiles() -> tuple[Tile, ...]:
    """The 409 released test tiles, their grids as derived from their names (to within a pixel)."""
    return tuple(_tile_around(row) for row in load_csv("test_409"))


def _tile_around(known: dict[str, str]) -> Tile:
    lon, lat = float(known["lon"]), float(known["lat"])
    crs = f"EPSG:{(32600 if lat >= 0 else 32700) + int((lon + 180) // 6) % 60 + 1}"
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    half = TILE_SIZE_PX * RESOLUTION_M / 2
    # Origins lie on whole pixels.
    left, top = (round(value / RESOLUTION_M) * RESOLUTION_M for value in (x - half, y + half))
    day = date(int(known["date"][:4]), int(known["date"][4:6]), int(known["date"][6:8]))
    transform = (RESOLUTION_M, 0.0, left, 0.0, -RESOLUTION_M, top)
    return Tile(known["dw_id"], crs, transform, (TILE_SIZE_PX,) * 2, day, hemisphere_of(lon), 0)
