"""Land-cover classes of Dynamic World: released codes, class indices, names, colours.

A *code* is what a released label raster holds (0..10); a *class index* is what networks and scores use (0..8, or
``IGNORE``). Source: Brown et al. 2022 (Sci Data 9:251), README of PANGAEA 933475.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""Class index of pixels that are neither trained on nor scored (unmarked, cloud)."""

CODE_UNMARKED = 0
CODE_CLOUD = 10


@dataclass(frozen=True)
class LandCover:
    """One class: its index (0..8), its released code (1..9), its name and its official colour."""

    index: int
    name: str
    title: str
    colour: str

    @property
    def code(self) -> int:
        return self.index + 1

    @property
    def rgb(self) -> tuple[int, int, int]:
        return int(self.colour[0:2], 16), int(self.colour[2:4], 16), int(self.colour[4:6], 16)


CLASSES: tuple[LandCover, ...] = (
    LandCover(0, "water", "Water", "419bdf"),
    LandCover(1, "trees", "Trees", "397d49"),
    LandCover(2, "grass", "Grass", "88b053"),
    LandCover(3, "flooded_vegetation", "Flooded vegetation", "7a87c6"),
    LandCover(4, "crops", "Crops", "e49635"),
    LandCover(5, "shrub_and_scrub", "Shrub and scrub", "dfc35a"),
    LandCover(6, "built", "Built area", "c4281b"),
    LandCover(7, "bare", "Bare ground", "a59b8f"),
    LandCover(8, "snow_and_ice", "Snow and ice", "b39fe1"),
)
CLASS_COUNT = len(CLASSES)
CLASS_NAMES: tuple[str, ...] = tuple(c.name for c in CLASSES)

RELEASED_CODES = frozenset(range(11))
"""Every value that a released label raster may hold: 0 unmarked, 1..9 classes, 10 cloud."""

CODE_COLOURS: dict[int, tuple[int, int, int, int]] = {
    CODE_UNMARKED: (0, 0, 0, 0),
    **{c.code: (*c.rgb, 255) for c in CLASSES},
    CODE_CLOUD: (235, 235, 235, 255),
}
"""GDAL colour table of a label raster: code -> RGBA."""

_INDEX_OF_CODE = np.full(256, IGNORE, dtype=np.uint8)
_INDEX_OF_CODE[1:10] = np.arange(CLASS_COUNT, dtype=np.uint8)


def class_indices(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class index of each released code.

    Args:
        codes: uint8 (H, W), released codes 0..10.

    Returns:
        uint8 (H, W), 0..8, or 255 where the code is 0 (unmarked) or 10 (cloud).
    """
    return _INDEX_OF_CODE[codes]


def marked_share(codes: NDArray[np.uint8]) -> float:
    """Share of pixels (0..1) that carry one of the nine classes."""
    # As bytes, 0 (unmarked) minus 1 is 255: one comparison separates the nine classes from everything else.
    return float(np.count_nonzero(codes - np.uint8(1) < CLASS_COUNT) / codes.size)
