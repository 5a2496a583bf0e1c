"""Rules of content: what pixels show. Each takes a ``FileView`` and gives a message, or None where the rule holds.

Thresholds are held against real stacks (haze, water, savanna, the same with an offset) and leave room for deserts and
snow; the table is in ``rules``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from ..spec.bands import BANDS
from ..spec.landcover import CLASS_COUNT, RELEASED_CODES
from ..spec.words import count_of
from .file_view import FileView
from .form_rules import window_of

_GAP = 0.01
_FEW = 0.001
_FEW_MARKED = 0.3

_BRIGHT_DN = 20_000
"""Reflectance 2: above fresh snow and cloud; only glint and defects get there."""

_IMPOSSIBLE_DN = 40_000
"""Reflectance 4: no ground, whatever made it."""

_OFFSET_DN = (940, 1300)
"""Where the darkest pixels of every band lie if 1000 was added: water and shadow have a reflectance of 0 to 0.03, noise
reaches a little below. One band beyond, and nothing is said: bare land without shadow looks like that too."""

_S1_DB = (-45.0, 10.0)
"""Median of VV and VH: calm water in VH reaches -43, cities in VV -3."""

_OBSERVATIONS_A_DAY = 3
"""Sentinel-1 observations of one pixel, most: two satellites, both directions, overlapping orbits and slices."""


def _decibel(stored: int) -> float:
    return BANDS["VV"].physical(stored)


# --- labels -----------------------------------------------------------------------------------------------------------


def codes(view: FileView) -> str | None:
    if view.codes is None:
        return None
    counts = view.code_counts
    found = np.unique(view.codes).tolist() if counts is None else np.flatnonzero(counts).tolist()
    unknown = [value for value in found if value not in RELEASED_CODES]
    listed = ", ".join(f"{value:g}" for value in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
    return f"holds the codes {listed}; a label holds 0..10" if unknown else None


def model_label(view: FileView) -> str | None:
    """A model's classes run from 0 to 8, released codes from 1 to 9: mixed up, every class is the next one."""
    if view.header is None:
        return None
    reasons = []
    if view.header.bands == ("label",):
        reasons.append("its band is named 'label'")
    if view.header.nodata == 255:
        reasons.append("255 is its nodata")
    if view.header.tags.get("classes", "").replace(" ", "").startswith("0water"):
        reasons.append("its tags say 0 = water")
    return f"is the answer of a model, classes 0..8: {', '.join(reasons)}" if reasons else None


def unmarked(view: FileView) -> str | None:
    counts = view.code_counts
    if counts is None or not counts.sum():
        return None
    share = float(counts[1 : CLASS_COUNT + 1].sum() / counts.sum())
    return f"only {share:.1%} of the label is marked" if share < _FEW_MARKED else None


# --- any band ---------------------------------------------------------------------------------------------------------


def empty_band(view: FileView) -> str | None:
    """All values are the no-data value, or none is finite; for every band, also of those without a known name."""
    if view.values is None or view.header is None or view.kind == "label":
        return None
    names = view.bands
    nothing = 0 if view.header.nodata is None else view.header.nodata
    empty = [names[i] or str(i + 1) for i, band in enumerate(view.values) if not _any_valid(band, nothing)]
    if len(empty) == len(names):
        return "has no valid pixel at all: every band is no data everywhere"
    return f"{_bands(empty)} no valid pixel" if empty else None


def _any_valid(band: np.ndarray, nothing: float) -> bool:
    # Counting is twenty times as fast as ``np.any``.
    valid = int(np.count_nonzero(band if nothing == 0 else band != nothing))
    return valid > 0 and not (np.issubdtype(band.dtype, np.floating) and bool(np.isnan(band).all()))


def stuck_band(view: FileView) -> str | None:
    facts = {band: view.facts(band) for band in (*view.s2_bands, *view.s1_bands)}
    stuck = [band for band, f in facts.items() if f.valid > 1 and f.minimum == f.maximum]
    return f"{_bands(stuck)} one value only" if stuck else None


def twin_bands(view: FileView) -> str | None:
    pairs = [*combinations(view.s2_bands, 2), *([("VV", "VH")] if len(view.s1_bands) == 2 else [])]
    # Equal histograms are rare; then, and only then, pixels are compared.
    alike = [
        (a, b) for a, b in pairs if view.facts(a) == view.facts(b) and view.facts(a).minimum < view.facts(a).maximum
    ]
    twins = [f"{a} and {b}" for a, b in alike if np.array_equal(view.stored(a), view.stored(b))]
    return f"{'; '.join(twins)} are the same pixel by pixel" if twins else None


def fill(view: FileView) -> str | None:
    found = [f"{share:.1%} of its values are {value:g}" for value, share in view.fills.items()]
    return f"{', '.join(found)}, which means no data and is not declared" if found else None


def _bands(names: list[str]) -> str:
    return f"band {names[0]} holds" if len(names) == 1 else f"bands {', '.join(names)} hold"


# --- Sentinel-2 -------------------------------------------------------------------------------------------------------


def s2_gaps(view: FileView) -> str | None:
    return _gaps(view, view.s2_bands)


def s1_gaps(view: FileView) -> str | None:
    return _gaps(view, view.s1_bands)


def _gaps(view: FileView, bands: tuple[str, ...]) -> str | None:
    if view.fills:
        return None  # ``fill`` says so
    shares = {band: view.facts(band).missing_share for band in bands}
    wide = {band: share for band, share in shares.items() if _GAP < share < 1}
    if not wide:
        return None
    band = max(wide, key=lambda name: wide[name])
    more = f" ({len(wide)} bands have gaps)" if len(wide) > 1 else ""
    return f"{wide[band]:.0%} of {band} has no data{more}"


def s2_range(view: FileView) -> str | None:
    facts = {band: view.facts(band) for band in view.s2_bands}
    facts = {band: f for band, f in facts.items() if f.valid}
    if not facts:
        return None
    # A shard's scale is that of the request; only what no ground reflects is wrong with it.
    limit = _IMPOSSIBLE_DN if view.kind == "shard" else _BRIGHT_DN
    bright = [band for band, f in facts.items() if f.median > limit]
    if bright:
        median = facts[bright[0]].median
        return f"half of {bright[0]} is above DN {median}, a reflectance of {median / 1e4:.1f}: another scale?"
    largest = max(f.maximum for f in facts.values())
    return f"no DN is above {largest}: an 8-bit picture, or reflectance in another scale?" if largest < 256 else None


def s2_negative(view: FileView) -> str | None:
    if view.kind != "s2" or view.values is None or not np.issubdtype(view.values.dtype, np.signedinteger):
        return None
    nodata = view.header.nodata if view.header is not None else None
    shares = {b: _negative_share(view.values[view.bands.index(b)], nodata) for b in view.s2_bands}
    band = max(shares, key=lambda name: shares[name], default="")
    if not band or shares[band] < 0.05:
        return None
    return f"{shares[band]:.0%} of {band} is below 0: was 1000 subtracted from a scene that did not have it?"


def _negative_share(band: np.ndarray, nodata: float | None) -> float:
    if band.min() >= 0:
        return 0.0
    below = band < 0
    return float(np.mean(below & (band > -5000) & (band != nodata) if nodata is not None else below & (band > -5000)))


def s2_bright(view: FileView) -> str | None:
    """Share of pixels above reflectance 2, of the band that has most of them."""
    facts = {band: view.facts(band) for band in view.s2_bands} if not s2_range(view) else {}
    shares = {
        band: int(view.counts(band)[_BRIGHT_DN:].sum()) / f.valid
        for band, f in facts.items()
        if f.maximum >= _BRIGHT_DN
    }
    band = max(shares, key=lambda name: shares[name], default="")
    if not band or shares[band] < _GAP:
        return None
    return f"{shares[band]:.1%} of {band} is saturated (reflectance above 2)"


def s2_offset(view: FileView) -> str | None:
    floors = [view.facts(band).floor for band in view.s2_bands if view.facts(band).valid]
    if len(floors) < 6 or not all(_OFFSET_DN[0] <= floor <= _OFFSET_DN[1] for floor in floors):
        return None
    dark = f"the darkest pixels of all bands lie at DN {min(floors)}..{max(floors)}"
    return f"{dark}: the +1000 of baseline 04.00 is still in"


# --- Sentinel-1 -------------------------------------------------------------------------------------------------------


def s1_linear(view: FileView) -> str | None:
    return _first(view.s1_bands, lambda band: _linear(view, band))


def _linear(view: FileView, band: str) -> str | None:
    """Backscatter in dB is negative nearly everywhere; power and amplitude never are."""
    facts = view.facts(band)
    if not facts.valid or _decibel(facts.low) < 0 or facts.minimum == facts.maximum:
        return None
    median = _decibel(facts.median)
    unit = "linear power" if median < 5 else "amplitude or DN"
    return f"{band} is never below 0 (median {median:.2f}): {unit}, not dB"


def s1_range(view: FileView) -> str | None:
    return _first(view.s1_bands, lambda band: _out_of_range(view, band))


def _out_of_range(view: FileView, band: str) -> str | None:
    facts = view.facts(band)
    median = _decibel(facts.median)
    if not facts.valid or _linear(view, band) or _S1_DB[0] <= median <= _S1_DB[1]:
        return None
    return f"the median of {band} is {median:.1f} dB, outside {_S1_DB[0]:g}..{_S1_DB[1]:g}: another unit?"


def _first(bands: tuple[str, ...], check: Callable[[str], str | None]) -> str | None:
    return next((message for band in bands if (message := check(band))), None)


def s1_order(view: FileView) -> str | None:
    """Cross-polarised return is 5 to 10 dB weaker than the co-polarised one, on any ground."""
    if len(view.s1_bands) < 2 or s1_linear(view) or s1_range(view):
        return None
    vv, vh = (view.facts(band) for band in ("VV", "VH"))
    if not vv.valid or not vh.valid or vh.median - vv.median <= 100:
        return None
    return f"VH ({_decibel(vh.median):.1f} dB) lies above VV ({_decibel(vv.median):.1f} dB): are they swapped?"


def s1_count(view: FileView) -> str | None:
    """No pixel is seen more often than there are scenes, or than satellites pass."""
    if not view.has("S1_N") or view.header is None or view.kind != "shard":
        return None
    largest, scenes = view.facts("S1_N").maximum, view.header.tags.get("S1_SCENES", "").split()
    if scenes:
        what = f"the {count_of(len(scenes), 'scene')} of its window"
        return f"counts {largest} Sentinel-1 observations, more than {what}" if largest > len(scenes) else None
    try:
        start, end = window_of(view.header.tags)
    except ValueError:
        return None
    most = (end - start).days * _OBSERVATIONS_A_DAY
    return f"counts {largest} observations; {(end - start).days} days hold {most}" if largest > most else None


def s1_pairing(view: FileView) -> str | None:
    """Value and count go together: 0 observations have no value, and every value has observations."""
    if view.kind != "shard" or not view.has("VV", "VH", "S1_N"):
        return None
    if all(view.facts(b).valid == view.facts(b).pixels for b in ("VV", "VH", "S1_N")):
        return None
    seen = {b: view.stored(b) != 0 for b in ("VV", "VH", "S1_N")}
    ghosts = int(np.count_nonzero((seen["VV"] | seen["VH"]) & ~seen["S1_N"]))
    if ghosts:
        return f"{ghosts} pixels have a Sentinel-1 value and 0 observations"
    lost = float(np.mean(seen["S1_N"] & ~(seen["VV"] & seen["VH"])))
    # A few pixels may be masked in one polarisation, or have no logarithm.
    return f"{lost:.1%} of the pixels have observations and no value of VV or VH" if lost > _FEW else None
