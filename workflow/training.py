"""Training on a data root: opens the splits, chooses settings, names the run, tells progress."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.estimate import duration_as_text
from ..model.metrics import overall
from ..model.run_config import RunConfig, run_name
from ..model.runs import RunFolder
from ..model.settings import TrainConfig, profile
from ..model.train import train
from ..model.training.listener import EpochRow, Listener
from ..model.training.validation import expert_tiles
from ..model.transfer import initial_as_text
from ..pipeline.dataset.manifest import Protocol
from ..pipeline.dataset.root import DataRoot
from ..pipeline.dataset.samples import Dataset
from ..pipeline.errors import DwplusError, UsageError
from ..pipeline.machine import keep_freed_memory
from ..pipeline.own.blocks import block_at as own_block_at
from ..pipeline.progress import Progress, Step
from ..pipeline.spec.overlaps import block_of
from ..pipeline.spec.sources import Source
from ..pipeline.spec.tiles import TILE_SIZE_PX, Tile
from ..pipeline.spec.words import count_of
from .pace import Pace
from .pictures import Pictures
from .seeds import find_run
from .splits import Inputs, open_split, say_new, tiles_as_text

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
    keep_freed_memory()
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
