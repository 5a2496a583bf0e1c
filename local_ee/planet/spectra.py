"""What sensors measure: reflectance and backscatter of every kind of ground, greenness over the year, clouds.

A kind of ground is a material in a biome; tables are drawn from the planet's seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from . import noise
from .ground import BIOMES, Floats
from .materials import MATERIALS, NUMBER, OPTICAL_BANDS
from .protocol import ViewGeometry
from .utm import UtmGrid

LOOKS = 4.4
"""Equivalent number of looks of an IW GRD high-resolution pixel.

Source: Sentinel-1 Product Definition (S1-RS-MDA-52-7440), GRD performance: ENL 4.4.
"""


HAZE = np.array([210, 170, 115, 80, 65, 52, 45, 38, 34, 30, 12, 8], np.float32)


_CLOUD = np.array([5600, 5700, 5600, 5700, 5900, 6100, 6200, 6300, 6400, 5800, 4300, 3200], np.float32)


_CLOUD_OCTAVES = ((320, 1.0), (90, 0.6), (28, 0.4), (9, 0.25))


_SHADOW_PX = (18, 14)  # down and to the right


INCIDENCE_SLOPE = -0.13  # dB per degree over land


_STEEP = {"clear water": 3.5, "turbid water": 3.0, "asphalt": 1.5, "sand": 1.8}  # times as steep


def mean(value: Floats, factor: int) -> Floats:
    """Means over squares of ``factor`` x ``factor`` pixels."""
    if factor == 1:
        return value
    rows = value[::factor].copy()
    for k in range(1, factor):
        rows += value[k::factor]
    total = rows[:, ::factor].copy()
    for k in range(1, factor):
        total += rows[:, k::factor]
    return total * np.float32(1 / factor**2)


def normal_number(*parts: int | float | str) -> float:
    """One standard normal number out of a seed and names."""
    return float(noise.normal_table()[noise.key(*parts) % noise.QUANTILES])


def clouded(value: Floats, fine: UtmGrid, factor: int, geometry: ViewGeometry, number: int) -> Floats:
    """Reflectance under shadows and clouds."""
    opacity, shadow = (
        mean(part, factor) for part in cloud_fields(fine.rows, fine.cols, geometry.key, geometry.cloud_share)
    )
    shaded = value * (1 - np.float32(0.55) * shadow)
    return np.asarray(shaded * (1 - opacity) + _CLOUD[number] * opacity)


@lru_cache(maxsize=8)
def cloud_fields(rows: noise.Range, cols: noise.Range, key: int, share: float) -> tuple[Floats, Floats]:
    """(opacity, shadow) of clouds, float32 (rows, cols) each, 0 clear .. 1 opaque, on a scene's own 10 m grid."""
    down, right = _SHADOW_PX
    # One field for both: shadows are clouds seen some pixels further up and to the left.
    height = noise.fractal(
        noise.key(key, "clouds"), _CLOUD_OCTAVES, (rows[0] - down, rows[1]), (cols[0] - right, cols[1])
    )
    base = np.float32(noise.normal_table()[int((1 - min(share, 0.98)) * (noise.QUANTILES - 1))])
    opacity = np.clip((height - base) * np.float32(3.0), 0, 1)
    return opacity[down:, right:], opacity[: rows[1] - rows[0], : cols[1] - cols[0]]


@dataclass(frozen=True)
class OpticalTables:
    """Properties of each kind of ground (biome x material)."""

    bare: Floats  # (kinds, bands), reflectance x 1e4
    change: Floats  # (kinds, bands), green minus bare
    greenness: Floats  # (kinds,), yearly mean
    season: Floats
    peak_day: Floats
    vigour: Floats
    tone: Floats


@dataclass(frozen=True)
class RadarTables:
    """Backscatter in dB of each kind of ground (biome x material)."""

    vv: Floats
    vh: Floats
    vv_green: Floats
    vh_green: Floats
    rough: Floats
    turn: Floats
    steep: Floats
    land: Floats  # 1 on land, 0 on water


def _normals(shape: tuple[int, ...], *parts: int | str) -> NDArray[np.float64]:
    """float64 of a shape, standard normal numbers out of a seed and names."""
    flat = noise.draw(noise.normal_table(), noise.key(*parts), (0, 1), (0, int(np.prod(shape))))
    return np.asarray(flat[0].reshape(shape), np.float64)


def _repeated(values: list[float]) -> Floats:
    return np.tile(np.array(values, np.float32), BIOMES)


def optical_tables(seed: int) -> OpticalTables:
    kinds, bands = BIOMES * len(MATERIALS), len(OPTICAL_BANDS)
    bare = np.tile(np.array([m.bare for m in MATERIALS], np.float64), (BIOMES, 1))
    green = np.tile(np.array([m.green for m in MATERIALS], np.float64), (BIOMES, 1))
    # The same material looks different from biome to biome: brighter or darker, and of another hue.
    hue = np.exp(0.10 * _normals((kinds, 1), seed, "bright") + 0.05 * _normals((kinds, bands), seed, "hue"))
    greenness = _repeated([m.greenness for m in MATERIALS])
    shift = (0.10 * _normals((kinds,), seed, "greenness")).astype(np.float32)
    greenness = np.where(greenness > 0, np.clip(greenness + shift, 0.02, 0.98), 0).astype(np.float32)
    return OpticalTables(
        bare=(bare * hue).astype(np.float32),
        change=((green - bare) * hue).astype(np.float32),
        greenness=greenness,
        season=_repeated([m.season for m in MATERIALS]),
        peak_day=_repeated([m.peak_day for m in MATERIALS])
        + (18 * _normals((kinds,), seed, "peak")).astype(np.float32),
        vigour=_repeated([m.vigour for m in MATERIALS]),
        tone=_repeated([m.tone for m in MATERIALS]),
    )


def radar_tables(seed: int) -> RadarTables:
    kinds = BIOMES * len(MATERIALS)
    common, cross = 0.45 * _normals((kinds,), seed, "radar"), 0.4 * _normals((kinds,), seed, "radar cross")
    land = np.ones(len(MATERIALS))
    land[[NUMBER["clear water"], NUMBER["turbid water"]]] = 0
    return RadarTables(
        vv=_repeated([m.vv for m in MATERIALS]) + common.astype(np.float32),
        vh=_repeated([m.vh for m in MATERIALS]) + (common + cross).astype(np.float32),
        vv_green=_repeated([m.vv_green for m in MATERIALS]),
        vh_green=_repeated([m.vh_green for m in MATERIALS]),
        rough=_repeated([m.rough for m in MATERIALS]),
        turn=_repeated([m.turn for m in MATERIALS]),
        steep=_repeated([_STEEP.get(m.name, 1.0) for m in MATERIALS]),
        land=_repeated(land.tolist()),
    )


def greenness_of(tables: OpticalTables, geometry: ViewGeometry) -> Floats:
    """Greenness of each kind of ground on that day, 0..1: half a year later in the south, weaker in the tropics."""
    day = geometry.day + (182.6 if geometry.lat < 0 else 0.0)
    strength = np.float32(np.clip(abs(geometry.lat) / 40, 0.35, 1.0))
    phase = np.cos((day - tables.peak_day) * np.float32(2 * np.pi / 365.25))
    return np.asarray(np.clip(tables.greenness + tables.season * strength * phase, 0, 1), np.float32)
