"""Sentinel-2 scenes and what is made of them: which granules are seen when, their names, bands and properties.

Names follow real products: `system:index` is <datatake start>_<datastrip start>_T<granule>, PRODUCT_ID holds the
processing baseline of its day, the relative orbit and the time of processing. Shape and properties follow real
metadata of COPERNICUS/S2_SR. L1C, Dynamic World and Cloud Score+ have the same scenes under the same index.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ...pipeline.spec.classes import DYNAMIC_WORLD
from ..planet import noise, utm
from ..planet.protocol import ViewGeometry
from ..planet.spectra import normal_number
from ..scene import PixelType, Scene, SceneBand
from . import mgrs, orbits
from .acquisition import Acquisition, Polygon, area, clipped, day_of_year, footprint, seconds_of, stamp
from .mgrs import SIDE_M, Granule
from .orbits import SENTINEL_2, Satellite

L2A, L1C = "COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S2_HARMONIZED"
DYNAMIC_WORLD_V1 = "GOOGLE/DYNAMICWORLD/V1"
CLOUD_SCORE = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"

_OPTICAL_M = {
    **{"B1": 60, "B2": 10, "B3": 10, "B4": 10, "B5": 20, "B6": 20, "B7": 20, "B8": 10, "B8A": 20},
    **{"B9": 60, "B10": 60, "B11": 20, "B12": 20},
}

Layout = dict[str, tuple[int, PixelType]]
"""Pixel size in metres and type of each band."""

BANDS: dict[str, Layout] = {
    L2A: {
        **{name: (size, "uint16") for name, size in _OPTICAL_M.items() if name != "B10"},
        **{"AOT": (10, "uint16"), "WVP": (10, "uint16"), "SCL": (20, "uint8")},
        **{"TCI_R": (10, "uint8"), "TCI_G": (10, "uint8"), "TCI_B": (10, "uint8")},
        **{"MSK_CLDPRB": (20, "uint8"), "MSK_SNWPRB": (20, "uint8"), "QA60": (60, "uint16")},
    },
    L1C: {**{name: (size, "uint16") for name, size in _OPTICAL_M.items()}, "QA60": (60, "uint16")},
    DYNAMIC_WORLD_V1: {**dict.fromkeys(DYNAMIC_WORLD.names, (10, "float32")), "label": (10, "uint8")},
    CLOUD_SCORE: {"cs": (10, "float32"), "cs_cdf": (10, "float32")},
}
"""Bands of each collection in the order of the live catalogue, which has QA10 and QA20 besides (always 0).

Source: the Earth Engine catalogue page of each collection.
"""

MOST_CLOUDY = 35.0
"""Dynamic World has no scenes with a larger CLOUDY_PIXEL_PERCENTAGE. Source: its Earth Engine catalogue page."""

FIRST_S = 1_490_659_200.0
"""2017-03-28: the first day of L2A. Source: its Earth Engine catalogue page."""

MISSING_SHARE = 0.02
"""Share of the scenes that L2A lacks."""

REPROCESSED_SHARE = 0.03
"""Share of the scenes before `_REPROCESSED_UNTIL` that are there twice."""

_REPROCESSED_UNTIL, _REPROCESSED_S = "20220125", 1_688_169_600.0  # those of baseline 05.00, made from 2023-07 on
SENTINEL_2_HEIGHT_KM = 786.0
_LEAST_SEEN = 0.01  # share of a granule that a pass must see to become a scene
_DARK_ZENITH = 84.0  # degrees; no acquisitions with a lower Sun
_DATATAKE_START_U = 98.0  # degrees from the ascending node: 82 N, before any land
_STRIP_S = 540  # length of a datastrip
_LEAD_S = 4  # from the start of a datatake to its first line

_KNOWN_STARTS_S = {89: 1711.5, 96: 2737.9, 108: 2034.4, 121: 2020.9}
"""Seconds from the ascending node to the start of a real datatake, by relative orbit: products of R089 (T49MEM),
R096 (T20MMA), R108 (T30NWM) and R121 (T34HCH). Other orbits have one datatake, from 82 N."""

_BASELINES = (
    ("20150623", "02.04"),
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

_L1C_NAMES = {"02.10": "02.07", "02.11": "02.07", "02.12": "02.07", "02.13": "02.08", "02.14": "02.09"}
"""Baselines of L1C where they differ."""

_FOCAL_PLANE = ("B2", "B8", "B3", "B10", "B4", "B5", "B11", "B6", "B7", "B8A", "B12", "B1", "B9")
_PARALLAX = 0.06  # degrees of incidence from one band of the focal plane to the next

_IRRADIANCE = {
    **{"B1": 1884.69, "B2": 1959.72, "B3": 1823.24, "B4": 1512.06, "B5": 1424.64, "B6": 1287.61, "B7": 1162.08},
    **{"B8": 1041.63, "B8A": 955.32, "B9": 812.92, "B10": 367.15, "B11": 245.59, "B12": 85.25},
}
"""W / m2 / um, of Sentinel-2A. Source: metadata of a real scene."""

_CONSTANT: dict[str, Any] = {
    "DATATAKE_TYPE": "INS-NOBS",
    "SENSING_ORBIT_DIRECTION": "DESCENDING",
    "DEGRADED_MSI_DATA_PERCENTAGE": 0,
    "FORMAT_CORRECTNESS": "PASSED",
    "GENERAL_QUALITY": "PASSED",
    "GEOMETRIC_QUALITY": "PASSED",
    "RADIOMETRIC_QUALITY": "PASSED",
    "SENSOR_QUALITY": "PASSED",
    **{f"SOLAR_IRRADIANCE_{band}": value for band, value in _IRRADIANCE.items()},
}
_CONSTANT_L2A: dict[str, Any] = {
    "AOT_RETRIEVAL_ACCURACY": 0,
    "RADIATIVE_TRANSFER_ACCURACY": 0,
    "SATURATED_DEFECTIVE_PIXEL_PERCENTAGE": 0,
    "WATER_VAPOUR_RETRIEVAL_ACCURACY": 0,
}


@dataclass(frozen=True)
class Pass:
    """One relative orbit over one granule, the same in every cycle.

    Attributes:
        relative: relative orbit number.
        u: argument of latitude over the granule's middle, degrees.
        across_km: distance of the granule's middle from the track, to the right positive.
        seen: the part of the granule in the swath.
    """

    relative: int
    u: float
    across_km: float
    seen: Polygon


class _Key(NamedTuple):
    """What makes one scene out of a pass; ``again`` stands for the reprocessed one."""

    collection: str
    granule: Granule
    item: Pass
    name: str
    orbit: int
    again: bool


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
            found.append(Pass(k + 1, float(near.u[k]), float(near.across_km[k]), seen))
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


def acquisitions(collection: str, granule: Granule, start_s: float, end_s: float, seed: int) -> Iterator[Acquisition]:
    """Scenes of a granule with start times in [start, end)."""
    start_s = max(start_s, FIRST_S) if collection == L2A else start_s
    for item in passes(granule):
        delay = item.u / 360 * SENTINEL_2.period_s
        for name in ("S2A", "S2B"):
            satellite = orbits.SATELLITES[name]
            for orbit in satellite.orbits_between(item.relative, start_s - delay - 1, end_s - delay + 1):
                if start_s <= int(satellite.node_time(orbit) + delay) < end_s:
                    keys = (_Key(collection, granule, item, name, orbit, again) for again in (False, True))
                    yield from (found for key in keys if (found := acquisition(key, seed)) is not None)


@lru_cache(maxsize=20_000)
def acquisition(key: _Key, seed: int) -> Acquisition | None:
    """The scene of one pass, or None where there is none: it was dark, or it is missing, or not there twice."""
    granule, item = key.granule, key.item
    if key.collection == L2A and noise.unit("missing", granule.name, key.name, key.orbit) < MISSING_SHARE:
        return None
    satellite = orbits.SATELLITES[key.name]
    sensed = int(satellite.node_time(key.orbit) + item.u / 360 * SENTINEL_2.period_s)
    sun = _sun(*granule.centre, sensed)
    if sun[0] > _DARK_ZENITH or (key.again and not _is_reprocessed(key, sensed)):
        return None
    names = _names(key, satellite, sensed)
    first = _names(key._replace(again=False), satellite, sensed).scene
    cloud = _cloud_percentage(first)
    if key.collection == DYNAMIC_WORLD_V1:
        if cloud > MOST_CLOUDY:
            return None
        properties: dict[str, Any] = {"dynamicworld_algorithm_version": "SANDBOX", "qa_algorithm_version": "SANDBOX"}
    elif key.collection == CLOUD_SCORE:
        properties = {}
    else:
        properties = _properties(key, satellite, names, sun, cloud)
    times = {"system:index": names.scene, "system:time_start": sensed * 1000, "system:time_end": sensed * 1000}
    bands, outline = _bands(key.collection, granule), footprint(item.seen, granule.zone)
    scene = Scene(key.collection, names.scene, bands, times | properties, outline)
    # One sky for all that is made of a scene.
    geometry = ViewGeometry(
        noise.key(seed, first),
        day_of_year(sensed),
        granule.centre[1],
        cloud_share=cloud / 100,
        sun=sun[0],
        shift_m=_misplaced(first, seed),
    )
    return Acquisition(scene, granule.zone, item.seen, geometry)


_MISPLACED_M = 1.5  # standard deviation
_MISPLACED_AT_MOST_M = 3.0


def _misplaced(index: str, seed: int) -> tuple[float, float]:
    """(down, right) metres by which a scene lies beside its grid, and so beside labels that were drawn on another."""
    offsets = (_MISPLACED_M * normal_number(seed, "misplaced", index, way) for way in ("down", "right"))
    down, right = (min(max(offset, -_MISPLACED_AT_MOST_M), _MISPLACED_AT_MOST_M) for offset in offsets)
    return down, right


def _is_reprocessed(key: _Key, sensed: int) -> bool:
    drawn = noise.unit("reprocessed", key.granule.name, key.name, key.orbit)
    return drawn < REPROCESSED_SHARE and stamp(sensed)[:8] < _REPROCESSED_UNTIL


@lru_cache(maxsize=8192)
def _bands(collection: str, granule: Granule) -> tuple[SceneBand, ...]:
    x, y = granule.origin
    return tuple(
        SceneBand(band, dtype, granule.crs, (size, 0, x, 0, -size, y), (SIDE_M // size, SIDE_M // size))
        for band, (size, dtype) in BANDS[collection].items()
    )


def _sun(lon: float, lat: float, seconds: float) -> tuple[float, float]:
    """(zenith, azimuth from north clockwise) of the mean Sun, degrees."""
    declination = np.radians(-23.44 * np.cos(2 * np.pi * (day_of_year(seconds) + 10) / 365.25))
    hour = np.radians((seconds % orbits.DAY_S) / 240 + lon - 180)
    phi = np.radians(lat)
    cosine = np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour)
    azimuth = np.arctan2(np.sin(hour), np.cos(hour) * np.sin(phi) - np.tan(declination) * np.cos(phi))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))), float(np.degrees(azimuth) % 360 + 180) % 360


def _cloud_percentage(index: str) -> float:
    """Mostly clear: seven scenes of ten below 2 %, one of ten above 12 %, few overcast."""
    share = noise.unit("cloud cover", index)
    points = np.interp(share, [0, 0.45, 0.7, 0.9, 0.97, 1.0], [0.0, 0.0, 2.0, 12.0, 40.0, 95.0])
    return round(float(points), 6)


def _starts(relative: int, node_s: float, u: float) -> tuple[int, int]:
    """When the datatake and the datastrip began that hold an argument of latitude."""
    since_node_s = u / 360 * SENTINEL_2.period_s
    begin_s = _DATATAKE_START_U / 360 * SENTINEL_2.period_s
    if _KNOWN_STARTS_S.get(relative, np.inf) < since_node_s - _LEAD_S:
        begin_s = _KNOWN_STARTS_S[relative]
    strips = max(int((since_node_s - _LEAD_S - begin_s) // _STRIP_S), 0)
    return int(node_s + begin_s), int(node_s + begin_s) + _LEAD_S + strips * _STRIP_S


class _Names(NamedTuple):
    """Names of a scene and the times in them."""

    scene: str
    datatake: str
    datastrip: str
    processed_s: int
    baseline: str


def _names(key: _Key, satellite: Satellite, sensed: int) -> _Names:
    datatake, datastrip = _starts(key.item.relative, satellite.node_time(key.orbit), key.item.u)
    baseline = next(value for first, value in reversed(_BASELINES) if first <= stamp(sensed)[:8])
    delay = noise.unit("processed", satellite.letter, key.orbit, datastrip)
    processed = sensed + 7_000 + int(20_000 * delay)
    if key.again:
        datastrip, baseline = datastrip + 2, "05.00"
        processed = int(_REPROCESSED_S + 180 * orbits.DAY_S * delay)
    elif key.collection == L1C:
        baseline = _L1C_NAMES.get(baseline, baseline)
        processed -= 5_400
    index = f"{stamp(datatake)}_{stamp(datastrip)}_T{key.granule.name}"
    return _Names(index, stamp(datatake), stamp(datastrip), processed, baseline)


def _properties(
    key: _Key, satellite: Satellite, names: _Names, sun: tuple[float, float], cloud: float
) -> dict[str, Any]:
    granule, item, letter = key.granule, key.item, satellite.letter
    level, processed = ("L2A" if key.collection == L2A else "L1C"), stamp(names.processed_s)
    product = f"N{names.baseline.replace('.', '')}_R{item.relative:03d}_T{granule.name}_{processed}"
    properties = {
        "PRODUCT_ID": f"S2{letter}_MSI{level}_{names.datatake}_{product}",
        "GRANULE_ID": f"{level}_T{granule.name}_A{key.orbit:06d}_{names.datastrip}",
        "DATASTRIP_ID": f"S2{letter}_OPER_MSI_{level}_DS_MTI__{processed}_S{names.datastrip}_N{names.baseline}",
        "DATATAKE_IDENTIFIER": f"GS2{letter}_{names.datatake}_{key.orbit:06d}_N{names.baseline}",
        "PROCESSING_BASELINE": names.baseline,
        "MGRS_TILE": granule.name,
        "SPACECRAFT_NAME": f"Sentinel-2{letter}",
        "SENSING_ORBIT_NUMBER": item.relative,
        "GENERATION_TIME": names.processed_s * 1000,
        "CLOUDY_PIXEL_PERCENTAGE": cloud,
        "CLOUD_COVERAGE_ASSESSMENT": cloud,
        "MEAN_SOLAR_ZENITH_ANGLE": round(sun[0], 6),
        "MEAN_SOLAR_AZIMUTH_ANGLE": round(sun[1], 6),
        "REFLECTANCE_CONVERSION_CORRECTION": _nearness(names.datatake),
        **_CONSTANT,
        **_incidence(item),
    }
    if level == "L2A":
        properties["NODATA_PIXEL_PERCENTAGE"] = round(100 * max(0.0, 1 - area(item.seen) / SIDE_M**2), 6)
        # What Sen2Cor finds is about: opaque clouds, half-opaque ones, cirrus, and the shadows of all.
        shares = {"HIGH_PROBA_CLOUDS": 0.5, "MEDIUM_PROBA_CLOUDS": 0.2, "THIN_CIRRUS": 0.3, "CLOUD_SHADOW": 0.1}
        properties |= {f"{name}_PERCENTAGE": round(share * cloud, 6) for name, share in shares.items()}
        properties |= _CONSTANT_L2A
    return properties


def _nearness(day: str) -> float:
    """Square of the mean distance to the Sun over that of the day."""
    since_perihelion = day_of_year(seconds_of(day) or 0) - 4
    return round(float((1 - 0.01671 * np.cos(2 * np.pi * since_perihelion / 365.25)) ** -2), 9)


@lru_cache(maxsize=8192)
def _incidence(item: Pass) -> dict[str, float]:
    """Mean angles of view: across the track by place, along it by the bands' order in the focal plane."""
    across = np.degrees(np.arctan(item.across_km / SENTINEL_2_HEIGHT_KM)) * 1.11
    towards = 104.0 if across > 0 else 284.0
    found = {}
    for number, band in enumerate(_FOCAL_PLANE):
        found[f"MEAN_INCIDENCE_ZENITH_ANGLE_{band}"] = round(float(np.hypot(across, 2.0 + _PARALLAX * number)), 6)
        found[f"MEAN_INCIDENCE_AZIMUTH_ANGLE_{band}"] = towards
    return found


def by_index(collection: str, index: str, seed: int) -> Acquisition | None:
    """The scene of a `system:index`."""
    parts = index.split("_")
    if len(parts) != 3:
        return None
    candidates = _of_datatake(collection, parts[0], parts[2], seed)
    return next((found for found in candidates if found.scene.index == index), None)


def by_product(collection: str, product_id: str, seed: int) -> Acquisition | None:
    """The scene of a PRODUCT_ID."""
    parts = product_id.split("_")
    if len(parts) != 7:
        return None
    candidates = _of_datatake(collection, parts[2], parts[5], seed)
    return next((found for found in candidates if found.scene.properties.get("PRODUCT_ID") == product_id), None)


def _of_datatake(collection: str, start: str, tile: str, seed: int) -> list[Acquisition]:
    """Scenes of a granule that were sensed within an orbit after a datatake began."""
    seconds, granule = seconds_of(start), mgrs.named(tile[1:])
    if seconds is None or granule is None or not tile.startswith("T"):
        return []
    return list(acquisitions(collection, granule, seconds, seconds + SENTINEL_2.period_s, seed))


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
