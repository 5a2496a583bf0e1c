"""One label tile as GeoTIFF: its codes, its grid, and what is checked when it is read.

The label raster is the authority for the grid of a tile.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from ..errors import DataError, in_brief
from ..files.atomic import sha256_of
from ..files.remote import Place, Remote
from ..spec.landcover import RELEASED_CODES
from ..spec.test_tiles import TEST_SIZE_PX
from ..spec.tiles import RESOLUTION_M, TILE_SIZE_PX
from .gdal import check_libraries, fixed_options
from .geotiff import LABEL_BAND, lossy_compression, unreadable

_LARGEST_LABEL_FILE = 64 << 20
"""Bytes: a released tile has at most 0.6 MB; anything far larger is something else and is not read into memory."""


@dataclass(frozen=True)
class LabelRaster:
    """Pixels and grid of one label tile.

    Attributes:
        codes: uint8 (510, 510), released codes 0..10 (0 unmarked, 10 cloud).
        crs: ``EPSG:326zz`` or ``EPSG:327zz``.
        transform: (a, b, c, d, e, f) of pixel corners, metres: x = a col + b row + c, y = d col + e row + f.
        sha256: of the file.
    """

    codes: NDArray[np.uint8]
    crs: str
    transform: tuple[float, float, float, float, float, float]
    sha256: str

    @property
    def shape(self) -> tuple[int, int]:
        return self.codes.shape[0], self.codes.shape[1]


def read_label(path: Place) -> LabelRaster:
    """Open a label tile as released: 510 x 510 px, or 512 x 512 px, which loses one pixel on each side.

    The file is read once, so that hash and pixels belong together; it is opened as GeoTIFF, whatever its name says.

    Raises:
        DataError: it is not a label tile; says what it has and what is expected.
        MachineError: the file, GDAL or PROJ cannot be used on this machine.
    """
    content = _content(path)
    try:
        with (
            fixed_options(),
            warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
            MemoryFile(content) as memory,
            memory.open(driver="GTiff") as raster,
        ):
            _check_lossless(raster, path)
            crs, transform = _grid(raster, path)
            band = _label_band(raster, path)
            codes = _checked_codes(raster.read(band), path)
    except RasterioError as error:
        check_libraries()
        raise DataError(
            f"{path} cannot be read as a GeoTIFF ({in_brief(error)}); is it complete? get it again"
        ) from error
    margin = (codes.shape[0] - TILE_SIZE_PX) // 2
    a, b, c, d, e, f = transform
    return LabelRaster(
        codes=np.ascontiguousarray(codes[margin : margin + TILE_SIZE_PX, margin : margin + TILE_SIZE_PX]),
        crs=crs,
        transform=(a, b, c + margin * a, d, e, f + margin * e),
        sha256=sha256_of(content),
    )


def _content(path: Place) -> bytes:
    try:
        content = path.read_bytes() if isinstance(path, Remote) else b""
        size = len(content) or (path.stat().st_size if isinstance(path, Path) else 0)
        if not 0 < size <= _LARGEST_LABEL_FILE:
            raise DataError(f"{path} has {size} bytes; a label tile has some thousand")
        return content or path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, not a label tile") from None
    except OSError as error:
        raise unreadable(path, error) from error


def _check_lossless(raster: DatasetReader, path: Place) -> None:
    lossy = lossy_compression(raster)
    if lossy:
        raise DataError(
            f"{path} is compressed with {lossy}, which changes class codes; write it again from its source with "
            "COMPRESS=DEFLATE"
        )


def _grid(raster: DatasetReader, path: Place) -> tuple[str, tuple[float, float, float, float, float, float]]:
    """CRS and transform of a raster with a grid that label tiles have.

    The origin need not be a multiple of 10 m: the grid of the label is the authority, wherever it lies.
    """
    shape = (raster.height, raster.width)
    if shape not in ((TILE_SIZE_PX,) * 2, (TEST_SIZE_PX,) * 2):
        raise DataError(
            f"{path} has {raster.width} x {raster.height} px; a label tile has {TILE_SIZE_PX} x {TILE_SIZE_PX} "
            f"(test release: {TEST_SIZE_PX} x {TEST_SIZE_PX})"
        )
    epsg = None if raster.crs is None else _utm_epsg(raster.crs.to_wkt())
    if epsg is None:
        check_libraries()
        raise DataError(
            f"{path} has the CRS {_crs_name(raster.crs)}; a label tile has UTM on WGS 84 (EPSG:326zz, 327zz)"
        )
    a, b, c, d, e, f = tuple(raster.transform)[:6]
    if not np.allclose((a, b, d, e), (RESOLUTION_M, 0, 0, -RESOLUTION_M), rtol=0, atol=1e-6):
        raise DataError(f"{path} has pixels of ({a:g}, {b:g}, {d:g}, {e:g}) m; a label tile has 10 m, north up")
    return f"EPSG:{epsg}", (RESOLUTION_M, 0.0, c, 0.0, -RESOLUTION_M, f)


@lru_cache(maxsize=256)
def _utm_epsg(wkt: str) -> int | None:
    """EPSG code of UTM on WGS 84, or None for any other CRS; tiles carry the full text of theirs."""
    code = pyproj.CRS.from_wkt(wkt).to_epsg()
    return code if code is not None and code // 100 in (326, 327) and 1 <= code % 100 <= 60 else None


def _crs_name(crs: Any) -> str:
    return "none" if crs is None else str(pyproj.CRS.from_wkt(crs.to_wkt()).name)


def _label_band(raster: DatasetReader, path: Place) -> int:
    """Number (from 1) of the band that holds the label, by name where there are several."""
    names = tuple(raster.descriptions)
    if LABEL_BAND in names:
        return names.index(LABEL_BAND) + 1
    if names == (None,):
        return 1
    listed = ", ".join(str(name or "unnamed") for name in names)
    raise DataError(f"{path} has the bands {listed}; a label tile has one without a name, or one named {LABEL_BAND!r}")


def _checked_codes(values: NDArray[Any], path: Place) -> NDArray[np.uint8]:
    if values.dtype == np.uint8 and values.max() <= max(RELEASED_CODES):
        return values  # nearly all tiles: sorting out which codes there are takes a hundred times as long
    found = np.unique(values)
    alien = [value for value in found.tolist() if value not in RELEASED_CODES]
    if alien:
        listed = ", ".join(f"{value:g}" for value in alien[:5])
        raise DataError(f"{path} holds the values {listed}; a label tile holds the codes 0..10 only")
    return values.astype(np.uint8)
