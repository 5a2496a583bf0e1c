"""From samples to what a network eats: batches of stored values, then decoding, normalising and augmenting in torch.

Workers read and stack; everything that computes runs on the device, on uint16 values as they were stored. Comes after
``pipeline/dataset.py`` and before ``train.py`` and ``score.py``.

Letters: B batch, C bands, H and W pixels.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from ..pipeline.errors import DataError, DwplusError, MachineError, UsageError, in_brief
from ..pipeline.machine import usable_cores
from ..pipeline.spec.bands import BANDS, LOG_GAIN, NODATA, Composite
from ..pipeline.spec.classes import IGNORE

if TYPE_CHECKING:
    from ..pipeline.dataset.samples import Sample
    from ..pipeline.spec.classes import ClassTable
    from ..pipeline.spec.radar import Radar
    from ..pipeline.spec.tiles import Tile


log = logging.getLogger(__name__)

T = TypeVar("T")


class BandStatistics(Protocol):
    """Mean and standard deviation of one band in physical units (reflectance, dB)."""

    @property
    def mean(self) -> float: ...
    @property
    def std(self) -> float: ...


class Statistics(Protocol):
    """What was counted over the training split: per band, pixels per class, and the hash of what was counted."""

    @property
    def bands(self) -> Mapping[str, BandStatistics]: ...
    @property
    def class_counts(self) -> tuple[int, ...]: ...
    @property
    def shards_hash(self) -> str: ...


class TileSet(Protocol):
    """What training and scoring need of ``pipeline.dataset.Dataset``."""

    @property
    def primary(self) -> tuple[str, ...]: ...
    @property
    def auxiliary(self) -> tuple[str, ...]: ...
    @property
    def split(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def classes(self) -> ClassTable: ...
    @property
    def statistics(self) -> Statistics: ...
    @property
    def tiles(self) -> Sequence[Tile]: ...
    @property
    def tiles_hash(self) -> str: ...
    @property
    def trained_here(self) -> bool: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...


class Batch(NamedTuple):
    """Samples stacked.

    Attributes:
        primary: uint16 (B, C_p, H, W), stored values, 0 = no data.
        auxiliary: uint16 (B, C_a, H, W).
        label: uint8 (B, H, W), class index 0..K - 1, 255 = ignored.
        number: int64 (B,), place of each sample in its data set.
        size: int64 (B, 2), height and width of each sample; smaller than H and W where tiles of several sizes were
            filled up to one. The filling has no data and is ignored.
    """

    primary: Tensor
    auxiliary: Tensor
    label: Tensor
    number: Tensor
    size: Tensor


class StoredTiles(TorchDataset[Batch]):
    """A ``TileSet`` as tensors, with the samples read so far kept in memory as long as they fit.

    Args:
        tiles: the data set.
        keep_bytes: memory for kept samples; each worker keeps its own, so it is meant for loading without workers.
    """

    def __init__(self, tiles: TileSet, *, keep_bytes: int = 0) -> None:
        self.tiles = tiles
        self._room = keep_bytes
        self._kept: dict[int, Batch] = {}

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, index: int) -> Batch:
        if index not in self._kept:
            item = to_batch(self.tiles[index], index)
            size = sum(part.nbytes for part in item)
            if size > self._room:
                return item
            self._room -= size
            self._kept[index] = item
        return self._kept[index]


def to_batch(sample: Sample, index: int = 0) -> Batch:
    """A batch of one."""
    arrays = (sample.primary, sample.auxiliary, sample.label)
    primary, auxiliary, label = (torch.from_numpy(np.ascontiguousarray(array))[None] for array in arrays)
    return Batch(primary, auxiliary, label, torch.tensor([index]), torch.tensor([label.shape[1:]]))


def collate(items: list[Batch]) -> Batch:
    """Stack batches of one; tiles of several sizes are filled up to the largest, see ``Batch.size``."""
    sizes = [tuple(item.label.shape[1:]) for item in items]
    if len(set(sizes)) == 1:
        return Batch(*(torch.cat(parts) for parts in zip(*items, strict=True)))
    height, width = (max(sides) for sides in zip(*sizes, strict=True))
    parts = [
        torch.cat([_filled_up(item[place], height, width, nothing) for item in items])
        for place, nothing in enumerate((NODATA, NODATA, IGNORE))
    ]
    primary, auxiliary, label = parts
    return Batch(primary, auxiliary, label, torch.cat([item.number for item in items]), torch.tensor(sizes))


def _filled_up(image: Tensor, height: int, width: int, nothing: int) -> Tensor:
    """An image (..., h, w) in the upper left corner of one of (..., height, width)."""
    filled = torch.full((*image.shape[:-2], height, width), nothing, dtype=image.dtype, device=image.device)
    filled[..., : image.shape[-2], : image.shape[-1]] = image
    return filled


def default_workers() -> int:
    """Loader processes: none without a GPU or on two cores, where sending a tile costs more than decoding it."""
    cores = usable_cores()
    return min(8, cores // 2) if torch.cuda.is_available() and cores > 2 else 0


_SHARED_MEMORY = Path("/dev/shm")
_PREFETCHED = 2
"""Batches that a loader process holds ready (PyTorch's own number)."""

WAITS_FOR_WORKERS_S = 600.0
"""A loader process that gives no batch for so long is gone, or waits for memory that never comes."""


def loader_processes(tiles: TileSet, *, batch: int, workers: int | None) -> int:
    """Loader processes for batches of a data set; none where shared memory cannot hold their batches.

    Processes hand batches over in ``/dev/shm``, of which containers have 64 MB where nothing else is said: what does
    not fit kills them, or keeps the training waiting for ever.

    Args:
        workers: processes that were asked for; None: as many as pay off.

    Raises:
        UsageError: processes were asked for, and their batches do not fit.
    """
    count = default_workers() if workers is None else workers
    needed = count * _PREFETCHED * batch * _sample_bytes(tiles)
    free = _free_bytes(_SHARED_MEMORY)
    if not count or free is None or needed <= free:
        return count
    found = (
        f"{count} loader processes need {needed / 1e6:.0f} MB in {_SHARED_MEMORY}, {free / 1e6:.0f} MB are free: start "
        "the container with --shm-size 2g"
    )
    if workers is not None:
        raise UsageError(f"{found}, or train with --set workers=0")
    log.warning("%s; reading in one process", found)
    return 0


def _sample_bytes(tiles: TileSet) -> int:
    height, width = max((tile.shape for tile in tiles.tiles), default=(0, 0))
    return height * width * (2 * (len(tiles.primary) + len(tiles.auxiliary)) + 1)


def _free_bytes(folder: Path) -> int | None:
    """Free space for processes to share; 0 where nothing can be written, None where the system has no such folder."""
    try:
        state = os.statvfs(folder)
    except FileNotFoundError:
        return 0 if sys.platform == "linux" else None
    except OSError:
        return 0
    return state.f_bavail * state.f_frsize if os.access(folder, os.W_OK) else 0


def make_loader(
    tiles: TileSet,
    *,
    batch: int,
    chosen: Sampler[list[int]] | None = None,
    workers: int | None = None,
    keep_mb: int = 0,
) -> DataLoader[Batch]:
    """A loader of batches of stored values.

    Args:
        tiles: the data set; picklable where there are workers.
        batch: samples a batch, in the data set's order; the last batch may be smaller.
        chosen: gives the numbers of the samples of each batch, ``batch`` at most, in place of that order.
        workers: loader processes; None: ``default_workers``.
        keep_mb: megabytes of samples kept in memory, without workers.
    """
    workers = loader_processes(tiles, batch=batch, workers=workers)
    how: dict[str, Any] = {"batch_size": batch} if chosen is None else {"batch_sampler": chosen}
    return DataLoader(
        StoredTiles(tiles, keep_bytes=0 if workers else keep_mb * 2**20),
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        timeout=WAITS_FOR_WORKERS_S if workers else 0,
        # Seeds the workers, in which nothing random happens; without it torch's own generator would.
        generator=torch.Generator(),
        **how,
    )


def batches(loader: Iterable[T]) -> Iterator[T]:
    """What a loader gives; errors of its processes are the sentences that they would be in this process.

    Raises:
        DwplusError: a sample cannot be read.
        MachineError: a loader process was ended, or gives nothing any more.
    """
    try:
        yield from loader
    except DwplusError as error:
        raise _as_here(error) from None
    except RuntimeError as error:
        if not str(error).startswith(_LOST_PROCESS):
            raise
        raise MachineError(
            f"a loader process was lost ({in_brief(error)}), perhaps for want of memory; give the container more of it "
            "(--memory, --shm-size 2g), or train with --set workers=0"
        ) from None


_LOST_PROCESS = ("DataLoader worker", "DataLoader timed out")
"""How PyTorch begins to say that a loader process was killed, or gave no batch in time."""


def _as_here(error: DwplusError) -> DwplusError:
    """An error without the traceback of the loader process that raised it, which PyTorch puts into its words."""
    kind = type(error)
    _, mark, sentence = str(error).rpartition(f"\n{kind.__module__}.{kind.__qualname__}: ")
    return kind(sentence.strip()) if mark else error


InputScaling = Literal["linear", "log"]
"""What is normalised of Sentinel-2: reflectance itself, or log(1 + 0.005 DN). Sentinel-1 is in dB, a logarithm already.
"""


class BandNormaliser(nn.Module):
    """Stored values of one input -> (value - mean) / std, and 0 where there is no data.

    Args:
        bands: of the input, in channel order.
        statistics: (mean, std) by band of what is normalised.
        scaling: what is normalised of Sentinel-2's bands; the other bands' physical values are.
    """

    factor: Tensor
    shift: Tensor
    gain: Tensor

    def __init__(
        self,
        bands: tuple[str, ...],
        statistics: Mapping[str, tuple[float, float]],
        scaling: InputScaling = "linear",
    ) -> None:
        super().__init__()
        logarithmic = [scaling == "log" and BANDS[band].sensor == "S2" for band in bands]
        rows = [_factor_and_shift(band, statistics, log) for band, log in zip(bands, logarithmic, strict=True)]
        values = torch.tensor(rows, dtype=torch.float64).reshape(len(bands), 2)
        self.register_buffer("factor", values[:, 0, None, None].float())
        self.register_buffer("shift", values[:, 1, None, None].float())
        self.logarithmic = [place for place, log in enumerate(logarithmic) if log]
        gains = [BANDS[bands[place]].scale * LOG_GAIN for place in self.logarithmic]
        self.register_buffer("gain", torch.tensor(gains)[:, None, None])

    def forward(self, stored: Tensor) -> Tensor:
        """Uint16 (B, C, H, W) -> float32 (B, C, H, W)."""
        values = stored.float()  # uint16 knows few operations; float32 holds it exactly
        absent = values == NODATA
        if len(self.logarithmic) == values.shape[1]:
            values = torch.log1p(values * self.gain)
        elif self.logarithmic:
            values[:, self.logarithmic] = torch.log1p(values[:, self.logarithmic] * self.gain)
        # In place: memory for as many values again would cost more than the arithmetic.
        return torch.addcmul(self.shift, values, self.factor, out=values).masked_fill_(absent, 0.0)


def _factor_and_shift(
    name: str, statistics: Mapping[str, tuple[float, float]], logarithmic: bool
) -> tuple[float, float]:
    band = BANDS[name]
    if name not in statistics:
        raise UsageError(f"no statistics of band {name}; there are {', '.join(statistics)} (run dwplus normalise)")
    mean, std = statistics[name]
    std = std or 1.0  # a constant band becomes 0
    scale, offset = (1.0, 0.0) if logarithmic else (band.scale, band.offset)
    return scale / std, (offset - mean) / std


class Normaliser(nn.Module):
    """Decoding and normalising of both inputs, on the device; saved with a run as its statistics.

    Args:
        primary, auxiliary: band names.
        statistics: (mean, std) by band name, in physical units or of the logarithm, as ``scaling`` says.
        scaling: what is normalised of Sentinel-2.
    """

    def __init__(
        self,
        primary: tuple[str, ...],
        auxiliary: tuple[str, ...],
        statistics: Mapping[str, tuple[float, float]],
        scaling: InputScaling = "linear",
    ) -> None:
        super().__init__()
        self.primary = BandNormaliser(primary, statistics, scaling)
        self.auxiliary = BandNormaliser(auxiliary, statistics, scaling)

    def forward(self, primary: Tensor, auxiliary: Tensor) -> tuple[Tensor, Tensor]:
        """Uint16 (B, C_p, H, W) and (B, C_a, H, W) -> the same in float32, mean 0, std 1, 0 = no data."""
        return self.primary(primary), self.auxiliary(auxiliary)


def planet_of(tiles: TileSet) -> int | None:
    """Version of the synthetic planet that a data set shows; None for real pixels, or where it is not recorded."""
    found: int | None = getattr(tiles, "planet", None)
    return found


def radars_of(tiles: TileSet) -> tuple[Radar, ...]:
    """How the Sentinel-1 that a data set gives was made; empty where it does not say (sets of others need not)."""
    return tuple(getattr(tiles, "radars", ()))


def composite_of(tiles: TileSet) -> Composite | None:
    """What Sentinel-2 of a data set is of several scenes; None: single scenes (sets of others need not say)."""
    found: Composite | None = getattr(tiles, "composite", None)
    return found


def labelers_of(tiles: TileSet) -> tuple[str, ...]:
    """Who drew each label (``expert``, ``non_expert``, ...); empty where a data set does not say."""
    return tuple(getattr(tiles, "labelers", ()))


def mask_of(tiles: TileSet) -> str:
    """Which pixels of a data set count: ``dataset``, or ``own`` of the bands that are read."""
    return str(getattr(tiles, "mask", "dataset"))


def plain_statistics(tiles: TileSet, scaling: InputScaling = "linear") -> dict[str, tuple[float, float]]:
    """(mean, std) of the bands that a data set gives, by name: of what ``scaling`` normalises.

    Raises:
        DataError: one is not a number, as of a band without a single observation; or the statistics are of an earlier
            version, which did not count logarithms.
    """
    names = (*tiles.primary, *tiles.auxiliary)
    pairs = {name: _mean_and_std(tiles.statistics.bands[name], name, scaling) for name in names}
    invalid = [name for name, pair in pairs.items() if not np.isfinite(pair).all()]
    if invalid:
        raise DataError(f"no mean or deviation of band {', '.join(invalid)} in the statistics; run 'dwplus normalise'")
    return pairs


def _mean_and_std(band: BandStatistics, name: str, scaling: InputScaling) -> tuple[float, float]:
    if scaling == "linear" or BANDS[name].sensor != "S2":
        return float(band.mean), float(band.std)
    # Sets of others need not have them.
    mean, std = getattr(band, "log_mean", None), getattr(band, "log_std", None)
    if mean is None or std is None:
        raise DataError(
            f"the statistics hold no mean of the logarithm of {name}: they are of an earlier version; run 'dwplus "
            "normalise --again', or train with --set input_scaling=linear"
        )
    return float(mean), float(std)


class Symmetry(NamedTuple):
    """One of the eight symmetries of a square: quarter turns, after mirroring left to right or not."""

    turns: int
    mirrored: bool

    def __call__(self, image: Tensor) -> Tensor:
        """(..., H, W) -> the same, or (..., W, H) after an odd number of turns; any dtype, exact."""
        if self.mirrored:
            image = image.flip(-1)
        return torch.rot90(image, self.turns, (-2, -1)) if self.turns else image

    def undo(self, image: Tensor) -> Tensor:
        """The way back: ``undo(symmetry(image))`` is the image."""
        turned = torch.rot90(image, -self.turns, (-2, -1)) if self.turns else image
        return turned.flip(-1) if self.mirrored else turned


def augment(
    batch: Batch,
    *,
    seed: int,
    epoch: int,
    crop_px: int | None = None,
    symmetries: bool = True,
    fill_up: bool = False,
    again: Sequence[int] = (),
) -> Batch:
    """The batch, each sample cropped at random and turned and mirrored at random, the same for inputs and label.

    What happens to a sample depends on seed, epoch, its number and how often it came before, whatever batch, process or
    device it is in.

    Args:
        batch: stored values; square tiles, or a ``crop_px`` that fits.
        seed, epoch: of the choice.
        crop_px: side of the crop; None: the whole tile.
        symmetries: whether to turn and mirror (paper, section V-B: "random rotation and flipping").
        again: how often each sample was drawn in this epoch before; empty: never.
        fill_up: a tile that is smaller than the crop is filled up with pixels that have no data and are ignored.

    Raises:
        UsageError: the crop is larger than the tile, or a tile that is not square would have to be turned.
    """
    crop = crop_px or 0
    if not crop and bool((batch.size != torch.tensor(batch.label.shape[1:], device=batch.size.device)).any()):
        raise UsageError("tiles of several sizes are trained on with crops of one: --set crop_px=256")
    if fill_up and crop > min(batch.label.shape[1:]):
        batch = _batch_filled_up(batch, *(max(side, crop) for side in batch.label.shape[1:]))
    samples = []
    for i, (number, (height, width)) in enumerate(zip(batch.number.tolist(), batch.size.tolist(), strict=True)):
        if fill_up:
            height, width = max(height, crop), max(width, crop)
        if crop > min(height, width):
            raise UsageError(f"crop_px is {crop}, a tile has {height} x {width} px; choose a smaller crop")
        if symmetries and not crop and height != width:
            raise UsageError(f"tiles of {height} x {width} px cannot be turned; train with crop_px")
        before = again[i] if again else 0
        rng = np.random.default_rng((seed, epoch, number, before) if before else (seed, epoch, number))
        top, left = (int(rng.integers(side - crop + 1)) if crop else 0 for side in (height, width))
        window = (..., slice(top, top + (crop or height)), slice(left, left + (crop or width)))
        symmetry = Symmetry(int(rng.integers(4)), bool(rng.integers(2))) if symmetries else Symmetry(0, False)
        samples.append([symmetry(_bits(part[i])[window]) for part in batch[:3]])
    parts = [torch.stack(column) for column in zip(*samples, strict=True)]
    primary, auxiliary = (stored.view(torch.uint16) for stored in parts[:2])
    size = torch.tensor(parts[2].shape[1:]).expand(len(batch.number), 2)
    return Batch(primary, auxiliary, parts[2], batch.number, size)


def _batch_filled_up(batch: Batch, height: int, width: int) -> Batch:
    primary, auxiliary = (_filled_up(_bits(part), height, width, NODATA).view(torch.uint16) for part in batch[:2])
    return batch._replace(primary=primary, auxiliary=auxiliary, label=_filled_up(batch.label, height, width, IGNORE))


def _bits(image: Tensor) -> Tensor:
    """The same bits as int16: not every device can flip and stack uint16."""
    return image.view(torch.int16) if image.dtype == torch.uint16 else image


def batch_to(batch: Batch, device: torch.device | str) -> Batch:
    return Batch(*(part.to(device, non_blocking=True) for part in batch))
