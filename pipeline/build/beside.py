"""Beside: Level-1C and public maps on the grids of complete tiles, into ``l1c/`` and ``products/<name>/``.

Each layer has a ledger of its own in its folder: shards, recipe and hashes do not change. Comes after ``export``; a
file that is complete is left alone, so that an interrupted build is resumed by running it again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..dataset.layers import NO_IMAGE, same_grid
from ..dataset.ledger import FAILURES, Ledger, LedgerRow, count_states
from ..dataset.manifest import ManifestRow
from ..dataset.root import DataRoot
from ..earthengine.session import PixelSource, Tally
from ..errors import QuotaError, TileError, UsageError
from ..files.atomic import check_writable, remove_parts, sha256_of, write_atomically
from ..raster.geotiff import encode_layer, grid_of, read_header
from ..spec.classes import DYNAMIC_WORLD
from ..spec.layers import Layer
from ..spec.sources import Source
from ..spec.version import __version__
from ..spec.words import count_of
from .build import BuildSetup
from .export import Callbacks, InFlight, Unmetered

_NO_IMAGE = "the service has no image of {layer} here ({wanted}), or all of it is masked"


@dataclass(frozen=True)
class BesideResult:
    """What was done for one layer.

    Attributes:
        tiles: number of complete tiles that were selected.
        states: how many of them are done, or missing, by reason.
        stopped: why it ended early; empty where it did not.
    """

    layer: Layer
    tiles: int
    states: dict[str, int]
    stopped: str = ""

    @property
    def failed(self) -> int:
        """Tiles that the service did not give."""
        return sum(self.states.get(reason, 0) for reason in FAILURES)


def build_beside(
    root: DataRoot, layers: Sequence[Layer], rows: Sequence[ManifestRow], setup: BuildSetup
) -> list[BesideResult]:
    """Write layers of complete tiles, one layer after the other.

    Args:
        rows: tiles that are wanted; those without a complete shard are passed over.

    Raises:
        UsageError: pixels of the root are of another source, were added by a user, or its labels have other classes.
        DataError: the root holds no data set.
        ServiceError, AuthenticationError: it cannot continue; run it again later.
    """
    check_writable(root.folder)
    root.check_own_pixels()
    _check_fits(root, layers, setup.pixels)
    return [_write(root, layer, rows, setup) for layer in layers]


def _check_fits(root: DataRoot, layers: Sequence[Layer], pixels: PixelSource) -> None:
    if root.source() != pixels.name:
        raise UsageError(
            f"{root} holds pixels of {root.source()}, this run would add {pixels.name} beside them; name another "
            "folder with --data"
        )
    if any(layer.product is not None for layer in layers) and root.classes() != DYNAMIC_WORLD:
        raise UsageError(
            f"{root} holds labels of other classes than Dynamic World's, to which the codes of maps are known; leave "
            "--products out"
        )


def _write(root: DataRoot, layer: Layer, rows: Sequence[ManifestRow], setup: BuildSetup) -> BesideResult:
    folder, progress = root.folder / layer.folder, setup.progress
    shards, stopped = root.ledger(), ""
    complete = [row for row in rows if (last := shards.get(row.tile.id)) is not None and last.state == "done"]
    with Ledger(folder) as ledger, progress.stage(f"Exporting {layer.name}", len(complete)) as step:
        remove_parts(folder)
        todo = [row for row in complete if not _settled(root, layer, row, ledger.rows, shards)]
        progress.say(f"{layer.name}: {count_of(len(complete), 'tile')}, {len(todo):,} to request")
        step.advance(len(complete) - len(todo))

        def make(row: ManifestRow, tally: Tally) -> LedgerRow:
            return make_layer(root, layer, row, pixels=setup.pixels, tally=tally)

        run = InFlight(
            make,
            setup.pixels,
            ledger,
            setup.concurrency,
            setup.meter or Unmetered(),
            Callbacks(on_row=lambda one: step.advance(note=f"{one.tile} {one.reason or one.state}"), say=progress.say),
        )
        try:
            run.through(todo)
        except QuotaError as error:
            stopped = str(error)
            progress.say(stopped)
        ids = {row.tile.id for row in complete}
        states = count_states({tile: one for tile, one in ledger.rows.items() if tile in ids})
    return BesideResult(layer, len(complete), states, stopped)


def _settled(
    root: DataRoot,
    layer: Layer,
    row: ManifestRow,
    known: dict[str, LedgerRow],
    shards: dict[str, LedgerRow],
) -> bool:
    """Whether a tile needs no request: its file is there, of its scene and grid, or the service has none."""
    last = known.get(row.tile.id)
    if last is None or last.state == "failed" or last.recipe != layer.hash or not same_grid(last, row.tile):
        return False
    shard = shards[row.tile.id]
    if layer.by_scene and shard.scene and last.scene.split(" ")[0] != shard.scene:
        return False
    if last.state == "discarded":
        return True
    path = root.folder / layer.file_name(row.tile)
    return path.is_file() and path.stat().st_size == last.bytes


def make_layer(root: DataRoot, layer: Layer, row: ManifestRow, *, pixels: PixelSource, tally: Tally) -> LedgerRow:
    """Request one layer of one tile and write its file; its status.

    Raises:
        AuthenticationError, QuotaError, ServiceError: no tile can be downloaded.
    """
    started, tile = time.monotonic(), row.tile
    known = LedgerRow(tile.id, "done", source=pixels.name, recipe=layer.hash, grid=str(grid_of(tile)))
    tags = read_header(root.shard(tile)).tags
    scenes = tags.get("S2_SCENES") or tags.get("S2_SCENE", "")
    known = replace(known, scene=scenes if layer.by_scene else "")
    path = root.folder / layer.file_name(tile)
    try:
        stored = pixels.fetch_layer(tile, layer, scenes.split(" "), tally)
    except TileError as error:
        known = replace(known, state="failed", reason=error.reason, detail=str(error))
    else:
        if np.all(stored == layer.nodata):
            path.unlink(missing_ok=True)
            said = _NO_IMAGE.format(layer=layer.name, wanted=layer.wanted(tile, scenes))
            known = replace(known, state="discarded", reason=NO_IMAGE, detail=said)
        else:
            content = encode_layer(stored, tile, layer, _tags(layer, row, scenes, pixels.name))
            write_atomically(path, content)
            known = replace(known, bytes=len(content), sha256=sha256_of(content))
    pixels.settle(tally)
    return replace(known, **tally.costs(started))


def _tags(layer: Layer, row: ManifestRow, scenes: str, source: str) -> dict[str, str]:
    tile, product = row.tile, layer.product
    licence = Source.of(source).licence.replace("{years}", str(tile.date.year))
    named = {} if product is None else {"PRODUCT": product.title, "CITATION": product.citation}
    return {
        "DWPLUS_SOURCE": source,
        "DWPLUS_VERSION": __version__,
        "DWPLUS_LAYER": layer.hash,
        "TILE": tile.id,
        "DATE": tile.date.isoformat(),
        "SHOWS": layer.wanted(tile, scenes),
        "LICENCE": licence if product is None or Source.of(source).synthetic else product.licence,
        **named,
    }
