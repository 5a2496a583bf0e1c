"""Validate: read every shard of a data root and its label to the last byte and say what is wrong with them.

The rules are in ``rules``. Comes after ``export`` and before ``normalise``; tiles with an error are left out of
statistics and training.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..cluster import Runner
from ..dataset.findings import Finding, FindingsDocument, validated_ids, validated_states, write_findings
from ..dataset.ledger import LedgerRow
from ..dataset.manifest import ManifestRow
from ..dataset.root import DataRoot
from ..files.atomic import write_atomically
from ..raster.geotiff import grid_of
from .file_view import FileView, open_fully
from .rules import judge


def view_of(row: ManifestRow, root: DataRoot, *, sha256: str = "", has_s1: bool = True) -> FileView:
    """One tile of a data root as the rules see it: shard and label, each read once.

    Args:
        sha256: of the shard by the ledger; empty = not known.
        has_s1: the data set has Sentinel-1 (``root.has_s1()``, asked once for many tiles).
    """
    shard, label = open_fully(root.shard(row.tile)), open_fully(root.label(row))
    return FileView(
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
        label_sha256=label.sha256,
        expected_label_sha256=row.label_written_sha256,
        sha256=shard.sha256,
        expected_sha256=sha256,
        has_s1=has_s1,
    )


def validate_tile(row: ManifestRow, root: DataRoot, *, sha256: str = "", has_s1: bool = True) -> list[Finding]:
    """Findings of one tile; a file that cannot be read to its end is a finding too. Arguments as of ``view_of``."""
    return judge(view_of(row, root, sha256=sha256, has_s1=has_s1))


@dataclass(frozen=True)
class ValidateBatch:
    """The task of one worker (a class, so that it can be sent to other processes)."""

    root: DataRoot

    def __call__(self, items: Sequence[tuple[ManifestRow, str]]) -> list[Finding]:
        """Findings of tiles, each with the hash of its shard by the ledger."""
        self.root.check_in_sight()
        has_s1 = self.root.has_s1()
        return [
            finding for row, sha256 in items for finding in validate_tile(row, self.root, sha256=sha256, has_s1=has_s1)
        ]


def validate(
    rows: Sequence[ManifestRow],
    *,
    root: DataRoot,
    run: Runner,
    all_again: bool = True,
    on_batch: Callable[[int], None] | None = None,
) -> list[Finding]:
    """Findings of all tiles, ordered by tile and rule; also written to ``findings.json`` and ``findings.csv``.

    Args:
        all_again: read also what the last validation saw in the same state, which a build need not.
    """
    ledger = root.ledger()
    seen = _states(rows, ledger)
    before = {} if all_again else validated_states(root.folder)
    same = {tile for tile, state in seen.items() if before.get(tile) == state}
    fresh = [row for row in rows if row.tile.id not in same]
    if not all_again and not fresh and validated_ids(root.folder) == seen.keys():
        return root.findings()
    findings = [f for f in root.findings() if f.tile in same] if same else []
    work = [(row, ledger[row.tile.id].sha256 if row.tile.id in ledger else "") for row in fresh]
    for tiles, part in run(ValidateBatch(root), work):
        findings += part
        if on_batch is not None:
            on_batch(tiles)
    findings.sort(key=lambda f: (f.tile, f.rule))
    write_findings(root.folder, FindingsDocument(tuple(findings), seen, len(rows)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["tile", "rule", "severity", "message"])
    writer.writerows([f.tile, f.rule, f.severity, f.message] for f in findings)
    write_atomically(root.findings_table, text.getvalue().encode())
    return findings


def _state_of(row: ManifestRow, shard_sha256: str) -> str:
    """What was validated: a shard with its label."""
    return f"{shard_sha256} {row.label_state}"


def _states(rows: Sequence[ManifestRow], ledger: Mapping[str, LedgerRow]) -> dict[str, str]:
    return {row.tile.id: _state_of(row, ledger[row.tile.id].sha256) for row in rows if row.tile.id in ledger}


def to_validate(rows: Sequence[ManifestRow], *, root: DataRoot) -> int:
    """How many of these tiles the last validation did not see as they are now."""
    before = validated_states(root.folder)
    return sum(before.get(tile) != state for tile, state in _states(rows, root.ledger()).items())
