"""Trainings in processes of their own, which can be killed at any moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from dwplus.model.runs import RunFolder
from dwplus.model.settings import TrainConfig
from dwplus.model.train import train
from dwplus.model.training.listener import Position

from support.tile_sets import MemoryTiles, numbered

TWO = numbered(2)
TINY: dict[str, Any] = {
    "widths": [16, 32],
    "depths": [1, 1],
    "heads": [1, 2],
    "reductions": [4, 2],
    "decoder_width": 16,
}
CONFIG = TrainConfig(
    model="specsar-former-small",
    model_options=TINY | {"dropout": 0.1, "drop_path": 0.1},
    epochs=3,
    batch=4,
    batch_per_device=2,
    lr=5e-3,
    workers=0,
    device="cpu",
    seed=3,
)
"""Three epochs of three steps, the last one of two samples; with dropout, and BatchNorm in its decoder."""

STEPS = [(epoch, step) for epoch in (1, 2, 3) for step in (1, 2, 3)]

TIMES = ("seconds", "samples_per_second")


def train_here(run_dir: Path, *, on_step: Callable[[Position], None] | None = None, **changes: Any) -> Path:
    """Train ten tiles in this process, two of them scored, or resume that."""
    torch.set_num_threads(1)
    return train(
        replace(CONFIG, **changes),
        dataset_train=MemoryTiles(TWO, count=10),
        dataset_val=MemoryTiles(TWO, split="val", count=2, first=50),
        run_dir=run_dir,
        on_step=on_step,
    )


def _train_and_die(run_dir: Path, die_at: tuple[int, int] | None, changes: dict[str, Any]) -> None:
    def die(now: Position) -> None:
        if (now.epoch, now.step) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    train_here(run_dir, on_step=die, **changes)


def start(run_dir: Path, *, die_at: tuple[int, int] | None = None, **changes: Any) -> BaseProcess:
    """The same in a process of its own, which kills itself after a step (epoch and step from 1)."""
    context = multiprocessing.get_context("forkserver")
    # What takes seconds to import; the optimiser imports the second one.
    context.set_forkserver_preload(["dwplus.model.train", "torch._dynamo"])
    process = context.Process(target=_train_and_die, args=(run_dir, die_at, changes))
    process.start()
    return process


def newest(run_dir: Path) -> str:
    """Name of the last checkpoint of a run; empty where it has none."""
    names = [path.stem for path in (run_dir / "checkpoints").glob("epoch-*.pt")]
    return max(names, default="")


def result(run_dir: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """Bytes of the weights, and rows without what a clock gave."""
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in RunFolder(run_dir).read_rows()]
    return (run_dir / "model.safetensors").read_bytes(), rows
