"""Which tiles of a data root are used, and why the others are not: for the report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from ...pipeline.dataset.findings import Finding
from ...pipeline.dataset.ledger import REASONS, LedgerRow
from ...pipeline.dataset.manifest import SPLITS, ManifestRow
from ...pipeline.dataset.root import DataRoot
from ...pipeline.dataset.waivers import effective
from ...pipeline.errors import DataError

EXAMPLES = 4

_MEANINGS = {
    **REASONS,
    "open": "not requested yet",
    "lost": "validated once, and its line in the ledger is damaged or lost; run 'dwplus build'",
    "error": "its shard is complete, and validation found an error in it",
    "not-validated": "its shard is complete, and was not validated since it was written",
}
"""Why a tile is not used -> what that means."""


@dataclass(frozen=True)
class SplitUse:
    """Tiles of one split (``strict``).

    Attributes:
        tiles: in the manifest.
        complete: with a complete shard.
        used: complete, validated and without an error: training, scores and statistics see these alone.
    """

    split: str
    tiles: int
    complete: int
    used: int

    @property
    def unused(self) -> int:
        return self.tiles - self.used


@dataclass(frozen=True)
class Unused:
    """Tiles that are not used for one reason; ``examples`` names the first few."""

    reason: str
    meaning: str
    tiles: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class TileUse:
    """What became of every tile: its reason, empty where it is used."""

    rows: tuple[ManifestRow, ...]
    reasons: Mapping[str, str]
    ledger: Mapping[str, LedgerRow]

    @classmethod
    def of(cls, root: DataRoot) -> TileUse:
        """Read off a data root.

        Raises:
            DataError: it holds no data set.
        """
        rows, ledger = root.manifest().rows, root.ledger()
        try:
            unfit, seen = root.unfit(), root.validated()
        except DataError:  # not validated yet: no tile is used
            unfit, seen = frozenset(), {}
        reasons = {row.tile.id: _reason(row, ledger.get(row.tile.id), unfit, seen) for row in rows}
        # Labels that cannot be used never get into the manifest.
        reasons |= {row.tile: row.reason for row in ledger.values() if row.reason == "bad_label"}
        return cls(rows, reasons, ledger)

    def by_split(self) -> list[SplitUse]:
        """Tiles in the manifest, complete and used, of each split that has any."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for row in self.rows:
            last = self.ledger.get(row.tile.id)
            counts[row.split_strict]["tiles"] += 1
            counts[row.split_strict]["complete"] += last is not None and last.state == "done"
            counts[row.split_strict]["used"] += not self.reasons[row.tile.id]
        order = [split for split in (*SPLITS, "") if split in counts]
        return [
            SplitUse(split or "none", **{k: counts[split][k] for k in ("tiles", "complete", "used")}) for split in order
        ]

    def unused(self) -> list[Unused]:
        """Tiles that are not used, by reason, most first."""
        by_reason: dict[str, list[str]] = defaultdict(list)
        for tile, reason in sorted(self.reasons.items()):
            if reason:
                by_reason[reason].append(tile)
        return [
            Unused(reason, _MEANINGS.get(reason, ""), len(tiles), tuple(tiles[:EXAMPLES]))
            for reason, tiles in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
        ]


def _reason(row: ManifestRow, last: LedgerRow | None, unfit: frozenset[str], seen: Mapping[str, str]) -> str:
    """Why a tile is not used; empty where it is."""
    if row.discard:
        return row.discard
    if last is None:
        return "lost" if row.tile.id in seen else "open"
    if last.state != "done":
        return last.reason or last.state
    if row.tile.id in unfit:
        return "error"
    return "" if seen.get(row.tile.id) == last.sha256 else "not-validated"


# --- findings ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FoundInSet:
    """Findings of the last validation that no waiver covers, errors first.

    Attributes:
        listed: the first of them.
        waived: how many a waiver covers.
    """

    listed: tuple[Finding, ...]
    errors: int
    warnings: int
    waived: int

    @property
    def number(self) -> int:
        return self.errors + self.warnings


def findings_of(root: DataRoot, *, listed: int) -> FoundInSet | None:
    """Findings of a data root; None where it was not validated yet."""
    try:
        found = root.findings()
    except DataError:
        return None
    counting = sorted(effective(found, root.waivers()), key=lambda f: (f.severity != "error", f.tile, f.rule))
    errors = sum(finding.severity == "error" for finding in counting)
    return FoundInSet(tuple(counting[:listed]), errors, len(counting) - errors, len(found) - len(counting))
