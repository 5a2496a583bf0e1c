"""Public maps and people, scored like networks: one confusion matrix on their own valid pixels, one on shared pixels.

A row's own pixels are those of the data set (label and all needed bands valid) where the row says something; shared
pixels are those where every layer beside the shards says something. A map that does not tell two classes apart is
scored with both as one, and every row gets that score of merged classes too. ``workflow.beside`` opens and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..pipeline.dataset.layers import LayerFiles
from ..pipeline.dataset.samples import Sample
from ..pipeline.errors import DataError
from ..pipeline.spec.classes import IGNORE
from ..pipeline.spec.layers import Product
from ..pipeline.spec.tiles import Tile
from ..pipeline.spec.version import __version__
from .metrics import ConfusionMatrix, TileCounts
from .scores.counting import mask_digest
from .scores.document import TilesFile
from .scores.intervals import Intervals
from .scores.tile_table import TileTable

MERGED_NAME = "_or_"
"""Between the names of classes that are scored as one: ``grass_or_shrub_and_scrub``."""


@dataclass(frozen=True)
class BesideScores:
    """What a map, a network or people scored on a split.

    Attributes:
        name, title: of the row.
        source, split, protocol: of the data set.
        tiles, tiles_hash: of the split; scores of another hash are of another test set.
        own: on the row's own valid pixels.
        shared: on the pixels that are valid in every layer; None where there is no layer.
        shared_hash: of the files that decide which pixels are shared.
        labelled: pixels of the data set that count.
        lost_tiles: tiles of the split for which the row says nothing.
        label_years, years: year -> number of tiles, of the labels and of what the row shows.
        said: licence, citation and mapping of a map.
        intervals: of the scores on own pixels; None where they were scored by an earlier version.
        shared_intervals: of those on shared pixels; None where there is no layer, too.
        merged_intervals: of those of merged classes, on shared pixels where there are some, else on own ones.
        tiles_file: counts of every tile on shared pixels, what rows are compared by.
    """

    name: str
    title: str
    source: str
    split: str
    protocol: str
    tiles: int
    tiles_hash: str
    own: ConfusionMatrix
    shared: ConfusionMatrix | None
    shared_hash: str
    labelled: int
    lost_tiles: int
    label_years: Mapping[str, int]
    years: Mapping[str, int]
    said: Mapping[str, str]
    intervals: Intervals | None = None
    shared_intervals: Intervals | None = None
    merged_intervals: Intervals | None = None
    tiles_file: TilesFile | None = None

    @property
    def lost_pixels(self) -> int:
        """Pixels of the data set for which the row says nothing."""
        return self.labelled - self.own.pixels

    def to_dict(self) -> dict[str, Any]:
        """For JSON; scores are fractions, 0..1, None where there is no score."""
        plain = ("name", "title", "source", "split", "protocol", "tiles", "tiles_hash", "shared_hash", "labelled")
        return {
            "dwplus": __version__,
            **{key: getattr(self, key) for key in plain},
            "lost_pixels": self.lost_pixels,
            "lost_tiles": self.lost_tiles,
            **{key: dict(getattr(self, key)) for key in ("label_years", "years", "said")},
            "own": _document(self.own),
            **{name: None if one is None else one.to_dict() for name, one in self._intervals.items()},
            "shared": None if self.shared is None else _document(self.shared),
            **({} if self.tiles_file is None else {"tile_counts": vars(self.tiles_file)}),
        }

    @property
    def _intervals(self) -> dict[str, Intervals | None]:
        return {name: getattr(self, name) for name in _INTERVALS}

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> BesideScores:
        """What ``to_dict`` gave.

        Raises:
            DataError: it is something else.
        """
        keys = ("name", "title", "source", "split", "protocol", "tiles", "tiles_hash", "shared_hash", "labelled")
        try:
            plain = {key: mapping[key] for key in (*keys, "lost_tiles", "label_years", "years", "said")}
            shared = mapping["shared"]
            own, on_shared, merged = (
                None if (one := mapping.get(name)) is None else Intervals.from_dict(one) for name in _INTERVALS
            )
            return cls(
                **plain,
                own=ConfusionMatrix.from_dict(mapping["own"]["matrix"]),
                shared=None if shared is None else ConfusionMatrix.from_dict(shared["matrix"]),
                intervals=own,
                shared_intervals=on_shared,
                merged_intervals=merged,
                tiles_file=TilesFile(**mapping["tile_counts"]) if "tile_counts" in mapping else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"these are no scores of a product ({error!r}); score it again") from None


_INTERVALS = ("intervals", "shared_intervals", "merged_intervals")


def _document(matrix: ConfusionMatrix) -> dict[str, Any]:
    return {**TileCounts(matrix).scores(), "matrix": matrix.to_dict()}


# --- classes ----------------------------------------------------------------------------------------------------------


def merged_names(names: Sequence[str], together: frozenset[str]) -> tuple[str, ...]:
    """Names of classes with some of them as one, which stands where the first of them stood."""
    one = MERGED_NAME.join(name for name in names if name in together)
    return tuple(dict.fromkeys(one if name in together else name for name in names))


def merge(matrix: ConfusionMatrix, together: frozenset[str]) -> ConfusionMatrix:
    """The matrix with some classes as one; the same where it does not tell them apart already."""
    if not together & {*matrix.names}:
        return matrix
    names = merged_names(matrix.names, together)
    one = next(name for name in names if name not in matrix.names)
    place = [names.index(one if name in together else name) for name in matrix.names]
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (np.array(place)[:, None], np.array(place)[None, :]), matrix.counts)
    return ConfusionMatrix(counts, names)


def merge_table(table: TileTable, together: frozenset[str]) -> TileTable:
    """Counts of tiles with some classes as one; the same where they do not tell them apart already."""
    if not together & {*table.names}:
        return table
    names = merged_names(table.names, together)
    to_merged = np.array(
        [
            names.index(name) if name in names else next(i for i, n in enumerate(names) if n not in table.names)
            for name in table.names
        ]
    )
    truth, predicted = (to_merged[one] for one in (table.field // len(table.names), table.field % len(table.names)))
    # Fields that fall together stay apart: sums over them are the same.
    return replace(table, names=names, field=(truth * len(names) + predicted).astype(np.int64))


def class_of_code(product: Product, names: Sequence[str]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Class index of each code, uint8 (256,), 255 where the map says nothing; and the classes that it tells apart."""
    told = merged_names(names, product.merged) if product.merged else tuple(names)
    found = np.full(256, IGNORE, np.uint8)
    for code, classes in product.codes.items():
        name = classes[0] if len(classes) == 1 else MERGED_NAME.join(one for one in names if one in classes)
        found[code] = told.index(name)
    return found, told


# --- pixels -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SharedPixels:
    """Which pixels are valid in every layer beside the shards."""

    layers: tuple[LayerFiles, ...]

    def of(self, tile: Tile) -> NDArray[np.bool_] | None:
        """bool (H, W); None where a layer has no file of the tile, or there is no layer."""
        if not self.layers or any(tile.id not in files.done for files in self.layers):
            return None
        valid = np.ones(tile.shape, bool)
        for files in self.layers:
            valid &= says_something(files, files.read(tile))
        return valid


def says_something(files: LayerFiles, stored: NDArray[np.generic]) -> NDArray[np.bool_]:
    """bool (H, W), where a layer has data and, of a map, a code of a class."""
    product = files.layer.product
    ignored = () if product is None else product.ignored
    missing = (stored == files.layer.nodata) | np.isin(stored, ignored)
    return np.asarray(~missing.any(axis=0))


@dataclass
class Counts:
    """Matrices of a row while tiles are counted.

    Attributes:
        own, shared: of all tiles, on own pixels and on shared ones.
        of_tiles: of each tile, on own pixels, in the order in which they came.
        shared_of_tiles, masks: of each tile, on shared pixels, and a digest of which these are.
        labelled: pixels of the data set that count.
        lost_tiles: tiles for which the row says nothing.
    """

    own: ConfusionMatrix
    shared: ConfusionMatrix
    labelled: int = 0
    lost_tiles: int = 0
    of_tiles: list[ConfusionMatrix] = field(default_factory=list)
    shared_of_tiles: list[ConfusionMatrix] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)

    def add(self, label: NDArray[np.uint8], said: NDArray[np.uint8] | None, shared: NDArray[np.bool_] | None) -> None:
        """Count a tile.

        Args:
            label: uint8 (H, W), class index of the row's classes, 255 = ignored.
            said: uint8 (H, W), class index, 255 = nothing; None: nothing of the whole tile.
            shared: bool (H, W); None: no pixel of the tile is shared.
        """
        self.labelled += int((label != IGNORE).sum())
        self.lost_tiles += said is None
        said = np.full_like(label, IGNORE) if said is None else said
        truth = np.where(said == IGNORE, IGNORE, label).astype(np.uint8)
        prediction = np.where(said == IGNORE, 0, said).astype(np.uint8)
        self.of_tiles.append(ConfusionMatrix.of(truth, prediction, self.own.names))
        self.own += self.of_tiles[-1]
        truth = np.where(False if shared is None else shared, truth, IGNORE).astype(np.uint8)
        self.shared_of_tiles.append(ConfusionMatrix.of(truth, prediction, self.own.names))
        self.shared += self.shared_of_tiles[-1]
        self.masks.append(mask_digest(torch.from_numpy(truth)))


def count_rows(
    samples: Iterator[tuple[Tile, Sample]],
    says: Callable[[Tile, Sample], NDArray[np.uint8] | None],
    pixels: SharedPixels,
    names: Sequence[str],
    told: tuple[str, ...],
) -> Counts:
    """Count all tiles of a split.

    Args:
        says: class index of each pixel among ``told``, 255 = nothing; None for a tile without anything.
        names: classes of the labels.
        told: classes that the row tells apart.
    """
    to_told = np.full(256, IGNORE, np.uint8)
    for index, name in enumerate(names):
        to_told[index] = next(i for i, one in enumerate(told) if one == name or name in one.split(MERGED_NAME))
    counts = Counts(ConfusionMatrix.zero(told), ConfusionMatrix.zero(told))
    for tile, sample in samples:
        counts.add(to_told[sample.label], says(tile, sample), pixels.of(tile))
    return counts
