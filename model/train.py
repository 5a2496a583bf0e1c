"""Training: settings and a data set go in, a run's folder comes out (``runs.py``).

Defaults are the paper's (section V-B): AdamW, learning rate 5e-4 on a cosine over 200 epochs, 4 tiles on each of 8
devices = 32 a step, rotations and flips, from scratch, through ``accelerate``. Fewer devices accumulate to 32. Open in
the paper, so chosen here: weight decay 0.01 (on all weights), no warm-up, focal loss as in ``losses.py`` at full
resolution, the last epoch's weights as the result.

What an epoch does depends on seed and epoch alone, so a run that was killed at any moment resumes from its last
checkpoint with the same result.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..pipeline.errors import DataError, DwplusError, UsageError
from ..pipeline.machine import is_first_process
from ..pipeline.spec.classes import DYNAMIC_WORLD
from ..pipeline.spec.overlaps import block_of
from ..pipeline.spec.tiles import Tile
from ..pipeline.spec.version import __version__
from .config import to_mapping
from .estimate import TimedBatch, seconds_of_training, times_of, unchanged_buffers
from .label_share import part_of
from .loader import Batch, EpochSampler, Normaliser, TileSet, augment, batch_to, batches, collate, make_loader
from .losses import PixelLoss, build_loss
from .metrics import ConfusionMatrix, TileCounts, count_pixels, overall, predicted_classes
from .registry import configure, make_network, settings_of, spec
from .runs import (
    BEST_WEIGHTS,
    TILES,
    WEIGHTS,
    Computing,
    DataCard,
    RunConfig,
    RunFolder,
    check_numbers,
    differing_keys,
)
from .settings import TrainConfig, accumulation, in_epochs
from .transfer import (
    BlockAt,
    Plan,
    Pretrained,
    begun,
    check_same_radar,
    encoder_names,
    freeze,
    parameter_groups,
    places_of,
    plan,
    read_pretrained,
    sharing_blocks,
)

log = logging.getLogger(__name__)

CHECK_LOSS_EVERY = 20
"""Steps between looks at the loss: each look waits for the device."""


@dataclass(frozen=True)
class Position:
    """Where a training is: ``step`` of ``steps`` optimiser steps are done in ``epoch`` (from 1) of ``epochs``."""

    epoch: int
    epochs: int
    step: int
    steps: int


class Listener:
    """Hears of a training, in the main process; this one does nothing."""

    def begins(self, run: RunConfig, epochs: int) -> None:
        """Settings of the run, and its epochs in all; before the first step."""

    def timing(self) -> None:
        """A first batch is timed."""

    def estimated(self, seconds: float) -> None:
        """How long the training will take from here on; before the first step."""

    def batch(self, epoch: int, done: int, count: int) -> None:
        """``done`` of ``count`` batches of an epoch (from 1) are computed."""


EpochRow = dict[str, Any]
"""One row of ``metrics.jsonl``: epoch (from 1), lr, loss, seconds, samples_per_second, and miou, oa, f1 where the epoch
was validated."""


def train(
    config: TrainConfig,
    *,
    dataset_train: TileSet,
    dataset_val: TileSet | None = None,
    run_dir: Path,
    on_step: Callable[[Position], None] | None = None,
    on_epoch: Callable[[EpochRow], None] | None = None,
    listener: Listener | None = None,
    held_out: Sequence[Tile] = (),
    block_at: BlockAt = block_of,
    accept_s1: bool = False,
) -> Path:
    """Train a network, or resume a training that was interrupted; a complete run is left as it is.

    Args:
        config: settings.
        dataset_train: what to learn from.
        dataset_val: scored after epochs; None: nothing is.
        run_dir: folder of the run.
        on_step: called after each optimiser step, in the main process.
        on_epoch: called with each row of ``metrics.jsonl``, in the main process.
        listener: hears what the training begins with, how long it will take, and of each batch.
        held_out: tiles that weights to begin with should not have been trained on, beside those of ``dataset_val``.
        block_at: gives the geographic blocks by which that is judged.
        accept_s1: begin with weights that were trained on Sentinel-1 that was made in another way; the run records it.

    Returns:
        ``run_dir``.

    Raises:
        UsageError: the settings do not fit each other or the data, ``run_dir`` holds a run with others, or weights to
            begin with were trained on another Sentinel-1.
        DwplusError: the loss is not a number any more.
    """
    folder, listener = RunFolder(run_dir), listener or Listener()
    held = folder.read_config() if folder.started and folder.has_progress else None
    dataset_train = part_of(dataset_train, config.labels_share)
    run = resolve(config, dataset_train, dataset_val)
    if held is not None:
        run = run.resuming(held)
    validated = () if dataset_val is None else dataset_val.tiles
    begins = _beginning(config, run, held, [*held_out, *validated], block_at, accept_s1=accept_s1)
    run = begins.run
    check_same_run(folder, run)
    if folder.complete:
        log.info("%s is complete: nothing to do", run_dir)
        return run_dir
    config = in_epochs(config, len(dataset_train), processes=int(os.environ.get("WORLD_SIZE", "1")))
    # One process of several on one run holds the lock for all of them.
    with folder.locked() if is_first_process() else nullcontext():
        trainer = _Trainer(config, begins, folder, dataset_train, dataset_val, on_step, listener)
        try:
            _run_epochs(trainer, on_epoch)
        finally:
            trainer.accelerator.end_training()
    return run_dir


@dataclass(frozen=True)
class _Beginning:
    """How a run begins: its settings; and weights trained before with where they go, where there are any to apply."""

    run: RunConfig
    before: Pretrained | None = None
    made: Plan | None = None


def _beginning(
    config: TrainConfig,
    run: RunConfig,
    held: RunConfig | None,
    held_out: Sequence[Tile],
    block_at: BlockAt,
    *,
    accept_s1: bool,
) -> _Beginning:
    if config.init is None:
        return _Beginning(run)
    if held is not None and held.initial is not None and held.train.get("init") == config.init:
        # A checkpoint has the weights; the run that they came from may be gone by now.
        kept = replace(run.data, statistics=held.data.statistics)
        return _Beginning(replace(run, initial=held.initial, data=kept))
    before = read_pretrained(config.init)
    made = plan(run.model, settings_of(run.model, run.model_config, where="model"), run.data, before)
    accepted = check_same_radar(run.data, made, before, accept_s1=accept_s1)
    shared = sharing_blocks(before.tiles or (), held_out, block_at)
    return _Beginning(begun(run, made, before, shared, accepted), before, made)


def _run_epochs(trainer: _Trainer, on_epoch: Callable[[EpochRow], None] | None) -> None:
    rows = trainer.restore()
    trainer.announce(len(rows))
    for epoch in range(len(rows), trainer.config.epochs):  # one row an epoch
        row = trainer.run_epoch(epoch)
        rows.append(row)
        trainer.keep(rows)
        if on_epoch and trainer.accelerator.is_main_process:
            on_epoch(row)
    trainer.finish()


def resolve(config: TrainConfig, dataset_train: TileSet, dataset_val: TileSet | None) -> RunConfig:
    """Everything that decides what a run learns.

    Raises:
        UsageError: the two data sets do not belong together, or the model's settings do not fit.
    """
    data = DataCard.of(dataset_train)
    if dataset_val is not None:
        other = DataCard.of(dataset_val)
        for name in ("primary", "auxiliary", "protocol", "source", "shards_hash"):
            if getattr(data, name) != getattr(other, name):
                raise UsageError(
                    f"{name} of the validation split is {getattr(other, name)}, of the training split "
                    f"{getattr(data, name)}; open both from one data root in the same way"
                )
        if difference := data.classes.difference(other.classes):
            raise UsageError(f"the training and the validation split have different classes: {difference}")
    _check_batch(config, data)
    shapes = {tile.shape for tile in dataset_train.tiles}
    if len(shapes) > 1 and config.crop_px is None:
        listed = ", ".join(f"{height} x {width}" for height, width in sorted(shapes))
        raise UsageError(f"the training tiles have several sizes ({listed} px): train on crops, --set crop_px=256")
    model_config = configure(
        config.model, len(data.primary), len(data.auxiliary), labels=len(data.classes), **config.model_options
    )
    return RunConfig(
        dwplus=__version__,
        model=config.model,
        model_config=to_mapping(model_config),
        train=config.to_dict(),
        data=data,
        validation=None if dataset_val is None else dataset_val.split,
    )


def _check_batch(config: TrainConfig, data: DataCard) -> None:
    fewest = spec(config.model).min_batch
    if config.batch_per_device < fewest:
        raise UsageError(
            f"{config.model} needs {fewest} samples at a time in training (a norm of its sees one value per sample); "
            f"batch_per_device is {config.batch_per_device}: raise it"
        )
    if data.tiles < fewest:
        raise UsageError(f"{config.model} needs {fewest} training tiles; there are {data.tiles}")


def check_same_run(folder: RunFolder, run: RunConfig) -> None:
    """Refuse to resume a run under other settings.

    Raises:
        UsageError: the folder holds a run whose settings differ; the message names the keys.
    """
    # A run that failed before its first checkpoint may be started with other settings.
    if not folder.started or not folder.has_progress:
        return
    # Settings that an earlier version did not know yet had their defaults.
    held = folder.read_config()
    if difference := run.data.classes.difference(held.data.classes):
        raise UsageError(
            f"{folder.path} holds a run with other classes: {difference}; train under another name, or delete this one"
        )
    # Titles and colours of classes may change.
    keys = differing_keys(
        *(
            {
                **replace(one, data=replace(one.data, classes=DYNAMIC_WORLD)).to_dict(),
                "train": {**TrainConfig().to_dict(), **one.train},
            }
            for one in (run, held)
        )
    )
    if keys:
        other = sorted({"data" if key.startswith("data.") else key for key in keys})
        raise UsageError(
            f"{folder.path} holds a run with another {', '.join(other)}; train under another name, or delete this one"
        )


def learning_rate(step: int, *, steps: int, warmup: int, lr: float) -> float:
    """Learning rate of optimiser step ``step`` (from 0): linear rise over ``warmup`` steps, then half a cosine to 0."""
    if step < warmup:
        return lr * (step + 1) / warmup
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


class _Trainer:
    """What lives as long as a training does."""

    def __init__(
        self,
        config: TrainConfig,
        begins: _Beginning,
        folder: RunFolder,
        dataset_train: TileSet,
        dataset_val: TileSet | None,
        on_step: Callable[[Position], None] | None,
        listener: Listener,
    ) -> None:
        run = begins.run
        self.config, self.run, self.folder, self.on_step, self.listener = config, run, folder, on_step, listener
        self.before, self.tiles = begins.before, dataset_train
        # Some tiles are smaller than the crop; where all are, the crop is a mistake.
        self.fill_up = any(min(tile.shape) >= (config.crop_px or 0) for tile in dataset_train.tiles)
        self.accelerator = _accelerator(config, folder.path)
        self.accumulate = accumulation(config, self.accelerator.num_processes)
        torch.manual_seed(config.seed)
        model = spec(config.model)
        network = make_network(config.model, run.model_config, where="model")
        if begins.before is not None and begins.made is not None:
            begins.made.apply(network, begins.before.weights)
        self.heads = {"aux": True} if getattr(network, "has_aux", False) else {}
        encoder = encoder_names(network, config.model) if config.freeze or config.lr_encoder != 1 else frozenset()
        fixed = encoder if config.freeze and run.initial else frozenset()
        self.resting = freeze(network, fixed - {*run.initial.partly, *run.initial.anew}) if run.initial else []
        if config.compile:
            network.compile()  # in place: the names of the weights stay what they are
        decay = config.weight_decay
        groups = parameter_groups(network, encoder, config.lr_encoder)
        optimiser = torch.optim.AdamW(groups, lr=config.lr, weight_decay=decay, fused=True)
        loader, self.sampler = self._loader(dataset_train, shuffle=True, fewest=model.min_batch)
        self.network: nn.Module
        self.stored = loader.dataset
        self.network, self.optimiser, self.loader = self.accelerator.prepare(network, optimiser, loader)
        self.loader_val, self.validation_px = None, 0
        if dataset_val is not None:
            self.validation_px = sum(math.prod(tile.shape) for tile in dataset_val.tiles)
            at_once = 1 if len({tile.shape for tile in dataset_val.tiles}) > 1 else None
            self.loader_val = self.accelerator.prepare(
                self._loader(dataset_val, shuffle=False, fewest=1, batch=at_once)[0]
            )
        device = self.accelerator.device
        self.normaliser: Normaliser = run.data.normaliser().to(device)
        self.loss: PixelLoss = build_loss(
            config.loss, counts=run.data.class_counts, gamma=config.gamma, class_scale=config.class_scale
        ).to(device)
        self.steps = math.ceil(len(self.loader) / self.accumulate)

    def _loader(
        self, tiles: TileSet, *, shuffle: bool, fewest: int, batch: int | None = None
    ) -> tuple[Any, EpochSampler]:
        config = self.config
        return make_loader(
            tiles,
            batch=batch or config.batch_per_device,
            seed=config.seed,
            shuffle=shuffle,
            fewest=fewest,
            workers=config.workers,
            keep_mb=config.keep_mb,
        )

    def restore(self) -> list[EpochRow]:
        """Go back to the last checkpoint, or begin; gives the rows of the epochs that are done."""
        state = self.folder.read_checkpoint()
        if self.accelerator.is_main_process:
            self._write_down(epochs_done=0 if state is None else len(state["rows"]))
        self.accelerator.wait_for_everyone()
        if state is None:
            return []
        self.accelerator.unwrap_model(self.network).load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        log.info("%s: resuming after epoch %d of %d", self.folder.path, len(state["rows"]), self.config.epochs)
        return list(state["rows"])

    def announce(self, done: int) -> None:
        """Tell what the training begins with, and how long its epochs from ``done`` on will take."""
        told = self.accelerator.is_main_process
        if told:
            self.listener.begins(self.run, self.config.epochs)
        if done >= self.config.epochs:
            return
        if told:
            self.listener.timing()
        timed = self._time_a_batch(done)
        if told:
            self.listener.estimated(
                seconds_of_training(
                    timed,
                    epochs=self.config.epochs - done,
                    batches=len(self.loader),
                    kept=self.config.keep_mb > 0,
                    validations=math.ceil((self.config.epochs - done) / self.config.validate_every),
                    validation_px=self.validation_px,
                )
            )

    def _time_a_batch(self, epoch: int) -> TimedBatch:
        """Read and compute one batch as training does; nothing that is trained changes."""
        numbers = list(np.random.default_rng((self.config.seed, epoch)).permutation(len(self.stored)))
        start = time.perf_counter()
        batch = collate([self.stored[int(i)] for i in numbers[: self.config.batch_per_device]])
        read = time.perf_counter() - start
        batch = batch_to(batch, self.accelerator.device)
        batch = self._augmented(batch, epoch)
        network = self._in_training()
        with unchanged_buffers(network), self.accelerator.no_sync(network):
            seconds = times_of(lambda: self.accelerator.backward(self._loss(batch)))
        self.optimiser.zero_grad()
        return TimedBatch(read, seconds, batch.label.numel())

    def _augmented(self, batch: Batch, epoch: int) -> Batch:
        config = self.config
        return augment(
            batch,
            seed=config.seed,
            epoch=epoch,
            crop_px=config.crop_px,
            symmetries=config.symmetries,
            fill_up=self.fill_up,
        )

    def _in_training(self) -> nn.Module:
        self.network.train()
        for module in self.resting:
            module.eval()
        return self.network

    def _write_down(self, *, epochs_done: int) -> None:
        """Write the run's settings where it begins, and what computes it wherever that changes."""
        self.folder.prepare()
        # An earlier start may have left its settings, and nothing that was trained with them.
        if self.folder.has_progress:
            run = self.folder.read_config()
        else:
            run = self.run
            tiles = () if self.before is None else self.before.tiles or ()
            self.folder.write_json(TILES, {"trained_on": places_of(self.tiles.tiles), "pretrained_on": tiles})
        before = tuple(one for one in run.computing if one.from_epoch <= epochs_done)
        now = Computing(
            from_epoch=epochs_done + 1,
            processes=self.accelerator.num_processes,
            device=self.accelerator.device.type,
            precision=_true_precision(self.accelerator),
        )
        if before and not before[-1].same_as(now):
            log.warning(
                "%s: epochs so far were computed on %s, the next ones are on %s", self.folder.path, before[-1], now
            )
        if not before or not before[-1].same_as(now):
            self.folder.write_config(replace(run, computing=(*before, now)))

    def run_epoch(self, epoch: int) -> EpochRow:
        """Train one epoch (from 0) and score it where it is due."""
        start = time.perf_counter()
        loss, lr = self._train_epoch(epoch)
        seconds = time.perf_counter() - start
        row: EpochRow = {
            "epoch": epoch + 1,
            "lr": lr,
            "loss": loss,
            "seconds": seconds,
            "samples_per_second": self.run.data.tiles / seconds,
        }
        due = (epoch + 1) % self.config.validate_every == 0 or epoch + 1 == self.config.epochs
        if self.loader_val is not None and due:
            scores = TileCounts(self._validate()).scores()
            row |= {metric.key: scores[metric.key] for metric in overall()}
        self.accelerator.log({key: value for key, value in row.items() if value is not None}, step=epoch + 1)
        return row

    def _train_epoch(self, epoch: int) -> tuple[float, float]:
        """Mean loss over the epoch and the last step's learning rate."""
        torch.manual_seed(_mixed_seed(self.config.seed, epoch, self.accelerator.process_index))
        self.sampler.set_epoch(epoch)
        self.loader.set_epoch(epoch)  # or accelerate counts from 0 and sets the sampler's epoch to that
        self._in_training()
        losses: list[Tensor] = []
        lr, checked, count = self.config.lr, 0, len(self.loader)
        for number, batch in enumerate(batches(self.loader)):
            last_of_step = (number + 1) % self.accumulate == 0 or number + 1 == count
            losses.append(self._backward(batch, epoch, number, count, sync=last_of_step))
            if self.accelerator.is_main_process:
                self.listener.batch(epoch + 1, number + 1, count)
            if not last_of_step:
                continue
            step = number // self.accumulate
            lr = self._step(epoch * self.steps + step)
            if (step + 1) % CHECK_LOSS_EVERY == 0 or number + 1 == count:
                _check_losses(losses[checked:], first=checked, accumulate=self.accumulate, epoch=epoch)
                checked = len(losses)
            if self.on_step and self.accelerator.is_main_process:
                self.on_step(Position(epoch + 1, self.config.epochs, step + 1, self.steps))
        mean = self.accelerator.reduce(torch.stack(losses).mean(), reduction="mean")
        return float(mean), lr

    def _backward(self, batch: Batch, epoch: int, number: int, count: int, *, sync: bool) -> Tensor:
        """Add one micro-batch's share to the gradients; gives its loss, still on the device."""
        batch = self._augmented(batch, epoch)
        group = min(self.accumulate, count - number // self.accumulate * self.accumulate)
        with nullcontext() if sync else self.accelerator.no_sync(self.network):
            loss = self._loss(batch)
            self.accelerator.backward(loss / group)
        return loss.detach()

    def _loss(self, batch: Batch) -> Tensor:
        inputs = self.normaliser(batch.primary, batch.auxiliary)
        if not self.heads:
            logits = self.network(*inputs)
            self._check_logits(logits, batch)
            return self.loss(logits, batch.label)  # type: ignore[no-any-return]  # calls of modules have no type
        logits, aux_logits = self.network(*inputs, **self.heads)
        loss: Tensor = self.loss(logits, batch.label) + self.config.aux_weight * self.loss(aux_logits, batch.label)
        return loss

    def _check_logits(self, logits: Any, batch: Batch) -> None:
        """Networks from outside give whatever they give."""
        wanted = (len(batch.label), len(self.run.data.classes), *batch.label.shape[1:])
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if found != wanted:
            raise UsageError(
                f"{self.run.model} gives {found} for a batch of {len(batch.label)} crops of {batch.label.shape[1]} x "
                f"{batch.label.shape[2]} px; it must give logits {wanted}: batch, classes, height, width"
            )

    def _step(self, step: int) -> float:
        """Move the weights; gives the learning rate. Set by hand: a prepared scheduler steps once per process."""
        warmup = self.config.warmup_epochs * self.steps
        lr = learning_rate(step, steps=self.config.epochs * self.steps, warmup=warmup, lr=self.config.lr)
        for group in self.optimiser.param_groups:
            group["lr"] = lr * group.get("factor", 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return lr

    @torch.no_grad()
    def _validate(self) -> ConfusionMatrix:
        self.network.eval()
        names = self.run.data.classes.names
        total = ConfusionMatrix.zero(names)
        assert self.loader_val is not None
        for batch in batches(self.loader_val):
            logits = self.network(*self.normaliser(batch.primary, batch.auxiliary))
            counts = count_pixels(batch.label, predicted_classes(logits), len(names))
            # One matrix per sample, so that those which pad the last batch can be dropped.
            counts = self.accelerator.gather_for_metrics(counts)
            total += ConfusionMatrix(counts.sum(0).cpu().numpy(), names)
        return total

    def keep(self, rows: list[EpochRow]) -> None:
        """Write the rows, then, where it is due, the checkpoint that makes them final."""
        done = len(rows)
        if not self.accelerator.is_main_process:
            return
        _check_weights(self._weights(), epoch=done)
        self.folder.write_rows(rows)
        if self.config.keep_best and _is_best(rows):
            self.folder.write_weights(BEST_WEIGHTS, self._weights())
        if done % self.config.checkpoint_every == 0 or done == self.config.epochs:
            state = {"rows": rows, "network": self._weights(), "optimiser": self.optimiser.state_dict()}
            self.folder.write_checkpoint(done, state)

    def finish(self) -> None:
        if self.accelerator.is_main_process:
            _check_weights(self._weights(), epoch=self.config.epochs)
            # Before the weights, whose presence means that nothing is left to do.
            self.folder.keep_checkpoints(1)
            self.folder.write_weights(WEIGHTS, self._weights())
        self.accelerator.wait_for_everyone()

    def _weights(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.accelerator.unwrap_model(self.network).state_dict()
        return state


def _is_best(rows: list[EpochRow]) -> bool:
    """Whether the last row has a validation mIoU above all earlier ones."""
    last = rows[-1].get("miou")
    return last is not None and all(last > row["miou"] for row in rows[:-1] if row.get("miou") is not None)


def _check_losses(losses: list[Tensor], *, first: int, accumulate: int, epoch: int) -> None:
    finite = torch.isfinite(torch.stack(losses)).tolist()
    if not all(finite):
        step = (first + finite.index(False)) // accumulate
        raise DwplusError(f"the loss is not a number at epoch {epoch + 1}, step {step + 1}; {_NAN_ADVICE}")


_NAN_ADVICE = (
    "train with a lower lr (--set lr=1e-4) or in float32 (--set precision=fp32), under another --name: a run keeps its "
    "settings. The checkpoint of the epoch before is kept"
)


def _check_weights(state: Mapping[str, Tensor], *, epoch: int) -> None:
    """Never keep or complete a network whose weights are no numbers."""
    try:
        check_numbers(state, where=f"epoch {epoch}")
    except DataError as error:
        raise DwplusError(f"{str(error).partition(';')[0]}; {_NAN_ADVICE}") from None


def _mixed_seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _true_precision(accelerator: Accelerator) -> str:
    """What networks compute in, as it is: see ``runs.Computing``."""
    kind = accelerator.device.type
    with accelerator.autocast():
        if torch.is_autocast_enabled(kind):
            return {torch.bfloat16: "bf16", torch.float16: "fp16"}[torch.get_autocast_dtype(kind)]
    # Ampere and later GPUs round so unless they are told otherwise.
    rounded = kind == "cuda" and torch.cuda.get_device_capability()[0] >= 8 and torch.backends.cudnn.allow_tf32
    return "fp32, convolutions tf32" if rounded else "fp32"


def _accelerator(config: TrainConfig, run_dir: Path) -> Accelerator:
    cuda = torch.cuda.is_available() and config.device == "auto"
    if config.precision == "bf16" and not cuda:
        raise UsageError("precision bf16 needs a GPU: on CPUs it is many times slower; choose fp32 or auto")
    bf16 = config.precision == "bf16" or (config.precision == "auto" and cuda and torch.cuda.is_bf16_supported())
    if config.tracker and find_spec(config.tracker) is None:
        raise UsageError(f"tracker {config.tracker} is not installed; install it with: pip install 'dwplus[trackers]'")
    accelerator = Accelerator(
        mixed_precision="bf16" if bf16 else "no",
        cpu=config.device == "cpu",
        log_with=config.tracker,
        project_dir=str(run_dir) if config.tracker else None,
    )
    if config.tracker:
        accelerator.init_trackers("curves")
    return accelerator
