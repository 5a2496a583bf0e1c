"""A data root of many tiles for benchmarks: a few patterns, shifted and written again under as many ids as are wanted.

Patterns are the shards of ``shard_size`` (real Sentinel-2 where a folder with stacks is given) or tiles that
``dwplus build`` makes of the synthetic planet. The root is what a build leaves before its validation. Everything made
here is called SANDBOX.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
from dwplus.pipeline.build.provenance import provenance
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.manifest import Manifest, ManifestRow, write_manifest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.earthengine.scene_choice import SceneRef
from dwplus.pipeline.files.atomic import sha256_of, write_atomically
from dwplus.pipeline.labels.splits import make_manifest
from dwplus.pipeline.raster.geotiff import encode_shard, grid_of, label_name, write_label
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.spec.tiles import Tile
from numpy.typing import NDArray
from shard_size import STACK, real_shards, stacks

SCENE = SceneRef("COPERNICUS/S2_SR_HARMONIZED", "20190701T101031_20190701T101030_T32TNQ", "index")
DAY = date(2019, 7, 1)
SPACING_M = 6000.0
A_ROW, ROWS = 30, 40
"""Tiles side by side, and one below the other: 180 x 240 km stay well inside a UTM zone."""


@dataclass(frozen=True)
class Pattern:
    """Content of a tile: uint16 (bands, H, W) stored values and uint8 (H, W) released codes."""

    pixels: NDArray[np.uint16]
    codes: NDArray[np.uint8]


def patterns(real: Path | None, folder: Path, planet_tiles: int = 132) -> list[Pattern]:
    """Patterns from the stacks of a folder, or of the synthetic planet where there is none."""
    if real is not None:
        shards = real_shards(real, folder)
        labels = [path.with_name(path.name.replace(STACK, ".tif")) for path in stacks(real)]
        return [_pattern(*pair) for pair in zip(shards, labels, strict=True)]
    data = folder / "data"
    command = ["build", "--source", "sandbox", "--data", str(data), "--split", "train", "--limit", "4", "--quiet"]
    command += ["--tiles", str(planet_tiles)]
    subprocess.run([sys.executable, "-m", "dwplus.cli", *command], check=True, capture_output=True)
    root = DataRoot.at(data / "sandbox")
    return [_pattern(root.own_shard(row.tile), root.own_label(row)) for row in root.complete()]


def _pattern(shard: Path, label: Path) -> Pattern:
    with rasterio.open(shard) as pixels, rasterio.open(label) as codes:
        return Pattern(pixels.read(), codes.read(1))


def tile_number(number: int, size: int = 510) -> Tile:
    """Tiles that touch nowhere, named by their centres: 30 x 40 in each zone from 31 on."""
    zone, place = divmod(number, A_ROW * ROWS)
    x, y = 400000.0 + SPACING_M * (place % A_ROW), 5000000.0 - SPACING_M * (place // A_ROW)
    tile = Tile("", f"EPSG:{32631 + zone}", (10.0, 0.0, x, 0.0, -10.0, y), (size, size), DAY, "EH", 1 + number % 14)
    lon, lat = tile.centre
    return replace(tile, id=f"dw_{lon:.10f}_{lat:.10f}-{DAY:%Y%m%d}")


def lay_out(folder: Path, count: int, given: Sequence[Pattern]) -> DataRoot:
    """A data root of ``count`` complete tiles of the training release, not validated yet."""
    root = DataRoot.at(folder)
    with ProcessPoolExecutor(2) as pool:
        made = list(pool.map(partial(_write_tile, root, given), range(count), chunksize=8))
    with root.open_ledger() as ledger:
        for _, entry in made:
            ledger.append(entry)
    write_manifest(root.folder, make_manifest([row for row, _ in made]))
    return root


def _write_tile(root: DataRoot, given: Sequence[Pattern], number: int) -> tuple[ManifestRow, LedgerRow]:
    pattern = given[number % len(given)]
    shift = (37 * number % 509, 61 * number % 503)
    pixels, codes = np.roll(pattern.pixels, shift, axis=(1, 2)), np.roll(pattern.codes, shift, axis=(0, 1))
    tile = tile_number(number, codes.shape[0])
    label = label_name(tile, "expert")
    written = write_label(root.folder / label, codes, tile, {"LABELER": "expert"})
    content = encode_shard(pixels, tile, provenance(tile, SCENE, Recipe(), pixels, "SANDBOX"))
    write_atomically(root.own_shard(tile), content)
    row = ManifestRow(tile, "expert", "train", label, sha256_of(codes.tobytes()), 0.8, label_written_sha256=written)
    return row, LedgerRow(
        tile.id,
        "done",
        source="SANDBOX",
        recipe=Recipe().hash,
        bytes=len(content),
        sha256=sha256_of(content),
        grid=str(grid_of(tile)),
    )


def first(root: DataRoot, count: int, folder: Path) -> DataRoot:
    """A data root of the first tiles of another one; shards and labels are links to it."""
    folder.mkdir()
    for name in ("shards", "labels"):
        (folder / name).symlink_to(root.folder / name)
    rows = root.manifest().rows[:count]
    known, made = root.ledger(), DataRoot.at(folder)
    with made.open_ledger() as ledger:
        for row in rows:
            ledger.append(known[row.tile.id])
    write_manifest(folder, Manifest(rows))
    return made
