"""Grid and Projection: where pixels lie. Pure geometry on (crs, affine); coordinates are (x, y) unless said otherwise.

An affine is (a, b, c, d, e, f): x = a col + b row + c, y = d col + e row + f, of pixel corners; ``col + 0.5`` is the
centre of a pixel.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from ..refusal import Refusal

Affine6 = tuple[float, float, float, float, float, float]
Floats = NDArray[np.float64]

METRES_PER_DEGREE = math.pi * 6378137.0 / 180.0
"""Length of a degree on the equator of WGS 84, which EE calls the nominal scale of EPSG:4326."""


# A CRS comes out of a request: only codes and plain WKT are read, since other forms can name files of this machine.
_AUTHORITY_CODE = re.compile(r"(EPSG|ESRI|OGC|SR-ORG):\w+", re.IGNORECASE)
_WKT = re.compile(r"\s*(PROJCRS|GEOGCRS|GEODCRS|PROJCS|GEOGCS)\s*\[", re.IGNORECASE)
_NAMES_A_FILE = re.compile(r"EXTENSION\s*\[|PARAMETERFILE|grids\s*=", re.IGNORECASE)


@lru_cache(maxsize=256)
def crs_of(name: str) -> CRS:
    """A coordinate reference system by its authority code (or WKT).

    Raises:
        Refusal: nothing is called that.
    """
    try:
        if not (_AUTHORITY_CODE.fullmatch(name) or (_WKT.match(name) and not _NAMES_A_FILE.search(name))):
            raise CRSError("neither an authority code nor plain WKT")
        return CRS.from_user_input(name)
    except CRSError:
        raise Refusal(f"The CRS of a map projection could not be parsed: '{name[:200]}'.") from None


@lru_cache(maxsize=256)
def transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(crs_of(source), crs_of(target), always_xy=True)


def apply(affine: Affine6, cols: Floats, rows: Floats) -> tuple[Floats, Floats]:
    a, b, c, d, e, f = affine
    return a * cols + b * rows + c, d * cols + e * rows + f


def invert(affine: Affine6) -> Affine6:
    """The affine from (x, y) back to (col, row)."""
    a, b, c, d, e, f = affine
    determinant = a * e - b * d
    if determinant == 0 or not math.isfinite(determinant):
        raise Refusal(f"The transform {list(affine)} of a grid cannot be inverted.")
    ia, ib, id_, ie = e / determinant, -b / determinant, -d / determinant, a / determinant
    return ia, ib, -(ia * c + ib * f), id_, ie, -(id_ * c + ie * f)


@dataclass(frozen=True)
class Projection:
    """A CRS and the affine from its pixels to it.

    Attributes:
        crs: as given, e.g. ``EPSG:32633``.
        affine: pixel corners to CRS units.
        usable: False for the stand-in projection (EPSG:4326, 1 degree) of composites and constants, which cannot be
            resampled from.
    """

    crs: str
    affine: Affine6
    usable: bool = True

    @property
    def nominal_scale_m(self) -> float:
        """Pixel size in metres."""
        a, b, _, d, e, _ = self.affine
        units = math.sqrt(abs(a * e - b * d))
        return units * (METRES_PER_DEGREE if crs_of(self.crs).is_geographic else 1.0)

    def encoded(self) -> dict[str, Any]:
        return {"type": "Projection", "crs": self.crs, "transform": list(self.affine)}


COMPOSITE = Projection("EPSG:4326", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), usable=False)
"""Projection of composites and constants: WGS 84, 1 degree.
Source: https://developers.google.com/earth-engine/guides/projections#the_default_projection"""


@dataclass(frozen=True)
class RequestGrid:
    """Pixels to be computed: crs, affine, width and height."""

    crs: str
    affine: Affine6
    width: int
    height: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def upright(self) -> bool:
        return self.affine[1] == 0 and self.affine[3] == 0

    def window(self, rows: tuple[int, int], cols: tuple[int, int]) -> RequestGrid:
        """The grid of half-open ranges of this grid's pixels, which may lie outside it."""
        a, b, c, d, e, f = self.affine
        row, col = rows[0], cols[0]
        moved = (a, b, a * col + b * row + c, d, e, d * col + e * row + f)
        return RequestGrid(self.crs, moved, cols[1] - cols[0], rows[1] - rows[0])

    def centres(self) -> tuple[Floats, Floats]:
        """(x, y) of all pixel centres, float64 (H, W) each."""
        cols, rows = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        return apply(self.affine, cols, rows)


def grid_of(projection: Projection, rows: tuple[int, int], cols: tuple[int, int]) -> RequestGrid:
    """The grid of a window of a projection's own pixels."""
    return RequestGrid(projection.crs, projection.affine, 0, 0).window(rows, cols)
