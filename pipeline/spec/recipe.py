"""Recipe: how the pixels of a tile are chosen and averaged; two shards of one recipe can be used side by side.

Sources: paper, section III; catalogue pages of COPERNICUS/S2_SR_HARMONIZED, COPERNICUS/S1_GRD and
COPERNICUS/S1_GRD_FLOAT.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date, timedelta
from typing import Any, Literal

from ..errors import DataError
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
    """

    half_window_days: int = 180
    s1_mean: MeanDomain = "dB"
    s1_passes: tuple[OrbitPass, ...] = ("ASCENDING", "DESCENDING")
    s1_max_scenes: int | None = None

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with anything that changes pixels."""
        content = {**asdict(self), "s2": S2_COLLECTION, "bands": REQUEST_BANDS, "resampling": "bilinear"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def window(self, day: date) -> tuple[date, date]:
        """First day and day after the last one of the Sentinel-1 window."""
        half = timedelta(days=self.half_window_days)
        return day - half, day + half


def recipe_from(values: Mapping[str, Any]) -> Recipe:
    """The recipe that was written down as a mapping of its fields (JSON: tuples are lists).

    Raises:
        DataError: a field is not known, as of a later version, or its value cannot be one.
    """
    unknown = sorted(set(values) - {field.name for field in fields(Recipe)})
    if unknown:
        raise DataError(f"a recipe has no {', '.join(unknown)}; it was written by another version of dwplus")
    try:
        fitting: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        recipe = Recipe(**fitting)
        recipe.window(date(2019, 1, 1))
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{dict(values)} is no recipe: {error}") from None
    if recipe.s1_mean not in S1_COLLECTIONS or not set(recipe.s1_passes) <= {"ASCENDING", "DESCENDING"}:
        raise DataError(f"{dict(values)} is no recipe: unknown mean or pass")
    numbers = [n for n in (recipe.half_window_days, recipe.s1_max_scenes) if n is not None]
    if not recipe.s1_passes or any(type(n) is not int or n < 1 for n in numbers):
        raise DataError(f"{dict(values)} is no recipe: days and scenes are whole numbers from 1 on, passes one or two")
    return recipe
