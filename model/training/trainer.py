"""The trainer: network, optimiser and loaders, from the last checkpoint through the epochs to the weights.

What an epoch does depends on seed and epoch alone, so a run that was killed at any moment resumes from its last
checkpoint with the same result.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ...pipeline.spec.classes import IGNORE
from ..estimate import TimedBatch, seconds_of_training, times_of, unchanged_buffers
from ..loader import Batch, TileSet, augment, batch_to, batches, collate, make_loader
from ..losses import build_loss
from ..registry import spec
from ..run_config import Computing
from ..runs import BEST_WEIGHTS, TILES, WEIGHTS, RunFolder
from ..settings import TrainConfig, accumulation
from ..transfer import places_of
from .beginning import Beginning
from .devices import accelerator_of, true_precision
from .divergence import check_losses, check_weights
from .learner import make_learner
from .listener import EpochRow, Listener, Position
from .objective import Objective
from .order import Cut, EpochOrder, MicroBatch
from .schedule import learning_rate
from .step import StepGradient
from .validation import Validation

log = logging.getLogger(__name__)

CHECK_LOSS_EVERY = 20
"""Steps between looks at the loss: each look waits for the device."""


class Trainer:
    """What lives as long as a training does."""

    def __init__(
        self,
        config: TrainConfig,
        begins: Beginning,
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
        self.accelerator = accelerator_of(config, folder.path)
        accumulation(config, self.accelerator.num_processes)  # refuses devices that do not divide the batch
        learner = make_learner(config, begins)
        self.resting = learner.resting
        cut = Cut(config.batch, config.batch_per_device, self.accelerator.num_processes, self.accelerator.process_index)
        self.order = EpochOrder(len(dataset_train), seed=config.seed, cut=cut, fewest=spec(config.model).min_batch)
        self.loader = make_loader(
            dataset_train,
            batch=config.batch_per_device,
            chosen=self.order,
            workers=config.workers,
            keep_mb=config.keep_mb,
        )
        self.network: nn.Module
        self.network, self.optimiser = self.accelerator.prepare(learner.network, learner.optimiser)
        self.validation = None if dataset_val is None else Validation(config, dataset_val, self.accelerator)
        device = self.accelerator.device
        self.normaliser = run.data.normaliser().to(device)
        loss = build_loss(
            config.loss, counts=run.data.class_counts, gamma=config.gamma, class_scale=config.class_scale
        ).to(device)
        self.objective = Objective(
            self.network,
            self.normaliser,
            loss,
            classes=len(run.data.classes),
            aux_weight=config.aux_weight if learner.has_aux else None,
            name=run.model,
        )
        self.gradient = StepGradient(self.accelerator, self.network, self.objective)

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
                    batches=len(self.order),
                    kept=self.config.keep_mb > 0,
                    validations=math.ceil((self.config.epochs - done) / self.config.validate_every),
                    validation_px=self.validation.pixels if self.validation else 0,
                )
            )

    def _time_a_batch(self, epoch: int) -> TimedBatch:
        """Read and compute one batch as training does; nothing that is trained changes."""
        numbers = self.order.samples(epoch)[: self.config.batch_per_device]
        start = time.perf_counter()
        batch = collate([self.loader.dataset[number] for number in numbers])
        read = time.perf_counter() - start
        batch = batch_to(batch, self.accelerator.device)
        batch = self._augmented(batch, epoch)
        network = self._in_training()
        with unchanged_buffers(network), self.accelerator.no_sync(network):
            seconds = times_of(lambda: self.accelerator.backward(self.objective(batch).loss))
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
            precision=true_precision(self.accelerator),
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
        if self.validation is not None and due:
            row |= self.validation.scores(self.network, self.normaliser)
        self.accelerator.log({key: value for key, value in row.items() if value is not None}, step=epoch + 1)
        return row

    def _train_epoch(self, epoch: int) -> tuple[float, float]:
        """Mean loss over the marked pixels of the epoch, and the last step's learning rate."""
        self.order.set_epoch(epoch)
        self._in_training()
        read, done, count = batches(self.loader), 0, len(self.order)
        totals: list[Tensor] = []
        lr, checked = self.config.lr, 0
        for step in range(self.order.steps):
            parts = self.order.step(step)
            for part in parts:
                self.gradient.add(self._drawn(next(read), part, epoch), last=part is parts[-1])
                done += 1
                if self.accelerator.is_main_process:
                    self.listener.batch(epoch + 1, done, count)
            totals.append(self.gradient.finish())
            lr = self._step(epoch * self.order.steps + step)
            if (step + 1) % CHECK_LOSS_EVERY == 0 or step + 1 == self.order.steps:
                check_losses(totals[checked:], first=checked, epoch=epoch)
                checked = len(totals)
            if self.on_step and self.accelerator.is_main_process:
                self.on_step(Position(epoch + 1, self.config.epochs, step + 1, self.order.steps))
        loss, pixels = torch.stack(totals).sum(0).tolist()
        return loss / max(pixels, 1), lr

    def _drawn(self, batch: Batch, part: MicroBatch, epoch: int) -> Batch:
        """A micro-batch as it is computed, on the device; what is random from here on follows from its place."""
        torch.manual_seed(_mixed_seed(self.config.seed, epoch, part.place))
        batch = self._augmented(batch_to(batch, self.accelerator.device), epoch)
        return batch if part.counts else batch._replace(label=torch.full_like(batch.label, IGNORE))

    def _step(self, step: int) -> float:
        """Move the weights; gives the learning rate. Set by hand: a prepared scheduler steps once per process."""
        warmup = self.config.warmup_epochs * self.order.steps
        lr = learning_rate(step, steps=self.config.epochs * self.order.steps, warmup=warmup, lr=self.config.lr)
        for group in self.optimiser.param_groups:
            group["lr"] = lr * group.get("factor", 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return lr

    def keep(self, rows: list[EpochRow]) -> None:
        """Write the rows, then, where it is due, the checkpoint that makes them final."""
        done = len(rows)
        if not self.accelerator.is_main_process:
            return
        check_weights(self._weights(), epoch=done)
        self.folder.write_rows(rows)
        if self.config.keep_best and _is_best(rows):
            self.folder.write_weights(BEST_WEIGHTS, self._weights())
        if done % self.config.checkpoint_every == 0 or done == self.config.epochs:
            state = {"rows": rows, "network": self._weights(), "optimiser": self.optimiser.state_dict()}
            self.folder.write_checkpoint(done, state)

    def finish(self) -> None:
        if self.accelerator.is_main_process:
            check_weights(self._weights(), epoch=self.config.epochs)
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


def _mixed_seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
