"""The planet of known values: every band a plane, so that a misplaced pixel shows up as a wrong value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import noise, utm
from .ground import Floats
from .labelling import Annotator, Mistakes, View, annotated, model_mistakes
from .materials import OPTICAL_BANDS
from .protocol import ViewGeometry, mapped_cover
from .utm import UtmGrid


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

    def plane(self, grid: UtmGrid, level: float, per_px_east: float, per_px_north: float) -> NDArray[np.float64]:
        """float64 (rows, cols): a plane at pixel centres."""
        value = np.zeros(grid.shape)
        for place in utm.located(grid):
            here = level + per_px_east / 10 * (place.x - self.origin_x) + per_px_north / 10 * (place.y - self.origin_y)
            np.copyto(value, here, where=True if place.inside is None else place.inside)
        return value

    def optical(self, band: str, grid: UtmGrid, factor: int, geometry: ViewGeometry) -> NDArray[np.uint16]:  # noqa: ARG002 - as of Planet
        """The mean of a plane over a square is its value at the centre."""
        level = self.dn + self.dn_band * OPTICAL_BANDS.index(band)
        value = self.plane(grid, level, self.dn_east, self.dn_north)
        return np.clip(np.rint(value), 1, 65_535).astype(np.uint16)

    def backscatter(self, polarisation: str, grid: UtmGrid, geometry: ViewGeometry) -> NDArray[np.floating]:  # noqa: ARG002 - as of Planet
        level = self.db + (self.db_cross if polarisation in ("VH", "HV") else 0.0)
        return self.plane(grid, level, self.db_east, self.db_north)

    def landcover(self, grid: UtmGrid) -> NDArray[np.uint8]:
        """Squares of 640 m, class by class: labels for tests that need some."""
        cover = np.zeros(grid.shape, np.uint8)
        for part in utm.parts(grid):
            here = (part.rows // 64 + part.cols // 64) % 9
            np.copyto(cover, here.astype(np.uint8), where=True if part.inside is None else part.inside)
        return cover

    def annotate(
        self, crs: str, transform: tuple[float, ...], shape: tuple[int, int], labeler: Annotator, key: str
    ) -> NDArray[np.uint8]:
        return annotated(self.landcover(UtmGrid.of(crs, transform, shape)), labeler, noise.key(key))

    def model_labels(
        self, crs: str, transform: tuple[float, ...], shape: tuple[int, int], key: str
    ) -> NDArray[np.uint8]:
        return self.mapped(UtmGrid.of(crs, transform, shape), model_mistakes(key)).cover

    def mapped(self, grid: UtmGrid, mistakes: Mistakes) -> View:
        return mapped_cover(self, noise.key(grid.zone), grid, mistakes)

    def clouds(self, grid: UtmGrid, geometry: ViewGeometry) -> tuple[Floats, Floats]:  # noqa: ARG002 - as of Planet
        return np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
