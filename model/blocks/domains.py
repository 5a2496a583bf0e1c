"""Domains of a network's settings: checked when the settings are made, before anything is built or read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from typing import Any

from ...pipeline.errors import UsageError


def check_domains(
    settings: object,
    *,
    model: str,
    counts: tuple[str, ...] = (),
    rates: tuple[str, ...] = (),
    positive: tuple[str, ...] = (),
) -> None:
    """Refuse settings outside their domain. A tuple, nested or not, is checked number by number.

    Args:
        settings: a settings dataclass.
        model: whose settings they are, for the message.
        counts: names of its fields that are whole numbers from 1 on: channels, blocks, heads, dilations.
        rates: names of those from 0 up to, but not including, 1: shares that dropout or stochastic depth leave out.
        positive: names of those that are finite and above 0: ratios, epsilons.

    Raises:
        UsageError: a number lies outside its domain, or is none.
    """
    for names, fits, wanted in (
        (counts, _is_count, "whole numbers from 1 on are wanted"),
        (rates, _is_rate, "a number from 0 up to, but not including, 1 is wanted"),
        (positive, _is_positive, "a finite number above 0 is wanted"),
    ):
        for name in names:
            _check(getattr(settings, name), fits, f"{model}: {name} is {getattr(settings, name)!r}; {wanted}")


def _check(value: Any, fits: Callable[[Any], bool], message: str) -> None:
    if not all(fits(number) for number in _numbers(value)):
        raise UsageError(message)


def _numbers(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for part in value:
            yield from _numbers(part)
    else:
        yield value


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1


def _is_rate(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 1


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
