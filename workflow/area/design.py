"""The record of a sample: its seed, strata and points, what is known of the map, and the map's hash.

It holds the map's class at each point, so it is not for the interpreter's eyes. Lies beside the points:
``points.gpkg`` has ``points.design.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...pipeline.files.records import read_record


@dataclass(frozen=True)
class DesignStratum:
    """One stratum.

    Attributes:
        probability: that a pixel of it is drawn: points / pixels.
    """

    name: str
    pixels: int
    hectares: float
    points: int
    probability: float


@dataclass(frozen=True)
class DesignClass:
    """One class that may be answered, as mapped; 0 pixels where the map shows it nowhere."""

    code: int
    name: str
    pixels: int
    hectares: float


@dataclass(frozen=True)
class DesignPoint:
    """One point: the centre of a pixel.

    Attributes:
        plotid: number from 1, in an order that says nothing.
        lon, lat: degrees on WGS 84.
        stratum: index of its stratum.
        code: of its class on the map.
        hectares: area of its pixel.
        in_training: lies in a tile that the network was trained on.
    """

    plotid: int
    lon: float
    lat: float
    row: int
    column: int
    stratum: int
    code: int
    hectares: float
    in_training: bool


@dataclass(frozen=True)
class Design:
    """How a sample was drawn.

    Attributes:
        dwplus: version that drew it.
        source: who the map's pixels came from; empty = not known.
        map, map_sha256: name and hash of the map.
        nodata: code of pixels that are not mapped; None = every pixel is.
        area_wkt: area of interest in the map's CRS; empty = the whole raster.
        rare: codes of classes around which the buffer lies.
        standard_error: wanted, of the overall accuracy; None = the number of points was given.
        expected: accuracy that was expected of each stratum.
        unmapped_pixels, unmapped_hectares: of the area of interest.
        training_checked: whether ``in_training`` was looked up.
        no_class: codes by which the map's class table says that a pixel has none: not mapped either.
    """

    dwplus: str
    source: str
    map: str
    map_sha256: str
    nodata: int | None
    area_wkt: str
    seed: int
    buffer_px: int
    rare: tuple[int, ...]
    standard_error: float | None
    minimum: int
    expected: tuple[float, ...]
    strata: tuple[DesignStratum, ...]
    classes: tuple[DesignClass, ...]
    unmapped_pixels: int
    unmapped_hectares: float
    training_checked: bool
    points: tuple[DesignPoint, ...]
    no_class: tuple[int, ...] = ()


def design_file(points: Path) -> Path:
    """Where the design of a file of points lies."""
    return points.with_name(f"{points.stem}.design.json")


def read_design(path: Path) -> Design:
    """The design in a file.

    Raises:
        DataError: it is missing, or was changed since it was written.
    """
    remedy = "name the design of 'dwplus area sample' with --design; without it, points have no probabilities"
    return read_record(path, Design, remedy=remedy)
