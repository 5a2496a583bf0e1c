"""What is made of a Sentinel-2 scene besides surface reflectance: scene classes, masks, top of atmosphere, scores of
clouds, land cover.

Every function gives the pixels of one band on a window of its native grid, out of what the planet shows there. Comes
after planet; the catalogue reads it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...pipeline.spec.classes import DYNAMIC_WORLD
from ..planet import noise
from ..planet.ground import Floats
from ..planet.labelling import model_mistakes
from ..planet.protocol import Planet, ViewGeometry
from ..planet.spectra import mean
from ..planet.utm import UtmGrid

# --- L2A -------------------------------------------------------------------------------------------------------------

SHADOW, VEGETATION, NOT_VEGETATED, WATER, UNCLASSIFIED = 3, 4, 5, 6, 7
CLOUD_MEDIUM, CLOUD_HIGH, CIRRUS, SNOW = 8, 9, 10, 11
"""Values of the band SCL. Source: Sentinel-2 L2A scene classification (Sen2Cor)."""

OPAQUE_BIT, CIRRUS_BIT = 1 << 10, 1 << 11
"""Bits of the band QA60. Source: Earth Engine catalogue page of COPERNICUS/S2_SR_HARMONIZED."""

_CLOUDS = ((0.08, UNCLASSIFIED), (0.15, CIRRUS), (0.35, CLOUD_MEDIUM), (0.7, CLOUD_HIGH))
_VEGETATION_INDEX = 0.32
_CLASS_OF_COVER = np.array([WATER, 0, 0, 0, 0, 0, NOT_VEGETATED, NOT_VEGETATED, SNOW], np.uint8)
_PLANTS = np.array([False, True, True, True, True, True, True, True, False])
_TRUE_COLOUR = {"TCI_R": "B4", "TCI_G": "B3", "TCI_B": "B2"}
_WHITE = 3_558  # reflectance x 1e4 that becomes 255 in TCI
_AIR: tuple[tuple[int, float], ...] = ((400, 1.0), (90, 0.4))


def quality(planet: Planet, band: str, grid: UtmGrid, geometry: ViewGeometry) -> NDArray[Any]:
    """A band of L2A that is no reflectance: SCL, AOT, WVP, TCI, QA60 or one of the masks."""
    if band in _TRUE_COLOUR:
        return true_colour(planet.optical(_TRUE_COLOUR[band], grid, 1, geometry))
    if band == "SCL":
        return scene_classes(planet, grid, geometry)
    if band == "QA60":
        return cloud_bits(planet, grid, geometry)
    if band == "MSK_CLDPRB":
        return _percent(_opacity(planet, grid, 2, geometry)[0])
    if band == "MSK_SNWPRB":
        return _percent(mean((planet.landcover(grid.finer(2)) == 8).astype(np.float32), 2))
    return air(band, grid, geometry)


def true_colour(reflectance: NDArray[np.uint16]) -> NDArray[np.uint8]:
    scaled = np.rint(reflectance.astype(np.float32) * np.float32(255 / _WHITE))
    return np.asarray(np.clip(scaled, 1, 255), np.uint8)


def scene_classes(planet: Planet, grid: UtmGrid, geometry: ViewGeometry) -> NDArray[np.uint8]:
    """uint8 (rows, cols), 3..11: land by what covers it and how green it is, then shadows, then clouds."""
    cover = planet.landcover(grid)
    red, infrared = (planet.optical(band, grid, 2, geometry).astype(np.float32) for band in ("B4", "B8A"))
    green = (infrared - red) / (infrared + red) > _VEGETATION_INDEX
    found = np.where(_PLANTS[cover] & green, VEGETATION, _CLASS_OF_COVER[cover])
    found[found == 0] = NOT_VEGETATED
    opacity, shadow = _opacity(planet, grid, 2, geometry)
    found[shadow > 0.5] = SHADOW
    for least, value in _CLOUDS:
        found[opacity > np.float32(least)] = value
    return found.astype(np.uint8)


def cloud_bits(planet: Planet, grid: UtmGrid, geometry: ViewGeometry) -> NDArray[np.uint16]:
    """uint16 (rows, cols) of 60 m: bit 10 opaque clouds, bit 11 cirrus."""
    opacity, _ = _opacity(planet, grid, 6, geometry)
    found = np.where(opacity > 0.5, OPAQUE_BIT, np.where(opacity > 0.15, CIRRUS_BIT, 0))
    return found.astype(np.uint16)


def air(band: str, grid: UtmGrid, geometry: ViewGeometry) -> NDArray[np.uint16]:
    """uint16 (rows, cols), thousandths: aerosol optical thickness (AOT) or centimetres of water vapour (WVP)."""
    low, high = {"AOT": (60, 300), "WVP": (400, 3_800)}[band]
    level = low + (high - low) * noise.unit(geometry.key, band)
    field = noise.fractal(noise.key(geometry.key, band, "field"), _AIR, grid.rows, grid.cols)
    value = np.rint(np.float32(level) * (1 + np.float32(0.04) * field))
    return np.asarray(np.clip(value, 1, 65_535), np.uint16)


def _opacity(planet: Planet, grid: UtmGrid, factor: int, geometry: ViewGeometry) -> tuple[Floats, Floats]:
    """(opacity, shadow) of clouds, means over ``factor`` x ``factor`` pixels of 10 m."""
    opacity, shadow = planet.clouds(grid.finer(factor), geometry)
    return mean(opacity, factor), mean(shadow, factor)


def _percent(share: Floats) -> NDArray[np.uint8]:
    return np.rint(100 * share).astype(np.uint8)


# --- L1C -------------------------------------------------------------------------------------------------------------

_PATH = {
    **{"B1": 1020, "B2": 720, "B3": 400, "B4": 230, "B5": 180, "B6": 140, "B7": 115, "B8": 90, "B8A": 75},
    **{"B9": 30, "B11": 12, "B12": 6},
}
"""Reflectance x 1e4 of the air itself at air mass 1."""

_CLEARNESS = {
    **{"B1": 0.86, "B2": 0.88, "B3": 0.91, "B4": 0.94, "B5": 0.94, "B6": 0.95, "B7": 0.96, "B8": 0.94, "B8A": 0.97},
    **{"B9": 0.45, "B11": 0.97, "B12": 0.94},
}
"""Share of the light that gets down and up again at air mass 1; B9 lies in a band of water vapour."""

_CIRRUS_CLEAR, _CIRRUS_CLOUD = 11.0, 420.0  # B10: next to nothing of the ground, and high clouds


def top_of_atmosphere(
    planet: Planet, band: str, grid: UtmGrid, factor: int, geometry: ViewGeometry
) -> NDArray[np.uint16]:
    """uint16 (rows, cols), reflectance x 1e4 as seen from above the air."""
    if band == "B10":
        opacity, _ = _opacity(planet, grid, factor, geometry)
        sensor = noise.draw(noise.normal_table(), noise.key(geometry.key, band), grid.rows, grid.cols)
        value = np.float32(_CIRRUS_CLEAR) + np.float32(_CIRRUS_CLOUD) * opacity**2 + sensor
    else:
        mass = (1 / max(float(np.cos(np.radians(geometry.sun))), 0.15) + 1) / 2
        ground = planet.optical(band, grid, factor, geometry).astype(np.float32)
        value = np.float32(_PATH[band] * mass) + np.float32(_CLEARNESS[band] ** mass) * ground
    return np.asarray(np.clip(np.rint(value), 1, 65_535), np.uint16)


# --- Cloud Score+ -----------------------------------------------------------------------------------------------------


def cloud_score(planet: Planet, band: str, grid: UtmGrid, geometry: ViewGeometry) -> Floats:
    """float32 (rows, cols), 0 = not seen, 1 = clear: ``cs`` is the light that neither clouds nor their shadows take,
    ``cs_cdf`` rises with it and is nearer to 0 or 1. Source: Earth Engine catalogue page of
    GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED (range and meaning; the live one is a model's answer).
    """
    opacity, shadow = planet.clouds(grid, geometry)
    clear = np.clip((1 - opacity) * (1 - shadow), 0, 1)
    return np.asarray(clear if band == "cs" else clear**2 * (3 - 2 * clear), np.float32)


# --- Dynamic World ---------------------------------------------------------------------------------------------------

_CLEAR = 0.1  # largest opacity and shadow of what Dynamic World does not mask
_SURE, _UNSURE = 0.78, 0.38  # largest and least probability of the first class
_SECOND = 0.5  # what of the rest goes to the second class


def dynamic_world(
    planet: Planet, band: str, grid: UtmGrid, geometry: ViewGeometry, scene: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """(values, mask): ``label`` uint8 0..8, or the probability float32 of a class; masked under clouds and shadows.

    Args:
        scene: index of the scene, whose mistakes differ a little from those of others.
    """
    opacity, shadow = planet.clouds(grid, geometry)
    mask = (opacity <= np.float32(_CLEAR)) & (shadow <= np.float32(_CLEAR))
    view = planet.mapped(grid, model_mistakes(scene))
    if band == "label":
        return view.cover, mask
    first = np.float32(_UNSURE) + np.float32(_SURE - _UNSURE) * np.clip(view.certainty / 2, 0, 1)
    index = DYNAMIC_WORLD.names.index(band)
    rest = 1 - first
    others = rest * np.float32((1 - _SECOND) / (len(DYNAMIC_WORLD) - 2))
    value = np.where(view.cover == index, first, np.where(view.other == index, rest * np.float32(_SECOND), others))
    return value.astype(np.float32), mask
