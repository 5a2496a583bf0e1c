"""Checks of a manifest: what to know before pixels are requested. Pure; reads no file, sends no request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from ..dataset.manifest import PROTOCOLS, ManifestRow
from ..spec.overlaps import shared_ground
from ..spec.recipe import FIRST_S2_DAY
from ..spec.test_tiles import known_test_tiles
from ..spec.tiles import locate, parse_tile_id
from ..spec.words import count_of

FIRST_L2A_DAY = date(2017, 3, 28)
"""First day of COPERNICUS/S2_SR_HARMONIZED (its catalogue page)."""

LITTLE_MARKED = 0.3

SAME_GROUND = 0.95
"""Share of a tile from which on another one is the same tile again: names differ when a grid is moved by a pixel."""


@dataclass(frozen=True)
class ManifestFinding:
    """Something about the tiles of a manifest.

    Attributes:
        rule: name of the check.
        severity: an ``error`` makes numbers wrong, a ``warning`` is to be known.
        tiles: ids, at most two per finding but where they say the same together.
        message: what was found, as text.
    """

    rule: str
    severity: Literal["error", "warning"]
    tiles: tuple[str, ...]
    message: str


def check_manifest(rows: Iterable[ManifestRow], *, today: date | None = None) -> list[ManifestFinding]:
    """All findings, errors first, then by rule and tile.

    Args:
        today: no label is of a later day.
    """
    rows = tuple(rows)
    locate(row.tile for row in rows)
    findings = [finding for check in CHECKS for finding in check(rows)]
    findings += _dates(rows, today or date.today())
    return sorted(findings, key=lambda f: (f.severity != "error", f.rule, f.tiles))


def _duplicates(rows: Sequence[ManifestRow]) -> Iterator[ManifestFinding]:
    """One id twice; one label under two ids."""
    for rule, key, words in (
        ("duplicate-id", lambda row: row.tile.id, "stands twice in the manifest"),
        ("duplicate-label", lambda row: row.label_sha256, "have the same label file"),
    ):
        for same in _same(rows, key):
            ids = tuple(row.tile.id for row in same)
            # A label of one class says little: two tiles of sea look alike.
            severity: Literal["error", "warning"] = "warning" if rule == "duplicate-label" else "error"
            yield ManifestFinding(rule, severity, ids, f"{count_of(len(ids), 'tile')} {words}")


def _same(rows: Sequence[ManifestRow], key: Callable[[ManifestRow], object]) -> list[list[ManifestRow]]:
    groups: dict[object, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return [group for group in groups.values() if len(group) > 1]


def _overlaps(rows: Sequence[ManifestRow]) -> Iterator[ManifestFinding]:
    """Ground that two ids share on one day, nearly all of it, and ground that two splits of one protocol share.

    Training tiles that were left out for it do not count.
    """
    used = [row for row in rows if not row.discard and row.release != "inspect"]
    tiles = [row.tile for row in used]
    for i, j, share in shared_ground(tiles, tiles):
        if i >= j:
            continue
        if share >= SAME_GROUND and tiles[i].id != tiles[j].id and tiles[i].date == tiles[j].date:
            words = f"share {share:.1%} of their ground on one day"
            # Two inputs of a user may mark one place; where they call a pixel two things, the second was refused.
            own = used[i].release == used[j].release == "own"
            severity: Literal["error", "warning"] = "warning" if own else "error"
            yield ManifestFinding("duplicate-ground", severity, (tiles[i].id, tiles[j].id), words)
        for protocol in PROTOCOLS:
            first, second = used[i].split(protocol), used[j].split(protocol)
            if first != second:
                ids = (tiles[i].id, tiles[j].id)
                words = f"share {share:.1%} of their ground, one in {first}, one in {second} ({protocol})"
                yield ManifestFinding("split-overlap", "error", ids, words)


def _left_out(rows: Sequence[ManifestRow]) -> Iterator[ManifestFinding]:
    ids = tuple(sorted(row.tile.id for row in rows if row.discard == "test_overlap"))
    if ids:
        verbs = "is, or overlaps," if len(ids) == 1 else "are, or overlap,"
        words = f"{count_of(len(ids), 'training tile')} {verbs} a test tile: left out, never requested"
        yield ManifestFinding("test-overlap", "warning", ids, words)


def _missing_tests(rows: Sequence[ManifestRow]) -> Iterator[ManifestFinding]:
    present = {row.tile.id for row in rows if row.release == "test"}
    missing = tuple(sorted(tile.id for tile in known_test_tiles() if tile.id not in present))
    if present and missing:
        words = f"{len(missing)} of the {len(known_test_tiles())} released test tiles are not there"
        yield ManifestFinding("test-missing", "warning", missing, words)


def _marked(rows: Sequence[ManifestRow]) -> Iterator[ManifestFinding]:
    for row in rows:
        if row.marked_share == 0:
            yield ManifestFinding("unmarked", "error", (row.tile.id,), "no pixel of the label has a class")
        elif row.marked_share < LITTLE_MARKED and row.release != "own":
            words = f"only {row.marked_share:.1%} of the label is marked"
            yield ManifestFinding("unmarked", "warning", (row.tile.id,), words)


def _places(rows: Sequence[ManifestRow]) -> Iterator[ManifestFinding]:
    for row in rows:
        tile = row.tile
        lon, lat = tile.centre
        zone = int((lon + 180) // 6) % 60 + 1
        away = min((int(tile.crs[-2:]) - zone) % 60, (zone - int(tile.crs[-2:])) % 60)
        # Tiles near the edge of a zone may lie on the grid of the next one.
        if away > 1 or ((tile.crs[-3] == "7") != (lat < 0) and abs(lat) > 1):
            words = f"lies at {lon:.3f}, {lat:.3f}, its grid in {tile.crs}"
            yield ManifestFinding("zone", "error", (tile.id,), words)
        if row.release == "own":
            # Named after its grid; biomes are those of the releases.
            continue
        named = parse_tile_id(tile.id)
        if abs((named.lon - lon + 180) % 360 - 180) > 0.01 / max(0.05, abs(1 - lat * lat / 8100)) or (
            abs(named.lat - lat) > 0.01
        ):
            words = f"is named after {named.lon:.4f}, {named.lat:.4f}, its grid lies at {lon:.4f}, {lat:.4f}"
            yield ManifestFinding("name", "warning", (tile.id,), words)
        if (tile.hemisphere == "WH") != (lon < -20):
            words = f"lies at {lon:.3f} degrees east, in the folder {tile.hemisphere}"
            yield ManifestFinding("hemisphere", "warning", (tile.id,), words)
        if tile.biome == 0 and row.release != "inspect":
            yield ManifestFinding("biome", "warning", (tile.id,), "its biome is not known")


def _dates(rows: Sequence[ManifestRow], today: date) -> Iterator[ManifestFinding]:
    for row in rows:
        tile = row.tile
        # An own label with a period is named after its first day, and has the day of its scene.
        if row.release != "own" and tile.date != parse_tile_id(tile.id).date:
            yield ManifestFinding("date", "error", (tile.id,), f"is named otherwise than its date {tile.date}")
        if not FIRST_S2_DAY <= tile.date <= today:
            words = f"is of {tile.date}, not between {FIRST_S2_DAY} and today"
            yield ManifestFinding("date", "error", (tile.id,), words)
        elif tile.date < FIRST_L2A_DAY:
            words = f"is of {tile.date}, before Earth Engine's L2A scenes begin ({FIRST_L2A_DAY})"
            yield ManifestFinding("date", "warning", (tile.id,), words)


CHECKS: tuple[Callable[[Sequence[ManifestRow]], Iterator[ManifestFinding]], ...] = (
    _duplicates,
    _overlaps,
    _left_out,
    _missing_tests,
    _marked,
    _places,
)
