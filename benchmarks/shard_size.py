"""Size of shards with real Sentinel-2 pixels, and what reading them costs beside rasterio reading the same file.

    python benchmarks/shard_size.py FOLDER

FOLDER holds label tiles (``dw_....tif``) and, beside them, Sentinel-2 stacks on the same grid (``dw_....s2_l2a.tif``).
There is no real Sentinel-1 for them: VV, VH and S1_N are those of the synthetic planet, built by ``dwplus build``.
Bars: 4.6 MB a shard; ``shards.read_bands`` takes at most 1.2 times the CPU of ``rasterio.open(...).read(...)``.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from dwplus.pipeline.raster.geotiff import encode_shard, read_bands
from dwplus.pipeline.spec.bands import NODATA, S2_BANDS, SHARD_BANDS, preset
from dwplus.pipeline.spec.tiles import Tile, parse_tile_id
from numpy.typing import NDArray

ROUNDS = 41
STACK = ".s2_l2a.tif"


@dataclass(frozen=True)
class Reading:
    """CPU milliseconds of one choice of bands: by ``read_bands`` and by rasterio alone."""

    bands: str
    ours_ms: float
    plain_ms: float

    @property
    def ratio(self) -> float:
        return self.ours_ms / self.plain_ms


def stacks(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"dw_*{STACK}"))


def planet_shards(labels: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Shards of the synthetic planet on the grids of some label tiles, by tile id."""
    given = folder / "labels"
    given.mkdir()
    for label in labels:
        shutil.copy(label, given)
    command = ["build", "--labels", str(given), "--data", str(folder / "data"), "--source", "sandbox", "--workers", "1"]
    subprocess.run([sys.executable, "-m", "dwplus.cli", *command], check=True, capture_output=True)
    return {path.stem: path for path in (folder / "data" / "sandbox" / "shards").rglob("dw_*.tif")}


def real_shard(stack: Path, planet: Path) -> bytes:
    """A shard with the Sentinel-2 bands of a stack and everything else of the planet's shard."""
    with rasterio.open(planet) as file, rasterio.open(stack) as real:
        assert (file.crs, file.transform, file.shape) == (real.crs, real.transform, real.shape), stack
        pixels: NDArray[np.uint16] = file.read()
        for band in S2_BANDS:
            digital_number = np.clip(real.read(real.descriptions.index(band) + 1), NODATA, None)
            pixels[SHARD_BANDS.index(band)] = digital_number.astype(np.uint16)
        tags = {name: value for name, value in file.tags().items() if name != "AREA_OR_POINT"}
        known = parse_tile_id(planet.stem)
        grid = (tuple(file.transform)[:6], file.shape)
        tile = Tile(planet.stem, str(file.crs), *grid, known.date, "EH", 0)  # type: ignore[arg-type]
    return encode_shard(pixels, tile, tags)


def real_shards(source: Path, folder: Path) -> list[Path]:
    """Shards of all stacks of a folder."""
    found = stacks(source)
    planet = planet_shards([path.with_name(path.name.replace(STACK, ".tif")) for path in found], folder)
    paths = []
    for stack in found:
        tile = stack.name.removesuffix(STACK)
        paths.append(folder / f"{tile}.tif")
        paths[-1].write_bytes(real_shard(stack, planet[tile]))
    return paths


def reading(path: Path, name: str, bands: Sequence[str], rounds: int = ROUNDS) -> Reading:
    """Median CPU time of both ways to read, in turns, so that other load meets both alike."""

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


def main() -> None:
    if len(sys.argv) != 2 or not stacks(Path(sys.argv[1])):
        sys.exit(f"{__doc__}\nno dw_*{STACK} in {sys.argv[1:]}")
    with tempfile.TemporaryDirectory() as name:
        for path in real_shards(Path(sys.argv[1]), Path(name)):
            print(f"{path.stem}: {path.stat().st_size / 1e6:.2f} MB   (bar 4.6)")
            choices = {"all bands": SHARD_BANDS, "ms10 + sar": (*preset("ms10"), *preset("sar"))}
            for found in (reading(path, choice, bands) for choice, bands in choices.items()):
                print(
                    f"  {found.bands:11} read_bands {found.ours_ms:5.1f} ms, rasterio {found.plain_ms:5.1f} ms CPU, "
                    f"ratio {found.ratio:.2f}   (bar 1.2)"
                )


if __name__ == "__main__":
    main()
