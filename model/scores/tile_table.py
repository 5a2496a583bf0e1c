"""Counts of every tile of a split, with what is known of the tile: the file ``scores.tiles.parquet``.

Comes after ``counting``; intervals, comparisons and groups are computed from it, without running a network again.
Matrices are kept by their filled fields: a tile holds few of the classes, so that 10,000 tiles of 60 stay small.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of
from datetime import date
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...pipeline.errors import DataError, in_brief
from ...pipeline.spec.overlaps import block_of
from ...pipeline.spec.tiles import Tile
from ..loader import TileSet, labelers_of
from ..metrics import BINS, ConfusionMatrix, Sums, TileCounts
from ..training_range import OutsideCounts

FORMAT = 1
_KEY = b"dwplus.tile_counts"
_ROWS_A_GROUP = 65_536


@dataclass(frozen=True)
class TileRecord:
    """What is known of a tile beside its counts.

    Attributes:
        id, region, date: of the tile.
        biome: RESOLVE biome, 0 = not known.
        labeler: whose markup: ``expert``, ``non_expert``, ...; empty where a data set does not say.
        annotator: who drew a user's label, as its user says; empty where not known.
        lon, lat: of the tile's centre, degrees.
        block: split block, ``column,row``; empty where a data set does not say.
        whole_block: the split block was drawn as a whole (labels of users), not the tile.
        km: distance to the nearest training tile, between centres; NaN where not known.
        mask: digest of which of its pixels count.
    """

    id: str
    region: str
    biome: int
    date: date
    lon: float
    lat: float
    labeler: str = ""
    annotator: str = ""
    block: str = ""
    whole_block: bool = False
    km: float = float("nan")
    mask: str = ""

    @property
    def unit(self) -> str:
        """What a bootstrap draws as a whole."""
        return f"block {self.block}" if self.whole_block else self.id

    @property
    def cell(self) -> str:
        """Cell of the design that the unit was drawn in: blocks of a user's labels are one."""
        return "blocks" if self.whole_block else f"{self.region}, biome {self.biome}"


@dataclass(frozen=True, eq=False)
class TileTable:
    """Counts of every tile of a split, in order of the tiles' ids.

    Attributes:
        records: of the tiles.
        names: of the K classes.
        tile, field, pixels: int64 (n,) filled fields of the matrices: place of the tile, K x truth + prediction,
            and the pixels in it.
        bins: int64 (tiles, 3, BINS), as ``metrics.Sums``.
        squared_errors: int64 (tiles,), in millionths.
        outside: pixels of each tile that are outside the training range; None where that is not known.
    """

    records: tuple[TileRecord, ...]
    names: tuple[str, ...]
    tile: NDArray[np.int64]
    field: NDArray[np.int64]
    pixels: NDArray[np.int64]
    bins: NDArray[np.int64]
    squared_errors: NDArray[np.int64]
    outside: OutsideCounts | None = None

    @classmethod
    def of(
        cls,
        records: Sequence[TileRecord],
        counts: Sequence[TileCounts],
        names: tuple[str, ...],
        outside: OutsideCounts | None = None,
    ) -> TileTable:
        """Of tiles in any order.

        Raises:
            DataError: a tile comes twice.
        """
        order = sorted(range(len(records)), key=lambda place: records[place].id)
        ordered = tuple(records[place] for place in order)
        for one, other in pairwise(ordered):
            if one.id == other.id:
                raise DataError(f"tile {one.id} was counted twice; score the run again")
        filled = [np.flatnonzero(counts[place].matrix.counts) for place in order]
        nothing = np.zeros((3, BINS), np.int64)
        bins = [nothing if (found := counts[place].calibration) is None else found for place in order]
        return cls(
            ordered,
            names,
            np.repeat(np.arange(len(order)), [len(one) for one in filled]).astype(np.int64),
            np.concatenate([np.empty(0, np.int64), *filled]).astype(np.int64),
            np.concatenate(
                [np.empty(0, np.int64)]
                + [counts[p].matrix.counts.ravel()[f] for p, f in zip(order, filled, strict=True)]
            ),
            np.array(bins, dtype=np.int64).reshape(-1, 3, BINS),
            np.array([counts[place].squared_errors or 0 for place in order], dtype=np.int64),
            None if outside is None else outside.part(np.array(order, dtype=np.int64)),
        )

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def sums(self) -> Sums:
        """Of each tile: one leading axis."""
        classes = len(self.names)
        truth, predicted = self.field // classes, self.field % classes
        right = truth == predicted
        return Sums(
            self._by_class(truth[right], right),
            self._by_class(truth),
            self._by_class(predicted),
            self.bins,
            self.squared_errors,
        )

    def _by_class(self, index: NDArray[np.int64], chosen: NDArray[np.bool_] | slice = slice(None)) -> NDArray[np.int64]:
        shape = (len(self), len(self.names))
        places = self.tile[chosen] * len(self.names) + index
        counts = np.bincount(places, self.pixels[chosen], minlength=shape[0] * shape[1])
        return counts.astype(np.int64).reshape(shape)  # float64 holds whole numbers below 2^53 exactly

    def counts(self, chosen: NDArray[np.bool_] | None = None) -> TileCounts:
        """Of some tiles together, of all unless said otherwise; ``chosen`` is bool (tiles,)."""
        chosen = np.ones(len(self), dtype=bool) if chosen is None else chosen
        inside = chosen[self.tile]
        size = len(self.names) ** 2
        matrix = np.bincount(self.field[inside], self.pixels[inside], minlength=size).astype(np.int64)
        matrix = matrix.reshape(len(self.names), -1)
        errors = int(self.squared_errors[chosen].sum())
        return TileCounts(ConfusionMatrix(matrix, self.names), self.bins[chosen].sum(0), errors)

    @property
    def mask_hash(self) -> str:
        """Twelve hexadecimal digits that change with any pixel that counts or does not."""
        text = "".join(f"{one.id} {one.mask}\n" for one in self.records)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def part(self, chosen: NDArray[np.bool_]) -> TileTable:
        """Some of the tiles; ``chosen`` is bool (tiles,)."""
        inside = chosen[self.tile]
        places = np.cumsum(chosen) - 1
        return TileTable(
            tuple(record for record, kept in zip(self.records, chosen, strict=True) if kept),
            self.names,
            places[self.tile[inside]],
            self.field[inside],
            self.pixels[inside],
            self.bins[chosen],
            self.squared_errors[chosen],
            None if self.outside is None else self.outside.part(chosen),
        )

    # --- file ---------------------------------------------------------------------------------------------------------

    def write(self, path: Path) -> None:
        """As Parquet: a row a tile."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        starts = np.searchsorted(self.tile, np.arange(len(self) + 1)).astype(np.int32)
        names = [field.name for field in fields_of(TileRecord)]
        columns: dict[str, Any] = {name: [getattr(record, name) for record in self.records] for name in names}
        columns["km"] = [None if np.isnan(km) else km for km in columns["km"]]
        columns["fields"] = pa.ListArray.from_arrays(pa.array(starts), pa.array(self.field.astype(np.int32)))
        columns["pixels"] = pa.ListArray.from_arrays(pa.array(starts), pa.array(self.pixels))
        columns["bins"] = pa.FixedSizeListArray.from_arrays(pa.array(self.bins.ravel()), 3 * BINS)
        columns["squared_errors"] = pa.array(self.squared_errors)
        head = {"format": FORMAT, "classes": list(self.names), "bins": BINS}
        if self.outside is not None:
            head["outside_bands"] = list(self.outside.bands)
            columns |= _outside_columns(self.outside)
        types = {"date": pa.date32(), "km": pa.float64()}
        arrays = {n: v if isinstance(v, pa.Array) else pa.array(v, types.get(n)) for n, v in columns.items()}
        table = pa.table(arrays).replace_schema_metadata({_KEY: json.dumps(head)})
        pq.write_table(table, path, compression="zstd", row_group_size=_ROWS_A_GROUP)

    @classmethod
    def read(cls, path: Path) -> TileTable:
        """What ``write`` wrote.

        Raises:
            DataError: it is something else, or cannot be read.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
            head = json.loads((table.schema.metadata or {})[_KEY])
            if head["format"] != FORMAT or head["bins"] != BINS:
                raise DataError(f"{path} is of another version of dwplus; score the run again")
            return cls._of_columns(table, tuple(head["classes"]), head.get("outside_bands"))
        except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
            raise DataError(f"{path} cannot be read ({in_brief(error)}); score the run again") from None

    @classmethod
    def _of_columns(cls, table: Any, names: tuple[str, ...], bands: Sequence[str] | None) -> TileTable:
        plain = [field.name for field in fields_of(TileRecord)]
        columns = {name: table.column(name).to_pylist() for name in plain}
        columns["km"] = [float("nan") if km is None else km for km in columns["km"]]
        records = tuple(
            TileRecord(**dict(zip(plain, values, strict=True)))
            for values in zip(*(columns[name] for name in plain), strict=True)
        )
        fields, pixels, bins = (table.column(name).combine_chunks() for name in ("fields", "pixels", "bins"))
        lengths = fields.value_lengths().to_numpy(zero_copy_only=False)
        return cls(
            records,
            names,
            np.repeat(np.arange(len(records)), lengths).astype(np.int64),
            fields.flatten().to_numpy(zero_copy_only=False).astype(np.int64),
            pixels.flatten().to_numpy(zero_copy_only=False).astype(np.int64),
            bins.flatten().to_numpy(zero_copy_only=False).astype(np.int64).reshape(-1, 3, BINS),
            table.column("squared_errors").to_numpy().astype(np.int64),
            None if bands is None else _outside_of(table, tuple(bands)),
        )


_COUNTS = ("seen", "beyond")
"""Counts of each band, in columns such as ``seen_B2``; those of all bands are in ``seen_any`` and ``beyond_any``."""


def _outside_columns(outside: OutsideCounts) -> dict[str, Any]:
    """Counts, and for people the share ``outside``: of pixels that are outside in some band."""
    import pyarrow as pa

    columns: dict[str, Any] = {"outside": pa.array(outside.share, from_pandas=True)}
    for name in _COUNTS:
        columns[f"{name}_any"] = pa.array(getattr(outside, f"{name}_any"))
        counts = getattr(outside, name)
        columns |= {f"{name}_{band}": pa.array(counts[:, place]) for place, band in enumerate(outside.bands)}
    return columns


def _outside_of(table: Any, bands: tuple[str, ...]) -> OutsideCounts:
    def counts(name: str) -> NDArray[np.int64]:
        found: NDArray[np.int64] = table.column(name).to_numpy().astype(np.int64)
        return found

    seen, beyond = (
        np.stack([counts(f"{name}_{band}") for band in bands], axis=1) if len(table) else np.zeros((0, len(bands)), int)
        for name in _COUNTS
    )
    return OutsideCounts(bands, seen, beyond, counts("seen_any"), counts("beyond_any"))


def records_of(dataset: TileSet) -> list[TileRecord]:
    """What a data set says of its tiles, in its order."""
    labelers = labelers_of(dataset) or ("",) * len(dataset.tiles)
    return [_record(tile, labeler) for tile, labeler in zip(dataset.tiles, labelers, strict=True)]


def _record(tile: Tile, labeler: str) -> TileRecord:
    lon, lat = tile.centre
    column, row = block_of(lon, lat)
    return TileRecord(tile.id, tile.region, tile.biome, tile.date, lon, lat, labeler, block=f"{column},{row}")


def with_masks(records: Sequence[TileRecord], masks: Sequence[str]) -> list[TileRecord]:
    """The same records with the digests of their masks."""
    return [replace(record, mask=mask) for record, mask in zip(records, masks, strict=True)]
