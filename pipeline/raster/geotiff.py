"""The GeoTIFF shard: the pixels of one tile in one file, and the label raster beside it.

A shard holds every band of ``bands.BANDS`` as uint16 on the grid of the tile's label, 0 = nothing here; scale, offset
and unit of each band are in the file, so that any GIS shows reflectance and dB. Its tags say where the pixels come
from. A shard holds no time, address or path: the same request gives the same bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from ..errors import DataError
from ..files.atomic import write_atomically
from ..files.remote import Place, Remote
from ..spec.bands import BANDS, NODATA, SHARD_BANDS
from ..spec.landcover import CODE_COLOURS
from ..spec.tiles import Tile
from .geotiff_blocks import read_blocks

SHARDS_FOLDER = "shards"
LABELS_FOLDER = "labels"
LABEL_BAND = "lulc"
"""Name of the band with released codes, as in the test release (its band ``label`` is the answer of a model)."""

# Level 1 with a horizontal predictor is the best trade of size against decoding time measured on real tiles; one
# block per band lets a reader take single bands at full speed.
_SHARD_LAYOUT: dict[str, Any] = {
    "driver": "GTiff",
    "dtype": "uint16",
    "interleave": "band",
    "compress": "zstd",
    "zstd_level": 1,
    "predictor": 2,
    "nodata": NODATA,
}
# Measured on three real labels: 0.8 ms of CPU and 9.0 KB each; Deflate takes 2.5 ms and 9.4 KB.
_LABEL_LAYOUT: dict[str, Any] = {"driver": "GTiff", "dtype": "uint8", "count": 1, "compress": "zstd", "zstd_level": 1}


AnyPlace = TypeVar("AnyPlace", Path, Remote, Place)


@dataclass(frozen=True)
class RasterGrid:
    """CRS, transform and shape of a raster; two rasters are aligned when their grids are equal."""

    crs: str
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]

    def __str__(self) -> str:
        a, _, c, _, e, f = self.transform
        return f"{self.crs} origin ({c:.12g}, {f:.12g}) pixel {a:g} x {-e:g} m, {self.shape[1]} x {self.shape[0]} px"


@dataclass(frozen=True)
class ShardHeader:
    """What a shard says about itself."""

    grid: RasterGrid
    bands: tuple[str, ...]
    dtypes: tuple[str, ...]
    driver: str
    nodata: float | None
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    tags: Mapping[str, str]


def shard_name(tile: Tile) -> str:
    """Path of a tile's shard in its data set: ``shards/<EH|WH>/<biome>/<tile id>.tif``."""
    return f"{SHARDS_FOLDER}/{tile.hemisphere}/{tile.biome}/{tile.id}.tif"


def label_name(tile: Tile, labeler: str) -> str:
    """Path of a tile's label in its data set: ``labels/<labeler>/<EH|WH>/<biome>/<tile id>.tif``."""
    return f"{LABELS_FOLDER}/{labeler}/{tile.hemisphere}/{tile.biome}/{tile.id}.tif"


def grid_of(tile: Tile) -> RasterGrid:
    return RasterGrid(tile.crs, tile.transform, tile.shape)


def encode_shard(pixels: NDArray[np.uint16], tile: Tile, tags: Mapping[str, str]) -> bytes:
    """The shard of a tile as the bytes of a GeoTIFF.

    Args:
        pixels: uint16 (bands, H, W) in the order of ``SHARD_BANDS``, stored values, 0 = no data.
        tags: provenance; values are one line of text each.
    """
    height, width = tile.shape
    assert pixels.shape == (len(SHARD_BANDS), height, width), pixels.shape
    assert pixels.dtype == np.uint16, pixels.dtype
    profile = {
        **_SHARD_LAYOUT,
        "count": len(SHARD_BANDS),
        "height": height,
        "width": width,
        "blockysize": height,
        "crs": tile.crs,
        "transform": tile.affine,
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(pixels)
            file.descriptions = SHARD_BANDS
            file.units = tuple(BANDS[b].unit for b in SHARD_BANDS)
            file.scales = tuple(BANDS[b].scale for b in SHARD_BANDS)
            file.offsets = tuple(BANDS[b].offset for b in SHARD_BANDS)
            file.update_tags(**tags)
            for number, name in enumerate(SHARD_BANDS, start=1):
                file.update_tags(number, TITLE=BANDS[name].title)
        return bytes(memory.read())


def write_label(path: Path, codes: NDArray[np.uint8], tile: Tile, tags: Mapping[str, str]) -> None:
    """Write the released codes of a tile, with the official colours.

    Args:
        codes: uint8 (H, W), released codes 0..10 (0 unmarked, 10 cloud).
    """
    height, width = tile.shape
    profile = {
        **_LABEL_LAYOUT,
        "height": height,
        "width": width,
        "blockysize": height,
        "crs": tile.crs,
        "transform": tile.affine,
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(codes, 1)
            file.write_colormap(1, CODE_COLOURS)
            file.set_band_description(1, LABEL_BAND)
            file.update_tags(**tags)
        write_atomically(path, bytes(memory.read()))


@contextmanager
def open_raster(place: Place, content: bytes | None = None) -> Iterator[DatasetReader]:
    """An open GeoTIFF, local or at a URL (which is read as a whole, by one request).

    What fails inside the ``with`` statement is taken for damage of this file: read one file at a time.

    Args:
        content: of the file, where it was read already.

    Raises:
        DataError: the file is missing, empty, no raster, or damaged (also while it is read from).
    """
    if isinstance(place, Remote):
        content = read_content(place) if content is None else content
    elif content is None and not place.is_file():
        raise DataError(f"{place} does not exist")
    with ExitStack() as stack:
        memory = None if content is None else stack.enter_context(MemoryFile(content))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                file = stack.enter_context(rasterio.open(place) if memory is None else memory.open())
        except RasterioError as error:
            raise DataError(f"{place} is not a readable raster: {_plain(error, place, memory)}") from None
        try:
            yield file
        except RasterioError as error:
            raise DataError(
                f"{place} is damaged and cannot be read to its end: {_plain(error, place, memory)}"
            ) from None


def _plain(error: RasterioError, place: Place, memory: MemoryFile | None) -> str:
    """What GDAL said, without the name of a file in memory, which is drawn by chance."""
    text = str(error.__cause__ or error)
    if memory is None:
        return text
    return text.replace(memory.name, str(place)).replace(memory.name.rpartition("/")[2], place.name)


def read_content(place: Place) -> bytes:
    """Bytes of a shard or label, local or at a URL.

    Raises:
        DataError: there is no such file.
        ServiceError, AuthenticationError: the server cannot be reached or refuses access.
    """
    try:
        return place.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{place} does not exist") from None


def header_of(file: DatasetReader) -> ShardHeader:
    epsg = file.crs.to_epsg() if file.crs else None
    return ShardHeader(
        grid=RasterGrid(
            f"EPSG:{epsg}" if epsg else (file.crs.to_string() if file.crs else "no CRS"),
            tuple(file.transform)[:6],
            (file.height, file.width),
        ),
        bands=tuple(name or "" for name in file.descriptions),
        dtypes=tuple(file.dtypes),
        driver=file.driver,
        nodata=file.nodata,
        scales=tuple(file.scales),
        offsets=tuple(file.offsets),
        tags=file.tags(),
    )


def read_header(path: Place) -> ShardHeader:
    """Grid, bands and tags of a raster.

    Raises:
        DataError: the file is missing or no raster.
    """
    with open_raster(path) as file:
        return header_of(file)


def read_bands(path: Place, bands: Sequence[str]) -> NDArray[np.uint16]:
    """Stored values of some bands of a shard, found by name.

    Returns:
        uint16 (bands, H, W), 0 = no data.

    Raises:
        DataError: the file is missing or damaged, or a band is not in it.
    """
    content = read_content(path)
    with open_raster(path, content) as file:
        missing = [band for band in bands if band not in file.descriptions]
        if missing:
            raise DataError(
                f"{path} has no band {', '.join(missing)}; it holds {', '.join(map(str, file.descriptions))}"
            )
        numbers = [file.descriptions.index(band) + 1 for band in bands]
        blocks = read_blocks(file, content, numbers)
        pixels: NDArray[np.uint16] = file.read(numbers) if blocks is None else blocks
        return pixels


def read_codes(path: Place) -> NDArray[np.uint8]:
    """Released codes of a label raster: uint8 (H, W), 0..10.

    Raises:
        DataError: the file is missing or damaged.
    """
    with open_raster(path) as file:
        codes: NDArray[np.uint8] = file.read(1)
        return codes
