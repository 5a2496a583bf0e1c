"""Inspection: validate and count in one pass, so that every shard is decoded once.

What comes out is the same, to the last byte, as that of ``validate`` and ``normalise`` one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..cluster import Runner
from ..dataset.findings import Finding
from ..dataset.manifest import ManifestRow
from ..dataset.root import DataRoot
from ..spec.bands import SHARD_BANDS
from ..statistics.histograms import Counts, Histograms, Packed, add_counts, cell_of, pack, unpack
from ..statistics.normalise import Counted
from ..validation.file_view import FileView
from ..validation.rules import judge
from ..validation.validate import ValidateBatch, view_of


def counts_of(view: FileView) -> Histograms:
    """Histograms of a tile that was found without error, as its rules have counted it already."""
    assert view.counted_code_counts is not None, view.name
    return Histograms({band: view.counts(band) for band in SHARD_BANDS}, view.counted_code_counts, 1)


@dataclass(frozen=True)
class InspectBatch:
    """The task of one worker (a class, so that it can be sent to other processes)."""

    root: DataRoot

    def __call__(self, items: Sequence[tuple[ManifestRow, str]]) -> tuple[list[Finding], list[str], Packed]:
        """Findings of tiles, each with the hash of its shard by the ledger; and of those without an error their ids and
        histograms."""
        self.root.check_in_sight()
        findings: list[Finding] = []
        good: list[str] = []
        total: Counts = {}
        has_s1 = self.root.has_s1()
        for row, sha256 in items:
            view = view_of(row, self.root, sha256=sha256, has_s1=has_s1)
            found = judge(view)
            findings += found
            if not any(finding.severity == "error" for finding in found):
                good.append(row.tile.id)
                add_counts(total, {cell_of(row): counts_of(view)})
        return findings, good, pack(total)


class Counting:
    """A runner for ``validate`` that gives it its findings, and keeps the histograms that come with them.

    Attributes:
        counted: histograms of the tiles that were found without an error.
    """

    def __init__(self, run: Runner) -> None:
        self._run = run
        self.counted = Counted()

    def __call__(self, function: Callable[..., Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        assert isinstance(function, ValidateBatch), function
        # Neighbours in this order share a cell, so that a batch has few of them to send.
        ordered = sorted(items, key=lambda item: (cell_of(item[0]), item[0].tile.id))
        for number, (findings, good, part) in self._run(InspectBatch(function.root), ordered):
            add_counts(self.counted.counts, unpack(part))
            self.counted.tiles.update(good)
            yield number, findings
