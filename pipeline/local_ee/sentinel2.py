"""Sentinel-2 L2A scenes: which granules are seen when, and their names and properties.

Names follow real products: `system:index` is <datatake start>_<datastrip start>_T<granule>, PRODUCT_ID holds the
processing baseline of its day, the relative orbit and the time of processing. Shape and properties follow real
metadata of COPERNICUS/S2_SR.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from . import mgrs, noise, orbits, utm
from .acquisition import Acquisition, Polygon, area, clipped, day_of_year, footprint, seconds_of, stamp
from .mgrs import SIDE_M, Granule
from .orbits import SENTINEL_2, Satellite
from .planet import Look
from .scene import Scene, SceneBand

COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"
NATIVE_M = {
    **{"B1": 60, "B2": 10, "B3": 10, "B4": 10, "B5": 20, "B6": 20, "B7": 20, "B8": 10, "B8A": 20},
    **{"B9": 60, "B11": 20, "B12": 20},
}
"""Pixel size of each band in metres, in the order of the live catalogue."""

FIRST_S = 1_490_659_200.0
"""2017-03-28: the collection's first day. Source: its Earth Engine catalogue page."""

MISSING_SHARE = 0.02
_LEAST_SEEN = 0.01  # share of a granule that a pass must see to become a scene
_DARK_ZENITH = 84.0  # degrees; no acquisitions with a lower Sun
_DATATAKE_START_U = 98.0  # degrees from the ascending node: 82 N, before any land
_STRIP_S = 540  # length of a datastrip
_LEAD_S = 4  # from the start of a datatake to its first line

_KNOWN_STARTS_S = {89: 1711.5, 96: 2737.9, 108: 2034.4, 121: 2020.9}
"""Seconds from the ascending node to the start of a real datatake, by relative orbit: products of R089 (T49MEM),
R096 (T20MMA), R108 (T30NWM) and R121 (T34HCH). Other orbits have one datatake, from 82 N."""

_BASELINES = (
    ("20170101", "02.04"),
    ("20170427", "02.05"),
    ("20171023", "02.06"),
    ("20181106", "02.10"),
    ("20181212", "02.11"),
    ("20190506", "02.12"),
    ("20190716", "02.13"),
    ("20200204", "02.14"),
    ("20210330", "03.00"),
    ("20210701", "03.01"),
    ("20220125", "04.00"),
    ("20221206", "05.09"),
    ("20231213", "05.10"),
    ("20240723", "05.11"),
)
"""First sensing day of each processing baseline. Source: Sentinel-2 L2A processing baselines (ESA Sentiwiki)."""


@dataclass(frozen=True)
class Pass:
    """One relative orbit over one granule, the same in every cycle.

    Attributes:
        relative: relative orbit number.
        u: argument of latitude over the granule's middle, degrees.
        seen: the part of the granule in the swath.
    """

    relative: int
    u: float
    seen: Polygon


@lru_cache(maxsize=4096)
def passes(granule: Granule) -> tuple[Pass, ...]:
    """Descending passes that see a granule."""
    lon, lat = granule.centre
    nodes = orbits.node_lons(SENTINEL_2)
    near = orbits.abeam(SENTINEL_2, nodes, lon, lat, "DESCENDING")
    reach = SENTINEL_2.far_km + 0.75 * SIDE_M / 1000
    descending = (near.u > 90) & (near.u < 270)
    found = []
    for k in np.flatnonzero(descending & (np.abs(near.across_km) < reach)).tolist():
        seen = _seen(granule, float(nodes[k]), float(near.u[k]))
        if area(seen) >= _LEAST_SEEN * SIDE_M**2:
            found.append(Pass(k + 1, float(near.u[k]), seen))
    return tuple(found)


def _seen(granule: Granule, node: float, u: float) -> Polygon:
    """The granule cut by the two edges of the swath, taken as straight lines in its CRS."""
    x, y = float(granule.x), float(granule.y)
    polygon: Polygon = ((x, y - SIDE_M), (x + SIDE_M, y - SIDE_M), (x + SIDE_M, y), (x, y))
    for across, order in ((SENTINEL_2.near_km, -1), (SENTINEL_2.far_km, 1)):
        lon, lat = orbits.track(SENTINEL_2, node, np.array([u - 0.5, u + 0.5]), across)
        ends = list(zip(*(c.tolist() for c in utm.forward(lon, lat, granule.zone)), strict=True))[::order]
        polygon = clipped(polygon, ends[0], ends[1])
        if not polygon:
            break
    return polygon


def acquisitions(granule: Granule, start_s: float, end_s: float, seed: int) -> Iterator[Acquisition]:
    """Scenes of a granule with start times in [start, end)."""
    start_s = max(start_s, FIRST_S)
    for item in passes(granule):
        delay = item.u / 360 * SENTINEL_2.period_s
        for name in ("S2A", "S2B"):
            satellite = orbits.SATELLITES[name]
            for orbit in satellite.orbits_between(item.relative, start_s - delay - 1, end_s - delay + 1):
                if start_s <= int(satellite.node_time(orbit) + delay) < end_s:
                    found = acquisition(granule, item, name, orbit, seed)
                    if found is not None:
                        yield found


@lru_cache(maxsize=20_000)
def acquisition(granule: Granule, item: Pass, name: str, orbit: int, seed: int) -> Acquisition | None:
    """The scene of one pass, or None where it was dark or the scene is missing."""
    if noise.unit("missing", granule.name, name, orbit) < MISSING_SHARE:
        return None
    satellite = orbits.SATELLITES[name]
    sensed = int(satellite.node_time(orbit) + item.u / 360 * SENTINEL_2.period_s)
    zenith = _sun_zenith(granule.centre[1], sensed)
    if zenith > _DARK_ZENITH:
        return None
    properties = _properties(granule, item, satellite, orbit, sensed)
    properties["MEAN_SOLAR_ZENITH_ANGLE"] = round(zenith, 6)
    scene = Scene(
        COLLECTION, str(properties["system:index"]), _bands(granule), properties, footprint(item.seen, granule.zone)
    )
    cloud = float(properties["CLOUDY_PIXEL_PERCENTAGE"]) / 100
    look = Look(noise.key(seed, scene.index), day_of_year(sensed), granule.centre[1], cloud_share=cloud)
    return Acquisition(scene, granule.zone, item.seen, look)


@lru_cache(maxsize=4096)
def _bands(granule: Granule) -> tuple[SceneBand, ...]:
    x, y = granule.origin
    return tuple(
        SceneBand(band, "uint16", granule.crs, (size, 0, x, 0, -size, y), (SIDE_M // size, SIDE_M // size))
        for band, size in NATIVE_M.items()
    )


def _sun_zenith(lat: float, seconds: float) -> float:
    """Degrees, at 10:30 local solar time."""
    declination = np.radians(-23.44 * np.cos(2 * np.pi * (day_of_year(seconds) + 10) / 365.25))
    phi, hour = np.radians(lat), np.radians((10.5 - 12) * 15)
    cosine = np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _cloud_percentage(index: str) -> float:
    """Mostly clear: seven scenes of ten below 1.5 %, one of ten 10 to 40 %."""
    share = noise.unit("cloud cover", index)
    points = np.interp(share, [0, 0.45, 0.7, 0.9, 1.0], [0.0, 0.0, 1.5, 10.0, 40.0])
    return round(float(points), 6)


def _starts(relative: int, node_s: float, u: float) -> tuple[int, int]:
    """When the datatake and the datastrip began that hold an argument of latitude."""
    since_node_s = u / 360 * SENTINEL_2.period_s
    begin_s = _DATATAKE_START_U / 360 * SENTINEL_2.period_s
    if _KNOWN_STARTS_S.get(relative, np.inf) < since_node_s - _LEAD_S:
        begin_s = _KNOWN_STARTS_S[relative]
    strips = max(int((since_node_s - _LEAD_S - begin_s) // _STRIP_S), 0)
    return int(node_s + begin_s), int(node_s + begin_s) + _LEAD_S + strips * _STRIP_S


def _properties(granule: Granule, item: Pass, satellite: Satellite, orbit: int, sensed: int) -> dict[str, Any]:
    letter, orbit_name = satellite.letter, f"A{orbit:06d}"
    datatake, datastrip = _starts(item.relative, satellite.node_time(orbit), item.u)
    day = stamp(sensed)[:8]
    baseline = next(value for first, value in reversed(_BASELINES) if first <= day)
    processed = sensed + 7_000 + int(20_000 * noise.unit("processed", satellite.letter, orbit, datastrip))
    index = f"{stamp(datatake)}_{stamp(datastrip)}_T{granule.name}"
    cloud = _cloud_percentage(index)
    product = f"N{baseline.replace('.', '')}_R{item.relative:03d}_T{granule.name}_{stamp(processed)}"
    return {
        "system:index": index,
        "system:time_start": sensed * 1000,
        "system:time_end": sensed * 1000,
        "PRODUCT_ID": f"S2{letter}_MSIL2A_{stamp(datatake)}_{product}",
        "GRANULE_ID": f"L2A_T{granule.name}_{orbit_name}_{stamp(datastrip)}",
        "DATASTRIP_ID": f"S2{letter}_OPER_MSI_L2A_DS_MTI__{stamp(processed)}_S{stamp(datastrip)}_N{baseline}",
        "DATATAKE_IDENTIFIER": f"GS2{letter}_{stamp(datatake)}_{orbit:06d}_N{baseline}",
        "DATATAKE_TYPE": "INS-NOBS",
        "PROCESSING_BASELINE": baseline,
        "MGRS_TILE": granule.name,
        "SPACECRAFT_NAME": f"Sentinel-2{letter}",
        "SENSING_ORBIT_NUMBER": item.relative,
        "SENSING_ORBIT_DIRECTION": "DESCENDING",
        "GENERATION_TIME": processed * 1000,
        "CLOUDY_PIXEL_PERCENTAGE": cloud,
        "CLOUD_COVERAGE_ASSESSMENT": cloud,
        "NODATA_PIXEL_PERCENTAGE": round(100 * max(0.0, 1 - area(item.seen) / SIDE_M**2), 6),
        "DEGRADED_MSI_DATA_PERCENTAGE": 0,
        "SATURATED_DEFECTIVE_PIXEL_PERCENTAGE": 0,
        "FORMAT_CORRECTNESS": "PASSED",
        "GENERAL_QUALITY": "PASSED",
        "GEOMETRIC_QUALITY": "PASSED",
        "RADIOMETRIC_QUALITY": "PASSED",
        "SENSOR_QUALITY": "PASSED",
    }


def by_index(index: str, seed: int) -> Acquisition | None:
    """The scene of a `system:index`."""
    parts = index.split("_")
    if len(parts) != 3:
        return None
    candidates = _of_datatake(parts[0], parts[2], seed)
    return next((found for found in candidates if found.scene.index == index), None)


def by_product(product_id: str, seed: int) -> Acquisition | None:
    """The scene of a PRODUCT_ID."""
    parts = product_id.split("_")
    if len(parts) != 7:
        return None
    candidates = _of_datatake(parts[2], parts[5], seed)
    return next((found for found in candidates if found.scene.properties["PRODUCT_ID"] == product_id), None)


def _of_datatake(start: str, tile: str, seed: int) -> list[Acquisition]:
    """Scenes of a granule that were sensed within an orbit after a datatake began."""
    seconds, granule = seconds_of(start), mgrs.named(tile[1:])
    if seconds is None or granule is None or not tile.startswith("T"):
        return []
    return list(acquisitions(granule, seconds, seconds + SENTINEL_2.period_s, seed))


def granules_between(start_s: float, end_s: float) -> set[Granule]:
    """Granules that may have been sensed in a short time."""
    found: set[Granule] = set()
    for name in ("S2A", "S2B"):
        satellite, period = orbits.SATELLITES[name], SENTINEL_2.period_s
        first = satellite.orbit + int(np.floor((start_s - satellite.node_s) / period))
        last = satellite.orbit + int(np.floor((end_s - satellite.node_s) / period))
        for orbit in range(first, last + 1):
            node_s = satellite.node_time(orbit)
            from_u, to_u = (start_s - node_s) / period * 360 - 1.5, (end_s - node_s) / period * 360 + 1.5
            steps = np.arange(max(from_u, 90.5), min(to_u, 269.5), 0.4)
            u, across = np.meshgrid(steps, np.linspace(SENTINEL_2.near_km, SENTINEL_2.far_km, 8))
            lon, lat = orbits.track(SENTINEL_2, orbits.node_lon(SENTINEL_2, node_s), u, across)
            for point_lon, point_lat in zip(lon.ravel().tolist(), lat.ravel().tolist(), strict=True):
                found.update(mgrs.granules_in((point_lon, point_lat, point_lon, point_lat)))
    return found
