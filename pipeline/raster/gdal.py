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
import pyproj
import rasterio
from pyproj.exceptions import ProjError
from rasterio import Env
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from ..errors import MachineError

_OPTIONS: dict[str, str | bool | int] = {
    # Bytes of decoded blocks; by itself the cache grows to a twentieth of the memory with the size of a raster.
    "GDAL_CACHEMAX": 64 << 20,
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
    # What is written is written: this option of GDAL's own tests leaves pixels out.
    "GTIFF_DONT_WRITE_BLOCKS": False,
    # A file is read from any place in it, and its CRS is given as text that every PROJ reads.
    "TIFF_READ_STREAMING": False,
    "OSR_WKT_FORMAT": "DEFAULT",
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


def check_machine() -> None:
    """Make sure that this machine still works, after a raster could not be read and before the file is called damaged.

    Raises:
        MachineError: GDAL or PROJ does not work, or memory has run out.
    """
    try:
        np.empty(_ROOM_BYTES, dtype=np.uint8)
    except MemoryError:
        raise MachineError(_OUT_OF_MEMORY) from None
    _test()


_ROOM_BYTES = 256 << 20
"""Far more than a tile takes while it is read (a shard has 7.3 MB decoded): a process that cannot have so much is short
of memory. It is asked for and not touched."""

_OUT_OF_MEMORY = (
    "memory has run out, and no file can be read; pass a smaller --workers, or ask for more memory "
    "(no file was changed)"
)


@cache
def _check() -> None:
    _test()


def _test() -> None:
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
        # rasterio and pyproj each have a PROJ of their own.
        x, y = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True).transform(3.0, 0.0)
        if not np.allclose((x, y), (500_000, 0), atol=0.01):
            problem = problem or f"pyproj puts 3 E, 0 N to ({x:.0f}, {y:.0f}) in EPSG:32631 instead of (500000, 0)"
    except (RasterioError, CRSError, ProjError, ValueError, OSError) as error:
        problem = " ".join(str(error.__cause__ or error).split()).rstrip(".")
    except MemoryError:
        raise MachineError(_OUT_OF_MEMORY) from None
    if "not enough memory" in problem:
        raise MachineError(_OUT_OF_MEMORY)
    if problem:
        raise MachineError(f"GDAL or PROJ does not work on this machine: {problem}; {_advice()}")


def _advice() -> str:
    suspects = [name for name in _SUSPECTS if os.environ.get(name)]
    if suspects:
        found = ", ".join(f"{name}={os.environ[name]}" for name in suspects)
        return f"the shell sets {found}: run 'unset {' '.join(suspects)}' and try again (no file was changed)"
    again = f"rasterio {rasterio.__version__} and pyproj {pyproj.__version__}"
    return f"install {again} again from their wheels (no file was changed)"


_SUSPECTS = ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "GDAL_SKIP", "GDAL_DRIVER_PATH")
"""Variables that other programs leave behind, and that make GDAL or PROJ fail."""
