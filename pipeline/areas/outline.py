"""Outlines: the area that a file of polygons, a box in degrees or the grid of another raster means. Comes before
``grids``.

Longitudes of an outline are continuous: over the date line they go on beyond 180.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyproj
import rasterio
import shapely
from rasterio.errors import RasterioError
from shapely.geometry.polygon import orient

from ..errors import DataError, UsageError
from ..own.grid import NORTHERNMOST, SOUTHERNMOST, utm_zone, zones_between
from ..own.placing import Shapes, lies_in_utm, lies_on_earth, to_lon_lat
from ..own.vectors import Layer, open_layer, read_batches
from ..raster.gdal import fixed_options
from ..raster.geotiff import RasterGrid, plain_cause
from ..spec.tiles import RESOLUTION_M
from ..spec.words import count_of

MAX_KM2 = 10_000.0
"""Largest area that is mapped unless somebody says otherwise: about one granule of Sentinel-2."""

_WIDEST_DEG = 180.0
_MOST_DEGREES = 360.0
_OFF_M = 1e-6
_CRS84 = "EPSG:4326"


@dataclass(frozen=True)
class Outline:
    """An area on the ground.

    Attributes:
        text: what it was made of, for messages: ``town.geojson``, ``--bbox 9,45,9.4,45.3``.
        name: for names of files.
        shape: polygons in degrees (lon, lat).
        grid: of another raster whose grid the map has to have; None = a grid is made.
        notes: what was changed of what was given, one sentence each.
    """

    text: str
    name: str
    shape: shapely.Geometry
    grid: RasterGrid | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def km2(self) -> float:
        """Square kilometres on the ellipsoid."""
        geod = pyproj.Geod(ellps="WGS84")
        return sum(float(geod.geometry_area_perimeter(orient(part))[0]) for part in _parts(self.shape)) / 1e6

    @cached_property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with any corner, or with the grid."""
        content = shapely.to_wkb(shapely.normalize(self.shape)) + repr(self.grid).encode()
        return hashlib.sha256(content).hexdigest()[:12]

    @property
    def place(self) -> str:
        """Where it lies, as text: ``9.00 E 45.15 N``."""
        west, south, east, north = self.shape.bounds
        lon, lat = ((west + east) / 2 + 180) % 360 - 180, (south + north) / 2
        return f"{abs(lon):.2f} {'E' if lon >= 0 else 'W'} {abs(lat):.2f} {'N' if lat >= 0 else 'S'}"


def check_size(outline: Outline, max_km2: float) -> None:
    """Refuse an area that is larger than somebody may have meant.

    Raises:
        UsageError: it is.
    """
    if outline.km2 > max_km2:
        raise UsageError(
            f"{outline.text} has {outline.km2:,.0f} km2, more than --max-km2 {max_km2:,.0f}; see with --dry-run what "
            f"it would take, then say --max-km2 {_round_up(outline.km2):.0f}"
        )


def _round_up(value: float) -> float:
    """To two digits."""
    step = 10.0 ** (len(str(int(value))) - 2)
    return float(np.ceil(value / step) * step)


# --- a box ------------------------------------------------------------------------------------------------------------


def outline_of_box(text: str) -> Outline:
    """The area of ``west,south,east,north`` in degrees; over the date line where west is greater than east.

    Raises:
        UsageError: it is no such box.
    """
    said = f"--bbox {text}"
    try:
        west, south, east, north = (float(part) for part in re.split(r"[,\s]+", text.strip()))
    except ValueError:
        raise UsageError(
            f"{said} is no box; write west,south,east,north in degrees: --bbox 9.0,45.0,9.4,45.3"
        ) from None
    if not all(np.isfinite((west, south, east, north))) or max(abs(west), abs(east)) > _MOST_DEGREES:
        raise UsageError(f"{said} does not hold degrees; write west,south,east,north: --bbox 9.0,45.0,9.4,45.3")
    if max(abs(south), abs(north)) > 90:
        raise UsageError(f"{said} has a latitude beyond 90 degrees; the order is west,south,east,north")
    if south >= north or west == east:
        raise UsageError(f"{said} is empty; the order is west,south,east,north, and south is less than north")
    # Source: RFC 7946, section 5.2: a box with west > east crosses the date line.
    east = east if east > west else east + 360
    if east - west >= _WIDEST_DEG:
        raise UsageError(
            f"{said} is {east - west:g} degrees wide; the order is west,south,east,north, and boxes over the date line "
            "have a west that is greater than the east"
        )
    name = "_".join(f"{value:g}" for value in (west, south, (east + 180) % 360 - 180, north))
    return _outline(_one(shapely.box(west, south, east, north)), _CRS84, text=said, name=f"box_{name}")


# --- a file of polygons -----------------------------------------------------------------------------------------------


def outline_of_file(path: Path, layer: str = "") -> Outline:
    """The area of all polygons of a GeoJSON, GeoPackage, Shapefile, FlatGeobuf or GeoParquet.

    Args:
        layer: name of the layer; needed where there are several.

    Raises:
        DataError: it cannot be read, or holds no polygon that lies on the Earth.
        UsageError: it has several layers, or none of that name.
    """
    if not path.is_file() and not path.is_dir():
        raise UsageError(f"--area {path}: no such file; name a GeoJSON, GeoPackage or Shapefile of polygons")
    opened = open_layer(path, layer)
    return _outline(_polygons(opened), opened.crs, text=str(path), name=path.stem)


def _polygons(layer: Layer) -> Shapes:
    found: list[shapely.Geometry] = []
    others: set[str] = set()
    features = 0
    for batch in read_batches(layer, ()):
        features += len(batch.ids)
        for shape in batch.geometries:
            if shape is not None and not shape.is_empty:
                parts = _parts(shape)
                found += [part for part in parts if part.geom_type == "Polygon"]
                others |= {part.geom_type for part in parts} - {"Polygon"}
    if not found:
        what = f"only {', '.join(sorted(others))}" if others else "no geometry"
        raise DataError(
            f"{layer.path} holds {count_of(features, 'feature')} with {what}; an area is made of polygons: draw them "
            "around what is to be mapped, or name a box with --bbox"
        )
    shapes = np.array(found, dtype=object)
    bounds = shapely.bounds(shapes)
    if layer.crs.is_projected and np.isfinite(bounds).all() and np.abs(bounds).max() <= _MOST_DEGREES:
        raise DataError(
            f"{layer.path} says that its coordinates are of {layer.crs.name}, but they look like degrees; assign the "
            "right CRS (EPSG:4326?)"
        )
    return shapes


def _parts(shape: shapely.Geometry) -> list[shapely.Geometry]:
    """Single geometries, also out of collections in collections; heights are left out."""
    flat = shapely.force_2d(shape)
    if flat.geom_type in ("GeometryCollection", "MultiPolygon"):
        return [part for one in shapely.get_parts(flat) for part in _parts(one)]
    return [] if flat.is_empty else [flat]


# --- another raster ---------------------------------------------------------------------------------------------------


def outline_of_raster(path: Path) -> Outline:
    """The area and the grid of another raster.

    Raises:
        UsageError: there is no such file.
        DataError: it is no raster, or its grid is none that maps are made on.
    """
    if not path.exists():
        raise UsageError(f"--like {path}: no such file; name a raster whose grid the map is to have")
    try:
        with fixed_options(), rasterio.open(path) as file:
            crs = None if file.crs is None else pyproj.CRS.from_wkt(file.crs.to_wkt())
            grid = (tuple(file.transform)[:6], (file.height, file.width))
    except (RasterioError, pyproj.exceptions.CRSError) as error:
        raise DataError(f"{path} cannot be read as a raster ({plain_cause(error)}); name another with --like") from None
    if crs is None:
        raise DataError(
            f"{path} has no CRS, so that nobody knows where it lies; write one into it (gdal_edit.py -a_srs)"
        )
    (a, b, c, d, e, f), (height, width) = grid
    corners = shapely.box(c, f + e * height, c + a * width, f)
    shape = _in_degrees(_one(corners), crs, str(path))
    zone, west = utm_zone(crs), shape.bounds[0]
    if zone is None or zone.epsg != crs.to_epsg():
        best = zones_between(west, shape.bounds[1], west, shape.bounds[3])[-1]
        raise DataError(
            f"{path} is in {crs.name}; maps are made in UTM on WGS 84: warp it with 'gdalwarp -t_srs {best.crs} -tr 10 "
            "10', or name its area with --bbox"
        )
    if b or d or abs(a - RESOLUTION_M) > _OFF_M or abs(e + RESOLUTION_M) > _OFF_M:
        size = f"{a:g} x {-e:g} m" if not (b or d) else "turned"
        raise DataError(
            f"{path} has pixels that are {size}; maps have 10 x 10 m, north-up: warp it with 'gdalwarp -t_srs "
            f"{zone.crs} -tr 10 10', or name its area with --bbox"
        )
    held = RasterGrid(zone.crs, (RESOLUTION_M, 0.0, c, 0.0, -RESOLUTION_M, f), (height, width))
    return Outline(str(path), path.stem, shape, held)


# --- what they share --------------------------------------------------------------------------------------------------


def _one(shape: shapely.Geometry) -> Shapes:
    return np.array([shape], dtype=object)


def _outline(shapes: Shapes, crs: pyproj.CRS | str, *, text: str, name: str) -> Outline:
    mended, notes = _mended(shapes, text)
    shape = _in_degrees(mended, pyproj.CRS.from_user_input(crs), text)
    return Outline(text, re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:80], shape, notes=notes)


def _mended(shapes: Shapes, text: str) -> tuple[Shapes, tuple[str, ...]]:
    """Polygons that cross themselves become the areas that they enclose.

    Raises:
        DataError: none has an area.
    """
    whole: list[shapely.Geometry] = []
    crossing = 0
    for shape in shapes:
        # Corners that are not finite are no fault of the form; where they lie is looked at later.
        if shapely.is_valid(shape) or not np.isfinite(shapely.get_coordinates(shape)).all():
            whole.append(shape)
            continue
        crossing += 1
        parts = _parts(shapely.make_valid(shape, method="structure", keep_collapsed=False))
        whole += [part for part in parts if part.geom_type == "Polygon"]
    held = [shape for shape in whole if shape.area != 0]
    if not held:
        raise DataError(f"{text} encloses no area; its polygons are points or lines: draw it again")
    note = f"{text}: {count_of(crossing, 'polygon')} that crossed itself was mended"
    notes = (note if crossing == 1 else note.replace("itself was", "themselves were"),) if crossing else ()
    return np.array(held, dtype=object), notes


def _in_degrees(shapes: Shapes, crs: pyproj.CRS, text: str) -> shapely.Geometry:
    """Their union in degrees, all on one turn of the Earth.

    Raises:
        DataError: none lies where there is UTM.
    """
    # Degrees are looked at first: metres that pass for degrees would be cut into millions of short edges.
    some = crs.is_geographic and not lies_on_earth(shapes).all()
    degrees = shapes if some else to_lon_lat(shapes, crs)
    there = degrees[lies_on_earth(degrees)]
    if len(there) < len(degrees):
        raise DataError(f"{text} has corners that lie outside the area of its CRS ({crs.name}); assign the right one")
    mapped = there[lies_in_utm(there)]
    if not len(mapped):
        raise DataError(f"{text} lies beyond {-SOUTHERNMOST:g} S or {NORTHERNMOST:g} N, where there is no UTM grid")
    first = mapped[0].centroid.x
    moved = [_on_turn(shape, first) for shape in mapped]
    # Corners that were transformed may cross by less than a millimetre.
    union = shapely.union_all([shape if shape.is_valid else shape.buffer(0) for shape in moved])
    # The western edge lies between -180 and 180.
    turned: shapely.Geometry = _turned(union, -math.floor((union.bounds[0] + 180) / 360))
    return turned


def _on_turn(shape: shapely.Geometry, lon: float) -> shapely.Geometry:
    return _turned(shape, round((lon - shape.centroid.x) / 360))


def _turned(shape: shapely.Geometry, turns: int) -> shapely.Geometry:
    if not turns:
        return shape
    moved: shapely.Geometry = shapely.transform(shape, lambda points: np.add(points, (360.0 * turns, 0.0)))
    return moved
