"""Licences and citations: what users of labels and pixels have to state."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, timedelta
from typing import Literal

from .recipe import Recipe
from .sources import Source

CITATIONS: dict[str, str] = {
    "labels, training": "Tait, A.M., Brumby, S.P., Hyde, S.B., Mazzariello, J., Corcoran, M. (2021): Dynamic World "
    "training dataset for global land use and land cover categorization of satellite imagery. PANGAEA, "
    "https://doi.org/10.1594/PANGAEA.933475 (CC BY 4.0)",
    "labels, test": "Dynamic World test tiles, expert consensus. Zenodo, https://doi.org/10.5281/zenodo.4766508 "
    "(CC BY 4.0)",
    "Dynamic World": "Brown, C.F., Brumby, S.P., Guzder-Williams, B. et al. (2022): Dynamic World, Near real-time "
    "global 10 m land use land cover mapping. Scientific Data 9, 251, https://doi.org/10.1038/s41597-022-01307-4",
    "Dynamic World+": "Yu, H., Li, G., Liu, H., Zhu, S., Dong, W., Li, C. (2024): SpecSAR-Former: A Lightweight "
    "Transformer-based Network for Global LULC Mapping Using Integrated Sentinel-1 and Sentinel-2. "
    "https://arxiv.org/abs/2410.03962",
    "pixels": "Contains modified Copernicus Sentinel data, processed by Earth Engine (COPERNICUS/S2_SR_HARMONIZED, "
    "COPERNICUS/S1_GRD or S1_GRD_FLOAT)",
}
"""What has to be cited, by what it is for."""


LabelMaker = Literal["synthetic", "dynamic-world", "user-supplied"]
"""Who made a label: the synthetic planet, the publishers of Dynamic World, or a user."""

_PIXELS = {
    True: "SANDBOX: synthetic pixels, no Copernicus data",
    False: "Contains modified Copernicus Sentinel data {years}",
}
"""What users of pixels have to state, by whether they are synthetic."""

_LABELS: dict[LabelMaker, str] = {
    "synthetic": "synthetic labels",
    "dynamic-world": "labels CC BY 4.0 (Tait et al. 2021, doi 10.1594/PANGAEA.933475; Brown et al. 2022, doi "
    "10.1038/s41597-022-01307-4)",
    "user-supplied": "user-supplied labels keep the licence of their makers",
}


def released_maker(source: str) -> LabelMaker:
    """Who made released labels, as far as the source of the pixels tells: a synthetic planet has its own releases."""
    return "synthetic" if Source.of(source).synthetic else "dynamic-world"


def licence_between(source: str, first_day: date, last_day: date, labels: Collection[LabelMaker] = ()) -> str:
    """What users have to state about pixels whose scenes lie between two days, both inclusive.

    Args:
        labels: who made the labels beside them; empty = those that are released with pixels of this source.
    """
    years = " to ".join(sorted({str(first_day.year), str(last_day.year)}))
    if not labels or set(labels) == {released_maker(source)}:
        return Source.of(source).licence.format(years=years)
    words = (_LABELS[maker] for maker in _LABELS if maker in labels)
    return "; ".join((_PIXELS[Source.of(source).synthetic].format(years=years), *words))


def licence_of(
    source: str, dates: Sequence[date], recipe: Recipe | None = None, labels: Collection[LabelMaker] = ()
) -> str:
    """What users have to state about many tiles, by the days of their labels and the makers of these."""
    windows = [(recipe or Recipe()).window(day) for day in (min(dates), max(dates))]
    return licence_between(source, windows[0][0], windows[1][1] - timedelta(days=1), labels)
