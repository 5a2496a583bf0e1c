"""Forecast: what a build would do and cost; sends no request and writes nothing (``dwplus build --dry-run``)."""

from __future__ import annotations

from collections.abc import Sequence

from ..dataset.manifest import ManifestRow
from ..dataset.root import DataRoot
from ..labels.ingest import rows_of_folder
from ..labels.releases import releases
from ..labels.splits import make_manifest
from ..labels.subsets import paper_subset
from ..spec.recipe import Recipe
from .budget import REQUESTS_FOR_A_DAY, REQUESTS_PER_TILE, Estimate, estimate, mean_size, measured
from .build import Selection, select_rows
from .plan import plan


def forecast(
    root: DataRoot, selection: Selection, *, recipe: Recipe | None, concurrency: int, sandbox_tiles: int | None = None
) -> tuple[str, Estimate]:
    """What a build of this selection would do, as text, and its estimated cost.

    Args:
        root: data root; need not exist yet.
        recipe: how pixels would be requested; None = that of the root, or the default.
        concurrency: requests in flight.
        sandbox_tiles: label tiles of the synthetic planet, where the root is the sandbox's.

    Raises:
        UsageError: the selection names nothing that exists, or the build would be refused.
        DataError: a user-supplied label cannot be used.
    """
    recipe = recipe or root.recipe() or Recipe()
    known = measured(root.events(), recipe.hash)
    rows = _rows(root, selection)
    if rows is None:
        tiles, words = _published(selection, sandbox_tiles)
        note = f"; {recipe.edge_in_words}" if recipe.edge_in_words else ""
        return words + note, estimate(tiles, known, concurrency=concurrency)
    ledger = root.ledger()
    # The source of the pixels so far; a build from another source is refused when it begins.
    source = next((row.source for row in ledger.values() if row.source), "")
    todo = plan(select_rows(rows, selection), known=ledger, root=root, recipe=recipe, source=source)
    own = any(row.release == "own" for row in todo.ask)
    return str(todo), estimate(
        len(todo.ask),
        known,
        concurrency=concurrency,
        size=mean_size([row.tile for row in todo.ask]),
        requests=REQUESTS_PER_TILE + REQUESTS_FOR_A_DAY * own,
    )


def _rows(root: DataRoot, selection: Selection) -> Sequence[ManifestRow] | None:
    """The tiles that a build could choose from; None where no label is on disk yet."""
    if selection.labels is not None:
        return make_manifest(rows_of_folder(selection.labels)).rows
    if root.manifest_file.is_file():
        kept = paper_subset(root).ids if selection.subset else None
        rows = [row for row in root.manifest().rows if row.release != "inspect"]
        return rows if kept is None else [row for row in rows if row.tile.id in kept]
    return None


def _published(selection: Selection, sandbox_tiles: int | None) -> tuple[int, str]:
    """Number of tiles according to the publishers of the archives."""
    narrowed = selection.region != "all" or bool(selection.biomes)
    advice = "run 'dwplus labels fetch' to download the labels; then the plan is exact"
    if sandbox_tiles is not None:
        tiles = sandbox_tiles
        words = f"labels are not downloaded yet; the synthetic planet has {tiles} label tiles"
    else:
        splits = selection.splits or {"train", "test"}
        tiles = sum(f.tiles or 0 for release in releases() for f in release.files if f.split in splits)
        words = f"labels are not downloaded yet; about {tiles:,} tiles are published; {advice}"
    if narrowed:
        words += " (and narrowed to the region and biomes that were named)"
    if selection.limit is not None:
        tiles = min(tiles, selection.limit)
    return tiles, words
