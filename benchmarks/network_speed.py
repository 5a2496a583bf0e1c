"""Speed of SpecSAR-Former with its folded decoder, compared with its plain one and with SegFormer-B2, on a CPU.

    python benchmarks/network_speed.py [--rounds 5] [--compile] [--no-training] [--no-memory]

Rounds are interleaved; medians count. 510 px and a batch of one in inference (SegFormer of
segmentation-models-pytorch: padded to 512, channels-last where that is faster for it), a batch of two in a training
step (all heads, focal loss, AdamW), a batch of four for memory, each in a separate process.

Bars: folded at least 2.2 x as fast as plain in inference and 2.0 x in a training step; at least 0.9 x the speed of
smp's default SegFormer-B2 (decoder of 256 channels), 1.1 x with ``torch.compile`` (smp's stays eager); 1.7 x
SegFormer-B2 with the paper's decoder of 768 channels in its plain form; at most 0.7 x the memory of plain in training.
segmentation-models-pytorch (the extra ``models``) is needed.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from dwplus.model.registry import build
from dwplus.model.speed import held_mb, inference_step, training_step
from rigs import arguments
from torch import Tensor, nn
from torch.nn.functional import pad

SIZE_PX = 510
Step = Callable[[], None]


class Smp(nn.Module):
    """SegFormer-B2 of smp, padded to 512 px, in the memory format that is faster for it."""

    def __init__(self, *, channels_last: bool, **options: Any) -> None:
        super().__init__()
        import segmentation_models_pytorch

        network = segmentation_models_pytorch.create_model(
            "segformer", "mit_b2", encoder_weights=None, in_channels=12, classes=9, **options
        )
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network.to(memory_format=self.format)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        image = pad(torch.cat([primary, auxiliary], dim=1), (1, 1, 1, 1)).contiguous(memory_format=self.format)
        logits: Tensor = self.network(image)[..., 1:-1, 1:-1]
        return logits


def images(batch: int, size_px: int = SIZE_PX) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, bands, size_px, size_px, generator=generator) for bands in (10, 2)]


def in_turns(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Median seconds of each step; the first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(seconds[1:]) for name, seconds in times.items()}


def training_peak_mb(decoder: str, batch: int, size_px: int) -> float:
    """The most memory that a process grows by in two training steps, in 10^6 bytes."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_here, (decoder, batch, size_px))


def _peak_here(decoder: str, batch: int, size_px: int) -> float:
    before = held_mb()
    step = training_step(build("specsar-former", decoder=decoder), images(batch, size_px))
    for _ in range(2):
        step()
    return held_mb() - before


def compare(title: str, seconds: dict[str, float], bars: dict[str, tuple[str, float]]) -> None:
    print(title)
    for name, value in seconds.items():
        ratio = value / seconds["folded"]
        print(f"  {name:24} {1000 * value:8.0f} ms   {ratio:5.2f} x the time of folded")
    for what, (name, bar) in bars.items():
        print(f"  {what}: {seconds[name] / seconds['folded']:.2f} (bar {bar})")


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="compile folded too: minutes")
    parser.add_argument("--no-training", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--size", type=int, default=SIZE_PX, help="side of the images, px")
    options = arguments.parse(parser, rounds=1, size=62)
    arguments.need("segmentation_models_pytorch", "pip install 'dwplus[models]'")
    size = options.size
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {size} px, float32")
    networks: dict[str, nn.Module] = {
        "folded": build("specsar-former"),
        "plain": build("specsar-former", decoder="plain"),
        "smp": Smp(channels_last=False),
        "smp channels-last": Smp(channels_last=True),
        "smp, decoder 768": Smp(channels_last=False, decoder_segmentation_channels=768),
        "SegFormer 768 plain": build("segformer", decoder="plain"),
    }
    seconds = in_turns({name: inference_step(net, images(1, size)) for name, net in networks.items()}, options.rounds)
    fair = min("smp", "smp channels-last", key=lambda name: seconds[name])
    bars = {
        "speed against plain": ("plain", 2.2),
        f"speed against {fair}": (fair, 0.9),
        "speed against SegFormer 768 plain": ("SegFormer 768 plain", 1.7),
    }
    compare("inference, batch 1", seconds, bars)
    if not options.no_training:
        steps = {name: training_step(networks[name], images(2, size)) for name in ("folded", "plain", "smp")}
        compare("training step, batch 2", in_turns(steps, options.rounds), {"speed against plain": ("plain", 2.0)})
    if not options.no_memory:
        peaks = {decoder: training_peak_mb(decoder, 4, size) for decoder in ("folded", "plain")}
        words = ", ".join(f"{decoder} {peak:,.0f} MB" for decoder, peak in peaks.items())
        print(f"training step, batch 4: {words}: {peaks['folded'] / peaks['plain']:.2f} (bar 0.7)")
    if options.compile:
        compiled = build("specsar-former").eval()
        compiled.compile()
        begun = time.perf_counter()
        inference_step(compiled, images(1, size))()
        print(f"compiled in {time.perf_counter() - begun:.0f} s")
        steps = {
            "folded": inference_step(compiled, images(1, size)),
            fair: inference_step(networks[fair], images(1, size)),
        }
        compare("inference, batch 1, folded compiled", in_turns(steps, options.rounds), {"speed": (fair, 1.1)})


if __name__ == "__main__":
    main()
