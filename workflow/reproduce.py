"""Reproduce: the whole way on one source: build, train, score, report.

Two networks of the same small size are trained: SpecSAR-Former on Sentinel-1 and Sentinel-2, and the single-branch
network on Sentinel-2 alone, so that the report can say what Sentinel-1 adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..model.runs import RunFolder
from ..pipeline.build.build import BuildResult
from ..pipeline.dataset.root import DataRoot
from ..pipeline.progress import Progress
from ..pipeline.spec.sources import Source
from .pages.report import write_report
from .training import Inputs, open_split, score_run, train_run, training_settings


@dataclass(frozen=True)
class Trial:
    """One network to train and score."""

    name: str
    model: str
    inputs: Inputs


SANDBOX_TRIALS: tuple[Trial, ...] = (
    Trial("specsar-s1s2", "specsar-former-small", Inputs("ms10", "sar")),
    Trial("segformer-s2", "segformer-small", Inputs("ms10", "none")),
)
PAPER_TRIALS: tuple[Trial, ...] = (
    Trial("specsar-s1s2", "specsar-former", Inputs("ms10", "sar")),
    Trial("segformer-s2", "segformer", Inputs("ms10", "none")),
)


def train_and_report(root: DataRoot, result: BuildResult | None, *, profile: str | None, progress: Progress) -> Path:
    """Train and score every trial on a built data root and write the report; path of its page."""
    trials = SANDBOX_TRIALS if Source.of(root.source()).synthetic else PAPER_TRIALS
    for trial in trials:
        settings = training_settings(profile, root, {"model": trial.model})
        set_aside_other_data(root, trial, progress)
        run_dir = train_run(root, trial.name, settings, protocol="strict", inputs=trial.inputs, progress=progress)
        score_run(root, run_dir, split="test", progress=progress)
    if result is not None and result.failed:
        progress.say(f"{result.failed} tiles failed; run the same command again to retry them")
    return write_report(root, progress=progress)


def set_aside_other_data(root: DataRoot, trial: Trial, progress: Progress) -> None:
    """Rename a trial's run that was trained on other tiles than the root holds now, so that it is trained anew."""
    folder = RunFolder(root.runs / trial.name)
    if not folder.started:
        return
    trained_on = folder.read_config().data.shards_hash
    if trained_on != open_split(root, "train", "strict", trial.inputs).statistics.shards_hash:
        aside = folder.path.with_name(f"{trial.name}-{trained_on}")
        folder.path.rename(aside)
        (aside / "scores.json").unlink(missing_ok=True)
        progress.say(f"run {trial.name} was trained on other tiles: kept as {aside.name}, trained again")
