"""Values of expressions that are not images or collections, and how ``getInfo`` shows them.

Numbers, strings, booleans, lists, dictionaries and null are Python's own. Dates are milliseconds since 1970, UTC.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import shapely
import shapely.affinity
import shapely.geometry
from shapely.geometry.base import BaseGeometry

from ..refusal import Refusal
from .grid import Projection, crs_of, transformer

WGS84 = "EPSG:4326"
MAX_POINTS = 20_000
"""Points of one geometry: what is done with it takes a second at most."""

UTC_NAMES = (None, "UTC", "GMT", "Zulu", "Etc/UTC", "Etc/GMT", "Etc/GMT+0")
"""Names of the only time zone that there is here."""

EDGE_PARTS = 16
"""An edge of a geometry in a projected CRS becomes this many edges in longitude and latitude."""


@dataclass(frozen=True)
class Date:
    ms: int

    def encoded(self) -> dict[str, Any]:
        return {"type": "Date", "value": self.ms}

    @property
    def when(self) -> datetime:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.ms)


@dataclass(frozen=True)
class DateRange:
    """Half-open range of dates; ``end_ms`` None = for ever."""

    start_ms: int
    end_ms: int | None

    def contains(self, ms: float) -> bool:
        return self.start_ms <= ms and (self.end_ms is None or ms < self.end_ms)

    def encoded(self) -> dict[str, Any]:
        return {"type": "DateRange", "dates": [self.start_ms, self.end_ms]}


@dataclass(frozen=True)
class ErrorMargin:
    value: float | None
    unit: str = "meters"

    def encoded(self) -> dict[str, Any]:
        return {"type": "ErrorMargin", "unit": self.unit, "value": self.value}


@dataclass(frozen=True)
class Geometry:
    """A shape in a CRS.

    Edges are drawn straight in that CRS, those of geodesic geometries too; ``sphere``, which measures, alone follows
    great circles.

    Attributes:
        geodesic: whether the edges are meant as arcs of great circles.
    """

    shape: BaseGeometry
    crs: str = WGS84
    geodesic: bool = False

    def lonlat(self) -> BaseGeometry:
        """The shape in degrees, with more points where edges bend."""
        return self.within(WGS84)

    def within(self, crs: str) -> BaseGeometry:
        """The shape in another CRS; longitudes go on past 180 rather than jump."""
        if crs_of(self.crs) == crs_of(crs):
            return self.shape
        west, south, east, north = self.shape.bounds if not self.shape.is_empty else (0, 0, 0, 0)
        longest = max(east - west, north - south)
        dense = self.shape.segmentize(longest / EDGE_PARTS) if longest > 0 else self.shape
        change = transformer(self.crs, crs)

        def move(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            x, y = change.transform(points[:, 0], points[:, 1])
            return np.column_stack([unwrapped(x) if crs_of(crs).is_geographic else x, y])

        return shapely.transform(dense, move)

    def encoded(self) -> dict[str, Any]:
        encoded: dict[str, Any] = dict(shapely.geometry.mapping(self.shape))
        encoded = {key: _listed(value) for key, value in encoded.items()}
        if self.crs != WGS84:
            encoded["crs"] = {"type": "name", "properties": {"name": self.crs}}
        if encoded["type"] not in ("Point", "MultiPoint"):
            encoded["geodesic"] = self.geodesic
        return encoded


def unwrapped(lon: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Longitudes in one turn: they go on past 180 rather than jump."""
    return np.where(lon < 0, lon + 360.0, lon) if lon.size and np.ptp(lon) > 180 else lon


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple | list) else value


def union_of(geometries: Iterable[Geometry]) -> Geometry:
    """All geometries as one in degrees; geodesic where all are."""
    parts = list(geometries)
    return Geometry(shapely.union_all([part.lonlat() for part in parts]), geodesic=all(part.geodesic for part in parts))


def overlap(first: BaseGeometry, second: BaseGeometry) -> bool:
    """Whether two shapes in degrees meet, on whichever side of the date line each was written."""
    return any(first.intersects(shapely.affinity.translate(second, turn)) for turn in (0.0, 360.0, -360.0))


@dataclass(frozen=True)
class Feature:
    geometry: Geometry | None
    properties: dict[str, Any] = field(default_factory=dict)

    def with_properties(self, properties: dict[str, Any]) -> Feature:
        return Feature(self.geometry, properties)

    def encoded(self) -> dict[str, Any]:
        geometry = None if self.geometry is None else self.geometry.encoded()
        properties = {name: value for name, value in self.properties.items() if name != "system:index"}
        index = {"id": self.properties["system:index"]} if "system:index" in self.properties else {}
        return {"type": "Feature", "geometry": geometry, **index, "properties": encode(properties)}


@dataclass(frozen=True)
class Function:
    """A function of the expression itself, for ``map``."""

    call: Callable[..., Any]
    arity: int


@dataclass(frozen=True)
class ListReducer:
    """``Reducer.toList``, several times side by side: each gathers the values of one column."""

    columns: int = 1
    repeated: bool = False


def parse_date(value: Any, zone: str | None = None) -> Date:
    """A date from ``Date``, milliseconds or ISO 8601 text.

    Raises:
        Refusal: it is none of them.
    """
    if isinstance(value, Date):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return Date(int(value))
    if zone not in UTC_NAMES:
        raise Refusal(f"Date: time zone '{zone}' is not known; the local Earth Engine counts in UTC.", code=501)
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            raise Refusal(f"Date: Bad date/time '{value[:100]}'.") from None
        parsed = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        return Date(round((parsed - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)))
    raise Refusal(f"Date: Cannot make a date of {type_name(value)}.")


def type_name(value: Any) -> str:
    """EE's word for the type of a value."""
    names: dict[type, str] = {bool: "Boolean", int: "Integer", float: "Float", str: "String", list: "List"}
    names |= {dict: "Dictionary<Object>", type(None): "null"}
    return names.get(type(value), type(value).__name__)


MAX_ENCODED = 2_000_000
"""Values in one answer: an expression of a few nodes can name more than fit into memory."""


def check_length(value: Any) -> None:
    """Refuse a result of too many values.

    Raises:
        Refusal: it is too much.
    """
    left, rest = MAX_ENCODED, [value]
    while rest:
        item = rest.pop()
        if isinstance(item, list | dict):
            left -= len(item)
            if left < 0:
                raise Refusal("User memory limit exceeded.")
            rest.extend(item if isinstance(item, list) else item.values())


def encode(value: Any) -> Any:
    """A value as JSON shows it in ``{"result": ...}``."""
    if hasattr(value, "encoded"):
        return value.encoded()
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, np.generic):
        return encode(value.item())
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if value is None or isinstance(value, str | int):
        return value
    raise Refusal(f"A value of type {type_name(value)} cannot be shown.", code=501)


def parse_projection(value: Any) -> Projection:
    """A projection from ``Projection`` or the name of a CRS (then 1 unit to the pixel).

    Raises:
        Refusal: it is neither.
    """
    if isinstance(value, Projection):
        return value
    if isinstance(value, str):
        crs_of(value)
        return Projection(value, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    raise Refusal(f"Projection: Cannot make a projection of {type_name(value)}.")
