"""Files of points: what the interpreter gets, and the answers that come back.

A GeoPackage for QGIS and a CSV for Collect Earth Online; neither says what the map shows, and their order says nothing.
Answers are read from a GeoPackage (or any file of points that GDAL knows), or from a CSV.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...pipeline.errors import DataError, MachineError, in_brief
from ...pipeline.files.atomic import write_atomically
from ...pipeline.own.vectors import check_columns, open_layer, read_batches
from .design import DesignPoint

PLOT, ANSWER, NOTE = "plotid", "answer", "note"
CANNOT_TELL = "cannot tell"
"""Answer of an interpreter who looked and could not decide."""


@dataclass(frozen=True)
class Answer:
    """One row that came back.

    Attributes:
        plotid: None where the row has none.
        answer: as it was written, without outer blanks; empty = none.
        lon, lat: degrees on WGS 84; None where a table has no coordinates.
        where: the row, for messages.
    """

    plotid: int | None
    answer: str
    lon: float | None
    lat: float | None
    where: str


def csv_file(points: Path) -> Path:
    """Where the table for Collect Earth Online lies."""
    return points.with_suffix(".csv")


def write_points(path: Path, points: Sequence[DesignPoint], legend: str) -> None:
    """Write the points for QGIS, with an empty column for the answer.

    Args:
        legend: what may be answered, kept as the description of the layer.

    Raises:
        MachineError: pyogrio is not installed, or the file cannot be written.
    """
    import geopandas

    columns: dict[str, list[Any]] = {PLOT: [p.plotid for p in points], ANSWER: [""] * len(points)}
    columns[NOTE] = [""] * len(points)
    places = geopandas.points_from_xy([p.lon for p in points], [p.lat for p in points])
    frame = geopandas.GeoDataFrame(columns, geometry=places, crs="EPSG:4326")
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "points.gpkg"
        try:
            frame.to_file(part, driver="GPKG", layer="points", engine="pyogrio", layer_options={"DESCRIPTION": legend})
        except ImportError:
            raise MachineError(
                "writing points needs pyogrio, which is not installed: pip install 'dwplus[own]'"
            ) from None
        write_atomically(path, part.read_bytes(), option="-o")


def write_ceo(path: Path, points: Sequence[DesignPoint]) -> None:
    """Write the points as plots of Collect Earth Online.

    Source of the columns: Collect Earth Online's manual, "Plot sample design": LON, LAT, PLOTID, in this order.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["LON", "LAT", "PLOTID"])
    table.writerows([f"{p.lon:.8f}", f"{p.lat:.8f}", p.plotid] for p in points)
    write_atomically(path, text.getvalue().encode(), option="-o")


def read_answers(path: Path, column: str = ANSWER) -> list[Answer]:
    """The rows of a file of points.

    Args:
        column: that holds the answers.

    Raises:
        DataError: it cannot be read, or lacks a column.
    """
    return _of_table(path, column) if path.suffix.casefold() == ".csv" else _of_layer(path, column)


def _of_layer(path: Path, column: str) -> list[Answer]:
    import pyproj

    layer = open_layer(path)
    named = {name.casefold(): name for name in layer.columns}
    check_columns(layer, [column])
    plot = named.get(PLOT)
    if plot is None:
        raise DataError(f"{path} has no column {PLOT!r}, which says which point is which; it has {', '.join(named)}")
    to_degrees = pyproj.Transformer.from_crs(layer.crs, "EPSG:4326", always_xy=True)
    found = []
    for batch in read_batches(layer, [plot, column]):
        rows = zip(batch.ids.tolist(), batch.geometries, batch.values[plot], batch.values[column], strict=True)
        for fid, shape, number, answer in rows:
            if shape is None or shape.geom_type != "Point" or shape.is_empty:
                raise DataError(f"{path}: feature {fid} is no point; export the points of 'dwplus area sample' again")
            lon, lat = to_degrees.transform(shape.x, shape.y)
            found.append(Answer(_number(number), _text(answer), float(lon), float(lat), f"feature {fid}"))
    return found


def _of_table(path: Path, column: str) -> list[Answer]:
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV ({in_brief(error)}); export it again") from None
    if not rows:
        raise DataError(f"{path} holds no rows; export it again")
    named = {name.casefold(): name for name in rows[0] if name}
    for wanted in (PLOT, column.casefold()):
        if wanted not in named:
            raise DataError(f"{path} has no column {wanted!r}; it has {', '.join(named)}")
    lon, lat = named.get("lon", ""), named.get("lat", "")
    return [
        Answer(
            _number(row[named[PLOT]]),
            _text(row[named[column.casefold()]]),
            _degrees(row.get(lon), path, number),
            _degrees(row.get(lat), path, number),
            f"line {number}",
        )
        for number, row in enumerate(rows, start=2)
    ]


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:g}"
    return "" if value is None else str(value).strip()


def _degrees(value: Any, path: Path, line: int) -> float | None:
    if value in (None, ""):
        return None
    try:
        return float(value)
    except ValueError:
        raise DataError(f"{path}: line {line} has the coordinate {value!r}; degrees are wanted") from None
