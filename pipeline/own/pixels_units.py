"""What the numbers of a file mean: reflectance of Sentinel-2, dB of Sentinel-1; and what they cannot mean.

Whatever a file holds becomes physical values by ``Unit``; rules of validation then say where a unit was taken for
another. Comes between ``pixels_products``, which reads headers, and ``pixels_resample``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..raster.geotiff import RasterGrid, ShardHeader
from ..spec.bands import BANDS, Sensor
from ..validation.file_view import FileView, Kind
from ..validation.rules import BY_NAME, judge

Power = Literal["dB", "linear"]

DN_SCALE = 1e-4
"""Reflectance of one DN of an integer file that says nothing else (Sentinel-2 products)."""


@dataclass(frozen=True)
class Unit:
    """physical = (value - offset) x scale; then 10 log10 where it is power.

    Attributes:
        scale, offset: of the file's values. The offset is in the unit of the file: 1000 where 1000 was added.
        power: values are power, not dB.
        nodata: value of pixels without an observation; None = NaN alone.
    """

    scale: float = 1.0
    offset: float = 0.0
    power: bool = False
    nodata: float | None = None

    def physical(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Reflectance or dB of a file's values, any shape; NaN where a value is NaN or power is not above 0."""
        numbers = (values.astype(np.float64) - self.offset) * self.scale
        if not self.power:
            return numbers
        return 10 * np.log10(np.where(numbers > 0, numbers, np.nan))


@dataclass(frozen=True)
class Said:
    """What a user says about all files of an addition; None or empty where it is left to the files.

    Attributes:
        scale: reflectance of 1 in the file (0.0001 for DN, 1 for reflectance).
        offset: what was added to each value of Sentinel-2 (1000 since baseline 04.00).
        nodata: value of pixels without an observation.
        power: unit of Sentinel-1.
    """

    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    power: Power = "dB"


def s2_unit(name: str, header: ShardHeader, number: int, said: Said, *, offset: float | None = None) -> Unit:
    """The unit of one band of Sentinel-2: as said, else by scale and offset of the file, else DN.

    Args:
        name: of the file, for messages.
        number: of the band in the file, from 1.
        offset: what is known of this product (a table, the metadata of a SAFE folder); goes before the file's header.

    Raises:
        DataError: values of this type are no reflectance, or nothing says what they are.
    """
    dtype = _checked_dtype(name, header, number, "Sentinel-2")
    scale, bias = header.scales[number - 1], header.offsets[number - 1]
    declared = (scale, bias) != (1.0, 0.0)
    # GDAL: physical = value x scale + bias.
    of_header = (0.0 - bias) / scale if declared else 0.0
    if said.scale is not None:
        unit = said.scale
    elif declared and scale != 1.0:
        unit = scale
    elif np.issubdtype(dtype, np.integer):
        unit = DN_SCALE
    else:
        raise DataError(
            f"{name} holds {dtype} and does not say its unit; say --scale 1 for reflectance 0..1, --scale 0.0001 for DN"
        )
    first = next((known for known in (said.offset, offset) if known is not None), of_header)
    return Unit(unit, first, nodata=_nodata(header, said, usual=0.0))


def s1_unit(name: str, header: ShardHeader, number: int, said: Said) -> Unit:
    """The unit of one band of Sentinel-1: dB or power, with scale and offset of the file.

    Raises:
        DataError: values of this type are neither dB nor power.
    """
    dtype = _checked_dtype(name, header, number, "Sentinel-1")
    scale, bias = header.scales[number - 1], header.offsets[number - 1]
    if np.issubdtype(dtype, np.integer) and (scale, bias) == (1.0, 0.0):
        raise DataError(
            f"{name} holds {dtype} without a scale: amplitude or DN, not calibrated; take sigma0 or gamma0 in dB or as "
            "linear power (float)"
        )
    power = said.power == "linear"
    return Unit(scale, (0.0 - bias) / scale, power, _nodata(header, said, usual=0.0 if power else None))


def _checked_dtype(name: str, header: ShardHeader, number: int, title: str) -> np.dtype[np.generic]:
    text = header.dtypes[number - 1]
    if text.startswith("complex"):
        raise DataError(
            f"{name} holds complex values ({text}): single-look complex radar; take a detected, calibrated "
            "product (GRD, RTC)"
        )
    if text in ("uint8", "int8"):
        raise DataError(f"{name} holds {text}: an 8-bit picture or a class map, not {title}; take the product itself")
    if header.lossy:
        raise DataError(f"{name} is compressed with {header.lossy}, which changes values; take a file without losses")
    if header.scales[number - 1] == 0:
        raise DataError(f"{name} declares a scale of 0 for band {number}; correct its header with gdal_edit.py -scale")
    return np.dtype(text)


def _nodata(header: ShardHeader, said: Said, *, usual: float | None) -> float | None:
    if said.nodata is not None:
        return said.nodata
    return header.nodata if header.nodata is not None else usual


# --- what cannot be meant ---------------------------------------------------------------------------------------------

OFFSET_RULE = "s2-offset"

UNIT_RULES: tuple[str, ...] = ("s2-level", "s2-range", "s2-negative", OFFSET_RULE, "s1-linear", "fill")
"""Rules that tell that a unit was taken for another: what breaks one breaks it in most files of an addition."""

_SOMEWHERE = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)
"""Pixels lie on the grid of a tile already: rules of form have nothing to find."""

_NEGATIVE = 0.5
"""Share of pixels below 0 from which on values are no power: noise taken away leaves single ones."""


def broken_rule(sensor: Sensor, pixels: NDArray[np.float64], names: tuple[str, ...]) -> tuple[str, str]:
    """The first rule of validation that physical pixels break, and its message; two empty texts where none is broken.

    A warning counts where it says that the offset was not taken away.

    Args:
        pixels: float64 (bands, H, W), reflectance or dB, NaN = no data.
        names: of the axis ``bands``; bands that the file lacks are left out.
    """
    if not np.isfinite(pixels).any():
        return "", ""
    scale = _wrong_scale(pixels) if sensor == "S2" else ""
    if scale:
        return "s2-range", scale
    kind: Kind = "s2" if sensor == "S2" else "s1"
    if sensor == "S2":
        numbers = np.rint(pixels / BANDS["B2"].scale)
        # 0 is no data; what is below stays below, so that an offset taken away twice is seen.
        numbers = np.where(numbers == 0, 1, np.clip(numbers, -30_000, 65_535))
        values = np.where(np.isnan(pixels), 0, numbers).astype(np.int32)
        nodata: float | None = 0.0
    else:
        values, nodata = pixels.astype(np.float32), None
    _, height, width = pixels.shape
    grid = RasterGrid("EPSG:32631", _SOMEWHERE, (height, width))
    header = ShardHeader(grid, names, (str(values.dtype),) * len(names), "GTiff", nodata, (), (), {})
    view = FileView(kind=kind, name="", header=header, values=values)
    found = {
        finding.rule: finding.message
        for finding in reversed(judge(view))
        if finding.severity == "error" or finding.rule == OFFSET_RULE
    }
    # A wrong unit breaks other rules besides: it is named first.
    first = next((rule for rule in (*UNIT_RULES, *reversed(found)) if rule in found), "")
    return first, found.get(first, "")


_REFLECTANCES = (0.002, 3.0)
"""The largest value of a picture lies above the first (water in the sun's shadow does), its median below the second."""


def _wrong_scale(pixels: NDArray[np.float64]) -> str:
    """Why values cannot be reflectance, whatever they show, as text; empty where they can be."""
    least, most = _REFLECTANCES
    if np.nanmedian(pixels) > most:
        return f"has a median reflectance of {np.nanmedian(pixels):.3g}: another scale?"
    return f"has no reflectance above {np.nanmax(pixels):.2g}: another scale?" if np.nanmax(pixels) < least else ""


def misread(values: NDArray[np.floating], unit: Unit) -> str:
    """Why values cannot be power, as text; empty where they can, or are meant to be dB.

    Args:
        values: of a file, any shape, NaN = no data.
    """
    if not unit.power:
        return ""
    seen = values[np.isfinite(values)]
    share = float(np.mean((seen - unit.offset) * unit.scale < 0)) if seen.size else 0.0
    return f"{share:.0%} of its values are below 0: dB, not power" if share >= _NEGATIVE else ""


REMEDIES: dict[str, str] = {
    OFFSET_RULE: "say --offset 1000 if its baseline is 04.00 or later, or --accept offset if the ground is that bright",
    "s2-negative": "say --offset 0 (or the offset that it has), or --accept offset",
    "s2-range": "say --scale 1 for reflectance 0..1, --scale 0.0001 for DN",
    "s1-linear": "say --s1-unit linear if it is power; take 20 log10 of amplitude first",
    "fill": "say --nodata VALUE",
}
"""Rule -> what to say on the command line; other rules have remedies of their own."""

OFFSET_RULES = frozenset({OFFSET_RULE, "s2-negative"})
"""Rules that ``--accept offset`` passes over."""


def remedy_of(rule: str) -> str:
    return REMEDIES.get(rule) or BY_NAME[rule].remedy
