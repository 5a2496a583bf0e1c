"""What maps are made of, without a data set: networks that nobody trained, scenes as files, images in memory.

Pixels are synthetic: noise around a plausible value of each band. Neither time nor memory depends on what they show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from dwplus.model.config import to_mapping
from dwplus.model.registry import configure
from dwplus.model.run_config import DataCard, RunConfig
from dwplus.model.runs import RunFolder
from dwplus.model.score import LoadedRun
from dwplus.pipeline.own.image import Image, image_of
from dwplus.pipeline.own.pixels_dates import Dates
from dwplus.pipeline.own.pixels_products import Rules, find_products
from dwplus.pipeline.own.pixels_units import Said
from dwplus.pipeline.raster.geotiff import RasterGrid
from dwplus.pipeline.spec.bands import PRESETS, S1_BANDS, S2_BANDS
from dwplus.pipeline.spec.radar import Radar
from numpy.typing import NDArray
from torch import Tensor, nn

PRIMARY, AUXILIARY = PRESETS["ms10"], PRESETS["sar"]
RADAR = Radar("sigma0", "dB", None, ("ASCENDING", "DESCENDING"))
CRS = "EPSG:32632"
CORNER = (500_000.0, 5_000_000.0)
CLASSES = 9


# --- networks ---------------------------------------------------------------------------------------------------------


def untrained(model: str = "specsar-former-small") -> LoadedRun:
    """A run that nobody trained."""
    statistics = dict.fromkeys(PRIMARY, (0.2, 0.1)) | dict.fromkeys(AUXILIARY, (-12.0, 4.0))
    data = DataCard(
        PRIMARY, AUXILIARY, "strict", "SANDBOX", "0", 1, (1,) * CLASSES, statistics, radars=(RADAR,), planet=None
    )
    settings = to_mapping(configure(model, len(PRIMARY), len(AUXILIARY)))
    config = RunConfig("0", model, settings, {"seed": 0, "model": model}, data)
    torch.manual_seed(0)
    return LoadedRun(config.network(where=model).eval(), config, data.normaliser())


def lay_out(run: LoadedRun, folder: Path) -> Path:
    """The folder of a run, as a training leaves it."""
    made = RunFolder(folder)
    made.write_config(run.config)
    made.write_weights("model.safetensors", run.network.state_dict())
    return folder


class Constant(nn.Module):
    """A network that says the same of every pixel: probabilities 1/45, 2/45, ..., 9/45."""

    def __init__(self) -> None:
        super().__init__()
        self.probabilities = torch.arange(1.0, CLASSES + 1) / sum(range(1, CLASSES + 1))

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:  # noqa: ARG002 - as every network
        batch, _, height, width = primary.shape
        return self.probabilities.log()[None, :, None, None].expand(batch, -1, height, width)


def constant() -> LoadedRun:
    """A run whose network answers a constant."""
    return untrained()._replace(network=Constant().eval())


# --- images -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """An image in memory, as maps read images.

    Attributes:
        pixels: stored values by band, uint16 (H, W), 0 = no data.
        visible: which pixels get a class, bool (H, W); None = all.
        name: changes with the pixels.
    """

    pixels: Mapping[str, NDArray[np.uint16]]
    visible: NDArray[np.bool_] | None = None
    name: str = "held"
    crs: str = CRS
    corner: tuple[float, float] = CORNER
    pictures: int = 1
    map_origin: tuple[int, int] = (0, 0)

    @property
    def shape(self) -> tuple[int, int]:
        height, width = next(iter(self.pixels.values())).shape
        return height, width

    @property
    def map_grid(self) -> RasterGrid:
        return RasterGrid(self.crs, (10.0, 0.0, self.corner[0], 0.0, -10.0, self.corner[1]), self.shape)

    @property
    def identity(self) -> str:
        return f"{self.name} {self.shape}"

    @property
    def tags(self) -> dict[str, str]:
        return {"PIXELS": "SANDBOX", "SANDBOX": "pixels of a synthetic planet"}

    def read(self, bands: Sequence[str], start: int, stop: int, picture: int = 0) -> NDArray[np.uint16]:  # noqa: ARG002 - as Mapped
        none = np.zeros((0, stop - start, self.shape[1]), dtype=np.uint16)
        return np.stack([self.pixels[band][start:stop] for band in bands]) if bands else none

    def shown(self, start: int, stop: int, picture: int = 0) -> NDArray[np.bool_] | None:  # noqa: ARG002 - as Mapped
        return None if self.visible is None else self.visible[start:stop]

    def check_units(self) -> None:
        """Values are stored ones."""

    def without(self, rows: int, columns: int) -> Held:
        """The image without its first rows and columns: windows lie so many pixels further on the same ground."""
        left = {band: values[rows:, columns:] for band, values in self.pixels.items()}
        seen = None if self.visible is None else self.visible[rows:, columns:]
        corner = (self.corner[0] + 10.0 * columns, self.corner[1] - 10.0 * rows)
        name = f"{self.name} without {rows} {columns}"
        return replace(self, pixels=left, visible=seen, name=name, corner=corner)


def write_scene(folder: Path, height: int, width: int, *, noise: bool = True) -> list[Path]:
    """A stack of Sentinel-2 (uint16 DN) and one of Sentinel-1 (float32 dB) on one grid, in tiles of 512 px.

    Args:
        noise: of 200 DN and 1 dB; a scene without it repeats a row of 16 values, which takes no room on disk.
    """
    rng = np.random.default_rng(0)
    profile = {"driver": "GTiff", "height": height, "width": width, "crs": CRS, "bigtiff": "if_safer", "tiled": True}
    profile |= {"blockxsize": 512, "blockysize": 512, "compress": "zstd", "zstd_level": 1, "interleave": "band"}
    profile |= {"transform": Affine(10, 0, CORNER[0], 0, -10, CORNER[1])}
    s2, s1 = folder / "s2_20240703.tif", folder / "s1_20240703.tif"
    levels = 800 + 150.0 * np.arange(len(S2_BANDS))
    for path, bands, dtype, level, spread, empty in (
        (s2, S2_BANDS, "uint16", levels, 200.0, 0),
        (s1, S1_BANDS, "float32", np.array([-10.0, -17.0]), 1.0, np.nan),
    ):
        with rasterio.open(path, "w", **profile, count=len(bands), dtype=dtype, nodata=empty) as file:
            file.descriptions = bands
            for start in range(0, height, 512):
                shape = (len(bands), min(512, height - start), width)
                steps = spread / 16 * (np.arange(width) % 16)
                values = np.broadcast_to(level[:, None, None] + steps, shape)
                if noise:
                    # One field for all bands, which are correlated in real scenes.
                    field = spread * rng.standard_normal(shape[1:], dtype=np.float32).round(1)
                    values = values + field
                window = rasterio.windows.Window(0, start, width, shape[1])
                file.write(np.asarray(values, dtype=dtype), window=window)
    return [s2, s1]


def open_scene(paths: Sequence[Path]) -> Image:
    """The files as an image, as ``dwplus predict --pixels`` opens them."""
    found = find_products(paths, Rules(("S2", "S1"), Dates(), Said()))
    return image_of(found.products, (*PRIMARY, *AUXILIARY))
