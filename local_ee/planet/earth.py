"""The planet with ground: a synthetic Earth, computed from its seed at every point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import noise, utm
from .ground import COVER_OF_KIND, Floats, Ground, ground
from .labelling import Annotator, Mistakes, View, annotated, model_mistakes
from .materials import OPTICAL_BANDS
from .protocol import CENTRE_INCIDENCE, ViewGeometry, mapped_cover
from .spectra import (
    CLAMPED_DN,
    HAZE,
    INCIDENCE_SLOPE,
    IS_CLAMPED,
    LOOKS,
    cloud_fields,
    clouded,
    greenness_of,
    mean,
    normal_number,
    optical_tables,
    radar_tables,
    seen_through,
)
from .utm import UtmGrid

_MARGIN_PX = 16


_GROUNDS, _TRUTHS = 8, 8


_BLOCK_M = 5_120.0


_STRIP_PX = 64


_DARKEST = np.float32(0.2)  # least share of a material's reflectance that is left in its darkest places


class EarthPlanet:
    """A seeded synthetic Earth: the same seed gives the same pixels on every machine."""

    def __init__(self, seed: int = 7) -> None:
        self.seed = int(seed)
        self._grounds: list[Ground] = []
        self._truths: list[tuple[UtmGrid, Truth]] = []
        self._lock = Lock()
        self._optical = optical_tables(self.seed)
        self._radar = radar_tables(self.seed)

    @property
    def config(self) -> dict[str, Any]:
        return {"kind": "earth", "seed": self.seed}

    def __reduce__(self) -> tuple[type[EarthPlanet], tuple[int]]:
        return EarthPlanet, (self.seed,)

    # Truth --------------------------------------------------------------------------------------------------------

    def truth(self, grid: UtmGrid) -> Truth:
        """The ground at each pixel centre of a grid."""
        with self._lock:
            for known, found in self._truths:
                if known == grid:
                    return found
        found = Truth([self._at_home(grid)] if _is_home(grid) else [self._abroad(part) for part in utm.parts(grid)])
        with self._lock:
            self._truths = [(grid, found), *self._truths[: _TRUTHS - 1]]
        return found

    def _at_home(self, grid: UtmGrid) -> _Piece:
        """Views into the ground of the grid's own zone."""
        rows, cols = (
            (int(np.floor(numbers[0] / utm.LATTICE_M)), int(np.floor(numbers[-1] / utm.LATTICE_M)) + 1)
            for numbers in (-grid.northings, grid.eastings)
        )
        whole = self._ground(grid.zone, rows, cols)
        step = max(round(grid.step_m / utm.LATTICE_M), 1)
        window = (
            slice(rows[0] - whole.rows[0], rows[1] - whole.rows[0], step),
            slice(cols[0] - whole.cols[0], cols[1] - whole.cols[0], step),
        )
        return _Piece(whole, lambda array: array[window], None)

    def _abroad(self, part: utm.Part) -> _Piece:
        """Pixels gathered from a home zone."""
        rows, cols = ((int(numbers.min()), int(numbers.max()) + 1) for numbers in (part.rows, part.cols))
        whole = self._ground(part.zone, rows, cols)
        flat = (part.rows - whole.rows[0]) * (whole.cols[1] - whole.cols[0]) + (part.cols - whole.cols[0])
        return _Piece(whole, lambda array: np.take(array, flat), part.inside)

    def _ground(self, zone: int, rows: noise.Range, cols: noise.Range) -> Ground:
        """A cached window of a home zone that holds the requested one."""
        with self._lock:
            for number, found in enumerate(self._grounds):
                if found.zone == zone and found.holds(rows, cols):
                    self._grounds.insert(0, self._grounds.pop(number))
                    return found
        rows = (rows[0] - _MARGIN_PX, rows[1] + _MARGIN_PX)
        cols = (cols[0] - _MARGIN_PX, cols[1] + _MARGIN_PX)
        made = ground(self.seed, zone, rows, cols)
        self._derive(made)
        with self._lock:
            self._grounds = [made, *self._grounds[: _GROUNDS - 1]]
        return made

    def _derive(self, place: Ground) -> None:
        """What every radar look at a place has in common: texture as seen from either side, in dB."""
        tables = self._radar
        amplitude = np.take(tables.rough, place.kind)
        turn = np.take(tables.turn, place.kind) * np.clip(place.tone, -1, 1)
        for number, polarisation in enumerate(("VV", "VH")):
            texture = amplitude * place.rough[number]
            place.derived[f"{polarisation} ASCENDING"] = texture + turn
            place.derived[f"{polarisation} DESCENDING"] = texture - turn
        place.derived["steep"] = np.take(tables.steep, place.kind)
        place.derived["clamped"] = IS_CLAMPED[place.kind]

    def landcover(self, grid: UtmGrid) -> NDArray[np.uint8]:
        return COVER_OF_KIND[self.truth(grid).kind]

    def annotate(
        self, crs: str, transform: tuple[float, ...], shape: tuple[int, int], labeler: Annotator, key: str
    ) -> NDArray[np.uint8]:
        return annotated(self.landcover(UtmGrid.of(crs, transform, shape)), labeler, noise.key(self.seed, key))

    def model_labels(
        self, crs: str, transform: tuple[float, ...], shape: tuple[int, int], key: str
    ) -> NDArray[np.uint8]:
        return self.mapped(UtmGrid.of(crs, transform, shape), model_mistakes(key)).cover

    def mapped(self, grid: UtmGrid, mistakes: Mistakes) -> View:
        return mapped_cover(self, noise.key(self.seed, grid.zone), grid, mistakes)

    # Optical ------------------------------------------------------------------------------------------------------

    def optical(self, band: str, grid: UtmGrid, factor: int, geometry: ViewGeometry) -> NDArray[np.uint16]:
        number = OPTICAL_BANDS.index(band)
        wide = grid.wider(1)
        place = self.truth(wide.finer(factor))
        tables = self._optical
        green = (
            np.take(greenness_of(tables, geometry), place.kind) + np.take(tables.vigour, place.kind) * place["vigour"]
        )
        np.clip(green, 0, 1, out=green)
        value = np.take(tables.bare[:, number], place.kind)
        value += np.take(tables.change[:, number], place.kind) * green
        shade = np.take(tables.tone, place.kind) * place["tone"]
        shade += np.float32(1)
        np.maximum(shade, _DARKEST, out=shade)
        value *= shade
        value = seen_through(mean(value, factor), factor, (geometry.shift_m[0] / 10, geometry.shift_m[1] / 10))
        brightness = np.float32(1 + 0.05 * normal_number(geometry.key, "brightness"))
        haze = np.float32(noise.unit(geometry.key, "haze") ** 4 * 3)
        value = value * brightness + haze * HAZE[number]
        clamped = self._clamped(grid, factor)
        sensor = noise.draw(noise.normal_table(), noise.key(geometry.key, band), grid.rows, grid.cols)
        value += sensor * (np.float32(10) + np.float32(0.012) * value)
        if clamped is not None:
            np.minimum(value, np.float32(CLAMPED_DN), out=value, where=clamped)
        if geometry.cloud_share > 0:
            value = clouded(value, grid.finer(factor), factor, geometry, number)
        return np.clip(np.rint(value), 1, 65_535).astype(np.uint16)

    def _clamped(self, grid: UtmGrid, factor: int) -> NDArray[np.bool_] | None:
        """Which pixels show nothing but clamped water; None where there is none."""
        clamped = self.truth(grid.finer(factor))["clamped"]
        return mean(clamped.astype(np.float32), factor) == 1 if clamped.any() else None

    def clouds(self, grid: UtmGrid, geometry: ViewGeometry) -> tuple[Floats, Floats]:
        return cloud_fields(grid.rows, grid.cols, geometry.key, geometry.cloud_share)

    # Radar --------------------------------------------------------------------------------------------------------

    def backscatter(self, polarisation: str, grid: UtmGrid, geometry: ViewGeometry) -> NDArray[np.floating]:
        return self._radar_view(polarisation, grid, geometry, speckled=True)

    def sigma0(self, polarisation: str, grid: UtmGrid, geometry: ViewGeometry) -> Floats:
        """float32 (rows, cols): sigma0 in dB without speckle."""
        return self._radar_view(polarisation, grid, geometry, speckled=False)

    def _radar_view(self, polarisation: str, grid: UtmGrid, geometry: ViewGeometry, *, speckled: bool) -> Floats:
        """float32 (rows, cols): sigma0 in dB, strip by strip, since a strip fits into the processor's cache."""
        cross = polarisation in ("VH", "HV")
        down, right = geometry.shift_m
        seen = replace(grid, x=grid.x - right, y=grid.y + down) if down or right else grid
        place, level = self.truth(seen), self._radar_level(cross, geometry)
        texture = place[f"{'VH' if cross else 'VV'} {'ASCENDING' if geometry.ascending else 'DESCENDING'}"]
        a, b, c = geometry.incidence
        tilt_x = ((a + b * grid.eastings - CENTRE_INCIDENCE) * INCIDENCE_SLOPE).astype(np.float32)
        tilt_y = (c * grid.northings * INCIDENCE_SLOPE).astype(np.float32)
        key, table = noise.key(geometry.key, polarisation), noise.speckle_table(LOOKS)
        value = np.empty(grid.shape, np.float32)
        tilt = np.empty((_STRIP_PX, grid.shape[1]), np.float32)
        for top in range(0, grid.shape[0], _STRIP_PX):
            strip = np.s_[top : top + _STRIP_PX]
            here = value[strip]
            slope = tilt[: len(here)]
            np.take(level, place.kind[strip], out=here, mode="clip")
            here += texture[strip]
            np.add(tilt_x, tilt_y[strip, None], out=slope)
            slope *= place["steep"][strip]
            here += slope
            if speckled:
                rows = (grid.rows[0] + top, grid.rows[0] + top + len(here))
                np.take(table, noise.uniform16(key, rows, grid.cols), out=slope, mode="clip")
                here += slope
        return value

    def _radar_level(self, cross: bool, geometry: ViewGeometry) -> Floats:
        """dB of each kind of ground on that day, without texture."""
        tables = self._radar
        level, change = (tables.vh, tables.vh_green) if cross else (tables.vv, tables.vv_green)
        grown = greenness_of(self._optical, geometry) - self._optical.greenness
        moist = np.float32(0.5 * normal_number(geometry.key, "moisture"))
        wind = np.float32(1.6 * normal_number(geometry.key, "wind"))
        return np.asarray(level + change * grown + moist * tables.land + wind * tables.windy, np.float32)


class _Piece(NamedTuple):
    """A part of a grid on the ground of one home zone: ``inside`` is bool (rows, cols), None where it is all of it."""

    whole: Ground
    pick: Callable[[NDArray[Any]], NDArray[Any]]
    inside: NDArray[np.bool_] | None


class Truth:
    """Fields of the ground at the pixels of a grid, (rows, cols) each; gathered when first used."""

    def __init__(self, pieces: list[_Piece]) -> None:
        self._pieces = pieces
        self._known: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        found = self._known.get(name)
        if found is None:
            found = self._pieces[0].pick(self._pieces[0].whole.named(name))
            for piece in self._pieces[1:]:
                found = np.where(_mask(piece), piece.pick(piece.whole.named(name)), found)
            self._known[name] = found
        return found

    @property
    def kind(self) -> NDArray[np.uint16]:
        return self["kind"]


def _mask(piece: _Piece) -> NDArray[np.bool_] | bool:
    return True if piece.inside is None else piece.inside


def _is_home(grid: UtmGrid) -> bool:
    """Whether all of a grid lies in its own zone, as far as is known without transforming each pixel."""
    x, y = grid.eastings[[0, -1]], grid.northings[[-1, 0]]
    columns, rows = (range(int(low // _BLOCK_M), int(high // _BLOCK_M) + 1) for low, high in (x, y))
    return all(_is_home_block(grid.zone, column, row) for column in columns for row in rows)


@lru_cache(maxsize=4096)
def _is_home_block(zone: int, column: int, row: int) -> bool:
    """Whether a square of the size of a tile lies in its own zone: meridians are straight enough for its corners."""
    x, y = np.meshgrid(_BLOCK_M * (column + np.array([-0.1, 1.1])), _BLOCK_M * (row + np.array([-0.1, 1.1])))
    lon, _ = utm.inverse(x, y, zone)
    return bool((np.abs(lon - utm.central_meridian(zone)) < 3).all())
