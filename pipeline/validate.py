"""Validate: read every shard of a data root and its label to the last byte and say what is wrong with them.

The rules stand in ``rules``. Comes after ``export`` and before ``normalise``; tiles with an error are left out of
statistics and training.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .cluster import Runner
from .errors import DataError
from .files import read_json, write_atomically, write_json
from .ledger import LedgerRow, read_ledger
from .look import Look, open_fully
from .manifest import ManifestRow
from .places import Place, check_in_sight, pixels_of
from .rules import Finding, judge
from .shards import grid_of, shard_path

__all__ = [
    "FINDINGS_CSV",
    "FINDINGS_JSON",
    "Finding",
    "ValidateBatch",
    "bad_tiles",
    "look_at",
    "read_findings",
    "to_validate",
    "unreadable_tiles",
    "validate",
    "validate_tile",
    "validated_tiles",
]

FINDINGS_JSON = "findings.json"
FINDINGS_CSV = "findings.csv"

_BROKEN_FILE = frozenset({"readable", "hash"})
"""Rules whose findings say that the shard on disk is not the one that was exported: a build asks for it again."""

_LOOK_AGAIN = _BROKEN_FILE | {"label-readable"}
"""Rules about the bytes on disk, which may be other ones the next time although the ledger says the same."""


def look_at(row: ManifestRow, root: Place, *, sha256: str = "") -> Look:
    """One tile of a data root as the rules see it: shard and label, each read once.

    Args:
        sha256: of the shard by the ledger; empty = not known.
    """
    shard, label = open_fully(shard_path(root, row.tile)), open_fully(root / row.label)
    return Look(
        kind="shard",
        name=row.tile.id,
        header=shard.header,
        values=shard.values,
        fault=shard.fault,
        gcps=shard.gcps,
        reference=grid_of(row.tile),
        label=label.header,
        label_codes=label.values[0] if label.values is not None else None,
        label_fault=f"{row.label} {label.fault}" if label.fault else "",
        sha256=shard.sha256,
        expected_sha256=sha256,
    )


def validate_tile(row: ManifestRow, root: Place, *, sha256: str = "") -> list[Finding]:
    """Findings of one tile; a file that cannot be read to its end is a finding too."""
    return judge(look_at(row, root, sha256=sha256))


@dataclass(frozen=True)
class ValidateBatch:
    """The task of one worker (a class, so that it can be sent to other processes)."""

    root: Place

    def __call__(self, items: Sequence[tuple[ManifestRow, str]]) -> list[Finding]:
        """Findings of tiles, each with the hash of its shard by the ledger."""
        check_in_sight(self.root)
        return [finding for row, sha256 in items for finding in validate_tile(row, self.root, sha256=sha256)]


def validate(
    rows: Sequence[ManifestRow],
    *,
    root: Path,
    run: Runner,
    all_again: bool = True,
    on_batch: Callable[[int], None] | None = None,
) -> list[Finding]:
    """Findings of all tiles, ordered by tile and rule; also written to ``findings.json`` and ``findings.csv``.

    Args:
        all_again: read also what the last validation saw in the same state, which a build need not.
    """
    ledger = read_ledger(root)
    seen = _states(rows, ledger)
    before = {} if all_again else _validated_states(root)
    same = {tile for tile, state in seen.items() if before.get(tile) == state}
    fresh = [row for row in rows if row.tile.id not in same]
    if not all_again and not fresh and _looked_at(root) == seen.keys():
        return read_findings(root)
    findings = [f for f in read_findings(root) if f.tile in same] if same else []
    work = [(row, ledger[row.tile.id].sha256 if row.tile.id in ledger else "") for row in fresh]
    for tiles, part in run(ValidateBatch(pixels_of(root)), work):
        findings += part
        if on_batch is not None:
            on_batch(tiles)
    findings.sort(key=lambda f: (f.tile, f.rule))
    document = {"tiles": len(rows), "findings": [asdict(f) for f in findings], "validated": seen}
    write_json(root / FINDINGS_JSON, document)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["tile", "rule", "severity", "message"])
    writer.writerows([f.tile, f.rule, f.severity, f.message] for f in findings)
    write_atomically(root / FINDINGS_CSV, text.getvalue().encode())
    return findings


def read_findings(root: Path) -> list[Finding]:
    """Findings of the last validation.

    Raises:
        DataError: the data set was not validated yet.
    """
    return [Finding(**finding) for finding in _read_document(root)["findings"]]


def _state_of(row: ManifestRow, shard_sha256: str) -> str:
    """What was looked at: a shard with its label."""
    return f"{shard_sha256} {row.label_sha256}"


def _states(rows: Sequence[ManifestRow], ledger: Mapping[str, LedgerRow]) -> dict[str, str]:
    return {row.tile.id: _state_of(row, ledger[row.tile.id].sha256) for row in rows if row.tile.id in ledger}


def _looked_at(root: Path) -> set[str] | None:
    """Tiles that the findings on disk are about; None where there are none."""
    return set(_read_document(root)["validated"]) if (root / FINDINGS_JSON).is_file() else None


def _validated_states(root: Path) -> dict[str, str]:
    """Tile id -> what the last validation saw of it; without those whose bytes on disk were broken."""
    if not (root / FINDINGS_JSON).is_file():
        return {}
    broken = {finding.tile for finding in read_findings(root) if finding.rule in _LOOK_AGAIN}
    return {tile: state for tile, state in _read_document(root)["validated"].items() if tile not in broken}


def to_validate(rows: Sequence[ManifestRow], *, root: Path) -> int:
    """How many of these tiles the last validation did not see as they are now."""
    before = _validated_states(root)
    return sum(before.get(tile) != state for tile, state in _states(rows, read_ledger(root)).items())


def validated_tiles(root: Path) -> dict[str, str]:
    """Tile id -> hash of its shard, of every tile that the last validation saw.

    Raises:
        DataError: the data set was not validated yet.
    """
    return {tile: state.split(" ")[0] for tile, state in _read_document(root)["validated"].items()}


def _read_document(root: Path) -> dict[str, Any]:
    path = root / FINDINGS_JSON
    if not path.is_file():
        raise DataError(f"{root} is not validated yet; run 'dwplus validate'")
    document = read_json(path)
    if not isinstance(document, dict) or not {"findings", "validated"} <= set(document):
        raise DataError(f"{path} holds no findings; run 'dwplus validate' again")
    return document


def unreadable_tiles(root: Path) -> frozenset[str]:
    """Tiles whose shard the last validation could not read, or found to be another file than the ledger says.

    None where there was no validation.
    """
    if not (root / FINDINGS_JSON).is_file():
        return frozenset()
    seen, ledger = validated_tiles(root), read_ledger(root)
    broken = (f.tile for f in read_findings(root) if f.rule in _BROKEN_FILE)
    # A shard that was written anew since then is another one.
    return frozenset(tile for tile in broken if tile in ledger and ledger[tile].sha256 == seen.get(tile))


def bad_tiles(findings: Sequence[Finding]) -> frozenset[str]:
    """Ids of tiles with an error."""
    return frozenset(finding.tile for finding in findings if finding.severity == "error")
