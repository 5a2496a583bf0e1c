"""Export: from the manifest to shards. One request per tile, several in flight, a ledger, resume by running again.

Plan first (which tiles are complete, which have to be asked for), then act. The ledger has one writer, the thread that
calls ``export``; workers only fetch and write shards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from .bands import NODATA, S2_BANDS, SHARD_BANDS
from .errors import DataError, TileError, UsageError
from .files import remove_parts, sha256_of, write_atomically
from .ledger import REASONS, Ledger, LedgerRow
from .manifest import ManifestRow
from .matching import SceneHint, SceneRef
from .scenes import S1_COLLECTIONS, Recipe
from .session import DEFAULT_CONCURRENCY, PixelSource
from .shards import SHARDS_FOLDER, encode_shard, grid_of, read_header, shard_path
from .tiles import Tile

LICENCE = (
    "Contains modified Copernicus Sentinel data; labels CC BY 4.0 (Tait et al. 2021, doi 10.1594/PANGAEA.933475; "
    "Brown et al. 2022, doi 10.1038/s41597-022-01307-4)"
)


@dataclass(frozen=True)
class Plan:
    """What a build will do.

    Attributes:
        ask: tiles whose pixels have to be asked for.
        keep: tiles whose shard is complete, or that are discarded for good.
        record: rows for the ledger that need no request.
    """

    ask: tuple[ManifestRow, ...]
    keep: tuple[ManifestRow, ...]
    record: tuple[LedgerRow, ...]


def plan(
    rows: Sequence[ManifestRow],
    *,
    known: Mapping[str, LedgerRow],
    root: Path,
    recipe: Recipe,
    source: str,
    damaged: frozenset[str] = frozenset(),
) -> Plan:
    """Decide tile by tile whether its pixels are there, must be asked for, or can never be had.

    A tile is complete when its shard stands on disk with this recipe, this source and its label's grid; a shard that
    the ledger does not know (its line was lost) is taken up again.

    Args:
        damaged: tiles whose shard was found unreadable.

    Raises:
        UsageError: the data root holds shards of another source, or of another recipe that this run would not replace.
    """
    _check_unmixed(rows, known, root, recipe, source)
    ask, keep, record = [], [], []
    for row in rows:
        last = known.get(row.tile.id)
        if row.discard:
            keep.append(row)
            if last is None or last.reason != row.discard:
                record.append(_discarded(row.tile, row.discard, source, recipe))
        elif row.tile.id in damaged:
            ask.append(row)
        elif last is not None and last.recipe == recipe.hash and _settled(last, row, root):
            keep.append(row)
        elif last is None and (found := _shard_on_disk(row, root, recipe, source)) is not None:
            keep.append(row)
            record.append(found)
        else:
            ask.append(row)
    return Plan(tuple(ask), tuple(keep), tuple(record))


def _check_unmixed(
    rows: Sequence[ManifestRow], known: Mapping[str, LedgerRow], root: Path, recipe: Recipe, source: str
) -> None:
    """Shards of two sources or two recipes never stand side by side: averages in dB and of power differ by 0.5-1 dB."""
    chosen = {row.tile.id for row in rows}
    for last in known.values():
        if last.source and last.source != source:
            raise UsageError(
                f"{root} holds pixels of {last.source}, this run would add {source}; name another folder with --data"
            )
        if last.state == "done" and last.recipe != recipe.hash and last.tile not in chosen:
            raise UsageError(
                f"{root} holds shards of another recipe (--s1-mean, --s1-pass) that this run would leave beside its "
                f"own, {last.tile} for one; build all tiles with the new recipe, or name another folder with --data"
            )


def _settled(last: LedgerRow, row: ManifestRow, root: Path) -> bool:
    if last.state == "done":
        path = shard_path(root, row.tile)
        return last.grid == str(grid_of(row.tile)) and path.is_file() and path.stat().st_size == last.bytes
    return last.state == "discarded" and last.reason != "test_overlap"


def _shard_on_disk(row: ManifestRow, root: Path, recipe: Recipe, source: str) -> LedgerRow | None:
    path = shard_path(root, row.tile)
    try:
        header = read_header(path)
    except DataError:
        return None
    tags = header.tags
    same = tags.get("DWPLUS_RECIPE") == recipe.hash and tags.get("DWPLUS_SOURCE") == source
    if not same or header.grid != grid_of(row.tile):
        return None
    content = path.read_bytes()
    return LedgerRow(
        tile=row.tile.id,
        state="done",
        source=source,
        recipe=recipe.hash,
        bytes=len(content),
        sha256=sha256_of(content),
        grid=str(header.grid),
        scene=tags.get("S2_SCENE", ""),
        rule=tags.get("S2_RULE", ""),
    )


def _discarded(tile: Tile, reason: str, source: str, recipe: Recipe, seconds: float = 0.0) -> LedgerRow:
    return LedgerRow(
        tile=tile.id,
        state="discarded",
        reason=reason,
        detail=REASONS[reason],
        source=source,
        recipe=recipe.hash,
        seconds=round(seconds, 3),
    )


def export(
    rows: Sequence[ManifestRow],
    *,
    pixels: PixelSource,
    recipe: Recipe,
    ledger: Ledger,
    concurrency: int = DEFAULT_CONCURRENCY,
    damaged: frozenset[str] = frozenset(),
    on_plan: Callable[[Plan], None] | None = None,
    on_row: Callable[[LedgerRow], None] | None = None,
) -> Plan:
    """Make the shards of some tiles; what became of each stands in the ledger.

    Args:
        rows: tiles to have; those that are complete are left alone.
        damaged: tiles to ask for again although their shard is there.
        on_plan: told once what will be done.
        on_row: told of every tile that was asked for, from the calling thread.

    Returns:
        The plan that was carried out.

    Raises:
        UsageError: the data root holds shards of another source.
        AuthenticationError, QuotaError, ServiceError: the run cannot go on; running again goes on where it stopped.
        KeyboardInterrupt: after the tiles in flight are complete.
    """
    remove_parts(ledger.root / SHARDS_FOLDER)
    todo = plan(rows, known=ledger.rows, root=ledger.root, recipe=recipe, source=pixels.name, damaged=damaged)
    for known in todo.record:
        ledger.append(known)
    if on_plan is not None:
        on_plan(todo)

    def settle(row: LedgerRow) -> None:
        ledger.append(row)
        if on_row is not None:
            on_row(row)

    with ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="tile") as pool:
        _run_bounded(
            pool,
            [partial(make_shard, row, pixels=pixels, recipe=recipe, root=ledger.root) for row in todo.ask],
            limit=concurrency,
            settle=settle,
            stop=pixels.stop,
        )
    return todo


def _run_bounded(
    pool: ThreadPoolExecutor,
    tasks: Sequence[Callable[[], LedgerRow]],
    *,
    limit: int,
    settle: Callable[[LedgerRow], None],
    stop: Callable[[], None],
) -> None:
    """Run tasks with at most ``limit`` in flight; a failure or Ctrl-C starts no more and lets the others finish.

    Args:
        stop: ends the waits of tasks that would ask again.
    """
    waiting = iter(tasks)
    running = {pool.submit(task) for task in islice(waiting, limit)}
    try:
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                running.discard(future)
                settle(future.result())
                running |= {pool.submit(task) for task in islice(waiting, 1)}
    except BaseException:
        stop()
        for future in running:
            future.cancel()
        for future in wait(running).done:
            if not future.cancelled() and future.exception() is None:
                settle(future.result())
        raise


def make_shard(row: ManifestRow, *, pixels: PixelSource, recipe: Recipe, root: Path) -> LedgerRow:
    """Find the scene of one tile, fetch its pixels, write its shard; what became of it.

    Raises:
        AuthenticationError, QuotaError, ServiceError: no tile can be had.
    """
    started = time.monotonic()
    tile = row.tile
    try:
        scene = pixels.resolve(tile, SceneHint(row.s2_index or None, row.s2_product_id or None))
        if scene is None:
            return _discarded(tile, "no_s2", pixels.name, recipe, time.monotonic() - started)
        stored = pixels.fetch(pixels.request(tile, recipe, scene))
    except TileError as error:
        return LedgerRow(
            tile=tile.id,
            state="failed",
            reason="no_answer",
            detail=str(error),
            source=pixels.name,
            recipe=recipe.hash,
            seconds=round(time.monotonic() - started, 3),
        )
    reason = why_useless(stored)
    if reason:
        return _discarded(tile, reason, pixels.name, recipe, time.monotonic() - started)
    content = encode_shard(stored, tile, provenance(tile, scene, recipe, stored, pixels.name))
    write_atomically(shard_path(root, tile), content)
    return LedgerRow(
        tile=tile.id,
        state="done",
        source=pixels.name,
        recipe=recipe.hash,
        seconds=round(time.monotonic() - started, 3),
        bytes=len(content),
        sha256=sha256_of(content),
        grid=str(grid_of(tile)),
        scene=scene.index,
        rule=scene.rule,
    )


def why_useless(stored: NDArray[np.uint16]) -> str:
    """Reason to discard a tile after its pixels were seen: ``no_s2``, ``no_s1`` or nothing.

    Args:
        stored: uint16 (bands, H, W) in the order of ``SHARD_BANDS``, 0 = no data.
    """
    s2 = stored[: len(S2_BANDS)]
    if not np.any(s2 != NODATA):
        return "no_s2"
    if not np.any(stored[SHARD_BANDS.index("S1_N")]):
        return "no_s1"
    return ""


def provenance(tile: Tile, scene: SceneRef, recipe: Recipe, stored: NDArray[np.uint16], source: str) -> dict[str, str]:
    """Tags of a shard: enough to ask for the same pixels again and to cite them."""
    start, end = recipe.window(tile.date)
    count = stored[SHARD_BANDS.index("S1_N")]
    s2_seen = np.all(stored[: len(S2_BANDS)] != NODATA, axis=0)
    tags = {
        "DWPLUS_SOURCE": source,
        "DWPLUS_VERSION": __version__,
        "DWPLUS_RECIPE": recipe.hash,
        "TILE": tile.id,
        "DATE": tile.date.isoformat(),
        "HEMISPHERE": tile.hemisphere,
        "BIOME": str(tile.biome),
        "S2_COLLECTION": scene.collection,
        "S2_SCENE": scene.index,
        "S2_RULE": scene.rule,
        "S2_PRODUCT_ID": str(scene.properties.get("PRODUCT_ID", "")),
        "S2_BASELINE": str(scene.properties.get("PROCESSING_BASELINE", "")),
        "S2_COVERED_SHARE": f"{s2_seen.mean():.4f}",
        "S1_COLLECTION": S1_COLLECTIONS[recipe.s1_mean],
        "S1_MEAN": recipe.s1_mean,
        "S1_PASSES": ",".join(recipe.s1_passes),
        "S1_WINDOW": f"{start.isoformat()}/{end.isoformat()}",
        "S1_SCENES": f"{count.min()}..{count.max()}",
        "S1_COVERED_SHARE": f"{(count > 0).mean():.4f}",
        "LICENCE": LICENCE,
    }
    return {name: value for name, value in tags.items() if value}
