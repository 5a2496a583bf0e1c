"""Quarantine: shards of tiles with errors are put aside, never deleted, and can be brought back.

A shard moves from ``shards/...`` to ``quarantine/shards/...``; a note beside it (``<dw_id>.json``) says why and holds
the ledger row that it had. The ledger says ``discarded``, reason ``quarantined``: builds leave the tile alone, and
``dwplus retry --reason quarantined`` requests its pixels again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..dataset.findings import Finding
from ..dataset.ledger import Ledger, LedgerRow, write_failures
from ..dataset.manifest import ManifestRow
from ..dataset.root import DataRoot
from ..errors import DataError, UsageError
from ..files.atomic import sha256_of
from ..files.records import read_record, write_record
from ..spec.tiles import Tile

REASON = "quarantined"


@dataclass(frozen=True)
class Move:
    """One shard to put aside: its tile, its ledger row and the errors of it."""

    tile: Tile
    last: LedgerRow
    errors: tuple[Finding, ...]


def plan_quarantine(
    rows: Iterable[ManifestRow], findings: Iterable[Finding], known: Mapping[str, LedgerRow]
) -> tuple[Move, ...]:
    """Complete tiles with an error, in manifest order.

    Args:
        findings: those that count (``waivers.effective``).
        known: last ledger row of each tile.
    """
    errors: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.severity == "error" and finding.tile:
            errors[finding.tile].append(finding)
    return tuple(
        Move(row.tile, known[row.tile.id], tuple(errors[row.tile.id]))
        for row in rows
        if row.tile.id in errors and row.tile.id in known and known[row.tile.id].state == "done"
    )


def quarantine(root: DataRoot, rows: Sequence[ManifestRow], findings: Iterable[Finding]) -> tuple[str, ...]:
    """Put the shards of tiles with errors aside; ids of those tiles.

    A shard that does not exist is left to the next build, which requests it.

    Raises:
        DwplusError: another process writes in the data root.
    """
    with root.open_ledger() as ledger:
        _finish_moves(root, rows, ledger)
        moves = [m for m in plan_quarantine(rows, findings, ledger.rows) if root.own_shard(m.tile).is_file()]
        for move in moves:
            _put_aside(root, move, ledger)
        write_failures(root.folder, ledger.rows.values())
    return tuple(move.tile.id for move in moves)


def _put_aside(root: DataRoot, move: Move, ledger: Ledger) -> None:
    source, target = root.own_shard(move.tile), root.set_aside(move.tile)
    _make_room(target)
    note = {
        "tile": move.tile.id,
        "errors": [asdict(finding) for finding in move.errors],
        "ledger": asdict(move.last),
        # Not always the ledger's: that may be the error.
        "sha256": sha256_of(source.read_bytes()),
        "back": f"dwplus validate --restore {move.tile.id}",
    }
    write_record(target.with_suffix(".json"), note)
    words = "; ".join(f"{finding.rule}: {finding.message}" for finding in move.errors)
    # The ledger first: a shard that an interrupted run left in place does no harm, and moves the next time.
    ledger.append(replace(move.last, state="discarded", reason=REASON, detail=words, seconds=0.0, time=""))
    source.replace(target)


def _make_room(target: Path) -> None:
    """Number what an earlier quarantine of the same tile left: nothing is deleted."""
    number = 1
    while target.with_suffix(f".{number}.tif").exists():
        number += 1
    for path in (target, target.with_suffix(".json")):
        if path.exists():
            path.replace(path.with_suffix(f".{number}{path.suffix}"))


def _finish_moves(root: DataRoot, rows: Sequence[ManifestRow], ledger: Ledger) -> None:
    """Complete the moves that an interrupted run had only recorded."""
    for row in rows:
        last, source, target = ledger.rows.get(row.tile.id), root.own_shard(row.tile), root.set_aside(row.tile)
        if last is not None and last.reason == REASON and source.is_file() and not target.is_file():
            source.replace(target)


def restore(root: DataRoot, rows: Iterable[ManifestRow], tile_id: str) -> Path:
    """Bring a shard back from quarantine, as it was; its path. It is validated anew before anything uses it.

    Raises:
        UsageError: that tile is not in quarantine, or has a shard again.
        DataError: what lies in quarantine is not what was put there.
    """
    tile = next((row.tile for row in rows if row.tile.id == tile_id), None)
    with root.open_ledger() as ledger:
        last = ledger.rows.get(tile_id)
        if tile is None or last is None or last.reason != REASON:
            state = "is not in the manifest" if tile is None else "is not in quarantine"
            there = sorted(t for t, row in ledger.rows.items() if row.reason == REASON)
            listed = f"in quarantine: {', '.join(there[:5])}" if there else "nothing is in quarantine"
            raise UsageError(f"tile {tile_id} {state}; {listed}")
        source, target = root.set_aside(tile), root.own_shard(tile)
        before, sha256 = _read_note(source.with_suffix(".json"))
        # A move that was killed left the shard where it was.
        _check_same(source if source.is_file() else target, sha256)
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        ledger.append(before)
        source.with_suffix(".json").unlink()
        write_failures(root.folder, ledger.rows.values())
    return target


def _read_note(path: Path) -> tuple[LedgerRow, str]:
    """The ledger row that a shard had, and the hash of its file."""
    note = read_record(path, _Note, remedy=_AGAIN)
    return note.ledger, note.sha256


@dataclass(frozen=True)
class _Note:
    """What lies beside a shard in quarantine, as far as it is needed to bring it back."""

    ledger: LedgerRow
    sha256: str


_AGAIN = f"request the pixels again with 'dwplus retry --reason {REASON}'"


def _check_same(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise DataError(f"{path} does not exist; {_AGAIN}")
    if sha256_of(path.read_bytes()) != sha256:
        raise DataError(f"{path} is not the shard that was put in quarantine (another hash); {_AGAIN}")
