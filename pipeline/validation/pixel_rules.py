"""Rules of content: what pixels show. Each takes a ``FileView`` and gives a message, or None where the rule holds.

Thresholds are held against real stacks (haze, water, savanna, the same with an offset) and leave room for deserts and
snow; the table is in ``rules``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise

import numpy as np

from ..spec.bands import BANDS
from ..spec.recipe import S1_BORDER_NOISE_UNTIL, with_border_noise
from ..spec.sources import Source
from ..spec.words import count_of
from .file_view import FileView, facts_of
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
    classes = view.targets.classes
    unknown = [value for value in found if value not in classes.codes]
    listed = ", ".join(f"{value:g}" for value in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
    return f"holds the codes {listed}; a label holds 0..{classes.ignored_code}" if unknown else None


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
    if counts is None or not counts.sum() or view.own:
        return None
    share = float(counts[1 : view.targets.classes.ignored_code].sum() / counts.sum())
    return f"only {share:.1%} of the label is marked" if share < _FEW_MARKED else None


# --- any band ---------------------------------------------------------------------------------------------------------


def empty_band(view: FileView) -> str | None:
    """All values are the no-data value, or none is finite; for every band but those of a name that is not used."""
    if view.values is None or view.header is None or view.kind == "label":
        return None
    names = view.bands
    nothing = 0 if view.header.nodata is None else view.header.nodata
    # Shards of a data set without Sentinel-1, or without B1, hold nothing in those bands.
    known = view.targets.stored
    used = [i for i, name in enumerate(names) if name in known or not any(names) or not name]
    empty = [names[i] or str(i + 1) for i in used or range(len(names)) if not _any_valid(view.values[i], nothing)]
    if len(empty) == len(used or names):
        return "has no valid pixel at all: every band is no data everywhere"
    return f"{_bands(empty)} no valid pixel" if empty else None


def _any_valid(band: np.ndarray, nothing: float) -> bool:
    # Counting is twenty times as fast as ``np.any``.
    valid = int(np.count_nonzero(band if nothing == 0 else band != nothing))
    return valid > 0 and not (np.issubdtype(band.dtype, np.floating) and bool(np.isnan(band).all()))


def stuck_band(view: FileView) -> str | None:
    """Bands of one value; but for those of dark water that atmospheric correction clamped, see ``clamped_band``."""
    stuck = [band for band in _of_one_value(view) if band not in _clamped(view)]
    return f"{_bands(stuck)} one value only" if stuck else None


def clamped_band(view: FileView) -> str | None:
    clamped = _clamped(view)
    if not clamped:
        return None
    return f"{_bands(clamped)} the smallest value everywhere, as over clear, deep water"


def _of_one_value(view: FileView) -> list[str]:
    facts = {band: view.facts(band) for band in (*view.s2_bands, *view.s1_bands)}
    return [band for band, f in facts.items() if f.valid > 1 and f.minimum == f.maximum]


def _clamped(view: FileView) -> list[str]:
    """Sentinel-2 bands that hold the smallest value only, where the other bands agree that this is water.

    Atmospheric correction leaves no reflectance below 0: over clear sea near and short-wave infrared, and sometimes B1,
    are clamped to DN 0 or 1 in every pixel, while blue and green still vary.
    """
    clamped = [band for band in _of_one_value(view) if band in view.s2_bands and view.facts(band).maximum <= 1]
    return clamped if clamped and _looks_like_water(view) else []


def _nearly_clamped(view: FileView, band: str) -> bool:
    """Whether a band over water holds the smallest value but for some pixels: two such bands may well be the same."""
    facts = view.facts(band)
    return band in view.s2_bands and facts.median <= 1 and _looks_like_water(view)


_VISIBLE = ("B2", "B3", "B4")
_INFRARED = ("B8", "B8A", "B11", "B12")

_WATER_DN = 150
"""Near and short-wave infrared of clear water stay below a reflectance of 0.015 in the median."""


_WATER_FALL = 1.25
"""Least ratio of the brightest visible band and the brightest infrared one, in the median pixel: 10 over clear sea, 1.3
over a dark lake, whose few DN of infrared are what atmospheric correction leaves; below 1 over land."""


def _looks_like_water(view: FileView) -> bool:
    """Whether the spectrum of the median pixel falls as that of water does: some visible light, hardly any infrared.

    Land of any kind, clouds and snow reflect more in near infrared; an 8-bit picture of them does too.
    """
    visible = [view.facts(band) for band in _VISIBLE if band in view.s2_bands]
    infrared = [view.facts(band) for band in _INFRARED if band in view.s2_bands]
    if not visible or not infrared or not all(f.valid for f in (*visible, *infrared)):
        return False
    varies = any(f.minimum < f.maximum for f in visible)
    brightest = max(f.median for f in infrared)
    return varies and brightest <= _WATER_DN and _WATER_FALL * brightest <= max(f.median for f in visible)


def twin_bands(view: FileView) -> str | None:
    pairs = [*combinations(view.s2_bands, 2), *([("VV", "VH")] if len(view.s1_bands) == 2 else [])]
    # Equal histograms are rare; then, and only then, pixels are compared.
    alike = [
        (a, b)
        for a, b in pairs
        if view.facts(a) == view.facts(b)
        and view.facts(a).minimum < view.facts(a).maximum
        and not _nearly_clamped(view, a)
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
    if largest >= _EIGHT_BITS or _looks_like_water(view):
        return None
    return f"no DN is above {largest}: an 8-bit picture, or reflectance in another scale?"


_EIGHT_BITS = 256


def s2_dark(view: FileView) -> str | None:
    facts = [view.facts(band) for band in view.s2_bands]
    largest = max((f.maximum for f in facts), default=_EIGHT_BITS)
    if not largest or largest >= _EIGHT_BITS or not _looks_like_water(view):
        return None
    return f"no DN is above {largest}: clear, deep water, or an 8-bit picture of it"


_LADDER_DN = (200, 40, 40)
"""Least steps of the darkest pixels from B1 to B2, B2 to B3 and B3 to B4 where light scattered by air is still in."""

_RAYLEIGH_DN = 450
"""Least difference of B1 and B4 there: air scatters a reflectance of about 0.1 at 443 nm and of 0.02 at 665 nm."""


def s2_level(view: FileView) -> str | None:
    """Top of the atmosphere: the darkest pixels rise from red to violet, step by step, as scattered light does."""
    if view.kind != "s2" or not {"B1", "B2", "B3", "B4"} <= set(view.s2_bands):
        return None
    floors = [view.facts(band).floor for band in ("B1", "B2", "B3", "B4")]
    steps = [high - low for high, low in pairwise(floors)]
    if any(step < least for step, least in zip(steps, _LADDER_DN, strict=True)) or sum(steps) < _RAYLEIGH_DN:
        return None
    listed = " > ".join(map(str, floors))
    return f"is top-of-atmosphere reflectance (L1C): its darkest pixels of B1, B2, B3, B4 are {listed}"


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
    unit = _linear_unit(view) if median < 5 else "amplitude or DN"
    return f"{band} is never below 0 (median {median:.2f}): {unit}, not dB"


_CROSS_RATIO_DB = (4.5, 13.0)
"""VV above VH in dB, for the median pixel of nearly any ground."""


def _linear_unit(view: FileView) -> str:
    """Power or amplitude: the ratio of VV and VH in dB is that of ground under one of the two only."""
    if not view.has("VV", "VH") or view.values is None:
        return "linear power or amplitude"
    vv, vh = (float(np.nanmedian(view.values[view.bands.index(band)])) for band in ("VV", "VH"))
    if not (vv > 0 and vh > 0):
        return "linear power or amplitude"
    ratio = 10 * np.log10(vv / vh)
    low, high = _CROSS_RATIO_DB
    if ratio < low <= 2 * ratio <= high:
        return "amplitude"
    return "linear power" if low <= ratio <= high else "linear power or amplitude"


def s1_range(view: FileView) -> str | None:
    return _first(view.s1_bands, lambda band: _out_of_range(view, band))


def _out_of_range(view: FileView, band: str) -> str | None:
    median = _decibel(_median_of_ground(view, band))
    if not view.facts(band).valid or _linear(view, band) or _S1_DB[0] <= median <= _S1_DB[1]:
        return None
    return f"the median of {band} is {median:.1f} dB, outside {_S1_DB[0]:g}..{_S1_DB[1]:g}: another unit?"


def _first(bands: tuple[str, ...], check: Callable[[str], str | None]) -> str | None:
    return next((message for band in bands if (message := check(band))), None)


def s1_order(view: FileView) -> str | None:
    """Cross-polarised return is 5 to 10 dB weaker than the co-polarised one, on any ground."""
    found = _vh_above_vv(view)
    return f"{found}: are they swapped?" if found and not _at_noise_floor(view) else None


def s1_noise(view: FileView) -> str | None:
    """Calm water sends nothing back: what is measured there is noise, in VH as strong as in VV or stronger."""
    found = _vh_above_vv(view)
    return f"{found}, both at the noise of the sensor, as over calm water" if found and _at_noise_floor(view) else None


def _vh_above_vv(view: FileView) -> str:
    if len(view.s1_bands) < 2 or s1_linear(view) or s1_range(view):
        return ""
    if not view.facts("VV").valid or not view.facts("VH").valid:
        return ""
    vv, vh = (_median_of_ground(view, band) for band in ("VV", "VH"))
    return f"VH ({_decibel(vh):.1f} dB) lies above VV ({_decibel(vv):.1f} dB)" if vh - vv > 100 else ""


_NOISE_FLOOR_DB = -20.0
"""Noise of IW scenes is -22 dB at most (Sentinel-1 product specification); VV of land lies above in the median."""


def _at_noise_floor(view: FileView) -> bool:
    return all(_decibel(_median_of_ground(view, band)) < _NOISE_FLOOR_DB for band in ("VV", "VH"))


_BORDER_DB = -45.0
"""Below it lies no ground: calm water in VH reaches -43."""

_BORDER_STORED = round((_BORDER_DB - BANDS["VV"].offset) / BANDS["VV"].scale)


def _border_share(view: FileView, band: str) -> float:
    return int(view.counts(band)[1:_BORDER_STORED].sum()) / max(1, view.facts(band).valid)


_GROUND_SHARE = 0.05
"""Least share of a band's pixels that are taken for ground beside noise."""


def _median_of_ground(view: FileView, band: str) -> int:
    """Median as stored, without noise along the edge of a scene, of which a tile may have more than half."""
    if not _GAP < _border_share(view, band) <= 1 - _GROUND_SHARE:
        return view.facts(band).median
    ground = view.counts(band).copy()
    ground[:_BORDER_STORED] = 0
    return facts_of(ground).median


def s1_border(view: FileView) -> str | None:
    """Border noise: along the edges of scenes before March 2018 values far below the noise of the sensor."""
    shares = {band: _border_share(view, band) for band in view.s1_bands}
    band = max(shares, key=lambda name: shares[name], default="")
    if not band or shares[band] <= _GAP or s1_linear(view) or s1_range(view):
        return None
    return f"{shares[band]:.1%} of {band} lies below {_BORDER_DB:g} dB: noise along the edge of a scene"


def s1_early(view: FileView) -> str | None:
    """Scenes of the time of border noise, unless their edges were masked: how many of those in the mean."""
    if view.header is None or view.header.tags.get("S1_EDGE_M"):
        return None
    scenes = view.header.tags.get("S1_SCENES", "").split()
    early = len(with_border_noise(scenes))
    if not early:
        return None
    those = f"{early} of its {count_of(len(scenes), 'Sentinel-1 scene')} ({early / len(scenes):.0%})"
    since = f"{'is' if early == 1 else 'are'} from before {S1_BORDER_NOISE_UNTIL:%B %Y}"
    found = f"{those} {since} and may have noise along the edges"
    if Source.of(view.header.tags.get("DWPLUS_SOURCE", "")).added:
        return f"{found}; mask them before 'dwplus pixels add'"
    return f"{found}; to mask them build all tiles with --s1-edge 2km"


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
