"""What computes a training, and in which precision."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from accelerate import Accelerator

from ...pipeline.errors import MachineError, UsageError
from ...pipeline.machine import processes_together, processor_name, usable_cores
from ...pipeline.spec.words import count_of
from ..settings import TrainConfig, accumulation
from .trackers import check_tracker_installed


def true_precision(accelerator: Accelerator) -> str:
    """What networks compute in, as it is: see ``run_config.Computing``."""
    kind = accelerator.device.type
    with accelerator.autocast():
        if torch.is_autocast_enabled(kind):
            return {torch.bfloat16: "bf16", torch.float16: "fp16"}[torch.get_autocast_dtype(kind)]
    # Ampere and later GPUs round so unless they are told otherwise.
    rounded = kind == "cuda" and torch.cuda.get_device_capability()[0] >= 8 and torch.backends.cudnn.allow_tf32
    return "fp32, convolutions tf32" if rounded else "fp32"


def device_name(device: torch.device) -> str:
    """Model of a GPU or of the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


def check_devices(config: TrainConfig, count: int) -> bool:
    """Make sure that so many processes can train on this machine; whether they do so on GPUs, one on each.

    Raises:
        UsageError: there are fewer GPUs, or cores, or they do not divide the batch.
    """
    on_gpus = _on_gpu(config)
    there = torch.cuda.device_count() if on_gpus else usable_cores()
    if count > there:
        kind = "GPU" if on_gpus else "core"
        raise UsageError(
            f"--devices {count}: there are {count_of(there, kind)} here; choose --devices {there} or fewer"
        )
    accumulation(config, count)
    return on_gpus


def check_machine(config: TrainConfig) -> None:
    """Make sure that this machine has what settings ask for, before anything is written.

    Raises:
        UsageError: it has no GPU for the precision, or not the tracker's package.
    """
    if config.precision in ("bf16", "fp16") and not _on_gpu(config):
        raise UsageError(
            f"precision {config.precision} needs a GPU: on CPUs it is many times slower; choose fp32 or auto"
        )
    if config.tracker:
        check_tracker_installed(config.tracker)


def _on_gpu(config: TrainConfig) -> bool:
    return torch.cuda.is_available() and config.device == "auto"


def accelerator_of(config: TrainConfig, run_dir: Path) -> Accelerator:
    """The devices and the precision that settings ask for; curves of a tracker will go below ``run_dir``.

    Raises:
        MachineError: several processes were started, and cannot train together here.
    """
    cuda = _on_gpu(config)
    mixed = config.precision if config.precision in ("bf16", "fp16") else "no"
    if config.precision == "auto" and cuda and torch.cuda.is_bf16_supported():
        mixed = "bf16"
    together = processes_together()
    accelerator = Accelerator(
        mixed_precision=mixed,
        # Without a GPU accelerate would have each process train alone.
        cpu=config.device == "cpu" or (together > 1 and not torch.accelerator.is_available()),
        log_with=config.tracker,
        project_dir=str(run_dir) if config.tracker else None,
    )
    if accelerator.num_processes < together:
        raise MachineError(
            f"{together} processes were started, and cannot train together on {accelerator.device.type}; choose --set "
            "device=cpu, or one process"
        )
    if together > 1:
        # DistributedDataParallel on a layout of single gradients, which costs nothing here.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    return accelerator
