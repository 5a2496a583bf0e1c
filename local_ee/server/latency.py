"""Latency: how long an answer is held back, always the same or drawn from a distribution."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ..refusal import Refusal

LONGEST_S = 600.0
"""No answer is held back for longer, whatever was drawn."""

KINDS: dict[str, tuple[str, ...]] = {
    "fixed": ("seconds",),
    "uniform": ("low_s", "high_s"),
    "lognormal": ("median_s", "sigma"),
}
"""Kind of distribution -> its parameters; ``seed`` goes with each. ``sigma`` is that of the logarithm."""

Draw = Callable[[], float]


def latency_of(setting: float | Mapping[str, Any], *, name: str = "latency") -> Draw:
    """A function that gives the next latency in seconds; threads may share it.

    Args:
        setting: seconds, or e.g. ``{"kind": "lognormal", "median_s": 1.0, "sigma": 0.5, "seed": 1}``.
        name: what the setting is called in errors.

    Raises:
        Refusal: it cannot be read.
    """
    if not isinstance(setting, Mapping):
        setting = {"kind": "fixed", "seconds": setting}
    kind = setting.get("kind")
    if kind not in KINDS:
        raise Refusal(f"{name}: unknown kind {kind!r}; known: {', '.join(KINDS)}.")
    given = {key: value for key, value in setting.items() if key not in ("kind", "seed")}
    unknown, missing = sorted(set(given) - set(KINDS[kind])), sorted(set(KINDS[kind]) - set(given))
    if unknown or missing:
        what = f"unknown {', '.join(unknown)}" if unknown else f"missing {', '.join(missing)}"
        raise Refusal(f"{name}: {what}; {kind} has {', '.join(KINDS[kind])} and seed.")
    values = [_number(given[key], f"{name}.{key}") for key in KINDS[kind]]
    seed = setting.get("seed", 0)
    if not isinstance(seed, int):
        raise Refusal(f"{name}.seed: {seed!r} is not a whole number.")
    if kind == "lognormal" and not values[0] > 0:
        raise Refusal(f"{name}.median_s: {values[0]!r} is not above zero.")
    return _sampler(kind, values, random.Random(seed))


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise Refusal(f"{name}: {repr(value)[:80]} is not a number of at least 0.")
    return float(value)


def _sampler(kind: str, values: list[float], rng: random.Random) -> Draw:
    lock = threading.Lock()

    def draw() -> float:
        if kind == "fixed":
            return values[0]
        with lock:
            drawn = (
                rng.uniform(values[0], values[1])
                if kind == "uniform"
                else rng.lognormvariate(math.log(values[0]), values[1])
            )
        return min(drawn, LONGEST_S)

    return draw
