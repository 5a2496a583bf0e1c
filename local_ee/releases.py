"""Releases: serves label archives of the synthetic planet, in the layout of the published ones.

Draws the tiles of ``catalogue/sites`` as the planet's annotators would and packs them: PANGAEA's archives with their
workbook (and what each single expert drew of the test tiles), Zenodo's archive of test tiles. Comes after planet and
catalogue; server hands its files out. Addresses and layouts: ``manifests/releases.toml`` and ``pipeline/labels/``,
which reads them.

Every file is made once, on first request, and is the same byte for byte for the same planet and number of tiles.
"""

from __future__ import annotations

import csv
import io
import re
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import openpyxl
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from ..pipeline.files.atomic import write_atomically
from ..pipeline.spec.classes import DYNAMIC_WORLD
from ..pipeline.spec.tiles import Tile, biome_names
from .catalogue.annotations import annotate, is_nameless, world_seed
from .catalogue.catalogue import Catalogue
from .catalogue.sites import SandboxTile, cloudy, sandbox_tiles
from .planet import noise
from .planet.labelling import Annotator
from .planet.planet import VERSION
from .planet.protocol import Planet
from .scene import SceneSource

EXPERTS = "pangaea/Experts_tiles.zip"
NON_EXPERTS = "pangaea/Non_expert_tiles.zip"
WORKBOOK = "pangaea/v1_dw_tile_metadata_for_public_release.xlsx"
TEST = "zenodo/dw_test.zip"
VALIDATION = "pangaea-validation/validation_set_tiles.zip"
"""How the published archive is laid out inside is not known: this layout (a folder per expert) is a guess."""

_NOTICE = (
    "SANDBOX.txt",
    b"SANDBOX: synthetic label tiles of a synthetic planet, in the layout of the Dynamic World releases.\n"
    b"Places and days of the test tiles are published ones; no pixel shows the real Earth.\n",
)
"""A member of every archive."""

_CONTENT_TYPE = {
    ".zip": "application/zip",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_CLOCK = re.compile(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*")
_LONG_AGO = (2021, 6, 24, 0, 0, 0)
"""Time of every member: archives depend on the planet alone."""


class Releases:
    """The label releases of a planet; safe to use from many threads.

    Args:
        tiles: number of different label tiles, about a third of them test tiles.
        folder: keeps the files once made; several planets may share it.
        catalogue: whose scenes the tiles are about; the planet's own unless given.
    """

    def __init__(self, planet: Planet, tiles: int, folder: Path, *, catalogue: SceneSource | None = None) -> None:
        self._planet = planet
        self._catalogue: SceneSource = catalogue or Catalogue(planet)
        self._number = tiles
        self._seed = world_seed(planet)
        self._folder = folder / f"releases-v{VERSION}-{self._seed:016x}-{tiles}"
        self._lock = threading.RLock()
        self._makers: dict[str, Callable[[], bytes]] = {
            EXPERTS: lambda: _archive([_NOTICE, *self._experts()]),
            NON_EXPERTS: lambda: _archive([_NOTICE, *self._non_experts()]),
            WORKBOOK: self._workbook,
            TEST: lambda: _archive([_NOTICE, *self._test()]),
            VALIDATION: lambda: _archive([_NOTICE, *self._validation()]),
        }

    @property
    def paths(self) -> tuple[str, ...]:
        """What ``open`` serves."""
        return tuple(self._makers)

    @cached_property
    def tiles(self) -> list[SandboxTile]:
        with self._lock:
            return sandbox_tiles(self._catalogue, self._number, seed=self._seed)

    def open(self, path: str) -> tuple[BinaryIO, int, str] | None:
        """A released file, or None for no such path: (opened for reading, size in bytes, content type)."""
        if path not in self._makers:
            return None
        file = self._file(path)
        return file.open("rb"), file.stat().st_size, _CONTENT_TYPE[file.suffix]

    def _file(self, path: str) -> Path:
        """The cached file, made now if need be; other requests wait meanwhile."""
        file = self._folder / path
        with self._lock:
            if not file.exists():
                write_atomically(file, self._makers[path]())
        return file

    def _of(self, annotator: Annotator) -> list[SandboxTile]:
        return sorted((t for t in self.tiles if annotator in t.annotators), key=lambda t: t.tile.id)

    def _codes(self, tile: SandboxTile, annotator: Annotator) -> NDArray[np.uint8]:
        return annotate(self._planet, self._catalogue, tile, annotator)

    def _experts(self) -> Iterator[tuple[str, bytes]]:
        for tile in self._of("expert"):
            yield f"Experts/{_place(tile.tile)}.tif", _label_tif(self._codes(tile, "expert"), tile.tile)

    def _non_experts(self) -> Iterator[tuple[str, bytes]]:
        for tile in self._of("non_expert"):
            name = f"Non_expert/WorkForce/{_place(tile.tile)}.tif"
            yield name, _label_tif(self._codes(tile, "non_expert"), tile.tile)

    def _test(self) -> Iterator[tuple[str, bytes]]:
        tiles = self._of("consensus")
        for tile in tiles:
            grid, stem = tile.tile, tile.tile.id.replace(".", "p")
            index = grid.id if tile.scene is None else tile.scene.index
            model = self._planet.model_labels(grid.crs, grid.transform, grid.shape, index)
            clouds = np.zeros(grid.shape, bool) if tile.scene is None else cloudy(self._catalogue, tile.scene, grid)
            yield f"dw_test/label_{stem}.tif", _test_tif(model, self._codes(tile, "consensus"), grid)
            yield f"dw_test/probs_{stem}.tif", _probs_tif(model, clouds, grid)
        yield "dw_test/dw_test_tiles.csv", _test_list(tiles)

    def _validation(self) -> Iterator[tuple[str, bytes]]:
        """What each of three experts drew of each test tile, before they were brought to a consensus."""
        for tile in self._of("consensus"):
            for expert in (1, 2, 3):
                codes = annotate(self._planet, self._catalogue, tile, "expert", hand=f" expert {expert}")
                yield f"validation_set_tiles/Expert_{expert}/{tile.tile.id}.tif", _label_tif(codes, tile.tile)

    def _workbook(self) -> bytes:
        book = openpyxl.Workbook(write_only=True)
        for title, path in (("expert", EXPERTS), ("non_expert", NON_EXPERTS)):
            annotator: Annotator = "expert" if title == "expert" else "non_expert"
            counts = _counts(self._file(path))
            sheet = book.create_sheet(title)
            sheet.append(COLUMNS)
            for tile in self._of(annotator):
                sheet.append(_record(tile, annotator, counts[tile.tile.id]))
        book.create_sheet("SANDBOX").append([_NOTICE[1].decode()])
        return _saved(book)


# Files ---------------------------------------------------------------------------------------------------------------


def _place(tile: Tile) -> str:
    return f"{tile.hemisphere}/{tile.biome}/{tile.id}"


def _archive(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip archive that depends on its members alone; GeoTIFFs are compressed already and only stored."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, _LONG_AGO)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".tif") else zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def _geotiff(bands: NDArray[np.generic], tile: Tile, *, names: tuple[str, ...] = (), **layout: object) -> bytes:
    """A GeoTIFF of bands (bands, H, W) on a tile's grid, without nodata and colour table."""
    count, height, width = bands.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            count=count,
            height=height,
            width=width,
            dtype=bands.dtype,
            crs=tile.crs,
            transform=Affine(*tile.transform),
            **layout,
        ) as raster:
            raster.write(bands)
            for number, name in enumerate(names, start=1):
                raster.set_band_description(number, name)
        return bytes(memory.read())


def _label_tif(codes: NDArray[np.uint8], tile: Tile) -> bytes:
    """As measured on released training tiles: LZW, strips of 16 rows."""
    return _geotiff(codes[None], tile, compress="lzw", blockysize=16)


def _test_tif(model: NDArray[np.uint8], consensus: NDArray[np.uint8], tile: Tile) -> bytes:
    """Both bands of a test tile: the model's class indices 0..8 first, the experts' codes 0..10 second."""
    return _geotiff(np.stack([model, consensus]), tile, names=("label", "lulc"), compress="lzw", blockysize=16)


def _probs_tif(model: NDArray[np.uint8], clouds: NDArray[np.bool_], tile: Tile) -> bytes:
    """Nine probabilities of few values: 0.6 for the model's class; NaN under clouds and in a corner of every tile."""
    probabilities = np.where(model == np.arange(len(DYNAMIC_WORLD))[:, None, None], np.float32(0.6), np.float32(0.05))
    probabilities[:, clouds] = np.nan
    probabilities[:, :8, :8] = np.nan
    return _geotiff(probabilities, tile, names=DYNAMIC_WORLD.names, compress="deflate", zlevel=1, interleave="band")


def _test_list(tiles: Iterable[SandboxTile]) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["filename", "s2_system_index"])
    for tile in tiles:
        index = "" if tile.scene is None or is_nameless(tile) else tile.scene.index
        rows.writerow([tile.tile.id.replace(".", "p"), index])
    return text.getvalue().encode()


# The workbook --------------------------------------------------------------------------------------------------------

_CLASS_COLUMNS = {
    "Water": 1,
    "Trees": 2,
    "Grass": 3,
    "Flooded_Vegetation": 4,
    "Crops": 5,
    "Scrub": 6,
    "Built_Area": 7,
    "Bare_Ground": 8,
    "Snow_Ice": 9,
    "Clouds": DYNAMIC_WORLD.ignored_code,
}
"""Column of the workbook -> released code."""

COLUMNS = (
    *("dw_id", "labeler", "crs", "utm", "lon", "lat", "hemisphere", "biome", "biome_name", "geometry", "date"),
    *("S2_PRODUCT_ID", "S2_SENSING_ORBIT_DIRECTION", *sorted(_CLASS_COLUMNS)),
)
"""Columns whose spelling is known from code that reads the published workbook."""


def _record(tile: SandboxTile, annotator: Annotator, counts: NDArray[np.int64]) -> list[object]:
    """One row of the workbook; ``counts`` holds the pixels of each code 0..10."""
    grid = tile.tile
    lon, lat = grid.centre
    west, south, east, north = grid.bounds
    ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    marked = max(1, int(counts[1:].sum()))
    values: dict[str, object] = {
        "dw_id": grid.id,
        "labeler": "Experts" if annotator == "expert" else "Non-expert",
        "crs": grid.crs.lower(),
        "utm": grid.crs[-2:] + ("N" if grid.crs[5:8] == "326" else "S"),
        "lon": lon,
        "lat": lat,
        "hemisphere": grid.hemisphere,
        "biome": grid.biome,
        "biome_name": biome_names()[grid.biome],
        "geometry": "POLYGON ((" + ", ".join(f"{x:g} {y:g}" for x, y in ring) + "))",
        "date": grid.date.isoformat(),
        "S2_PRODUCT_ID": _product_id(tile),
        "S2_SENSING_ORBIT_DIRECTION": None
        if tile.scene is None
        else tile.scene.properties.get("SENSING_ORBIT_DIRECTION", "DESCENDING"),
    }
    return [values[c] if c in values else float(counts[_CLASS_COLUMNS[c]]) / marked for c in COLUMNS]


def _product_id(tile: SandboxTile) -> str | None:
    """PRODUCT_ID of a tile's scene, if its record has one.

    For one tile in fifteen it is that of an earlier processing, which the catalogue has no more: reprocessing replaces
    baseline and processing time of published ids and leaves sensing time and granule.
    """
    if tile.scene is None or is_nameless(tile):
        return None
    product = str(tile.scene.properties["PRODUCT_ID"])
    if noise.unit("reprocessed", tile.tile.id) >= 1 / 15:
        return product
    platform, level, sensed, _, orbit, granule, processed = product.split("_")
    return "_".join([platform, level, sensed, "N0201", orbit, granule, processed[:9] + "000000"])


def _counts(archive: Path) -> dict[str, NDArray[np.int64]]:
    """dw_id -> pixels of each code 0..10, of every tile of an archive."""
    found = {}
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            if name.endswith(".tif"):
                with MemoryFile(opened.read(name)) as memory, memory.open() as raster:
                    found[Path(name).stem] = np.bincount(
                        raster.read(1).ravel(), minlength=DYNAMIC_WORLD.ignored_code + 1
                    )
    return found


def _saved(book: openpyxl.Workbook) -> bytes:
    """A workbook as bytes, without the clock that openpyxl puts into it."""
    buffer = io.BytesIO()
    book.save(buffer)
    with zipfile.ZipFile(buffer) as saved:
        parts = {name: saved.read(name) for name in saved.namelist()}
    return _archive((name, _CLOCK.sub(rb"\g<1>2021-06-24T00:00:00Z", part)) for name, part in parts.items())
