"""The trainer: network, optimisers and loaders, from the last checkpoint through the epochs to the weights.

What a step does depends on seed, epoch and the step's number alone, so a run that was killed at any moment resumes from
its last checkpoint with the same result.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn

import numpy as np
import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...pipeline.spec.classes import IGNORE
from ...pipeline.spec.words import count_of
from ..estimate import TimedBatch, seconds_of_training, times_of, unchanged_buffers
from ..label_share import class_pixels
from ..loader import Batch, TileSet, augment, batch_to, batches, collate, make_loader
from ..losses import build_loss
from ..missing import version_in_training
from ..registry import spec
from ..run_config import Computing
from ..runs import AVERAGE_WEIGHTS, BEST_WEIGHTS, WEIGHTS, RunFolder
from ..settings import TrainConfig, accumulation
from .averaging import MeanWeights, counted_anew, trained_norms
from .balance import sample_weights, tile_chances
from .beginning import Beginning
from .checkpoint import Checkpoints, Progress
from .computing import versions, write_down
from .devices import accelerator_of, device_name, true_precision
from .divergence import check_losses, check_weights
from .learner import make_learner
from .listener import EpochRow, Listener, Position
from .objective import Objective
from .order import Cut, EpochOrder, MicroBatch
from .pictures import is_due, keep_picture
from .schedule import LOST_INPUT_FACTOR, learning_rate
from .signals import StopRequest
from .step import StepGradient
from .trackers import send_row, start_tracker
from .validation import Validation, is_best

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
        stop: StopRequest,
    ) -> None:
        run = begins.run
        self.config, self.run, self.folder, self.on_step, self.listener = config, run, folder, on_step, listener
        self.before, self.tiles, self.stop = begins.before, dataset_train, stop
        # Some tiles are smaller than the crop; where all are, the crop is a mistake.
        self.fill_up = any(min(tile.shape) >= (config.crop_px or 0) for tile in dataset_train.tiles)
        self.accelerator = accelerator_of(config, folder.path)
        if config.tracker:
            start_tracker(self.accelerator, config.tracker, run, folder.path)
        accumulation(config, self.accelerator.num_processes)  # refuses devices that do not divide the batch
        learner = make_learner(config, begins)
        self.resting = learner.resting
        cut = Cut(config.batch, config.batch_per_device, self.accelerator.num_processes, self.accelerator.process_index)
        self.order = EpochOrder(
            len(dataset_train),
            seed=config.seed,
            cut=cut,
            fewest=spec(config.model).min_batch,
            chances=tile_chances(class_pixels(dataset_train)) if config.sampling == "classes" else None,
        )
        self.loader = make_loader(
            dataset_train,
            batch=config.batch_per_device,
            chosen=self.order,
            workers=config.workers,
            keep_mb=config.keep_mb,
        )
        self.network: nn.Module
        self.network, *self.optimisers = self.accelerator.prepare(learner.network, *learner.optimisers)
        self.mean = MeanWeights(config.average_last, config.epochs) if config.average_last else None
        self.checkpoints = Checkpoints(
            folder,
            self.accelerator,
            self.network,
            self.optimisers,
            minutes=config.checkpoint_minutes,
            mean=self.mean,
        )
        self.progress = Progress()
        self.validation = None if dataset_val is None else Validation(config, dataset_val, self.accelerator)
        draws = config.pictures_every > 0 and self.validation is not None
        self.shown = tuple(listener.shown()) if draws else ()
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
            sample_weights=sample_weights(config, dataset_train, device),
            aux_weight=config.aux_weight if learner.has_aux else None,
            name=run.model,
        )
        self.gradient = StepGradient(
            self.accelerator,
            self.network,
            self.objective,
            clip_norm=config.clip_norm,
        )

    @property
    def done(self) -> int:
        """Epochs that are done."""
        return len(self.progress.rows)

    def restore(self) -> None:
        """Go back to the last checkpoint, or begin."""
        now = self.progress = self.checkpoints.restore()
        if self.accelerator.is_main_process:
            computing = Computing(
                from_epoch=self.done + 1,
                processes=self.accelerator.num_processes,
                device=self.accelerator.device.type,
                precision=true_precision(self.accelerator),
                from_step=now.steps,
                batch_per_device=self.config.batch_per_device,
                device_name=device_name(self.accelerator.device),
                versions=versions(),
            )
            before = () if self.before is None else self.before.tiles or ()
            write_down(self.folder, self.run, computing, tiles=self.tiles.tiles, pretrained_on=before)
        self.accelerator.wait_for_everyone()
        if self.done or now.steps:
            within = f" and {count_of(now.steps, 'step')}" if now.steps else ""
            log.info("%s: resuming after epoch %d%s of %d", self.folder.path, self.done, within, self.config.epochs)

    def announce(self) -> None:
        """Tell what the training begins with, and how long the epochs that are left will take."""
        told, done = self.accelerator.is_main_process, self.done
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
        versions = [self._version(batch, epoch, view) for view in range(self.config.views)]
        network = self._in_training()

        def compute() -> None:
            for version in versions:
                self.accelerator.backward(self.objective(version).loss)

        with unchanged_buffers(network), self.accelerator.no_sync(network):
            seconds = times_of(compute)
        self.optimisers[0].zero_grad()
        return TimedBatch(read, seconds, batch.label.numel())

    def _version(self, batch: Batch, epoch: int, view: int, *, again: Sequence[int] = ()) -> Batch:
        """An augmented batch as it is computed; ``view`` is 0 where settings do not ask for views."""
        config = self.config
        batch = augment(
            batch,
            seed=config.seed,
            epoch=epoch,
            crop_px=config.crop_px,
            symmetries=config.symmetries,
            fill_up=self.fill_up,
            again=again,
        )
        chosen = view if config.drop_views else None
        return version_in_training(batch, config.drops, view=chosen, seed=config.seed, epoch=epoch, again=again)

    def _in_training(self) -> nn.Module:
        self.network.train()
        for module in self.resting:
            module.eval()
        return self.network

    def run_epoch(self) -> EpochRow:
        """Train the next epoch, or what is left of it, and score it where it is due.

        Raises:
            KeyboardInterrupt: a signal asked to stop; a checkpoint was written.
        """
        epoch, now = self.done, self.progress
        self._stop_if_asked()
        self._train_epoch(epoch)
        row: EpochRow = {
            "epoch": epoch + 1,
            "lr": self._rate(epoch, self.order.steps - 1),
            "loss": now.loss / max(now.pixels, 1),
            "seconds": now.seconds,
            "samples_per_second": self.run.data.tiles / max(now.seconds, 1e-9),
        }
        due = (epoch + 1) % self.config.validate_every == 0 or epoch + 1 == self.config.epochs
        if self.validation is not None and due:
            show = self.shown if self._is_pictured(epoch + 1) else ()
            row |= self.validation.scores(self.network, self.normaliser, between=self._stop_if_asked, show=show)
        send_row(self.accelerator, row)
        now.end_epoch(row)
        if self.mean is not None:
            self.mean.add(self.accelerator.unwrap_model(self.network), epoch=self.done)
        self._keep()
        if self.validation is not None and self.validation.predicted and self.accelerator.is_main_process:
            keep_picture(self.listener, self.folder, self.accelerator, epoch + 1, self.validation.predicted)
            self.validation.predicted = {}
        return row

    def _is_pictured(self, epoch: int) -> bool:
        config = self.config
        return is_due(epoch, every=config.pictures_every, validate_every=config.validate_every, epochs=config.epochs)

    def _train_epoch(self, epoch: int) -> None:
        now, steps = self.progress, self.order.steps
        self.order.set_epoch(epoch)
        count = len(self.order)
        self.order.set_epoch(epoch, first_step=now.steps)
        done = count - len(self.order)
        self._in_training()
        read, started = batches(self.loader), time.perf_counter()
        totals: list[Tensor] = []
        for step in range(now.steps, steps):
            parts = self.order.step(step)
            of_views: list[Tensor] = []
            for view, part, batch in self._in_views(read, parts):
                self.gradient.add(self._drawn(batch, part, epoch, view), last=part is parts[-1])
                if view == 0:
                    done += 1
                    if self.accelerator.is_main_process:
                        together = len(part.numbers) * self.accelerator.num_processes
                        self.listener.batch(epoch + 1, done, count, together)
                if part is parts[-1]:
                    of_views.append(self.gradient.finish(self.optimisers[view]))
                    self._step(self.optimisers[view], self._rate(epoch, step, view))
            totals.append(of_views[0] if len(of_views) == 1 else torch.stack(of_views).sum(0))
            stop, due = self._is_asked_to_stop(), self.checkpoints.due
            if stop or due or len(totals) == CHECK_LOSS_EVERY or step + 1 == steps:
                found = torch.stack(totals).tolist()
                check_losses(found, first=now.steps, epoch=epoch)
                now.add(found, seconds=time.perf_counter() - started)
                totals, started = [], time.perf_counter()
            if due and not stop:
                self.checkpoints.write(now)
            if self.on_step and self.accelerator.is_main_process:
                self.on_step(Position(epoch + 1, self.config.epochs, step + 1, steps))
            if stop:
                self._end_here()

    def _is_asked_to_stop(self) -> bool:
        """Whether any process was: all of them have to end at the same step."""
        if self.accelerator.num_processes == 1:
            return self.stop.received
        asked = torch.tensor(float(self.stop.received), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, reduction="sum"))

    def _stop_if_asked(self) -> None:
        if self._is_asked_to_stop():
            self._end_here()

    def _end_here(self) -> NoReturn:
        self.checkpoints.write(self.progress)
        # Launchers kill the other processes of a training as soon as one has ended.
        self.accelerator.wait_for_everyone()
        raise KeyboardInterrupt

    def _in_views(self, read: Iterator[Batch], parts: Sequence[MicroBatch]) -> Iterator[tuple[int, MicroBatch, Batch]]:
        """View, micro-batch and its samples in the order of computing: all of a step in one view, then in the next.

        Complete samples (view 0) come last: what scores are of most is what the weights were moved for last.
        """
        views = self.config.views
        # With one view, no batch is kept.
        stored: Iterable[Batch] = (next(read) for _ in parts)
        if views > 1:
            stored = list(stored)
        for view in (*range(1, views), 0):
            for part, batch in zip(parts, stored, strict=True):
                yield view, part, batch

    def _drawn(self, batch: Batch, part: MicroBatch, epoch: int, view: int) -> Batch:
        """A micro-batch as it is computed, on the device; what is random from here on follows from its place."""
        _seed(_mixed_seed(self.config.seed, epoch, part.place), self.accelerator.device)
        again = self.order.drawn_before(part)
        version = self._version(batch_to(batch, self.accelerator.device), epoch, view, again=again)
        return version if part.counts else version._replace(label=torch.full_like(version.label, IGNORE))

    def _rate(self, epoch: int, step: int, view: int = 0) -> float:
        """Learning rate of a step of an epoch, both from 0."""
        steps = self.order.steps
        warmup = self.config.warmup_epochs * steps
        lr = self.config.lr * (LOST_INPUT_FACTOR if view else 1.0)
        return learning_rate(epoch * steps + step, steps=self.config.epochs * steps, warmup=warmup, lr=lr)

    def _step(self, optimiser: AcceleratedOptimizer, lr: float) -> None:
        """Move the weights. The rate is set by hand: a prepared scheduler steps once per process."""
        for group in optimiser.param_groups:
            group["lr"] = lr * group.get("factor", 1.0)
        optimiser.step()
        optimiser.zero_grad()

    def _keep(self) -> None:
        """Write the rows, then, where it is due, the checkpoint that makes them final."""
        if not self.accelerator.is_main_process:
            return
        weights, rows = self.checkpoints.weights(), self.progress.rows
        check_weights(weights, epoch=self.done)
        self.folder.write_rows(rows)
        if self.config.keep_best and is_best(rows):
            self.folder.write_weights(BEST_WEIGHTS, weights)
        by_epochs = self.done % self.config.checkpoint_every == 0 or self.done == self.config.epochs
        if by_epochs or self.checkpoints.due:
            self.checkpoints.write(self.progress)

    def finish(self) -> None:
        """Write the weights of a training that is complete."""
        weights = {name: value.clone() for name, value in self.checkpoints.weights().items()}
        if self.mean is not None:
            self._keep_average(self.mean)
        if self.accelerator.is_main_process:
            check_weights(weights, epoch=self.config.epochs)
            # Before the weights, whose presence means that nothing is left to do.
            self.folder.keep_checkpoints(1)
            self.folder.write_weights(WEIGHTS, weights)
        self.accelerator.wait_for_everyone()

    def _keep_average(self, mean: MeanWeights) -> None:
        """Write the mean of the last epochs' weights, with its own statistics of BatchNorm; training is over."""
        mean.apply(self.accelerator.unwrap_model(self.network))
        self._recount_norms(trained_norms(self._in_training()))
        weights = self.checkpoints.weights()
        check_weights(weights, epoch=self.config.epochs)
        if self.accelerator.is_main_process:
            self.folder.write_weights(AVERAGE_WEIGHTS, weights)

    @torch.no_grad()
    def _recount_norms(self, norms: list[_BatchNorm]) -> None:
        """One more epoch of training batches, whose plain mean the statistics become; nothing is learned."""
        if not norms:
            return
        epoch = self.config.epochs
        self.order.set_epoch(epoch)
        read = batches(self.loader)
        # Processes do not exchange statistics here: what is written is of the first one's batches, as in training.
        with counted_anew(norms), self.accelerator.no_sync(self.network):
            for step in range(self.order.steps):
                for view, part, batch in self._in_views(read, self.order.step(step)):
                    version = self._drawn(batch, part, epoch, view)
                    if part.counts:
                        self.objective(version)


def _seed(seed: int, device: torch.device) -> None:
    # torch.manual_seed formats a traceback each time for GPUs that were not used yet: 4 ms.
    (torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed)(seed)


def _mixed_seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
