"""What does counting for scores cost beside the network, and how long do intervals of 10,000 tiles take?

    python benchmarks/scoring_cost.py [--rounds 5] [--tiles 10000]

CPU time of one thread: the forward pass of the full SpecSAR-Former on a tile of 510 px, and the counting of matrix,
calibration bins, squared errors and pixels outside the training range of that tile (the choice of the class, which
scoring always needs, is not counted); then the calibrated variant too, with all that a calibration can have: focal loss
undone, a temperature, biases; its classes are chosen anew, which is counted.
Then a file of counts of many tiles is written, read, grouped by biome and bootstrapped.

Bars: counting at most 1 % of the forward pass; reading, grouping and bootstrapping 10,000 tiles under 10 s.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import torch
from dwplus.model.calibration import without_focal
from dwplus.model.metrics import BINS, ConfusionMatrix, TileCounts, predicted_classes
from dwplus.model.registry import build
from dwplus.model.scores.bootstrap import design_of
from dwplus.model.scores.counting import count_batch, count_with_other_logits, counted_rows, mask_digest
from dwplus.model.scores.groups import grouped
from dwplus.model.scores.intervals import intervals_of
from dwplus.model.scores.tile_table import TileRecord, TileTable
from dwplus.model.training_range import OutsideCounts, StoredRange
from dwplus.pipeline.spec.bands import PRESETS
from rigs import arguments

REGIONS = ("western-hemisphere", "eastern-hemisphere-1", "eastern-hemisphere-2")


def cpu_seconds(step: Callable[[], object], rounds: int) -> float:
    """Least CPU time of a step: what other programs take from the caches is not counted."""
    times = []
    for _ in range(rounds + 1):
        begun = time.process_time()
        step()
        times.append(time.process_time() - begun)
    return min(times[1:])


@torch.inference_mode()
def counting(size_px: int, rounds: int) -> None:
    generator = torch.Generator().manual_seed(0)
    network = build("specsar-former").eval()
    images = [torch.randn(1, bands, size_px, size_px, generator=generator) for bands in (10, 2)]
    logits = network(*images)
    label = torch.randint(0, 9, (1, size_px, size_px), generator=generator).to(torch.uint8)

    bands = np.random.default_rng(0).integers(0, 10_000, (12, size_px, size_px)).astype(np.uint16)
    ranges = StoredRange.of(
        dict.fromkeys(PRESETS["ms10"], (0.01, 0.9)) | dict.fromkeys(("VV", "VH"), (-40.0, -1.0)),
        (*PRESETS["ms10"], *PRESETS["sar"]),
    )
    assert ranges is not None

    def scored() -> None:
        OutsideCounts.of_tile(bands, ranges)
        count_batch(label, predicted_classes(logits), logits)
        mask_digest(label[0])

    prediction = predicted_classes(logits)
    first = count_batch(label, prediction, logits)
    bias = torch.linspace(-0.5, 0.5, 9).view(1, 9, 1, 1)

    rows = counted_rows(logits)

    def same_classes(gamma: float) -> None:
        count_with_other_logits(first, label, prediction, without_focal(rows, gamma) / 0.8)

    def other_classes() -> None:
        scaled = without_focal(logits, 2.0) / 0.8 + bias
        count_batch(label, predicted_classes(scaled), scaled)

    forward = cpu_seconds(lambda: network(*images), rounds)
    counted = cpu_seconds(scored, 5 * rounds) - cpu_seconds(lambda: predicted_classes(logits), 5 * rounds)
    print(f"forward pass {1000 * forward:.0f} ms, counting {1000 * counted:.1f} ms: {counted / forward:.2%} (bar 1 %)")
    for words, step in (
        ("a temperature", partial(same_classes, 0.0)),
        ("focal loss undone", partial(same_classes, 2.0)),
        ("focal loss undone and biases", other_classes),
    ):
        more = cpu_seconds(step, 5 * rounds)
        print(f"  calibrated by {words}: {1000 * more:.1f} ms more, together {(counted + more) / forward:.2%}")


def some_tiles(tiles: int, classes: int) -> TileTable:
    """Tiles of five classes at most, in 42 cells."""
    rng = np.random.default_rng(0)
    names = tuple(f"c{number}" for number in range(classes))
    records, counts = [], []
    for number in range(tiles):
        region, biome = REGIONS[int(rng.integers(3))], int(rng.integers(1, 15))
        records.append(TileRecord(f"t{number:06}", region, biome, date(2019, 7, 1), 10.0, 50.0, "expert"))
        matrix = np.zeros((classes, classes), np.int64)
        held = rng.choice(classes, min(5, classes), replace=False)
        matrix[np.ix_(held, held)] = rng.integers(0, 20_000, (len(held), len(held)))
        bins = rng.integers(0, 10_000, (3, BINS))
        counts.append(TileCounts(ConfusionMatrix(matrix, names), bins, int(rng.integers(10**9))))
    return TileTable.of(records, counts, names)


def many_tiles(tiles: int, classes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.tiles.parquet"
        some_tiles(tiles, classes).write(path)
        begun = time.perf_counter()
        table = TileTable.read(path)
        read = time.perf_counter()
        grouped(table, "biome")
        parted = time.perf_counter()
        intervals_of(table.sums, design_of(table.records), table.names)
        done = time.perf_counter()
        size = path.stat().st_size / 1e6
    print(
        f"{tiles:,} tiles of {classes} classes, {size:.1f} MB: read {read - begun:.1f} s, grouped by biome "
        f"{parted - read:.1f} s, bootstrapped {done - parted:.1f} s, together {done - begun:.1f} s (bar 10 s)"
    )


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=510, help="side of the tile, px")
    parser.add_argument("--tiles", type=int, default=10_000)
    options = arguments.parse(parser, rounds=1, size=62, tiles=100)
    torch.set_num_threads(1)
    counting(options.size, options.rounds)
    for classes in (9, 60):
        many_tiles(options.tiles, classes)


if __name__ == "__main__":
    main()
