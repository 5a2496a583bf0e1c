"""Runs set against each other: their counts of the same tiles, the budget that each had, the table of differences.

Comes after scoring; ``model.scores.comparison`` computes, this opens files and refuses what cannot be compared. A map
is a side too (``product:worldcover``): then all sides are compared on the pixels that all maps share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from ..model.metrics import Metric, or_none
from ..model.products import MERGED_NAME, BesideScores, merge_table
from ..model.run_config import RunConfig
from ..model.run_files import RunFiles
from ..model.runs import RunFolder
from ..model.scores.bootstrap import FEWEST_UNITS, REPLICATES, SEED, Draws, design_of
from ..model.scores.comparison import FEWEST_SEEDS, Comparison, Difference, Side, holm
from ..model.scores.document import Mask, scores_name
from ..model.scores.intervals import Bounds
from ..model.scores.kept import read_counts, read_scores, read_table
from ..model.scores.tile_table import TileTable
from ..pipeline.dataset.root import DataRoot
from ..pipeline.errors import DataError, DwplusError, UsageError
from ..pipeline.spec.words import count_of
from .beside import choices, file_of_map, file_of_network, merged_classes
from .budget import Budget, budget_of
from .seeds import check_one_training, find_runs

PRODUCT = "product:"
"""Begins the name of a side that is a map."""


@dataclass(frozen=True)
class ScoredRun:
    """A run, or a map, with the counts of its tiles.

    Attributes:
        folder: of the run, or of the map.
        config: None of a map.
        tiles_hash, source, mask: of what was scored.
    """

    folder: Path
    config: RunConfig | None
    tiles_hash: str
    source: str
    mask: Mask | None
    table: TileTable

    @classmethod
    def read(cls, folder: Path, scores: str, *, how: str = "") -> ScoredRun:
        """Of a file of scores of a run.

        Args:
            how: the command that scores it so, for messages.

        Raises:
            DataError: the run was not scored so, or by an earlier version, or a file is damaged.
        """
        files = RunFolder(folder)
        found = read_scores(files, scores, how=how)
        config, table = files.read_usable_config(), read_table(files, found, how=how)
        return cls(folder, config, found.tiles_hash, found.source, found.mask, table)

    @classmethod
    def on_shared_pixels(cls, folder: Path, config: RunConfig | None, split: str, *, again: str) -> ScoredRun:
        """Of the pixels that all maps of a data root share.

        Args:
            config: of a run; None of a map.
            again: how to score it so, for messages.

        Raises:
            DataError: it was not scored so on this split, or by an earlier version, or a file is damaged.
        """
        files, name = RunFiles(folder), file_of_map(split) if config is None else file_of_network(split)
        if not (folder / name).is_file():
            raise DataError(f"{folder.name} has no {name}; {again}")
        found = BesideScores.from_dict(files.read_json(name))
        if found.split != split:
            raise DataError(f"{folder.name} was scored on shared pixels of {found.split}, not of {split}; {again}")
        table = read_counts(files, found.tiles_file, again=again)
        # Which files beside the shards decide what is shared is part of what was scored.
        tiles_hash = f"{found.tiles_hash} {found.shared_hash}"
        return cls(folder, config, tiles_hash, found.source, Mask("shared", table.mask_hash), table)


@dataclass(frozen=True)
class Compared:
    """One side that was compared.

    Attributes:
        name: as it was given.
        runs: of its seeds; the map alone.
        budget: of each of them; None of a map.
    """

    name: str
    runs: tuple[ScoredRun, ...]
    budget: Budget | None


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
    """Sides by the names of runs, by the common names of the runs of several seeds, or by those of maps.

    Raises:
        UsageError: fewer than two sides, the same twice, or sides that cannot be compared.
        DataError: there is no such run, it was not scored, or by an earlier version.
    """
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError("name two or more different runs to compare, such as: dwplus compare specsar segformer")
    if any(name.startswith(PRODUCT) for name in names):
        if weights != "model" or mask != "dataset":
            raise UsageError("with a map all sides are compared on shared pixels: leave --weights and --mask out")
        return _shared_sides(root, names, split=split)
    file = scores_name(split, f"{weights}.safetensors", mask=mask)
    flags = ("" if weights == "model" else f" --weights {weights}") + ("" if mask == "dataset" else f" --mask {mask}")
    sides = []
    for name in names:
        folders = find_runs(root, name)
        check_one_training(folders)
        runs = tuple(ScoredRun.read(one, file, how=f"{_scoring(root, one, split)}{flags}") for one in folders)
        sides.append(Compared(name, runs, _budget(root, runs[0])))
    check_comparable(sides)
    return sides


def _scoring(root: DataRoot, run: Path, split: str) -> str:
    """The command that scores a run on a split; options may follow."""
    return root.command(f"dwplus score runs/{run.name}") + ("" if split == "test" else f" --split {split}")


def _shared_sides(root: DataRoot, names: Sequence[str], *, split: str) -> list[Compared]:
    """Sides on the pixels that all maps share; with the classes that all of them tell apart."""
    sides = [_shared_side(root, name, split) for name in names]
    check_comparable(sides, classes=False)
    if len({run.table.names for side in sides for run in side.runs}) == 1:
        return sides
    together = merged_classes()
    return [
        replace(side, runs=tuple(replace(run, table=merge_table(run.table, together)) for run in side.runs))
        for side in sides
    ]


def _shared_side(root: DataRoot, name: str, split: str) -> Compared:
    of_split = "" if split == "test" else f" --split {split}"
    if name.startswith(PRODUCT):
        product = name.removeprefix(PRODUCT)
        if product not in choices():
            raise UsageError(f"{name}: there is no such map; choose one of {', '.join(PRODUCT + n for n in choices())}")
        again = f"score it with '{root.command(f'dwplus score --product {product}{of_split}')}'"
        folder = root.folder / "products" / product
        return Compared(name, (ScoredRun.on_shared_pixels(folder, None, split, again=again),), None)
    folders = find_runs(root, name)
    check_one_training(folders)
    runs = []
    for folder in folders:
        again = f"score it with '{_scoring(root, folder, split)} --shared'"
        config = RunFolder(folder).read_usable_config()
        runs.append(ScoredRun.on_shared_pixels(folder, config, split, again=again))
    return Compared(name, tuple(runs), _budget(root, runs[0]))


def _budget(root: DataRoot, run: ScoredRun) -> Budget:
    assert run.config is not None  # maps have no budget
    return budget_of(root, run.folder, run.config)


def check_comparable(sides: Sequence[Compared], *, classes: bool = True) -> None:
    """Make sure that all runs were scored on the same pixels of the same tiles.

    Args:
        classes: and with the same classes.

    Raises:
        UsageError: they were not, which names two runs and what differs; or one of them is on two sides.
    """
    runs = [run for side in sides for run in side.runs]
    places = [run.folder.resolve() for run in runs]
    if twice := next((run.folder.name for run, place in zip(runs, places, strict=True) if places.count(place) > 1), ""):
        raise UsageError(f"{twice} is on two sides; name two or more different runs to compare")
    first = _scored_on(runs[0])
    for run in runs[1:]:
        for what, value in _scored_on(run).items():
            if value != first[what] and (classes or what != "classes"):
                raise UsageError(
                    f"{runs[0].folder.name} and {run.folder.name} cannot be compared: their {what} differ "
                    f"({_short(first[what], value)} and {_short(value, first[what])}); score both on the same data "
                    "with 'dwplus score'"
                )


def _scored_on(run: ScoredRun) -> dict[str, object]:
    return {
        "tiles": run.tiles_hash,
        "classes": run.table.names,
        "kinds of mask": "" if run.mask is None else run.mask.kind,
        "masks": run.table.mask_hash,
        "lists of tiles": tuple(record.id for record in run.table.records),
    }


def _short(value: object, other: object) -> str:
    """As it is; of a list, how long it is, and an entry that the other one lacks."""
    if not isinstance(value, tuple) or not isinstance(other, tuple):
        return str(value)
    alone = next((f" with {one}" for one in value if one not in other), "")
    return f"{count_of(len(value), 'entry', 'entries')}{alone}"


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
    made = [
        Side.of(side.name, [run.table.sums for run in side.runs], draws, fixed=side.budget is None) for side in sides
    ]
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
        "tiles_hash": table.tiles_hash,
        "mask": None if table.mask is None else vars(table.mask),
        "source": table.source,
        "classes": list(table.table.names),
        "sides": [
            {
                "name": side.name,
                "kind": "map" if side.budget is None else "runs",
                "runs": [run.folder.name for run in side.runs],
                **({} if side.budget is None else vars(side.budget)),
            }
            for side in sides
        ],
        "comparisons": [_row_document(row) for row in rows],
        "notes": sentences(sides, rows),
    }


def _row_document(row: TableRow) -> dict[str, Any]:
    low, high = row.difference.bounds or (None, None)
    return {
        "first": row.first,
        "second": row.second,
        "metric": row.difference.metric,
        "difference": or_none(row.difference.points),
        "low": low,
        "high": high,
        "p": or_none(row.difference.p),
        "p_holm": or_none(row.holm),
        "of": "methods" if row.of_methods else "weights",
    }


def sentences(sides: Sequence[Compared], rows: Sequence[TableRow]) -> list[str]:
    """What may be concluded, and what not."""
    lines = []
    if not all(row.of_methods for row in rows):
        few = ", ".join(
            f"{side.name} {count_of(len(side.runs), 'run')}"
            for side in sides
            if len(side.runs) < FEWEST_SEEDS and side.budget is not None
        )
        lines.append(
            f"these weights, not these methods: with fewer than {FEWEST_SEEDS} seeds a side ({few}) other seeds could "
            "give another result; train with --seeds 0,1,2"
        )
    trained = [(side.name, side.budget) for side in sides if side.budget is not None]
    for name, budget in trained[1:]:
        if unlike := budget.differences(trained[0][1]):
            lines.append(f"unlike budgets: {name} and {trained[0][0]} had {', '.join(unlike)}")
    if len(trained) < len(sides):
        lines.append("compared on the pixels that all maps beside the shards share")
        if any(MERGED_NAME in name for name in sides[0].runs[0].table.names):
            merged = ", ".join(name for name in sides[0].runs[0].table.names if MERGED_NAME in name)
            lines.append(f"one class: {merged}, which a map does not tell apart")
    design = design_of(sides[0].runs[0].table.records)
    if design.units < FEWEST_UNITS:
        units = "blocks" if design.of_blocks else "tiles"
        lines.append(f"too few {units} ({design.units}) for intervals or tests")
    return lines
