"""Forecast: what the map of an area would take; sends no request and writes nothing (``dwplus predict --dry-run``)."""

from __future__ import annotations

from collections.abc import Sequence

from ..build.budget import (
    GUESSED_EECU_S,
    GUESSED_SECONDS,
    SECONDS_PER_HOUR,
    SHARD_BYTES,
    Estimate,
    Measured,
    Range,
)
from ..spec.bands import S2_BANDS, SHARD_BANDS
from ..spec.tiles import TILE_SIZE_PX
from .grids import ZoneGrid, count_blocks

_S2_BYTES, _S1_BYTES = 2 * len(S2_BANDS), 10
"""Of a pixel in an answer: eleven times uint16; VV and VH as float32 and the number of observations as uint16."""

REQUESTS_OF_A_PICTURE = 2
"""Of a block: pixels of Sentinel-2, and cloud."""

LOOKS = 4
"""Requests that choose the days of a picture, in each zone: the search, and looks at cloud (up to six)."""


def forecast(grids: Sequence[ZoneGrid], *, pictures: int, s1: bool, known: Measured, concurrency: int) -> Estimate:
    """Estimated cost of an area; its ``tiles`` are blocks.

    Args:
        pictures: of Sentinel-2, at most; 0 where it is not read.
        s1: Sentinel-1 is read.
        known: what tiles of the run's data root cost.
        concurrency: requests in flight.
    """
    blocks, pixels = count_blocks(grids)
    requests = blocks * (s1 + REQUESTS_OF_A_PICTURE * pictures) + LOOKS * pictures * len(grids)
    received = pixels * (_S1_BYTES * s1 + _S2_BYTES * pictures) / 1e9
    low, high = (requests * seconds / concurrency / SECONDS_PER_HOUR for seconds in GUESSED_SECONDS)
    guess = f"a guess: {GUESSED_SECONDS[0]:g}-{GUESSED_SECONDS[1]:g} s a request, {concurrency} in flight"
    tiles = pixels / TILE_SIZE_PX**2
    share = (len(S2_BANDS) * pictures + 3 * s1) / len(SHARD_BANDS)
    least, most = (tiles * size * share / 1e9 for size in SHARD_BYTES)
    return Estimate(
        tiles=blocks,
        requests=requests,
        received_gb=received,
        disk_gb=Range(least, most, "until the map is complete, by two real scenes"),
        hours=Range(low, high, guess),
        eecu_hours=_eecu(tiles, pictures, known),
    )


def _eecu(tiles: float, pictures: int, known: Measured) -> Range:
    """The mean of Sentinel-1 is most of the work, and serves all pictures."""
    more = "" if pictures <= 1 else f"; {pictures - 1} more pictures of Sentinel-2 come on top"
    if known.metered:
        margin = 2 * known.eecu_s_error
        costs = max(0.0, known.eecu_s - margin), known.eecu_s + margin
        basis = f"measured on {known.metered} tiles of the run's data set{more}"
    else:
        costs = GUESSED_EECU_S
        basis = f"not measured; guesses range over {costs[0]:g}-{costs[1]:g} EECU-s for each 510 x 510 px{more}"
    low, high = (tiles * seconds / SECONDS_PER_HOUR for seconds in costs)
    return Range(low, high, basis)
