"""What any Zarr library sees of the training store: variables, coordinates and attributes, after the CF conventions.

``xarray.open_zarr(root / "store.zarr")`` shows reflectance, decibel and class indices by tile, with where and when each
tile is. Pure: the metadata come out as bytes by file name; ``store`` writes them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..spec.bands import BANDS, NODATA, S1_BANDS, S2_BANDS
from ..spec.classes import IGNORE, ClassTable
from ..spec.radar import Radar
from ..spec.sources import Source
from ..spec.tiles import locate
from ..spec.version import __version__
from ..spec.words import count_of
from .manifest import ManifestRow
from .zarr_chunks import BLOSC_LEVEL, need

TILES_PER_FILE = 16
"""About 70 MB a file: few files for 20,000 tiles (5,000), and little to write again where one tile changes."""


@dataclass(frozen=True)
class Variable:
    """One array of the store; a chunk is one tile.

    Attributes:
        bands: what it holds, in order; empty for the label.
        band_axis: name of its axis of bands; empty where there is none.
    """

    name: str
    bands: tuple[str, ...]
    band_axis: str
    dtype: str

    @property
    def dimensions(self) -> tuple[str, ...]:
        return ("tile", *([self.band_axis] if self.band_axis else []), "y", "x")

    def size(self, shape: tuple[int, int]) -> tuple[int, ...]:
        """Shape of one tile's values: (bands, H, W), or (H, W)."""
        return (*([len(self.bands)] if self.band_axis else []), *shape)

    def key(self, number: int) -> str:
        """Name of a file of chunks in the store."""
        return "/".join([self.name, "c", str(number), *["0"] * (len(self.dimensions) - 1)])


S2 = Variable("s2", S2_BANDS, "s2_band", "uint16")
S1 = Variable("s1", S1_BANDS, "s1_band", "uint16")
S1_N = Variable("s1_n", ("S1_N",), "", "uint16")
LABEL = Variable("label", (), "", "uint8")
VARIABLES = (S2, S1, S1_N, LABEL)


@dataclass(frozen=True)
class Facts:
    """What the store is about.

    Attributes:
        rows: tiles in the order of the store.
        source: where the pixels came from: ``earthengine``, ``SANDBOX`` or ``UNVERIFIED <host>``.
        recipe: hash of the recipe.
        licence: what users have to say.
        shards_hash: changes with any shard or label.
        classes: of the labels.
        radars: how Sentinel-1 of a user was made; empty where a recipe made it.
    """

    rows: Sequence[ManifestRow]
    source: str
    recipe: str
    licence: str
    shards_hash: str
    classes: ClassTable
    radars: tuple[Radar, ...] = ()

    @property
    def attributes(self) -> dict[str, Any]:
        return {
            "Conventions": "CF-1.11",
            "title": f"Dynamic World+ training store, {count_of(len(self.rows), 'tile')}"
            + (" [SANDBOX: synthetic pixels]" if Source.of(self.source).synthetic else ""),
            "source": self.source,
            "license": self.licence,
            "recipe": self.recipe,
            "shards_hash": self.shards_hash,
            "dwplus_version": __version__,
            "comment": "grid of a tile: EPSG code epsg, upper left corner (x_min, y_max) in metres, pixels of 10 m",
        }


def view_files(facts: Facts, *, complete: bool) -> dict[str, bytes]:
    """Metadata and coordinates of the store, by file name relative to it.

    Args:
        complete: whether all files of chunks fit these coordinates.
    """
    zarr = need("zarr")
    memory: dict[str, Any] = {}
    attributes = {**facts.attributes, "complete": complete}
    with warnings.catch_warnings():
        # Consolidated metadata are not in the specification yet; xarray warns where they are missing.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        group = zarr.create_group(zarr.storage.MemoryStore(memory), zarr_format=3, attributes=attributes)
        for variable in VARIABLES:
            _add_variable(zarr, group, variable, facts)
        for name, (axis, values, about) in _coordinates(facts.rows).items():
            _add_coordinate(group, name, axis, values, about)
        zarr.consolidate_metadata(group.store)
    return {name: content.to_bytes() for name, content in memory.items()}


def _add_variable(zarr: Any, group: Any, variable: Variable, facts: Facts) -> None:
    size = variable.size(facts.rows[0].tile.shape)
    width = np.dtype(variable.dtype).itemsize
    blosc = zarr.codecs.BloscCodec(cname="lz4", clevel=BLOSC_LEVEL, shuffle="bitshuffle", typesize=width)
    group.create_array(
        variable.name,
        shape=(len(facts.rows), *size),
        dtype=variable.dtype,
        chunks=(1, *size),
        shards=(TILES_PER_FILE, *size),
        compressors=[blosc, zarr.codecs.Crc32cCodec()],
        fill_value=IGNORE if variable is LABEL else NODATA,
        dimension_names=variable.dimensions,
        attributes=_about(variable, facts),
    )


def _about(variable: Variable, facts: Facts) -> dict[str, Any]:
    """CF attributes. Source: CF conventions 1.11, 8.1 (packed data) and 3.5 (flags)."""
    near = {"coordinates": "lon lat date split_strict split_paper region biome labeler epsg x_min y_max"}
    if variable is LABEL:
        classes = facts.classes
        flags = {"flag_values": list(range(len(classes))), "flag_meanings": " ".join(classes.names)}
        return {"long_name": "land cover class index", "_FillValue": IGNORE, **flags, **near}
    band = BANDS[variable.bands[0]]
    radar = "; ".join(map(str, facts.radars)) or "mean sigma0 over 360 days"
    names = {"s2": "surface reflectance", "s1": radar, "s1_n": band.title}
    about = {"long_name": names[variable.name], "units": "1" if band.unit in ("reflectance", "count") else band.unit}
    return {**about, "scale_factor": band.scale, "add_offset": band.offset, "_FillValue": NODATA, **near}


def _coordinates(rows: Sequence[ManifestRow]) -> dict[str, tuple[str, NDArray[Any], dict[str, Any]]]:
    """(axis, values, attributes) by name."""
    tiles = [row.tile for row in rows]
    locate(tiles)
    days = np.array([tile.date for tile in tiles], dtype="datetime64[D]").astype(np.int32)
    degrees = {"lon": "degrees_east", "lat": "degrees_north"}
    centres = np.array([tile.centre for tile in tiles], dtype=np.float64)
    places = {
        name: ("tile", centres[:, i], {"units": units, "long_name": f"{name} of the tile's centre"})
        for i, (name, units) in enumerate(degrees.items())
    }
    numbers: dict[str, NDArray[Any]] = {
        "biome": np.array([tile.biome for tile in tiles], dtype=np.int32),
        "epsg": np.array([int(tile.crs.removeprefix("EPSG:")) for tile in tiles], dtype=np.int32),
        "x_min": np.array([tile.bounds[0] for tile in tiles], dtype=np.float64),
        "y_max": np.array([tile.bounds[3] for tile in tiles], dtype=np.float64),
    }
    words = {
        "tile": [tile.id for tile in tiles],
        "region": [tile.region for tile in tiles],
        "split_strict": [row.split_strict for row in rows],
        "split_paper": [row.split_paper for row in rows],
        "labeler": [row.labeler for row in rows],
    }
    return {
        **{name: ("tile", np.array(text, dtype=object), {}) for name, text in words.items()},
        **places,
        "date": ("tile", days, {"units": "days since 1970-01-01", "calendar": "proleptic_gregorian"}),
        **{name: ("tile", values, {}) for name, values in numbers.items()},
        "s2_band": ("s2_band", np.array(S2_BANDS, dtype=object), {}),
        "s1_band": ("s1_band", np.array(S1_BANDS, dtype=object), {}),
    }


def _add_coordinate(group: Any, name: str, axis: str, values: NDArray[Any], about: dict[str, Any]) -> None:
    kind = "string" if values.dtype == object else values.dtype
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=kind,
        chunks=values.shape,
        dimension_names=(axis,),
        attributes=about,
    )
    array[:] = values
