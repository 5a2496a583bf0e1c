"""Filters of collections: what they let through, and what a catalogue can use of them to look in the right place."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ..refusal import Refusal
from .image import Image
from .values import Date, DateRange, Feature, Geometry, overlap, parse_date

Element = Image | Feature

GEOMETRY_FIELDS = (".all", ".geo", "system:footprint")
"""Fields that stand for the outline of an element."""

NAMES = ("system:index", "PRODUCT_ID")
"""Properties that a catalogue can look scenes up by."""


@dataclass(frozen=True)
class Search:
    """Arguments of ``Catalogue.find``: nothing outside of them can pass the filters they came from.

    Attributes:
        start_ms, end_ms: half-open range of ``system:time_start``.
        region: (west, south, east, north), degrees.
        indices, product_ids: allowed values.
    """

    start_ms: int | None = None
    end_ms: int | None = None
    region: tuple[float, float, float, float] | None = None
    indices: frozenset[str] | None = None
    product_ids: frozenset[str] | None = None

    def within(self, start_ms: int | None, end_ms: int | None) -> Search:
        starts = [ms for ms in (self.start_ms, start_ms) if ms is not None]
        ends = [ms for ms in (self.end_ms, end_ms) if ms is not None]
        return replace(self, start_ms=max(starts, default=None), end_ms=min(ends, default=None))

    def named(self, field: str, values: Iterable[str]) -> Search:
        names = frozenset(values)
        if field == "PRODUCT_ID":
            return replace(self, product_ids=names if self.product_ids is None else self.product_ids & names)
        return replace(self, indices=names if self.indices is None else self.indices & names)


class Filter:
    """Lets elements through or not."""

    def matches(self, element: Element) -> bool:
        raise NotImplementedError

    def narrow(self, search: Search) -> Search:
        """The search without what this filter would refuse anyway; the same search where nothing is known."""
        return search


@dataclass(frozen=True)
class Compare(Filter):
    """``left operator right``, each a property or a value; false where a property is missing.

    Attributes:
        name: function of the expression, e.g. ``Filter.equals``.
        left, right: (property, None) or (None, value).
    """

    name: str
    left: tuple[str | None, Any]
    right: tuple[str | None, Any]

    def matches(self, element: Element) -> bool:
        left, right = _value(element, self.left), _value(element, self.right)
        if left is None or right is None:
            return False
        try:
            return bool(COMPARISONS[self.name](left, right))
        except TypeError:
            return False

    def narrow(self, search: Search) -> Search:
        field, other = self.left[0], self.right[1]
        if self.name == "Filter.dateRangeContains" and self.right[0] == "system:time_start":
            window = self.left[1]
            return search.within(window.start_ms, window.end_ms) if isinstance(window, DateRange) else search
        if self.name == "Filter.intersects" and field in GEOMETRY_FIELDS and isinstance(other, Geometry):
            return replace(search, region=search.region or other.lonlat().bounds)
        if self.name == "Filter.equals" and field in NAMES and isinstance(other, str):
            return search.named(field, [other])
        if self.name == "Filter.inList":
            return _among(search, field, other)
        if self.name == "Filter.listContains":  # what the client makes of ``inList``
            return _among(search, self.right[0], self.left[1])
        return search


def _among(search: Search, field: str | None, values: Any) -> Search:
    if field not in NAMES or not isinstance(values, list):
        return search
    return search.named(field, [item for item in values if isinstance(item, str)])


@dataclass(frozen=True)
class AllOf(Filter):
    filters: tuple[Filter, ...]

    def matches(self, element: Element) -> bool:
        return all(part.matches(element) for part in self.filters)

    def narrow(self, search: Search) -> Search:
        for part in self.filters:
            search = part.narrow(search)
        return search


@dataclass(frozen=True)
class AnyOf(Filter):
    filters: tuple[Filter, ...]

    def matches(self, element: Element) -> bool:
        return any(part.matches(element) for part in self.filters)


@dataclass(frozen=True)
class Not(Filter):
    filter: Filter

    def matches(self, element: Element) -> bool:
        return not self.filter.matches(element)


@dataclass(frozen=True)
class NotNull(Filter):
    properties: tuple[str, ...]

    def matches(self, element: Element) -> bool:
        return all(element.properties.get(name) is not None for name in self.properties)


def compare(name: str, arguments: dict[str, Any]) -> Compare:
    """A binary filter from its arguments: a left field or value, and a right field or value.

    Raises:
        Refusal: one side is given twice or not at all.
    """
    sides = []
    for side in ("left", "right"):
        field, value = arguments.get(f"{side}Field"), arguments.get(f"{side}Value")
        if (field is None) == (value is None):
            raise Refusal(f"{name}: Exactly one of '{side}Field' and '{side}Value' is needed.")
        sides.append((field, _comparable(value)))
    if name == "Filter.dateRangeContains" and sides[0][0] is None and not isinstance(sides[0][1], DateRange):
        raise Refusal(f"{name}: Parameter 'leftValue' must be a DateRange.")
    return Compare(name, sides[0], sides[1])


def _comparable(value: Any) -> Any:
    if isinstance(value, Feature):
        return value.geometry
    if isinstance(value, Image):
        return value.geometry
    return value.ms if isinstance(value, Date) else value


def _value(element: Element, side: tuple[str | None, Any]) -> Any:
    field, value = side
    if field is None:
        return value
    if field in GEOMETRY_FIELDS:
        return element.geometry
    return _comparable(element.properties.get(field))


def _equal(left: Any, right: Any) -> bool:
    return isinstance(left, str) == isinstance(right, str) and left == right


def _intersects(left: Any, right: Any) -> bool:
    if not (isinstance(left, Geometry) and isinstance(right, Geometry)):
        return False
    return overlap(left.lonlat(), right.lonlat())


COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "Filter.equals": _equal,
    "Filter.lessThan": operator.lt,
    "Filter.greaterThan": operator.gt,
    "Filter.inList": lambda left, right: isinstance(right, list) and any(_equal(left, item) for item in right),
    "Filter.listContains": lambda left, right: isinstance(left, list) and any(_equal(item, right) for item in left),
    "Filter.dateRangeContains": lambda left, right: isinstance(left, DateRange) and left.contains(parse_date(right).ms),
    "Filter.intersects": _intersects,
    "Filter.stringContains": lambda left, right: right in left,
    "Filter.stringStartsWith": lambda left, right: left.startswith(right),
    "Filter.stringEndsWith": lambda left, right: left.endswith(right),
}
"""Binary filters by the name of their function."""
