"""Sentinel-1 GRD scenes: slices along the orbits, which of them are acquired, and their names and properties.

Shape and properties follow a real getInfo of COPERNICUS/S1_GRD: each scene stands on its own 10 m grid, whose origin is
no multiple of anything, in the UTM zone of its middle. What is acquired depends on the region: Europe by both passes
and both satellites, other places by one or the other, the high Arctic and a few regions in EW mode with HH and HV only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..planet import noise, utm
from ..planet.protocol import ViewGeometry
from ..planet.spectra import normal_number
from ..scene import PixelType, Scene, SceneBand
from . import orbits
from .acquisition import Acquisition, Polygon, day_of_year, footprint, seconds_of, stamp
from .orbits import SENTINEL_1, Direction, Satellite

COLLECTIONS: dict[str, PixelType] = {"COPERNICUS/S1_GRD": "float64", "COPERNICUS/S1_GRD_FLOAT": "float32"}
"""dB and linear power, and the type of their bands."""

SLICE_S = 25.0
"""Length of a slice: about 170 km along the track."""

ANGLE_SHAPE = (10, 21)
"""Rows along the track and columns across it of the band ``angle``. Source: getInfo of a real scene."""

NEAR_INCIDENCE, FAR_INCIDENCE = 30.0, 46.0
_OVERLAP_S = 0.05
_CONSTANT: dict[str, Any] = {
    "familyName": "SENTINEL-1",
    "instrument": "Synthetic Aperture Radar",
    "instrumentConfigurationID": 6,
    "phaseIdentifier": 1,
    "productType": "GRD",
    "productClass": "S",
    "productClassDescription": "SAR Standard L1 Product",
    "productComposition": "Slice",
    "productTimelinessCategory": "Fast-24h",
    "sliceProductFlag": "true",
    "SLC_Processing_software_name": "Sentinel-1 IPF",
    "SLC_Processing_software_version": "003.10",
    "GRD_Post_Processing_software_name": "Sentinel-1 IPF",
    "GRD_Post_Processing_software_version": "003.10",
    "SNAP_Graph_Processing_Framework_GPF_vers": "6.0.4",
    "S1TBX_Calibration_vers": "6.0.4",
    "S1TBX_SAR_Processing_vers": "6.0.4",
}
"""Properties of every scene; what is left out of a real one's names facilities, countries and sizes."""

_SLICES = int(np.ceil(SENTINEL_1.period_s / SLICE_S))
_SCENES_PER_PLACE = (24.0, 48.0)  # in 360 days


@dataclass(frozen=True)
class Slice:
    """One slice of one relative orbit, the same in every cycle.

    Attributes:
        relative: relative orbit number.
        number: counted from the ascending node.
        zone: UTM zone of its middle.
        centre: (lon, lat).
        seen: the swath as a polygon in that zone.
    """

    relative: int
    number: int
    zone: int
    centre: tuple[float, float]
    seen: Polygon

    @property
    def way(self) -> Direction:
        return orbits.direction((self.number + 0.5) * SLICE_S / SENTINEL_1.period_s * 360)


@dataclass(frozen=True)
class Coverage:
    """What is acquired over one region.

    Attributes:
        mode: ``IW`` (VV + VH) or ``EW`` (HH + HV).
        ways: passes that acquire.
        satellites: satellites that acquire; where B alone does, A takes over after its end.
        share: share of the cycles that are acquired.
        single: share of the acquisitions with VV alone.
    """

    mode: Literal["IW", "EW"]
    ways: tuple[Direction, ...]
    satellites: tuple[str, ...]
    share: float
    single: float


class _Key(NamedTuple):
    """What makes one acquisition out of a slice."""

    part: Slice
    name: str
    orbit: int
    collection: str


def coverage_of(lon: float, lat: float) -> Coverage:
    """The acquisition plan of a place: constant over cells of 8 degrees of latitude."""
    row = int((lat + 90) // 8)
    middle = -90 + (row + 0.5) * 8
    columns = max(int(45 * np.cos(np.radians(min(abs(middle), 85)))), 1)
    return _coverage(row, int((lon + 180) % 360 / 360 * columns), columns)


@lru_cache(maxsize=4096)
def _coverage(row: int, column: int, columns: int) -> Coverage:
    lat, lon = -90 + (row + 0.5) * 8, -180 + (column + 0.5) * 360 / columns
    draw = noise.unit("plan", row, column)
    greenland = lat > 58 and -62 < lon < -15
    if lat > 76 or lat < -62 or greenland or noise.unit("sea ice", row, column) < (0.12 if abs(lat) > 52 else 0.025):
        return Coverage("EW", ("ASCENDING", "DESCENDING"), ("S1A", "S1B"), 0.5, 0.0)
    ways: tuple[Direction, ...]
    satellites: tuple[str, ...]
    if 35 < lat < 72 and -12 < lon < 45:  # Europe
        ways, satellites, single = ("ASCENDING", "DESCENDING"), ("S1A", "S1B"), 0.01
    else:
        choices: tuple[tuple[Direction, ...], ...] = (("DESCENDING",), ("ASCENDING",), ("ASCENDING", "DESCENDING"))
        ways = choices[0 if draw < 0.4 else 1 if draw < 0.65 else 2]
        pick = noise.unit("satellites", row, column)
        satellites = ("S1A", "S1B") if pick < 0.45 else ("S1A",) if pick < 0.8 else ("S1B",)
        single = 0.06
    tracks = max((SENTINEL_1.far_km - SENTINEL_1.near_km) / (228.8 * np.cos(np.radians(min(abs(lat), 80)))), 1.0)
    low, high = _SCENES_PER_PLACE
    wanted = high if len(ways) == len(satellites) == 2 else low + (high - low) * noise.unit("often", row, column)
    share = min(wanted / (tracks * len(ways) * len(satellites) * 30), 1.0)
    return Coverage("IW", ways, satellites, share, single)


@lru_cache(maxsize=8192)
def slice_of(relative: int, number: int) -> Slice:
    """Geometry of a slice."""
    node = float(orbits.node_lons(SENTINEL_1)[relative - 1])
    start = (number * SLICE_S - _OVERLAP_S) / SENTINEL_1.period_s * 360
    end = ((number + 1) * SLICE_S + _OVERLAP_S) / SENTINEL_1.period_s * 360
    near, far = SENTINEL_1.near_km, SENTINEL_1.far_km
    # Counter-clockwise seen from above: the swath lies to the right.
    lon, lat = orbits.track(SENTINEL_1, node, np.array([start, start, end, end]), np.array([near, far, far, near]))
    middle_lon, middle_lat = orbits.track(SENTINEL_1, node, (start + end) / 2, (near + far) / 2)
    zone = int(utm.home_zone(middle_lon))
    x, y = utm.forward(lon, lat, zone)
    seen = tuple(zip(x.tolist(), y.tolist(), strict=True))
    return Slice(relative, number, zone, (float(middle_lon), float(middle_lat)), seen)


@lru_cache(maxsize=1024)
def slices_in(region: tuple[float, float, float, float]) -> frozenset[Slice]:
    """Slices that may meet (west, south, east, north) in degrees."""
    west, south, east, north = region
    rows, cols = 2 + int(north - south), 2 + int(east - west)
    mesh = np.meshgrid(np.linspace(west, east, cols), np.linspace(max(south, -89), min(north, 89), rows))
    spacing_km = 111.2 * max((north - south) / (rows - 1), (east - west) / (cols - 1))
    lon, lat = mesh[0].ravel(), mesh[1].ravel()
    nodes = orbits.node_lons(SENTINEL_1)[:, None]
    found: set[tuple[int, int]] = set()
    margin_s = 1.0 + spacing_km / 6.7
    ways: tuple[Direction, ...] = ("ASCENDING", "DESCENDING")
    for way in ways:
        near = orbits.abeam(SENTINEL_1, nodes, lon[None, :], lat[None, :], way)
        hit = (near.across_km > SENTINEL_1.near_km - spacing_km - 5) & (
            near.across_km < SENTINEL_1.far_km + spacing_km + 5
        )
        for k in np.flatnonzero(hit.any(axis=1)).tolist():
            for seconds in (near.u[k, hit[k]] / 360 * SENTINEL_1.period_s).tolist():
                numbers = range(int((seconds - margin_s) // SLICE_S), int((seconds + margin_s) // SLICE_S) + 1)
                found.update((k + 1, number) for number in numbers if 0 <= number < _SLICES)
    return frozenset(slice_of(*item) for item in found)


def acquisitions(part: Slice, collection: str, start_s: float, end_s: float, seed: int) -> Iterator[Acquisition]:
    """Scenes of a slice with start times in [start, end)."""
    coverage = coverage_of(*part.centre)
    if part.way not in coverage.ways:
        return
    delay = part.number * SLICE_S
    for name in ("S1A", "S1B"):
        satellite = orbits.SATELLITES[name]
        for orbit in satellite.orbits_between(part.relative, start_s - delay - 1, end_s - delay + 1):
            sensed = satellite.node_time(orbit) + delay
            if start_s <= int(sensed) < end_s and _acquired(coverage, part, name, orbit, sensed):
                yield acquisition(_Key(part, name, orbit, collection), seed)


def _acquired(coverage: Coverage, part: Slice, name: str, orbit: int, sensed: float) -> bool:
    taken_over = coverage.satellites == ("S1B",) and name == "S1A" and sensed >= orbits.SATELLITES["S1B"].last_s
    if name not in coverage.satellites and not taken_over:
        return False
    return _drawn("cycle", part, name, orbit) < coverage.share


def _drawn(what: str, part: Slice, name: str, orbit: int) -> float:
    """A number in [0, 1) that all slices of a datatake over one region share."""
    lon, lat = part.centre
    return noise.unit(what, name, orbit, int((lat + 90) // 8), int((lon + 180) // 8))


@lru_cache(maxsize=20_000)
def acquisition(key: _Key, seed: int) -> Acquisition:
    """The scene of a slice in one orbit."""
    part, name, orbit, collection = key
    satellite, coverage = orbits.SATELLITES[name], coverage_of(*part.centre)
    single = coverage.mode == "IW" and _drawn("single", part, name, orbit) < coverage.single
    channels = ("HH", "HV") if coverage.mode == "EW" else ("VV",) if single else ("VV", "VH")
    sensed = satellite.node_time(orbit) + part.number * SLICE_S
    index = _index(coverage.mode, channels, satellite, orbit, part.number, sensed)
    geometry = ViewGeometry(
        noise.key(seed, index),
        day_of_year(sensed),
        part.centre[1],
        ascending=part.way == "ASCENDING",
        incidence=incidence_plane(part.seen),
        shift_m=_misplaced(part.relative, seed),
    )
    bands = _bands(collection, part, coverage.mode, channels, index)
    properties = _properties(index, coverage.mode, channels, satellite, orbit, part, sensed)
    scene = Scene(collection, index, bands, properties, footprint(part.seen, part.zone))
    return Acquisition(scene, part.zone, part.seen, geometry)


_MISPLACED_M = 6.0


def _misplaced(relative: int, seed: int) -> tuple[float, float]:
    """(down, right) metres: all scenes of a track have the same view and the same error of the terrain's height.

    The mean of several tracks is off by about half a pixel, as Sentinel-1 was found to be against Sentinel-2.
    """
    down, right = (-_MISPLACED_M * normal_number(seed, "misplaced", relative, way) for way in ("down", "right"))
    return down, right


def incidence_plane(seen: Polygon) -> tuple[float, float, float]:
    """Incidence as a plane over (1, easting, northing), through three corners of a slice."""
    corners = np.array([[1.0, x, y] for x, y in seen[:3]])
    a, b, c = np.linalg.solve(corners, np.array([NEAR_INCIDENCE, FAR_INCIDENCE, FAR_INCIDENCE])).tolist()
    return a, b, c


def _bands(collection: str, part: Slice, mode: str, channels: tuple[str, ...], index: str) -> tuple[SceneBand, ...]:
    step = 10 if mode == "IW" else 40
    south = part.centre[1] < 0
    crs = utm.epsg(part.zone, south=south)
    x, y = [corner[0] for corner in part.seen], [corner[1] for corner in part.seen]
    # Anywhere between the points of a 10 m lattice, as in real scenes.
    left = float(np.floor(min(x))) - step * noise.unit("origin x", index)
    top = float(np.ceil(max(y))) + step * noise.unit("origin y", index)
    width, height = int((max(x) - left) // step) + 1, int((top - min(y)) // step) + 1
    shown_top = top + (utm.FALSE_NORTHING if south else 0.0)
    transform = (float(step), 0.0, left, 0.0, -float(step), shown_top)
    angle = _angle_transform(part.seen, utm.FALSE_NORTHING if south else 0.0)
    return (
        *(SceneBand(name, COLLECTIONS[collection], crs, transform, (height, width)) for name in channels),
        SceneBand("angle", "float32", crs, angle, ANGLE_SHAPE),
    )


def _angle_transform(seen: Polygon, false_northing: float) -> tuple[float, float, float, float, float, float]:
    """A grid that lies along the swath: columns from near to far range, rows in flight direction."""
    (x, y), (far_x, far_y), _, (end_x, end_y) = seen
    rows, cols = ANGLE_SHAPE
    across = (far_x - x) / cols, (far_y - y) / cols
    along = (end_x - x) / rows, (end_y - y) / rows
    return across[0], along[0], x, across[1], along[1], y + false_northing


def angles(band: SceneBand, rows: tuple[int, int], cols: tuple[int, int]) -> NDArray[np.float32]:
    """float32 (rows, cols), degrees of incidence from near to far range."""
    across = (np.arange(*cols) + 0.5) / band.shape[1]
    degrees = NEAR_INCIDENCE + (FAR_INCIDENCE - NEAR_INCIDENCE) * across
    return np.broadcast_to(degrees.astype(np.float32), (rows[1] - rows[0], len(across)))


def _datatake(satellite: Satellite, orbit: int) -> int:
    """A number that grows by about 7.5 per orbit, as that of the real mission does."""
    return int(orbit * 7.489) - (0 if satellite.letter == "A" else 1)


def _index(mode: str, channels: tuple[str, ...], satellite: Satellite, orbit: int, number: int, sensed: float) -> str:
    kind = {"VV": "1SSV", "VV VH": "1SDV", "HH HV": "1SDH"}[" ".join(channels)]
    product = f"S1{satellite.letter}_{mode}_GRD{'H' if mode == 'IW' else 'M'}_{kind}"
    check = noise.key("product", satellite.letter, orbit, number) & 0xFFFF
    times = f"{stamp(sensed)}_{stamp(sensed + SLICE_S)}"
    return f"{product}_{times}_{orbit:06d}_{_datatake(satellite, orbit):06X}_{check:04X}"


def _properties(
    index: str, mode: str, channels: tuple[str, ...], satellite: Satellite, orbit: int, part: Slice, sensed: float
) -> dict[str, Any]:
    relative = satellite.relative(orbit)
    sensed_ms, node_ms = int(sensed) * 1000, int(satellite.node_time(orbit) * 1000)
    return {
        "system:index": index,
        "system:time_start": sensed_ms,
        "system:time_end": sensed_ms,
        **_CONSTANT,
        "platform_number": satellite.letter,
        "nssdcIdentifier": {"A": "2014-016A", "B": "2016-025A"}[satellite.letter],
        "instrumentMode": mode,
        "instrumentSwath": mode,
        "transmitterReceiverPolarisation": list(channels),
        "resolution": "H" if mode == "IW" else "M",
        "resolution_meters": 10 if mode == "IW" else 40,
        "sliceNumber": part.number + 1,
        "totalSlices": _SLICES,
        "orbitProperties_pass": part.way,
        "orbitProperties_ascendingNodeTime": node_ms,
        "orbitNumber_start": orbit,
        "orbitNumber_stop": orbit,
        "relativeOrbitNumber_start": relative,
        "relativeOrbitNumber_stop": relative,
        "cycleNumber": (orbit + satellite.shift) // SENTINEL_1.orbits + 15,
        "missionDataTakeID": _datatake(satellite, orbit),
        "startTimeANX": part.number * SLICE_S * 1000,
        "stopTimeANX": (part.number + 1) * SLICE_S * 1000,
        "segmentStartTime": node_ms,
        "SLC_Processing_start": sensed_ms + 7_000_000,
        "SLC_Processing_stop": sensed_ms + 7_150_000,
        "GRD_Post_Processing_start": sensed_ms + 7_200_000,
        "GRD_Post_Processing_stop": sensed_ms + 7_400_000,
    }


def by_index(collection: str, index: str, seed: int) -> Acquisition | None:
    """The scene of a `system:index`."""
    parts = index.split("_")
    name, seconds = parts[0], seconds_of(parts[4]) if len(parts) == 9 else None
    if name not in ("S1A", "S1B") or seconds is None or not parts[6].isdigit():
        return None
    satellite, orbit = orbits.SATELLITES[name], int(parts[6])
    number = round((seconds - satellite.node_time(orbit)) / SLICE_S)
    if not 0 <= number < _SLICES:
        return None
    part = slice_of(satellite.relative(orbit), number)
    candidates = acquisitions(part, collection, seconds - 1, seconds + 2, seed)
    return next((found for found in candidates if found.scene.index == index), None)


def slices_between(start_s: float, end_s: float) -> frozenset[Slice]:
    """Slices that begin in a short time."""
    found: set[Slice] = set()
    for name in ("S1A", "S1B"):
        satellite, period = orbits.SATELLITES[name], SENTINEL_1.period_s
        first = satellite.orbit + int(np.floor((start_s - satellite.node_s) / period))
        last = satellite.orbit + int(np.floor((end_s - satellite.node_s) / period))
        for orbit in range(first, last + 1):
            since = start_s - satellite.node_time(orbit), end_s - satellite.node_time(orbit)
            numbers = range(max(int(since[0] // SLICE_S), 0), min(int(since[1] // SLICE_S) + 2, _SLICES))
            found.update(slice_of(satellite.relative(orbit), number) for number in numbers)
    return frozenset(found)
