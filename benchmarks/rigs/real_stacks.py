"""Shards with the pixels of Sentinel-2 stacks: real ones from a folder, or made-up ones for tiny modes.

A folder of stacks holds label tiles (``dw_....tif``) and, beside them, Sentinel-2 stacks on the same grid
(``dw_....s2_l2a.tif``: one band for each of ``S2_BANDS``, named in the band descriptions). There is no real Sentinel-1
for them: VV, VH and S1_N are those of the synthetic planet, built by ``dwplus build``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from dwplus.pipeline.raster.geotiff import encode_shard
from dwplus.pipeline.spec.bands import NODATA, S2_BANDS, SHARD_BANDS
from dwplus.pipeline.spec.tiles import Tile, parse_tile_id
from numpy.typing import NDArray

from rigs.replay_server import make_labels

STACK = ".s2_l2a.tif"


def stacks(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"dw_*{STACK}"))


def label_of(stack: Path) -> Path:
    """The label tile beside a stack."""
    return stack.with_name(stack.name.replace(STACK, ".tif"))


def made_up_stacks(folder: Path, count: int = 1) -> Path:
    """A folder of stacks with random pixels, in place of real ones."""
    make_labels(folder / "made", count)
    for label in list((folder / "made").rglob("dw_*.tif")):
        _make_up(Path(shutil.copy(label, folder)))
    return folder


def _make_up(label: Path) -> None:
    with rasterio.open(label) as file:
        profile = {**file.profile, "count": len(S2_BANDS), "dtype": "int16"}
    pixels = np.random.default_rng(0).integers(200, 4000, (profile["count"], profile["height"], profile["width"]))
    with rasterio.open(label.with_name(f"{label.stem}{STACK}"), "w", **profile) as file:
        file.write(pixels.astype(np.int16))
        file.descriptions = S2_BANDS


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
        tile = Tile(planet.stem, str(file.crs), *grid, known.date, "EH", 0)  # type: ignore[arg-type]  # six numbers and two
    return encode_shard(pixels, tile, tags)


def real_shards(source: Path, folder: Path) -> list[Path]:
    """Shards of all stacks of a folder."""
    found = stacks(source)
    planet = planet_shards([label_of(path) for path in found], folder)
    paths = []
    for stack in found:
        tile = stack.name.removesuffix(STACK)
        paths.append(folder / f"{tile}.tif")
        paths[-1].write_bytes(real_shard(stack, planet[tile]))
    return paths
