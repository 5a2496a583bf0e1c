"""How fast a network is on this device, and how much memory it takes: measured, where ``cost.py`` counts.

Each network is measured in a separate process, so that memory of other networks is not counted. Random weights and
random pixels: neither changes how long a step takes.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..pipeline.errors import DwplusError
from ..pipeline.machine import processor_name
from .losses import build_loss
from .registry import build, configure, spec

TILE_PX = 510
FEWEST, LONGEST_S = 3, 5.0
"""A step is timed at least three times, and until five seconds have gone by; the median counts."""


@dataclass(frozen=True)
class Speed:
    """What one network does on one device.

    Attributes:
        device: name of the GPU, or of the processor's kind.
        threads: of a processor; 0 on a GPU.
        precision: ``bf16`` (autocast) on a GPU that has it, ``fp32`` elsewhere.
        size: height and width of the images in pixels.
        batch: images in a training step; inference takes one at a time.
        frames_per_second: images a second in inference.
        samples_per_second: images a second in training: forward, focal loss, backward, AdamW.
        inference_mb, training_mb: the most memory that was held, weights included, in 10^6 bytes: allocated tensors on
            a GPU, the growth of the process on a processor.
    """

    device: str
    threads: int
    precision: str
    size: int
    batch: int
    frames_per_second: float
    samples_per_second: float
    inference_mb: float
    training_mb: float


def measure(
    name: str,
    primary: int | None = None,
    auxiliary: int | None = None,
    *,
    size: int = TILE_PX,
    batch: int | None = None,
    longest_s: float = LONGEST_S,
    **overrides: Any,
) -> Speed:
    """Speed and memory of a network of the registry, measured in a separate process.

    Args:
        primary, auxiliary: bands of its inputs; None: those of its row.
        size: height and width in pixels.
        batch: images in a training step; None: 4 on a GPU (as in the paper), 2 on a processor.
        longest_s: seconds for which a step is repeated; at least three times.

    Raises:
        UsageError: the network cannot be built like that.
        DwplusError: the process ended early, most often because memory ran out.
    """
    configure(name, primary, auxiliary, **overrides)  # a mistake is reported here, not in the other process
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, name, primary, auxiliary, size, batch, longest_s, overrides)
    process = context.Process(target=_measure_here, args=arguments, daemon=True)
    process.start()
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        process.join()
        raise DwplusError(
            f"{name}: the measurement ended early (exit code {process.exitcode}); not enough memory? Try --batch 2"
        ) from None
    process.join()
    if isinstance(answer, str):
        raise DwplusError(f"{name}: {answer}")
    return Speed(*answer)


def _measure_here(sender: Any, *arguments: Any) -> None:
    try:
        sender.send(_measured(*arguments))
    except (RuntimeError, MemoryError, DwplusError) as error:
        sender.send(f"cannot be measured here: {str(error).splitlines()[0]}")
    finally:
        sender.close()


def _measured(
    name: str,
    primary: int | None,
    auxiliary: int | None,
    size: int,
    batch: int | None,
    longest_s: float,
    overrides: dict[str, Any],
) -> tuple[Any, ...]:
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    bf16 = cuda and torch.cuda.is_bf16_supported()
    batch = batch or max(4 if cuda else 2, spec(name).min_batch)
    settings = configure(name, primary, auxiliary, **overrides)
    torch.manual_seed(0)
    before = held_mb()
    network = build(name, primary, auxiliary, **overrides).to(device)
    bands = (settings.primary_bands, settings.auxiliary_bands)

    def images(number: int) -> list[Tensor]:
        return [torch.randn(number, count, size, size, device=device) for count in bands]

    precision: Callable[[], AbstractContextManager[Any]] = (
        (lambda: torch.autocast("cuda", torch.bfloat16)) if bf16 else nullcontext
    )
    inference_s, inference_mb = _timed(inference_step(network, images(1), precision), before, longest_s)
    training_s, training_mb = _timed(training_step(network, images(batch), precision), before, longest_s)
    kind = torch.cuda.get_device_name() if cuda else processor_name()
    threads = 0 if cuda else torch.get_num_threads()
    words = "bf16" if bf16 else "fp32"
    return kind, threads, words, size, batch, 1 / inference_s, batch / training_s, inference_mb, training_mb


def inference_step(
    network: nn.Module, images: list[Tensor], precision: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> Callable[[], None]:
    """A function that runs the network once, as scoring does."""

    def step() -> None:
        network.eval()
        with torch.inference_mode(), precision():
            network(*images)

    return step


def training_step(
    network: nn.Module, images: list[Tensor], precision: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> Callable[[], None]:
    """A function that makes one optimiser step, as training does: all heads, focal loss, AdamW."""
    optimiser = torch.optim.AdamW(network.parameters(), fused=True)
    label = torch.randint(0, 9, (images[0].shape[0], *images[0].shape[2:]), device=images[0].device)
    loss = build_loss("focal", counts=[1] * 9, gamma=2.0).to(images[0].device)
    heads = {"aux": True} if getattr(network, "has_aux", False) else {}

    def step() -> None:
        network.train()
        with precision():
            logits = network(*images, **heads)
            total = sum(loss(one, label) for one in logits) if heads else loss(logits, label)
        total.backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def _timed(step: Callable[[], None], before_mb: float, longest_s: float) -> tuple[float, float]:
    """Median seconds of a step after a first one that is not counted, and the most MB held."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    step()
    times: list[float] = []
    while len(times) < FEWEST or sum(times) < longest_s:
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times), held_mb() - (0 if cuda else before_mb)


def held_mb() -> float:
    """The most memory that this process has held so far, in 10^6 bytes: on a GPU where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    try:
        # What getrusage calls the maximum is, on Linux, also that of the process which started this one.
        with Path("/proc/self/status").open(encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024 / 1e6
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
