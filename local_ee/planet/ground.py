"""The ground of the synthetic Earth: which material lies on each pixel of the 10 m lattice, and its texture.

Land cover is painted in layers, later ones over earlier ones: natural vegetation along a gradient of moisture, farms
cut into parcels, towns cut into blocks, snow on high ground, wetland and water on low ground, rivers. How much there is
of each depends on the biome. Everything is a function of (seed, home zone, lattice row, lattice column).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...manifests import load_csv, load_toml
from . import noise, utm
from .materials import COVER, MATERIALS, NUMBER

Floats = NDArray[np.float32]

BIOME_CELL_PX = 64
"""Biomes are constant over cells of this many lattice pixels."""


@dataclass(frozen=True)
class Landscape:
    """How one biome looks: shares of its area (0..1) and materials.

    ``trees`` to ``bare`` are proportions of what the other layers leave free. Pairs of materials are a common and a
    less common one.
    """

    water: float
    wetland: float
    snow: float
    farm: float
    town: float
    trees: float
    shrub: float
    grass: float
    bare: float
    tree_kinds: tuple[str, str]
    shrub_kinds: tuple[str, str]
    grass_kinds: tuple[str, str]
    bare_kinds: tuple[str, str]
    wet_kinds: tuple[str, str]
    crop_kinds: tuple[str, str]


_EVERGREEN, _MIXED = ("evergreen trees", "open woodland"), ("broadleaf trees", "needleleaf trees")
_NEEDLE, _OPEN = ("needleleaf trees", "broadleaf trees"), ("open woodland", "evergreen trees")
_GREEN_SHRUB, _DRY_SHRUB = ("green shrub", "dry shrub"), ("dry shrub", "green shrub")
_COLD_SHRUB = ("dwarf shrub", "green shrub")
_LUSH, _DRY, _COLD = ("lush grass", "dry grass"), ("dry grass", "lush grass"), ("tundra grass", "dry grass")
_SOIL, _ROCK, _SAND = ("bare soil", "rock"), ("scree", "rock"), ("sand", "rock")
_MARSH, _REEDS, _MANGROVE = ("marsh", "reeds"), ("reeds", "marsh"), ("mangrove", "marsh")
_TROPICAL, _TEMPERATE, _WARM = (
    ("irrigated crop", "late crop"),
    ("summer crop", "winter crop"),
    ("winter crop", "irrigated crop"),
)

LANDSCAPES: dict[int, Landscape] = {
    1: Landscape(
        0.07, 0.03, 0, 0.18, 0.08, 0.66, 0.14, 0.14, 0.06,
        _EVERGREEN, _GREEN_SHRUB, _LUSH, _SOIL, _MANGROVE, _TROPICAL,
    ),
    2: Landscape(
        0.05, 0.03, 0, 0.30, 0.10, 0.34, 0.30, 0.22, 0.14,
        _OPEN, _DRY_SHRUB, _DRY, _SOIL, _MARSH, _TROPICAL,
    ),
    3: Landscape(
        0.05, 0.02, 0, 0.18, 0.09, 0.52, 0.22, 0.17, 0.09,
        _NEEDLE, _GREEN_SHRUB, _LUSH, _SOIL, _MARSH, _TROPICAL,
    ),
    4: Landscape(
        0.07, 0.03, 0, 0.32, 0.15, 0.48, 0.12, 0.32, 0.08,
        _MIXED, _GREEN_SHRUB, _LUSH, _SOIL, _REEDS, _TEMPERATE,
    ),
    5: Landscape(
        0.06, 0.02, 0.010, 0.12, 0.08, 0.56, 0.16, 0.18, 0.10,
        _NEEDLE, _GREEN_SHRUB, _LUSH, _ROCK, _MARSH, _TEMPERATE,
    ),
    6: Landscape(
        0.12, 0.08, 0.010, 0.04, 0.04, 0.52, 0.24, 0.15, 0.09,
        _NEEDLE, _COLD_SHRUB, _COLD, _ROCK, _MARSH, _TEMPERATE,
    ),
    7: Landscape(
        0.05, 0.05, 0, 0.22, 0.08, 0.22, 0.35, 0.32, 0.11,
        _OPEN, _DRY_SHRUB, _DRY, _SOIL, _REEDS, _TROPICAL,
    ),
    8: Landscape(
        0.05, 0.02, 0, 0.42, 0.08, 0.10, 0.22, 0.52, 0.16,
        _MIXED, _DRY_SHRUB, _DRY, _SOIL, _REEDS, _TEMPERATE,
    ),
    9: Landscape(
        0.13, 0.24, 0, 0.16, 0.06, 0.14, 0.22, 0.52, 0.12,
        _OPEN, _GREEN_SHRUB, _LUSH, _SOIL, _MARSH, _TROPICAL,
    ),
    10: Landscape(
        0.05, 0.03, 0.012, 0.12, 0.06, 0.13, 0.32, 0.36, 0.19,
        _NEEDLE, _DRY_SHRUB, _DRY, _ROCK, _MARSH, _TEMPERATE,
    ),
    11: Landscape(
        0.12, 0.10, 0.012, 0, 0.02, 0.05, 0.36, 0.33, 0.26,
        _NEEDLE, _COLD_SHRUB, _COLD, _ROCK, _MARSH, _TEMPERATE,
    ),
    12: Landscape(
        0.08, 0.02, 0, 0.28, 0.15, 0.25, 0.43, 0.17, 0.15,
        _OPEN, _GREEN_SHRUB, _DRY, _SOIL, _REEDS, _WARM,
    ),
    13: Landscape(
        0.04, 0.01, 0, 0.11, 0.09, 0.05, 0.30, 0.14, 0.51,
        _OPEN, _DRY_SHRUB, _DRY, _SAND, _REEDS, _WARM,
    ),
    14: Landscape(
        0.22, 0.20, 0, 0.14, 0.12, 0.46, 0.16, 0.22, 0.16,
        _EVERGREEN, _GREEN_SHRUB, _LUSH, _SAND, _MANGROVE, _TROPICAL,
    ),
}  # fmt: skip
"""By RESOLVE biome number."""

BIOMES = len(LANDSCAPES) + 1
"""Length of tables indexed by biome number; row 0 is not used."""


@dataclass
class Ground:
    """A window of the lattice of one home zone.

    Attributes:
        zone: home zone.
        rows, cols: half-open ranges of lattice pixels.
        kind: uint16 (rows, cols), biome x len(MATERIALS) + material.
        tone, vigour: float32 (rows, cols), texture of reflectance and of greenness, standard deviations.
        rough: VV- and VH-like texture of backscatter, float32 (rows, cols) each, standard deviations.
    """

    zone: int
    rows: noise.Range
    cols: noise.Range
    kind: NDArray[np.uint16]
    tone: Floats
    vigour: Floats
    rough: tuple[Floats, Floats]
    derived: dict[str, Floats] = field(default_factory=dict)
    """What a planet computes from the fields once and reads many times."""

    @property
    def cover(self) -> NDArray[np.uint8]:
        """Class index 0..8 of each pixel."""
        return COVER_OF_KIND[self.kind]

    def named(self, name: str) -> NDArray[Any]:
        """``kind``, ``tone``, ``vigour`` or a derived field."""
        fields: dict[str, NDArray[Any]] = {"kind": self.kind, "tone": self.tone, "vigour": self.vigour}
        return fields[name] if name in fields else self.derived[name]

    def holds(self, rows: noise.Range, cols: noise.Range) -> bool:
        return (
            self.rows[0] <= rows[0] and rows[1] <= self.rows[1] and self.cols[0] <= cols[0] and cols[1] <= self.cols[1]
        )


COVER_OF_KIND = np.tile(COVER, BIOMES)
"""Class index of each kind of ground."""


# --- biomes ----------------------------------------------------------------------------------------------------------


@cache
def _centres() -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Unit vectors (409, 3) of the real test tiles, and their biome numbers."""
    numbers = {name: int(number) for number, name in load_toml("regions")["biomes"].items()}
    rows = load_csv("test_409")
    lon = np.array([float(row["lon"]) for row in rows])
    lat = np.array([float(row["lat"]) for row in rows])
    return _vectors(lon, lat), np.array([numbers[row["BIOME_NAME"]] for row in rows], np.uint8)


def _vectors(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    lam, phi = np.radians(lon), np.radians(lat)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def biome_at(lon: NDArray[np.float64] | float, lat: NDArray[np.float64] | float) -> NDArray[np.uint8]:
    """Biome number (1..14) of the nearest real test tile: synthetic biomes lie where the real ones are."""
    centres, numbers = _centres()
    points = _vectors(*np.broadcast_arrays(np.asarray(lon, np.float64), np.asarray(lat, np.float64)))
    # A sum of three products instead of a matrix product, whose last bits depend on the number of points.
    x, y, z = (points[..., k, None] * centres[:, k] for k in range(3))
    nearest: NDArray[np.intp] = np.argmax(x + y + z, axis=-1)
    return np.asarray(numbers[nearest])


def _biomes(zone: int, rows: noise.Range, cols: noise.Range) -> NDArray[np.uint8]:
    """Biome of each pixel: (1, 1) where there is one only, else (rows, cols)."""
    cell_rows = np.arange(rows[0] // BIOME_CELL_PX, (rows[1] - 1) // BIOME_CELL_PX + 1)
    cell_cols = np.arange(cols[0] // BIOME_CELL_PX, (cols[1] - 1) // BIOME_CELL_PX + 1)
    size_m = BIOME_CELL_PX * utm.LATTICE_M
    x, y = np.broadcast_arrays((cell_cols[None, :] + 0.5) * size_m, -(cell_rows[:, None] + 0.5) * size_m)
    numbers = biome_at(*utm.inverse(x, y, zone))
    if (numbers == numbers[0, 0]).all():
        return numbers[:1, :1]
    row_cell = np.arange(*rows) // BIOME_CELL_PX - cell_rows[0]
    col_cell = np.arange(*cols) // BIOME_CELL_PX - cell_cols[0]
    return np.asarray(numbers[row_cell[:, None], col_cell[None, :]])


# --- tables by biome -------------------------------------------------------------------------------------------------


def _quantile(share: NDArray[np.float64] | float) -> Floats:
    """The value that a standard normal field stays below on that share of its area."""
    position = np.asarray(share, np.float64) * noise.QUANTILES - 0.5
    grid = np.arange(noise.QUANTILES)
    values = np.interp(position, grid, noise.normal_table())
    return np.where(position < 0, -9.0, np.where(position > grid[-1], 9.0, values)).astype(np.float32)


@dataclass(frozen=True)
class _Tables:
    """Thresholds of unit normal fields and material numbers, each indexed by biome number."""

    water: Floats
    wetland: Floats
    farm: Floats
    town: Floats
    trees: Floats
    shrub: Floats
    grass: Floats
    snow_share: Floats
    pairs: dict[str, NDArray[np.uint8]]  # (biome, common or not)


@cache
def _tables() -> _Tables:
    rows = [LANDSCAPES[max(number, 1)] for number in range(BIOMES)]

    def thresholds(share: list[float]) -> Floats:
        return _quantile(np.array(share))

    free = [row.trees + row.shrub + row.grass + row.bare for row in rows]
    names = ("tree", "shrub", "grass", "bare", "wet", "crop")
    return _Tables(
        water=thresholds([r.water for r in rows]),
        wetland=thresholds([r.water + 1.6 * r.wetland for r in rows]),
        farm=thresholds([1 - 1.35 * r.farm for r in rows]),
        town=thresholds([1 - 0.9 * r.town for r in rows]),
        trees=thresholds([1 - r.trees / f for r, f in zip(rows, free, strict=True)]),
        shrub=thresholds([1 - r.shrub / (f - r.trees) for r, f in zip(rows, free, strict=True)]),
        grass=thresholds([r.bare / (f - r.trees) for r, f in zip(rows, free, strict=True)]),
        snow_share=np.array([r.snow for r in rows], np.float32),
        pairs={
            name: np.array([[NUMBER[kind] for kind in getattr(r, f"{name}_kinds")] for r in rows], np.uint8)
            for name in names
        },
    )


# --- painting --------------------------------------------------------------------------------------------------------

_RELIEF = ((1600, 1.0), (500, 0.8), (150, 0.5), (40, 0.22), (12, 0.08))
_MOISTURE = ((260, 0.9), (80, 0.9), (26, 0.6), (9, 0.4), (3, 0.25))
_RIVERS = ((700, 1.0), (170, 0.3), (45, 0.08))
_CLEARNESS = ((2500, 1.0), (300, 0.25))
_WATERS = ((0.30, "clear water"), (-0.40, "green water"), (-0.85, "turbid water"))  # standard deviations, below
_FARMS = ((600, 1.0), (170, 0.7))
_COVERING = ((200, 0.8), (70, 0.9), (24, 0.7), (8, 0.45), (3, 0.3))
_TOWNS = ((330, 0.9), (110, 0.9), (36, 0.6), (11, 0.4))
_KINDS = ((100, 1.0), (22, 0.7))
_REGION = 15_000  # 150 km: places of one biome differ by continent and country
_TONE = ((_REGION, 0.3), (110, 0.35), (28, 0.45), (6, 1.0), (3, 0.8))
_VIGOUR = ((_REGION, 0.3), (160, 0.4), (40, 0.4), (7, 0.8), (3, 0.7))
_ROUGH = ((_REGION, 0.4), (90, 0.4), (20, 0.5), (5, 0.6), (2, 0.6))

_RIVER_WIDTH = 0.014  # standard deviations of the river field: about 100 m
_FARM_REGION_PX = 300
_TOWN_REGION_PX = 150


def ground(seed: int, zone: int, rows: noise.Range, cols: noise.Range) -> Ground:
    """The ground of a window of a home zone's lattice."""

    def field_of(name: str, octaves: tuple[tuple[int, float], ...]) -> Floats:
        return noise.fractal(noise.key(seed, zone, name), octaves, rows, cols)

    biome = _biomes(zone, rows, cols)
    tables = _tables()
    relief, moisture = field_of("relief", _RELIEF), field_of("moisture", _MOISTURE)
    covering = field_of("covering", _COVERING)
    farms, towns, kinds = field_of("farms", _FARMS), field_of("towns", _TOWNS), field_of("kinds", _KINDS)
    tone, vigour = field_of("tone", _TONE), field_of("vigour", _VIGOUR)
    rough_vv, rough_vh = field_of("rough", _ROUGH), field_of("rough cross", _ROUGH)
    rough_vh = np.float32(0.6) * rough_vv + np.float32(0.8) * rough_vh
    rare = kinds > np.float32(0.55)

    def kind_of(name: str) -> NDArray[np.uint8]:
        pair = tables.pairs[name][biome]
        return np.where(rare, pair[..., 1], pair[..., 0])

    material = kind_of("bare")
    np.copyto(material, kind_of("grass"), where=covering > tables.grass[biome])
    np.copyto(material, kind_of("shrub"), where=covering > tables.shrub[biome])
    np.copyto(material, kind_of("tree"), where=moisture > tables.trees[biome])

    # Patches of snow: high ground, and hollows in it.
    cold = np.float32(0.6) * relief + np.float32(0.8) * covering
    snow = cold > _snow_line(rows, tables.snow_share[biome])
    channel = np.abs(field_of("rivers", _RIVERS)) / np.clip(0.9 - relief, 0.05, 1.5)
    river = (channel < np.float32(_RIVER_WIDTH)) & (relief < 0.9) & ~snow
    bank = (channel < np.float32(2.5 * _RIVER_WIDTH)) & (moisture > 0.2) & (relief < 0) & ~snow
    water = river | (relief < tables.water[biome])
    dry = ~(snow | water | bank)

    # Borders of farms and towns follow the vegetation a little.
    farmed = dry & (farms + np.float32(0.15) * moisture > tables.farm[biome])
    if farmed.any():
        _paint_farms(seed, zone, (rows[0], cols[0]), farmed, farms, biome, material, (tone, vigour, rough_vv, rough_vh))
    built = dry & (towns > tables.town[biome])
    if built.any():
        _paint_towns(seed, zone, (rows[0], cols[0]), built, towns, material, (tone, vigour))

    if snow.any():
        snows = np.where(kinds > 0.5, NUMBER["old snow"], NUMBER["snow"])
        snows = np.where(kinds > 1.2, NUMBER["ice"], snows)
        snows = np.where(moisture > tables.trees[biome], NUMBER["snow under trees"], snows)
        np.copyto(material, snows.astype(np.uint8), where=snow)
    wet = (relief < tables.wetland[biome]) & (moisture > np.float32(-0.3))
    np.copyto(material, kind_of("wet"), where=(wet & ~built) | bank)
    if water.any():
        clearness = field_of("clearness", _CLEARNESS)
        waters = np.full(water.shape, NUMBER["deep water"], np.uint8)
        for above, name in _WATERS:
            waters[clearness < np.float32(above)] = NUMBER[name]
        waters[river] = NUMBER["turbid water"]
        np.copyto(material, waters, where=water)
    _place_objects(noise.key(seed, zone, "objects"), rows, cols, tone, ~(water | snow))

    kind = (biome.astype(np.uint16) * np.uint16(len(MATERIALS)) + material).astype(np.uint16)
    return Ground(zone, rows, cols, kind, tone, vigour, (rough_vv, rough_vh))


def _snow_line(rows: noise.Range, share: Floats) -> Floats:
    """The value above which snow lies all year: lower towards the poles."""
    lat = np.abs(np.arange(*rows)[:, None] * (utm.LATTICE_M / 111_132.0))
    polar = np.clip((lat - 74) / 8, 0, 1) ** 1.5 * 0.9
    return _quantile(1 - np.clip(share + polar, 0, 1))


_OBJECT_CELL_PX = 14
_OBJECT_SHARE = 0.40  # of the cells that hold one
_OBJECT_TONE = (6.0, 18.0)  # standard deviations of tone: roofs, tracks, boulders and heaps are bright


def _place_objects(key: int, rows: noise.Range, cols: noise.Range, tone: Floats, where: NDArray[np.bool_]) -> None:
    """Small bright things that no map shows, one or two pixels wide: they give real scenes their long tails."""
    row = np.arange(rows[0] // _OBJECT_CELL_PX, (rows[1] - 1) // _OBJECT_CELL_PX + 1)
    col = np.arange(cols[0] // _OBJECT_CELL_PX, (cols[1] - 1) // _OBJECT_CELL_PX + 1)
    lanes = noise.hashes(key, row[:, None], col[None, :]).view(np.uint16).reshape(len(row), len(col), 4)
    here = _share(lanes[..., 0])
    k, m = np.nonzero(here < _OBJECT_SHARE)
    lanes, size = lanes[k, m], here[k, m] / np.float32(_OBJECT_SHARE)
    top = row[k] * _OBJECT_CELL_PX + (lanes[:, 1] % (_OBJECT_CELL_PX - 3)).astype(np.int64) - rows[0]
    left = col[m] * _OBJECT_CELL_PX + (lanes[:, 2] % (_OBJECT_CELL_PX - 3)).astype(np.int64) - cols[0]
    least, most = _OBJECT_TONE
    bright = np.float32(least) + _share(lanes[:, 3]) * np.float32(most - least)
    # Half of them are of one pixel, the others of two by two or of three in a line.
    for down, right, of in ((0, 0, 1.0), (0, 1, 0.5), (1, 0, 0.25), (1, 1, 0.25), (0, 2, 0.1)):
        y, x = top + down, left + right
        inside = (size < of) & (y >= 0) & (y < tone.shape[0]) & (x >= 0) & (x < tone.shape[1])
        y, x = y[inside], x[inside]
        on_land = where[y, x]
        tone[y[on_land], x[on_land]] += bright[inside][on_land]


@dataclass(frozen=True)
class _Plots:
    """Plots of a rotated, staggered grid at some pixels: all arrays (n,)."""

    lanes: NDArray[np.uint16]  # (n, 4): four random numbers of the plot
    region: NDArray[np.uint16]  # (n, 4): four of the region that the plot belongs to
    from_side: Floats  # pixels to the plot's sides
    from_end: Floats


def _plots(
    key: int,
    corner: tuple[int, int],
    inside: NDArray[np.bool_],
    warp: Floats,
    region_px: int,
    width_px: tuple[int, int],
) -> _Plots:
    """Cut an area into regions of one direction and each region into plots ``width_px`` (from, to) wide."""
    row, col = np.nonzero(inside)
    bend = warp[inside] * np.float32(0.25 * region_px)
    row, col = row + corner[0], col + corner[1]
    region_row = np.floor((row + bend) / region_px).astype(np.int64)
    region_col = np.floor((col - bend) / region_px).astype(np.int64)
    region_hash = noise.hashes(key, region_row, region_col)
    lanes = region_hash.view(np.uint16).reshape(-1, 4)
    angle = lanes[:, 0].astype(np.float32) * np.float32(np.pi / 65536)
    width = np.float32(width_px[0]) + lanes[:, 1] * np.float32((width_px[1] - width_px[0]) / 65536)
    length = width * (np.float32(1.3) + lanes[:, 2] * np.float32(1.7 / 65536))
    local_row = (row - region_row * region_px).astype(np.float32)
    local_col = (col - region_col * region_px).astype(np.float32)
    cosine, sine = np.cos(angle), np.sin(angle)
    across = (local_row * cosine + local_col * sine) / width
    strip = np.floor(across)
    along = (local_col * cosine - local_row * sine) / length + strip * np.float32(0.37)
    block = np.floor(along)
    plot = noise.hashes(0, region_hash.view(np.int64) + strip.astype(np.int64), block.astype(np.int64))
    return _Plots(
        plot.view(np.uint16).reshape(-1, 4),
        lanes,
        (across - strip) * width,
        ((along - block) * length).astype(np.float32),
    )


def _share(lane: NDArray[np.uint16]) -> Floats:
    return lane.astype(np.float32) * np.float32(1 / 65536)


def _paint_farms(
    seed: int,
    zone: int,
    corner: tuple[int, int],
    farmed: NDArray[np.bool_],
    warp: Floats,
    biome: NDArray[np.uint8],
    material: NDArray[np.uint8],
    textures: tuple[Floats, ...],
) -> None:
    """Parcels of crops, some pasture, woodlots and fallow land; tracks or hedges between them."""
    plots = _plots(noise.key(seed, zone, "parcels"), corner, farmed, warp, _FARM_REGION_PX, (10, 34))
    use, crop = _share(plots.lanes[:, 0]), _share(plots.lanes[:, 1])
    pairs = _tables().pairs
    number = np.broadcast_to(biome, farmed.shape)[farmed]
    leading = _share(plots.region[:, 3]) * np.float32(0.7) + np.float32(0.15)  # share of the region's main crop
    chosen = np.where(crop < leading, pairs["crop"][number, 0], pairs["crop"][number, 1])
    chosen = np.where(crop > 0.86, np.uint8(NUMBER["stubble"]), chosen)
    for above, name in ((0.80, "grass"), (0.91, "tree"), (0.95, "bare"), (0.975, "shrub")):
        chosen = np.where(use > above, pairs[name][number, 0], chosen)
    edge = (plots.from_side < 1.0) | (plots.from_end < 1.0)
    hedge = np.where(plots.region[:, 2] > 45_000, pairs["tree"][number, 0], pairs["grass"][number, 0])
    chosen = np.where(edge & (plots.region[:, 0] > 20_000), hedge, chosen)
    material[farmed] = chosen
    for texture, lane in zip(textures, (2, 3, 1, 2), strict=True):
        offset = np.take(noise.normal_table(), plots.lanes[:, lane], mode="wrap")
        texture[farmed] = texture[farmed] * np.float32(0.6) + np.where(edge, np.float32(0), offset)


def _paint_towns(
    seed: int,
    zone: int,
    corner: tuple[int, int],
    built: NDArray[np.bool_],
    warp: Floats,
    material: NDArray[np.uint8],
    textures: tuple[Floats, Floats],
) -> None:
    """Streets, and blocks of roofs, of houses with yards, of industry, and parks: villages, and towns around a centre."""
    plots = _plots(noise.key(seed, zone, "blocks"), corner, built, warp, _TOWN_REGION_PX, (8, 16))
    use, centre = _share(plots.lanes[:, 0]), warp[built]
    dense = np.clip((centre - np.float32(1.5)) * np.float32(1.2), 0, 0.7)  # share of blocks without yards
    chosen = np.where(use < 0.80 - dense, NUMBER["houses and yards"], NUMBER["dark roofs"])
    chosen = np.where(use > 0.88 - 0.4 * dense, NUMBER["bright roofs"], chosen)
    chosen = np.where((use > 0.93) & (centre < 1.8), NUMBER["lush grass"], chosen)
    chosen = np.where(use > 0.965, NUMBER["broadleaf trees"], chosen)
    street = (plots.from_side < 1.4) | (plots.from_end < 1.2)
    material[built] = np.where(street, NUMBER["asphalt"], chosen).astype(np.uint8)
    for texture, lane in zip(textures, (2, 3), strict=True):
        offset = np.take(noise.normal_table(), plots.lanes[:, lane], mode="wrap")
        texture[built] += np.where(street, np.float32(0), offset * np.float32(0.7))
