"""Licences and citations: what users of labels and pixels have to state."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
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


LabelMaker = Literal["synthetic", "dynamic-world", "user-supplied", "own"]
"""Who made a label: the synthetic planet, the publishers of Dynamic World, or a user: in the form of the released ones
(``user-supplied``), or with classes of their own (``own``)."""


@dataclass(frozen=True, order=True)
class LabelTerms:
    """What users of own labels have to state, as whoever added them says.

    Attributes:
        licence: such as ``CC BY 4.0``; empty = not said.
        citation: such as ``Smith et al. 2023, doi 10.1234/5678``; empty = not said.
    """

    licence: str = ""
    citation: str = ""

    @property
    def words(self) -> str:
        """``labels CC BY 4.0 (Smith et al. 2023)``; what is not said is said to be unknown."""
        if not self.licence:
            return "labels under a licence that their user did not name" + f" ({self.citation})" * bool(self.citation)
        return f"labels {self.licence}" + f" ({self.citation})" * bool(self.citation)


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
    "own": "labels under a licence that their user did not name",
}


def released_maker(source: str) -> LabelMaker:
    """Who made released labels, as far as the source of the pixels tells: a synthetic planet has its own releases."""
    return "synthetic" if Source.of(source).synthetic else "dynamic-world"


def licence_between(
    source: str,
    first_day: date,
    last_day: date,
    labels: Collection[LabelMaker] = (),
    terms: Sequence[LabelTerms] = (),
) -> str:
    """What users have to state about pixels whose scenes lie between two days, both inclusive.

    Args:
        labels: who made the labels beside them; empty = those that are released with pixels of this source.
        terms: of own labels among them.
    """
    years = " to ".join(sorted({str(first_day.year), str(last_day.year)}))
    if not labels or set(labels) == {released_maker(source)}:
        return Source.of(source).licence.format(years=years)
    words = [_LABELS[maker] for maker in _LABELS if maker in labels and not (maker == "own" and terms)]
    words += [one.words for one in terms] if "own" in labels else []
    return "; ".join((_PIXELS[Source.of(source).synthetic].format(years=years), *words))


def licence_of(
    source: str,
    dates: Sequence[date],
    recipe: Recipe | None = None,
    labels: Collection[LabelMaker] = (),
    terms: Sequence[LabelTerms] = (),
) -> str:
    """What users have to state about many tiles, by the days of their labels, the makers of these and their terms."""
    windows = [(recipe or Recipe()).window(day) for day in (min(dates), max(dates))]
    return licence_between(source, windows[0][0], windows[1][1] - timedelta(days=1), labels, terms)
