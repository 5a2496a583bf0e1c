"""Features of a file of polygons or points, batch by batch: a file of any size in the memory of one batch.

GeoPackage, GeoJSON, Shapefile and FlatGeobuf are read by GDAL (``pyogrio``), GeoParquet by ``pyarrow``, since few
builds of GDAL have it. Comes before ``placing``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from ..errors import DataError, MachineError, UsageError
from ..spec.words import count_of

ENDINGS = (".gpkg", ".geojson", ".json", ".shp", ".fgb", ".parquet", ".geoparquet")
"""Endings of files of features."""

_PARQUET = (".parquet", ".geoparquet")
_AT_ONCE = 1024
"""Features of a batch: with polygons of 10,000 corners each, 160 MB."""

Kind = Literal["polygons", "points"]

_KINDS: dict[str, Kind] = {"Polygon": "polygons", "MultiPolygon": "polygons", "CurvePolygon": "polygons"}
_KINDS |= {"MultiSurface": "polygons", "Point": "points", "MultiPoint": "points"}
_UNDECLARED = {"Unknown", "Geometry", "GeometryCollection"}


@dataclass(frozen=True)
class Layer:
    """One layer of features.

    Attributes:
        name: of the layer in its file; empty where the format has none.
        crs: of the coordinates.
        columns: names of its columns.
        kind: what its geometries are, as declared; None where the file does not say.
    """

    path: Path
    name: str
    crs: pyproj.CRS
    columns: tuple[str, ...]
    kind: Kind | None


@dataclass(frozen=True)
class Batch:
    """Some features.

    Attributes:
        ids: int64 (n), ids of the file; row numbers from 0 in GeoParquet.
        geometries: shapely geometries (n), None where there is none or it cannot be read.
        values: column -> values (n).
    """

    ids: NDArray[np.int64]
    geometries: NDArray[np.object_]
    values: dict[str, list[Any]]


def open_layer(path: Path, name: str = "") -> Layer:
    """What a file of features says about itself.

    Args:
        name: of the layer; needed where there are several.

    Raises:
        DataError: it cannot be read, has no features, no CRS, or is a layer of something else than polygons or points.
        UsageError: it has several layers, or none of that name.
        MachineError: the library that reads it is not installed.
    """
    return _open_parquet(path) if path.suffix.casefold() in _PARQUET else _open_ogr(path, name)


def check_columns(layer: Layer, wanted: Sequence[str]) -> None:
    """Make sure that a layer has columns.

    Raises:
        DataError: it lacks one; says which it has.
    """
    for column in wanted:
        if column not in layer.columns:
            known = ", ".join(layer.columns) or "none"
            raise DataError(f"{layer.path} has no column {column!r}; it has {known}")


def read_batches(layer: Layer, columns: Sequence[str]) -> Iterator[Batch]:
    """The features of a layer with some of its columns, in the order of the file.

    Raises:
        DataError: the file is damaged.
    """
    return _read_parquet(layer, columns) if layer.path.suffix.casefold() in _PARQUET else _read_ogr(layer, columns)


def kind_of(geometries: NDArray[np.object_], layer: Layer) -> Kind | None:
    """What the geometries of a batch are; None where there are none.

    Raises:
        DataError: they are lines, or of several kinds.
    """
    types = {shape.geom_type for shape in geometries if shape is not None}
    kinds = {_KINDS.get(name) for name in types - {"GeometryCollection"}}
    if None in kinds:
        _refuse_kind(layer.path, next(name for name in sorted(types) if name not in _KINDS))
    if len(kinds) > 1:
        raise DataError(f"{layer.path} holds polygons and points; write them into two files, and add both")
    return kinds.pop() if kinds else None


def _refuse_kind(path: Path, geometry: str) -> None:
    raise DataError(f"{path} is a layer of {geometry}; labels are polygons or points: draw areas around the lines")


# GDAL -----------------------------------------------------------------------------------------------------------------


def _pyogrio() -> Any:
    try:
        import pyogrio
    except ImportError:
        raise MachineError(
            "reading polygons and points needs pyogrio, which is not installed: pip install 'dwplus[own]'"
        ) from None
    return pyogrio


def _open_ogr(path: Path, name: str) -> Layer:
    pyogrio = _pyogrio()
    try:
        layers = [str(row[0]) for row in pyogrio.list_layers(path) if row[1] is not None]
        if not layers:
            raise DataError(f"{path} holds no layer with geometries")
        if name and name not in layers:
            raise UsageError(f"{path} has no layer {name!r}; it has {', '.join(layers)}")
        if not name and len(layers) > 1:
            raise UsageError(f"{path} has {len(layers)} layers ({', '.join(layers)}); name one with --layer")
        name = name or layers[0]
        info = pyogrio.read_info(path, layer=name, force_feature_count=False)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.CRSError) as error:
        raise _unreadable(path, error) from None
    declared = str(info["geometry_type"] or "").removesuffix(" Z").removesuffix(" M").removesuffix(" ZM").strip()
    declared = declared.replace("2.5D ", "").replace("3D ", "").replace("Measured ", "")
    if declared not in _KINDS and declared not in _UNDECLARED:
        _refuse_kind(path, declared or "rows without geometry")
    if info["features"] == 0:
        raise DataError(f"{path} holds no features; export it again")
    crs = _crs_of(info["crs"], path)
    return Layer(path, name, crs, tuple(map(str, info["fields"])), _KINDS.get(declared))


def _crs_of(text: Any, path: Path) -> pyproj.CRS:
    if not text:
        raise DataError(
            f"{path} has no CRS, so that nobody knows where it lies; write one into it (a Shapefile needs its .prj; "
            "QGIS: 'Assign projection')"
        )
    try:
        crs = pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError as error:
        raise DataError(f"{path} has a CRS that PROJ does not know ({error})") from None
    if crs.is_engineering:
        raise DataError(f"{path} has a local CRS ({crs.name}), which lies nowhere on the Earth; assign the right one")
    return crs


def _read_ogr(layer: Layer, columns: Sequence[str]) -> Iterator[Batch]:
    pyogrio = _pyogrio()
    try:
        with pyogrio.open_arrow(
            layer.path,
            layer=layer.name,
            columns=list(dict.fromkeys(columns)),
            return_fids=True,
            batch_size=_AT_ONCE,
            use_pyarrow=True,
        ) as (meta, reader):
            geometry = meta["geometry_name"] or "wkb_geometry"
            fid = meta.get("fid_column", "OGC_FID")
            for batch in reader:
                table = {name: batch.column(n) for n, name in enumerate(batch.schema.names)}
                ids = next((table[key] for key in (fid, "OGC_FID", "fid") if key in table), None)
                yield _batch(ids, table[geometry].to_pylist(), {c: table[c].to_pylist() for c in columns})
    except pyogrio.errors.FieldError as error:
        raise DataError(f"{layer.path}: {_plain(error)}") from None
    except (
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        pyogrio.errors.FeatureError,
        pyogrio.errors.GeometryError,
        OSError,
        RuntimeError,
    ) as error:
        raise _unreadable(layer.path, error) from None


def _batch(ids: Any, geometries: list[bytes | None], values: dict[str, list[Any]]) -> Batch:
    numbers = np.arange(len(geometries)) if ids is None else np.asarray(ids.to_pylist(), dtype=np.int64)
    shapes = shapely.from_wkb(np.array(geometries, dtype=object), on_invalid="ignore")
    return Batch(numbers, np.atleast_1d(shapes), values)


def _unreadable(path: Path, error: Exception) -> DataError:
    if not path.exists():
        return DataError(f"{path} does not exist")
    if path.is_file() and path.stat().st_size == 0:
        return DataError(f"{path} is empty (0 bytes); export it again")
    return DataError(f"{path} cannot be read as a file of polygons or points ({_plain(error)}); export it again")


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".;")


# GeoParquet -----------------------------------------------------------------------------------------------------------


def _open_parquet(path: Path) -> Layer:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        file = parquet.ParquetFile(path)
        said = json.loads((file.schema_arrow.metadata or {}).get(b"geo", b"{}"))
        rows, names = file.metadata.num_rows, file.schema_arrow.names
    except (OSError, pyarrow.ArrowException, ValueError) as error:
        raise _unreadable(path, error) from None
    try:
        geometry = said["primary_column"]
        column = said["columns"][geometry]
        encoding, types = column["encoding"], column.get("geometry_types", [])
    except (KeyError, TypeError):
        raise DataError(
            f"{path} is Parquet without geometries (no GeoParquet metadata 'geo'); export it again"
        ) from None
    if encoding != "WKB":
        raise DataError(f"{path} encodes geometries as {encoding!r}; write GeoParquet with the encoding WKB")
    if rows == 0:
        raise DataError(f"{path} holds no features; export it again")
    plain = [str(name).removesuffix(" Z") for name in types]
    for name in plain:
        if name not in _KINDS and name not in _UNDECLARED:
            _refuse_kind(path, name)
    kinds = {_KINDS[name] for name in plain if name in _KINDS}
    # Source: GeoParquet 1.0.0: without a CRS, longitude and latitude; null is one that nobody knows.
    crs = _crs_of(json.dumps(column["crs"]) if column.get("crs") else None if "crs" in column else "OGC:CRS84", path)
    columns = tuple(name for name in names if name != geometry)
    return Layer(path, str(geometry), crs, columns, kinds.pop() if len(kinds) == 1 else None)


def _read_parquet(layer: Layer, columns: Sequence[str]) -> Iterator[Batch]:
    import pyarrow
    import pyarrow.parquet as parquet

    first = 0
    try:
        file = parquet.ParquetFile(layer.path)
        for batch in file.iter_batches(batch_size=_AT_ONCE, columns=[layer.name, *dict.fromkeys(columns)]):
            table = {name: batch.column(n) for n, name in enumerate(batch.schema.names)}
            one = _batch(None, table[layer.name].to_pylist(), {c: table[c].to_pylist() for c in columns})
            yield Batch(one.ids + first, one.geometries, one.values)
            first += len(one.ids)
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(layer.path, error) from None


def named(ids: Sequence[int], *, most: int = 5) -> str:
    """``features 3, 17, 20`` for an error or a reason, the first few by name."""
    listed = ", ".join(map(str, list(ids)[:most]))
    word = "feature" if len(ids) == 1 else "features"
    return f"{word} {listed}" + (f" and {count_of(len(ids) - most, 'other')}" if len(ids) > most else "")
