"""Recipe: how the pixels of a tile are chosen and averaged; two shards of one recipe can be used side by side.

Sources: paper, section III; catalogue pages of COPERNICUS/S2_SR_HARMONIZED, COPERNICUS/S1_GRD and
COPERNICUS/S1_GRD_FLOAT.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

from ..errors import DataError, in_brief
from .bands import S1_BANDS, S2_BANDS

S2_COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"

FIRST_S2_DAY = date(2015, 6, 27)
"""First day of Sentinel-2A's images; a label cannot be older."""

S1_COLLECTIONS: dict[str, str] = {"dB": "COPERNICUS/S1_GRD", "linear": "COPERNICUS/S1_GRD_FLOAT"}


S1_FILL = -999.0
"""Value of VV and VH where no scene has a pixel: far below every backscatter (0 dB is a legal value)."""


S2_SHIFT = 1
"""The request adds this to every valid DN, so that a masked pixel (0) differs from a valid DN of 0."""


REQUEST_BANDS: tuple[str, ...] = (*S2_BANDS, *S1_BANDS, "S1_N")


S1_BORDER_NOISE_UNTIL = date(2018, 3, 1)
"""Sentinel-1 scenes before this day may have noise along their edges, in range and in azimuth, which no threshold tells
from calm water. Source: Stasolla and Neyt 2018, An Operational Tool for the Automatic Detection and Removal of Border
Noise in Sentinel-1 GRD Products, Sensors 18(10), 3454."""


S1_EDGE_M = (1, 50_000)
"""Least and largest width of an edge that can be masked, metres; a scene is about 170 km x 250 km."""


MeanDomain = Literal["dB", "linear"]


OrbitPass = Literal["ASCENDING", "DESCENDING"]


@dataclass(frozen=True)
class Recipe:
    """How pixels are requested, besides the tile; two shards with the same recipe can be used side by side.

    Attributes:
        half_window_days: Sentinel-1 is averaged over [date - n, date + n) days; the paper takes 360 days centred on
            the label, and filterDate's end is exclusive.
        s1_mean: ``dB`` averages sigma0 in dB over S1_GRD, ``linear`` averages power over S1_GRD_FLOAT and then takes
            10 log10. The paper does not say; the two differ by 0.5-1 dB and never mix.
        s1_passes: orbit directions that enter the mean.
        s1_max_scenes: at most this many scenes enter the mean, spread evenly over the passes found; None = all.
        s1_edge_m: of scenes before ``S1_BORDER_NOISE_UNTIL``, pixels closer than this to the edge of the scene's
            footprint are masked before the mean; None = they are used, as the paper does.
    """

    half_window_days: int = 180
    s1_mean: MeanDomain = "dB"
    s1_passes: tuple[OrbitPass, ...] = ("ASCENDING", "DESCENDING")
    s1_max_scenes: int | None = None
    s1_edge_m: int | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The fields as they are written down; one that was added later and is off is left out, so that recipes without
        it keep their hash and can be read by older versions."""
        content = asdict(self)
        if self.s1_edge_m is None:
            del content["s1_edge_m"]
        return content

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with anything that changes pixels."""
        content = {**self.document, "s2": S2_COLLECTION, "bands": REQUEST_BANDS, "resampling": "bilinear"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def window(self, day: date) -> tuple[date, date]:
        """First day and day after the last one of the Sentinel-1 window."""
        half = timedelta(days=self.half_window_days)
        return day - half, day + half

    @property
    def edge_in_words(self) -> str:
        """What is masked along the edges of Sentinel-1 scenes, for people; empty where nothing is."""
        if self.s1_edge_m is None:
            return ""
        return (
            f"pixels within {edge_text(self.s1_edge_m)} of the edge of a Sentinel-1 scene from before "
            f"{S1_BORDER_NOISE_UNTIL:%B %Y} are masked"
        )


def edge_text(metres: int) -> str:
    """The width of an edge as ``--s1-edge`` takes it: ``2km``, ``1500m``."""
    return f"{metres // 1000}km" if metres % 1000 == 0 else f"{metres}m"


def parse_edge(text: str) -> int:
    """Whole metres of a width with its unit: ``2km``, ``2.5 km``, ``2000m``.

    Raises:
        ValueError: it has no unit, is no whole number of metres, or lies outside ``S1_EDGE_M``.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?(km|m)", text.strip())
    low, high = S1_EDGE_M
    metres = Decimal(found[1]) * (1000 if found[2] == "km" else 1) if found else Decimal(0)
    if metres != int(metres) or not low <= metres <= high:
        raise ValueError(f"{text[:50]!r} is no whole number of metres from {low} to {high:,} with its unit")
    return int(metres)


def s1_sensing_start(index: str) -> str:
    """Start of sensing, ``YYYYMMDDTHHMMSS``, out of a Sentinel-1 ``system:index``
    (``S1A_IW_GRDH_1SDV_<start>_<end>_<orbit>_...``); empty where the index has another form."""
    parts = index.split("_")
    return parts[4] if len(parts) > 4 else ""


def with_border_noise(indices: Iterable[str]) -> tuple[str, ...]:
    """Those of some Sentinel-1 scenes (``system:index``) that were sensed before ``S1_BORDER_NOISE_UNTIL``."""
    until = f"{S1_BORDER_NOISE_UNTIL:%Y%m%d}"
    return tuple(index for index in indices if "" < s1_sensing_start(index) < until)


def recipe_from(values: Mapping[str, Any]) -> Recipe:
    """The recipe that was written down as a mapping of its fields (JSON: tuples are lists).

    Raises:
        DataError: a field is not known, as of a later version, or its value cannot be one.
    """
    unknown = sorted(set(values) - {field.name for field in fields(Recipe)})
    if unknown:
        raise DataError(f"a recipe has no {in_brief(', '.join(unknown))}; it was written by another version of dwplus")
    shown = in_brief(dict(values))
    try:
        fitting: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        recipe = Recipe(**fitting)
        recipe.window(date(2019, 1, 1))
        known = recipe.s1_mean in S1_COLLECTIONS and set(recipe.s1_passes) <= {"ASCENDING", "DESCENDING"}
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{shown} is no recipe: {in_brief(error)}") from None
    if not known:
        raise DataError(f"{shown} is no recipe: unknown mean or pass")
    numbers = [n for n in (recipe.half_window_days, recipe.s1_max_scenes) if n is not None]
    passes = recipe.s1_passes
    if not isinstance(passes, tuple) or not passes or any(type(n) is not int or n < 1 for n in numbers):
        raise DataError(f"{shown} is no recipe: days and scenes are whole numbers from 1 on, passes one or two")
    edge, (low, high) = recipe.s1_edge_m, S1_EDGE_M
    if edge is not None and (type(edge) is not int or not low <= edge <= high):
        raise DataError(f"{shown} is no recipe: s1_edge_m is a whole number of metres from {low} to {high:,}")
    return recipe
