"""A data root of own labels without pixels, and stacks of Sentinel-2 and Sentinel-1 to add to it."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from dwplus.pipeline.dataset.manifest import Manifest, ManifestRow, write_manifest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.raster.geotiff import write_label
from dwplus.pipeline.spec.bands import S2_BANDS
from dwplus.pipeline.spec.tiles import Tile, hemisphere_of, lon_lat
from numpy.typing import NDArray

SPLITS = ("train", "train", "val", "test")


def own_tile(
    x: float = 500_000.0,
    y: float = 5_000_000.0,
    *,
    size: int = 32,
    crs: str = "EPSG:32632",
    day: date = date(2019, 7, 1),
) -> Tile:
    """A tile of an own label with its upper left corner at (x, y)."""
    tile_id = f"field-{crs.removeprefix('EPSG:')}-{x:.0f}-{y:.0f}-{day:%Y%m%d}"
    transform = (10.0, 0.0, x, 0.0, -10.0, y)
    return Tile(tile_id, crs, transform, (size, size), day, hemisphere_of(lon_lat(crs, x, y)[0]), 0)


def lay_out_labels(
    folder: Path,
    tiles: Sequence[Tile],
    *,
    codes: Sequence[NDArray[np.uint8]] = (),
    periods: Mapping[str, str] | None = None,
) -> DataRoot:
    """A data root of own labels, as ``labels add`` leaves it: labels and manifest, no ledger; splits in turn."""
    rows = []
    for number, tile in enumerate(tiles):
        seeded = np.random.default_rng(number).integers(1, 10, tile.shape, dtype=np.uint8)
        label = codes[number] if codes else seeded
        path = f"labels/own/{tile.id}.tif"
        written = write_label(folder / path, label, tile, {"LABELER": "own"})
        split = SPLITS[number % len(SPLITS)]
        rows.append(
            ManifestRow(
                tile, "own", "own", path, written, 1.0, split_strict=split, split_paper=split.replace("val", "train"),
                label_written_sha256=written, period=(periods or {}).get(tile.id, ""), added="made",
            )
        )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, Manifest(tuple(sorted(rows, key=lambda row: row.tile.id))))
    return DataRoot.at(folder)


def s2_values(height: int, width: int, *, seed: int = 0) -> NDArray[np.uint16]:
    """DN of Sentinel-2 without gaps, uint16 (bands, H, W): smooth, darkest near 200, brightest near 4000."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / (5 + n)) * np.cos(columns / (7 + n)) for n in range(len(S2_BANDS))]
    level = [600 + 150 * n for n in range(len(S2_BANDS))]
    values = np.stack([base + 300 * wave for base, wave in zip(level, waves, strict=True)])
    return (values + rng.integers(0, 40, values.shape)).astype(np.uint16)


def s1_values(height: int, width: int, *, seed: int = 0) -> NDArray[np.float32]:
    """VV around -10 dB and VH around -17 dB, float32 (2, H, W)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    wave = 2 * np.sin(rows / 6) * np.cos(columns / 9)
    return np.stack([-10 + wave, -17 + 0.7 * wave]).astype(np.float32) + rng.normal(0, 0.3, (2, height, width)).astype(
        np.float32
    )


def write_raster(
    path: Path,
    values: NDArray[Any],
    transform: Affine,
    *,
    crs: str | None = "EPSG:32632",
    names: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    scale: float = 1.0,
    offset: float = 0.0,
    **profile: Any,
) -> Path:
    """A GeoTIFF of ``values`` (bands, H, W); its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    settings = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": str(values.dtype)}
    with rasterio.open(path, "w", **{**settings, "crs": crs, "transform": transform, **profile}) as file:
        file.write(values)
        if names:
            file.descriptions = tuple(names)
        file.scales, file.offsets = (scale,) * count, (offset,) * count
        file.update_tags(**(tags or {}))
    return path


def write_s2(path: Path, tile: Tile, *, seed: int = 0, margin_px: int = 4, add: int = 0, **changes: Any) -> Path:
    """A stack of Sentinel-2 on the grid of a tile, and a margin around it."""
    height, width = (side + 2 * margin_px for side in tile.shape)
    transform = tile.affine @ Affine.translation(-margin_px, -margin_px)
    values = s2_values(height, width, seed=seed) + np.uint16(add)
    return write_raster(path, values, transform, **{"crs": tile.crs, "names": S2_BANDS, **changes})


def write_s1(path: Path, tile: Tile, *, seed: int = 0, margin_px: int = 4, **changes: Any) -> Path:
    """VV and VH in dB on the grid of a tile, and a margin around it."""
    height, width = (side + 2 * margin_px for side in tile.shape)
    transform = tile.affine @ Affine.translation(-margin_px, -margin_px)
    return write_raster(
        path, s1_values(height, width, seed=seed), transform, **{"crs": tile.crs, "names": ("VV", "VH"), **changes}
    )
