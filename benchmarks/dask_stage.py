"""Time of validation and statistics of 400 shards, compared with decoding alone and with dask.array over rioxarray.

    python benchmarks/dask_stage.py [--tiles 400] [--real FOLDER] [--rounds 3] [--no-array]

FOLDER holds Sentinel-2 stacks and labels (see ``rigs/real_stacks.py``); without it, tiles of the synthetic planet are
used. Each way has two processes that run before the clock starts; rounds are interleaved:

- dwplus: ``inspect_root`` on the local cluster over all tiles: validation and statistics in one pass, as in ``dwplus
  build`` and ``dwplus validate``;
- decode: a pool that opens and reads each shard and its label with rasterio, and does nothing else;
- array: mean and standard deviation per band by ``dask.array`` over ``rioxarray.open_rasterio``, without no-data.

Bars: dwplus takes at most 1.3 x decode and at most 1 / 2.4 of array; no worker uses more than 700 MiB, and memory is
the same for 100, 200 and 400 tiles. This benchmark needs rioxarray.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import rasterio
from dwplus.pipeline.build.build import inspect_root
from dwplus.pipeline.cluster import Runner, local_cluster
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.progress import Silent
from rigs import arguments
from rigs.many_shards import first, lay_out, patterns

WORKERS = 2
EVERY_S = 0.05

File = tuple[str, str]


# --- the three ways ---------------------------------------------------------------------------------------------------


def decode(files: File) -> int:
    """Read a shard and its label to the end; how many numbers they hold."""
    read = 0
    for path in files:
        with rasterio.open(path) as file:
            read += file.read().size
    return read


def by_dwplus(root: DataRoot, run: Runner) -> None:
    inspect_root(root, run=run, progress=Silent())


def by_pool(files: Sequence[File], pool: ProcessPoolExecutor) -> None:
    assert sum(pool.map(decode, files, chunksize=4)) > 0


def by_array(files: Sequence[File]) -> Any:
    """Mean and standard deviation of every band on the cluster that is the default one now."""
    import dask
    import dask.array as da
    import rioxarray

    with warnings.catch_warnings():
        # Bands with scales of their own are not decoded: stored values are what is counted.
        warnings.simplefilter("ignore", UserWarning)
        opened = [rioxarray.open_rasterio(path, chunks={}, lock=False).data for path, _ in files]
    stack = da.stack(opened)
    valid = da.where(stack > 0, stack.astype("float64"), float("nan"))
    axes = (0, 2, 3)
    return dask.compute(da.nanmean(valid, axis=axes), da.nanstd(valid, axis=axes))


# --- memory -----------------------------------------------------------------------------------------------------------


@contextmanager
def watching_workers() -> Iterator[list[float]]:
    """A list of one number: the most MiB that any process started from here held while this was open."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(EVERY_S):
            for child in psutil.Process().children(recursive=True):
                try:
                    peak[0] = max(peak[0], child.memory_info().rss / 2**20)
                except psutil.NoSuchProcess:
                    continue

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def wake(batch: Sequence[int]) -> int:
    """What workers import for their first tile."""
    from dwplus.pipeline.statistics.normalise import STATISTICS_SPLITS

    time.sleep(0.01)
    return len(batch) + len(STATISTICS_SPLITS)


@contextmanager
def awake_cluster() -> Iterator[tuple[Runner, float]]:
    """A running local cluster, and the seconds that it took to start."""
    with local_cluster(WORKERS) as run:
        begun = time.monotonic()
        list(run(wake, range(64)))
        yield run, time.monotonic() - begun


def peak_mib(root: DataRoot) -> float:
    """The most that a worker of a fresh cluster held during validation and statistics."""
    with watching_workers() as peak, awake_cluster() as (run, _):
        by_dwplus(root, run)
    return peak[0]


# --- the comparison ---------------------------------------------------------------------------------------------------


def seconds(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def array_seconds(files: Sequence[File], rounds: int) -> list[float]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        by_array(files[:4])
        return [seconds(lambda: by_array(files)) for _ in range(rounds)]


def compare(root: DataRoot, *, rounds: int, with_array: bool) -> None:
    """Time the ways over all tiles of a root, and print milliseconds per tile."""
    files = [(str(root.shard(row.tile)), str(root.label(row))) for row in root.complete()]
    ours, plain = [], []
    with awake_cluster() as (run, start_s), ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(decode, files[:8]))
        for _ in range(rounds):
            plain.append(seconds(lambda: by_pool(files, pool)))
            ours.append(seconds(lambda: by_dwplus(root, run)))
    per_tile = 1000 / len(files)
    print(f"{len(files)} tiles, {WORKERS} processes, median of {rounds} rounds, wall ms per tile")
    print(f"  decode only    {statistics.median(plain) * per_tile:6.1f}")
    print(f"  dwplus         {statistics.median(ours) * per_tile:6.1f}")
    print(f"  ratio          {statistics.median(o / p for o, p in zip(ours, plain, strict=True)):6.2f}   (bar 1.3)")
    print(f"  cluster start  {start_s:6.1f} s, not counted")
    if with_array:
        array = array_seconds(files, max(1, rounds - 1))
        print(f"  dask.array     {statistics.median(array) * per_tile:6.1f}")
        print(f"  ratio          {statistics.median(array) / statistics.median(ours):6.2f}   (bar 2.4)")


def compare_memory(root: DataRoot, tiles: int, folder: Path) -> None:
    for count in sorted({max(tiles // 4, 4), max(tiles // 2, 4), tiles}):
        peak = peak_mib(first(root, count, folder / f"first-{count}"))
        print(f"  peak MiB of a worker over {count:4} tiles: {peak:5.0f}   (bar 700)")


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("--tiles", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--real", type=Path, help="folder of real stacks and labels")
    parser.add_argument("--no-array", action="store_true", help="skip dask.array")
    parser.add_argument("--no-memory", action="store_true", help="skip the memory runs")
    options = arguments.parse(parser, tiles=8, rounds=1)
    if not options.no_array:
        arguments.need("rioxarray", "pip install rioxarray, or give --no-array")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = lay_out(folder / "root", options.tiles, patterns(options.real, folder, 6 if options.tiny else 132))
        compare(root, rounds=options.rounds, with_array=not options.no_array)
        if not options.no_memory:
            compare_memory(root, options.tiles, folder)


if __name__ == "__main__":
    main()
