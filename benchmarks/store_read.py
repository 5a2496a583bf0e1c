"""CPU time of reading a sample from the training store, compared with a memcpy, and size of the store.

    python benchmarks/store_read.py [FOLDER]

Tiles are those of the synthetic planet, built by ``dwplus build``; with FOLDER (see ``rigs/real_stacks.py``) also tiles
with real Sentinel-2 pixels. A full sample is ms10 and sar with the label. All files are read once before, to exclude
the disk. CPU time is that of one thread, which other load changes least. Each memcpy copies another sample into the
same memory, so that its source is in memory, as in a loader, and not in the processor's cache.
Bars: a sample at most 8 times a memcpy of its bytes; the store at most 1.2 times the shards with their labels.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numcodecs.blosc
import numpy as np
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.dataset.store import FilePlan, Store, entries_of, write_files
from dwplus.pipeline.dataset.store_metadata import TILES_PER_FILE
from dwplus.pipeline.files.atomic import sha256_of
from dwplus.pipeline.raster.geotiff import read_bands, read_codes, shard_name
from dwplus.pipeline.spec.bands import preset
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from numpy.typing import NDArray
from rigs import arguments
from rigs.real_stacks import STACK, label_of, made_up_stacks, real_shard, stacks

BANDS = (preset("ms10"), preset("sar"))
READ_BAR, SIZE_BAR = 8.0, 1.2


@dataclass(frozen=True)
class Result:
    """CPU milliseconds a sample, and bytes of all files."""

    store_ms: float
    shards_ms: float
    memcpy_ms: float
    store_bytes: int
    shard_bytes: int

    def __str__(self) -> str:
        read, size = self.store_ms / self.memcpy_ms, self.store_bytes / self.shard_bytes
        return (
            f"  CPU ms a sample: store {self.store_ms:.2f}, shards {self.shards_ms:.2f}, copy {self.memcpy_ms:.2f}: "
            f"{read:.1f} x memcpy   (bar {READ_BAR:g})\n"
            f"  {self.store_bytes / 1e6:.1f} MB, shards and labels {self.shard_bytes / 1e6:.1f} MB: {size:.3f} x   "
            f"(bar {SIZE_BAR:g})"
        )


def build(folder: Path, *options: str) -> DataRoot:
    """Data root of a build on the synthetic planet."""
    command = ["build", "--source", "sandbox", "--data", str(folder), "--workers", "1", *options]
    done = subprocess.run([sys.executable, "-m", "dwplus.cli", *command], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return DataRoot.at(folder / "sandbox")


def with_real_pixels(root: DataRoot, source: Path) -> None:
    """Put the Sentinel-2 pixels of a folder into the shards of a root."""
    found = {path.name.removesuffix(STACK): path for path in stacks(source)}
    with root.open_ledger() as ledger:
        for row in root.manifest().rows:
            path = root.own_shard(row.tile)
            content = real_shard(found[row.tile.id], path)
            path.write_bytes(content)
            ledger.append(replace(ledger.rows[row.tile.id], sha256=sha256_of(content), bytes=len(content)))


def in_turn(rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """At least 20 rows, so that one round of samples (130 MB) does not stay in the processor's cache."""
    return [rows[i % len(rows)] for i in range(max(20, len(rows)))]


def full_sample(store: Store, row: ManifestRow) -> list[NDArray[Any]]:
    label, bands = store.read(row.tile.id, *BANDS)
    return [label, *bands]


def from_shards(root: DataRoot, row: ManifestRow) -> list[NDArray[Any]]:
    bands = read_bands(root.shard(row.tile), (*BANDS[0], *BANDS[1]))
    return [DYNAMIC_WORLD.class_indices(read_codes(root.label(row))), bands]


def copy(sample: Sequence[NDArray[Any]], room: Sequence[NDArray[Any]]) -> None:
    for source, target in zip(sample, room, strict=True):
        np.copyto(target, source)


def timed(times: list[float], way: Callable[..., Any], *arguments: Any) -> Any:
    begun = time.process_time()
    result = way(*arguments)
    times.append(1000 * (time.process_time() - begun))
    return result


def measure(root: DataRoot, rows: Sequence[ManifestRow], rounds: int) -> Result:
    """Medians over all tiles, the three ways in turns, so that other load meets them alike."""
    entries = entries_of(root, rows)
    for number, start in enumerate(range(0, len(entries), TILES_PER_FILE)):
        write_files(FilePlan(number, entries[start : start + TILES_PER_FILE]), root)
    store = Store(root, rows)
    numcodecs.blosc.use_threads = False
    samples = [[np.copy(array) for array in full_sample(store, row)] for row in in_turn(rows)]
    room = [np.ones_like(array) for array in samples[0]]
    times: dict[str, list[float]] = {"store": [], "shards": [], "memcpy": []}
    for _ in range(rounds):
        for row, sample in zip(in_turn(rows), samples, strict=True):
            read = timed(times["store"], full_sample, store, row)
            decoded = timed(times["shards"], from_shards, root, row)
            timed(times["memcpy"], copy, sample, room)
            assert (np.concatenate(read[1:]) == decoded[1]).all(), row.tile.id
            assert (read[0] == decoded[0]).all(), row.tile.id
    stored = sum(path.stat().st_size for path in root.store.rglob("*") if path.is_file())
    shards = sum((root.folder / path).stat().st_size for row in rows for path in (shard_name(row.tile), row.label))
    return Result(*(statistics.median(times[name]) for name in times), stored, shards)


def measure_planet(folder: Path, tiles: int, rounds: int) -> None:
    root = build(folder / "planet", "--tiles", str(tiles))
    ledger = {path.stem for path in root.shards.rglob("dw_*.tif")}
    rows = [row for row in root.manifest().rows if row.tile.id in ledger]
    print(f"{len(rows)} tiles of the synthetic planet [SANDBOX]\n{measure(root, rows, rounds)}")


def measure_stacks(source: Path, folder: Path, rounds: int, kind: str) -> None:
    """Measure tiles with the Sentinel-2 pixels of the stacks in ``source``."""
    given = folder / "given"
    given.mkdir()
    for stack in stacks(source):
        shutil.copy(label_of(stack), given)
    root = build(folder / "stacks", "--labels", str(given))
    with_real_pixels(root, source)
    rows = list(root.manifest().rows)
    print(f"{len(rows)} tiles with {kind} Sentinel-2 pixels\n{measure(root, rows, rounds)}")


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="folder of real stacks and label tiles")
    parser.add_argument("--tiles", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=15)
    options = arguments.parse(parser, tiles=6, rounds=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure_planet(folder, options.tiles, options.rounds)
        if options.folder is not None:
            measure_stacks(options.folder, folder, options.rounds, "real")
        elif options.tiny:
            measure_stacks(made_up_stacks(folder / "made-up"), folder, options.rounds, "random")


if __name__ == "__main__":
    main()
