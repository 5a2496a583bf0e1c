"""Inspection: validate and count in one pass, so that every shard is decoded once.

What comes out is the same, to the last byte, as that of ``validate`` and ``normalise`` one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bands import SHARD_BANDS
from .cluster import Runner
from .histograms import Counts, Histograms, Packed, add_counts, cell_of, pack, unpack
from .look import Look
from .manifest import PROTOCOLS, Manifest, ManifestRow, Protocol
from .normalise import check_usable, count_tiles, counted_rows, usable_rows, write_statistics
from .places import Place, check_in_sight
from .rules import Finding, judge
from .statistics import Statistics
from .validate import ValidateBatch, look_at, validate


def counts_of(look: Look) -> Histograms:
    """Histograms of a tile that was found without error, as its rules have counted it already."""
    assert look.code_counts is not None, look.name
    return Histograms({band: look.counts(band) for band in SHARD_BANDS}, look.code_counts, 1)


@dataclass(frozen=True)
class InspectBatch:
    """The task of one worker (a class, so that it can be sent to other processes)."""

    root: Place

    def __call__(self, items: Sequence[tuple[ManifestRow, str]]) -> tuple[list[Finding], list[str], Packed]:
        """Findings of tiles, each with the hash of its shard by the ledger; and of those without an error their ids and
        histograms."""
        check_in_sight(self.root)
        findings: list[Finding] = []
        good: list[str] = []
        total: Counts = {}
        for row, sha256 in items:
            look = look_at(row, self.root, sha256=sha256)
            found = judge(look)
            findings += found
            if not any(finding.severity == "error" for finding in found):
                good.append(row.tile.id)
                add_counts(total, {cell_of(row): counts_of(look)})
        return findings, good, pack(total)


class _Counting:
    """A runner for ``validate`` that gives it its findings, and keeps the histograms that come with them."""

    def __init__(self, root: Path, run: Runner) -> None:
        self.root, self.run = root, run
        self.counts: Counts = {}
        self.tiles: set[str] = set()

    def __call__(self, function: Callable[..., Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        assert isinstance(function, ValidateBatch), function
        # Neighbours in this order share a cell, so that a batch has few of them to send.
        ordered = sorted(items, key=lambda item: (cell_of(item[0]), item[0].tile.id))
        for number, (findings, good, part) in self.run(InspectBatch(function.root), ordered):
            add_counts(self.counts, unpack(part))
            self.tiles.update(good)
            yield number, findings


def inspect(
    rows: Sequence[ManifestRow],
    *,
    root: Path,
    manifest: Manifest,
    run: Runner,
    protocols: Sequence[Protocol] = PROTOCOLS,
    on_batch: Callable[[int], None] | None = None,
) -> tuple[list[Finding], list[Statistics]]:
    """Findings of complete tiles, and the statistics of those that are usable; both are written where they belong.

    Args:
        rows: all complete tiles of the root.

    Raises:
        DataError: shards of two recipes are mixed.
    """
    counting = _Counting(root, run)
    findings = validate(rows, root=root, run=counting, on_batch=on_batch)
    _correct(counting, manifest)
    wanted = [protocol for protocol in protocols if usable_rows(root, manifest, "train", protocol)]
    for protocol in wanted:
        check_usable(root, manifest, protocol)
    return findings, [write_statistics(root, manifest, protocol, counting.counts) for protocol in wanted]


def _correct(counting: _Counting, manifest: Manifest) -> None:
    """Count what is usable but was not counted (an error that is waived), take away what is not (no split)."""
    usable = {row.tile.id: row for row in counted_rows(counting.root, manifest)}
    surplus = [row for row in manifest.rows if row.tile.id in counting.tiles - usable.keys()]
    missing = [row for tile, row in usable.items() if tile not in counting.tiles]
    for rows, times in ((missing, 1), (surplus, -1)):
        if rows:
            add_counts(counting.counts, count_tiles(counting.root, rows, run=counting.run), times)
    for cell in [cell for cell, one in counting.counts.items() if not one.tiles]:
        del counting.counts[cell]
