"""Size of shards with real Sentinel-2 pixels, and CPU time of reading them compared with rasterio on the same file.

    python benchmarks/shard_size.py FOLDER

FOLDER holds label tiles and Sentinel-2 stacks (see ``rigs/real_stacks.py``). With ``--tiny`` no folder is needed:
the pixels of one tile are random.
Bars: 4.6 MB per shard; ``geotiff.read_bands`` takes at most 1.2 times the CPU of ``rasterio.open(...).read(...)``.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from dwplus.pipeline.raster.geotiff import read_bands
from dwplus.pipeline.spec.bands import SHARD_BANDS, preset
from rigs import arguments
from rigs.real_stacks import STACK, made_up_stacks, real_shards, stacks

CHOICES = {"all bands": SHARD_BANDS, "ms10 + sar": (*preset("ms10"), *preset("sar"))}


@dataclass(frozen=True)
class Reading:
    """CPU milliseconds for one choice of bands: ``read_bands`` and rasterio alone."""

    bands: str
    ours_ms: float
    plain_ms: float

    @property
    def ratio(self) -> float:
        return self.ours_ms / self.plain_ms


def reading(path: Path, name: str, bands: Sequence[str], rounds: int) -> Reading:
    """Median CPU time of both readers, interleaved, so that other load affects both alike."""

    def plain() -> Any:
        with rasterio.open(path) as file:
            return file.read([file.descriptions.index(band) + 1 for band in bands])

    ways: list[Callable[[], Any]] = [lambda: read_bands(path, bands), plain]
    assert (ways[0]() == ways[1]()).all()
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for way, kept in zip(ways, times, strict=True):
            begun = time.process_time()
            way()
            kept.append(1000 * (time.process_time() - begun))
    return Reading(name, *(statistics.median(kept) for kept in times))


def report(path: Path, rounds: int) -> None:
    print(f"{path.stem}: {path.stat().st_size / 1e6:.2f} MB   (bar 4.6)")
    for found in (reading(path, name, bands, rounds) for name, bands in CHOICES.items()):
        print(
            f"  {found.bands:11} read_bands {found.ours_ms:5.1f} ms, rasterio {found.plain_ms:5.1f} ms CPU, "
            f"ratio {found.ratio:.2f}   (bar 1.2)"
        )


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="folder of stacks and label tiles")
    parser.add_argument("--rounds", type=int, default=41)
    options = arguments.parse(parser, rounds=3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = made_up_stacks(folder / "stacks") if options.tiny else options.folder
        if source is None or not stacks(source):
            sys.exit(f"name a folder that holds dw_*{STACK}; there is none in {source}")
        for path in real_shards(source, folder):
            report(path, options.rounds)


if __name__ == "__main__":
    main()
