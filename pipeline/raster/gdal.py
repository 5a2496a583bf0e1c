"""GDAL and PROJ as this package needs them: options that change the meaning of pixels are fixed, and the libraries are
tested before a file is called damaged.

A shell that was set up for PostGIS, QGIS or conda points PROJ to the database of another installation; then no file has
a known CRS. Such a fault of the machine must not be recorded as a fault of the data: ``check_libraries`` tells the two
apart. Comes before every module that opens a raster.
"""

from __future__ import annotations

import os
from functools import cache

import numpy as np
import rasterio
from rasterio import Env
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from ..errors import MachineError

_OPTIONS: dict[str, str | bool] = {
    # A block that cannot be read is an error, not zeros.
    "GTIFF_IGNORE_READ_ERRORS": False,
    # CRS and transform are the file's own: no world file, no .aux.xml, no other file beside it.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
    "GDAL_PAM_ENABLED": False,
    "GTIFF_SRS_SOURCE": "EPSG",
    "GTIFF_POINT_GEO_IGNORE": False,
    "GTIFF_HONOUR_NEGATIVE_SCALEY": False,
    "GTIFF_FORCE_RGBA": False,
    "GDAL_TIFF_ENDIANNESS": "LITTLE",
    "GDAL_TIFF_INTERNAL_MASK": True,
    "GTIFF_WRITE_LITTLE_ENDIAN": True,
    "CONVERT_YCBCR_TO_RGB": True,
    "CPL_DEBUG": False,
}
"""Source: GDAL, "Configuration options" and the page of the GTiff driver. Compression and block size are named by the
writers themselves."""


def fixed_options() -> Env:
    """GDAL's options inside a ``with`` statement, whatever the variables of the shell say."""
    return Env(**_OPTIONS)


def check_libraries() -> None:
    """Make sure that GDAL and PROJ work here: a small GeoTIFF written, read, and its CRS known again.

    A test that passed is not made again in this process.

    Raises:
        MachineError: they do not; no file may be called damaged.
    """
    _check()


@cache
def _check() -> None:
    pixels = np.arange(64, dtype=np.uint16).reshape(1, 8, 8)
    profile = {"driver": "GTiff", "count": 1, "height": 8, "width": 8, "dtype": "uint16", "compress": "zstd"}
    try:
        with fixed_options(), MemoryFile() as memory:
            crs = CRS.from_epsg(32631)
            with memory.open(**profile, crs=crs, transform=from_origin(500_000, 80, 10, 10)) as file:
                file.write(pixels)
            with memory.open() as file:
                same = np.array_equal(file.read(), pixels) and file.crs is not None and file.crs.to_epsg() == 32631
                problem = "" if same else "a small GeoTIFF comes back as another one"
    except (RasterioError, CRSError, ValueError, OSError) as error:
        problem = " ".join(str(error.__cause__ or error).split()).rstrip(".")
    if problem:
        raise MachineError(f"GDAL or PROJ does not work on this machine: {problem}; {_advice()}")


def _advice() -> str:
    suspects = [name for name in _SUSPECTS if os.environ.get(name)]
    if suspects:
        found = ", ".join(f"{name}={os.environ[name]}" for name in suspects)
        return f"the shell sets {found}: run 'unset {' '.join(suspects)}' and try again (no file was changed)"
    return f"install rasterio {rasterio.__version__} again from its wheel (no file was changed)"


_SUSPECTS = ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "GDAL_SKIP", "GDAL_DRIVER_PATH")
"""Variables that other programs leave behind, and that make GDAL or PROJ fail."""
