"""Pixels outside the training domain: values beyond the 0.1-99.9 % range of the training split's histograms.

A network knows nothing of what it never saw. The range of each band is part of a run (``run_config.DataCard``), so that
pixels of any data set, and of any image, can be judged. At most 0.1 % of the training pixels lie below it and as many
above. Counted per tile when a run is scored, and per pixel when an image is mapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pipeline.spec.bands import BANDS, NODATA
from .loader import TileSet
from .metrics import or_none

LOW, HIGH = "0.1", "99.9"
"""Percentiles that bound the range, as the statistics name them."""

BY_CONSTRUCTION = 0.002
"""Largest share of a band's training pixels that lie outside."""

Ranges = Mapping[str, tuple[float, float]]
"""Band -> lowest and highest value inside, in the band's unit."""


def ranges_of(tiles: TileSet) -> dict[str, tuple[float, float]]:
    """Ranges of the bands that a data set gives, out of the statistics of its training split.

    Empty where the statistics are of an earlier version, which did not count these percentiles.
    """
    found = {}
    for band in (*tiles.primary, *tiles.auxiliary):
        # Sets of others need not have percentiles.
        percentiles = getattr(tiles.statistics.bands[band], "percentiles", {})
        if LOW not in percentiles or HIGH not in percentiles:
            return {}
        found[band] = (float(percentiles[LOW]), float(percentiles[HIGH]))
    return found


def fault_of(ranges: Ranges, bands: Sequence[str]) -> str:
    """Why ranges cannot be used, as text; empty where they can, or nothing is known."""
    if not ranges:
        return ""
    if missing := [band for band in bands if band not in ranges]:
        return f"there is no range of band {', '.join(missing)}"
    wrong = [band for band, (low, high) in ranges.items() if not (isfinite(low) and isfinite(high) and low <= high)]
    return f"the range of band {', '.join(wrong)} is none" if wrong else ""


@dataclass(frozen=True)
class StoredRange:
    """The range of some bands as stored values.

    Attributes:
        bands: in channel order.
        low, high: uint16 (bands,), the lowest and the highest value inside; ``NODATA`` is never inside.
    """

    bands: tuple[str, ...]
    low: NDArray[np.uint16]
    high: NDArray[np.uint16]

    @classmethod
    def of(cls, ranges: Ranges, bands: Sequence[str]) -> StoredRange | None:
        """Of ranges in units; None where nothing is known of them."""
        if not ranges:
            return None
        low, high = (
            np.array([BANDS[band].stored(np.array(ranges[band][end])) for band in bands], dtype=np.uint16)
            for end in (0, 1)
        )
        return cls(tuple(bands), low, high)


def outside_range(pixels: NDArray[np.uint16], ranges: StoredRange) -> NDArray[np.bool_]:
    """Which values are beyond the range of their band.

    Args:
        pixels: uint16 (bands, ...), stored values in the order of ``ranges.bands``; no data is not outside.

    Returns:
        bool of the same shape.
    """
    return np.stack([_outside(band, place, ranges) for place, band in enumerate(pixels)])


def _outside(band: NDArray[np.uint16], place: int, ranges: StoredRange) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = _beyond(band, place, ranges) & (band != NODATA)
    return found


def _beyond(band: NDArray[np.uint16], place: int, ranges: StoredRange) -> NDArray[np.bool_]:
    """Values of one band beyond its range; no data may be among them."""
    # What is too low wraps around and is too high as well: one comparison of 16 bits does for both.
    found: NDArray[np.bool_] = (band - ranges.low[place]) > (ranges.high[place] - ranges.low[place])
    return found


NO_DATA = 255
"""Of ``bands_outside``: a pixel without data."""


def bands_outside(
    inputs: Sequence[NDArray[np.uint16]], valid: NDArray[np.bool_], ranges: StoredRange | None
) -> NDArray[np.uint8]:
    """How many bands of each pixel are outside; 0 everywhere where the range is not known.

    Args:
        inputs: uint16 (bands, H, W) each, together in the order of ``ranges.bands``.
        valid: bool (H, W), where there is data.

    Returns:
        uint8 (H, W), ``NO_DATA`` where there is none.
    """
    found = np.zeros(valid.shape, dtype=np.uint8)
    if ranges is not None:
        # Band by band: a row of windows of a scene is 135 MB.
        for place, band in enumerate(band for bands in inputs for band in bands):
            found += _outside(band, place, ranges)
    found[~valid] = NO_DATA
    return found


@dataclass(frozen=True)
class OutsideShares:
    """Shares of pixels that are outside, 0..1.

    Attributes:
        pixels: of the pixels with data in some band, those that are outside in at least one; None where there is none.
        bands: band -> share of its pixels with data; bands without data are left out.
    """

    pixels: float | None
    bands: Mapping[str, float]

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> OutsideShares:
        """What ``vars`` gives."""
        return cls(mapping["pixels"], {str(band): float(share) for band, share in mapping["bands"].items()})


@dataclass(frozen=True)
class OutsideCounts:
    """How many pixels of a tile, or of each of many tiles, are outside.

    Attributes:
        bands: names.
        seen, beyond: int64 (..., bands), pixels with data, and those of them that are outside.
        seen_any, beyond_any: int64 (...), pixels with data in at least one band, and those that are outside in at
            least one.
    """

    bands: tuple[str, ...]
    seen: NDArray[np.int64]
    beyond: NDArray[np.int64]
    seen_any: NDArray[np.int64]
    beyond_any: NDArray[np.int64]

    @classmethod
    def of_tile(cls, bands: Iterable[NDArray[np.uint16]], ranges: StoredRange) -> OutsideCounts:
        """Of one tile, band by band, so that what is computed stays in the processor's cache.

        Args:
            bands: uint16 (H, W) each, stored values in the order of ``ranges.bands``.
        """
        seen, beyond, seen_any, beyond_any = [], [], None, None
        for place, band in enumerate(bands):
            there, out = band != NODATA, _beyond(band, place, ranges)
            out &= there
            seen.append(np.count_nonzero(there))
            beyond.append(np.count_nonzero(out))
            seen_any = there if seen_any is None else np.logical_or(seen_any, there, out=seen_any)
            beyond_any = out if beyond_any is None else np.logical_or(beyond_any, out, out=beyond_any)
        of_any = (np.asarray(0 if one is None else np.count_nonzero(one), np.int64) for one in (seen_any, beyond_any))
        return cls(ranges.bands, np.array(seen, np.int64), np.array(beyond, np.int64), *of_any)

    @classmethod
    def of_tiles(cls, tiles: Sequence[OutsideCounts]) -> OutsideCounts:
        """Of many tiles: one leading axis."""
        names = ("seen", "beyond", "seen_any", "beyond_any")
        return cls(tiles[0].bands, *(np.stack([getattr(one, name) for one in tiles]) for name in names))

    def part(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> OutsideCounts:
        """Some of the tiles."""
        return OutsideCounts(
            self.bands, self.seen[chosen], self.beyond[chosen], self.seen_any[chosen], self.beyond_any[chosen]
        )

    @property
    def total(self) -> OutsideCounts:
        """Of all tiles together."""
        return OutsideCounts(
            self.bands,
            self.seen.reshape(-1, len(self.bands)).sum(0),
            self.beyond.reshape(-1, len(self.bands)).sum(0),
            self.seen_any.sum(),
            self.beyond_any.sum(),
        )

    @property
    def share(self) -> NDArray[np.float64]:
        """float64 (...), share of pixels that are outside in at least one band; NaN where no pixel has data."""
        return _share(self.beyond_any, self.seen_any)

    @property
    def by_band(self) -> NDArray[np.float64]:
        """float64 (..., bands), share of each band's pixels that are outside; NaN where none has data."""
        return _share(self.beyond, self.seen)

    def shares(self) -> OutsideShares:
        """Of all tiles together."""
        total = self.total
        known = {band: float(one) for band, one in zip(self.bands, total.by_band, strict=True) if isfinite(one)}
        return OutsideShares(or_none(float(total.share)), known)


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
    return found


MOST_NAMED = 3
"""Bands that a sentence names."""


def sentence(found: OutsideShares | None) -> str:
    """``outside the training range: 0.9 % of pixels in some band; most in VV 0.31 %, ...``, without its stop."""
    if found is None:
        return (
            "outside the training range: not known; the run (of an earlier version, or trained elsewhere), or its "
            "scores, did not record it"
        )
    if found.pixels is None:
        return "outside the training range: not known, no pixel has data"
    most = ", ".join(
        f"{b} {share:.2%}" for b, share in sorted(found.bands.items(), key=lambda one: -one[1])[:MOST_NAMED]
    )
    return (
        f"outside the training range: {found.pixels:.2%} of pixels in some band; most in {most} (at most "
        f"{BY_CONSTRUCTION:.1%} of a band of the training tiles)"
    )
