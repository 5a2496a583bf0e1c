"""The band table: every band of a shard, how it is stored, what it means.

Stored values are uint16 with 0 = nothing here in every band; ``decode`` gives physical units. Sources: Earth Engine
catalogue pages of COPERNICUS/S2_SR_HARMONIZED (DN scale 1e-4) and COPERNICUS/S1_GRD (sigma0 in dB, 10 m).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

Sensor = Literal["S2", "S1"]

NODATA = 0
"""Stored value of a pixel without an observation, in every band of a shard."""


@dataclass(frozen=True)
class Band:
    """One stored band.

    Attributes:
        name: name in Earth Engine, in the shard and everywhere else.
        sensor: ``S2`` or ``S1``.
        native_m: pixel size of the sensor in metres; shards hold 10 m (bilinear).
        unit: unit of the decoded value.
        scale, offset: decoded = stored x scale + offset.
        valid_min, valid_max: range of plausible decoded values, both inclusive.
        title: what it measures (S2: centre wavelength in nm).
    """

    name: str
    sensor: Sensor
    native_m: int
    unit: str
    scale: float
    offset: float
    valid_min: float
    valid_max: float
    title: str

    def stored(self, values: NDArray[np.floating]) -> NDArray[np.uint16]:
        """Stored values of physical ones, the way back of ``decode``: uint16, ``NODATA`` where a value is NaN.

        Values beyond what can be stored become the nearest that can, 1 or 65535: 0 always means no data.

        Args:
            values: any float dtype and shape, in ``unit``.
        """
        steps = np.rint((values.astype(np.float64) - self.offset) / self.scale)
        return np.where(np.isnan(values), NODATA, np.clip(steps, 1, 65535)).astype(np.uint16)

    def physical(self, stored: int) -> float:
        """Value in ``unit`` of one stored number, in double precision."""
        return stored * self.scale + self.offset


def _s2(name: str, native_m: int, title: str) -> Band:
    return Band(name, "S2", native_m, "reflectance", 1e-4, 0.0, 0.0, 6.5535, title)


def _s1(name: str, title: str) -> Band:
    return Band(name, "S1", 10, "dB", 0.01, -100.0, -99.99, 55.35, title)


BANDS: dict[str, Band] = {
    band.name: band
    for band in (
        _s2("B1", 60, "coastal aerosol, 443 nm"),
        _s2("B2", 10, "blue, 492 nm"),
        _s2("B3", 10, "green, 560 nm"),
        _s2("B4", 10, "red, 665 nm"),
        _s2("B5", 20, "red edge 1, 704 nm"),
        _s2("B6", 20, "red edge 2, 741 nm"),
        _s2("B7", 20, "red edge 3, 783 nm"),
        _s2("B8", 10, "near infrared, 833 nm"),
        _s2("B8A", 20, "narrow near infrared, 865 nm"),
        _s2("B11", 20, "short-wave infrared 1, 1610 nm"),
        _s2("B12", 20, "short-wave infrared 2, 2190 nm"),
        _s1("VV", "sigma0, vertical transmit, vertical receive"),
        _s1("VH", "sigma0, vertical transmit, horizontal receive"),
        Band("S1_N", "S1", 10, "count", 1.0, 0.0, 1.0, 65535.0, "Sentinel-1 observations averaged"),
    )
}
"""All bands of a shard, in file order."""

S2_BANDS: tuple[str, ...] = tuple(b.name for b in BANDS.values() if b.sensor == "S2")
S1_BANDS: tuple[str, ...] = ("VV", "VH")
SHARD_BANDS: tuple[str, ...] = tuple(BANDS)


OPTIONAL_BANDS: tuple[str, ...] = ("B1",)
"""Bands that files of users may lack: no network of the paper reads them, and they do not decide which pixels count."""


def stored_bands(has_s1: bool, absent: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Bands of a shard that hold something: all, or those of Sentinel-2 in a data set without Sentinel-1.

    Args:
        absent: bands that the data set lacks besides.
    """
    return tuple(band for band in (SHARD_BANDS if has_s1 else S2_BANDS) if band not in absent)


# fmt: off
PRESETS: dict[str, tuple[str, ...]] = {
    "ms10": ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"),
    "ms11": ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"),
    "rgb": ("B4", "B3", "B2"),
    "other9": ("B5", "B6", "B7", "B8", "B8A", "B11", "B12", "VV", "VH"),
    "ms10sar": ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12", "VV", "VH"),
    "sar": ("VV", "VH"),
}
# fmt: on
"""Named choices of bands, in channel order. ``ms10`` is the paper's count (B1, 60 m, left out): the text says 10 and
lists 11, parameters and FLOPs fit 10 only."""


S2Level = Literal["L2A", "L1C"]
"""Surface reflectance, which shards hold, or top-of-atmosphere reflectance, which may lie beside them."""

Composite = Literal["median", "medoid"]
"""How several scenes of Sentinel-2 become one picture. No scene has the spectra of a median; those of a medoid lie
beside others than in any scene."""


def composite_as_text(kind: Composite | None) -> str:
    """What the Sentinel-2 of a data set is: composites, or single scenes."""
    return "single scenes" if kind is None else f"{kind} composites"


L1C_BANDS: tuple[str, ...] = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B11", "B12")
"""The nine bands that Dynamic World's own network reads, in its order (``l1c/``). Source: Brown et al. 2022."""


def preset(name: str) -> tuple[str, ...]:
    """Bands of a preset, in channel order.

    Raises:
        UsageError: there is no preset of that name.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"unknown band preset {name!r}; choose one of {', '.join(PRESETS)}") from None


LOG_GAIN = 50.0
"""Factor on reflectance in the logarithm: 0.005 for each DN of 1e-4. Source: input of Dynamic World's own network
(google/dynamicworld, single_image_runner.ipynb)."""


def log_scaled(reflectance: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(1 + 0.005 DN) of Sentinel-2: dark surfaces, water and forest, get the room that clouds and snow have else."""
    return np.log1p(LOG_GAIN * reflectance)


def decode(stored: NDArray[np.uint16], bands: tuple[str, ...]) -> NDArray[np.float32]:
    """Physical values of stored ones.

    Args:
        stored: uint16 (bands, H, W), 0 = no data.
        bands: names of the axis ``bands``.

    Returns:
        float32 (bands, H, W), reflectance 0-1 or dB, NaN where there is no data.
    """
    scale = np.array([BANDS[b].scale for b in bands], dtype=np.float32)[:, None, None]
    offset = np.array([BANDS[b].offset for b in bands], dtype=np.float32)[:, None, None]
    return np.where(stored == NODATA, np.float32(np.nan), stored * scale + offset).astype(np.float32)
