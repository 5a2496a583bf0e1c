"""Universal Transverse Mercator in numpy, and regular grids of pixel centres in it.

Northings are *signed*: counted from the equator in both hemispheres, so that a grid may cross it. A *home zone* is
the standard six-degree zone of a longitude (no Norwegian exceptions). Longitudes and latitudes are degrees on WGS84.

Source: Karney 2011, "Transverse Mercator with an accuracy of a few nanometers" (J. Geod. 85), the Krueger series
to the fourth order of the third flattening: below a millimetre within 40 degrees of the central meridian.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FALSE_EASTING = 500_000.0
FALSE_NORTHING = 10_000_000.0
"""Added to northings in EPSG:327zz."""

_SCALE = 0.9996
_A, _F = 6_378_137.0, 1 / 298.257223563
_N = _F / (2 - _F)
_E = np.sqrt(_F * (2 - _F))
_RADIUS = _A / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
_ALPHA = (
    _N / 2 - 2 * _N**2 / 3 + 5 * _N**3 / 16 + 41 * _N**4 / 180,
    13 * _N**2 / 48 - 3 * _N**3 / 5 + 557 * _N**4 / 1440,
    61 * _N**3 / 240 - 103 * _N**4 / 140,
    49561 * _N**4 / 161280,
)
_BETA = (
    _N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96 - _N**4 / 360,
    _N**2 / 48 + _N**3 / 15 - 437 * _N**4 / 1440,
    17 * _N**3 / 480 - 37 * _N**4 / 840,
    4397 * _N**4 / 161280,
)

NODE_PX = 32
"""Spacing of exact transforms in `located`; between them bilinear: below 5 mm at 10 m pixels up to 80 degrees."""


def home_zone(lon: Floats | float) -> NDArray[np.int64]:
    """Number (1..60) of the six-degree zone that holds a longitude of any turn."""
    return np.floor(np.asarray(lon, np.float64) / 6 + 30).astype(np.int64) % 60 + 1


def central_meridian(zone: int) -> float:
    return 6.0 * zone - 183.0


def forward(lon: Floats | float, lat: Floats | float, zone: int) -> tuple[Floats, Floats]:
    """(easting, signed northing) in metres."""
    lam = np.radians((np.asarray(lon, np.float64) - central_meridian(zone) + 180) % 360 - 180)
    sin_phi = np.sin(np.radians(np.asarray(lat, np.float64)))
    t = np.sinh(np.arctanh(sin_phi) - _E * np.arctanh(_E * sin_phi))
    xi0, eta0 = np.arctan2(t, np.cos(lam)), np.arcsinh(np.sin(lam) / np.hypot(t, np.cos(lam)))
    xi, eta = xi0.copy(), eta0.copy()
    for j, a in enumerate(_ALPHA, start=1):
        xi += a * np.sin(2 * j * xi0) * np.cosh(2 * j * eta0)
        eta += a * np.cos(2 * j * xi0) * np.sinh(2 * j * eta0)
    return FALSE_EASTING + _SCALE * _RADIUS * eta, np.asarray(_SCALE * _RADIUS * xi)


def inverse(x: Floats | float, y: Floats | float, zone: int) -> tuple[Floats, Floats]:
    """(longitude, latitude) in degrees of (easting, signed northing); the longitude may leave -180..180."""
    xi1 = np.asarray(y, np.float64) / (_SCALE * _RADIUS)
    eta1 = (np.asarray(x, np.float64) - FALSE_EASTING) / (_SCALE * _RADIUS)
    xi, eta = xi1.copy(), eta1.copy()
    for j, b in enumerate(_BETA, start=1):
        xi -= b * np.sin(2 * j * xi1) * np.cosh(2 * j * eta1)
        eta -= b * np.cos(2 * j * xi1) * np.sinh(2 * j * eta1)
    conformal = np.arcsin(np.clip(np.sin(xi) / np.cosh(eta), -1, 1))
    tau1 = np.tan(conformal)
    tau = tau1 / (1 - _E**2)
    for _ in range(3):
        sigma = np.sinh(_E * np.arctanh(_E * tau / np.hypot(1, tau)))
        tau_i = tau * np.hypot(1, sigma) - sigma * np.hypot(1, tau)
        slope = (1 + (1 - _E**2) * tau**2) / ((1 - _E**2) * np.hypot(1, tau))
        tau = tau + (tau1 - tau_i) / np.hypot(1, tau_i) * slope
    lam = np.arctan2(np.sinh(eta), np.cos(xi))
    return central_meridian(zone) + np.degrees(lam), np.degrees(np.arctan(tau))


def epsg(zone: int, *, south: bool) -> str:
    """``EPSG:326zz`` or ``EPSG:327zz``."""
    return f"EPSG:{(32700 if south else 32600) + zone}"


def zone_of(crs: str) -> tuple[int, bool]:
    """(zone, whether southern) of ``EPSG:326zz`` or ``EPSG:327zz``.

    Raises:
        ValueError: another CRS.
    """
    code = int(crs.rpartition(":")[2])
    zone, south = code % 100, 32700 < code <= 32760
    if not (south or 32600 < code <= 32660):
        raise ValueError(f"{crs} is not a WGS84 UTM zone (EPSG:32601..32660, EPSG:32701..32760)")
    return zone, south


@dataclass(frozen=True)
class UtmGrid:
    """A window of a north-up grid of square pixels in a UTM zone.

    Attributes:
        zone: 1..60.
        x, y: upper-left corner of pixel (0, 0): easting and signed northing, metres.
        step_m: pixel size.
        rows, cols: half-open ranges of pixels; row numbers grow southwards.
    """

    zone: int
    x: float
    y: float
    step_m: float
    rows: tuple[int, int]
    cols: tuple[int, int]

    @classmethod
    def of(cls, crs: str, transform: tuple[float, ...], shape: tuple[int, int]) -> UtmGrid:
        """The grid of a raster: ``transform`` is (a, b, c, d, e, f) of pixel corners, north-up."""
        zone, south = zone_of(crs)
        a, b, c, d, e, f = transform
        if b or d or a <= 0 or e != -a:
            raise ValueError(f"transform {tuple(transform)} is not north-up with square pixels")
        return cls(zone, c, f - FALSE_NORTHING * south, a, (0, shape[0]), (0, shape[1]))

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows[1] - self.rows[0], self.cols[1] - self.cols[0]

    def finer(self, factor: int) -> UtmGrid:
        """The same window, each pixel cut into ``factor`` x ``factor``."""
        rows = (self.rows[0] * factor, self.rows[1] * factor)
        cols = (self.cols[0] * factor, self.cols[1] * factor)
        return UtmGrid(self.zone, self.x, self.y, self.step_m / factor, rows, cols)

    def wider(self, pixels: int) -> UtmGrid:
        """The same grid with so many more pixels on each side."""
        rows = (self.rows[0] - pixels, self.rows[1] + pixels)
        cols = (self.cols[0] - pixels, self.cols[1] + pixels)
        return UtmGrid(self.zone, self.x, self.y, self.step_m, rows, cols)

    @property
    def eastings(self) -> Floats:
        """Pixel centres, (cols,)."""
        return np.asarray(self.x + (np.arange(*self.cols) + 0.5) * self.step_m, np.float64)

    @property
    def northings(self) -> Floats:
        """Signed northings of pixel centres, (rows,)."""
        return np.asarray(self.y - (np.arange(*self.rows) + 0.5) * self.step_m, np.float64)


LATTICE_M = 10.0
"""Truth stands on pixels of this size: column floor(x / 10), row floor(-y / 10) of the home zone."""


class Part(NamedTuple):
    """The pixels of a grid that lie in one home zone.

    Attributes:
        zone: that home zone.
        rows, cols: lattice row and column of each pixel: (rows, 1) and (1, cols) where the grid's zone is home, else
            (rows, cols).
        inside: bool (rows, cols), or None where the part is the whole grid.
    """

    zone: int
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    inside: NDArray[np.bool_] | None


class Located(NamedTuple):
    """Pixel centres of a grid in home zones: metres instead of lattice numbers; otherwise as `Part`."""

    zone: int
    x: Floats
    y: Floats
    inside: NDArray[np.bool_] | None


def located(grid: UtmGrid) -> list[Located]:
    """Where every pixel centre lies in its home zone: exact in the grid's own zone, interpolated in others.

    The nodes of the interpolation are tied to pixel numbers, so any window of a grid gives the same values.
    """
    node_rows, row_index, row_weight = _nodes(grid.rows)
    node_cols, col_index, col_weight = _nodes(grid.cols)
    node_x = (grid.x + (node_cols + 0.5) * grid.step_m)[None, :]
    node_y = (grid.y - (node_rows + 0.5) * grid.step_m)[:, None]
    lon, lat = inverse(node_x + 0 * node_y, node_y + 0 * node_x, grid.zone)
    own = (lon >= central_meridian(grid.zone) - 3) & (lon < central_meridian(grid.zone) + 3)
    if own.all():
        return [Located(grid.zone, grid.eastings[None, :], grid.northings[:, None], None)]
    zones = home_zone(lon)
    if (zones != zones[0, 0]).any():
        zones = home_zone(_between(lon, row_index, row_weight, col_index, col_weight))
    # Between nodes of one zone lies nothing of another: then the nodes speak for all pixels.
    found = []
    for zone in np.unique(zones).tolist():
        inside = zones == zone
        mask = None if inside.all() else inside
        if zone == grid.zone:
            found.append(Located(zone, grid.eastings[None, :], grid.northings[:, None], mask))
            continue
        x, y = forward(lon, lat, zone)
        across = _between(x, row_index, row_weight, col_index, col_weight)
        found.append(Located(zone, across, _between(y, row_index, row_weight, col_index, col_weight), mask))
    return found


def parts(grid: UtmGrid) -> list[Part]:
    """The truth pixel of every pixel centre of a grid."""
    return [
        Part(
            place.zone,
            np.floor(-place.y / LATTICE_M).astype(np.int64),
            np.floor(place.x / LATTICE_M).astype(np.int64),
            place.inside,
        )
        for place in located(grid)
    ]


def _nodes(pixels: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Node pixels that enclose a range, the node before each pixel, and how far it is to the next one (0..1)."""
    first, last = pixels[0] // NODE_PX, (pixels[1] - 1) // NODE_PX + 1
    numbers = np.arange(*pixels)
    return (
        np.arange(first, last + 1) * NODE_PX,
        numbers // NODE_PX - first,
        (numbers % NODE_PX) / NODE_PX,
    )


def _between(
    nodes: Floats, row_index: NDArray[np.int64], row_weight: Floats, col_index: NDArray[np.int64], col_weight: Floats
) -> Floats:
    """Bilinear values (rows, cols) of a field known at nodes."""
    along = nodes[row_index] + (nodes[row_index + 1] - nodes[row_index]) * row_weight[:, None]
    return along[:, col_index] + (along[:, col_index + 1] - along[:, col_index]) * col_weight
