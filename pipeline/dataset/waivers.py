"""Waivers: findings that were inspected and accepted, each with a reason, in ``waivers.toml``.

::

    [[waiver]]
    rule = "same-scene"
    tile = "dw_-59.6*"                # tile id or a pattern (*, ?); "" = findings about the whole set
    reason = "scene shared on purpose, see the data-set card"
    until = 2027-06-30                # optional: last day on which it holds

Comes after ``validate`` and ``audit``, which find; statistics, training and exit codes go by ``effective``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError, in_brief
from ..files.atomic import parse_toml, sha256_of, write_atomically
from ..files.checksums import report_unchecked
from .findings import Finding, bad_tiles, read_findings

WAIVERS_FILE = "waivers.toml"

_COPIED = "# Copied by 'dwplus validate --waivers'; edit the original."
_HASH = " SHA-256 of what follows: "
_KEYS = {"rule", "tile", "reason", "until"}


@dataclass(frozen=True)
class Waiver:
    """What is waived, and why.

    Attributes:
        rule: name of the rule.
        tile: tile id, or a pattern of ids; empty for findings about the whole set.
        reason: as text.
        until: last day on which it holds; None = for good.
    """

    rule: str
    tile: str
    reason: str
    until: date | None = None

    def holds(self, today: date) -> bool:
        return self.until is None or today <= self.until

    def covers(self, finding: Finding) -> bool:
        """Whether it is about this finding. ``*`` is about every tile, not about the set."""
        if not self.tile or not finding.tile:
            return finding.rule == self.rule and self.tile == finding.tile
        return finding.rule == self.rule and fnmatchcase(finding.tile, self.tile)


# --- pure -------------------------------------------------------------------------------------------------------------


def effective(
    findings: Iterable[Finding], waivers: Sequence[Waiver], *, today: date | None = None
) -> tuple[Finding, ...]:
    """Findings that count: those that no waiver covers today, in their order."""
    return tuple(f for f in findings if waiver_of(f, waivers, today=today) is None)


def waiver_of(finding: Finding, waivers: Sequence[Waiver], *, today: date | None = None) -> Waiver | None:
    """The first waiver that covers a finding today; None where it counts."""
    day = today or date.today()
    return next((w for w in waivers if w.covers(finding) and w.holds(day)), None)


def parse_waivers(text: str, where: str) -> tuple[Waiver, ...]:
    """Waivers out of TOML.

    Raises:
        UsageError: it is not TOML, or a waiver has an unknown key, no rule, no tile or no reason.
    """
    content = parse_toml(text, where=where)
    entries = content.get("waiver", [])
    if set(content) - {"waiver"} or not isinstance(entries, list):
        raise UsageError(f"{where}: waivers are tables called [[waiver]], not {in_brief(', '.join(sorted(content)))}")
    return tuple(_parse(entry, f"{where}, waiver {number}") for number, entry in enumerate(entries, start=1))


def _parse(entry: Any, where: str) -> Waiver:
    if not isinstance(entry, dict):
        raise UsageError(f"{where} is no table; write [[waiver]], and below it rule, tile and reason")
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        raise UsageError(
            f"{where}: unknown key {in_brief(', '.join(unknown))}; a waiver has rule, tile, reason and until"
        )
    for key in ("rule", "tile", "reason"):
        value = entry.get(key)
        # An empty tile means the set.
        if not isinstance(value, str) or (key != "tile" and not value.strip()):
            raise UsageError(f'{where}: {key} is missing; write {key} = "..."')
    until = entry.get("until")
    if until is not None and type(until) is not date:
        raise UsageError(
            f"{where}: until is {in_brief(repr(until), 80)}; write a day without quotes, until = 2027-06-30"
        )
    return Waiver(entry["rule"], entry["tile"], entry["reason"].strip(), until)


def check_waivers(
    waivers: Iterable[Waiver], *, rules: Collection[str], tiles: Collection[str], where: str = WAIVERS_FILE
) -> None:
    """Make sure that every waiver can ever be about something.

    Args:
        rules: names of all rules.
        tiles: ids of all tiles of the data root.

    Raises:
        UsageError: a rule or a tile is not known.
    """
    for waiver in waivers:
        if waiver.rule not in rules:
            raise UsageError(f"{where}: no rule {waiver.rule!r}; rules are {', '.join(sorted(rules))}")
        known = waiver.tile in tiles or waiver.tile == ""
        if not known and not any(fnmatchcase(tile, waiver.tile) for tile in tiles):
            raise UsageError(
                f'{where}: no tile {waiver.tile!r} in the manifest; name a tile, a pattern (dw_-59*), or "" for '
                "findings about the whole set"
            )


# --- files ------------------------------------------------------------------------------------------------------------


def read_waivers(folder: Path) -> tuple[Waiver, ...]:
    """Waivers of a data root; none where it has no ``waivers.toml``.

    Raises:
        UsageError: the file says something that is no waiver.
        DataError: it cannot be read.
    """
    path = folder / WAIVERS_FILE
    return _read(path) if path.is_file() else ()


def _read(path: Path) -> tuple[Waiver, ...]:
    try:
        content = path.read_bytes()
        _check_copy(path, content)
        return parse_waivers(content.decode("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from None


def _check_copy(path: Path, content: bytes) -> None:
    """Make sure that a copy is as it was made; what was written by hand is its writer's.

    Raises:
        DataError: it was changed or damaged since.
    """
    first, _, rest = content.partition(b"\n")
    if not first.startswith(_COPIED.encode()):
        return
    recorded = first.removeprefix(_COPIED.encode()).decode(errors="replace").removeprefix(_HASH).strip()
    if not recorded:
        report_unchecked(str(path))
    elif recorded != sha256_of(rest):
        raise DataError(f"{path} was changed since it was copied; copy it again with 'dwplus validate --waivers FILE'")


def adopt_waivers(folder: Path, given: Path) -> None:
    """Copy waivers to the data root, where statistics and training find them; an earlier copy is replaced.

    Raises:
        UsageError: the file holds no waivers, or the root has waivers that were written there by hand.
        DataError: it cannot be read.
    """
    _read(given)
    content, own = given.read_bytes(), folder / WAIVERS_FILE
    if own.is_file():
        if own.samefile(given):
            return
        if not own.read_bytes().startswith(_COPIED.encode()):
            raise UsageError(
                f"{own} was written by hand and would be lost; move it away, or add to it what {given} says"
            )
    write_atomically(own, f"{_COPIED}{_HASH}{sha256_of(content)}\n".encode() + content)


def unfit_tiles(folder: Path, *, today: date | None = None) -> frozenset[str]:
    """Tiles that statistics and training leave out: those with an error that is not waived.

    Raises:
        DataError: the data set was not validated yet.
    """
    return bad_tiles(effective(read_findings(folder), read_waivers(folder), today=today))
