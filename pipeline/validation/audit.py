"""The stage of the audit: reads a data root, measures, and writes what validation and audit found into one list.

``findings.json`` and ``findings.csv`` then hold the findings about single shards (``validate``) and those about the set
(``set_rules``), and say which of them are waived.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

import numpy as np

from ..cluster import Runner
from ..dataset.findings import Finding, bad_tiles, read_document, write_findings
from ..dataset.ledger import LedgerRow
from ..dataset.manifest import ManifestRow, select
from ..dataset.root import DataRoot
from ..dataset.waivers import Waiver, check_waivers, waiver_of
from ..errors import DataError
from ..files.atomic import write_atomically
from ..files.records import read_record, write_record
from ..progress import Progress
from ..raster.geotiff import read_bands, read_codes
from ..spec.bands import decode
from ..spec.classes import ClassTable
from . import set_rules as rules_of_the_set
from .rules import FILE_RULES
from .set_rules import SetView, audit, class_counts, distances, set_shifts
from .shift import Shift, edges_of_bands, edges_of_label, shift_between
from .tile_summaries import state_of, tile_summaries

SHIFT_SAMPLE = 200
"""Tiles whose shift is measured when nothing else is said, spread over regions and biomes: a minute on two cores."""


SHIFT_METHOD = 1
"""Goes up when shifts are measured in another way, so that those kept on disk are measured anew."""

OPTICAL_BANDS = ("B2", "B3", "B4", "B8")
"""Bands of 10 m: the others have no edges that fine."""

RADAR_BANDS = ("VV", "VH")

Shifts = dict[str, Shift | None]
"""Pair -> shift of one tile."""


@dataclass(frozen=True)
class AuditResult:
    """What validation and audit say about a data root.

    Attributes:
        findings: all of them, by tile and rule.
        waived: finding -> the waiver that covers it; the others count.
        unused: waivers that cover nothing today.
        look: what the audit saw.
    """

    findings: tuple[Finding, ...]
    waived: Mapping[Finding, Waiver]
    unused: tuple[Waiver, ...]
    view: SetView

    @property
    def counting(self) -> tuple[Finding, ...]:
        """Findings that are not waived."""
        return tuple(finding for finding in self.findings if finding not in self.waived)

    def number(self, severity: str) -> int:
        """How many findings of a severity count."""
        return sum(finding.severity == severity for finding in self.counting)


def audit_root(
    root: DataRoot, *, run: Runner, progress: Progress, sample: int | None = SHIFT_SAMPLE, today: date | None = None
) -> AuditResult:
    """Audit a validated data root; also written to ``findings.json`` and ``findings.csv``.

    Args:
        sample: how many tiles to measure the shift of, spread over regions and biomes; None = all, 0 = none. Tiles
            that were measured before and stayed as they were count besides.

    Raises:
        DataError: the root holds no data set, or it was not validated yet.
        UsageError: ``waivers.toml`` cannot be understood, or names no rule or tile.
    """
    manifest, ledger, waivers = root.manifest(), root.ledger(), root.waivers()
    single = tuple(f for f in root.findings() if f.rule not in rules_of_the_set.SET_RULES)
    check_waivers(waivers, rules=known_rules(single), tiles={row.tile.id for row in manifest.rows})
    rows = tuple(row for row in manifest.rows if row.tile.id in ledger and ledger[row.tile.id].state == "done")
    with progress.stage("Auditing the set", len(rows)) as step:
        summaries = tile_summaries(rows, root=root, ledger=ledger, run=run, on_batch=step.advance)
    readable = [row for row in rows if row.tile.id in summaries]
    chosen = sampled(readable, sample)
    with progress.stage("Measuring shifts", len(chosen)) as step:
        shifts = measured_shifts(readable, chosen, root=root, ledger=ledger, run=run, on_batch=step.advance)
    view = SetView(
        rows, tuple(row for row in manifest.rows if row.discard), ledger, summaries, shifts, today, manifest.classes
    )
    result = judge_set((*single, *audit(view)), waivers, view, today=today)
    _write(root, result)
    return result


def judge_set(
    findings: Sequence[Finding], waivers: Sequence[Waiver], view: SetView, *, today: date | None = None
) -> AuditResult:
    """Set waivers against findings."""
    ordered = tuple(sorted(findings, key=lambda f: (f.tile, f.rule, f.message)))
    covering = ((finding, waiver_of(finding, waivers, today=today)) for finding in ordered)
    waived = {finding: waiver for finding, waiver in covering if waiver is not None}
    used = set(waived.values())
    return AuditResult(ordered, waived, tuple(w for w in waivers if w not in used), view)


def known_rules(findings: Sequence[Finding] = ()) -> frozenset[str]:
    """Names of all rules that a finding can have."""
    single = {rule.name for rule in FILE_RULES} | {"readable"} | {finding.rule for finding in findings}
    return frozenset(single | set(rules_of_the_set.SET_RULES))


# --- shifts -----------------------------------------------------------------------------------------------------------


def sampled(rows: Sequence[ManifestRow], sample: int | None) -> tuple[ManifestRow, ...]:
    """Tiles in turn from each region and biome, the same ones each time; None = all."""
    if not rows or sample == 0:
        return ()
    return select(rows, limit=sample)


def measure(row: ManifestRow, root: DataRoot, classes: ClassTable) -> Shifts:
    """Shifts of one tile against its own Sentinel-2 pixels.

    Raises:
        DataError: a file cannot be read.
    """
    bands = (*OPTICAL_BANDS, *RADAR_BANDS)
    values = decode(read_bands(root.shard(row.tile), bands), bands)
    optical = edges_of_bands(values[: len(OPTICAL_BANDS)])
    radar = edges_of_bands(values[len(OPTICAL_BANDS) :])
    label = edges_of_label(classes.class_indices(read_codes(root.label(row))))
    if label.shape != optical.shape:
        return {"s1": shift_between(optical, radar), "label": None}
    return {"s1": shift_between(optical, radar), "label": shift_between(optical, label)}


@dataclass(frozen=True)
class ShiftBatch:
    """The task of one worker (a class, so that it can be sent to other processes)."""

    root: DataRoot
    classes: ClassTable

    def __call__(self, rows: Sequence[ManifestRow]) -> list[tuple[str, Shifts]]:
        measured = []
        for row in rows:
            try:
                measured.append((row.tile.id, measure(row, self.root, self.classes)))
            except DataError:
                # A finding of the validation.
                continue
        return measured


def measured_shifts(
    rows: Sequence[ManifestRow],
    chosen: Sequence[ManifestRow],
    *,
    root: DataRoot,
    ledger: Mapping[str, LedgerRow],
    run: Runner,
    on_batch: Callable[[int], None] = lambda _: None,
) -> dict[str, dict[str, Shift | None]]:
    """Pair -> tile id -> shift, of the chosen tiles and of all that an earlier audit measured as they are now."""
    states = {row.tile.id: state_of(row, ledger[row.tile.id]) for row in rows}
    found = {tile: of for tile, (state, of) in _kept(root).items() if states.get(tile) == state}
    missing = [row for row in chosen if row.tile.id not in found]
    on_batch(len(chosen) - len(missing))
    for tiles, part in run(ShiftBatch(root, root.classes()), missing):
        found |= dict(part)
        on_batch(tiles)
    if missing:
        tiles_found = {
            tile: {"state": states[tile], **{pair: shift and asdict(shift) for pair, shift in found[tile].items()}}
            for tile in sorted(found)
        }
        write_record(root.shifts_file, {"method": SHIFT_METHOD, "tiles": tiles_found})
    return {pair: {tile: found[tile][pair] for tile in sorted(found)} for pair in rules_of_the_set.PAIRS}


def _kept(root: DataRoot) -> dict[str, tuple[str, Shifts]]:
    """Tile -> state and shifts of an earlier audit; nothing where that cannot be understood."""
    if not (root.shifts_file).is_file():
        return {}
    try:
        content = read_record(root.shifts_file, _ShiftsDocument, remedy=_AGAIN)
    except DataError:
        return {}
    if content.method != SHIFT_METHOD:
        return {}
    pairs = rules_of_the_set.PAIRS
    return {tile: (of.state, {pair: getattr(of, pair) for pair in pairs}) for tile, of in content.tiles.items()}


@dataclass(frozen=True)
class _TileShifts:
    """Shifts of one tile in ``findings/shifts.json``, one field per pair of ``set_rules.PAIRS``."""

    state: str
    s1: Shift | None = None
    label: Shift | None = None


@dataclass(frozen=True)
class _ShiftsDocument:
    method: int
    tiles: Mapping[str, _TileShifts]


_AGAIN = "remove it; 'dwplus validate' measures again"


# --- writing ----------------------------------------------------------------------------------------------------------


def _write(root: DataRoot, result: AuditResult) -> None:
    waived = tuple(
        {**asdict(finding), "reason": waiver.reason, "until": waiver.until and waiver.until.isoformat()}
        for finding, waiver in result.waived.items()
    )
    document = replace(
        read_document(root.folder), findings=tuple(result.findings), waived=waived, audit=numbers(result)
    )
    write_findings(root.folder, document)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["tile", "rule", "severity", "message", "waived"])
    for f in result.findings:
        writer.writerow([f.tile, f.rule, f.severity, f.message, result.waived[f].reason if f in result.waived else ""])
    write_atomically(root.findings_table, text.getvalue().encode())


def numbers(result: AuditResult) -> dict[str, Any]:
    """What the audit measured, for machines: one JSON object."""
    view = result.view
    splits = view.by_split()
    return {
        "source": sorted({view.ledger[row.tile.id].source for row in view.rows}),
        "errors": result.number("error"),
        "warnings": result.number("warning"),
        "waived": len(result.waived),
        "tiles_with_errors": len(bad_tiles(result.counting) - {""}),
        "splits": {
            split: {
                "tiles": len(rows),
                "marked_share": _marked_share(view, rows),
                "classes": dict(zip(view.classes.names, class_counts(rows, view).tolist(), strict=True)),
                "biomes": {str(b): sum(r.tile.biome == b for r in rows) for b in sorted({r.tile.biome for r in rows})},
                "first_day": min(row.tile.date for row in rows).isoformat(),
                "last_day": max(row.tile.date for row in rows).isoformat(),
            }
            for split, rows in splits.items()
        },
        "nearest_km": {
            f"{split} to {other}": {"min": float(km.min()), "median": float(np.median(km))}
            for (split, other), km in distances(view).items()
        },
        "shift_px": {pair: asdict(middle) for pair, middle in set_shifts(view).items()},
    }


def _marked_share(view: SetView, rows: Sequence[ManifestRow]) -> float | None:
    shares = [view.summaries[row.tile.id].marked_share for row in rows if row.tile.id in view.summaries]
    return float(np.mean(shares)) if shares else None
