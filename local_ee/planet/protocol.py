"""What a planet offers to the sensors over it, and the geometry of one acquisition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .ground import Floats
from .labelling import Annotator, Mistakes, View, mapped
from .utm import UtmGrid

CENTRE_INCIDENCE = 38.0
"""Degrees; backscatter in the table of materials is given for it."""


@dataclass(frozen=True)
class ViewGeometry:
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
        shift_m: (down, right) metres by which the scene lies beside its place, what is left after registration: a pixel
            shows ground that lies further up and to the left.
    """

    key: int
    day: int
    lat: float
    ascending: bool = False
    cloud_share: float = 0.0
    sun: float = 40.0
    incidence: tuple[float, float, float] = (CENTRE_INCIDENCE, 0.0, 0.0)
    shift_m: tuple[float, float] = (0.0, 0.0)


class Planet(Protocol):
    """Pixels by place and time. Grids may lie in any UTM zone."""

    @property
    def config(self) -> dict[str, Any]:
        """What `make_planet` builds it from again."""

    def optical(self, band: str, grid: UtmGrid, factor: int, geometry: ViewGeometry) -> NDArray[np.uint16]:
        """uint16 (rows, cols), reflectance x 1e4, never 0: means over ``factor`` x ``factor`` truth pixels of 10 m."""

    def backscatter(self, polarisation: str, grid: UtmGrid, geometry: ViewGeometry) -> NDArray[np.floating]:
        """float (rows, cols), sigma0 in dB with speckle: the truth pixel at each pixel's centre."""

    def clouds(self, grid: UtmGrid, geometry: ViewGeometry) -> tuple[Floats, Floats]:
        """(opacity, shadow), float32 (rows, cols), 0 clear .. 1 opaque: ``grid`` is the 10 m grid of the scene."""

    def landcover(self, grid: UtmGrid) -> NDArray[np.uint8]:
        """uint8 (rows, cols), class index 0..8: the truth at pixel centres."""

    def mapped(self, grid: UtmGrid, mistakes: Mistakes) -> View:
        """The ground as a mapmaker sees it; ``grid`` is one of 10 m."""

    def annotate(
        self, crs: str, transform: tuple[float, ...], shape: tuple[int, int], labeler: Annotator, key: str
    ) -> NDArray[np.uint8]:
        """uint8 (H, W), released codes 0..10 as a human draws them on a tile called ``key``."""

    def model_labels(
        self, crs: str, transform: tuple[float, ...], shape: tuple[int, int], key: str
    ) -> NDArray[np.uint8]:
        """uint8 (H, W), class indices 0..8 as an imperfect model answers for a scene called ``key``."""


def mapped_cover(planet: Planet, seed: int, grid: UtmGrid, mistakes: Mistakes) -> View:
    """What a mapmaker makes of the truth; rows and columns are counted from the zone's origin."""
    rows, cols = (grid.rows[0] - 1, grid.rows[1] + 1), (grid.cols[0] - 1, grid.cols[1] + 1)
    cover = planet.landcover(UtmGrid(grid.zone, grid.x, grid.y, grid.step_m, rows, cols))
    down, right = int(-grid.y // grid.step_m), int(grid.x // grid.step_m)
    place = (grid.rows[0] + down, grid.rows[1] + down), (grid.cols[0] + right, grid.cols[1] + right)
    return mapped(cover, *place, seed, mistakes)
