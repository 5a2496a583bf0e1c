"""Samples: tile -> Sample, as numpy arrays in stored units; knows no torch.

Comes after ``normalise`` and before the loader of the model half. Decoding to physical units and normalising happen on
the device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from ..raster.geotiff import read_bands, read_codes
from ..spec.bands import BANDS, L1C_BANDS, NODATA, PRESETS, SHARD_BANDS, Composite, S2Level
from ..spec.classes import IGNORE
from ..spec.layers import L1C
from ..spec.radar import Radar
from ..spec.tiles import Tile
from .class_pixels import class_pixels
from .findings import bad_tiles
from .layers import LayerFiles, complete_of
from .manifest import PROTOCOLS, SPLITS, ManifestRow, Protocol
from .root import DataRoot, LeftOut
from .statistics import Statistics
from .store import Store

PixelMask = Literal["dataset", "own"]
"""Which pixels count: where the label and all bands that networks of the paper read have data, whatever is read here;
or where the label and the bands that are read here have."""

ReadFrom = Literal["auto", "shards", "store"]
"""Where samples are read from; ``auto`` is the training store where it is complete and fresh, the shards otherwise."""


class Sample(NamedTuple):
    """One tile, ready for a network's two inputs. A plain torch ``DataLoader`` stacks samples into a batch.

    Attributes:
        primary: uint16 (bands, H, W), stored values, 0 = no data.
        auxiliary: uint16 (bands, H, W), stored values, 0 = no data; no bands for a network with one input.
        label: uint8 (H, W), class index 0..n - 1, 255 = ignored: unmarked, cloud, or no data, see ``raster.targets``.
        tile_id: id of the tile.
    """

    primary: NDArray[np.uint16]
    auxiliary: NDArray[np.uint16]
    label: NDArray[np.uint8]
    tile_id: str


class Dataset(Sequence[Sample]):
    """The tiles of one split, in manifest order; small enough to be sent to loader processes.

    Attributes:
        root: data root of one source.
        primary, auxiliary: band names, in channel order.
        split: ``train``, ``val`` or ``test``.
        protocol: ``strict`` or ``paper`` (``val`` of ``paper`` is its test split).
        source: where the pixels came from.
        classes: of the labels.
        left_out: tiles of the split that are not among the samples, with the reason.
        waived: tiles among the samples with an error that ``waivers.toml`` accepts.
        radars: how the Sentinel-1 that is read was made; empty where none is read, or it is not recorded.
        composite: what Sentinel-2 is of several scenes; None for single scenes, or where it is not read.
        planet: version of the synthetic planet that the pixels show; None for real ones, or where it is not recorded.
        mask: which pixels count.
        s2_level: of the primary input: L2A out of the shards, or L1C out of ``l1c/`` beside them. Which pixels count
            depends on the shards in both; pixels without L1C do not count for a network that reads it.
        reading: where samples are read from, and why not from the training store where there is one; for people.
    """

    def __init__(
        self,
        root: DataRoot | Path | str,
        *,
        split: str,
        protocol: Protocol = "strict",
        primary: tuple[str, ...] = PRESETS["ms10"],
        auxiliary: tuple[str, ...] = PRESETS["sar"],
        read: ReadFrom = "auto",
        trained_here: bool = True,
        mask: PixelMask = "dataset",
        s2_level: S2Level = "L2A",
    ) -> None:
        """
        Args:
            mask: which pixels count; ``own`` reads shards, since the training store keeps labels with the other mask.
            trained_here: the statistics of the training split are needed, and have to be those of its tiles as they are
                now. False for scoring a network that was trained on another data set, and brings its own.

        Raises:
            UsageError: no such split, protocol, band or place to read from; or a band of a data set that lacks it.
            DataError: the split is empty or has no Level-1C where that is read, or the data set is not built, validated
                and normalised, or has changed since then.
        """
        _check_names(split, protocol, (*primary, *auxiliary))
        if read not in get_args(ReadFrom):
            raise UsageError(f"cannot read from {read!r}; choose one of {', '.join(get_args(ReadFrom))}")
        self.root = root = DataRoot.at(root)
        self.split = split
        self.protocol = protocol
        self.primary = primary
        self.auxiliary = auxiliary
        self.mask = mask
        self._targets = root.targets()
        if mask == "own":
            read = "shards"
            # The number of Sentinel-1 observations is 0 where there is none, not where nothing is known.
            bands = tuple(band for band in (*primary, *auxiliary) if band != "S1_N")
            self._targets = replace(self._targets, needed=bands)
        self.classes = self._targets.classes
        self.rows: tuple[ManifestRow, ...] = root.usable(split, protocol)
        self.left_out = root.left_out(split, protocol)
        erroneous = bad_tiles(root.findings())
        self.waived = tuple(row.tile.id for row in self.rows if row.tile.id in erroneous)
        if not self.rows:
            raise DataError(
                f"{root} holds no usable tile of split {split}{self._no_tiles()}; build some with 'dwplus build'"
            )
        self.s2_level = s2_level
        self._l1c = self._open_l1c() if s2_level == "L1C" else None
        ledger = root.ledger()
        self._sha256 = {row.tile.id: ledger[row.tile.id].sha256 for row in self.rows}
        self._statistics: Statistics | None = None
        if trained_here:
            self._statistics = root.statistics(protocol)
            _check_fresh(self._statistics, root, root.usable("train", protocol))
        self.source = ledger[self.rows[0].tile.id].source
        self.planet = (root.planet() or {}).get("version")
        self._has_s1 = root.has_s1()
        reads_s1 = any(BANDS[band].sensor == "S1" for band in (*primary, *auxiliary))
        if reads_s1 and not self._has_s1:
            raise UsageError(
                f"{root} has no Sentinel-1: take a network with one input (--auxiliary none), or add Sentinel-1 with "
                "'dwplus pixels add FILES --as s1'"
            )
        if lacking := [band for band in (*primary, *auxiliary) if band in self._targets.absent]:
            raise UsageError(
                f"{root} has no {', '.join(lacking)}: files that were added to it lack that band; take a network that "
                "does not read it (--primary ms10)"
            )
        self.radars: tuple[Radar, ...] = root.radars() if reads_s1 else ()
        reads_s2 = any(BANDS[band].sensor == "S2" for band in (*primary, *auxiliary))
        self.composite: Composite | None = root.composite() if reads_s2 else None
        self._store, self.reading = _open_store(root, self.rows, "shards" if self._l1c else read)
        self._either = False

    @property
    def statistics(self) -> Statistics:
        """Of the training split.

        Raises:
            DataError: the data set was opened without them.
        """
        if self._statistics is None:
            raise DataError(f"{self.root} was opened to score a network that brings its own statistics")
        return self._statistics

    @property
    def trained_here(self) -> bool:
        """Whether the statistics of this data set's training split are at hand."""
        return self._statistics is not None

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """Where and when each sample is, in the same order."""
        return tuple(row.tile for row in self.rows)

    @property
    def labelers(self) -> tuple[str, ...]:
        """Who drew the label of each sample, in the same order: ``ManifestRow.labeler``."""
        return tuple(row.labeler for row in self.rows)

    @property
    def tiles_hash(self) -> str:
        """Changes with any shard or label of this split, and with any file of Level-1C where that is read."""
        of_shards = self.root.content_hash(self.rows)
        if self._l1c is None:
            return of_shards
        return hashlib.sha256(f"{of_shards} {self._l1c.hash_of(self.rows)}".encode()).hexdigest()[:12]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # torch leaves the type of samples open
        sample = self._counting_all(index)
        return self._counting_more(sample, self.rows[index]) if self._either else sample

    def counting_either(self) -> Dataset:
        """The same tiles; a pixel counts where its label is marked and one of the two inputs has data in all its bands.

        For training networks that do without an input. The other rule (``raster.targets``) asks for all bands of both,
        and is the one of scores, of statistics and of ``class_pixels``.
        """
        either = copy(self)
        either._either = True
        return either

    def _counting_more(self, sample: Sample, row: ManifestRow) -> Sample:
        codes = read_codes(self.root.label(row), sha256=row.label_written_sha256)
        label = self.classes.class_indices(codes)
        found = [(pixels != NODATA).all(0) for pixels in (sample.primary, sample.auxiliary) if len(pixels)]
        label[~np.logical_or.reduce(found)] = IGNORE
        return sample._replace(label=label)

    def _counting_all(self, index: int) -> Sample:
        row = self.rows[index]
        if self._store is not None:
            label, (primary, auxiliary) = self._store.read(row.tile.id, self.primary, self.auxiliary)
            return Sample(primary, auxiliary, label, row.tile.id)
        # All needed bands, whatever the network reads: they decide which pixels count.
        needed = self._targets.needed
        bands = tuple(dict.fromkeys((*needed, *self.primary, *self.auxiliary)))
        pixels = read_bands(self.root.shard(row.tile), bands, sha256=self._sha256[row.tile.id])
        codes = read_codes(self.root.label(row), sha256=row.label_written_sha256)
        label = self._targets.target_of(codes, pixels[: len(needed)])
        if self._l1c is None:
            primary = _chosen(pixels, bands, self.primary)
        else:
            primary = _chosen(self._l1c.read(row.tile).astype(np.uint16, copy=False), L1C_BANDS, self.primary)
            label[(primary == NODATA).any(axis=0)] = IGNORE
        return Sample(primary, _chosen(pixels, bands, self.auxiliary), label, row.tile.id)

    def _open_l1c(self) -> LayerFiles:
        """Level-1C of the split's tiles; those without are left out.

        Raises:
            UsageError: the primary input has a band that ``l1c/`` does not hold.
            DataError: no tile has it.
        """
        if unknown := [band for band in self.primary if band not in L1C_BANDS]:
            raise UsageError(f"l1c/ holds no band {', '.join(unknown)}; it holds {', '.join(L1C_BANDS)}")
        files = LayerFiles.of(self.root, L1C)
        have = complete_of(files, self.rows, split=self.split)
        lost = tuple(row.tile.id for row in self.rows if row.tile.id not in files.done)
        self.rows = have
        if lost:
            why = f"they have no Level-1C pixels in l1c/; '{L1C.command}' requests those that are missing"
            self.left_out = (*self.left_out, LeftOut(lost, why))
        return files

    def class_pixels(self) -> NDArray[np.int64]:
        """Pixels that count of each class in each tile: int64 (tiles, K). Tiles that were counted before are not read.

        Raises:
            DataError: a shard or label is damaged.
        """
        count = len(self.classes)
        return class_pixels(
            self.root,
            self.rows,
            lambda place: np.bincount(self._counting_all(place).label.ravel(), minlength=256)[:count],
        )

    def _no_tiles(self) -> str:
        reasons = "; ".join(str(one) for one in self.left_out)
        return f" ({reasons})" if reasons else ""


def _chosen(pixels: NDArray[np.uint16], bands: tuple[str, ...], wanted: tuple[str, ...]) -> NDArray[np.uint16]:
    """Some bands, in the order in which they are wanted; a view where they lie side by side."""
    first = bands.index(wanted[0]) if wanted else 0
    if bands[first : first + len(wanted)] == wanted:
        return pixels[first : first + len(wanted)]
    return pixels[[bands.index(band) for band in wanted]]


def _open_store(root: DataRoot, rows: Sequence[ManifestRow], read: ReadFrom) -> tuple[Store | None, str]:
    """The training store if samples are read from it, and where they are read from, as text."""
    if read == "shards" or (read == "auto" and not root.store.is_dir()):
        return None, "shards"
    try:
        return Store(root, rows), root.store.name
    except (DataError, UsageError) as error:
        if read == "store":
            raise
        return None, f"shards, not the training store: {error}"


def _check_names(split: str, protocol: str, bands: tuple[str, ...]) -> None:
    if split not in SPLITS:
        raise UsageError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    if protocol not in PROTOCOLS:
        raise UsageError(f"unknown protocol {protocol!r}; choose one of {', '.join(PROTOCOLS)}")
    unknown = [band for band in bands if band not in SHARD_BANDS]
    if unknown:
        raise UsageError(f"shards hold no band {', '.join(unknown)}; they hold {', '.join(SHARD_BANDS)}")


def _check_fresh(statistics: Statistics, root: DataRoot, training: Sequence[ManifestRow]) -> None:
    if statistics.shards_hash != root.content_hash(training):
        raise DataError(
            f"the training tiles in {root} have changed since their statistics were taken; run 'dwplus normalise' again"
        )
