"""The GeoTIFF shard: the pixels of one tile in one file, and the label raster beside it.

A shard holds every band of ``bands.BANDS`` as uint16 on the grid of the tile's label, 0 = nothing here; scale, offset
and unit of each band are in the file, so that any GIS shows reflectance and dB. Its tags say where the pixels come
from. A shard holds no time, address or path: the same request gives the same bytes.
"""

from __future__ import annotations

import re
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

from ..errors import DataError, MachineError
from ..files.atomic import sha256_of, write_atomically
from ..files.checksums import read_checked
from ..files.remote import Place, Remote
from ..spec.bands import BANDS, NODATA, SHARD_BANDS
from ..spec.classes import DYNAMIC_WORLD, ClassTable
from ..spec.layers import Layer
from ..spec.tiles import Tile
from .gdal import check_libraries, check_machine, fixed_options
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
    lossy: str = ""
    """Compression that changes values, empty where there is none."""


def shard_name(tile: Tile) -> str:
    """Path of a tile's shard in its data set: ``shards/<EH|WH>/<biome>/<tile id>.tif``."""
    return f"{SHARDS_FOLDER}/{tile.hemisphere}/{tile.biome}/{tile.id}.tif"


def label_name(tile: Tile, labeler: str) -> str:
    """Path of a tile's label in its data set: ``labels/<labeler>/<EH|WH>/<biome>/<tile id>.tif``."""
    return f"{LABELS_FOLDER}/{labeler}/{tile.hemisphere}/{tile.biome}/{tile.id}.tif"


def grid_of(tile: Tile) -> RasterGrid:
    return RasterGrid(tile.crs, tile.transform, tile.shape)


def encode_shard(
    pixels: NDArray[np.uint16], tile: Tile, tags: Mapping[str, str], titles: Mapping[str, str] | None = None
) -> bytes:
    """The shard of a tile as the bytes of a GeoTIFF.

    Args:
        pixels: uint16 (bands, H, W) in the order of ``SHARD_BANDS``, stored values, 0 = no data.
        tags: provenance; values are one line of text each.
        titles: of bands that measure something else than their usual one says.
    """
    named = titles or {}
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
    check_libraries()
    with fixed_options(), MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(pixels)
            file.descriptions = SHARD_BANDS
            file.units = tuple(BANDS[b].unit for b in SHARD_BANDS)
            file.scales = tuple(BANDS[b].scale for b in SHARD_BANDS)
            file.offsets = tuple(BANDS[b].offset for b in SHARD_BANDS)
            file.update_tags(**tags)
            for number, name in enumerate(SHARD_BANDS, start=1):
                file.update_tags(number, TITLE=named.get(name, BANDS[name].title))
        return bytes(memory.read())


def encode_layer(pixels: NDArray[np.generic], tile: Tile, layer: Layer, tags: Mapping[str, str]) -> bytes:
    """What lies beside a shard as the bytes of a GeoTIFF.

    Args:
        pixels: (bands, H, W) of the layer's type, stored values.
        tags: provenance; values are one line of text each.
    """
    height, width = tile.shape
    assert pixels.shape == (len(layer.bands), height, width), pixels.shape
    profile = {
        **_SHARD_LAYOUT,
        "dtype": layer.dtype,
        "nodata": layer.nodata,
        "predictor": 2 if layer.product is None else 1,
        "count": len(layer.bands),
        "height": height,
        "width": width,
        "blockysize": height,
        "crs": tile.crs,
        "transform": tile.affine,
    }
    check_libraries()
    with fixed_options(), MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(pixels)
            file.descriptions = layer.bands
            if layer.product is None:
                file.units = tuple(BANDS[b].unit for b in layer.bands)
                file.scales = tuple(BANDS[b].scale for b in layer.bands)
            file.update_tags(**tags)
        return bytes(memory.read())


def read_layer(path: Place, layer: Layer, *, sha256: str) -> NDArray[np.generic]:
    """Stored values of what lies beside a shard: (bands, H, W) of the layer's type.

    Args:
        sha256: that the file must have, by the layer's ledger.

    Raises:
        DataError: the file is missing, damaged or another one, or holds a code that the map does not have.
    """
    again = f"run '{layer.command}' again"
    content = read_content(path)
    read_checked(path, content, sha256, remedy=again)
    with open_raster(path, content) as file:
        if file.descriptions != layer.bands or set(file.dtypes) != {layer.dtype}:
            raise DataError(f"{path} is no file of {layer.name}; {again}")
        pixels: NDArray[np.generic] = file.read()
    if unknown := layer.unknown(pixels):
        raise DataError(f"{path} holds codes {unknown}, which {layer.name} does not have; {again}")
    return pixels


def write_label(
    path: Path, codes: NDArray[np.uint8], tile: Tile, tags: Mapping[str, str], classes: ClassTable = DYNAMIC_WORLD
) -> str:
    """Write the label of a tile, with the colours of its classes; the SHA-256 of the file.

    A file that holds these bytes already is left alone.

    Args:
        codes: uint8 (H, W), codes of the class table: 0 unmarked, 1..n the classes, n + 1 ignored.
    """
    content = encode_label(codes, tile, tags, classes)
    if not _holds(path, content):
        write_atomically(path, content)
    return sha256_of(content)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def encode_label(
    codes: NDArray[np.uint8], tile: Tile, tags: Mapping[str, str], classes: ClassTable = DYNAMIC_WORLD
) -> bytes:
    """The label of a tile as the bytes of a GeoTIFF; arguments as of ``write_label``."""
    if classes is not DYNAMIC_WORLD:
        named = " ".join(f"{code}={name}" for code, name in enumerate(classes.code_names))
        tags = {**tags, "CLASSES": named, "CLASS_TABLE": classes.hash}
    height, width = tile.shape
    profile = {
        **_LABEL_LAYOUT,
        "height": height,
        "width": width,
        "blockysize": height,
        "crs": tile.crs,
        "transform": tile.affine,
    }
    check_libraries()
    with fixed_options(), MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(codes, 1)
            file.write_colormap(1, classes.code_colours)
            file.set_band_description(1, LABEL_BAND)
            file.update_tags(**tags)
        return bytes(memory.read())


@contextmanager
def open_raster(place: Place, content: bytes | None = None) -> Iterator[DatasetReader]:
    """An open GeoTIFF, local or at a URL (which is read as a whole, by one request).

    What fails inside the ``with`` statement is taken for damage of this file: read one file at a time.

    Args:
        content: of the file, where it was read already.

    Raises:
        DataError: the file is missing, empty, no raster, or damaged (also while it is read from).
        MachineError: GDAL or PROJ does not work here.
    """
    if isinstance(place, Remote):
        content = read_content(place) if content is None else content
    elif content is None and not place.is_file():
        raise DataError(f"{place} does not exist")
    with ExitStack() as stack:
        stack.enter_context(fixed_options())
        memory = None if content is None else stack.enter_context(MemoryFile(content))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                file = stack.enter_context(rasterio.open(place) if memory is None else memory.open())
        except RasterioError as error:
            check_machine()
            raise DataError(f"{place} is not a readable raster: {plain_cause(error)}") from None
        try:
            yield file
        except RasterioError as error:
            check_machine()
            raise DataError(f"{place} is damaged and cannot be read to its end: {plain_cause(error)}") from None


_IN_MEMORY = re.compile(r"(/vsimem/)?([0-9a-f-]{36}/)?[0-9a-f-]{36}\.tif(: |, |:)?")


def plain_cause(error: RasterioError) -> str:
    """What GDAL said, without the name of a file in memory, which is drawn by chance."""
    return _IN_MEMORY.sub("", str(error.__cause__ or error))


def read_content(place: Place) -> bytes:
    """Bytes of a shard or label, local or at a URL.

    Raises:
        DataError: there is no such file.
        ServiceError, AuthenticationError: the server cannot be reached or refuses access.
    """
    try:
        return place.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{place} does not exist") from None
    except OSError as error:
        raise unreadable(place, error) from None


def unreadable(place: Place, error: OSError) -> MachineError:
    """The error of a file that is there and that this process cannot read: nothing is known of its content."""
    return MachineError(
        f"cannot read {place}: {error.strerror or error}; look at its permissions and at the disk, then run again"
    )


def header_of(file: DatasetReader) -> ShardHeader:
    """What an open raster says about itself.

    Raises:
        MachineError: PROJ does not work here, so that no CRS is known.
    """
    epsg = file.crs.to_epsg() if file.crs else None
    if epsg is None:
        check_libraries()
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
        lossy=lossy_compression(file),
    )


def lossy_compression(file: DatasetReader) -> str:
    """Name of the compression of a raster where it changes values; empty where it does not.

    Source: GDAL's page of the GTiff driver, metadata domain ``IMAGE_STRUCTURE``.
    """
    structure = file.tags(ns="IMAGE_STRUCTURE")
    name: str = structure.get("COMPRESSION", "")
    lossy = (
        "JPEG" in name
        or structure.get("COMPRESSION_REVERSIBILITY", "").startswith("LOSSY")
        or float(structure.get("MAX_Z_ERROR", 0)) > 0
    )
    return name if lossy else ""


def read_header(path: Place) -> ShardHeader:
    """Grid, bands and tags of a raster.

    Raises:
        DataError: the file is missing or no raster.
    """
    with open_raster(path) as file:
        return header_of(file)


def read_bands(path: Place, bands: Sequence[str], *, sha256: str | None = None) -> NDArray[np.uint16]:
    """Stored values of some bands of a shard, found by name.

    Args:
        sha256: that the file must have, by the ledger (empty: the ledger says nothing); None = not checked.

    Returns:
        uint16 (bands, H, W), 0 = no data.

    Raises:
        DataError: the file is missing, damaged or another one, or a band is not in it.
    """
    content = read_content(path)
    if sha256 is not None:
        read_checked(path, content, sha256, remedy="run 'dwplus validate', then 'dwplus build'")
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


def read_codes(path: Place, *, sha256: str | None = None) -> NDArray[np.uint8]:
    """Released codes of a label raster: uint8 (H, W), 0..10.

    Args:
        sha256: that the file must have, by the manifest (empty: it says nothing); None = not checked.

    Raises:
        DataError: the file is missing, damaged or another one, or holds something else than codes.
    """
    content = read_content(path)
    if sha256 is not None:
        read_checked(path, content, sha256, remedy="run 'dwplus validate', then 'dwplus labels index'")
    with open_raster(path, content) as file:
        if file.dtypes[0] != "uint8":
            raise DataError(f"{path} holds {file.dtypes[0]} instead of uint8 codes; run 'dwplus labels index'")
        codes: NDArray[np.uint8] = file.read(1)
        return codes
