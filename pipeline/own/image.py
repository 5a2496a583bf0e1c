"""Files of a user as one image: stored values of the bands that a network reads, by rows, on the grid of Sentinel-2.

Comes after ``pixels_products``; maps are made of it. GDAL reads of a file what some rows need, so memory does not grow
with the image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ..dataset.added_pixels import Resampling
from ..errors import DataError, UsageError
from ..raster.geotiff import RasterGrid
from ..spec.bands import BANDS, NODATA, Sensor
from ..spec.tiles import RESOLUTION_M, Tile
from .pixels_bands import SENSOR_BANDS, sensor_title
from .pixels_products import Product
from .pixels_tile import physical_of, stored_band
from .pixels_units import broken_rule, remedy_of

_MOST_OFF = 0.2
"""Share by which the pixels of an image may be larger or smaller than those that networks are trained on."""

_PIXELS_AT_ONCE = 6_000_000
"""Of one band: a row of windows of a Sentinel-2 scene, so that each block of a file is decoded once."""

_SAMPLE_PX = 256
"""Side of the picture of the whole image by which its units are judged."""


@dataclass(frozen=True)
class Image:
    """One image of one day.

    Attributes:
        products: of each sensor that is read.
        grid: of the image and of the map that is made of it.
        resampling: how pixels of other grids come to it.
    """

    products: tuple[Product, ...]
    grid: RasterGrid
    resampling: Resampling = "bilinear"

    @property
    def shape(self) -> tuple[int, int]:
        return self.grid.shape

    @property
    def map_grid(self) -> RasterGrid:
        return self.grid

    @property
    def map_origin(self) -> tuple[int, int]:
        """Row and column of ``grid`` where the map begins."""
        return 0, 0

    @property
    def pictures(self) -> int:
        """How many pictures of the ground there are."""
        return 1

    @property
    def tags(self) -> dict[str, str]:
        """Of maps that are made of it."""
        return {
            "PIXELS": "files",
            "DATE": self.products[0].day.isoformat(),
            "IMAGES": ", ".join(f"{product.name} of {product.day}" for product in self.products),
        }

    @property
    def identity(self) -> str:
        """Changes with any file of it: its path, size or time of change."""
        files = sorted({path for product in self.products for path in product.files})
        stamps = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return hashlib.sha256(repr((stamps, self.grid, self.resampling)).encode()).hexdigest()[:16]

    def shown(self, start: int, stop: int, picture: int = 0) -> None:
        """Every pixel with data gets a class."""

    def read(self, bands: Sequence[str], start: int, stop: int, picture: int = 0) -> NDArray[np.uint16]:  # noqa: ARG002 - one picture
        """Stored values of some rows: uint16 (bands, rows, W), 0 = no data.

        Raises:
            DataError: a file is damaged, or its values are none of their unit.
        """
        stored = np.zeros((len(bands), stop - start, self.shape[1]), dtype=np.uint16)
        # Values of a file take twice the room of stored ones: band by band, and some rows at a time.
        step = max(1, _PIXELS_AT_ONCE // self.shape[1])
        for first in range(start, stop, step):
            rows = self._rows(first, min(stop, first + step))
            inside = slice(first - start, first - start + rows.shape[0])
            for product in self.products:
                for n, band in enumerate(bands):
                    if BANDS[band].sensor == product.sensor:
                        stored[n, inside] = stored_band(rows, product, band, self.resampling)
        return stored

    def check_units(self) -> None:
        """Look at a coarse picture of the whole image: are values what their unit says?

        Raises:
            DataError: they break a rule of validation; says which, and what to do.
        """
        step = max(1, ceil(max(self.shape) / _SAMPLE_PX))
        a, b, c, d, e, f = self.grid.transform
        shape = (max(1, self.shape[0] // step), max(1, self.shape[1] // step))
        coarse = replace(self._rows(0, 1), transform=(a * step, b, c, d, e * step, f), shape=shape)
        for product in self.products:
            pixels = physical_of(coarse, product, "nearest")
            names = tuple(band for band in SENSOR_BANDS[product.sensor] if band not in product.absent)
            held = pixels[[SENSOR_BANDS[product.sensor].index(band) for band in names]]
            if not np.isfinite(held).all(axis=0).any():
                raise DataError(
                    f"{product.name} has no pixel with data in all its bands on the map's grid: it lies elsewhere, or "
                    "its nodata value is another one (--nodata)"
                )
            rule, message = broken_rule(product.sensor, held, names)
            if rule:
                raise DataError(f"{product.name} {message}; {remedy_of(rule)}")

    def _rows(self, start: int, stop: int) -> Tile:
        """Rows of the grid, as a tile."""
        a, b, c, d, e, f = self.grid.transform
        transform = (a, b, c + b * start, d, e, f + e * start)
        return Tile("image", self.grid.crs, transform, (stop - start, self.shape[1]), _NO_DAY, "EH", 0)


_NO_DAY = date(1970, 1, 1)


def image_of(
    products: Iterable[Product], bands: Sequence[str], *, resampling: Resampling = "bilinear", either: bool = False
) -> Image:
    """The image that products of one day make.

    Args:
        bands: that a network reads.
        either: the network was trained for missing inputs: one of two sensors may have no file.

    Raises:
        UsageError: a sensor has several products, or none.
        DataError: bands are missing, or the grid is none that maps are made on.
    """
    chosen: list[Product] = []
    found = tuple(products)
    for sensor in ("S2", "S1"):
        wanted = [band for band in bands if BANDS[band].sensor == sensor]
        if wanted and (not either or any(product.sensor == sensor for product in found)):
            chosen.append(_one_of(found, sensor, wanted))
    grid = chosen[0].grid
    _check_grid(chosen[0].name, grid)
    return Image(tuple(chosen), grid, resampling)


def _one_of(products: Sequence[Product], sensor: Sensor, wanted: Sequence[str]) -> Product:
    of = [product for product in products if product.sensor == sensor]
    title = sensor_title(sensor)
    if not of:
        raise UsageError(
            f"the network reads {title}, and no file holds it; name one, or take a run that was trained without it"
        )
    if len(of) > 1:
        names = ", ".join(product.name for product in of[:3])
        raise UsageError(f"{len(of)} images of {title}: {names}{', ...' * (len(of) > 3)}; a map is made of one")
    if missing := [band for band in wanted if band not in of[0].bands]:
        raise DataError(f"{of[0].name} lacks {', '.join(missing)}, which the network reads")
    return of[0]


def _check_grid(name: str, grid: RasterGrid) -> None:
    a, b, _, d, e, _ = grid.transform
    if b or d or a <= 0 or e >= 0:
        raise DataError(f"{name} is not north-up; warp it with 'gdalwarp -t_srs EPSG:326xx -tr 10 10'")
    off = max(abs(a / RESOLUTION_M - 1), abs(-e / RESOLUTION_M - 1))
    if off > _MOST_OFF:
        raise DataError(
            f"{name} has pixels of {a:g} x {-e:g} units of {grid.crs}; networks are trained on {RESOLUTION_M:g} m: "
            "warp it with 'gdalwarp -t_srs EPSG:326xx -tr 10 10'"
        )


def has_data(*stored: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Where every band has data: bool (H, W)."""
    found: NDArray[np.bool_] = np.logical_and.reduce([_complete(one) for one in stored if len(one)])
    return found


def has_either(*stored: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Where at least one input has data in all its bands: bool (H, W)."""
    found: NDArray[np.bool_] = np.logical_or.reduce([_complete(one) for one in stored if len(one)])
    return found


def _complete(bands: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Where all bands have data: (bands, H, W) -> (H, W), without a copy of all of them."""
    found: NDArray[np.bool_] = bands[0] != NODATA
    for band in bands[1:]:
        found &= band != NODATA
    return found
