"""Parts of a test set on the report: scores by biome, region, ..., and the best and the worst tiles of each run.

From the counts of tiles that scoring kept; a run of an earlier version has none, and no section.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...model.metrics import overall
from ...model.runs import RunFolder
from ...model.scores.groups import GROUPS, Group, grouped, ranked
from ...model.scores.kept import read_table
from ...model.scores.tile_table import TileTable
from .runs import Faults, Run

EXTREMES = 3
"""Best tiles, and worst tiles, that are drawn of a run."""


@dataclass(frozen=True)
class Parts:
    """Scores of the parts of one run's test set.

    Attributes:
        run: its name.
        groups: what tiles are grouped by -> the groups; groupings with a single group are left out.
    """

    run: str
    groups: dict[str, list[Group]]


def table_of(run: Run, faults: Faults) -> TileTable | None:
    """The counts of tiles of a run; None where its scores name none, or where they cannot be read, which is a fault."""
    if run.scores.tiles_file is None:
        return None
    return faults.attempt(run, lambda: read_table(RunFolder(run.folder), run.scores), None)


def parts_of_runs(tables: Sequence[tuple[str, TileTable]]) -> list[Parts]:
    """Of each run, in their order; with intervals of the overall scores alone."""
    found = []
    for name, table in tables:
        groups = {by: grouped(table, by, metrics=overall()) for by in GROUPS}
        found.append(Parts(name, {by: members for by, members in groups.items() if len(members) > 1}))
    return found


def extremes(table: TileTable) -> list[tuple[str, str]]:
    """(id, ``best: OA 93.1 %``) of the best and the worst tiles; a tile is never both.

    Where it is known, with the share of the tile's pixels that are outside the training range.
    """
    tiles = ranked(table)
    shares = [] if table.outside is None else table.outside.share.tolist()
    outside = {record.id: f", {share:.1%} outside" for record, share in zip(table.records, shares, strict=False)}
    best, worst = tiles[:EXTREMES], tiles[EXTREMES:][-EXTREMES:]
    return [
        (record.id, f"{title}: OA {share:.1%}{outside.get(record.id, '')}")
        for title, members in (("best", best), ("worst", worst))
        for record, share in members
    ]
