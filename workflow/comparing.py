"""Runs set against each other: their counts of the same tiles, the budget that each had, the table of differences.

Comes after scoring; ``model.scores.comparison`` computes, this opens files and refuses what cannot be compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from ..model.metrics import Metric
from ..model.run_config import RunConfig, differing_keys
from ..model.runs import RunFolder
from ..model.scores.bootstrap import FEWEST_UNITS, REPLICATES, SEED, Draws, design_of
from ..model.scores.comparison import FEWEST_SEEDS, Comparison, Difference, Side, holm
from ..model.scores.document import Scores, scores_name
from ..model.scores.intervals import Bounds
from ..model.scores.kept import read_scores, read_table
from ..model.scores.tile_table import TileTable
from ..pipeline.dataset.root import DataRoot
from ..pipeline.errors import DwplusError, UsageError
from ..pipeline.spec.words import count_of
from .seeds import check_one_training, find_runs


@dataclass(frozen=True)
class ScoredRun:
    """A run with the counts of its tiles."""

    folder: Path
    config: RunConfig
    scores: Scores
    table: TileTable

    @classmethod
    def read(cls, folder: Path, scores: str) -> ScoredRun:
        """Of a file of scores of a run.

        Raises:
            DataError: the run was not scored so, or by an earlier version, or a file is damaged.
        """
        files = RunFolder(folder)
        found = read_scores(files, scores)
        return cls(folder, files.read_usable_config(), found, read_table(files, found))


@dataclass(frozen=True)
class Budget:
    """What a side was allowed to spend.

    Attributes:
        epochs: that were trained.
        steps: optimiser steps in all.
        rates: learning rates that were tried: of this run, and of those in the same folder that differ from it in
            nothing but rate and seed.
    """

    epochs: int
    steps: int
    rates: int

    def differences(self, other: Budget) -> list[str]:
        """In what two budgets differ: ``epochs 20 and 40``."""
        pairs = {"epochs": "epochs", "steps": "steps", "rates": "learning rates tried"}
        return [
            f"{words} {getattr(self, name):,} and {getattr(other, name):,}"
            for name, words in pairs.items()
            if getattr(self, name) != getattr(other, name)
        ]


@dataclass(frozen=True)
class Compared:
    """One side that was compared.

    Attributes:
        name: as it was given.
        runs: of its seeds.
        budget: of each of them.
    """

    name: str
    runs: tuple[ScoredRun, ...]
    budget: Budget


@dataclass(frozen=True)
class TableRow:
    """A difference in the table.

    Attributes:
        first, second: names of the sides.
        of_methods: it is one of methods, not of these weights alone.
        difference: of the first less the second.
        holm: p after Holm's correction over the table; NaN where there is no test.
    """

    first: str
    second: str
    of_methods: bool
    difference: Difference
    holm: float


def read_sides(
    root: DataRoot, names: Sequence[str], *, split: str, weights: str, mask: str = "dataset"
) -> list[Compared]:
    """Sides by the names of runs, or by the common names of the runs of several seeds.

    Raises:
        UsageError: fewer than two sides, the same twice, or runs that cannot be compared.
        DataError: there is no such run, it was not scored, or by an earlier version.
    """
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError("name two or more different runs to compare, such as: dwplus compare specsar segformer")
    file = scores_name(split, f"{weights}.safetensors", mask=mask)
    sides = []
    for name in names:
        folders = find_runs(root, name)
        check_one_training(folders)
        runs = tuple(ScoredRun.read(folder, file) for folder in folders)
        sides.append(Compared(name, runs, budget_of(root, runs[0])))
    check_comparable(sides)
    return sides


def check_comparable(sides: Sequence[Compared]) -> None:
    """Make sure that all runs were scored on the same pixels of the same tiles.

    Raises:
        UsageError: they were not; names two runs and what differs.
    """
    runs = [run for side in sides for run in side.runs]
    first = _scored_on(runs[0])
    for run in runs[1:]:
        for what, value in _scored_on(run).items():
            if value != first[what]:
                raise UsageError(
                    f"{runs[0].folder.name} and {run.folder.name} cannot be compared: their {what} differ "
                    f"({_short(first[what])} and {_short(value)}); score both on the same data with 'dwplus score'"
                )


def _scored_on(run: ScoredRun) -> dict[str, object]:
    mask = run.scores.mask
    return {
        "tiles": run.scores.tiles_hash,
        "classes": run.scores.matrix.names,
        "kinds of mask": "" if mask is None else mask.kind,
        "masks": run.table.mask_hash,
        "lists of tiles": tuple(record.id for record in run.table.records),
    }


def _short(value: object) -> str:
    return count_of(len(value), "entry", "entries") if isinstance(value, tuple) else str(value)


def budget_of(root: DataRoot, run: ScoredRun) -> Budget:
    """What a run was trained with."""
    train = run.config.train
    epochs = len(RunFolder(run.folder).read_rows()) or int(train.get("epochs") or 0)
    batch = int(train.get("batch") or 1)
    return Budget(epochs, epochs * math.ceil(run.config.data.tiles / batch), len(_rates_tried(root, run.config)))


def _rates_tried(root: DataRoot, config: RunConfig) -> set[float]:
    """Learning rates of the runs of a data root that differ from one in nothing but rate and seed."""
    ours, rates = config.to_dict(), {float(config.train.get("lr") or 0)}
    for path in root.runs.glob("*/config.json"):
        try:
            other = RunFolder(path.parent).read_config()
        except DwplusError:
            continue  # one that cannot be read was no trial that anybody chose by
        if set(differing_keys(ours, other.to_dict())) <= {"train.lr", "train.seed"}:
            rates.add(float(other.train.get("lr") or 0))
    return rates


def compare(
    sides: Sequence[Compared],
    metrics: Sequence[Metric],
    *,
    all_pairs: bool = False,
    seed: int = SEED,
    replicates: int = REPLICATES,
) -> list[TableRow]:
    """Differences of each side to the first, or of all pairs, with Holm's correction over all of them."""
    draws = Draws(design_of(sides[0].runs[0].table.records), replicates, seed)
    made = [Side.of(side.name, [run.table.sums for run in side.runs], draws) for side in sides]
    pairs = list(combinations(made, 2)) if all_pairs else [(other, made[0]) for other in made[1:]]
    found = [
        (comparison, comparison.difference(metric))
        for comparison in (Comparison(one, other, draws) for one, other in pairs)
        for metric in metrics
    ]
    corrected = holm([difference.p for _, difference in found])
    return [
        TableRow(one.first.name, one.second.name if one.second else "", one.of_methods, difference, p)
        for (one, difference), p in zip(found, corrected, strict=True)
    ]


def mean_bounds(runs: Sequence[ScoredRun], metrics: Sequence[Metric]) -> dict[str, Bounds | None]:
    """95 % intervals of the mean over runs of several seeds: tiles are drawn again, and seeds where there are three."""
    draws = Draws(design_of(runs[0].table.records))
    side = Side.of("", [run.table.sums for run in runs], draws)
    one = Comparison(side, None, draws)
    return {metric.key: one.difference(metric).bounds for metric in metrics}


def seed_bounds(folders: Sequence[Path], scores: str, metrics: Sequence[Metric]) -> dict[str, Bounds | None]:
    """``mean_bounds`` of runs on disk; empty where they cannot be compared, or were scored by an earlier version."""
    try:
        runs = [ScoredRun.read(folder, scores) for folder in folders]
        check_comparable([Compared("", tuple(runs), Budget(0, 0, 0))])
    except DwplusError:
        return {}
    return mean_bounds(runs, metrics)


def as_document(sides: Sequence[Compared], rows: Sequence[TableRow]) -> dict[str, Any]:
    """For JSON; differences are fractions, None where there is no interval or test."""
    table = sides[0].runs[0]
    return {
        "tiles": len(table.table),
        "tiles_hash": table.scores.tiles_hash,
        "mask": None if table.scores.mask is None else vars(table.scores.mask),
        "source": table.scores.source,
        "sides": [
            {"name": side.name, "runs": [run.folder.name for run in side.runs], **vars(side.budget)} for side in sides
        ],
        "comparisons": [_row_document(row) for row in rows],
    }


def _row_document(row: TableRow) -> dict[str, Any]:
    low, high = row.difference.bounds or (None, None)
    return {
        "first": row.first,
        "second": row.second,
        "metric": row.difference.metric,
        "difference": row.difference.points,
        "low": low,
        "high": high,
        "p": _or_none(row.difference.p),
        "p_holm": _or_none(row.holm),
        "of": "methods" if row.of_methods else "weights",
    }


def _or_none(p: float) -> float | None:
    return None if math.isnan(p) else p


def sentences(sides: Sequence[Compared], rows: Sequence[TableRow]) -> list[str]:
    """What may be concluded, and what not."""
    lines = []
    if not all(row.of_methods for row in rows):
        few = ", ".join(
            f"{side.name} {count_of(len(side.runs), 'run')}" for side in sides if len(side.runs) < FEWEST_SEEDS
        )
        lines.append(
            f"these weights, not these methods: with fewer than {FEWEST_SEEDS} seeds a side ({few}) other seeds could "
            "give another result; train with --seeds 0,1,2"
        )
    first = sides[0]
    for side in sides[1:]:
        if unlike := side.budget.differences(first.budget):
            lines.append(f"unlike budgets: {side.name} and {first.name} had {', '.join(unlike)}")
    design = design_of(first.runs[0].table.records)
    if design.units < FEWEST_UNITS:
        units = "blocks" if design.of_blocks else "tiles"
        lines.append(f"too few {units} ({design.units}) for intervals or tests")
    return lines
