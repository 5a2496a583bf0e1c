"""Where and when the synthetic planet has label tiles: ``sandbox_tiles``.

Comes after the catalogue, whose scenes it asks for; ``releases`` draws and packs the tiles.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache

import numpy as np
import shapely
from numpy.typing import NDArray

from ...manifests import load_csv
from ...pipeline.spec.test_tiles import TEST_SIZE_PX
from ...pipeline.spec.tiles import (
    RESOLUTION_M,
    TILE_SIZE_PX,
    Hemisphere,
    Tile,
    biome_names,
    parse_tile_id,
    region_names,
    region_of,
)
from ..planet import noise, utm
from ..planet.labelling import Annotator
from ..planet.planet import biome_of
from ..scene import Scene, SceneSource

DEFAULT_TILES = 132
TEST_SHARE = 42 / 132
"""Of the tiles of a sandbox: 42 test and 90 training tiles by default."""

_CLOUDY_AT_MOST, _CLOUDIEST_TEST = 0.2, 0.5
"""Shares of a training and of an ordinary test tile that may lie under clouds."""


@dataclass(frozen=True)
class SandboxTile:
    """A tile that annotators of the synthetic planet marked.

    Attributes:
        tile: on the grid that is published: 510 px for training tiles, 512 px for test tiles.
        annotators: ``consensus`` for a test tile, ``expert`` and/or ``non_expert`` for a training tile.
        scene: the Sentinel-2 scene of that day that covers the tile, None where the catalogue has none.
        marked: largest share of pixels that the expert got to, 1 for nearly all tiles.
    """

    tile: Tile
    annotators: tuple[Annotator, ...]
    scene: Scene | None
    marked: float = 1.0


@dataclass(frozen=True)
class _Entry:
    """A published test tile: where, when, in which biome."""

    tile_id: str
    lon: float
    lat: float
    date: date
    biome: int

    @property
    def region(self) -> str:
        return region_of(self.lon)


def _entries() -> list[_Entry]:
    numbers = {name: number for number, name in biome_names().items()}
    return [
        _Entry(
            row["dw_id"],
            float(row["lon"]),
            float(row["lat"]),
            parse_tile_id(row["dw_id"]).date,
            numbers[row["BIOME_NAME"]],
        )
        for row in load_csv("test_409")
    ]


def sandbox_tiles(catalogue: SceneSource, tiles: int = DEFAULT_TILES, *, seed: int = 0) -> list[SandboxTile]:
    """Label tiles of a sandbox: training tiles, then test tiles, each spread over all regions and biomes.

    Test tiles are published ones, with their place and day. Training tiles lie 15-60 km from others of the published
    test tiles, on a day of 2018-12..2019-11 on which a Sentinel-2 scene covers them that is mostly clear there. Some
    have what real releases have: no Sentinel-1 (as far as the catalogue has such places), no Sentinel-2 scene on their
    day, hardly any marks, ground in common with a test tile.

    Args:
        tiles: number of different dw_id; expert and non-expert markup of one tile counts once.
    """
    entries = _entries()
    sky = _Sky(catalogue)
    test = _test_tiles(entries, sky, round(tiles * TEST_SHARE), seed)
    return [*_train_tiles(entries, test, sky, tiles - len(test), seed), *test]


def _test_tiles(entries: Sequence[_Entry], sky: _Sky, number: int, seed: int) -> list[SandboxTile]:
    """Published test tiles: those with both sensors in turn over (region, biome), and up to three without one."""
    served = cache(lambda entry: _test_tile(entry, sky))
    odd: list[SandboxTile] = []
    if number >= 30:
        shuffled = sorted(entries, key=lambda entry: noise.unit(seed, "odd", entry.tile_id))
        no_s2 = (tile for tile in map(served, shuffled) if tile.scene is None)
        polar = map(served, sorted(entries, key=lambda entry: -abs(entry.lat))[:40])
        no_s1 = (tile for tile in polar if tile.scene is not None and not sky.has_s1(tile.tile))
        odd = [*itertools.islice(no_s2, 1), *itertools.islice(no_s1, 2)]
    names = {tile.tile.id for tile in odd}
    ordinary = [entry for entry in entries if entry.tile_id not in names]
    usable = _in_turn(ordinary, seed, lambda entry: _is_usable(served(entry), sky))
    return [*map(served, itertools.islice(usable, number - len(odd))), *odd]


def _is_usable(tile: SandboxTile, sky: _Sky) -> bool:
    if tile.scene is None or not sky.has_s1(tile.tile):
        return False
    return sky.cloud_share(tile.scene, tile.tile) < _CLOUDIEST_TEST


def _test_tile(entry: _Entry, sky: _Sky) -> SandboxTile:
    tile = _tile(entry.lon, entry.lat, entry.date, entry.biome, size_px=TEST_SIZE_PX, tile_id=entry.tile_id)
    return SandboxTile(tile, ("consensus",), sky.scene_of_day(tile))


def _train_tiles(
    entries: Sequence[_Entry], test: Sequence[SandboxTile], sky: _Sky, number: int, seed: int
) -> list[SandboxTile]:
    """Training tiles around published test tiles that are not served themselves."""
    served = {tile.tile.id for tile in test}
    anchors = [entry for entry in entries if entry.tile_id not in served]
    ground = _Ground([(entry.lon, entry.lat) for entry in entries])
    found: list[SandboxTile] = []
    odd = _odd_train_tiles(anchors, test, sky, ground, seed) if number >= 60 else []
    for lap in itertools.count():
        before = len(found)
        for entry in _in_turn(anchors, seed + lap):
            if len(found) + len(odd) >= number:
                return [*found, *odd]
            place = _place_near(entry, sky, ground, seed + lap)
            if place is not None:
                found.append(replace(place, annotators=_annotators(len(found))))
                ground.take(place.tile)
        if len(found) == before:
            return [*found, *odd]
    raise AssertionError("unreachable")


def _annotators(position: int) -> tuple[Annotator, ...]:
    """Six of ten tiles are the experts', four the non-experts', and one of the experts' is both's."""
    if position % 10 == 0:
        return ("expert", "non_expert")
    return ("expert",) if position % 5 in (0, 2, 4) else ("non_expert",)


def _odd_train_tiles(
    anchors: Sequence[_Entry], test: Sequence[SandboxTile], sky: _Sky, ground: _Ground, seed: int
) -> list[SandboxTile]:
    """Training tiles that a careful pipeline has to notice: no scene that day, hardly any marks, a test tile's ground.

    Places without Sentinel-1 need no search: the acquisition plan leaves out a few per cent of the land.
    """
    odd: list[SandboxTile] = []
    ordinary = (_place_near(entry, sky, ground, seed, salt="odd") for entry in _in_turn(anchors, seed + 1))
    places = (tile for tile in ordinary if tile is not None)
    if (missed := next(filter(None, (_on_a_day_without_scene(tile, sky) for tile in places)), None)) is not None:
        odd.append(missed)
    if (sparse := next(places, None)) is not None:
        odd.append(replace(sparse, marked=0.11))
    neighbour = next((tile for tile in test if tile.scene is not None), None)
    if neighbour is not None and (twin := _overlapping(neighbour, sky)) is not None:
        odd.append(twin)
    for tile in odd:
        ground.take(tile.tile)
    return odd


def _on_a_day_without_scene(tile: SandboxTile, sky: _Sky) -> SandboxTile | None:
    """The same place a few days later, when no Sentinel-2 passes."""
    lon, lat = tile.tile.centre
    for days in range(1, 6):
        later = _tile(lon, lat, tile.tile.date + timedelta(days=days), tile.tile.biome)
        if sky.scene_of_day(later) is None:
            return SandboxTile(later, ("expert",), None)
    return None


def _overlapping(test: SandboxTile, sky: _Sky) -> SandboxTile | None:
    """A training tile that has about a third of a test tile's ground, on a later day."""
    lon, lat = _offset(*test.tile.centre, distance_m=3_000, bearing=0.7)
    dated = sky.next_scene(_tile(lon, lat, date(2019, 3, 1), biome_of(lon, lat)))
    return None if dated is None else SandboxTile(dated[0], ("expert",), dated[1])


def _in_turn(entries: Sequence[_Entry], seed: int, fits: Callable[[_Entry], bool] = lambda _: True) -> Iterator[_Entry]:
    """The entries that fit, in an order of which any beginning is spread over regions and biomes."""
    strata: dict[tuple[str, int], list[_Entry]] = {}
    for entry in sorted(entries, key=lambda entry: noise.unit(seed, entry.tile_id)):
        strata.setdefault((entry.region, entry.biome), []).append(entry)
    biomes, regions = sorted(biome_names()), region_names()
    turn = [(region, biomes[(k + 5 * j) % len(biomes)]) for k in range(len(biomes)) for j, region in enumerate(regions)]
    for row in itertools.zip_longest(*(filter(fits, strata.get(key, [])) for key in turn)):
        yield from (entry for entry in row if entry is not None)


def _place_near(entry: _Entry, sky: _Sky, ground: _Ground, seed: int, salt: str = "") -> SandboxTile | None:
    """A tile 15-60 km from a published one, with a scene, on ground that no other tile is near."""
    for attempt in range(12):
        draw = [noise.unit(seed, salt, entry.tile_id, attempt, name) for name in ("distance", "bearing", "day")]
        lon, lat = _offset(entry.lon, entry.lat, distance_m=15_000 + 45_000 * draw[0], bearing=2 * np.pi * draw[1])
        if not ground.is_free(lon, lat):
            continue
        first_day = date(2018, 12, 1) + timedelta(days=int(340 * draw[2]))
        dated = sky.next_scene(_tile(lon, lat, first_day, biome_of(lon, lat)))
        if dated is not None:
            return SandboxTile(dated[0], ("expert",), dated[1])
    return None


class _Ground:
    """Which places are taken: 10 km around test tiles, 8 km around training tiles."""

    def __init__(self, test_places: Sequence[tuple[float, float]]) -> None:
        self._places = [(lon, lat, 10_000.0) for lon, lat in test_places]

    def take(self, tile: Tile) -> None:
        self._places.append((*tile.centre, 8_000.0))

    def is_free(self, lon: float, lat: float) -> bool:
        lons, lats, reach = np.array(self._places).T
        return bool(np.all(_distance_m(lon, lat, lons, lats) > reach))


_EARTH_RADIUS_M = 6_371_000.0


def _distance_m(lon: float, lat: float, lons: NDArray[np.float64], lats: NDArray[np.float64]) -> NDArray[np.float64]:
    """Great-circle distances, on a sphere: good to half a per cent."""
    a, b = np.radians(lat), np.radians(lats)
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(np.radians(lons - lon) / 2) ** 2
    return np.asarray(2 * _EARTH_RADIUS_M * np.arcsin(np.sqrt(half)))


def _offset(lon: float, lat: float, *, distance_m: float, bearing: float) -> tuple[float, float]:
    """The place at a distance and a bearing (radians from north, clockwise), near enough for tens of kilometres."""
    north = np.degrees(distance_m * np.cos(bearing) / _EARTH_RADIUS_M)
    east = np.degrees(distance_m * np.sin(bearing) / (_EARTH_RADIUS_M * np.cos(np.radians(lat))))
    return float((lon + east + 180) % 360 - 180), float(np.clip(lat + north, -83, 83))


def _tile(
    lon: float, lat: float, day: date, biome: int, *, size_px: int = TILE_SIZE_PX, tile_id: str | None = None
) -> Tile:
    """The tile around a place, on the 10 m lattice of its UTM zone: its name is off by less than a pixel."""
    zone, south = int(utm.home_zone(lon)), lat < 0
    x, y = (float(value) for value in utm.forward(lon, lat, zone))
    half = size_px * RESOLUTION_M / 2
    left = round((x - half) / RESOLUTION_M) * RESOLUTION_M
    top = round((y + half) / RESOLUTION_M) * RESOLUTION_M + utm.FALSE_NORTHING * south
    return Tile(
        id=tile_id or f"dw_{lon:.10f}_{lat:.10f}-{day:%Y%m%d}",
        crs=utm.epsg(zone, south=south),
        transform=(RESOLUTION_M, 0.0, left, 0.0, -RESOLUTION_M, top),
        shape=(size_px, size_px),
        date=day,
        hemisphere=_hemisphere(lon),
        biome=biome,
    )


def _hemisphere(lon: float) -> Hemisphere:
    """Folder of a tile; Brown et al. 2022 draw the line at 20W."""
    return "WH" if lon < -20 else "EH"


class _Sky:
    """What the catalogue has over a tile."""

    def __init__(self, catalogue: SceneSource) -> None:
        self._catalogue = catalogue

    def scene_of_day(self, tile: Tile) -> Scene | None:
        """The Sentinel-2 scene of the tile's day that covers it: its own UTM zone first, then the fewest clouds."""
        return next(iter(self._s2(tile, tile.date, days=1)), None)

    def next_scene(self, tile: Tile, *, days: int = 30, cloudy_at_most: float = 20.0) -> tuple[Tile, Scene] | None:
        """The tile dated to the first day from its own on with a clear scene over it, and that scene."""
        scenes = sorted(self._s2(tile, tile.date, days=days), key=lambda s: s.start_ms)
        clear = (s for s in scenes if float(s.properties.get("CLOUDY_PIXEL_PERCENTAGE", 0)) <= cloudy_at_most)
        scene = next((s for s in clear if self.cloud_share(s, tile) < _CLOUDY_AT_MOST), None)
        if scene is None:
            return None
        day = datetime.fromtimestamp(scene.start_ms / 1000, UTC).date()
        return replace(tile, id=f"{tile.id[:-9]}-{day:%Y%m%d}", date=day), scene

    def cloud_share(self, scene: Scene, tile: Tile) -> float:
        """Share of a tile's pixels that lie under clouds in a scene."""
        return float(cloudy(self._catalogue, scene, tile).mean())

    def has_s1(self, tile: Tile) -> bool:
        """Whether any Sentinel-1 scene of the 360 days around the tile's day would enter its mean."""
        windows = ((-24, 24), (-180, 180))  # most places are seen within days, so the long search is rare
        return any(self._s1(tile, tile.date + timedelta(days=a), days=b - a) for a, b in windows)

    def _s2(self, tile: Tile, first_day: date, *, days: int) -> list[Scene]:
        scenes = self._find("COPERNICUS/S2_SR_HARMONIZED", tile, first_day, days)
        covering = [scene for scene in scenes if _footprint(scene, tile).covers(_outline(tile))]
        return sorted(
            covering,
            key=lambda s: (s.bands[0].crs != tile.crs, s.properties.get("CLOUDY_PIXEL_PERCENTAGE", 0), s.index),
        )

    def _s1(self, tile: Tile, first_day: date, *, days: int) -> bool:
        return any(
            scene.properties.get("instrumentMode") == "IW"
            and {"VV", "VH"} <= set(scene.properties.get("transmitterReceiverPolarisation", ()))
            and _footprint(scene, tile).intersects(_outline(tile))
            for scene in self._find("COPERNICUS/S1_GRD", tile, first_day, days)
        )

    def _find(self, collection: str, tile: Tile, first_day: date, days: int) -> list[Scene]:
        start_ms = int(datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC).timestamp() * 1000)
        west, south, east, north = _outline(tile).bounds
        turn = 360.0 if west < -180 else 0.0
        return self._catalogue.find(
            collection,
            start_ms=start_ms,
            end_ms=start_ms + days * 86_400_000,
            region=(west + turn, south, east + turn, north),
        )


_CLOUD_BAND, _CLOUDY_PERCENT = "MSK_CLDPRB", 30


def cloudy(catalogue: SceneSource, scene: Scene, tile: Tile) -> NDArray[np.bool_]:
    """bool (H, W): which pixels of a tile lie under clouds in a scene; none where the scene knows of no clouds."""
    band = next((band for band in scene.bands if band.id == _CLOUD_BAND), None)
    if band is None or scene.properties.get("CLOUDY_PIXEL_PERCENTAGE") == 0:
        return np.zeros(tile.shape, bool)
    grid = utm.UtmGrid.of(tile.crs, tile.transform, tile.shape)
    x, y = np.broadcast_arrays(grid.eastings[None, :], grid.northings[:, None])
    zone, south = utm.zone_of(band.crs)
    if zone != grid.zone:
        x, y = utm.forward(*utm.inverse(x, y, grid.zone), zone)
    size, _, left, _, _, top = band.transform
    cols = np.floor((x - left) / size).astype(np.int64)
    rows = np.floor((top - utm.FALSE_NORTHING * south - y) / size).astype(np.int64)
    span = [(int(numbers.min()), int(numbers.max()) + 1) for numbers in (rows, cols)]
    values, _ = catalogue.read(scene, band.id, span[0], span[1])
    percent = np.asarray(values[rows - span[0][0], cols - span[1][0]], np.uint8)
    return percent > _CLOUDY_PERCENT


def _outline(tile: Tile) -> shapely.Polygon:
    """The tile in degrees, longitudes continuous around its centre."""
    return _near(tile.outline, tile.centre[0])


def _footprint(scene: Scene, tile: Tile) -> shapely.Polygon:
    return _near(scene.footprint, tile.centre[0])


def _near(corners: Iterable[tuple[float, float]], lon: float) -> shapely.Polygon:
    """A polygon whose longitudes are given by the turn that is nearest to ``lon``."""
    return shapely.Polygon([(lon + (x - lon + 180) % 360 - 180, y) for x, y in corners])
