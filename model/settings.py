"""Settings of a training: ``TrainConfig``, the profiles that name some of them, and what follows from their numbers.

Comes before ``train``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..manifests import load_toml
from ..pipeline.errors import UsageError
from ..pipeline.files.atomic import read_toml
from .config import from_mapping, to_mapping
from .domains import check_domains
from .loader import InputScaling
from .losses import ClassScale
from .missing import Shares


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training; the defaults are the paper's.

    Attributes:
        model: name in the registry.
        model_options: changes to the network's settings.
        epochs: passes over the training split; 0, which trains nothing, only with ``init``.
        steps: optimiser steps in all, in place of ``epochs``: as many whole epochs as have that many. Scores and
            checkpoints come ten times in all, or as ``validate_every`` and ``checkpoint_every`` say where that is less
            often. For data sets of a few tiles, whose epochs are short.
        batch: samples an optimiser step, over all devices.
        batch_per_device: samples at a time on one device; steps accumulate to ``batch``.
        lr: learning rate at the top of the cosine, which ends at 0.
        weight_decay: of AdamW.
        decay_on: ``weights``: not on norms and biases (parameters of one axis); ``all``: on everything.
        clip_norm: largest norm of a step's gradient, over all weights; None: whatever it is.
        warmup_epochs: epochs of linear rise before the cosine.
        loss: name in ``losses.LOSSES``.
        gamma: of the focal losses.
        class_scale: of the focal losses' class weights: ``class`` scales them to mean 1 over the classes (the paper's
            plain reading), ``pixel`` to mean 1 over the pixels, with a limit, for data with a very rare class.
        expert_weight, non_expert_weight: of a pixel of a tile that experts or non-experts drew; others have 1.
        input_scaling: what is normalised of Sentinel-2: ``linear``: reflectance; ``log``: log(1 + 0.005 DN).
        sampling: ``each``: every training tile once an epoch; ``classes``: as many tiles an epoch, drawn so that rare
            classes come more often (``balance.py``).
        init: begin with the weights of this run or file, as far as they fit (``transfer.py``); None: from scratch.
        freeze: ``encoder``: leave what lies before the decoder as it begins, but for weights that do not fit.
        lr_encoder: factor on the learning rate of the encoder.
        drop_auxiliary, drop_primary: expected share of the pixels without that input in training (``missing.py``).
            Where one is above 0 the network has learned values for what is absent and norms by state of the inputs, and
            a pixel counts in training where one of the inputs has data.
        drop_views: compute each crop complete and once without each of these inputs, and move the weights after each of
            them: two or three times the work and the moves.
        labels_share: share of the training tiles that is trained on, the same ones each time (``label_share.py``).
        aux_weight: of the loss of an auxiliary head, where a network has one (PSPNet's value; the paper is silent).
        crop_px: side of a random crop; None: whole tiles.
        symmetries: random quarter turns and mirroring.
        compile: compile the network with ``torch.compile``: minutes at the start, faster steps then.
        precision: ``bf16`` autocasts; ``auto`` does so on GPUs that have it. ``fp16`` does too, with a loss
            that is scaled so that small gradients do not vanish, for GPUs without bf16. CPUs compute in float32.
        device: ``auto`` takes a GPU where there is one.
        seed: of the weights, the order, the augmentation and dropout.
        validate_every: epochs between scores of the validation split; the last epoch is always scored.
        checkpoint_every: epochs between checkpoints; the last epoch always leaves one.
        checkpoint_minutes: between checkpoints within an epoch; 0 leaves one after each step.
        keep_best: also keep the weights of the epoch with the best validation mIoU, in a file of their own. Under
            ``strict``, tiles that experts drew choose it, where there are any. Under ``paper``, it is a choice made on
            the test split.
        average_last: so many of the last epochs are averaged: the mean of the weights after each of them is kept in a
            file of its own (``training/averaging.py``); 0: none.
        pictures_every: epochs between pictures of four validation tiles, drawn where an epoch is validated; 0: none.
        workers: loader processes; None: as many as pay off.
        keep_mb: megabytes of decoded tiles kept in memory, without workers.
        tracker: write curves for this program too; any that accelerate knows by name (``training/trackers.py``).
    """

    model: str = "specsar-former"
    model_options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 200
    steps: int | None = None
    batch: int = 32
    batch_per_device: int = 4
    lr: float = 5e-4
    weight_decay: float = 0.01
    decay_on: Literal["all", "weights"] = "all"
    clip_norm: float | None = None
    warmup_epochs: int = 0
    loss: str = "focal"
    gamma: float = 2.0
    class_scale: ClassScale = "class"
    expert_weight: float = 1.0
    non_expert_weight: float = 1.0
    input_scaling: InputScaling = "linear"
    sampling: Literal["each", "classes"] = "each"
    init: str | None = None
    freeze: Literal["encoder"] | None = None
    lr_encoder: float = 1.0
    drop_auxiliary: float = 0.0
    drop_primary: float = 0.0
    drop_views: bool = False
    labels_share: float = 1.0
    aux_weight: float = 0.4
    crop_px: int | None = None
    symmetries: bool = True
    compile: bool = False
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    device: Literal["auto", "cpu"] = "auto"
    seed: int = 0
    validate_every: int = 1
    checkpoint_every: int = 1
    checkpoint_minutes: float = 15.0
    keep_best: bool = False
    average_last: int = 0
    pictures_every: int = 10
    workers: int | None = None
    keep_mb: int = 0
    tracker: str | None = None

    def __post_init__(self) -> None:
        check_domains(self)
        if self.tracker is not None:
            from .training.trackers import check_tracker_name  # brings accelerate, which takes a second

            check_tracker_name(self.tracker)
        if fixed := sorted({"primary_bands", "auxiliary_bands", "name"} & self.model_options.keys()):
            raise UsageError(
                f"model_options: {', '.join(fixed)} cannot be set; bands are chosen with --primary and --auxiliary"
            )
        drops = self.drops  # refuses shares that do not fit each other
        if self.drop_views:
            drops.of_views()
        if self.freeze and not self.init:
            raise UsageError(f"freeze is {self.freeze}, and there is nothing to keep: name weights with --init")
        if self.epochs == 0 and not self.init:
            raise UsageError(
                "epochs is 0; it must be a whole number, 1 or more, but where a training begins with weights (--init)"
            )
        if self.steps is None and self.epochs and not 0 <= self.warmup_epochs < self.epochs:
            raise UsageError(f"warmup_epochs is {self.warmup_epochs}; choose 0 or more, below epochs ({self.epochs})")
        if self.steps is None and self.average_last > self.epochs:
            raise UsageError(f"average_last is {self.average_last}; there are {self.epochs} epochs to average")

    @property
    def drops(self) -> Shares:
        """Shares of the pixels without an input in training."""
        return Shares(self.drop_auxiliary, self.drop_primary)

    @property
    def views(self) -> int:
        """How often a step computes each crop."""
        return 1 + len(self.drops.of_views()) if self.drop_views else 1

    def to_dict(self) -> dict[str, Any]:
        return to_mapping(self)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], *, where: str = "training settings") -> TrainConfig:
        """Raises UsageError where a key is unknown or a value does not fit."""
        return from_mapping(cls, mapping, where=where)


def profile_names() -> tuple[str, ...]:
    return tuple(load_toml("profiles"))


def profile(name: str | Path, **overrides: Any) -> TrainConfig:
    """Settings of a shipped profile (``paper``, ``small``, ``sandbox``) or of a TOML file, some of them changed.

    Fewer epochs shorten the profile's warm-up where it would not fit.

    Raises:
        UsageError: there is no such profile or file, it is no TOML, or a key or value does not fit.
    """
    mapping = load_toml("profiles").get(str(name)) or _read_profile(Path(name))
    settings = {**mapping, **overrides}
    if "epochs" in overrides and "steps" not in overrides:
        settings.pop("steps", None)
    if "epochs" in overrides and "warmup_epochs" not in overrides and "warmup_epochs" in mapping:
        # A trial of one epoch must not fail for a warm-up that was not requested.
        settings["warmup_epochs"] = min(mapping["warmup_epochs"], max(0, overrides["epochs"] - 1))
    return TrainConfig.from_dict(settings, where=f"profile {str(name)!r}")


def _read_profile(path: Path) -> dict[str, Any]:
    if not os.path.isfile(path):  # noqa: PTH113 - no error where it cannot be the name of a file
        names = ", ".join(profile_names())
        raise UsageError(f"no profile {str(path)!r}; choose one of {names}, or name a TOML file")
    return read_toml(path)


# --- what follows from the numbers ------------------------------------------------------------------------------------


def in_epochs(config: TrainConfig, tiles: int) -> TrainConfig:
    """The same settings with epochs in place of steps; settings without steps are left as they are.

    Args:
        tiles: training tiles.
    """
    if config.steps is None:
        return config
    epochs = math.ceil(config.steps / math.ceil(tiles / config.batch))
    tenth = math.ceil(epochs / 10)
    return replace(
        config,
        steps=None,
        epochs=epochs,
        warmup_epochs=min(config.warmup_epochs, epochs - 1),
        validate_every=max(config.validate_every, tenth),
        checkpoint_every=max(config.checkpoint_every, tenth),
    )


def accumulation(config: TrainConfig, processes: int) -> int:
    """Micro-batches of one process that make an optimiser step of ``config.batch`` samples.

    Raises:
        UsageError: the devices do not divide the batch.
    """
    at_once = config.batch_per_device * processes
    if config.batch % at_once:
        raise UsageError(
            f"batch {config.batch} is no multiple of {at_once} (batch_per_device {config.batch_per_device} on "
            f"{processes} devices); change batch or batch_per_device"
        )
    return config.batch // at_once
