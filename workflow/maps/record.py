"""What a finished map says about itself: grid, classes with colours and pixel counts, run, images and their days.

Read from the map, its tags and its ``.aux.xml``, so that whatever is made of a map can be made of a map of an earlier
version too. Days are those of Sentinel-2, whose picture a map shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

import pyproj
import rasterio
from rasterio.errors import RasterioError

from ...pipeline.errors import DataError, in_brief
from ...pipeline.raster.class_map import count_codes
from ...pipeline.raster.gdal import fixed_options
from ...pipeline.spec.classes import CODE_UNMARKED
from ...pipeline.spec.sources import SANDBOX, Source
from ..area.ellipsoid import Grid

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class MapClass:
    """A class of a map.

    Attributes:
        code: of its pixels, from 1 on.
        name: for files: ``flooded_vegetation``.
        title: for people: ``Flooded vegetation``.
        pixels: of it in the map.
    """

    code: int
    name: str
    title: str
    rgb: Rgb
    pixels: int

    @property
    def colour(self) -> str:
        """``rrggbb``."""
        return "".join(f"{part:02x}" for part in self.rgb)


@dataclass(frozen=True)
class MapRecord:
    """A map on disk.

    Attributes:
        classes: in the order of their codes.
        nodata: code of pixels without a class; None = every pixel has one.
        unmapped: number of these pixels.
        tags: of the file.
    """

    path: Path
    grid: Grid
    classes: tuple[MapClass, ...]
    nodata: int | None
    unmapped: int
    tags: Mapping[str, str]

    def beside(self, ending: str) -> Path:
        """The file beside the map with its name and another ending: ``town.tif`` -> ``town.qml``."""
        return beside(self.path, ending)

    @property
    def stamp(self) -> str:
        """Text in each file that is made of this map, so that files of another map of that name are known."""
        return f"dwplus-map:{self.tags.get('IDENTITY', '')}"

    @property
    def run(self) -> str:
        """Hash of the weights that made the map; empty where a map of an earlier version does not record it."""
        return self.tags.get("RUN", "")

    @property
    def days(self) -> tuple[date, date] | None:
        """First and last day of the Sentinel-2 images; None where the file does not say."""
        of_images = self.tags.get("IMAGES", "").split(",")[0].rpartition(" of ")[2]
        said = self.tags.get("DATE") or self.tags.get("S2_DAYS") or of_images
        try:
            found = sorted(date.fromisoformat(text) for text in _DAY.findall(said))
        except ValueError:
            return None
        return (found[0], found[-1]) if found else None

    @property
    def mark(self) -> str:
        """``SANDBOX`` or another source that is to be named beside the map; mostly empty."""
        trained = self.tags.get("TRAINED_ON", "")
        if self.synthetic:
            return SANDBOX.mark
        return Source.of(trained).mark if trained else ""

    @property
    def synthetic_pixels(self) -> bool:
        """Whether no satellite has seen the pixels that were mapped."""
        return Source.of(self.tags.get("PIXELS", "")).synthetic

    @property
    def synthetic(self) -> bool:
        """Whether the pixels, or those that the network was trained on, are synthetic."""
        return bool(self.tags.get("SANDBOX")) or self.synthetic_pixels

    @property
    def sandbox(self) -> str:
        """A sentence about synthetic pixels; empty where there are none."""
        if not self.synthetic:
            return ""
        said = self.tags.get("SANDBOX", "the pixels are synthetic")
        return f"SANDBOX: {said}. This map says nothing about the Earth."

    @cached_property
    def scenes(self) -> tuple[str, ...]:
        """The images: files, each with its day (``s2_20240703 of 2024-07-03``), or scenes of Earth Engine."""
        files = self.tags.get("IMAGES", "").split(",")
        return tuple(part.strip() for part in (*files, *self.tags.get("S2_SCENES", "").split()) if part.strip())


_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def beside(path: Path, ending: str) -> Path:
    """The file beside a map with its name and another ending, such as ``.qml``."""
    return path.with_name(path.stem + ending)


def read_map(path: Path) -> MapRecord:
    """What a finished map says about itself.

    Raises:
        DataError: it cannot be read, or is no map of this product.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; name the GeoTIFF of a map")
    try:
        with fixed_options(), rasterio.open(path) as file:
            tags = file.tags()
            if file.count != 1 or file.dtypes[0] != "uint8" or file.crs is None or "CLASSES" not in tags:
                raise DataError(f"{path} is no map of 'dwplus predict': one uint8 band, a CRS and a tag CLASSES")
            colours = file.colormap(1)
            grid = Grid(pyproj.CRS.from_wkt(file.crs.to_wkt()), file.transform, file.width, file.height)
            nodata = None if file.nodata is None else int(file.nodata)
        titles, counts = _attributes(path)
        if counts is None:
            counts = dict(enumerate(count_codes(path).tolist()))
    except (RasterioError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a map ({in_brief(error)}); make it again") from None
    classes = tuple(
        MapClass(code, name, titles.get(code, name), colours.get(code, (0, 0, 0, 0))[:3], counts.get(code, 0))
        for code, name in _names(tags["CLASSES"])
        if code != CODE_UNMARKED
    )
    mapped = sum(one.pixels for one in classes)
    return MapRecord(path, grid, classes, nodata, grid.width * grid.height - mapped, tags)


def _names(tag: str) -> list[tuple[int, str]]:
    """``1=water 2=trees``."""
    pairs = (word.partition("=") for word in tag.split())
    return sorted((int(code), name) for code, _, name in pairs)


def _attributes(path: Path) -> tuple[dict[int, str], dict[int, int] | None]:
    """Titles and pixel counts by code, of the raster attribute table; nothing where it is missing or damaged."""
    try:
        root = ElementTree.parse(path.with_name(path.name + ".aux.xml")).getroot()
        rows = [[cell.text or "" for cell in row.iter("F")] for row in root.iter("Row")]
        return {int(r[0]): r[2] for r in rows}, {int(r[0]): int(r[1]) for r in rows} if rows else None
    except (OSError, ElementTree.ParseError, ValueError, IndexError):
        return {}, None
