"""Training and scoring on a data root: opens the splits, chooses settings, names the run, tells progress."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..model.ensemble import check_members, make_ensemble
from ..model.estimate import duration_as_text
from ..model.metrics import overall
from ..model.missing import ALL_THERE, Shares
from ..model.run_config import RunConfig, run_name
from ..model.runs import WEIGHTS, RunFolder
from ..model.score import score
from ..model.scores.document import Scores, scores_name
from ..model.scores.kept import read_scores, read_table
from ..model.scores.tile_table import TileTable
from ..model.settings import TrainConfig, profile
from ..model.train import train
from ..model.training.listener import EpochRow, Listener
from ..model.training.validation import expert_tiles
from ..model.transfer import initial_as_text
from ..pipeline.dataset.manifest import Protocol
from ..pipeline.dataset.root import DataRoot
from ..pipeline.dataset.samples import Dataset, PixelMask, ReadFrom
from ..pipeline.errors import DataError, DwplusError, LeftOutError, UsageError
from ..pipeline.own.blocks import block_at as own_block_at
from ..pipeline.progress import Progress, Step
from ..pipeline.spec.bands import preset
from ..pipeline.spec.overlaps import block_of
from ..pipeline.spec.radar import radar_differences
from ..pipeline.spec.sources import Source
from ..pipeline.spec.tiles import TILE_SIZE_PX, Tile
from ..pipeline.spec.words import count_of
from .calibrating import CalibrateOn, calibration_for
from .pace import Pace
from .pictures import Pictures
from .tile_records import tile_records

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


def tiles_as_text(dataset: Dataset) -> list[str]:
    """What is said before a split is used: tiles that are left out, and tiles that are used in spite of an error."""
    lines = left_out_as_text(dataset)
    if dataset.waived:
        used = count_of(len(dataset), f"{dataset.split} tile")
        lines.append(
            f"{len(dataset.waived)} of {used} used although validation found an error in them, which waivers.toml "
            f"accepts ({_some(dataset.waived)})"
        )
    return lines


def say_new(lines: Collection[str], progress: Progress, told: set[str] | None) -> None:
    """Say those lines that were not ``told`` before, and remember them there; without it, all."""
    for line in lines:
        if told is None or line not in told:
            progress.say(line)
    if told is not None:
        told.update(lines)


def _some(names: Sequence[str]) -> str:
    return names[0] + ", ..." * (len(names) > 1)


def left_out_as_text(dataset: Dataset) -> list[str]:
    """``1 of 4 test tiles left out because ...``, one line per reason; empty where all tiles of the split are used."""
    total = len(dataset) + sum(len(one.tiles) for one in dataset.left_out)
    return [
        f"{len(one.tiles)} of {total} {dataset.split} tiles left out because {one.reason} ({_some(one.tiles)})"
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


def open_as_trained(
    root: DataRoot, run: RunConfig, split: str, *, own: bool = True, mask: PixelMask = "dataset"
) -> Dataset:
    """A split with the bands and the protocol that a run was trained with.

    Args:
        own: the run was trained on this data set; otherwise its own statistics are enough.
        mask: which pixels count.
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
        mask=mask,
        s2_level=run.data.s2_level,
    )


SMALL_TILES = 500
"""A training split with fewer pixels than so many tiles of 510 px is small."""


def proposed_profile(tiles: Sequence[Tile]) -> str:
    """The profile that suits a training split: ``small`` where it has few pixels, ``paper`` otherwise."""
    return "paper" if sum(prod(tile.shape) for tile in tiles) >= SMALL_TILES * TILE_SIZE_PX**2 else "small"


def _fitting(name: str, tiles: Sequence[Tile]) -> dict[str, Any]:
    """Settings of a profile that have to fit the tiles: crops no larger than the largest of them."""
    side, crop = max((min(tile.shape) for tile in tiles), default=TILE_SIZE_PX), profile(name).crop_px
    return {"crop_px": side} if crop is not None and side < crop else {}


def training_settings(
    name: str | None, root: DataRoot, changes: Mapping[str, Any], *, protocol: Protocol = "strict"
) -> TrainConfig:
    """Settings of a profile with some changed; without a name, of the profile that suits the training split.

    Raises:
        UsageError: there is no such profile, or a key or value does not fit.
        DataError: the data set was not validated yet.
    """
    if "init" in changes:
        changes = {**changes, "init": weights_to_begin_with(root, str(changes["init"]))}
    if name not in (None, "small"):
        return profile(name, **changes)
    tiles = _training_tiles(root, protocol)
    chosen = name or proposed_profile(tiles)
    return profile(chosen, **{**_fitting(chosen, tiles), **changes})


def proposal(root: DataRoot, protocol: Protocol) -> tuple[str, str]:
    """The profile that suits the training split of a data root, and a line that says so."""
    tiles = _training_tiles(root, protocol)
    name = proposed_profile(tiles)
    size = count_of(len(tiles), "tile")
    return name, f"settings: profile {name}, by the size of the training split ({size}); --profile names another"


def _training_tiles(root: DataRoot, protocol: Protocol) -> list[Tile]:
    return [row.tile for row in root.usable("train", protocol)]


def weights_to_begin_with(root: DataRoot, given: str) -> str:
    """Path of the run or file of ``--init``: as it is named, or as a run of the data root.

    Raises:
        DataError: there is no such run or file; names the runs there are.
    """
    files = [path for path in (Path(given), root.folder / given, root.runs / given) if path.is_file()]
    return str(files[0] if files else find_run(root, given))


def check_trainable(root: DataRoot) -> None:
    """Refuse to train on labels of a user with synthetic pixels: they show another ground.

    Raises:
        UsageError: the data root holds both.
    """
    if Source.of(root.source()).synthetic and root.holds_own_labels():
        raise UsageError(
            f"{root} holds labels of your own and synthetic pixels, which do not belong together: a network would "
            "learn nothing; add pixels with 'dwplus pixels add' or build with Earth Engine, in another folder"
        )


def train_run(
    root: DataRoot,
    name: str,
    config: TrainConfig,
    *,
    protocol: Protocol,
    inputs: Inputs,
    progress: Progress,
    accept: Collection[str] = (),
    told: set[str] | None = None,
) -> Path:
    """Train one network on a data root, or resume an interrupted training; the run's folder.

    Args:
        accept: ``s1`` to begin with weights that were trained on Sentinel-1 that was made in another way.
        told: what was said of the splits before, by other trainings of one command; it is not said again.

    Raises:
        DataError: the data set is not complete enough.
        UsageError: settings do not fit each other, or the run was begun with others; own labels have synthetic pixels.
    """
    check_trainable(root)
    if accept and config.init is None:
        raise UsageError(
            f"--accept {' '.join(accept)} is about weights to begin with; name them with --init, or leave it out"
        )
    accept_s1 = "s1" in accept
    run_dir = root.runs / run_name(name)
    rows = root.manifest().rows
    held_out = [row.tile for split in ("val", "test") for row in root.manifest().of_split(split, protocol)]
    block_at = own_block_at if any(row.release == "own" for row in rows) else block_of
    dataset_train = open_split(root, "train", protocol, inputs)
    dataset_val = _validation(root, protocol, inputs, progress)
    of_splits = [*tiles_as_text(dataset_train), *(tiles_as_text(dataset_val) if dataset_val else ())]
    if dataset_val is not None and config.keep_best:
        of_splits.append(choice_as_text(dataset_val))
    say_new(of_splits, progress, told)
    if dataset_train.reading != "shards":
        progress.say(f"samples are read from {dataset_train.reading}")
    if RunFolder(run_dir).complete:
        progress.say(f"run {name} is complete already")
        # Nothing is trained; settings that differ from those of the run are still refused.
        return train(config, dataset_train=dataset_train, dataset_val=dataset_val, run_dir=run_dir, accept_s1=accept_s1)
    pictures = None if dataset_val is None else Pictures(name, dataset_val, block_at)
    with progress.stage(f"Training {name}", None, unit="epochs") as step:
        train(
            config,
            dataset_train=dataset_train,
            dataset_val=dataset_val,
            run_dir=run_dir,
            on_epoch=lambda row: step.advance(note=epoch_as_text(row)),
            listener=_Teller(name, config, step, progress, pictures),
            held_out=held_out,
            block_at=block_at,
            accept_s1=accept_s1,
        )
    return run_dir


class _Teller(Listener):
    """Tells a person what the training begins with, how long it will take, and how far it is; draws its pictures."""

    def __init__(
        self, name: str, config: TrainConfig, step: Step, progress: Progress, pictures: Pictures | None = None
    ) -> None:
        self._name, self._config, self._step, self._progress = name, config, step, progress
        self._pictures = pictures
        self._pace = Pace(config.epochs)

    def begins(self, run: RunConfig, epochs: int) -> None:
        self._step.set(0, epochs)
        self._pace = Pace(epochs)
        share = f" ({self._config.labels_share:.0%} of the labels)" if self._config.labels_share < 1 else ""
        self._progress.say(f"{self._name}: {run.model} on {count_of(run.data.tiles, 'training tile')}{share}")
        if run.initial is not None:
            for line in initial_as_text(run.initial, run.initial.given):
                self._progress.say(f"{self._name} {line}" if line.startswith("begins") else line)

    def timing(self) -> None:
        self._progress.say("timing a first batch")

    def estimated(self, seconds: float) -> None:
        self._progress.say(f"this training will take about {duration_as_text(seconds)}")

    def batch(self, epoch: int, done: int, count: int, samples: int) -> None:
        pace = self._pace.batch(epoch, done, count, samples)
        self._step.advance(0, note=", ".join(filter(None, [f"epoch {epoch}, batch {done} of {count}", pace])))

    def shown(self) -> Sequence[int]:
        try:
            return () if self._pictures is None else self._pictures.places
        except DwplusError as error:
            # A store may be trained from without labels and shards.
            self._progress.say(f"no pictures of validation tiles: {error}")
            return ()

    def picture(self, epoch: int, predicted: Mapping[int, NDArray[np.uint8]]) -> bytes | None:
        return None if self._pictures is None else self._pictures.draw(epoch, predicted)


def _validation(root: DataRoot, protocol: Protocol, inputs: Inputs, progress: Progress) -> Dataset | None:
    if not root.usable("val", protocol):
        progress.say(f"no validation tile under protocol {protocol}: epochs are not scored")
        return None
    return open_split(root, "val", protocol, inputs)


def choice_as_text(dataset_val: Dataset) -> str:
    """Which validation tiles choose the best epoch: ``6 of 9 validation tiles, drawn by experts, choose ...``."""
    experts, count = len(expert_tiles(dataset_val)), len(dataset_val)
    if experts:
        return f"{experts} of {count_of(count, 'validation tile')}, drawn by experts, choose the best epoch"
    reason = "experts drew none of them" if dataset_val.protocol == "strict" else "the protocol is paper"
    return f"all {count_of(count, 'validation tile')} choose the best epoch: {reason}"


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
    config = RunFolder(run_dir).read_usable_config()
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


def score_run(
    root: DataRoot,
    run_dir: Path,
    *,
    split: str,
    progress: Progress,
    weights: str = "model",
    accept: Collection[str] = (),
    drop: Shares = ALL_THERE,
    mask: PixelMask = "dataset",
    calibrate_on: CalibrateOn | None = None,
    tta: bool = False,
    told: set[str] | None = None,
) -> Scores:
    """Score a run's network on a split; also writes its ``scores.json``, and that of the calibrated network.

    Args:
        accept: ``s1`` for Sentinel-1 that was made in another way than that trained on, ``source`` for another source.
        drop: what is lost of the inputs.
        mask: which pixels count: those of the data set, or all where the network's own inputs have data.
        calibrate_on: split to fit the calibration on; None: ``val``, where the protocol lets it.
        tta: score probabilities averaged over eight symmetries in place of the network as it is.
        told: what was said of the split before, by other scorings of one command; it is not said again.

    Raises:
        DataError: the run is not complete, or the data set is not the one it was trained on.
    """
    folder = RunFolder(run_dir)
    if not folder.complete:
        raise DataError(f"run {run_dir.name} is not complete; resume with 'dwplus train --name {run_dir.name}'")
    if split not in ("val", "test"):
        raise UsageError(f"scores are taken on val or test, not on {split!r}")
    config = folder.read_usable_config()
    # A run below this data root was trained on it: if its training tiles changed since, its scores mean nothing.
    own = trained_here(root, config) or root.folder.resolve() in run_dir.resolve().parents
    own = own or config.published is not None
    dataset = open_as_trained(root, config, split, own=own, mask=mask)
    if not own:
        progress.say(
            f"{root} is another data set than {run_dir.name} was trained on: its {split} tiles are scored with the "
            "run's own statistics; whether some of them were trained on is not known"
        )
    say_new(tiles_as_text(dataset), progress, told)
    for difference in radar_differences(config.data.radars, dataset.radars) if "s1" in accept else ():
        progress.say(f"Sentinel-1 of another kind is accepted: {difference}")
    if drop and not config.tokens:
        progress.say(
            f"{run_dir.name} was trained without --drop-auxiliary and --drop-primary: what is lost is read as 0, the "
            "mean of each band"
        )
    calibration = calibration_for(
        root,
        run_dir,
        config,
        weights=f"{weights}.safetensors",
        own=own,
        on=calibrate_on,
        opened=lambda name: open_as_trained(root, config, name, own=own),
        progress=progress,
    )
    with progress.stage(f"Scoring {run_dir.name}", len(dataset)) as step:
        return score(
            run_dir,
            dataset,
            weights=f"{weights}.safetensors",
            allow_other_source="source" in accept,
            accept_s1="s1" in accept,
            drop=drop,
            records=tile_records(root, dataset, run_dir),
            calibration=calibration,
            tta=tta,
            on_tile=lambda done, total: step.set(done, total),
        )


def average_runs(
    root: DataRoot, names: Sequence[str], name: str, *, calibrate_on: CalibrateOn | None, progress: Progress
) -> Path:
    """The folder of a run that averages others, each calibrated first where it is not yet.

    Args:
        names: of the runs to average.
        name: of the new run.

    Raises:
        DataError: there is no such run, or it is not complete.
        UsageError: runs that cannot be averaged, or another run has this name.
    """
    members, run_dir = [find_run(root, one) for one in names], root.runs / run_name(name)
    check_members(members)
    for path in members:
        config = RunFolder(path).read_usable_config()
        calibration_for(
            root,
            path,
            config,
            weights=WEIGHTS,
            own=trained_here(root, config),
            on=None if calibrate_on == "none" else calibrate_on,
            opened=partial(open_as_trained, root, config),
            progress=progress,
        )
    make_ensemble(members, run_dir)
    progress.say(f"{run_dir.name} averages {', '.join(path.name for path in members)}")
    return run_dir


def current_scores(
    root: DataRoot,
    run_dir: Path,
    *,
    split: str,
    weights: str = "model",
    mask: PixelMask = "dataset",
    drop: Shares = ALL_THERE,
    variant: str = "",
) -> tuple[Scores, TileTable] | None:
    """Scores and counts of tiles that are still those of this run on this data set; None where it has to be scored."""
    folder, name = RunFolder(run_dir), f"{weights}.safetensors"
    try:
        config = folder.read_usable_config()
        own = trained_here(root, config) or root.folder.resolve() in run_dir.resolve().parents
        dataset = open_as_trained(root, config, split, own=own, mask=mask)
        other = "" if dataset.trained_here else dataset.tiles_hash
        scores = read_scores(folder, scores_name(split, name, other=other, mask=mask, drop=str(drop), variant=variant))
        table = read_table(folder, scores)
    except DwplusError:
        return None
    same_weights = scores.weights_sha256 is not None and scores.weights_sha256 in folder.sums().get(name, ())
    return (scores, table) if same_weights and scores.tiles_hash == dataset.tiles_hash else None
