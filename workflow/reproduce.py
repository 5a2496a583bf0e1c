"""Reproduce: the whole way on one source: build, train, score, report.

Which trainings there are is in ``reproduction.plan``: on synthetic pixels small networks, SpecSAR-Former on Sentinel-1
and Sentinel-2, and the single-branch network twice, with and without Sentinel-1 (two runs that differ in their inputs
alone say what Sentinel-1 adds); on real ones every row of the paper. What is complete is left as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from ..model.metrics import overall
from ..model.products import BesideScores
from ..model.runs import RunFolder
from ..model.scores.document import Scores, tiles_name
from ..model.scores.words import of_metric, of_scores
from ..model.settings import TrainConfig
from ..pipeline.build.build import BuildResult
from ..pipeline.dataset.root import DataRoot
from ..pipeline.errors import DataError, UsageError
from ..pipeline.progress import Progress
from ..pipeline.spec.layers import products
from ..pipeline.spec.sources import Source
from ..pipeline.spec.words import count_of
from .beside import current_product_scores, row_of, score_product
from .machines import Machine
from .pages.report import write_report
from .pages.tile_use import TileUse
from .reproduction.document import Scope, part_title
from .reproduction.plan import Training, share, wanted, wants_products
from .reproduction.verdicts import hours_as_text
from .scoring import current_scores, score_run
from .seeds import settings_of_seeds
from .splits import open_split
from .training import train_run, training_settings


@dataclass(frozen=True)
class Wanted:
    """What of the paper is reproduced.

    Attributes:
        tables, figures: their numbers; both empty: everything.
        machine: which of several machines this one is.
        seeds: to train with; empty: one training a row.
    """

    tables: Collection[int] = ()
    figures: Collection[int] = ()
    machine: Machine = field(default_factory=Machine)
    seeds: tuple[int, ...] = ()

    def trainings(self, *, small: bool) -> list[Training]:
        """Those of all machines; ``small`` as the sandbox trains them."""
        return wanted(self.tables, self.figures, small=small)

    @property
    def maps(self) -> bool:
        """Whether public maps are scored."""
        return wants_products(self.tables, self.figures)

    @property
    def needs_tiles(self) -> bool:
        """Whether a data set is needed: Table II alone is counted."""
        return not (self.tables or self.figures) or bool({*self.tables} - {2} or self.figures)


@dataclass(frozen=True)
class Reproduced:
    """What the whole way leaves behind.

    Attributes:
        page: the report.
        scores: run -> its scores, in the order of the trainings.
        maps: public map -> its scores.
    """

    page: Path
    scores: Mapping[str, Scores]
    maps: Mapping[str, BesideScores] = field(default_factory=dict)


def check_scope(root: DataRoot, scope: Scope | None) -> None:
    """Make sure that a data root belongs to the reproduction that is meant: each has a folder of its own.

    Raises:
        UsageError: it holds pixels of the other one.
    """
    held = root.source() if root.manifest_file.is_file() else ""
    # Pixels of an unverified server say so in every number; they are the paper's way on another machine.
    if scope is not None and held and Source.of(held).synthetic == (scope == "paper"):
        raise UsageError(
            f"{root} holds pixels of {held}, which are no part of --scope {scope}; name another folder with --data"
        )


def train_and_report(
    root: DataRoot,
    result: BuildResult | None,
    *,
    profile: str | None,
    progress: Progress,
    what: Wanted | None = None,
) -> Reproduced:
    """Train and score what is missing on a built data root, and write the report where it would be another one."""
    what = what or Wanted()
    synthetic = Source.of(root.source()).synthetic
    trainings = share(what.trainings(small=synthetic), what.machine)
    maps = _score_maps(root, progress) if what.maps and what.machine.first else {}
    scores: dict[str, Scores] = {}
    told: set[str] = set()
    for one in trainings:
        settings = training_settings(profile or ("sandbox" if synthetic else "paper"), root, one.changes)
        for name, seeded in _of_seeds(one.name, settings, what.seeds).items():
            scores[name] = _train_and_score(root, one, name, seeded, progress, told)
    if result is not None and result.failed:
        progress.say(f"{count_of(result.failed, 'tile')} failed; run the same command again to retry them")
    return Reproduced(write_report(root, progress=progress), scores, maps)


def _of_seeds(name: str, settings: TrainConfig, seeds: Sequence[int]) -> Mapping[str, TrainConfig]:
    return settings_of_seeds(name, settings, seeds) if seeds else {name: settings}


def _train_and_score(
    root: DataRoot, training: Training, name: str, settings: TrainConfig, progress: Progress, told: set[str]
) -> Scores:
    set_aside_other_data(root, training, progress, name=name)
    run_dir = train_run(root, name, settings, protocol="strict", inputs=training.inputs, progress=progress, told=told)
    kept = current_scores(root, run_dir)
    return kept[0] if kept is not None else score_run(root, run_dir, progress=progress, told=told)


def _score_maps(root: DataRoot, progress: Progress) -> dict[str, BesideScores]:
    """Scores of every public map that was exported for the test tiles; those that are current are read."""
    found = {}
    for name in products():
        try:
            found[name] = current_product_scores(root, name, split="test") or score_product(
                root, name, split="test", progress=progress
            )
        except (DataError, UsageError) as error:  # it was not exported, or labels have other classes
            progress.say(f"{name} is not scored: {error}")
    return found


def set_aside_other_data(root: DataRoot, training: Training, progress: Progress, *, name: str | None = None) -> None:
    """Rename a run that was trained on other tiles than the root holds now, so that it is trained anew.

    Args:
        name: of the run, where it is one of several seeds.
    """
    folder = RunFolder(root.runs / (name or training.name))
    if not folder.started:
        return
    trained_on = folder.read_config().data.shards_hash
    if trained_on != open_split(root, "train", "strict", training.inputs).statistics.shards_hash:
        aside = free_name(folder.path.with_name(f"{folder.path.name}-{trained_on}"))
        folder.path.rename(aside)
        for scores in ("scores.json", tiles_name("scores.json")):
            (aside / scores).unlink(missing_ok=True)
        progress.say(f"run {folder.path.name} was trained on other tiles: kept as {aside.name}, trained again")


def free_name(wanted: Path) -> Path:
    """A path that does not exist: the wanted one, or ``<name>-2``, ``<name>-3``, where earlier runs have it."""
    if not wanted.exists():
        return wanted
    return next(path for n in count(2) if not (path := wanted.with_name(f"{wanted.name}-{n}")).exists())


def tiles_as_text(root: DataRoot) -> list[str]:
    """How labels became tiles, and which of them are used: a line each.

    ``141 labels of 132 tiles: where several people drew one tile, one markup is used`` explains why the numbers that
    the stages report differ.
    """
    use = TileUse.of(root)
    labels = sum(1 for _ in root.labels.rglob("*.tif"))
    missing = ", ".join(f"{unused.tiles} {unused.reason} ({unused.meaning})" for unused in use.unused())
    used = ", ".join(f"{split.used} {split.split}" for split in use.by_split())
    tiles = len(use.rows)
    several = ": where several people drew one tile, one markup is used" if labels > tiles else ""
    return [
        f"{count_of(labels, 'label')} of {count_of(tiles, 'tile')}{several}",
        *([f"not used: {missing}"] if missing else []),
        f"complete, validated and used: {count_of(sum(split.used for split in use.by_split()), 'tile')} ({used})",
    ]


def scores_as_text(scores: Mapping[str, Scores]) -> list[str]:
    """The scores of each run, a line each, marked where pixels are not Google's."""
    width = max(map(len, scores), default=0)
    return [
        f"{name:<{width}}  {words_of_scores(one)}  {count_of(one.tiles, 'tile')} {Source.of(one.source).tag}".rstrip()
        for name, one in scores.items()
    ]


def words_of_scores(scores: Scores) -> str:
    """``mIoU 41.20% [38.10, 44.02]  OA ...``, with 95 % intervals where there are any."""
    return of_scores(scores, overall())


def maps_as_text(maps: Mapping[str, BesideScores]) -> list[str]:
    """The scores of each public map on its own pixels, a line each; of eight classes where it tells no more apart."""
    lines = []
    for name, scores in maps.items():
        row = row_of(scores, "map")
        values, bounds, of = row.own, row.intervals, ""
        if not values:
            values, bounds, of = row.merged, row.merged_intervals, " (grass and shrub as one)"
        words = "  ".join(of_metric(values[metric.key], bounds.get(metric.key), metric) for metric in overall())
        lines.append(
            f"{name:<13}  {words}{of}  {count_of(scores.tiles, 'tile')} {Source.of(scores.source).tag}".rstrip()
        )
    return lines


def verdicts_as_text(document: Mapping[str, Any]) -> list[str]:
    """How many of the paper's numbers have which verdict, and which parts of it are not run, and what they need.

    Args:
        document: ``verdicts.json``.
    """
    words = ", ".join(f"{number} {word}" for word, number in document["counts"].items())
    lines = [f"the paper's {count_of(len(document['numbers']), 'number')}: {words}"]
    missing: dict[str, dict[str, float]] = {}
    for one in document["numbers"]:
        part, row = one["key"].partition(".")[0], one["row"]
        if one["verdict"] == "not run" and part.startswith("table"):
            missing.setdefault(part, {})[row] = one["needs"]["gpu_hours"]
    for part, rows in missing.items():
        hours = sum(rows.values())
        needs = f"real pixels and {hours_as_text(hours)}" if hours else "a device whose speed is measured"
        lines.append(f"not run: {part_title(part)}, {count_of(len(rows), 'row')}: {needs}")
    return lines


def next_command(document: Mapping[str, Any], result: BuildResult | None) -> str:
    """What to do next, as a command; ``document`` is ``verdicts.json``."""
    if result is not None and result.failed:
        return "the same command again: it retries tiles that failed"
    if document["scope"] != "paper":
        return "dwplus reproduce --scope paper --dry-run --project MY-PROJECT"
    missing = any(one["verdict"] == "not run" and one["kind"] == "score" for one in document["numbers"])
    return "dwplus reproduce --scope paper" if missing else "dwplus reproduce --scope paper --seeds 0,1,2"
