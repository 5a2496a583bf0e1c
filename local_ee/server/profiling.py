"""Profiles: what a request cost, as Earth Engine reports it to a client that wants it.

A request with ``X-Earth-Engine-Computation-Profiling: 1`` is answered with ``x-earth-engine-computation-profile: ID``,
and ``Profile.getProfiles(ids=[ID])`` gives the table; the client's ``ee.data.profiling`` and ``ee.profilePrinting`` do
both. Figures are CPU seconds of a worker of this machine, measured: not Google's EECU, which they replace here.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..refusal import Refusal
from ..scene import SceneSource

REQUEST_HEADER = "X-Earth-Engine-Computation-Profiling"
REPLY_HEADER = "x-earth-engine-computation-profile"
"""Source: ``ee.data`` of the client."""

FUNCTION = "Profile.getProfiles"
PLUMBING = "(plumbing)"
"""What no other row accounts for: here the evaluation of the expression, sampling, arithmetic and encoding."""

KEPT = 10_000
"""Profiles that a server remembers; the oldest go first."""

MAX_ENTRIES = 200
"""Source: signature of ``Profile.getProfiles``."""

_ID = re.compile(rb"[0-9a-f]{32}")

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One line of a profile.

    Attributes:
        description: what was done.
        seconds: CPU seconds.
        peak_bytes: most that one of the calls brought back.
        count: number of calls.
    """

    description: str
    seconds: float
    peak_bytes: int
    count: int

    def plus(self, other: Row) -> Row:
        peak = max(self.peak_bytes, other.peak_bytes)
        return Row(self.description, self.seconds + other.seconds, peak, self.count + other.count)


Profile = tuple[Row, ...]


class Meter:
    """Counts what calls cost; rows add up to all CPU seconds since it was made."""

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        self._clock = clock
        self._begun = clock()
        self._rows: dict[str, Row] = {}

    def call(self, description: str, function: Callable[[], T], size: Callable[[T], int] = lambda _: 0) -> T:
        """What a function gives, with its cost noted."""
        begun = self._clock()
        result = function()
        self.add(Row(description, self._clock() - begun, size(result), 1))
        return result

    def add(self, row: Row) -> None:
        known = self._rows.get(row.description)
        self._rows[row.description] = row if known is None else known.plus(row)

    def profile(self, answer_bytes: int = 0) -> Profile:
        """All rows, the rest as ``PLUMBING``."""
        rest = self._clock() - self._begun - sum(row.seconds for row in self._rows.values())
        return (*self._rows.values(), Row(PLUMBING, max(rest, 0.0), answer_bytes, 1))


class MeteredCatalogue:
    """A catalogue whose searches and reads are metered."""

    def __init__(self, catalogue: SceneSource, meter: Meter) -> None:
        self._catalogue, self._meter = catalogue, meter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalogue, name)

    def find(self, collection: str, **narrowing: Any) -> Any:
        return self._meter.call(
            f"Searching collection: {collection}", lambda: self._catalogue.find(collection, **narrowing)
        )

    def scene(self, asset_id: str) -> Any:
        return self._meter.call("Searching asset by id", lambda: self._catalogue.scene(asset_id))

    def read(self, scene: Any, band_id: str, rows: tuple[int, int], cols: tuple[int, int]) -> Any:
        return self._meter.call(
            f"Loading pixels: {scene.id.rpartition('/')[0]}",
            lambda: self._catalogue.read(scene, band_id, rows, cols),
            lambda read: int(read[0].nbytes + read[1].nbytes),
        )


class Profiles:
    """The profiles of a server's last requests, by id; safe for many threads."""

    def __init__(self, kept: int = KEPT) -> None:
        self._lock = threading.Lock()
        self._kept = kept
        self._profiles: OrderedDict[str, Profile] = OrderedDict()

    def add(self, profile: Profile) -> str:
        """Keep a profile; gives its id, which cannot be guessed."""
        name = secrets.token_hex(16)
        with self._lock:
            self._profiles[name] = profile
            while len(self._profiles) > self._kept:
                self._profiles.popitem(last=False)
        return name

    def named_in(self, body: bytes) -> dict[str, Profile] | None:
        """Profiles whose ids a request holds; None where it wants no profiles."""
        if FUNCTION.encode() not in body:
            return None
        names = {name.decode() for name in _ID.findall(body)}
        with self._lock:
            return {name: self._profiles[name] for name in names & self._profiles.keys()}


def get_profiles(profiles: Mapping[str, Profile]) -> Callable[..., Any]:
    """The function ``Profile.getProfiles`` over the profiles of a request."""

    def call(ids: list[Any], format: str = "text", max_entries: int | None = None) -> Any:  # noqa: A002 - the service's name
        missing = [name for name in ids if name not in profiles]
        if missing:
            raise Refusal(f"{FUNCTION}: Profile '{str(missing[0])[:64]}' not found.")
        rows = merged((profiles[name] for name in ids), MAX_ENTRIES if max_entries is None else int(max_entries))
        if format == "text":
            return as_text(rows)
        if format == "json":
            return as_json(rows)
        raise Refusal(f"{FUNCTION}: Parameter 'format' must be 'text' or 'json', not '{str(format)[:20]}'.")

    return call


def merged(profiles: Iterable[Profile], limit: int = MAX_ENTRIES) -> Profile:
    """One profile out of several, the dearest row first; beyond the limit rows become one, ``(...)``."""
    rows: dict[str, Row] = {}
    for row in (row for profile in profiles for row in profile):
        known = rows.get(row.description)
        rows[row.description] = row if known is None else known.plus(row)
    ordered = sorted(rows.values(), key=lambda row: -row.seconds)
    kept, rest = ordered[: max(limit - 1, 0)], ordered[max(limit - 1, 0) :]
    if len(rest) > 1:
        whole = Row("(...)", sum(row.seconds for row in rest), max(row.peak_bytes for row in rest), 0)
        rest = [Row(whole.description, whole.seconds, whole.peak_bytes, sum(row.count for row in rest))]
    return (*kept, *rest)


def as_text(rows: Profile) -> str:
    """The table that ``ee.profilePrinting`` prints."""
    lines = [" EECU·s PeakMem  Count  Description"]
    lines += [f"{row.seconds:7.3f} {_short(row.peak_bytes):>7} {row.count:>6}  {row.description}" for row in rows]
    return "\n".join(lines) + "\n"


def as_json(rows: Profile) -> dict[str, Any]:
    """The same by columns, with a description of each."""
    return {
        "cols": [
            {"id": "eecu_s", "label": "EECU·s", "type": "number"},
            {"id": "peak_bytes", "label": "PeakMem", "type": "number"},
            {"id": "count", "label": "Count", "type": "number"},
            {"id": "description", "label": "Description", "type": "string"},
        ],
        "rows": [[row.seconds, row.peak_bytes, row.count, row.description] for row in rows],
    }


def _short(size: int) -> str:
    """``83k`` for 83,000 bytes."""
    for unit, factor in (("M", 1_000_000), ("k", 1000)):
        if size >= factor:
            return f"{size / factor:.{0 if size >= 10 * factor else 1}f}{unit}"
    return str(size)
