"""Signatures of all server functions, and how arguments are converted to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..refusal import Refusal
from .collection import Collection
from .documents import algorithms_document
from .filters import Filter
from .grid import Projection
from .image import Image, constant_image
from .reducers import Reducer
from .values import (
    Date,
    DateRange,
    ErrorMargin,
    Feature,
    Function,
    Geometry,
    ListReducer,
    parse_date,
    parse_projection,
    type_name,
    union_of,
)


@dataclass(frozen=True)
class Argument:
    name: str
    type: str
    optional: bool
    default: Any


@dataclass(frozen=True)
class Signature:
    """Name and arguments of a server function."""

    name: str
    arguments: tuple[Argument, ...]

    def bind(self, given: dict[str, Any]) -> dict[str, Any]:
        """All arguments by name, converted to their types; optional ones that are missing get their defaults.

        Raises:
            Refusal: an argument is unknown, missing, null or of the wrong type.
        """
        self.check_names(given)
        return {argument.name: self._bind(argument, given) for argument in self.arguments}

    def check_names(self, given: Iterable[str]) -> None:
        """Refuse arguments that the function does not have, and calls that leave out one that it needs."""
        names, known = set(given), {argument.name for argument in self.arguments}
        for name in sorted(names - known):
            raise Refusal(f"{self.name}: Unknown argument '{name[:100]}'. Known: {', '.join(sorted(known))}.")
        for argument in self.arguments:
            if not argument.optional and argument.name not in names:
                raise Refusal(f"{self.name}: Parameter '{argument.name}' is required.")

    def _bind(self, argument: Argument, given: dict[str, Any]) -> Any:
        value = given.get(argument.name)
        if value is not None:
            return convert(self.name, argument, value)
        if argument.optional:
            return argument.default
        if argument.type in ("Object", "<any>"):
            return None
        raise Refusal(f"{self.name}: Parameter '{argument.name}' is required and may not be null.")


@lru_cache(maxsize=1)
def signatures() -> dict[str, Signature]:
    """Every function that the client knows, by name."""
    table = {}
    for row in algorithms_document()["algorithms"]:
        name = row["name"].removeprefix("algorithms/")
        arguments = (
            Argument(item["argumentName"], item["type"], bool(item.get("optional")), _default(item.get("defaultValue")))
            for item in row.get("arguments", ())
        )
        table[name] = Signature(name, tuple(arguments))
    return table


def _default(value: Any) -> Any:
    """Defaults that are objects (error margins) say nothing that this server uses."""
    if isinstance(value, dict) and "type" in value:
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def convert(function: str, argument: Argument, value: Any) -> Any:
    """A value as the type of an argument, by the promotions that Earth Engine makes.

    Raises:
        Refusal: there is none.
    """
    converted = _as_type(argument.type, value)
    if converted is None:
        shown = repr(value)[:100] if isinstance(value, str | int | float | bool | list | dict) else type_name(value)
        raise Refusal(
            f"{function}, argument '{argument.name}': Invalid type.\nExpected type: {argument.type}.\n"
            f"Actual type: {type_name(value)}.\nActual value: {shown}"
        )
    return converted


def _as_type(wanted: str, value: Any) -> Any:
    """The value as a type, None where it cannot be."""
    if wanted.startswith("List"):
        if not isinstance(value, list):
            return None
        item = wanted[len("List<") : -1] if "<" in wanted else "Object"
        converted = [None if part is None and item != "Object" else _as_type(item, part) for part in value]
        return None if item != "Object" and any(part is None for part in converted) else converted
    base = wanted.split("<", 1)[0]
    if wanted == "<any>" or base == "Object":
        return value
    return CONVERSIONS[base](value) if base in CONVERSIONS else value


def _image(value: Any) -> Image | None:
    if isinstance(value, Image):
        return value
    if _number(value) is not None:
        return constant_image([value], ["constant"])
    return None


def _number(value: Any) -> float | None:
    """A number; integers have 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, float) or -(2**63) <= value < 2**63 else float("inf")


def _integer(value: Any) -> int | None:
    number = _number(value)
    return None if number is None or not math.isfinite(number) or number != int(number) else int(number)


def _boolean(value: Any) -> bool | None:
    return bool(value) if isinstance(value, bool | int | float) else None


def _geometry(value: Any) -> Geometry | None:
    if isinstance(value, Geometry):
        return value
    if isinstance(value, Feature | Image):
        return value.geometry
    if isinstance(value, Collection):
        return union_of(element.geometry for element in value.elements if element.geometry is not None)
    return None


def _date(value: Any) -> Date | None:
    return parse_date(value) if isinstance(value, Date | str | int | float) else None


def _projection(value: Any) -> Projection | None:
    return parse_projection(value) if isinstance(value, Projection | str) else None


def _margin(value: Any) -> ErrorMargin | None:
    return ErrorMargin(float(value)) if _number(value) is not None else _instance(ErrorMargin)(value)


def _instance(*kinds: type) -> Callable[[Any], Any]:
    return lambda value: value if isinstance(value, kinds) else None


CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "Image": _image,
    "ImageCollection": _instance(Collection),
    "FeatureCollection": _instance(Collection),
    "Element": _instance(Image, Feature, Collection),
    "Feature": _instance(Feature),
    "String": _instance(str),
    "Number": _number,
    "Float": _number,
    "Integer": _integer,
    "Long": _integer,
    "Boolean": _boolean,
    "Dictionary": _instance(dict),
    "Projection": _projection,
    "Geometry": _geometry,
    "Date": _date,
    "DateRange": _instance(DateRange),
    "ErrorMargin": _margin,
    "Filter": _instance(Filter),
    "Algorithm": _instance(Function),
    "Reducer": _instance(ListReducer, Reducer),
}
"""How a value becomes an argument of a type; types that are not here belong to functions that are not built."""
