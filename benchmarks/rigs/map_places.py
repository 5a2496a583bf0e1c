"""Places of the sandbox whose pixels are downloaded as maps download them, and kept in memory.

An edge of a Sentinel-2 swath crosses each place: pixels of one day lie on one side, those of another day on the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import shapely
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.local_ee.scene import Scene
from dwplus.model.score import LoadedRun, load
from dwplus.pipeline.areas.blocks import Cache, Sought, download, parts_of
from dwplus.pipeline.areas.grids import ZoneGrid
from dwplus.pipeline.areas.image import AreaImage
from dwplus.pipeline.areas.scenes import Choice, Day, days_of_area, tile_of
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.earthengine.configuration import Configuration
from dwplus.pipeline.earthengine.connection import connect
from dwplus.pipeline.earthengine.graphs import area_search
from dwplus.pipeline.earthengine.session import Session, Tally
from dwplus.pipeline.own.grid import Zone, between
from dwplus.pipeline.raster.geotiff import RasterGrid
from dwplus.pipeline.spec.bands import S1_BANDS, S2_BANDS
from dwplus.pipeline.spec.periods import Period
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.spec.tiles import RESOLUTION_M
from numpy.typing import NDArray

from rigs.map_inputs import Held, untrained
from rigs.planet_views import Sandbox

DAY = date(2024, 7, 1)
_WINDOW = timedelta(days=15)


def run_and_recipe(folder: Path | None) -> tuple[LoadedRun, Recipe]:
    """The run of a folder below a data root, and how that was built; None: a network that nobody trained."""
    if folder is None:
        print("a network that nobody trained answers: figures mean nothing")
        return untrained(), Recipe(half_window_days=12)
    return load(folder, device="cpu"), DataRoot.at(folder.resolve().parent.parent).recipe() or Recipe()


@dataclass(frozen=True)
class Place:
    """A part of the sandbox, seen on two days.

    Attributes:
        first, second: the pixels of each day by themselves; of Sentinel-1 the mean of all passes.
        ascending: VV and VH of ascending passes alone, by band.
        observations: Sentinel-1 scenes in the mean, (H, W); another number means that a swath ends in between.
    """

    first: Held
    second: Held
    ascending: Mapping[str, NDArray[np.uint16]]
    observations: NDArray[np.uint16]

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Where the first day shows the ground: bool (H, W)."""
        return self.first.pixels["B2"] != 0

    def image(self) -> Held:
        """Pixels of the first day where it shows the ground, else of the second, as maps of a date take them."""
        return laid_over(self.first, self.second, self.shown)

    def striped_days(self, width: int) -> tuple[Held, NDArray[np.bool_]]:
        """Both days by turns in stripes, where both show the ground, and which stripes are of the first day."""
        first = stripes(self.shown.shape, width) & self.shown
        return laid_over(self.first, self.second, first), first

    def striped_passes(self, width: int) -> tuple[Held, NDArray[np.bool_]]:
        """The second day, whose Sentinel-1 is by turns that of all passes and of ascending ones."""
        alone = stripes(self.shown.shape, width)
        radar = {band: np.where(alone, self.ascending[band], self.second.pixels[band]) for band in S1_BANDS}
        return replace(self.second, pixels={**self.second.pixels, **radar}, name=f"{self.second.name}, passes"), alone


def laid_over(first: Held, second: Held, chosen: NDArray[np.bool_]) -> Held:
    """Pixels of the first image where they are chosen, else of the second."""
    pixels = {band: np.where(chosen, first.pixels[band], second.pixels[band]) for band in second.pixels}
    assert first.visible is not None
    visible = np.where(chosen, first.visible, second.visible)
    return replace(second, pixels=pixels, visible=visible, name=f"{first.name}, {second.name}, {chosen.sum()}")


def stripes(shape: tuple[int, int], width: int) -> NDArray[np.bool_]:
    """Stripes from the left to the right that lean by a quarter, as orbits do: bool (H, W)."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    found: NDArray[np.bool_] = (columns + rows // 4) // width % 2 == 0
    return found


def places(count: int, size: int, folder: Path, *, recipe: Recipe, seed: int = 7) -> Iterator[Place]:
    """The first places of a planet, ``size`` px wide, in which a swath of Sentinel-2 ends."""
    found = 0
    with LocalEarthEngine(planet={"kind": "earth", "seed": seed}, workers=1) as engine:
        asked = Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file)
        session = connect(asked, concurrency=2)
        for zone, number in _cut_by_a_swath(size, seed):
            made = _download(zone, folder / f"{number}-{size}", session, recipe, f"place {number}")
            if made is not None:
                yield made
                found += 1
            if found == count:
                return


def _cut_by_a_swath(size: int, seed: int) -> Iterator[tuple[ZoneGrid, int]]:
    """Grids around label tiles in which a day's footprints cover between 0.3 and 0.7 of the ground."""
    sandbox = Sandbox.of(132, seed)
    for number, one in enumerate(sandbox.tiles):
        tile = one.tile
        side = size * RESOLUTION_M
        x, y = (round(tile.transform[at] / 320) * 320 for at in (2, 5))
        box = shapely.box(x, y - side, x + side, y)
        name = int(tile.crs.removeprefix("EPSG:"))
        zone = Zone(name % 100, south=name // 100 == 327)
        held = RasterGrid(tile.crs, (10.0, 0.0, float(x), 0.0, -10.0, float(y)), (size, size))
        lon, lat = between(tile.crs, "EPSG:4326").transform(
            np.array([x, x + side, x, x + side]), np.array([y, y, y - side, y - side])
        )
        noon = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC).timestamp() * 1000
        width = _WINDOW.total_seconds() * 1000
        scenes = sandbox.catalogue.find(
            "COPERNICUS/S2_SR_HARMONIZED",
            start_ms=int(noon - width),
            end_ms=int(noon + width),
            region=(lon.min(), lat.min(), lon.max(), lat.max()),
        )
        ground = shapely.MultiPoint(np.stack([lon, lat], axis=1)).convex_hull
        shares = [_share(day, ground) for day in _by_day(scenes)]
        if any(0.3 < share < 0.7 for share in shares) and any(share > 0.999 for share in shares):
            yield ZoneGrid(zone, held, (0, size), (0, size), None, box, cut=False), number


def _by_day(scenes: Sequence[Scene]) -> list[list[tuple[tuple[float, float], ...]]]:
    days: dict[int, list[tuple[tuple[float, float], ...]]] = {}
    for scene in scenes:
        days.setdefault(scene.start_ms // 86_400_000, []).append(scene.footprint)
    return list(days.values())


def _share(footprints: Sequence[Sequence[tuple[float, float]]], ground: shapely.Geometry) -> float:
    """Of the ground that one day shows, 0..1."""
    seen = shapely.union_all([shapely.Polygon(one).buffer(0) for one in footprints if len(one) > 2])
    return float(shapely.area(shapely.intersection(seen, ground)) / shapely.area(ground))


def _download(zone: ZoneGrid, folder: Path, session: Session, recipe: Recipe, name: str) -> Place | None:
    """One place; None where its two days are cloudy."""
    tile = tile_of(zone, DAY)
    searched = Period(DAY - _WINDOW, DAY + _WINDOW)
    days = days_of_area([session.value(area_search(tile, searched), what="scenes", tally=Tally())])
    west, north = tile.transform[2], tile.transform[5]
    side = tile.shape[0] * RESOLUTION_M
    lon, lat = between(tile.crs, "EPSG:4326").transform(
        np.array([west, west + side, west, west + side]), np.array([north, north, north - side, north - side])
    )
    ground = shapely.MultiPoint(np.stack([lon, lat], axis=1)).convex_hull
    shares = {one.day: _share([scene.footprint for scene in one.scenes], ground) for one in days}
    parts_seen = [one for one in days if 0.3 < shares[one.day] < 0.7]
    whole = [one for one in days if shares[one.day] > 0.999]
    if not parts_seen or not whole:
        return None
    first, second = (min(some, key=lambda one: one.cloudy) for some in (parts_seen, whole))
    if max(first.cloudy, second.cloudy) > 15:
        return None
    return _read(zone, folder, session, recipe, name, (first, second))


def _read(zone: ZoneGrid, folder: Path, session: Session, recipe: Recipe, name: str, days: tuple[Day, Day]) -> Place:
    """Both days, each as a picture of its own, with Sentinel-1 of all passes and of ascending ones."""
    pictures = tuple(Choice((day,), 1.0) for day in days)
    both = Sought("both", "SANDBOX", pictures, "L2A", recipe, DAY)
    area = _area(zone, both, folder / "both", session)
    height = zone.grid.shape[0]
    radar = area.read(S1_BANDS, 0, height)
    counted = area._rows(("S1_N",), 0, height, None)[0]  # maps do not read it
    images = []
    for number, day in enumerate(days):
        pixels = {**_by_band(S2_BANDS, area.read(S2_BANDS, 0, height, number)), **_by_band(S1_BANDS, radar)}
        visible = area.shown(0, height, number)
        _, _, x, _, _, y = zone.grid.transform
        images.append(Held(pixels, visible, f"{name} of {day.day}", zone.grid.crs, (x, y)))
    rising = Sought("ascending", "SANDBOX", (), "L2A", replace(recipe, s1_passes=("ASCENDING",)), DAY)
    ascending = _area(zone, rising, folder / "ascending", session).read(S1_BANDS, 0, height)
    return Place(images[0], images[1], _by_band(S1_BANDS, ascending), counted)


def _area(zone: ZoneGrid, sought: Sought, folder: Path, session: Session) -> AreaImage:
    parts = parts_of(zone, sought)
    cache = download(parts, sought, Cache(folder), session=session, concurrency=2)
    return AreaImage(zone, sought, parts, cache)


def _by_band(bands: Sequence[str], values: NDArray[np.uint16]) -> dict[str, NDArray[np.uint16]]:
    return dict(zip(bands, values, strict=True))
