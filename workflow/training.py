"""Training and scoring on a data root: opens the splits, names the run, tells progress."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..model.metrics import overall
from ..model.runs import RunConfig, RunFolder, run_name
from ..model.score import Scores, score
from ..model.train import EpochRow, Position, TrainConfig, profile, train
from ..pipeline.dataset.manifest import Protocol
from ..pipeline.dataset.root import DataRoot
from ..pipeline.dataset.samples import Dataset, ReadFrom
from ..pipeline.errors import DataError, LeftOutError, UsageError
from ..pipeline.progress import Progress, Step
from ..pipeline.spec.bands import preset
from ..pipeline.spec.sources import Source

READ_VARIABLE = "DWPLUS_READ"
"""Environment variable: ``shards`` or ``store`` where the choice of ``auto`` shall not do."""


@dataclass(frozen=True)
class Inputs:
    """What a network sees: names of band presets; ``none`` for no auxiliary input."""

    primary: str = "ms10"
    auxiliary: str = "sar"

    @property
    def bands(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return preset(self.primary), () if self.auxiliary == "none" else preset(self.auxiliary)

    def __str__(self) -> str:
        return self.primary if self.auxiliary == "none" else f"{self.primary}+{self.auxiliary}"


def open_split(root: DataRoot, split: str, protocol: Protocol, inputs: Inputs) -> Dataset:
    primary, auxiliary = inputs.bands
    return Dataset(root, split=split, protocol=protocol, primary=primary, auxiliary=auxiliary, read=_read_from())


def left_out_as_text(dataset: Dataset) -> list[str]:
    """``1 of 4 test tiles left out because ...``, one line per reason; empty where all tiles of the split are used."""
    total = len(dataset) + sum(len(one.tiles) for one in dataset.left_out)
    return [
        f"{len(one.tiles)} of {total} {dataset.split} tiles left out because {one.reason} ({one.tiles[0]}"
        f"{', ...' * (len(one.tiles) > 1)})"
        for one in dataset.left_out
    ]


def _read_from() -> ReadFrom:
    """Where samples are read from, by the environment; ``Dataset`` refuses what it does not know."""
    return cast(ReadFrom, os.environ.get(READ_VARIABLE, "auto"))


def trained_here(root: DataRoot, run: RunConfig) -> bool:
    """Whether a run was trained on this data set as it is now: its statistics are those of the same tiles."""
    protocol: Protocol = "paper" if run.data.protocol == "paper" else "strict"
    try:
        return root.statistics(protocol).shards_hash == run.data.shards_hash
    except DataError:
        return False


def open_as_trained(root: DataRoot, run: RunConfig, split: str, *, own: bool = True) -> Dataset:
    """A split with the bands and the protocol that a run was trained with.

    Args:
        own: the run was trained on this data set; otherwise its own statistics are enough.
    """
    protocol: Protocol = "paper" if run.data.protocol == "paper" else "strict"
    return Dataset(
        root,
        split=split,
        protocol=protocol,
        primary=run.data.primary,
        auxiliary=run.data.auxiliary,
        read=_read_from(),
        trained_here=own,
    )


def training_settings(name: str | None, root: DataRoot, changes: Mapping[str, Any]) -> TrainConfig:
    """Settings of a profile with some changed; without a name ``sandbox`` on synthetic pixels, ``paper`` on others.

    Raises:
        UsageError: there is no such profile, or a key or value does not fit.
    """
    chosen = name or ("sandbox" if Source.of(root.source()).synthetic else "paper")
    return profile(chosen, **changes)


def train_run(
    root: DataRoot, name: str, config: TrainConfig, *, protocol: Protocol, inputs: Inputs, progress: Progress
) -> Path:
    """Train one network on a data root, or resume an interrupted training; the run's folder.

    Raises:
        DataError: the data set is not complete enough.
        UsageError: settings do not fit each other, or the run was begun with others.
    """
    run_dir = root.runs / run_name(name)
    dataset_train = open_split(root, "train", protocol, inputs)
    dataset_val = _validation(root, protocol, inputs, progress)
    for line in (*left_out_as_text(dataset_train), *(left_out_as_text(dataset_val) if dataset_val else ())):
        progress.say(line)
    if dataset_train.reading != "shards":
        progress.say(f"samples are read from {dataset_train.reading}")
    if RunFolder(run_dir).complete:
        progress.say(f"run {name} is complete already")
        # Nothing is trained; settings that differ from those of the run are still refused.
        return train(config, dataset_train=dataset_train, dataset_val=dataset_val, run_dir=run_dir)
    with progress.stage(f"Training {name}", config.epochs, unit="epochs") as step:
        train(
            config,
            dataset_train=dataset_train,
            dataset_val=dataset_val,
            run_dir=run_dir,
            on_step=lambda now: _tell(step, now),
            on_epoch=lambda row: step.advance(note=epoch_as_text(row)),
        )
    return run_dir


def _validation(root: DataRoot, protocol: Protocol, inputs: Inputs, progress: Progress) -> Dataset | None:
    if not root.usable("val", protocol):
        progress.say(f"no validation tile under protocol {protocol}: epochs are not scored")
        return None
    return open_split(root, "val", protocol, inputs)


def _tell(step: Step, now: Position) -> None:
    step.advance(0, note=f"epoch {now.epoch}, step {now.step % now.steps or now.steps} of {now.steps}")


def epoch_as_text(row: EpochRow) -> str:
    """``epoch 5: loss 0.412, val mIoU 0.431, OA 0.702, F1 0.520``."""
    words = f"epoch {row['epoch']}: loss {row['loss']:.3f}"
    known = [(metric.title, row.get(metric.key)) for metric in overall()]
    scores = [f"{title} {value:.3f}" for title, value in known if value is not None]
    return f"{words}, val {', '.join(scores)}" if scores else words


def check_nothing_lost(root: DataRoot, run_dir: Path, split: str) -> None:
    """Make sure that no tile of a split was left out because records of the data root do not fit together.

    Raises:
        LeftOutError: tiles were; names how many, and why.
    """
    config = RunFolder(run_dir).read_config()
    dataset = open_as_trained(root, config, split, own=trained_here(root, config))
    faults = [line for line, one in zip(left_out_as_text(dataset), dataset.left_out, strict=True) if one.fault]
    if faults:
        raise LeftOutError("; ".join(faults))


def find_run(root: DataRoot, given: str) -> Path:
    """Folder of a run that was named by path, by ``runs/<name>`` or by name alone.

    Raises:
        DataError: there is no such run; names those there are.
    """
    below = root.runs / given.removeprefix("runs/")
    # Where runs lie in a folder of their own, one of the data set is not meant, whatever its name.
    for path in (Path(given), root.folder / given, below) if root.runs_folder is None else (below, Path(given)):
        if RunFolder(path).started:
            return path
    runs = sorted(path.parent.name for path in root.runs.glob("*/config.json"))
    there = f"there are {', '.join(runs)}" if runs else "there is none yet: run 'dwplus train'"
    raise DataError(f"no run {given!r} in {root}; {there}")


def score_run(root: DataRoot, run_dir: Path, *, split: str, progress: Progress, weights: str = "model") -> Scores:
    """Score a run's network on a split; also writes its ``scores.json``.

    Raises:
        DataError: the run is not complete, or the data set is not the one it was trained on.
    """
    folder = RunFolder(run_dir)
    if not folder.complete:
        raise DataError(f"run {run_dir.name} is not complete; resume with 'dwplus train --name {run_dir.name}'")
    if split not in ("val", "test"):
        raise UsageError(f"scores are taken on val or test, not on {split!r}")
    config = folder.read_config()
    # A run below this data root was trained on it: if its training tiles changed since, its scores mean nothing.
    own = trained_here(root, config) or root.folder.resolve() in run_dir.resolve().parents
    dataset = open_as_trained(root, config, split, own=own)
    if not own:
        progress.say(
            f"{root} is another data set than {run_dir.name} was trained on: its {split} tiles are scored with the "
            "run's own statistics; whether some of them were trained on is not known"
        )
    for line in left_out_as_text(dataset):
        progress.say(line)
    with progress.stage(f"Scoring {run_dir.name}", len(dataset)) as step:
        return score(
            run_dir, dataset, weights=f"{weights}.safetensors", on_tile=lambda done, total: step.set(done, total)
        )
