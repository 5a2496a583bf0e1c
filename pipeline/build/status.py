"""Status: build progress of a data set, from its manifest and its ledger. Pure; also right while a build is writing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..dataset.ledger import LedgerRow
from ..dataset.manifest import ManifestRow
from ..spec.tiles import biome_names
from .budget import Estimate, Measured, Range, estimate, measured, used_eecu_hours

OPEN = "open"
"""State of a tile that was not requested yet."""


@dataclass(frozen=True)
class Group:
    """Tiles that share a split, a region, a biome.

    Attributes:
        done, discarded, failed, open: tiles by state; they add up to ``tiles``.
    """

    name: str
    tiles: int
    done: int
    discarded: int
    failed: int
    open: int


@dataclass(frozen=True)
class Status:
    """Build progress of a data set.

    Attributes:
        groups: title of the division -> its groups.
        reasons: why tiles are missing -> how many, most frequent first.
        shard_bytes: of all complete shards.
        known: measured cost of tiles so far.
        used_eecu_hours: by all requested tiles; None where their cost was never measured.
        left: estimated cost of the tiles that are open or failed.
    """

    tiles: int
    states: Mapping[str, int]
    groups: Mapping[str, tuple[Group, ...]]
    reasons: Mapping[str, int]
    shard_bytes: int
    known: Measured
    used_eecu_hours: Range | None
    left: Estimate


def status(rows: Sequence[ManifestRow], events: Sequence[LedgerRow], *, recipe_hash: str, concurrency: int) -> Status:
    """Build progress of a data set.

    Args:
        rows: the manifest; tiles of the ledger that are not in it (labels that cannot be used) count too.
        events: the ledger, in the order in which it was written.
        recipe_hash: of the recipe of the remaining requests.
        concurrency: requests in flight of the run to come.
    """
    last = {row.tile: row for row in events}
    states = {row.tile.id: last[row.tile.id].state if row.tile.id in last else OPEN for row in rows}
    for row in rows:
        if row.discard and states[row.tile.id] == OPEN:
            states[row.tile.id] = "discarded"
    unusable = {tile: row for tile, row in last.items() if tile not in states and row.state != "done"}
    every = {**states, **{tile: row.state for tile, row in unusable.items()}}
    reasons = [last[tile].reason for tile, state in every.items() if state in ("discarded", "failed") and tile in last]
    names = biome_names()
    known = measured(events, recipe_hash)
    left = sum(state in (OPEN, "failed") for state in every.values())
    return Status(
        tiles=len(every),
        states=_counts(every.values()),
        groups={
            "split": _groups(rows, states, lambda row: row.split_strict or "none"),
            "region": _groups(rows, states, lambda row: row.tile.region),
            "biome": _groups(rows, states, lambda row: f"{row.tile.biome:2} {names.get(row.tile.biome, 'not known')}"),
        },
        reasons=_counts(reasons),
        shard_bytes=sum(row.bytes for row in last.values() if row.state == "done"),
        known=known,
        used_eecu_hours=used_eecu_hours(events),
        left=estimate(left, known, concurrency=concurrency),
    )


def _counts(values: Iterable[str]) -> dict[str, int]:
    """How often each occurs, the most frequent first."""
    return dict(Counter(values).most_common())


def _groups(
    rows: Sequence[ManifestRow], states: Mapping[str, str], key: Callable[[ManifestRow], str]
) -> tuple[Group, ...]:
    members: dict[str, list[str]] = {}
    for row in rows:
        members.setdefault(key(row), []).append(states[row.tile.id])
    return tuple(
        Group(
            name,
            len(of),
            done=of.count("done"),
            discarded=of.count("discarded"),
            failed=of.count("failed"),
            open=of.count(OPEN),
        )
        for name, of in sorted(members.items())
    )
