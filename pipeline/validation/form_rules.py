"""Rules of form: what a file's header, tags and bytes must be, whatever its pixels show.

Each function takes a ``FileView`` and gives a message where the rule is broken, None where it holds; the table is in
``rules``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date

from ..errors import DataError
from ..raster.geotiff import LABEL_BAND, RasterGrid, ShardHeader
from ..spec.bands import BANDS, NODATA, OPTIONAL_BANDS, S1_BANDS, S2_BANDS, SHARD_BANDS
from ..spec.sources import Source
from ..spec.test_tiles import TEST_SIZE_PX
from ..spec.tiles import RESOLUTION_M, TILE_SIZE_PX, lon_lat, parse_tile_id
from .file_view import L2A_BANDS, FileView, Kind

PROVENANCE_TAGS: tuple[str, ...] = (
    "DWPLUS_SOURCE",
    "DWPLUS_VERSION",
    "DWPLUS_RECIPE",
    "DWPLUS_RECIPE_FIELDS",
    "TILE",
    "DATE",
    "HEMISPHERE",
    "BIOME",
    "S2_COLLECTION",
    "S2_SCENE",
    "S2_SCENES",
    "S2_RULE",
    "S1_COLLECTION",
    "S1_MEAN",
    "S1_WINDOW",
    "LICENCE",
)
"""Tags that are needed to request the same pixels again, or to cite them."""

ADDED_TAGS: tuple[str, ...] = (
    *(tag for tag in PROVENANCE_TAGS if tag.startswith("DWPLUS") or tag in ("TILE", "DATE", "HEMISPHERE", "BIOME")),
    "S2_SCENES",
    "S2_FILES",
    "S2_DATE",
    "LICENCE",
)
"""Tags of pixels that a user added: enough to add the same ones again, or to cite them."""

ADDED_S1_TAGS: tuple[str, ...] = ("S1_SCENES", "S1_FILES", "S1_DATE", "S1_CALIBRATION", "S1_MEAN", "S1_PASSES")
"""The same, where the data set has Sentinel-1."""

_EPS = 1e-6
_UTM = re.compile(r"^EPSG:32[67](0[1-9]|[1-5]\d|60)$")
_SECOND_TIME = re.compile(r"^(B\d{1,2}A?|VV|VH)_\d+$")

_NEAR_DEGREES = 0.5
"""How far a centre may lie from the place in its name: names are good to a pixel, the next zone is 6 degrees off."""

_EASTINGS_M = (50_000.0, 950_000.0)
"""Eastings that Sentinel-2 granules of a zone reach, with the overlaps and the wide northern zones."""

_NORTHINGS_M = (-110_000.0, 10_110_000.0)
"""From equator to pole, or from the south to the equator, and one granule across the equator."""


def driver(view: FileView) -> str | None:
    if view.header is None or view.header.driver == "GTiff":
        return None
    return f"is {_DRIVERS.get(view.header.driver, view.header.driver)}, not a GeoTIFF, whatever its name says"


_DRIVERS = {"JP2OpenJPEG": "JPEG 2000", "JP2KAK": "JPEG 2000", "JPEG2000": "JPEG 2000", "netCDF": "netCDF"}


def readable(view: FileView) -> str | None:
    return None if view.too_large else view.fault or None


def file_size(view: FileView) -> str | None:
    return view.fault if view.too_large else None


def label_readable(view: FileView) -> str | None:
    return f"its label {view.label_fault}" if view.label_fault else None


def crs(view: FileView) -> str | None:
    if view.header is None or _UTM.match(view.header.grid.crs):
        return None
    if view.gcps:
        return (
            f"has no CRS and no transform, only {view.gcps} ground control points: the raw geometry of the radar, not "
            "terrain-corrected"
        )
    if view.header.grid.crs == "no CRS":
        return "has no CRS: its place is unknown"
    return f"has the CRS {view.header.grid.crs[:60]}, not UTM on WGS 84 (EPSG:326zz, 327zz)"


def zone(view: FileView) -> str | None:
    """The projected centre must lie in its zone, and where the name says."""
    if view.header is None or not _UTM.match(view.header.grid.crs):
        return None
    grid = view.header.grid
    x, y = _centre(grid)
    if not (_EASTINGS_M[0] <= x <= _EASTINGS_M[1] and _NORTHINGS_M[0] <= y <= _NORTHINGS_M[1]):
        return f"has its centre at easting {x:,.0f}, northing {y:,.0f} m, outside {grid.crs}"
    try:
        named = parse_tile_id(view.name)
    except DataError:
        return None
    lon, lat = lon_lat(grid.crs, x, y)
    off_lon = abs((lon - named.lon + 180) % 360 - 180) * math.cos(math.radians(named.lat))
    if max(off_lon, abs(lat - named.lat)) <= _NEAR_DEGREES:
        return None
    name = f"{named.lon:.2f}, {named.lat:.2f} by its name"
    return f"lies at lon, lat {lon:.2f}, {lat:.2f} by its CRS {grid.crs}, at {name}"


def _centre(grid: RasterGrid) -> tuple[float, float]:
    a, b, x0, d, e, y0 = grid.transform
    rows, columns = grid.shape
    return x0 + a * columns / 2 + b * rows / 2, y0 + d * columns / 2 + e * rows / 2


def resolution(view: FileView) -> str | None:
    # Without a CRS there are no metres.
    if view.header is None or view.header.grid.crs == "no CRS":
        return None
    a, b, _, d, e, _ = view.header.grid.transform
    width, height = math.hypot(a, d), math.hypot(b, e)
    if abs(width - RESOLUTION_M) < _EPS and abs(height - RESOLUTION_M) < _EPS:
        return None
    unit = "m" if _UTM.match(view.header.grid.crs) else "units of its CRS"
    return f"has pixels of {width:g} x {height:g} {unit}, not 10 x 10 m"


def north_up(view: FileView) -> str | None:
    if view.header is None or view.header.grid.crs == "no CRS":
        return None
    a, b, _, d, e, _ = view.header.grid.transform
    if abs(b) < _EPS and abs(d) < _EPS and a > 0 > e:
        return None
    return f"is not north-up: its transform turns or flips the image ({a:g}, {b:g}, {d:g}, {e:g})"


def size(view: FileView) -> str | None:
    """A tile has 510 px on each side unless another grid is demanded, which ``grid`` looks at."""
    if view.header is None or view.reference is not None or view.kind not in ("shard", "label"):
        return None
    allowed = (TILE_SIZE_PX, TEST_SIZE_PX) if view.kind == "label" else (TILE_SIZE_PX,)
    rows, columns = view.header.grid.shape
    if rows == columns and rows in allowed:
        return None
    return f"has {columns} x {rows} px, not {' or '.join(f'{n} x {n}' for n in allowed)}"


def grid(view: FileView) -> str | None:
    if view.header is None or view.reference is None:
        return None
    found = difference(view.header.grid, view.reference)
    return f"does not lie on the grid of {view.reference_name}: {found}" if found else None


def label_grid(view: FileView) -> str | None:
    if view.header is None or view.label is None:
        return None
    found = difference(view.label.grid, view.header.grid)
    return f"its label does not lie on the grid of the pixels: {found}" if found else None


def difference(found: RasterGrid, wanted: RasterGrid) -> str | None:
    """How two grids differ, as text; None where they are the same to a millionth of a metre."""
    if found.crs != wanted.crs:
        return f"{found.crs} instead of {wanted.crs}"
    if found.shape != wanted.shape:
        return f"{found.shape[1]} x {found.shape[0]} px instead of {wanted.shape[1]} x {wanted.shape[0]}"
    a, b, x, d, e, y = found.transform
    a2, b2, x2, d2, e2, y2 = wanted.transform
    if max(abs(a - a2), abs(b - b2), abs(d - d2), abs(e - e2)) > _EPS:
        return f"pixels of {a:g} x {-e:g} instead of {a2:g} x {-e2:g}"
    if max(abs(x - x2), abs(y - y2)) > _EPS:
        ways = (("east", x - x2, a2), ("north", y - y2, -e2))
        return "moved by " + " and ".join(f"{m:g} m ({m / px:g} px) {way}" for way, m, px in ways if abs(m) > _EPS)
    return None


# --- bands and encoding -----------------------------------------------------------------------------------------------


def bands(view: FileView) -> str | None:
    return _BANDS[view.kind](view) if view.header is not None else None


def _shard_bands(view: FileView) -> str | None:
    assert view.header is not None
    found = view.header.bands
    if found == SHARD_BANDS:
        return None
    missing = [b for b in SHARD_BANDS if b not in found]
    extra = [b for b in found if b not in SHARD_BANDS]
    if not missing and not extra and len(found) == len(SHARD_BANDS):
        return f"holds its bands in the order {', '.join(found)} instead of {', '.join(SHARD_BANDS)}"
    parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"also holds {_listed(extra)}"] * bool(extra)
    return f"is no shard of dwplus: {len(found)} bands, {' and '.join(parts) or 'some of them twice'}"


def _s2_bands(view: FileView) -> str | None:
    names = view.bands
    again = [name for name in names if _SECOND_TIME.match(name)]
    if again:
        return (
            f"holds {len(names)} bands, some of them several times ({', '.join(again[:3])}, ...): a stack of several "
            "dates, in which a name without number is the first of them only"
        )
    if not view.named:
        return (
            None
            if names == L2A_BANDS
            else f"has {len(names)} band{'s' * (len(names) != 1)} without names; "
            f"only {len(L2A_BANDS)} in the order of L2A can be told apart, a stack needs {', '.join(S2_BANDS)}"
        )
    missing = [b for b in S2_BANDS if b not in names and b not in OPTIONAL_BANDS]
    twice = sorted({b for b in names if b and names.count(b) > 1})
    if twice:
        return f"holds {_listed(twice)} more than once"
    if "B10" in names:
        return "holds B10, which only top-of-atmosphere reflectance (L1C) has; what is wanted is L2A"
    if not missing:
        return None
    return f"lacks {', '.join(missing)}; it holds {_listed(names)}"


def _s1_bands(view: FileView) -> str | None:
    names = view.bands
    if names.count("VV") == 1 and names.count("VH") == 1 and not any(_SECOND_TIME.match(n) for n in names):
        return None
    if not view.named:
        return f"has {len(names)} band{'s' * (len(names) != 1)} without a name, not VV and VH"
    missing = [b for b in S1_BANDS if b not in names]
    return f"lacks {' and '.join(missing)}; it holds {_listed(names)}" if missing else "holds VV or VH several times"


def _label_bands(view: FileView) -> str | None:
    names = view.bands
    if names.count(LABEL_BAND) == 1:
        return None
    if names == ("label",):
        return None  # the answer of a model; ``model_label`` says so
    if len(names) == 1:
        return f"has a band named {names[0]!r}; a released label has none or {LABEL_BAND!r}: another class map?"
    return f"has {len(names)} bands ({_listed(names)}); a label has one, or one named {LABEL_BAND!r}"


_BANDS: Mapping[Kind, Callable[[FileView], str | None]] = {
    "shard": _shard_bands,
    "s2": _s2_bands,
    "s1": _s1_bands,
    "label": _label_bands,
}


def _listed(names: tuple[str, ...] | list[str]) -> str:
    shown = [name or "(no name)" for name in names[:14]]
    return ", ".join(shown) + (f" and {len(names) - 14} more" if len(names) > 14 else "")


def band_names(view: FileView) -> str | None:
    if view.kind not in ("s2", "s1") or view.named or not any(view.bands):
        return None
    return f"does not name its bands; they are taken for {', '.join(view.bands)}, in this order"


_DTYPES: dict[Kind, tuple[str, ...]] = {
    "shard": ("uint16",),
    "s2": ("uint16", "int16", "uint32", "int32"),
    "s1": ("float32", "float64"),
    "label": ("uint8",),
}
_WHAT: dict[Kind, str] = {"shard": "stored values", "s2": "DN", "s1": "dB", "label": "codes"}


def dtype(view: FileView) -> str | None:
    if view.header is None:
        return None
    others = sorted(set(view.header.dtypes) - set(_DTYPES[view.kind]))
    if not others:
        return None
    return f"holds {', '.join(others)} instead of {' / '.join(_DTYPES[view.kind])} ({_WHAT[view.kind]})"


def encoding(view: FileView) -> str | None:
    """Scale, offset and nodata in the header; a shard's are those of the band table."""
    if view.header is None:
        return None
    return _shard_encoding(view.header) if view.kind == "shard" else _declared_encoding(view.header)


def _shard_encoding(header: ShardHeader) -> str | None:
    wrong = []
    for title, found, wanted in (
        ("scale", header.scales, tuple(BANDS[b].scale for b in SHARD_BANDS)),
        ("offset", header.offsets, tuple(BANDS[b].offset for b in SHARD_BANDS)),
    ):
        if len(found) == len(wanted) and found != wanted:
            name, one, other = next((b, f, w) for b, f, w in zip(SHARD_BANDS, found, wanted, strict=True) if f != w)
            wrong.append(f"{title} of {name} is {one:g}, not {other:g}")
    if header.nodata != NODATA:
        wrong.append(f"nodata is {'not set' if header.nodata is None else f'{header.nodata:g}'}, not {NODATA}")
    return "; ".join(wrong) or None


def _declared_encoding(header: ShardHeader) -> str | None:
    offsets = {offset for offset in header.offsets if offset != 0}
    scales = {scale for scale in header.scales if scale not in (1.0, 1e-4)}
    if offsets:
        return f"declares an offset of {min(offsets):g}: its values are not yet what they mean"
    return f"declares a scale of {min(scales):g}: its values are not yet what they mean" if scales else None


def lossless(view: FileView) -> str | None:
    if view.header is None or not view.header.lossy:
        return None
    return f"is compressed with {view.header.lossy}, which changes class codes"


_USUAL_NODATA: dict[Kind, str] = {"s2": "0", "s1": "NaN", "label": "0, unmarked", "shard": "0"}


def nodata(view: FileView) -> str | None:
    value = view.header.nodata if view.header is not None else None
    if value is None or math.isnan(value) or (value == 0 and view.kind != "s1"):
        return None
    if view.kind == "label" and value == 255:
        return None  # ``model_label`` says what that means
    usual = _USUAL_NODATA[view.kind]
    return f"declares {value:g} for no data (usual: {usual}); a reader that ignores the tag averages it with the rest"


# --- where it comes from ----------------------------------------------------------------------------------------------


def provenance(view: FileView) -> str | None:
    if view.header is None:
        return None
    tags = view.header.tags
    added = Source.of(tags.get("DWPLUS_SOURCE", "")).added
    wanted = PROVENANCE_TAGS if not added else (*ADDED_TAGS, *(ADDED_S1_TAGS if view.has_s1 else ()))
    missing = [tag for tag in wanted if not tags.get(tag)]
    if missing:
        return f"does not say where it comes from: tags {', '.join(missing)} are missing"
    if view.reference is not None and tags["TILE"] != view.name:
        return f"says that it is tile {tags['TILE']}, its name says {view.name}"
    if added:
        return None
    if tags["S1_MEAN"] not in ("dB", "linear"):
        return f"says that Sentinel-1 was averaged as {tags['S1_MEAN']!r}, not dB or linear"
    try:
        day = date.fromisoformat(tags["DATE"])
        start, end = window_of(tags)
    except ValueError:
        return f"has a date or a window that is none: {tags['DATE']!r}, {tags['S1_WINDOW']!r}"
    if start < end and day - start == end - day:
        return None
    return f"averages Sentinel-1 over {tags['S1_WINDOW']}, which is not centred on its day {day}"


def window_of(tags: Mapping[str, str]) -> tuple[date, date]:
    """First day and day after the last one of a shard's Sentinel-1 window.

    Raises:
        ValueError: the tag does not say.
    """
    start, _, end = tags.get("S1_WINDOW", "").partition("/")
    return date.fromisoformat(start), date.fromisoformat(end)


def ledger_hash(view: FileView) -> str | None:
    # What cannot be read is said once, by that rule.
    if view.fault or not view.expected_sha256 or view.sha256 in ("", view.expected_sha256):
        return None
    return f"is not the file that was exported: sha256 {view.sha256[:12]}, by the ledger {view.expected_sha256[:12]}"


def label_hash(view: FileView) -> str | None:
    found, wanted = view.label_sha256, view.expected_label_sha256
    if view.label_fault or not wanted or found in ("", wanted):
        return None
    return f"its label is not the file that was written: sha256 {found[:12]}, by the manifest {wanted[:12]}"


def label_dtype(view: FileView) -> str | None:
    if view.label is None or set(view.label.dtypes) == {"uint8"}:
        return None
    return f"its label holds {', '.join(sorted(set(view.label.dtypes)))} instead of uint8 codes"


def s2_baseline(view: FileView) -> str | None:
    """Baselines from 04.00 on add 1000 to every DN; COPERNICUS/S2_SR_HARMONIZED takes it away again."""
    if view.header is None or "HARMONIZED" in view.header.tags.get("S2_COLLECTION", ""):
        return None
    late = [b for b in view.header.tags.get("S2_BASELINE", "").split() if re.match(r"^\d\d\.\d\d$", b) and b >= "04.00"]
    if not late:
        return None
    where = view.header.tags.get("S2_COLLECTION") or "a collection that is not named"
    return f"comes from {where} with processing baseline {late[0]}, which adds 1000 to every DN"
