"""Planets: what a sensor sees at any place and time, as functions of a seed (or of the coordinates alone).

`EarthPlanet` is the synthetic Earth; `PlanePlanet` has planes for bands, so that a shift of a fraction of a pixel can
be measured. Both know nothing of scenes or collections: they are handed a grid and a `Geometry`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .earth import EarthPlanet
from .ground import biome_at
from .plane_planet import PlanePlanet

VERSION = 3
"""Raise it with any change of a pixel, a scene or a label: data of two versions never stand side by side
(docs/planet.md says what each brought)."""


def make_planet(config: Mapping[str, Any]) -> EarthPlanet | PlanePlanet:
    """A planet of ``{"kind": "earth", "seed": 7}`` or ``{"kind": "planes", "origin_x": ..., "origin_y": ...}``.

    Raises:
        ValueError: unknown kind.
    """
    options = dict(config)
    kinds: dict[str, Callable[..., EarthPlanet | PlanePlanet]] = {"earth": EarthPlanet, "planes": PlanePlanet}
    kind = options.pop("kind", None)
    if kind not in kinds:
        raise ValueError(f"unknown kind of planet {kind!r}; choose one of {', '.join(kinds)}")
    return kinds[kind](**options)


def biome_of(lon: float, lat: float) -> int:
    """RESOLVE biome number (1..14) of a place on every planet: that of the nearest real test tile."""
    return int(biome_at(lon, lat))
