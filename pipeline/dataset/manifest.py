"""The manifest: which tiles the data set consists of, on which grids, in which split, with which label.

Written as GeoParquet (geometry in EPSG:4326, the grid in the tile's own CRS), so that GeoPandas and QGIS open it. Comes
after ``ingest``, which makes rows, and ``splits``, which assigns their splits; before ``export``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import box
from shapely.affinity import translate
from shapely.geometry import MultiPolygon
from shapely.geometry.polygon import orient

from ..errors import DataError, MachineError, UsageError, in_brief
from ..files.atomic import write_atomically
from ..files.paths import inside
from ..spec.classes import DYNAMIC_WORLD, ClassTable, class_table_of
from ..spec.tiles import Tile, in_region, locate

MANIFEST_FILE = "manifest.parquet"

Release = Literal["train", "test", "inspect", "own"]
Protocol = Literal["strict", "paper"]
PROTOCOLS: tuple[Protocol, ...] = ("strict", "paper")
SPLITS = ("train", "val", "test", "inspect")


@dataclass(frozen=True)
class ManifestRow:
    """One tile of the data set.

    Attributes:
        labeler: whose markup is used: ``expert``, ``non_expert``, ``consensus``, ``unknown`` or ``own``.
        release: ``train`` or ``test`` as released; ``inspect`` for user-supplied tiles in the form of released ones;
            ``own`` for labels of users (``dwplus labels add``), which have splits of their own.
        label: label raster, path relative to the data root.
        label_sha256: of the released file that it was read from.
        marked_share: share of pixels (0..1) with one of the classes.
        split_strict, split_paper: ``train``, ``val``, ``test`` or ``inspect``. Under ``paper`` the test tiles serve for
            validation as well (paper, section III).
        s2_index, s2_product_id: what the release says about the label's scene; may be empty.
        discard: reason not to request this tile; empty for all others.
        label_written_sha256: of the file at ``label``; empty where an earlier version, which kept none, wrote it.
        period: ``<first day>/<last day>`` (ISO 8601, both inclusive) in which an own label is true; empty = its day.
        annotator: who drew an own label, as its user says; may be empty.
        added: key of the input (``own/inputs.json``) that an own label came from.
        split_given: split of an own label as its user says; empty = drawn by geographic blocks.
    """

    tile: Tile
    labeler: str
    release: Release
    label: str
    label_sha256: str
    marked_share: float
    s2_index: str = ""
    s2_product_id: str = ""
    split_strict: str = ""
    split_paper: str = ""
    discard: str = ""
    label_written_sha256: str = ""
    period: str = ""
    annotator: str = ""
    added: str = ""
    split_given: str = ""

    @property
    def label_state(self) -> str:
        """Changes with the released label, and with the file that was written from it."""
        return f"{self.label_sha256} {self.label_written_sha256}".rstrip()

    def split(self, protocol: Protocol) -> str:
        return self.split_strict if protocol == "strict" else self.split_paper


@dataclass(frozen=True)
class Manifest:
    """All tiles of one data root, ordered by tile id, and the classes of their labels."""

    rows: tuple[ManifestRow, ...]
    classes: ClassTable = DYNAMIC_WORLD

    @cached_property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with any row, and with nothing else.

        What follows from a grid (region, lon, lat, geometry) is left out: its last digit depends on PROJ's version.
        """
        return _hash_of(_own_columns(self.rows), self.classes)

    def of_split(self, split: str, protocol: Protocol) -> tuple[ManifestRow, ...]:
        """Rows of a split that may be requested; ``val`` of ``paper`` is its test split."""
        wanted = "test" if (split, protocol) == ("val", "paper") else split
        return tuple(row for row in self.rows if row.split(protocol) == wanted and not row.discard)


# --- choosing from it -------------------------------------------------------------------------------------------------


def select(
    rows: Iterable[ManifestRow],
    *,
    region: str = "all",
    biomes: frozenset[int] = frozenset(),
    splits: frozenset[str] = frozenset(),
    limit: int | None = None,
) -> tuple[ManifestRow, ...]:
    """Rows that ``--region``, ``--biome``, ``--split`` and ``--limit`` leave over, in manifest order.

    ``splits`` are those of ``strict``; ``train`` takes the validation tiles along, since they belong to the training
    release. ``limit`` counts tiles that may be requested, drawn evenly from every (region, biome), so that a small
    selection still covers the world; the same call always selects the same tiles.

    Raises:
        UsageError: nothing is left.
    """
    rows = tuple(rows)
    wanted = {"train", "val", *splits} if "train" in splits else set(splits)
    left = [
        row
        for row in rows
        if in_region(row.tile, region)
        and (not biomes or row.tile.biome in biomes)
        and (not wanted or row.split_strict in wanted)
    ]
    if not left:
        raise UsageError(
            f"no tile is left of {len(rows)}: region {region}, biome {_words(biomes)}, split {_words(splits)}; widen "
            "--region, --biome or --split"
        )
    if limit is None:
        return tuple(left)
    chosen = {row.tile.id for row in _in_turn([row for row in left if not row.discard])[:limit]}
    return tuple(row for row in left if row.tile.id in chosen)


def _words(values: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, values))) or "all"


def _in_turn(rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    strata: dict[tuple[str, int], list[ManifestRow]] = defaultdict(list)
    for row in rows:
        strata[row.tile.region, row.tile.biome].append(row)
    ordered = [sorted(strata[key], key=_draw) for key in sorted(strata, key=str)]
    longest = max((len(stratum) for stratum in ordered), default=0)
    # Within a round the strata come in a shuffled order of their own, or a small limit would see one region only.
    rounds = [[stratum[i] for stratum in ordered if i < len(stratum)] for i in range(longest)]
    return [row for one_round in rounds for row in sorted(one_round, key=_draw)]


def _draw(row: ManifestRow) -> bytes:
    return hashlib.sha256(row.tile.id.encode()).digest()


# --- reading and writing ----------------------------------------------------------------------------------------------

METADATA_KEY = b"dwplus"
"""Key of the file's metadata that holds, as JSON, the version of the format, the manifest's hash and that of places."""

MANIFEST_VERSION = 3
"""2: ``label_written_sha256``; 3: class table, own labels. Earlier versions are read too."""

_TILE_COLUMNS = ("dw_id", "crs", "transform", "height", "width", "date", "hemisphere", "biome")
_WRITTEN = "label_written_sha256"
_OF_OWN_LABELS = ("period", "annotator", "added", "split_given")
_PLACE_COLUMNS = ("region", "lon", "lat")
_ROW_COLUMNS = tuple(name for name in ManifestRow.__dataclass_fields__ if name != "tile")
COLUMNS = (*_TILE_COLUMNS, *_PLACE_COLUMNS, *_ROW_COLUMNS, "geometry")
"""Columns of the file, in order."""


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write ``manifest.parquet``: GeoParquet 1.0.0, geometry in EPSG:4326, the grid in each tile's own CRS."""
    import pyarrow
    import pyarrow.parquet as parquet

    content = pyarrow.BufferOutputStream()
    parquet.write_table(_table(manifest), content, compression="zstd")
    path = folder / MANIFEST_FILE
    write_atomically(path, content.getvalue().to_pybytes())
    return path


def _table(manifest: Manifest) -> Any:
    import pyarrow as pa

    tiles = [row.tile for row in manifest.rows]
    own, places = _own_columns(manifest.rows), _place_columns(tiles)
    shapes = geometries_of(tiles)
    geometry = shapely.to_wkb(shapes, byte_order=1).tolist()
    types = {"height": pa.int32(), "width": pa.int32(), "biome": pa.int32(), "date": pa.date32()}
    types |= {name: pa.float64() for name in ("lon", "lat", "marked_share")}
    types |= {"transform": pa.list_(pa.float64()), "geometry": pa.binary()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])
    said = {
        "version": MANIFEST_VERSION,
        "hash": manifest.hash,
        "places": _hash_of_places(places, geometry),
        "files": _hash_of_files(own),
        "classes": manifest.classes.as_dict(),
        "class_table": _hash_of_table(manifest.classes),
    }
    metadata = {b"geo": json.dumps(_geo(shapes)), METADATA_KEY: json.dumps(said)}
    columns = {**own, **places, "geometry": geometry}
    return pa.table([pa.array(columns[f.name], f.type) for f in schema], schema=schema.with_metadata(metadata))


def _geo(shapes: NDArray[np.object_]) -> dict[str, Any]:
    """File metadata ``geo``. Source: GeoParquet specification, version 1.0.0."""
    from pyproj import CRS

    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted({shape.geom_type for shape in shapes}),
        "crs": CRS.from_epsg(4326).to_json_dict(),
        "edges": "planar",
        "orientation": "counterclockwise",
    }
    if len(shapes):
        column["bbox"] = shapely.total_bounds(shapes).tolist()
    return {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": column}}


def geometries_of(tiles: Sequence[Tile]) -> NDArray[np.object_]:
    """Outlines of tiles in degrees, within -180..180, counter-clockwise: a Polygon each.

    A tile that straddles the date line is cut there into a MultiPolygon of two (RFC 7946, 3.1.9).
    """
    locate(tiles)
    corners = np.array([tile.outline for tile in tiles], dtype=np.float64).reshape(-1, 4, 2)
    shapes: NDArray[np.object_] = shapely.polygons(corners)
    for i in np.flatnonzero(np.abs(corners[..., 0]).max(axis=1, initial=0) > 180):
        parts = [
            translate(shapes[i].intersection(box(turn * 360 - 180, -90, turn * 360 + 180, 90)), -360 * turn)
            for turn in (-1, 0, 1)
        ]
        shapes[i] = MultiPolygon([orient(part) for part in parts if part.geom_type == "Polygon" and part.area > 0])
    return shapes


def manifest_csv(manifest: Manifest) -> str:
    """The manifest as CSV: the columns of the GeoParquet file, the geometry as WKT, the transform as six numbers."""
    tiles = [row.tile for row in manifest.rows]
    columns = {**_own_columns(manifest.rows), **_place_columns(tiles)}
    columns["transform"] = [" ".join(f"{number:.12g}" for number in tile.transform) for tile in tiles]
    columns["geometry"] = [shape.wkt for shape in geometries_of(tiles)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(zip(*(columns[name] for name in COLUMNS), strict=True))
    return text.getvalue()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a data root.

    Raises:
        DataError: there is none, it cannot be read, or it was changed by something else than dwplus.
    """
    path = folder / MANIFEST_FILE
    try:
        state = path.stat()
    except OSError:
        raise DataError(f"{folder} holds no data set ({MANIFEST_FILE} is missing); run 'dwplus build' first") from None
    return _read(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=2)
def _read(path: Path, _size: int, _mtime_ns: int) -> Manifest:
    """The manifest in a file as it is now: one command looks at it several times."""
    import pyarrow
    import pyarrow.parquet as parquet

    advice = "delete it and run 'dwplus build' again: labels and shards stay"
    try:
        table = parquet.ParquetFile(path).read()
        said = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
        if not said:
            raise DataError(f"{path} was written by something else, or by an older dwplus (it has no hash); {advice}")
        if said["version"] not in range(1, MANIFEST_VERSION + 1):
            raise DataError(
                f"{path} has format {said['version']}, this dwplus reads {MANIFEST_VERSION}; install the dwplus that "
                f"wrote it, or {advice}"
            )
        for name in (_WRITTEN, *_OF_OWN_LABELS):
            if said["version"] < MANIFEST_VERSION and name not in table.column_names:
                table = table.append_column(name, pyarrow.array([""] * table.num_rows))
        classes = _classes_of(said, path)
        own = {name: table.column(name).to_pylist() for name in (*_TILE_COLUMNS, *_ROW_COLUMNS) if name != "transform"}
        own["transform"] = table.column("transform").combine_chunks().flatten().to_numpy().reshape(-1, 6).tolist()
        places = {name: table.column(name).to_pylist() for name in _PLACE_COLUMNS}
        places_hash = _hash_of_places(places, table.column("geometry").to_pylist())
        found = (_hash_of(own, classes), places_hash, _hash_of_files(own), _hash_of_table(classes))
        recorded = (said["hash"], said["places"], said.get("files", found[2]), said.get("class_table", found[3]))
    except OSError as error:
        if error.errno is not None:
            raise MachineError(
                f"cannot read {path}: {error.strerror or error}; look at its permissions and at the disk"
            ) from None
        raise DataError(f"{path} cannot be read ({in_brief(error)}); {advice}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        raise DataError(f"{path} cannot be read ({in_brief(error)}); {advice}") from error
    if found != recorded:
        raise DataError(
            f"{path} was changed by something else than dwplus (its hash is another); splits, grids and labels belong "
            f"together: work on a copy, {advice}"
        )
    _check_paths(own, path)
    manifest = Manifest(_rows(own, places), classes)
    # Where cached_property keeps it.
    manifest.__dict__["hash"] = found[0]
    return manifest


def _classes_of(said: Mapping[str, Any], path: Path) -> ClassTable:
    """The class table of a manifest; earlier versions had Dynamic World's classes alone."""
    try:
        return class_table_of(said["classes"]) if "classes" in said else DYNAMIC_WORLD
    except DataError as error:
        raise DataError(f"{path}: {error}; delete it, and add the labels again") from None


def _check_paths(own: Mapping[str, list[Any]], path: Path) -> None:
    """A data set may come from anybody: no row names a file outside of it."""
    for tile_id, hemisphere, label in zip(own["dw_id"], own["hemisphere"], own["label"], strict=True):
        if "/" in tile_id or "/" in hemisphere:
            inside("/", where=f"{path}: tile {tile_id[:100]!r}, hemisphere {hemisphere[:20]!r}")
        inside(f"{hemisphere}/{tile_id}", where=f"{path}: tile {tile_id[:100]!r}")
        inside(label, where=f"{path}: the label of tile {tile_id}")


def _rows(own: Mapping[str, list[Any]], places: Mapping[str, list[Any]]) -> tuple[ManifestRow, ...]:
    shapes = zip(own["height"], own["width"], strict=True)
    grids = (own["dw_id"], own["crs"], map(tuple, own["transform"]), shapes)
    tiles = list(map(Tile, *grids, own["date"], own["hemisphere"], own["biome"]))
    for tile, lon, lat in zip(tiles, places["lon"], places["lat"], strict=True):
        # As it was worked out when the file was written; see ``tiles.locate``.
        tile.__dict__["centre"] = (lon, lat)
    return tuple(map(ManifestRow, tiles, *(own[name] for name in _ROW_COLUMNS)))


def _own_columns(rows: Sequence[ManifestRow]) -> dict[str, list[Any]]:
    """What rows hold, by column, as plain Python values: 10 and 10.0 are one number in the file, and in the hash."""
    tiles = [row.tile for row in rows]
    columns: dict[str, list[Any]] = {
        "dw_id": [tile.id for tile in tiles],
        "crs": [tile.crs for tile in tiles],
        "transform": [[float(number) for number in tile.transform] for tile in tiles],
        "height": [int(tile.shape[0]) for tile in tiles],
        "width": [int(tile.shape[1]) for tile in tiles],
        "date": [tile.date for tile in tiles],
        "hemisphere": [tile.hemisphere for tile in tiles],
        "biome": [int(tile.biome) for tile in tiles],
    }
    columns |= {name: [getattr(row, name) for row in rows] for name in _ROW_COLUMNS}
    return columns | {"marked_share": [float(share) for share in columns["marked_share"]]}


def _place_columns(tiles: Sequence[Tile]) -> dict[str, list[Any]]:
    """What follows from grids, by column."""
    locate(tiles)
    return {
        "region": [tile.region for tile in tiles],
        "lon": [tile.centre[0] for tile in tiles],
        "lat": [tile.centre[1] for tile in tiles],
    }


def _hash_of(own: Mapping[str, list[Any]], classes: ClassTable) -> str:
    """Of what the rows say; bytes of written labels depend on the version of GDAL, and are hashed apart.

    Columns and classes that released labels do not need are left out where nothing stands in them: the hash of a
    released data set does not change with the version.
    """
    said = {name: values for name, values in own.items() if name not in _OF_OWN_LABELS or any(values)}
    said = {name: values for name, values in said.items() if name != _WRITTEN}
    plain: dict[str, Any] = {**said, "date": [day.isoformat() for day in own["date"]]}
    if classes.hash != DYNAMIC_WORLD.hash:
        plain["classes"] = classes.hash
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def _hash_of_files(own: Mapping[str, list[Any]]) -> str:
    return hashlib.sha256("\n".join(own[_WRITTEN]).encode()).hexdigest()[:12]


def _hash_of_table(classes: ClassTable) -> str:
    """Of all that the table says, titles and colours too."""
    return hashlib.sha256(json.dumps(classes.as_dict(), sort_keys=True).encode()).hexdigest()[:12]


def _hash_of_places(places: Mapping[str, list[Any]], geometry: Sequence[bytes]) -> str:
    numbers = np.array([places["lon"], places["lat"]], dtype="<f8").tobytes()
    return hashlib.sha256(b"".join(["\n".join(places["region"]).encode(), numbers, *geometry])).hexdigest()[:12]
