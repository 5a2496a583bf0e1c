"""What a reviewer gets: a GeoPackage for QGIS with regions and tiles, the same as CSV, and a summary.

Comes last. All files appear together: they are written into a folder beside the one asked for, which is then renamed.
"""

from __future__ import annotations

import csv
import io
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely

from ...pipeline.errors import MachineError, UsageError, in_brief
from ...pipeline.files.atomic import cannot_write, write_atomically, write_json
from .styles import add_styles

VERDICT, NOTE = "verdict", "note"
"""Empty columns of regions, for the reviewer."""


@dataclass(frozen=True)
class Layer:
    """A layer of the GeoPackage, and a table.

    Attributes:
        name: of the layer.
        rows: attributes of each feature, all with the same names.
        shapes: polygons in degrees on WGS 84, in the order of the rows.
        description: what it shows.
        style: QML of QGIS.
    """

    name: str
    rows: Sequence[Mapping[str, Any]]
    shapes: Sequence[shapely.Geometry]
    description: str
    style: str


def check_new(folder: Path) -> None:
    """Make sure that a review can be written.

    Raises:
        UsageError: the folder is a file, or holds something that may have been edited.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        raise UsageError(f"{folder} exists and may hold verdicts; name another folder with -o, or move it away")


def write_review(folder: Path, layers: Sequence[Layer], summary: Mapping[str, Any], *, prefix: str) -> Path:
    """Write all files, or none; the GeoPackage.

    Args:
        prefix: of every file's name, ``SANDBOX-`` where pixels are synthetic.

    Raises:
        MachineError: pyogrio is not installed, or the folder cannot be written.
    """
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for layer in layers:
            _append(part / f"{prefix}review.gpkg", layer)
            write_atomically(part / f"{prefix}{layer.name}.csv", _table(layer.rows).encode(), option="-o")
        add_styles(part / f"{prefix}review.gpkg", {layer.name: layer.style for layer in layers})
        write_json(part / f"{prefix}summary.json", dict(summary), option="-o")
        part.replace(folder)
    except ImportError:
        raise MachineError("writing layers needs pyogrio, which is not installed: pip install 'dwplus[own]'") from None
    except sqlite3.Error as error:
        raise cannot_write(folder, OSError(str(error)), option="-o") from None
    except OSError as error:
        raise cannot_write(folder, error, option="-o") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder / f"{prefix}review.gpkg"


def _append(path: Path, layer: Layer) -> None:
    import geopandas
    from pyogrio.errors import DataSourceError

    columns = list(layer.rows[0]) if layer.rows else ["rank"]
    values = {name: [row[name] for row in layer.rows] for name in columns}
    frame = geopandas.GeoDataFrame(values, geometry=list(layer.shapes), crs="EPSG:4326")
    options = {"DESCRIPTION": layer.description, "IDENTIFIER": f"{layer.name}: {layer.description}"}
    try:
        frame.to_file(
            path, driver="GPKG", layer=layer.name, engine="pyogrio", layer_options=options, geometry_type="Polygon"
        )
    except DataSourceError as error:
        raise MachineError(f"cannot write {path.name} ({in_brief(error)}); free some space, or use -o") from None


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]) if rows else ["rank"], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
