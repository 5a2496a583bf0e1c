"""Reproduce: the whole way on one source: build, train, score, report.

Networks of the same small size are trained: SpecSAR-Former on Sentinel-1 and Sentinel-2, and the single-branch network
twice, with and without Sentinel-1: two runs that differ in their inputs alone say what Sentinel-1 adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from ..model.metrics import overall
from ..model.runs import RunFolder
from ..model.scores.document import Scores, tiles_name
from ..model.scores.words import of_scores
from ..pipeline.build.build import BuildResult
from ..pipeline.dataset.root import DataRoot
from ..pipeline.progress import Progress
from ..pipeline.spec.sources import Source
from ..pipeline.spec.words import count_of
from .pages.report import write_report
from .pages.tile_use import TileUse
from .training import Inputs, open_split, score_run, train_run, training_settings


@dataclass(frozen=True)
class Trial:
    """One network to train and score."""

    name: str
    model: str
    inputs: Inputs


SANDBOX_TRIALS: tuple[Trial, ...] = (
    Trial("specsar-s1s2", "specsar-former-small", Inputs("ms10", "sar")),
    Trial("segformer-s1s2", "segformer-small", Inputs("ms10", "sar")),
    Trial("segformer-s2", "segformer-small", Inputs("ms10", "none")),
)
PAPER_TRIALS: tuple[Trial, ...] = (
    Trial("specsar-s1s2", "specsar-former", Inputs("ms10", "sar")),
    Trial("segformer-s1s2", "segformer", Inputs("ms10", "sar")),
    Trial("segformer-s2", "segformer", Inputs("ms10", "none")),
)


@dataclass(frozen=True)
class Reproduced:
    """What the whole way leaves behind.

    Attributes:
        page: the report.
        scores: run -> its scores, in the order of the trials.
    """

    page: Path
    scores: Mapping[str, Scores]


def train_and_report(
    root: DataRoot, result: BuildResult | None, *, profile: str | None, progress: Progress
) -> Reproduced:
    """Train and score every trial on a built data root and write the report."""
    synthetic = Source.of(root.source()).synthetic
    trials, usual = (SANDBOX_TRIALS, "sandbox") if synthetic else (PAPER_TRIALS, "paper")
    scores = {}
    for trial in trials:
        settings = training_settings(profile or usual, root, {"model": trial.model})
        set_aside_other_data(root, trial, progress)
        run_dir = train_run(root, trial.name, settings, protocol="strict", inputs=trial.inputs, progress=progress)
        scores[trial.name] = score_run(root, run_dir, split="test", progress=progress)
    if result is not None and result.failed:
        progress.say(f"{count_of(result.failed, 'tile')} failed; run the same command again to retry them")
    return Reproduced(write_report(root, progress=progress), scores)


def set_aside_other_data(root: DataRoot, trial: Trial, progress: Progress) -> None:
    """Rename a trial's run that was trained on other tiles than the root holds now, so that it is trained anew."""
    folder = RunFolder(root.runs / trial.name)
    if not folder.started:
        return
    trained_on = folder.read_config().data.shards_hash
    if trained_on != open_split(root, "train", "strict", trial.inputs).statistics.shards_hash:
        aside = free_name(folder.path.with_name(f"{trial.name}-{trained_on}"))
        folder.path.rename(aside)
        for name in ("scores.json", tiles_name("scores.json")):
            (aside / name).unlink(missing_ok=True)
        progress.say(f"run {trial.name} was trained on other tiles: kept as {aside.name}, trained again")


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
