"""One file of labels becomes tiles with codes: features placed and burned, or a raster cut. Nothing is written but the
pieces of features on their way.

Comes after ``inputs_of``, before ``add`` writes the labels. What is left out or changed is counted with its reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ..dataset.inputs import Note
from ..errors import DataError
from ..spec.classes import CODE_UNMARKED, ClassTable
from ..spec.periods import Period
from ..spec.tiles import RESOLUTION_M, TILE_SIZE_PX
from ..spec.words import count_of
from .burning import Burned, Overlap, burn
from .dates import period_of
from .grid import Grid, Zone, cell, zones_between
from .inputs_of import Asked, InputFile, split_named
from .placing import area_in_zone, in_utm, lies_in_utm, lies_on_earth, pieces, to_lon_lat
from .rasters import open_raster, tiles_of
from .spill import Key, Part, Spill
from .vectors import Batch, Kind, Layer, check_columns, kind_of, open_layer, read_batches

POINT_TILE_PX = 128
"""Side of tiles of points: a tile of 510 px is 8 MB of download for each of them."""

_NAMED = 10
"""Names that a note holds."""

_SMALL_M2 = 4 * RESOLUTION_M**2
"""Polygons below this area may hold no pixel centre."""


@dataclass(frozen=True)
class Cut:
    """The label of one tile of an input.

    Attributes:
        codes: uint8 (H, W), codes of the class table.
        split: as a column names it; empty otherwise.
    """

    grid: Grid
    period: Period
    split: str
    codes: NDArray[np.uint8]


@dataclass
class Account:
    """What became of the features of an input; filled while its tiles are read.

    Attributes:
        features: code -> features that were used.
        area_m2: of those that are polygons.
    """

    kind: str = "raster"
    features: Counter[int] = field(default_factory=Counter)
    area_m2: float = 0.0
    _left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _changed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _counts: Counter[str] = field(default_factory=Counter)

    def leave_out(self, reason: str, name: object) -> None:
        self._note(self._left_out, reason, str(name), 1)

    def change(self, reason: str, name: object, count: int = 1) -> None:
        self._note(self._changed, reason, str(name), count)

    def _note(self, notes: dict[str, list[str]], reason: str, name: str, count: int) -> None:
        self._counts[reason] += count
        if len(notes[reason]) < _NAMED:
            notes[reason].append(name)

    @property
    def left_out(self) -> list[Note]:
        return [Note(reason, self._counts[reason], names) for reason, names in sorted(self._left_out.items())]

    @property
    def changed(self) -> list[Note]:
        return [Note(reason, self._counts[reason], names) for reason, names in sorted(self._changed.items())]


def cuts_of(file: InputFile, asked: Asked, account: Account, work: Path) -> Iterator[Cut]:
    """The tiles of a file that mark enough, in a fixed order.

    Args:
        account: filled on the way; complete at the end.
        work: folder for pieces on their way; removed at the end.

    Raises:
        DataError, UsageError: the file cannot be used; says what and where.
    """
    read = _cuts_of_raster(file, asked) if file.kind == "raster" else _cuts_of_features(file, asked, account, work)
    found = 0
    for cut in read:
        found += 1
        marked = int(np.count_nonzero((cut.codes > CODE_UNMARKED) & (cut.codes < asked.classes.ignored_code)))
        if marked >= max(1, asked.min_marked):
            yield cut
        else:
            reason = (
                "tiles without a marked pixel"
                if not marked
                else f"tiles with fewer than {asked.min_marked} marked pixels"
            )
            account.leave_out(reason, f"{cut.grid.zone.epsg}-{cut.grid.x:.12g}-{cut.grid.y:.12g}")
    if not found:
        raise DataError(f"{file.path} marks no pixel with a class of table {asked.classes.name!r}; nothing to add")


def _cuts_of_raster(file: InputFile, asked: Asked) -> Iterator[Cut]:
    raster = open_raster(file.path, asked.band)
    assert file.period is not None
    for grid, codes in tiles_of(raster, asked.classes, tile_px=asked.tile_px or TILE_SIZE_PX, resample=asked.resample):
        yield Cut(grid, file.period, "", codes)


# Features -------------------------------------------------------------------------------------------------------------


def _cuts_of_features(file: InputFile, asked: Asked, account: Account, work: Path) -> Iterator[Cut]:
    layer = open_layer(file.path, asked.layer)
    if not asked.column:
        raise DataError(
            f"{file.path}: name the column that holds the classes with --column; it has "
            f"{', '.join(layer.columns) or 'none'}"
        )
    columns = [c for c in (asked.column, asked.date_column, asked.split_column) if c]
    check_columns(layer, columns)
    with Spill(work) as spill:
        reader = _Reader(layer, file, asked, account)
        for batch in read_batches(layer, columns):
            reader.place(batch, spill)
        tile_px = reader.finish()
        for key, parts in spill.tiles():
            grid = cell(key.zone, key.column, key.row, tile_px)
            burned = burn(parts, grid, ignored_code=asked.classes.ignored_code, touch=asked.touch)
            _note_overlaps(burned, asked.classes, account)
            if burned.codes.any():
                yield Cut(grid, key.period, key.split, burned.codes)


def _note_overlaps(burned: Burned, classes: ClassTable, account: Account) -> None:
    for overlap in burned.overlaps:
        account.change(
            "pixels that features of two classes mark are ignored", _overlap(overlap, classes), overlap.pixels
        )


def _overlap(overlap: Overlap, classes: ClassTable) -> str:
    one, other = (
        f"{feature} ({classes.code_names[code]})" for feature, code in zip(overlap.features, overlap.codes, strict=True)
    )
    return f"features {one} and {other}, {overlap.pixels} px"


class _Reader:
    """Places the features of a layer, batch by batch, and counts what becomes of them."""

    def __init__(self, layer: Layer, file: InputFile, asked: Asked, account: Account) -> None:
        self._layer, self._file, self._asked, self._account = layer, file, asked, account
        self._kind: Kind | None = layer.kind
        self._unknown: Counter[str] = Counter()
        self._seen = self._used = 0
        self._periods: dict[Any, Period] = {}

    @property
    def _tile_px(self) -> int:
        return self._asked.tile_px or (POINT_TILE_PX if self._kind == "points" else TILE_SIZE_PX)

    def place(self, batch: Batch, spill: Spill) -> None:
        """Put the pieces of a batch where they belong."""
        self._seen += len(batch.ids)
        kind = kind_of(batch.geometries, self._layer)
        _check_units(batch.geometries, self._layer)
        if kind is not None and self._kind not in (None, kind):
            raise DataError(f"{self._layer.path} holds polygons and points; write them into two files, and add both")
        self._kind = self._kind or kind
        self._account.kind = self._kind or "polygons"
        chosen = [n for n, feature in enumerate(batch.ids.tolist()) if self._has_shape(batch.geometries[n], feature)]
        marks = {n: mark for n in chosen if (mark := self._mark(batch, n)) is not None}
        if not marks:
            return
        positions = np.array(list(marks), dtype=np.int64)
        shapes = to_lon_lat(batch.geometries[positions], self._layer.crs)
        positions, shapes = self._on_earth(batch, positions, shapes)
        if self._kind == "polygons":
            positions, shapes = self._mended(batch, positions, shapes)
        areas: dict[int, float] = defaultdict(float)
        hits: set[int] = set()
        for zone, of, shape in in_utm(shapes):
            self._measure(zone, of, shapes, shape, areas, hits)
            for piece in pieces(zone, of, shape, self._tile_px):
                n = int(positions[piece.position])
                code, period, split = marks[n]
                key = Key(zone, piece.column, piece.row, period, split)
                spill.add(key, Part(int(batch.ids[n]), code, piece.shape))
        for position, n in enumerate(positions.tolist()):
            if position not in hits:
                self._account.leave_out("polygons that hold no pixel centre", batch.ids[n])
                continue
            self._used += 1
            self._account.features[marks[n][0]] += 1
            self._account.area_m2 += areas[position]

    def finish(self) -> int:
        """Side of the tiles, once all features were placed.

        Raises:
            DataError: a class is unknown, or no feature can be used.
        """
        path, column = self._layer.path, self._asked.column
        if self._unknown:
            listed = ", ".join(
                f"{value!r} ({count_of(number, 'feature')})" for value, number in self._unknown.most_common(5)
            )
            raise DataError(
                f"{path}: column {column!r} holds {listed}{', ...' * (len(self._unknown) > 5)}, which class table "
                f"{self._asked.classes.name!r} does not have; add it under 'values' of a class, or its code under "
                "'ignored'"
            )
        if not self._used:
            reasons = "; ".join(map(str, self._account.left_out))
            raise DataError(
                f"{path}: none of {count_of(self._seen, 'feature')} can be used: {reasons or 'it is empty'}"
            )
        return self._tile_px

    # --- single features ----------------------------------------------------------------------------------------------

    def _has_shape(self, shape: Any, feature: int) -> bool:
        if shape is None or shape.is_empty:
            self._account.leave_out("features without a geometry that can be read", feature)
            return False
        if shape.geom_type == "GeometryCollection":
            self._account.leave_out("features of mixed geometries", feature)
            return False
        return True

    def _mark(self, batch: Batch, n: int) -> tuple[int, Period, str] | None:
        """Code, period and split of a feature; None where it is left out."""
        feature, asked = int(batch.ids[n]), self._asked
        value = batch.values[asked.column][n]
        if _is_nothing(value):
            self._account.leave_out(f"features without a class (column {asked.column!r} is empty)", feature)
            return None
        code = asked.classes.code_of_text(value)
        if code is None:
            self._unknown[str(value)[:40]] += 1
            return None
        if code == CODE_UNMARKED:
            self._account.leave_out("features that the class table calls unlabelled", feature)
            return None
        period = self._file.period or self._period(batch.values[asked.date_column][n], feature)
        if period is None:
            return None
        split = self._file.split
        if not split and asked.split_column:
            named = batch.values[asked.split_column][n]
            where = f"{self._layer.path}: column {asked.split_column!r} of feature {feature}"
            split = "" if _is_nothing(named) else split_named(str(named), where=where)
        return code, period, split

    def _period(self, value: Any, feature: int) -> Period | None:
        column = self._asked.date_column
        if _is_nothing(value):
            self._account.leave_out(f"features without a date (column {column!r} is empty)", feature)
            return None
        if value not in self._periods:
            try:
                self._periods[value] = period_of(value, where=f"column {column!r} of feature {feature}")
            except DataError as error:
                self._account.leave_out("features whose date cannot be used", error)
                return None
        return self._periods[value]

    # --- the shapes of a batch ----------------------------------------------------------------------------------------

    def _on_earth(
        self, batch: Batch, positions: NDArray[np.int64], shapes: NDArray[np.object_]
    ) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        there = lies_on_earth(shapes)
        self._leave(batch, positions[~there], f"features outside the area of their CRS ({self._layer.crs.name})")
        positions, shapes = positions[there], shapes[there]
        mapped = lies_in_utm(shapes)
        self._leave(batch, positions[~mapped], "features beyond 80 S or 84 N, where there is no UTM")
        return positions[mapped], shapes[mapped]

    def _leave(self, batch: Batch, positions: Iterable[int], reason: str) -> None:
        for n in positions:
            self._account.leave_out(reason, batch.ids[n])

    def _mended(
        self, batch: Batch, positions: NDArray[np.int64], shapes: NDArray[np.object_]
    ) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        """Polygons that cross themselves become the areas that they enclose."""
        crossing = np.flatnonzero(~shapely.is_valid(shapes))
        if not len(crossing):
            return positions, shapes
        shapes = shapes.copy()
        for at in crossing.tolist():
            mended = shapely.make_valid(shapes[at], method="structure", keep_collapsed=False)
            areas = [p for p in shapely.get_parts(mended) if p.geom_type in ("Polygon", "MultiPolygon") and p.area > 0]
            shapes[at] = shapely.union_all(areas) if areas else None
            feature = batch.ids[positions[at]]
            if areas:
                self._account.change("polygons that cross themselves were mended", feature)
            else:
                self._account.leave_out("polygons without area", feature)
        held = ~shapely.is_missing(shapes)
        return positions[held], shapes[held]

    def _measure(
        self,
        zone: Zone,
        positions: NDArray[np.int64],
        degrees: NDArray[np.object_],
        shapes: NDArray[np.object_],
        areas: dict[int, float],
        hits: set[int],
    ) -> None:
        """Add up the area of features, and note those that mark a pixel."""
        sizes = shapely.area(shapes)
        for position, shape, size in zip(positions.tolist(), shapes, sizes.tolist(), strict=True):
            alone = len(zones_between(*degrees[position].bounds)) == 1
            areas[position] += size if alone else area_in_zone(degrees[position], zone)
            small = self._kind == "polygons" and self._asked.touch == "centre" and size < _SMALL_M2
            if not small or _holds_a_centre(shape):
                hits.add(position)


def _check_units(shapes: NDArray[np.object_], layer: Layer) -> None:
    """Refuse degrees under a CRS in metres: they would all lie at its origin."""
    bounds = shapely.bounds(shapes)
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    if layer.crs.is_projected and len(bounds) and np.abs(bounds).max() <= _MOST_DEGREES:
        raise DataError(
            f"{layer.path} says that its coordinates are of {layer.crs.name}, but they look like degrees "
            f"({bounds[0, 0]:.6g}, {bounds[0, 1]:.6g}); assign the right CRS (EPSG:4326?)"
        )


_MOST_DEGREES = 360.0


def _holds_a_centre(shape: shapely.Geometry) -> bool:
    """Whether a polygon in UTM holds the centre of a pixel of the shared grid."""
    west, south, east, north = shape.bounds
    first, half = np.floor(np.array([west, south]) / RESOLUTION_M), RESOLUTION_M / 2
    columns = np.arange(first[0] * RESOLUTION_M + half, east + RESOLUTION_M, RESOLUTION_M)
    rows = np.arange(first[1] * RESOLUTION_M + half, north + RESOLUTION_M, RESOLUTION_M)
    x, y = np.meshgrid(columns, rows)
    return bool(shapely.intersects_xy(shape, x.ravel(), y.ravel()).any())


def _is_nothing(value: Any) -> bool:
    # A column of numbers has NaN where it has nothing.
    return value is None or value != value or (isinstance(value, str) and not value.strip())
