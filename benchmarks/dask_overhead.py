"""Overhead of the scheduler per tile, and time of planning over the metadata of 20,000 tiles.

    python benchmarks/dask_overhead.py [--tiles 20000] [--scheduler ADDRESS]

- overhead: an empty task per tile on a local cluster of two processes, or on the cluster at ADDRESS;
- planning: what ``dwplus validate`` does before it reads the first shard, and ``dwplus normalise`` before the first
  histogram: read manifest, ledger and findings, and select tiles. It runs in a separate process and includes imports.
  No shard is read: none exists.

Bars: 2 ms per tile; 5 s.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.cluster import open_cluster
from dwplus.pipeline.dataset.findings import FindingsDocument, write_findings
from dwplus.pipeline.dataset.ledger import LedgerRow, encode_line
from dwplus.pipeline.dataset.manifest import ManifestRow, write_manifest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.labels.splits import make_manifest
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.raster.geotiff import grid_of
from dwplus.pipeline.spec.recipe import Recipe
from rigs import arguments
from rigs.many_shards import tile_number


def nothing(rows: Sequence[ManifestRow]) -> int:
    return len(rows)


def lay_out(root: DataRoot, count: int) -> None:
    """Manifest, ledger and findings of ``count`` complete tiles that are not there."""
    root.folder.mkdir(parents=True)
    rows = [ManifestRow(tile_number(n), "expert", "train", f"labels/{n}.tif", f"{n:064x}", 0.8) for n in range(count)]
    write_manifest(root.folder, make_manifest(rows))
    rows = list(root.manifest().rows)
    with root.ledger_file.open("wb") as ledger:
        for row in rows:
            entry = LedgerRow(
                row.tile.id,
                "done",
                source="SANDBOX",
                recipe=Recipe().hash,
                bytes=4_000_000,
                sha256=row.label_sha256,
                grid=str(grid_of(row.tile)),
                scene="20190701T101031_20190701T101030_T32TNQ",
                rule="index",
                time="2026-01-01T00:00:00.000+00:00",
            )
            ledger.write(encode_line({k: v for k, v in vars(entry).items() if v not in ("", 0)}) + b"\n")
    seen = {row.tile.id: f"{row.label_sha256} {row.label_sha256}" for row in rows}
    write_findings(root.folder, FindingsDocument((), seen, len(rows)))


class FirstBatchError(Exception):
    """Planning is over."""


def stop_at_the_first_batch(_function: Callable[[Any], Any], _items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    raise FirstBatchError


def plan(root: DataRoot) -> None:
    """Everything before the first batch of both stages."""
    for stage in (validate_root, normalise_root):
        try:
            stage(root, run=stop_at_the_first_batch, progress=Silent())
        except FirstBatchError:
            continue
        raise AssertionError("the stage planned no batch")


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("--tiles", type=int, default=20_000)
    parser.add_argument("--scheduler")
    parser.add_argument("--plan-only", type=Path, help="used by the benchmark itself")
    options = arguments.parse(parser, tiles=300)
    if options.plan_only:
        plan(DataRoot.at(options.plan_only))
        return
    with tempfile.TemporaryDirectory() as name:
        root = DataRoot.at(Path(name) / "root")
        lay_out(root, options.tiles)
        begun, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run([sys.executable, __file__, "--plan-only", str(root)], check=True)
        planned_s = time.monotonic() - begun
        planned_cpu_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - cpu
        rows = root.complete()
        workers = None if options.scheduler else 2
        with open_cluster(workers=workers, scheduler=options.scheduler) as run:
            list(run(nothing, rows[:200]))
            before = psutil.Process().memory_info().rss
            begun = time.monotonic()
            done = sum(count for count, _ in run(nothing, rows))
            took_s = time.monotonic() - begun
            grown = psutil.Process().memory_info().rss - before
    assert done == options.tiles
    print(f"{done} tiles, two processes" if workers else f"{done} tiles, the cluster at {options.scheduler}")
    print(
        f"  overhead  {1000 * took_s / done:6.2f} ms per tile   (bar 2); {grown / 2**20:.0f} MiB more in this process"
    )
    print(f"  planning  {planned_s:6.2f} s          (bar 5); {planned_cpu_s:.1f} CPU-s")


if __name__ == "__main__":
    main()
