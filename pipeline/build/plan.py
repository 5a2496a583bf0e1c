"""Plan: for each tile, whether its pixels exist, must be requested, or are unavailable. Comes before ``export``.

Decides from manifest, ledger and the files on disk, without a request. A plan can be printed before it is executed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..dataset.added_pixels import AddedPixels
from ..dataset.ledger import REASONS, LedgerRow
from ..dataset.manifest import ManifestRow
from ..dataset.root import DataRoot
from ..errors import DataError, UsageError
from ..files.atomic import sha256_of
from ..raster.geotiff import grid_of, read_header, shard_name
from ..spec.recipe import Recipe
from ..spec.tiles import Tile
from ..spec.words import count_of

Why = Literal[
    "new",
    "failed before",
    "another recipe",
    "another grid",
    "another scene",
    "shard missing",
    "shard damaged",
    "requested",
]
"""Why the pixels of a tile are requested."""


@dataclass(frozen=True)
class Plan:
    """What a build will do.

    Attributes:
        ask: tiles whose pixels have to be requested.
        keep: tiles whose shard is complete, or that are discarded for good.
        record: rows for the ledger that need no request.
        why: tile id -> why it is requested.
        complete: how many of ``keep`` have a shard.
        note: what the recipe leaves out of the pixels; empty where it takes what the paper takes.
    """

    ask: tuple[ManifestRow, ...]
    keep: tuple[ManifestRow, ...]
    record: tuple[LedgerRow, ...]
    why: Mapping[str, Why] = field(default_factory=dict)
    complete: int = 0
    note: str = ""

    def __str__(self) -> str:
        """One line for the user: ``132 tiles: 120 complete, 2 discarded, 10 to request (8 new, 2 failed before)``."""
        parts = [f"{self.complete:,} complete"] if self.complete else []
        discarded = len(self.keep) - self.complete
        parts += [f"{discarded:,} discarded"] if discarded else []
        reasons = ", ".join(f"{number:,} {why}" for why, number in Counter(self.why.values()).most_common())
        parts.append(f"{len(self.ask):,} to request ({reasons})" if self.ask else "none to request")
        parts[-1] += f"; {self.note}" if self.note and self.ask else ""
        return f"{count_of(len(self.ask) + len(self.keep), 'tile')}: {', '.join(parts)}"


def plan(
    rows: Sequence[ManifestRow],
    *,
    known: Mapping[str, LedgerRow],
    root: DataRoot,
    recipe: Recipe,
    source: str,
    damaged: frozenset[str] = frozenset(),
    again: frozenset[str] = frozenset(),
) -> Plan:
    """Decide for each tile what is to be done.

    A tile is complete when its shard is on disk with this recipe, this source and its label's grid; a shard that
    the ledger does not know (its line was lost) is recorded again. A new label never needs new pixels.

    Args:
        damaged: tiles whose shard was found unreadable.
        again: tiles to request whatever their status.

    Raises:
        UsageError: the data root holds pixels of another source, or of another recipe that would stay beside.
    """
    _check_unmixed(rows, known, recipe, source, root)
    hash_ = recipe.hash
    ask, keep, record, complete = [], [], [], 0
    why: dict[str, Why] = {}
    for row in rows:
        last = known.get(row.tile.id)
        if row.discard:
            keep.append(row)
            if last is None or last.reason != row.discard:
                record.append(discarded(row.tile, row.discard, source, recipe))
            continue
        reason = _why(row, last, root, hash_, damaged, again)
        if (last is None or last.state == "failed") and reason in ("new", "failed before"):
            found = shard_on_disk(row.tile, root, recipe, source)
            if found is not None:
                record.append(found)
                reason = None
        if reason is None:
            keep.append(row)
            complete += last is None or last.state != "discarded"
        else:
            ask.append(row)
            why[row.tile.id] = reason
    return Plan(tuple(ask), tuple(keep), tuple(record), why, complete, recipe.edge_in_words)


def _check_unmixed(
    rows: Sequence[ManifestRow], known: Mapping[str, LedgerRow], recipe: Recipe, source: str, root: DataRoot
) -> None:
    """Shards of two sources or two recipes are never mixed: averages in dB and of power differ by 0.5-1 dB."""
    chosen = {row.tile.id for row in rows}
    hash_ = recipe.hash
    for last in known.values():
        if last.source and last.source != source:
            raise UsageError(
                f"{root} holds pixels of {last.source}, this run would add {source}; name another folder with --data"
            )
        if last.state == "done" and last.recipe != hash_ and last.tile not in chosen:
            raise UsageError(
                f"{root} holds shards of another recipe (--s1-mean, --s1-pass, --s1-max-scenes, --s1-edge) that this "
                f"run would leave beside its own, {last.tile} for one; build all tiles with the new recipe, or name "
                "another folder with --data"
            )


def _why(
    row: ManifestRow,
    last: LedgerRow | None,
    root: DataRoot,
    recipe_hash: str,
    damaged: frozenset[str],
    again: frozenset[str],
) -> Why | None:
    """Why a tile is to be requested; None where it is settled."""
    tile = row.tile
    if tile.id in again:
        return "requested"
    if tile.id in damaged:
        return "shard damaged"
    # A tile that was left out because of its label, its split or its period was never requested.
    if last is None or last.reason in ("test_overlap", "split_border", "bad_label", "no_clear_scene"):
        return "new"
    if last.state == "failed":
        return "failed before"
    if last.recipe != recipe_hash:
        return "another recipe"
    if last.state == "discarded":
        return None
    if last.grid and last.grid != str(grid_of(tile)):
        return "another grid"
    if row.release == "own" and row.s2_index and last.scene != row.s2_index:
        return "another scene"
    try:
        # As text: of 24,000 tiles a Path costs more than the question.
        size = os.stat(f"{root}/{shard_name(tile)}").st_size  # noqa: PTH116 - as said above - 24,000 tiles: a Path costs more
    except OSError:
        return "shard missing"
    return None if size == last.bytes else "shard damaged"


def without_pixels(row: ManifestRow, last: LedgerRow | None, root: DataRoot, added: AddedPixels) -> LedgerRow | None:
    """Ledger row of a tile that has no added pixels, where the ledger does not say so; None where it does, or it has.

    Args:
        last: what the ledger says of the tile.
    """
    tile = row.tile
    if row.discard:
        reason, why = row.discard, REASONS[row.discard]
    elif last is None:
        reason, why = "no_pixels", "no file was added for it; add some with 'dwplus pixels add'"
    elif last.state != "done":
        return None
    elif last.grid and last.grid != str(grid_of(tile)):
        reason, why = "no_pixels", "its label lies on another grid now; add its pixels again with 'dwplus pixels add'"
    elif not _same_size(tile, last, root):
        reason, why = "no_pixels", "its shard is missing or cut off; add its pixels again with 'dwplus pixels add'"
    else:
        return None
    if last is not None and (last.state, last.reason, last.detail) == ("discarded", reason, why):
        return None
    return LedgerRow(tile.id, "discarded", reason, why, source=added.source, recipe=added.hash, grid=str(grid_of(tile)))


def _same_size(tile: Tile, last: LedgerRow, root: DataRoot) -> bool:
    """Whether the shard of a tile is on disk, as long as the ledger says."""
    try:
        # As text: of 24,000 tiles a Path costs more than the question.
        size = os.stat(f"{root}/{shard_name(tile)}").st_size  # noqa: PTH116
    except OSError:
        return False
    return size == last.bytes


def shard_on_disk(tile: Tile, root: DataRoot, recipe: Recipe, source: str) -> LedgerRow | None:
    """Ledger row of a shard that a run left without one; None where there is no such shard, or a different one."""
    path = root.shard(tile)
    try:
        header = read_header(path)
    except DataError:
        return None
    tags = header.tags
    same = tags.get("DWPLUS_RECIPE") == recipe.hash and tags.get("DWPLUS_SOURCE") == source
    if not same or header.grid != grid_of(tile):
        return None
    content = path.read_bytes()
    return LedgerRow(
        tile=tile.id,
        state="done",
        source=source,
        recipe=recipe.hash,
        attempts=1,
        bytes=len(content),
        sha256=sha256_of(content),
        grid=str(header.grid),
        scene=tags.get("S2_SCENE", ""),
        rule=tags.get("S2_RULE", ""),
    )


def discarded(tile: Tile, reason: str, source: str, recipe: Recipe) -> LedgerRow:
    """Ledger row of a tile that is unavailable for good."""
    return LedgerRow(tile.id, "discarded", reason, REASONS[reason], source=source, recipe=recipe.hash)
