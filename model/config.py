"""Settings as frozen dataclasses: from a mapping (JSON, TOML, command line) with every key and type checked, and back.

Networks, training and run folders keep their settings this way; what is saved with a result reads back equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ..pipeline.errors import UsageError, in_brief
from .domains import check_domain

T = TypeVar("T")


def from_mapping(cls: type[T], mapping: Mapping[str, Any], *, where: str) -> T:
    """A settings dataclass out of plain values; lists become tuples, whole numbers become floats where one is meant.

    Args:
        cls: a dataclass.
        mapping: its fields by name; those left out keep their defaults.
        where: what the mapping is, for the message ("profile 'sandbox'").

    Raises:
        UsageError: a key is unknown, or a value is of another type, not among the choices or outside its domain.
    """
    assert is_dataclass(cls)
    hints = _hints(cls)
    known = [field.name for field in fields(cls) if field.init]
    unknown = sorted(set(mapping) - set(known))
    if unknown:
        raise UsageError(
            f"{where}: unknown key {in_brief(', '.join(map(repr, unknown)))}; known are {', '.join(known)}"
        )
    fitted = {key: _fitted(value, hints[key], f"{where}: {key}") for key, value in mapping.items()}
    for key, value in fitted.items():
        check_domain(key, value, where=f"{where}: {key}")
    try:
        return cls(**fitted)
    except (ArithmeticError, IndexError, TypeError, ValueError) as error:
        raise UsageError(f"{where}: these settings do not fit each other ({in_brief(error)})") from error


@cache
def _hints(cls: type) -> dict[str, Any]:
    """Types of a class's fields by name, kept: Python evaluates their text anew on each call, which takes long."""
    return get_type_hints(cls)


def to_mapping(settings: Any) -> dict[str, Any]:
    """Plain values of a settings dataclass, ready for JSON; ``from_mapping`` gives it back."""
    return {field.name: _plain(getattr(settings, field.name)) for field in fields(settings)}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _fitted(value: Any, hint: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return None if value is None else _fitted(value, next(a for a in args if a is not type(None)), where)
    if origin is Literal:
        if value not in args:
            raise UsageError(f"{where} is {in_brief(repr(value), 80)}; choose one of {', '.join(map(str, args))}")
        return value
    if origin is tuple:
        return _fitted_tuple(value, args, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UsageError(f"{where} is {in_brief(repr(value), 80)}; a table of keys and values is wanted")
        return {str(key): _fitted(item, args[1], f"{where}.{key}") for key, item in value.items()}
    if hint is Any or (isinstance(hint, type) and type(value) is hint):
        return value
    if is_dataclass(hint) and isinstance(value, Mapping):
        return from_mapping(hint, value, where=where)  # type: ignore[arg-type]  # the hint is a dataclass here
    if hint is float and type(value) is int and abs(value) < 2**63:
        return float(value)
    raise UsageError(f"{where} is {in_brief(repr(value), 80)}; {getattr(hint, '__name__', hint)} is wanted")


def _fitted_tuple(value: Any, args: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise UsageError(f"{where} is {in_brief(repr(value), 80)}; a list is wanted")
    hints = [args[0]] * len(value) if args[1:] == (Ellipsis,) else list(args)
    if len(hints) != len(value):
        raise UsageError(f"{where} is {in_brief(repr(value), 80)}; {len(hints)} values are wanted")
    return tuple(_fitted(item, hint, f"{where}[{i}]") for i, (item, hint) in enumerate(zip(value, hints, strict=True)))
