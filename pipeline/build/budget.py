"""Budget: what a build will take, what it has taken, and when it has to stop. Pure, but for the clock that is given.

Earth Engine bills compute in EECU-hours (developers.google.com/earth-engine/guides/noncommercial_tiers: a month has
150, 1,000 or 100,000 by tier). What a tile costs is not published: only what the service itself reports is a figure
here, all else is called a guess.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..dataset.ledger import LedgerRow
from ..spec.bands import S1_BANDS
from ..spec.recipe import REQUEST_BANDS
from ..spec.tiles import TILE_SIZE_PX, Tile
from ..spec.words import count_of

REQUESTS_PER_TILE = 2
"""Scene and pixels."""

REQUESTS_FOR_A_DAY = 2
"""Of an own label besides: the scenes of its period, and their cloud (more where the first scenes are not clear)."""

RECEIVED_PER_TILE = TILE_SIZE_PX**2 * sum(4 if band in S1_BANDS else 2 for band in REQUEST_BANDS)
"""Bytes of pixels in one answer: 8,323,200."""

SHARD_BYTES = (3_900_000, 4_600_000)
"""Per shard, measured on two real Sentinel-2 scenes (benchmarks/shard_size.py)."""

GUESSED_SECONDS = (5.0, 20.0)
"""Per request on Google's service. A guess: no figure is published for such a request."""

GUESSED_EECU_S = (30.0, 1560.0)
"""Per tile. Guesses that differ fifty-fold: the upper ones are extrapolated from one published figure, 5,000 EECU-s for
10,000 x 10,000 px of Sentinel-1."""

SECONDS_PER_HOUR = 3600.0
_DAY = timedelta(days=1)


# --- what was measured ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """Measured cost of the tiles that were requested.

    Attributes:
        tiles: with pixels that arrived.
        shard_bytes: mean size of a shard.
        metered: tiles whose cost the service reported.
        eecu_s: their mean compute seconds.
        eecu_s_error: standard error of that mean.
        tiles_per_hour: of the last stretch of work; 0 = unknown.
    """

    tiles: int = 0
    shard_bytes: float = 0.0
    metered: int = 0
    eecu_s: float = 0.0
    eecu_s_error: float = 0.0
    tiles_per_hour: float = 0.0


_PAUSE_S = 900.0
"""A longer gap between two tiles is the end of one run and the beginning of another."""


def measured(events: Sequence[LedgerRow], recipe_hash: str) -> Measured:
    """What the ledger knows of the cost of tiles.

    Args:
        events: in the order in which they were written.
        recipe_hash: of the recipe that counts; another one costs something else.
    """
    events = [row for row in events if row.recipe == recipe_hash]
    done = [row for row in events if row.state == "done" and row.received]
    costs = [row.eecu_s for row in events if row.eecu_s > 0]
    mean = sum(costs) / len(costs) if costs else 0.0
    spread = math.sqrt(sum((c - mean) ** 2 for c in costs) / (len(costs) - 1)) if len(costs) > 1 else 0.0
    return Measured(
        tiles=len(done),
        shard_bytes=sum(row.bytes for row in done) / len(done) if done else 0.0,
        metered=len(costs),
        eecu_s=mean,
        eecu_s_error=spread / math.sqrt(len(costs)) if costs else 0.0,
        tiles_per_hour=tiles_per_hour(events),
    )


def tiles_per_hour(events: Sequence[LedgerRow]) -> float:
    """Tiles that the service returned per hour, over the last stretch of work; 0 where it is unknown.

    Tiles that failed say nothing of it: a refusal comes in no time.
    """
    given = [row for row in events if row.requests and row.time and row.state != "failed"]
    times = [datetime.fromisoformat(row.time).timestamp() for row in given]
    begin = len(times) - 1
    while begin > 0 and 0 <= times[begin] - times[begin - 1] < _PAUSE_S:
        begin -= 1
    stretch = times[max(begin, 0) :]
    seconds = stretch[-1] - stretch[0] if len(stretch) > 1 else 0.0
    return (len(stretch) - 1) / seconds * SECONDS_PER_HOUR if seconds > 0 else 0.0


# --- what a build will take -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Range:
    """A figure with its lower and upper end, and where it comes from."""

    low: float
    high: float
    basis: str

    @property
    def is_measured(self) -> bool:
        return self.basis.startswith("measured")

    @property
    def figures(self) -> str:
        """``3.1-4.2``, or one figure where the ends are the same."""
        low, high = _short(self.low), _short(self.high)
        return low if low == high else f"{low}-{high}"


def _short(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of requesting some tiles.

    Attributes:
        tiles, requests: to send.
        received_gb: pixels to download, uncompressed.
        disk_gb: shards.
        hours: of wall clock.
        eecu_hours: of Earth Engine compute.
    """

    tiles: int
    requests: int
    received_gb: float
    disk_gb: Range
    hours: Range
    eecu_hours: Range


def estimate(
    tiles: int, known: Measured, *, concurrency: int, size: float = 1.0, requests: int = REQUESTS_PER_TILE
) -> Estimate:
    """Estimated cost of a number of tiles: from measurements so far, and from guesses where there are none.

    Args:
        concurrency: requests in flight.
        size: mean area of the tiles, as a share of that of a released one; see ``mean_size``.
        requests: per tile.
    """
    return Estimate(
        tiles=tiles,
        requests=requests * tiles,
        received_gb=tiles * RECEIVED_PER_TILE * size / 1e9,
        disk_gb=_disk(tiles, known, size),
        hours=_hours(tiles, known, concurrency),
        eecu_hours=_eecu(tiles, known),
    )


def mean_size(tiles: Sequence[Tile]) -> float:
    """Mean area of tiles, as a share of that of a released one; 1 where there are none."""
    pixels = sum(tile.shape[0] * tile.shape[1] for tile in tiles)
    return pixels / (len(tiles) * TILE_SIZE_PX**2) if tiles else 1.0


def _disk(tiles: int, known: Measured, size: float) -> Range:
    if known.tiles:
        figure = tiles * known.shard_bytes / 1e9
        return Range(figure, figure, f"measured on {count_of(known.tiles, 'shard')}")
    low, high = (tiles * size * shard / 1e9 for shard in SHARD_BYTES)
    return Range(low, high, "by two real scenes")


def _hours(tiles: int, known: Measured, concurrency: int) -> Range:
    if known.tiles_per_hour:
        figure = tiles / known.tiles_per_hour
        return Range(figure, figure, "measured in the last run")
    low, high = (tiles * seconds / concurrency / SECONDS_PER_HOUR for seconds in GUESSED_SECONDS)
    return Range(low, high, f"a guess: {GUESSED_SECONDS[0]:g}-{GUESSED_SECONDS[1]:g} s a tile, {concurrency} in flight")


def _eecu(tiles: int, known: Measured) -> Range:
    if known.metered:
        margin = 2 * known.eecu_s_error
        low, high = max(0.0, known.eecu_s - margin), known.eecu_s + margin
        basis = f"measured on {count_of(known.metered, 'tile')}, twice the standard error"
        return Range(tiles * low / SECONDS_PER_HOUR, tiles * high / SECONDS_PER_HOUR, basis)
    low, high = (tiles * seconds / SECONDS_PER_HOUR for seconds in GUESSED_EECU_S)
    return Range(
        low,
        high,
        f"not measured; guesses range over {GUESSED_EECU_S[0]:g}-{GUESSED_EECU_S[1]:g} EECU-s a tile; "
        "'dwplus build --pilot 50' measures",
    )


# --- when to stop -----------------------------------------------------------------------------------------------------


class Budget:
    """Decides which tiles are measured and when a run has to end; an ``export.Meter``.

    A tile in flight is counted at the mean of those measured, so that the budget is kept also for what is under way;
    until one is measured, tiles are requested one at a time.
    Not every tile is measured, since measuring costs requests: the first, and then one in ``SAMPLED``.

    Args:
        max_eecu_hours: compute that this run may use; None = any.
        until: local time at which no further tile is begun; None = no end.
        measure_all: measure every tile (a pilot).
        now: the clock.
    """

    SURE_AFTER = 10
    SAMPLED = 10

    def __init__(
        self,
        *,
        max_eecu_hours: float | None = None,
        until: datetime | None = None,
        measure_all: bool = False,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._max_s = None if max_eecu_hours is None else max_eecu_hours * SECONDS_PER_HOUR
        self._until = until
        self._measure_all = measure_all
        self._now = now
        self._begun = 0
        self._settled = 0
        self._metered = 0
        self._metered_s = 0.0

    def measure(self) -> bool:
        """Whether the tile that is begun now is to be measured."""
        self._begun += 1
        if self._measure_all:
            return True
        return self._max_s is not None and (self._metered < self.SURE_AFTER or self._begun % self.SAMPLED == 0)

    def spent(self, row: LedgerRow) -> None:
        """A tile is settled."""
        self._settled += 1
        if row.eecu_s > 0:
            self._metered += 1
            self._metered_s += row.eecu_s

    @property
    def eecu_s(self) -> float:
        """Compute seconds of the tiles settled so far: measured, and the mean of these for the others."""
        return self._metered_s / self._metered * self._settled if self._metered else 0.0

    def why_stop(self, in_flight: int) -> str:
        """Why no further tile may be begun; empty while one may."""
        now = self._now()
        if self._until is not None and now >= self._until:
            return f"it is {now:%H:%M}, the end that --until sets"
        if self._max_s is None:
            return ""
        if not self._metered:
            if self._settled >= self.SURE_AFTER:
                return (
                    "the service does not report what requests cost (no profile), so --max-eecu-hours cannot be kept; "
                    "leave it out, or use --until"
                )
            return ""
        mean = self._metered_s / self._metered
        if self.eecu_s + (in_flight + 1) * mean > self._max_s:
            return (
                f"the budget of --max-eecu-hours {self._max_s / SECONDS_PER_HOUR:g} is used up: "
                f"{self.eecu_s / SECONDS_PER_HOUR:.3g} EECU-hours for {count_of(self._settled, 'tile')}, {in_flight} "
                "more in flight"
            )
        return ""

    def must_wait(self, in_flight: int) -> bool:
        """Whether no further tile is begun before one of those in flight is settled: nothing is measured yet."""
        return self._max_s is not None and not self._metered and in_flight > 0


def parse_until(text: str, now: datetime) -> datetime:
    """The next moment that a person means by ``18:30`` or ``2026-11-30T07:00`` (local time, or with its zone).

    Raises:
        ValueError: it is neither, or lies in the past.
    """
    try:
        clock = datetime.strptime(text, "%H:%M")
    except ValueError:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            moment = moment.astimezone().replace(tzinfo=None)
        if moment <= now:
            raise ValueError(f"{text} has passed") from None
        return moment
    moment = now.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
    return moment if moment > now else moment + _DAY


def used_eecu_hours(events: Iterable[LedgerRow]) -> Range | None:
    """Compute that all tiles in a ledger took, by the mean of those that were measured; None where none was."""
    rows = [row for row in events if row.requests]
    costs = [row.eecu_s for row in rows if row.eecu_s > 0]
    if not costs:
        return None
    total = sum(costs) / len(costs) * len(rows) / SECONDS_PER_HOUR
    return Range(total, total, f"measured on {len(costs)} of {len(rows)} tiles")
