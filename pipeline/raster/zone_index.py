"""One layer over the maps of several UTM zones: a VRT that any GDAL opens, in the zone that holds most of them.

Pixels of other zones are moved to its grid by the nearest neighbour when they are read; the maps themselves stay as
they are. A VRT in place of GDAL's tile index (GTI), which GDAL before 3.9 does not know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import rasterio
import rasterio.shutil
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from ..files.atomic import write_atomically
from ..spec.classes import CODE_UNMARKED, ClassTable
from .class_map import colours_of, plain_errors
from .gdal import fixed_options
from .geotiff import RasterGrid

_KEPT_TAGS = ("DWPLUS", "MODEL", "TRAINED_ON", "PIXELS", "CLASSES", "CLOUD_RULE", "LICENCE", "SANDBOX")


def write_index(path: Path, maps: Sequence[Path], classes: ClassTable) -> tuple[Path, ...]:
    """Write the layer over some maps in one folder, and a file for each map that has to be warped; all their paths.

    Args:
        path: of the layer, ``town.vrt``.
        maps: two or more, of one pixel size.

    Raises:
        MachineError: it cannot be written.
    """
    with fixed_options(), plain_errors(path):
        sizes = {one: _pixels(one) for one in maps}
        main = max(maps, key=lambda one: sizes[one])
        with rasterio.open(main) as file:
            crs, tags = file.crs, file.tags()
            a, _, c, _, e, f = tuple(file.transform)[:6]
        bounds = [_bounds(one, crs) for one in maps]
        # The grid of the main map, continued over the others.
        left, right = math.floor((min(b[0] for b in bounds) - c) / a), math.ceil((max(b[2] for b in bounds) - c) / a)
        top, bottom = math.floor((max(b[3] for b in bounds) - f) / e), math.ceil((min(b[1] for b in bounds) - f) / e)
        transform = (a, 0.0, c + a * left, 0.0, e, f + e * top)
        grid = RasterGrid(f"EPSG:{crs.to_epsg()}", transform, (bottom - top, right - left))
        # The last source is on top: the main map is seen unchanged.
        sources = [*(_warped(one, grid) for one in maps if one != main), main]
        placed = [_place(one, grid) for one in sources]
    content = _document(grid, crs.to_wkt(), sources, placed, classes, tags)
    write_atomically(path, content, option="-o")
    return path, *(one for one in sources if one not in maps)


def _pixels(path: Path) -> int:
    with rasterio.open(path) as file:
        return int(file.width * file.height)


def _bounds(path: Path, crs: object) -> tuple[float, float, float, float]:
    with rasterio.open(path) as file:
        left, bottom, right, top = transform_bounds(file.crs, crs, *file.bounds)
        return left, bottom, right, top


def _warped(path: Path, grid: RasterGrid) -> Path:
    """The file that shows a map on the grid of the layer, on the pixels that the map needs."""
    a, _, c, _, e, f = grid.transform
    west, south, east, north = _bounds(path, grid.crs)
    left, top = math.floor((west - c) / a), math.floor((north - f) / e)
    width, height = math.ceil((east - c) / a) - left, math.ceil((south - f) / e) - top
    made = path.with_name(f"{path.stem}.warped.vrt")
    affine = rasterio.Affine(a, 0.0, c + a * left, 0.0, e, f + e * top)
    with (
        rasterio.open(path) as file,
        WarpedVRT(file, crs=grid.crs, transform=affine, width=width, height=height, nodata=CODE_UNMARKED) as warped,
    ):
        rasterio.shutil.copy(warped, made, driver="VRT")
    return made


def _place(path: Path, grid: RasterGrid) -> tuple[int, int, int, int]:
    """(column, row, width, height) of a source in the layer."""
    a, _, c, _, e, f = grid.transform
    with rasterio.open(path) as file:
        return round((file.transform.c - c) / a), round((file.transform.f - f) / e), file.width, file.height


def _document(
    grid: RasterGrid,
    wkt: str,
    sources: Sequence[Path],
    placed: Sequence[tuple[int, int, int, int]],
    classes: ClassTable,
    tags: dict[str, str],
) -> bytes:
    """Source of the format: GDAL, "VRT -- GDAL Virtual Format"."""
    height, width = grid.shape
    a, b, c, d, e, f = grid.transform
    root = ElementTree.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    ElementTree.SubElement(root, "SRS").text = wkt
    ElementTree.SubElement(root, "GeoTransform").text = ", ".join(repr(value) for value in (c, a, b, f, d, e))
    metadata = ElementTree.SubElement(root, "Metadata")
    for key in _KEPT_TAGS:
        if key in tags:
            ElementTree.SubElement(metadata, "MDI", key=key).text = tags[key]
    band = ElementTree.SubElement(root, "VRTRasterBand", dataType="Byte", band="1")
    ElementTree.SubElement(band, "NoDataValue").text = str(CODE_UNMARKED)
    ElementTree.SubElement(band, "ColorInterp").text = "Palette"
    colours = colours_of(classes)
    table = ElementTree.SubElement(band, "ColorTable")
    for code in range(max(colours) + 1):
        red, green, blue, alpha = colours.get(code, (0, 0, 0, 255))
        ElementTree.SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4=str(alpha))
    names = ElementTree.SubElement(band, "CategoryNames")
    for title in ("no data", *(one.title for one in classes.classes)):
        ElementTree.SubElement(names, "Category").text = title
    for path, (column, row, wide, high) in zip(sources, placed, strict=True):
        source = ElementTree.SubElement(band, "ComplexSource")
        ElementTree.SubElement(source, "SourceFilename", relativeToVRT="1").text = path.name
        ElementTree.SubElement(source, "SourceBand").text = "1"
        size = (str(wide), str(high))
        ElementTree.SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=size[0], ySize=size[1])
        ElementTree.SubElement(source, "DstRect", xOff=str(column), yOff=str(row), xSize=size[0], ySize=size[1])
        ElementTree.SubElement(source, "NODATA").text = str(CODE_UNMARKED)
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8") + b"\n"
    return content
