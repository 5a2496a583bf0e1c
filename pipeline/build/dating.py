"""Dating: labels of users, which are true for a day or a period, get a scene and thereby a day.

The clearest Sentinel-2 scene within the period, widened by some days, is chosen (``earthengine.clear_scenes``); its day
becomes the tile's date and the centre of the Sentinel-1 window, and marked pixels under its cloud become ignored. Comes
before ``plan``; from there on an own tile is exported as a released one is, by the scene that its row names. What was
chosen is kept (``own/scenes.json``), so that nothing is asked twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..dataset.ledger import REASONS, LedgerRow
from ..dataset.manifest import Manifest, ManifestRow, write_manifest
from ..dataset.root import DataRoot
from ..earthengine.session import PixelSource, Tally
from ..errors import DataError, TileError
from ..files.atomic import sha256_of
from ..files.records import read_record, write_record
from ..raster.geotiff import read_codes, read_header, write_label
from ..spec.classes import ClassTable
from ..spec.periods import Period

DEFAULT_WINDOW_DAYS = 30
"""Days before and after a label's period in which a scene may lie."""

_KEPT_EVERY = 50


@dataclass(frozen=True)
class ChosenScene:
    """The scene of one own label.

    Attributes:
        label_sha256: of the label as it was added.
        searched: days that were searched, as ``str(Period)``.
        source: who was asked.
        index: ``system:index`` of the scene; empty where none shows the label.
        day: ISO 8601; empty without a scene.
        hidden_share: share of the marked pixels (0..1) under cloud.
        rule: what told cloud from ground.
        written_sha256: of the label that was written with cloud ignored.
        marked_share: share of its pixels (0..1) with a class.
    """

    label_sha256: str
    searched: str
    source: str
    index: str = ""
    day: str = ""
    hidden_share: float = 0.0
    rule: str = ""
    written_sha256: str = ""
    marked_share: float = 0.0


@dataclass(frozen=True)
class _Scenes:
    """Content of ``own/scenes.json``: tile id -> scene."""

    tiles: Mapping[str, ChosenScene] = field(default_factory=dict)


@dataclass(frozen=True)
class Dated:
    """Own labels with their days.

    Attributes:
        manifest: with the day, the scene and the written label of each tile that has a scene.
        rows: those of the tiles asked for that have a scene, in manifest order.
        undated: rows for the ledger, of tiles without a scene, or without an answer.
    """

    manifest: Manifest
    rows: tuple[ManifestRow, ...]
    undated: tuple[LedgerRow, ...]


def period_of(row: ManifestRow) -> Period:
    """When an own label is true: its period, or the day in its manifest row."""
    return Period.of(row.period) if row.period else Period(row.tile.date, row.tile.date)


def date_labels(
    root: DataRoot,
    rows: Sequence[ManifestRow],
    *,
    pixels: PixelSource,
    window_days: int = DEFAULT_WINDOW_DAYS,
    concurrency: int = 1,
    again: bool = False,
    on_tile: Callable[[str], None] = lambda _: None,
) -> Dated:
    """Choose a scene for each own label that has none yet; the manifest is written with their days.

    Args:
        rows: own tiles to date.
        window_days: how far outside the period a scene may lie.
        concurrency: tiles in flight.
        again: look again where no scene was found before.

    Raises:
        AuthenticationError, QuotaError, ServiceError: the run cannot continue; what was chosen is kept.
        DataError: a label cannot be read.
    """
    manifest = root.manifest()
    scenes, undated = dict(_kept(root)), []
    waiting = []
    for row in rows:
        wanted = _wanted(row, window_days, pixels.name)
        known = scenes.get(row.tile.id)
        if not _stands(known, wanted, root, row) or (again and known is not None and not known.index):
            waiting.append((row, wanted))
        else:
            on_tile(row.tile.id)
    pool = ThreadPoolExecutor(max_workers=max(1, concurrency), thread_name_prefix="scene")
    try:
        running = {
            pool.submit(_choose, root, row, wanted, pixels, manifest.classes): row.tile.id for row, wanted in waiting
        }
        for number, future in enumerate(as_completed(running), 1):
            tile = running[future]
            try:
                scenes[tile] = future.result()
            except TileError as error:
                undated.append(LedgerRow(tile, "failed", error.reason, str(error), source=pixels.name))
            if number % _KEPT_EVERY == 0:
                _keep(root, scenes)
            on_tile(tile)
    except BaseException:
        pixels.stop()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if waiting:
            _keep(root, scenes)
    asked = {row.tile.id for row in rows} - {one.tile for one in undated}
    found = tuple(_dated(row, scenes[row.tile.id]) if row.tile.id in asked else row for row in manifest.rows)
    dated = replace(manifest, rows=found)
    if dated != manifest:
        write_manifest(root.folder, dated)
    for tile in sorted(asked):
        if not scenes[tile].index:
            undated.append(LedgerRow(tile, "discarded", "no_clear_scene", _why_none(scenes[tile]), source=pixels.name))
    chosen = tuple(row for row in found if row.tile.id in asked and scenes[row.tile.id].index)
    return Dated(dated, chosen, tuple(sorted(undated, key=lambda one: one.tile)))


def _why_none(scene: ChosenScene) -> str:
    return f"{REASONS['no_clear_scene']} (searched {scene.searched})"


def _wanted(row: ManifestRow, window_days: int, source: str) -> ChosenScene:
    return ChosenScene(row.label_sha256, str(period_of(row).widened(window_days)), source)


def _stands(known: ChosenScene | None, wanted: ChosenScene, root: DataRoot, row: ManifestRow) -> bool:
    """Whether a scene that was chosen before is that of this label, and its label is still on disk."""
    if known is None or (known.label_sha256, known.searched, known.source) != (
        *(wanted.label_sha256, wanted.searched, wanted.source),
    ):
        return False
    return not known.index or _hash_on_disk(root.own_label(row)) == known.written_sha256


def _hash_on_disk(path: Path) -> str:
    try:
        return sha256_of(path.read_bytes())
    except OSError:
        return ""


def _choose(
    root: DataRoot, row: ManifestRow, wanted: ChosenScene, pixels: PixelSource, classes: ClassTable
) -> ChosenScene:
    """Find the scene of one label, and write the label with its cloud ignored."""
    added = root.added_labels / f"{row.tile.id}.tif"
    codes = read_codes(added)
    marked = (codes > 0) & (codes < classes.ignored_code)
    if not marked.any():
        raise DataError(f"{added} has no marked pixel; remove it with 'dwplus labels remove'")
    period = period_of(row)
    scene = pixels.clear_scene(row.tile, marked, period, Period.of(wanted.searched), Tally())
    if scene is None:
        return wanted
    seen = with_cloud_ignored(codes, scene.hidden, classes)
    tags = {
        **{name: text for name, text in read_header(added).tags.items() if name not in ("CLASSES", "CLASS_TABLE")},
        "PERIOD": str(period),
        "S2_SCENE": scene.index,
        "CLOUD_RULE": scene.rule,
        "CLOUD_SHARE": f"{scene.hidden_share:.4f}",
    }
    return replace(
        wanted,
        index=scene.index,
        day=scene.day.isoformat(),
        hidden_share=round(scene.hidden_share, 4),
        rule=scene.rule,
        written_sha256=write_label(root.own_label(row), seen, row.tile, tags, classes),
        marked_share=classes.marked_share(seen),
    )


def with_cloud_ignored(codes: NDArray[np.uint8], hidden: NDArray[np.bool_], classes: ClassTable) -> NDArray[np.uint8]:
    """Codes of a label, the ignored code where a marked pixel is hidden; uint8 and bool (H, W)."""
    marked = (codes > 0) & (codes < classes.ignored_code)
    return np.where(marked & hidden, np.uint8(classes.ignored_code), codes)


def _dated(row: ManifestRow, scene: ChosenScene) -> ManifestRow:
    """A row with the day and the scene that were chosen; its period stays, so that it can be chosen again."""
    if not scene.index:
        return replace(row, period=str(period_of(row)), s2_index="", s2_product_id="")
    tile = replace(row.tile, date=date.fromisoformat(scene.day))
    return replace(
        row,
        tile=tile,
        period=str(period_of(row)),
        s2_index=scene.index,
        s2_product_id="",
        label_written_sha256=scene.written_sha256,
        marked_share=scene.marked_share,
    )


def _kept(root: DataRoot) -> Mapping[str, ChosenScene]:
    if not root.scenes_file.is_file():
        return {}
    return read_record(root.scenes_file, _Scenes, remedy="remove it; 'dwplus build' chooses the scenes again").tiles


def _keep(root: DataRoot, scenes: Mapping[str, ChosenScene]) -> None:
    write_record(root.scenes_file, {"tiles": {tile: asdict(scenes[tile]) for tile in sorted(scenes)}})
