"""What the ground is made of: reflectance and backscatter of some thirty materials, and each one's land-cover class.

A material is a pair of spectra, *bare* (dry, leafless, harvested) and *green*, mixed by greenness, which follows the
season; and sigma0 with a change from bare to green. Materials of one class differ as much as some classes do: that is
what makes the classes hard to tell apart.

Sources: reflectances follow typical values of the USGS Spectral Library 7 (Kokaly et al. 2017, doi 10.3133/ds1035) and
the ECOSTRESS library (Meerdink et al. 2019, RSE 230) as seen by Sentinel-2's bands, shifted towards means by class of
real L2A stacks (TerraMesh, Dynamic World tiles); sigma0 follows the Sentinel-1 Global Backscatter Model
(Bauer-Marschallinger et al. 2021, Remote Sensing 13, 3289) and the means by class of the same stacks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OPTICAL_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")


@dataclass(frozen=True)
class Material:
    """One kind of surface.

    Attributes:
        name: what it is.
        cover: class index 0..8 (``classes.DYNAMIC_WORLD``).
        bare, green: reflectance x 1e4 in `OPTICAL_BANDS`.
        greenness: share of the green spectrum in the yearly mean, 0..1.
        season: amplitude of greenness over the year at mid latitudes.
        peak_day: day of year of the highest greenness in the northern hemisphere.
        vigour: change of greenness per standard deviation of the local vigour.
        tone: relative change of reflectance per standard deviation of the local tone.
        vv, vh: sigma0 in dB at 38 degrees of incidence, yearly mean.
        vv_green, vh_green: change in dB from bare to green.
        rough: dB per standard deviation of the local roughness.
        turn: dB gained or lost by looking from the other side (rows of walls and furrows).
    """

    name: str
    cover: int
    bare: tuple[int, ...]
    green: tuple[int, ...]
    greenness: float
    season: float
    peak_day: int
    vigour: float
    tone: float
    vv: float
    vh: float
    vv_green: float
    vh_green: float
    rough: float
    turn: float


_LEAFLESS = (330, 400, 550, 620, 950, 1400, 1600, 1700, 1850, 1900, 2000, 1250)
_STRAW = (600, 750, 1100, 1500, 1850, 2250, 2450, 2600, 2850, 2850, 3500, 2500)
_STUBBLE = (650, 820, 1150, 1550, 1900, 2200, 2380, 2500, 2730, 2700, 3550, 2750)
_LAWN = (300, 380, 720, 450, 1150, 2650, 3150, 3300, 3450, 3400, 2100, 1100)
_LEAVES = (280, 350, 690, 390, 1050, 2900, 3550, 3750, 3850, 3800, 1950, 950)
_TWIGS = (500, 640, 900, 1180, 1530, 1900, 2100, 2250, 2450, 2450, 3050, 2150)
_DENSE_TREES = (200, 230, 420, 260, 720, 2050, 2500, 2650, 2770, 2800, 1280, 570)
_YARD = (380, 470, 760, 620, 1150, 2150, 2500, 2650, 2800, 2780, 2150, 1350)

# name, class, bare, green, greenness, season, peak, vigour, tone, VV, VH, VV green, VH green, rough, turn
_ROWS: tuple[tuple[object, ...], ...] = (
    ("clear water", 0, (250, 235, 225, 130, 115, 100, 95, 92, 80, 65, 45, 28), None,
     0.0, 0.0, 200, 0.0, 0.25, -22.0, -21.6, 0.0, 0.0, 1.2, 0.0),
    ("turbid water", 0, (500, 570, 700, 600, 450, 270, 260, 240, 215, 190, 110, 75), None,
     0.0, 0.0, 200, 0.0, 0.30, -18.0, -25.0, 0.0, 0.0, 1.4, 0.0),
    ("green water", 0, (220, 240, 420, 220, 380, 400, 430, 430, 390, 330, 110, 60), None,
     0.0, 0.0, 200, 0.0, 0.30, -19.5, -25.2, 0.0, 0.0, 1.4, 0.0),
    ("deep water", 0, (90, 70, 34, 16, 15, 15, 15, 16, 14, 12, 10, 8), None,
     0.0, 0.0, 200, 0.0, 0.30, -17.2, -24.6, 0.0, 0.0, 1.2, 0.0),
    ("broadleaf trees", 1, _LEAFLESS, _DENSE_TREES,
     0.72, 0.25, 195, 0.08, 0.17, -9.0, -14.4, 0.5, 1.0, 0.8, 0.0),
    ("needleleaf trees", 1, (220, 250, 350, 280, 600, 1150, 1350, 1450, 1550, 1600, 1000, 520),
     (160, 180, 310, 190, 510, 1380, 1680, 1800, 1900, 1950, 930, 420),
     0.72, 0.13, 195, 0.09, 0.18, -9.8, -15.4, 0.3, 0.6, 0.8, 0.0),
    ("evergreen trees", 1, _LEAFLESS, (190, 205, 380, 240, 690, 1950, 2350, 2520, 2640, 2650, 1180, 540),
     0.88, 0.05, 100, 0.07, 0.17, -8.2, -13.6, 0.2, 0.4, 0.7, 0.0),
    ("open woodland", 1, (340, 430, 600, 680, 1020, 1500, 1720, 1820, 1980, 2030, 2150, 1350),
     (215, 265, 460, 330, 790, 1950, 2320, 2470, 2570, 2600, 1420, 680),
     0.72, 0.18, 205, 0.11, 0.20, -10.6, -16.4, 0.5, 1.0, 0.9, 0.0),
    ("lush grass", 2, _STRAW, _LAWN, 0.70, 0.22, 170, 0.15, 0.17, -13.1, -20.1, 0.3, 1.0, 0.9, 0.0),
    ("dry grass", 2, _STRAW, _LAWN, 0.30, 0.20, 170, 0.16, 0.20, -14.0, -21.5, 0.4, 1.2, 0.9, 0.0),
    ("tundra grass", 2, (420, 520, 760, 980, 1300, 1700, 1850, 1950, 2100, 2050, 2400, 1600),
     (280, 350, 620, 450, 950, 2000, 2350, 2500, 2600, 2550, 1900, 1050),
     0.55, 0.30, 200, 0.15, 0.18, -13.3, -20.5, 0.3, 0.8, 0.9, 0.0),
    ("marsh", 3, (400, 490, 690, 760, 1050, 1500, 1680, 1750, 1850, 1850, 1550, 900),
     (270, 320, 560, 390, 860, 2050, 2400, 2520, 2580, 2550, 1350, 620),
     0.60, 0.25, 200, 0.17, 0.21, -10.8, -19.6, 1.0, 1.0, 1.3, 0.0),
    ("mangrove", 3, (260, 300, 450, 380, 750, 1500, 1750, 1850, 1900, 1900, 1000, 480),
     (180, 205, 370, 220, 640, 1920, 2350, 2500, 2560, 2520, 1020, 420),
     0.85, 0.05, 100, 0.10, 0.16, -8.5, -14.3, 0.2, 0.4, 1.0, 0.0),
    ("reeds", 3, (480, 590, 840, 1020, 1350, 1750, 1920, 2020, 2150, 2100, 2050, 1250),
     (280, 340, 600, 430, 950, 2300, 2700, 2820, 2900, 2850, 1600, 780),
     0.50, 0.28, 205, 0.17, 0.21, -10.5, -19.3, 1.2, 1.0, 1.3, 0.0),
    ("summer crop", 4, _STUBBLE, _LEAVES, 0.40, 0.42, 205, 0.12, 0.13, -12.0, -18.7, 1.4, 3.0, 0.8, 0.6),
    ("winter crop", 4, _STUBBLE, _LEAVES, 0.42, 0.42, 130, 0.12, 0.13, -12.4, -19.2, -1.6, 1.6, 0.8, 0.6),
    ("irrigated crop", 4, _STUBBLE, _LEAVES, 0.62, 0.30, 240, 0.10, 0.13, -11.4, -18.0, 1.0, 2.4, 0.9, 0.6),
    ("late crop", 4, _STUBBLE, _LEAVES, 0.38, 0.38, 280, 0.12, 0.13, -12.1, -18.8, 1.2, 2.6, 0.8, 0.6),
    ("stubble", 4, _STUBBLE, _LAWN, 0.18, 0.12, 140, 0.10, 0.16, -12.4, -19.8, 0.4, 1.2, 1.0, 0.8),
    ("green shrub", 5, _TWIGS, (260, 320, 560, 420, 900, 1980, 2350, 2500, 2620, 2640, 2280, 1220),
     0.52, 0.16, 185, 0.14, 0.20, -12.0, -17.6, 0.4, 0.9, 0.9, 0.0),
    ("dry shrub", 5, _TWIGS, (330, 410, 640, 580, 1050, 1900, 2180, 2300, 2430, 2450, 2700, 1600),
     0.34, 0.14, 160, 0.16, 0.21, -12.8, -18.6, 0.4, 0.9, 1.0, 0.0),
    ("dwarf shrub", 5, (380, 460, 650, 800, 1100, 1500, 1680, 1780, 1920, 1900, 2100, 1350),
     (250, 310, 540, 420, 880, 1850, 2200, 2350, 2450, 2450, 2100, 1130),
     0.45, 0.20, 200, 0.14, 0.18, -12.6, -18.5, 0.3, 0.8, 0.9, 0.0),
    ("bright roofs", 6, (1150, 1350, 1550, 1750, 1900, 2000, 2100, 2200, 2300, 2300, 2500, 2250), _YARD,
     0.05, 0.03, 190, 0.05, 0.22, -4.4, -12.0, 0.0, 0.0, 1.9, 1.4),
    ("dark roofs", 6, (760, 860, 980, 1080, 1180, 1300, 1370, 1430, 1520, 1550, 1700, 1480), _YARD,
     0.15, 0.06, 190, 0.10, 0.20, -6.0, -13.2, 0.0, 0.0, 1.9, 1.4),
    ("houses and yards", 6, (780, 920, 1140, 1320, 1500, 1680, 1800, 1880, 2000, 2020, 2350, 1900), _YARD,
     0.42, 0.12, 190, 0.18, 0.18, -9.6, -16.0, 0.2, 0.4, 1.9, 1.2),
    ("asphalt", 6, (720, 790, 900, 970, 1050, 1160, 1220, 1280, 1360, 1400, 1560, 1400), _YARD,
     0.12, 0.05, 190, 0.08, 0.14, -11.6, -18.6, 0.0, 0.0, 1.6, 0.8),
    ("sand", 7, (1900, 2350, 3300, 4300, 4600, 4750, 4900, 5050, 5200, 5100, 6000, 5400), None,
     0.0, 0.0, 190, 0.0, 0.26, -18.0, -24.0, 0.0, 0.0, 1.2, 0.0),
    ("rock", 7, (800, 950, 1170, 1380, 1530, 1650, 1750, 1850, 1950, 1980, 2350, 2100), _TWIGS,
     0.10, 0.05, 190, 0.08, 0.23, -13.0, -22.2, 0.0, 0.3, 1.2, 0.0),
    ("bare soil", 7, (680, 850, 1180, 1580, 1860, 2060, 2200, 2320, 2520, 2520, 3350, 2850), _STRAW,
     0.20, 0.10, 150, 0.12, 0.20, -13.8, -22.2, 0.3, 0.8, 1.1, 0.0),
    ("scree", 7, (650, 760, 930, 1060, 1170, 1290, 1370, 1440, 1520, 1550, 1750, 1500), _TWIGS,
     0.12, 0.06, 200, 0.10, 0.23, -12.4, -21.6, 0.0, 0.3, 1.2, 0.0),
    ("snow", 8, (7000, 7100, 6950, 6800, 6700, 6500, 6350, 6200, 6000, 5700, 800, 680), None,
     0.0, 0.0, 190, 0.0, 0.36, -14.5, -19.6, 0.0, 0.0, 1.2, 0.0),
    ("old snow", 8, (5000, 5100, 4950, 4700, 4600, 4400, 4200, 4000, 3800, 3500, 680, 500), None,
     0.0, 0.0, 190, 0.0, 0.42, -12.0, -17.2, 0.0, 0.0, 1.4, 0.0),
    ("ice", 8, (5400, 5500, 5300, 4800, 4500, 4100, 3800, 3500, 3200, 2900, 500, 420), None,
     0.0, 0.0, 190, 0.0, 0.42, -9.6, -15.2, 0.0, 0.0, 1.4, 0.0),
    ("snow under trees", 8, (3100, 3200, 3150, 3050, 3000, 3050, 3000, 2950, 2850, 2700, 850, 640), None,
     0.0, 0.0, 190, 0.0, 0.60, -11.0, -16.8, 0.0, 0.0, 1.0, 0.0),
)  # fmt: skip


def _material(row: tuple[object, ...]) -> Material:
    name, cover, bare, green, *rest = row
    return Material(name, cover, bare, green or bare, *rest)  # type: ignore[arg-type]  # rows of the table have fixed types


MATERIALS: tuple[Material, ...] = tuple(_material(row) for row in _ROWS)
NUMBER: dict[str, int] = {material.name: number for number, material in enumerate(MATERIALS)}
"""Index of a material by its name."""

COVER: NDArray[np.uint8] = np.array([m.cover for m in MATERIALS], np.uint8)
"""Class index of each material."""
