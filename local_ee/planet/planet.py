"""Planets: what a sensor sees at any place and time, as functions of a seed (or of the coordinates alone).

`EarthPlanet` is the synthetic Earth; `PlanePlanet` has planes for bands, so that a shift of a fraction of a pixel can
be measured. Both know nothing of scenes or collections: they are handed a grid and a `Look`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from . import noise, utm
from .ground import BIOMES, COVER_OF_KIND, Floats, Ground, biome_at, ground
from .labelling import Annotator, Mistakes, View, annotated, mapped, model_mistakes
from .materials import MATERIALS, NUMBER, OPTICAL_BANDS
from .utm import Grid

VERSION = 2
"""Raise it with any change of a pixel, a scene or a label: data of two versions never stand side by side."""

LOOKS = 4.4
"""Equivalent number of looks of an IW GRD high-resolution pixel.

Source: Sentinel-1 Product Definition (S1-RS-MDA-52-7440), GRD performance: ENL 4.4.
"""

CENTRE_INCIDENCE = 38.0
"""Degrees; backscatter in the table of materials is given for it."""


@dataclass(frozen=True)
class Look:
    """One acquisition, as far as the ground can tell.

    Attributes:
        key: what its noise is drawn from; one per scene.
        day: day of year, 1..366.
        lat: latitude of the scene's centre, degrees (which hemisphere's season it is).
        ascending: flight direction.
        cloud_share: share of the scene under cloud, 0..1; optical scenes only.
        sun: zenith angle of the Sun, degrees; optical scenes only.
        incidence: (degrees at x = y = 0, degrees per metre of easting, of signed northing) in the scene's zone; radar
            only.
    """

    key: int
    day: int
    lat: float
    ascending: bool = False
    cloud_share: float = 0.0
    sun: float = 40.0
    incidence: tuple[float, float, float] = (CENTRE_INCIDENCE, 0.0, 0.0)


class Planet(Protocol):
    """Pixels by place and time. Grids may lie in any UTM zone."""

    @property
    def config(self) -> dict[str, Any]:
        """What `make_planet` builds it from again."""

    def optical(self, band: str, grid: Grid, factor: int, look: Look) -> NDArray[np.uint16]:
        """uint16 (rows, cols), reflectance x 1e4, never 0: means over ``factor`` x ``factor`` truth pixels of 10 m."""

    def backscatter(self, polarisation: str, grid: Grid, look: Look) -> NDArray[np.floating]:
        """float (rows, cols), sigma0 in dB with speckle: the truth pixel at each pixel's centre."""

    def clouds(self, grid: Grid, look: Look) -> tuple[Floats, Floats]:
        """(opacity, shadow), float32 (rows, cols), 0 clear .. 1 opaque: ``grid`` is the 10 m grid of the scene."""

    def landcover(self, grid: Grid) -> NDArray[np.uint8]:
        """uint8 (rows, cols), class index 0..8: the truth at pixel centres."""

    def mapped(self, grid: Grid, mistakes: Mistakes) -> View:
        """The ground as a mapmaker sees it; ``grid`` is one of 10 m."""

    def annotate(
        self, crs: str, transform: tuple[float, ...], shape: tuple[int, int], labeler: Annotator, key: str
    ) -> NDArray[np.uint8]:
        """uint8 (H, W), released codes 0..10 as a human draws them on a tile called ``key``."""

    def model_labels(
        self, crs: str, transform: tuple[float, ...], shape: tuple[int, int], key: str
    ) -> NDArray[np.uint8]:
        """uint8 (H, W), class indices 0..8 as an imperfect model answers for a scene called ``key``."""


def make_planet(config: Mapping[str, Any]) -> EarthPlanet | PlanePlanet:
    """A planet of ``{"kind": "earth", "seed": 7}`` or ``{"kind": "planes", "origin_x": ..., "origin_y": ...}``.

    Raises:
        ValueError: unknown kind.
    """
    options = dict(config)
    kinds: dict[str, Callable[..., EarthPlanet | PlanePlanet]] = {"earth": EarthPlanet, "planes": PlanePlanet}
    kind = options.pop("kind", None)
    if kind not in kinds:
        raise ValueError(f"unknown kind of planet {kind!r}; choose one of {', '.join(kinds)}")
    return kinds[kind](**options)


def biome_of(lon: float, lat: float) -> int:
    """RESOLVE biome number (1..14) of a place on every planet: that of the nearest real test tile."""
    return int(biome_at(lon, lat))


# --- the synthetic Earth ---------------------------------------------------------------------------------------------

_MARGIN_PX = 16
_GROUNDS, _TRUTHS = 8, 8
_BLOCK_M = 5_120.0
_STRIP_PX = 64
_HAZE = np.array([210, 170, 115, 80, 65, 52, 45, 38, 34, 30, 12, 8], np.float32)
_CLOUD = np.array([5600, 5700, 5600, 5700, 5900, 6100, 6200, 6300, 6400, 5800, 4300, 3200], np.float32)
_CLOUD_OCTAVES = ((320, 1.0), (90, 0.6), (28, 0.4), (9, 0.25))
_SHADOW_PX = (18, 14)  # down and to the right
_INCIDENCE_SLOPE = -0.13  # dB per degree over land
_STEEP = {"clear water": 3.5, "turbid water": 3.0, "asphalt": 1.5, "sand": 1.8}  # times as steep


class EarthPlanet:
    """A seeded synthetic Earth: the same seed gives the same pixels on every machine."""

    def __init__(self, seed: int = 7) -> None:
        self.seed = int(seed)
        self._grounds: list[Ground] = []
        self._truths: list[tuple[Grid, Truth]] = []
        self._lock = Lock()
        self._optical = _optical_tables(self.seed)
        self._radar = _radar_tables(self.seed)

    @property
    def config(self) -> dict[str, Any]:
        return {"kind": "earth", "seed": self.seed}

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[dict[str, Any]]]:
        return make_planet, (self.config,)

    # Truth --------------------------------------------------------------------------------------------------------

    def truth(self, grid: Grid) -> Truth:
        """The ground at each pixel centre of a grid."""
        with self._lock:
            for known, found in self._truths:
                if known == grid:
                    return found
        found = Truth([self._at_home(grid)] if _is_home(grid) else [self._abroad(part) for part in utm.parts(grid)])
        with self._lock:
            self._truths = [(grid, found), *self._truths[: _TRUTHS - 1]]
        return found

    def _at_home(self, grid: Grid) -> _Piece:
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
        """A cached window of a home zone that holds the one asked for."""
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

    def landcover(self, grid: Grid) -> NDArray[np.uint8]:
        return COVER_OF_KIND[self.truth(grid).kind]

    def annotate(
        self, crs: str, transform: tuple[float, ...], shape: tuple[int, int], labeler: Annotator, key: str
    ) -> NDArray[np.uint8]:
        return annotated(self.landcover(Grid.of(crs, transform, shape)), labeler, noise.key(self.seed, key))

    def model_labels(
        self, crs: str, transform: tuple[float, ...], shape: tuple[int, int], key: str
    ) -> NDArray[np.uint8]:
        return self.mapped(Grid.of(crs, transform, shape), model_mistakes(key)).cover

    def mapped(self, grid: Grid, mistakes: Mistakes) -> View:
        return _mapped(self, noise.key(self.seed, grid.zone), grid, mistakes)

    # Optical ------------------------------------------------------------------------------------------------------

    def optical(self, band: str, grid: Grid, factor: int, look: Look) -> NDArray[np.uint16]:
        number = OPTICAL_BANDS.index(band)
        fine = grid.finer(factor)
        place = self.truth(fine)
        tables = self._optical
        green = np.take(_greenness(tables, look), place.kind) + np.take(tables.vigour, place.kind) * place["vigour"]
        np.clip(green, 0, 1, out=green)
        value = np.take(tables.bare[:, number], place.kind)
        value += np.take(tables.change[:, number], place.kind) * green
        value *= np.take(tables.tone, place.kind) * place["tone"] + np.float32(1)
        value = mean(value, factor)
        brightness = np.float32(1 + 0.05 * _normal(look.key, "brightness"))
        haze = np.float32(noise.unit(look.key, "haze") ** 2 * 1.2)
        value = value * brightness + haze * _HAZE[number]
        if look.cloud_share > 0:
            value = _clouded(value, fine, factor, look, number)
        sensor = noise.draw(noise.normal_table(), noise.key(look.key, band), grid.rows, grid.cols)
        value += sensor * (np.float32(10) + np.float32(0.012) * value)
        return np.clip(np.rint(value), 1, 65_535).astype(np.uint16)

    def clouds(self, grid: Grid, look: Look) -> tuple[Floats, Floats]:
        return _clouds(grid.rows, grid.cols, look.key, look.cloud_share)

    # Radar --------------------------------------------------------------------------------------------------------

    def backscatter(self, polarisation: str, grid: Grid, look: Look) -> NDArray[np.floating]:
        return self._radar_view(polarisation, grid, look, speckled=True)

    def sigma0(self, polarisation: str, grid: Grid, look: Look) -> Floats:
        """float32 (rows, cols): sigma0 in dB without speckle."""
        return self._radar_view(polarisation, grid, look, speckled=False)

    def _radar_view(self, polarisation: str, grid: Grid, look: Look, *, speckled: bool) -> Floats:
        """float32 (rows, cols): sigma0 in dB, strip by strip, since a strip fits into the processor's cache."""
        cross = polarisation in ("VH", "HV")
        place, level = self.truth(grid), self._radar_level(cross, look)
        texture = place[f"{'VH' if cross else 'VV'} {'ASCENDING' if look.ascending else 'DESCENDING'}"]
        a, b, c = look.incidence
        tilt_x = ((a + b * grid.eastings - CENTRE_INCIDENCE) * _INCIDENCE_SLOPE).astype(np.float32)
        tilt_y = (c * grid.northings * _INCIDENCE_SLOPE).astype(np.float32)
        key, table = noise.key(look.key, polarisation), noise.speckle_table(LOOKS)
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

    def _radar_level(self, cross: bool, look: Look) -> Floats:
        """dB of each kind of ground on that day, without texture."""
        tables = self._radar
        level, change = (tables.vh, tables.vh_green) if cross else (tables.vv, tables.vv_green)
        grown = _greenness(self._optical, look) - self._optical.greenness
        moist = np.float32(0.5 * _normal(look.key, "moisture"))
        wind = np.float32(1.6 * _normal(look.key, "wind"))
        return np.asarray(level + change * grown + moist * tables.land + wind * (1 - tables.land), np.float32)


class _Piece(NamedTuple):
    """A part of a grid on the ground of one home zone: ``inside`` is bool (rows, cols), None where it is all of it."""

    whole: Ground
    pick: Callable[[NDArray[Any]], NDArray[Any]]
    inside: NDArray[np.bool_] | None


class Truth:
    """Fields of the ground at the pixels of a grid, (rows, cols) each; gathered when first asked for."""

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


def _is_home(grid: Grid) -> bool:
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


def _mapped(planet: Planet, seed: int, grid: Grid, mistakes: Mistakes) -> View:
    """What a mapmaker makes of the truth; rows and columns are counted from the zone's origin."""
    rows, cols = (grid.rows[0] - 1, grid.rows[1] + 1), (grid.cols[0] - 1, grid.cols[1] + 1)
    cover = planet.landcover(Grid(grid.zone, grid.x, grid.y, grid.step_m, rows, cols))
    down, right = int(-grid.y // grid.step_m), int(grid.x // grid.step_m)
    place = (grid.rows[0] + down, grid.rows[1] + down), (grid.cols[0] + right, grid.cols[1] + right)
    return mapped(cover, *place, seed, mistakes)


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


def _normal(*parts: int | float | str) -> float:
    """One standard normal number out of a seed and names."""
    return float(noise.normal_table()[noise.key(*parts) % noise.QUANTILES])


def _clouded(value: Floats, fine: Grid, factor: int, look: Look, number: int) -> Floats:
    """Reflectance under shadows and clouds."""
    opacity, shadow = (mean(part, factor) for part in _clouds(fine.rows, fine.cols, look.key, look.cloud_share))
    shaded = value * (1 - np.float32(0.55) * shadow)
    return np.asarray(shaded * (1 - opacity) + _CLOUD[number] * opacity)


@lru_cache(maxsize=8)
def _clouds(rows: noise.Range, cols: noise.Range, key: int, share: float) -> tuple[Floats, Floats]:
    """(opacity, shadow) of clouds, float32 (rows, cols) each, 0 clear .. 1 opaque, on a scene's own 10 m grid."""
    down, right = _SHADOW_PX
    # One field for both: shadows are clouds seen some pixels further up and to the left.
    height = noise.fractal(
        noise.key(key, "clouds"), _CLOUD_OCTAVES, (rows[0] - down, rows[1]), (cols[0] - right, cols[1])
    )
    base = np.float32(noise.normal_table()[int((1 - min(share, 0.98)) * (noise.QUANTILES - 1))])
    opacity = np.clip((height - base) * np.float32(3.0), 0, 1)
    return opacity[down:, right:], opacity[: rows[1] - rows[0], : cols[1] - cols[0]]


# --- tables: biome x material ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Optical:
    """Properties of each kind of ground (biome x material)."""

    bare: Floats  # (kinds, bands), reflectance x 1e4
    change: Floats  # (kinds, bands), green minus bare
    greenness: Floats  # (kinds,), yearly mean
    season: Floats
    peak_day: Floats
    vigour: Floats
    tone: Floats


@dataclass(frozen=True)
class _Radar:
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


def _optical_tables(seed: int) -> _Optical:
    kinds, bands = BIOMES * len(MATERIALS), len(OPTICAL_BANDS)
    bare = np.tile(np.array([m.bare for m in MATERIALS], np.float64), (BIOMES, 1))
    green = np.tile(np.array([m.green for m in MATERIALS], np.float64), (BIOMES, 1))
    # The same material looks different from biome to biome: brighter or darker, and of another hue.
    hue = np.exp(0.10 * _normals((kinds, 1), seed, "bright") + 0.05 * _normals((kinds, bands), seed, "hue"))
    greenness = _repeated([m.greenness for m in MATERIALS])
    shift = (0.10 * _normals((kinds,), seed, "greenness")).astype(np.float32)
    greenness = np.where(greenness > 0, np.clip(greenness + shift, 0.02, 0.98), 0).astype(np.float32)
    return _Optical(
        bare=(bare * hue).astype(np.float32),
        change=((green - bare) * hue).astype(np.float32),
        greenness=greenness,
        season=_repeated([m.season for m in MATERIALS]),
        peak_day=_repeated([m.peak_day for m in MATERIALS])
        + (18 * _normals((kinds,), seed, "peak")).astype(np.float32),
        vigour=_repeated([m.vigour for m in MATERIALS]),
        tone=_repeated([m.tone for m in MATERIALS]),
    )


def _radar_tables(seed: int) -> _Radar:
    kinds = BIOMES * len(MATERIALS)
    common, cross = 0.45 * _normals((kinds,), seed, "radar"), 0.4 * _normals((kinds,), seed, "radar cross")
    land = np.ones(len(MATERIALS))
    land[[NUMBER["clear water"], NUMBER["turbid water"]]] = 0
    return _Radar(
        vv=_repeated([m.vv for m in MATERIALS]) + common.astype(np.float32),
        vh=_repeated([m.vh for m in MATERIALS]) + (common + cross).astype(np.float32),
        vv_green=_repeated([m.vv_green for m in MATERIALS]),
        vh_green=_repeated([m.vh_green for m in MATERIALS]),
        rough=_repeated([m.rough for m in MATERIALS]),
        turn=_repeated([m.turn for m in MATERIALS]),
        steep=_repeated([_STEEP.get(m.name, 1.0) for m in MATERIALS]),
        land=_repeated(land.tolist()),
    )


def _greenness(tables: _Optical, look: Look) -> Floats:
    """Greenness of each kind of ground on that day, 0..1: half a year later in the south, weaker in the tropics."""
    day = look.day + (182.6 if look.lat < 0 else 0.0)
    strength = np.float32(np.clip(abs(look.lat) / 40, 0.35, 1.0))
    phase = np.cos((day - tables.peak_day) * np.float32(2 * np.pi / 365.25))
    return np.asarray(np.clip(tables.greenness + tables.season * strength * phase, 0, 1), np.float32)


# --- planes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlanePlanet:
    """Bands that are planes of home-zone coordinates: a misplaced pixel shows up as a wrong value.

    The value at a pixel's centre is level + per_px_east x (x - origin_x) / 10 + per_px_north x (y - origin_y) / 10,
    with x, y in the home zone of that place; no speckle, noise, season or cloud. The defaults stay within what bands
    can hold (DN 1..65535, dB -99..55) up to 40 km from the origin. Every optical band has its own level.

    Attributes:
        origin_x, origin_y: easting and signed northing in the home zone, metres.
        dn, dn_east, dn_north: level and slopes of Sentinel-2, DN and DN per 10 m.
        dn_band: added to the level once per band, in order of `OPTICAL_BANDS`.
        db, db_east, db_north: level and slopes of VV, dB and dB per 10 m.
        db_cross: level of VH above that of VV, dB.
    """

    origin_x: float
    origin_y: float
    dn: float = 31_000.0
    dn_east: float = 4.0
    dn_north: float = 3.0
    dn_band: float = 100.0
    db: float = -12.0
    db_east: float = 0.01
    db_north: float = 0.006
    db_cross: float = -7.0

    @property
    def config(self) -> dict[str, Any]:
        return {"kind": "planes", **{name: getattr(self, name) for name in self.__dataclass_fields__}}

    def plane(self, grid: Grid, level: float, per_px_east: float, per_px_north: float) -> NDArray[np.float64]:
        """float64 (rows, cols): a plane at pixel centres."""
        value = np.zeros(grid.shape)
        for place in utm.located(grid):
            here = level + per_px_east / 10 * (place.x - self.origin_x) + per_px_north / 10 * (place.y - self.origin_y)
            np.copyto(value, here, where=True if place.inside is None else place.inside)
        return value

    def optical(self, band: str, grid: Grid, factor: int, look: Look) -> NDArray[np.uint16]:  # noqa: ARG002
        """The mean of a plane over a square is its value at the centre."""
        level = self.dn + self.dn_band * OPTICAL_BANDS.index(band)
        value = self.plane(grid, level, self.dn_east, self.dn_north)
        return np.clip(np.rint(value), 1, 65_535).astype(np.uint16)

    def backscatter(self, polarisation: str, grid: Grid, look: Look) -> NDArray[np.floating]:  # noqa: ARG002
        level = self.db + (self.db_cross if polarisation in ("VH", "HV") else 0.0)
        return self.plane(grid, level, self.db_east, self.db_north)

    def landcover(self, grid: Grid) -> NDArray[np.uint8]:
        """Squares of 640 m, class by class: labels for tests that need some."""
        cover = np.zeros(grid.shape, np.uint8)
        for part in utm.parts(grid):
            here = (part.rows // 64 + part.cols // 64) % 9
            np.copyto(cover, here.astype(np.uint8), where=True if part.inside is None else part.inside)
        return cover

    def annotate(
        self, crs: str, transform: tuple[float, ...], shape: tuple[int, int], labeler: Annotator, key: str
    ) -> NDArray[np.uint8]:
        return annotated(self.landcover(Grid.of(crs, transform, shape)), labeler, noise.key(key))

    def model_labels(
        self, crs: str, transform: tuple[float, ...], shape: tuple[int, int], key: str
    ) -> NDArray[np.uint8]:
        return self.mapped(Grid.of(crs, transform, shape), model_mistakes(key)).cover

    def mapped(self, grid: Grid, mistakes: Mistakes) -> View:
        return _mapped(self, noise.key(grid.zone), grid, mistakes)

    def clouds(self, grid: Grid, look: Look) -> tuple[Floats, Floats]:  # noqa: ARG002
        return np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
