"""Training: settings and a data set go in, a run's folder comes out (``runs.py``).

Defaults are the paper's (section V-B): AdamW, learning rate 5e-4 on a cosine over 200 epochs, 4 tiles on each of 8
devices = 32 a step, rotations and flips, from scratch, through ``accelerate``. Fewer devices accumulate to 32. Open in
the paper, so chosen here: weight decay 0.01 (on all weights), no warm-up, focal loss as in ``losses.py`` at full
resolution, the last epoch's weights as the result.

What a step does depends on seed, epoch and the step's number alone, so a run that was killed at any moment resumes from
its last checkpoint with the same result. SIGTERM and SIGUSR1 leave a checkpoint after the step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from ..pipeline.errors import DwplusError
from ..pipeline.machine import is_first_process, processes_together
from ..pipeline.spec.overlaps import block_of
from ..pipeline.spec.tiles import Tile
from .label_share import part_of
from .loader import TileSet
from .losses import too_rare
from .missing import counting_either
from .run_config import RunConfig
from .runs import RunFolder
from .settings import TrainConfig, in_epochs
from .training.beginning import beginning, check_same_run, resolve
from .training.devices import accelerator_of, check_machine
from .training.listener import EpochRow, Listener, Position
from .training.signals import stop_on_signals
from .training.together import View, check_together, view_of
from .training.trainer import Trainer
from .transfer import BlockAt

log = logging.getLogger(__name__)


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
        UsageError: the settings do not fit each other or the data, ``run_dir`` holds a run with others, weights to
            begin with were trained on another Sentinel-1, or processes that train together see different things.
        DwplusError: the loss is not a number any more.
        KeyboardInterrupt: SIGTERM or SIGUSR1 came; the same call resumes.
    """
    folder, listener = RunFolder(run_dir), listener or Listener()
    if config.drops:
        dataset_train = counting_either(dataset_train)
    dataset_train = part_of(dataset_train, config.labels_share)
    run = resolve(config, dataset_train, dataset_val)
    if not folder.complete:
        check_machine(config)
    if processes_together() > 1:
        _meet(config, view_of(run, run_dir, (dataset_train, dataset_val)))
    held = folder.read_config() if folder.started and folder.has_progress else None
    if held is not None:
        run = run.resuming(held)
    validated = () if dataset_val is None else dataset_val.tiles
    begins = beginning(config, run, held, [*held_out, *validated], block_at, accept_s1=accept_s1)
    run = begins.run
    check_same_run(folder, run)
    if folder.complete:
        log.info("%s is complete: nothing to do", run_dir)
        return run_dir
    if is_first_process():
        _warn_of_rare_class(config, run)
    config = in_epochs(config, len(dataset_train))
    # One process of several on one run holds the lock for all of them.
    with folder.locked() if is_first_process() else nullcontext(), stop_on_signals() as stop:
        trainer = Trainer(config, begins, folder, dataset_train, dataset_val, on_step, listener, stop)
        try:
            _run_epochs(trainer, on_epoch)
        finally:
            trainer.accelerator.end_training()
    return run_dir


def _meet(config: TrainConfig, view: View) -> None:
    """Wait for the other processes of this training, and make sure that they see the same."""
    accelerator = accelerator_of(config, Path(view.run_dir))
    try:
        check_together(view)
    except DwplusError:
        accelerator.end_training()
        raise


def _warn_of_rare_class(config: TrainConfig, run: RunConfig) -> None:
    counts = run.data.class_counts
    if not config.loss.startswith("focal") or (rarest := too_rare(counts, config.class_scale)) is None:
        return
    log.warning(
        "class %s has %d of %d training pixels: its weight in the loss makes those of all other classes vanish; train "
        "with --set class_scale=pixel, which limits it",
        *(run.data.classes.names[rarest], counts[rarest], sum(counts)),
    )


def _run_epochs(trainer: Trainer, on_epoch: Callable[[EpochRow], None] | None) -> None:
    trainer.restore()
    trainer.announce()
    while trainer.done < trainer.config.epochs:
        row = trainer.run_epoch()
        if on_epoch and trainer.accelerator.is_main_process:
            on_epoch(row)
    trainer.finish()
