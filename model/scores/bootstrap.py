"""Bootstrap over tiles: replicates of a test set's sums.

Comes after ``tile_table`` and before ``intervals`` and ``comparison``. A test set was drawn by a design: tiles in cells
of region and biome, or whole blocks of a user's labels. Each replicate draws n - 1 of the n units of every cell, with
replacement, and weighs each of them n / (n - 1): then the variance of a sum is unbiased, also in cells of few units.

Numbers of draws are whole and come from PCG64; sums within a cell are of whole numbers below 2^53, exact in float64 in
any order; cells are added in the order of their names. So replicates are the same on every machine.

Source: Rao and Wu 1988, Resampling inference with complex survey data, JASA 83, section 4 (m = n - 1).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import Sums
from .tile_table import TileRecord

SEED = 0
REPLICATES = 1000

FEWEST_UNITS = 10
"""Below so many units there is no interval: "too few tiles"."""


@dataclass(frozen=True)
class Design:
    """How a test set was drawn.

    Attributes:
        unit_of: place of the unit that each tile belongs to.
        cells: places of the units of each cell, two or more in each, in order of the cells' names.
        of_blocks: some units are blocks of several tiles.
    """

    unit_of: NDArray[np.int64]
    cells: tuple[tuple[int, ...], ...]
    of_blocks: bool = False

    @property
    def units(self) -> int:
        return sum(map(len, self.cells))

    @property
    def freedom(self) -> int:
        """Degrees of freedom of a variance: units less cells."""
        return self.units - len(self.cells)

    def by_unit(self, sums: Sums) -> Sums:
        """Sums of units, of sums of tiles."""

        def added_up(values: NDArray[Any]) -> NDArray[Any]:
            found = np.zeros((self.units, *values.shape[1:]), dtype=values.dtype)
            np.add.at(found, self.unit_of, values)
            return found

        return sums_of([None if part is None else added_up(part) for part in parts_of(sums)])


def parts_of(sums: Sums) -> tuple[NDArray[Any] | None, ...]:
    """Its arrays in the order of its fields."""
    return sums.hit, sums.truth, sums.predicted, sums.bins, sums.squared_errors


def sums_of(parts: Sequence[NDArray[Any] | None]) -> Sums:
    """Of arrays in the order of its fields, of which the last ones may be missing."""
    matrix = [part for part in parts[:3] if part is not None]
    return Sums(matrix[0], matrix[1], matrix[2], *parts[3:])


def added(sums: Sums) -> Sums:
    """Over the first axis."""
    return sums_of([None if part is None else part.sum(0) for part in parts_of(sums)])


def design_of(records: Sequence[TileRecord]) -> Design:
    """Units and cells of tiles, which are in order of their ids; cells of a single unit are merged.

    Single units of one region become a cell; those that are still single become one; the last one joins the smallest.
    """
    units = sorted({record.unit for record in records})
    place = {unit: number for number, unit in enumerate(units)}
    cell_of = {record.unit: record.cell for record in records}
    cells: dict[str, list[int]] = defaultdict(list)
    for unit in units:
        cells[cell_of[unit]].append(place[unit])
    for common in (_region, _any):
        cells = _merged(cells, common)
    return Design(
        np.array([place[record.unit] for record in records], dtype=np.int64),
        tuple(tuple(sorted(members)) for _, members in sorted(_without_single(cells).items())),
        any(record.whole_block for record in records),
    )


def _region(cell: str) -> str:
    return cell.partition(",")[0]


def _any(_: str) -> str:
    return "all"


def _merged(cells: Mapping[str, list[int]], common: Callable[[str], str]) -> dict[str, list[int]]:
    """Cells, those of a single unit together with others of that kind that have something in common."""
    merged: dict[str, list[int]] = defaultdict(list)
    for name, members in cells.items():
        merged[name if len(members) > 1 else f"single units of {common(name)}"] += members
    return dict(merged)


def _without_single(cells: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Cells, of which a last single unit joins the smallest."""
    single = [name for name, members in cells.items() if len(members) == 1]
    others = {name: members for name, members in cells.items() if len(members) > 1}
    if not single or not others:
        return dict(cells)
    smallest = min(others, key=lambda name: (len(others[name]), name))
    return {**others, smallest: [*others[smallest], *(member for name in single for member in cells[name])]}


@dataclass(frozen=True)
class Draws:
    """Replicates of a test set; the same for every run that was scored on it, so that runs are compared in pairs.

    Attributes:
        replicates: how many.
        seed: of the draws.
    """

    design: Design
    replicates: int = REPLICATES
    seed: int = SEED

    @cached_property
    def multiplicities(self) -> tuple[NDArray[np.int32], ...]:
        """Of each cell, int32 (replicates, units of the cell): how often each unit was drawn."""
        return tuple(self._of_cell(number, len(cell)) for number, cell in enumerate(self.design.cells))

    def _of_cell(self, number: int, units: int) -> NDArray[np.int32]:
        rng = np.random.Generator(np.random.PCG64([self.seed, number]))
        drawn = rng.integers(0, units, size=(self.replicates, max(units - 1, 1)))
        drawn += np.arange(self.replicates)[:, None] * units
        times = np.bincount(drawn.ravel(), minlength=self.replicates * units)
        return times.reshape(self.replicates, units).astype(np.int32)

    def of(self, sums: Sums) -> Sums:
        """Replicates of sums: a leading axis of tiles becomes one of replicates.

        Cells of one unit, where nothing can be drawn, count once.
        """
        parts = [part for part in parts_of(self.design.by_unit(sums)) if part is not None]
        columns = np.concatenate([part.reshape(self.design.units, -1) for part in parts], axis=1).astype(np.float64)
        total = np.zeros((self.replicates, columns.shape[1]))
        for members, times in zip(self.design.cells, self.multiplicities, strict=True):
            inside = columns[list(members)]
            filled = np.flatnonzero(inside.any(axis=0))
            weight = len(members) / max(len(members) - 1, 1)
            total[:, filled] += (times.astype(np.float64) @ inside[:, filled]) * weight
        widths = np.cumsum([math.prod(part.shape[1:]) for part in parts])[:-1]
        found = np.split(total, widths, axis=1)
        return sums_of([f.reshape(self.replicates, *part.shape[1:]) for f, part in zip(found, parts, strict=True)])
