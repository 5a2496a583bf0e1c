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
from .materials import COVER, MATERIALS, NUMBER, OPTICAL_BANDS
from .protocol import ViewGeometry
from .utm import UtmGrid

LOOKS = 4.4
"""Equivalent number of looks of an IW GRD high-resolution pixel.

Source: Sentinel-1 Product Definition (S1-RS-MDA-52-7440), GRD performance: ENL 4.4.
"""


WATER = 0
IS_CLAMPED = np.tile(np.arange(len(MATERIALS)) == NUMBER["deep water"], BIOMES)
"""Which kinds of ground are clamped to `CLAMPED_DN`."""


HAZE = np.array([210, 170, 115, 80, 65, 52, 45, 38, 34, 30, 12, 8], np.float32)


_CLOUD = np.array([8700, 8800, 8600, 8700, 8900, 9000, 9100, 9200, 9300, 8000, 4900, 3600], np.float32)


_CLOUD_OCTAVES = ((320, 1.0), (90, 0.6), (28, 0.4), (9, 0.25))


_VEIL_OCTAVES = ((500, 1.0), (140, 0.5))
_VEIL_TIMES, _VEIL_AT_MOST = 6.0, 0.28  # area of thin cloud against that of thick cloud; its largest opacity


_SHADOW_PX = (18, 14)  # down and to the right


INCIDENCE_SLOPE = -0.13  # dB per degree over land


_STEEP = {"turbid water": 2.0, "green water": 1.8, "deep water": 2.4, "asphalt": 1.5, "sand": 1.8}  # times as steep


_WINDY = {"clear water": 0.4, "turbid water": 1.0, "green water": 0.8, "deep water": 1.2}
"""Share of the wind's dB: sheltered water stays near the noise floor of the sensor, where VH lies above VV."""


CLAMPED_DN = 256
"""Atmospheric correction leaves next to nothing of deep water: no band rises above this where there is no cloud."""


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


_SPREAD = {1: 0.15, 2: 0.12}
"""Share of a pixel's light that either neighbour gets, by 10 m pixels per side of a pixel. The square of 1 - 4 x 0.15 is
the response at the Nyquist frequency, 0.40 of the amplitude; Sentinel-2's is 0.15 to 0.35 (S2 MPC Data Quality Report)."""


def seen_through(value: Floats, factor: int, shift_px: tuple[float, float]) -> Floats:
    """What the sensor's point spread makes of (rows + 2, cols + 2) pixels: float32 (rows, cols).

    Args:
        shift_px: rows and columns of 10 m by which the scene lies beside its grid, at most 0.3: what is left of it
            after registration.
    """
    spread = _SPREAD.get(factor)
    if spread is None:
        return value[1:-1, 1:-1]
    (before, here, after), (left, middle, right) = (_taps(spread, shift / factor) for shift in shift_px)
    across = value[:, 1:-1] * middle
    across += value[:, :-2] * left
    across += value[:, 2:] * right
    out = across[1:-1] * here
    out += across[:-2] * before
    out += across[2:] * after
    return out


def _taps(spread: float, shift: float) -> tuple[np.float32, np.float32, np.float32]:
    return np.float32(spread + shift / 2), np.float32(1 - 2 * spread), np.float32(spread - shift / 2)


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
    """(opacity, shadow) of clouds, float32 (rows, cols) each, 0 clear .. 1 opaque, on a scene's own 10 m grid.

    A cloudy scene has thin cloud too, over a wider area; it throws no shadow that could be seen.
    """
    down, right = _SHADOW_PX
    # One field for both: shadows are clouds seen some pixels further up and to the left.
    height = noise.fractal(
        noise.key(key, "clouds"), _CLOUD_OCTAVES, (rows[0] - down, rows[1]), (cols[0] - right, cols[1])
    )
    thick = np.clip((height - _base(share)) * np.float32(3.0), 0, 1)
    opacity, shadow = thick[down:, right:], thick[: rows[1] - rows[0], : cols[1] - cols[0]]
    if share > 0:
        veil = noise.fractal(noise.key(key, "veil"), _VEIL_OCTAVES, rows, cols)
        thin = np.clip((veil - _base(min(_VEIL_TIMES * share, 0.9))) * np.float32(0.16), 0, _VEIL_AT_MOST)
        opacity = np.maximum(opacity, thin)
    return opacity, shadow


def _base(share: float) -> np.float32:
    """The value that a unit normal field exceeds on a share of its area."""
    return np.float32(noise.normal_table()[int((1 - min(share, 0.98)) * (noise.QUANTILES - 1))])


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
    windy: Floats  # 0 on land


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
    hue = np.exp(0.05 * _normals((kinds, 1), seed, "bright") + 0.02 * _normals((kinds, bands), seed, "hue"))
    greenness = _repeated([m.greenness for m in MATERIALS])
    shift = (0.05 * _normals((kinds,), seed, "greenness")).astype(np.float32)
    greenness = np.where(greenness > 0, np.clip(greenness + shift, 0.02, 0.98), 0).astype(np.float32)
    return OpticalTables(
        bare=(bare * hue).astype(np.float32),
        change=((green - bare) * hue).astype(np.float32),
        greenness=greenness,
        season=_repeated([m.season for m in MATERIALS]),
        peak_day=_repeated([m.peak_day for m in MATERIALS])
        + (8 * _normals((kinds,), seed, "peak")).astype(np.float32),
        vigour=_repeated([m.vigour for m in MATERIALS]),
        tone=_repeated([m.tone for m in MATERIALS]),
    )


def radar_tables(seed: int) -> RadarTables:
    kinds = BIOMES * len(MATERIALS)
    common, cross = 0.5 * _normals((kinds,), seed, "radar"), 0.4 * _normals((kinds,), seed, "radar cross")
    land = np.ones(len(MATERIALS))
    land[COVER == WATER] = 0
    return RadarTables(
        vv=_repeated([m.vv for m in MATERIALS]) + common.astype(np.float32),
        vh=_repeated([m.vh for m in MATERIALS]) + (common + cross).astype(np.float32),
        vv_green=_repeated([m.vv_green for m in MATERIALS]),
        vh_green=_repeated([m.vh_green for m in MATERIALS]),
        rough=_repeated([m.rough for m in MATERIALS]),
        turn=_repeated([m.turn for m in MATERIALS]),
        steep=_repeated([_STEEP.get(m.name, 1.0) for m in MATERIALS]),
        land=_repeated(land.tolist()),
        windy=_repeated([_WINDY.get(m.name, 0.0) for m in MATERIALS]),
    )


def greenness_of(tables: OpticalTables, geometry: ViewGeometry) -> Floats:
    """Greenness of each kind of ground on that day, 0..1: half a year later in the south, weaker in the tropics."""
    day = geometry.day + (182.6 if geometry.lat < 0 else 0.0)
    strength = np.float32(np.clip(abs(geometry.lat) / 40, 0.35, 1.0))
    phase = np.cos((day - tables.peak_day) * np.float32(2 * np.pi / 365.25))
    return np.asarray(np.clip(tables.greenness + tables.season * strength * phase, 0, 1), np.float32)
