"""Ingestion: label tiles -> rows -> manifest; the first stage of a build, and ``dwplus labels index``.

What a manifest was made from is kept beside it (``manifest.origin.json``): while archives, metadata and this code are
the same, nothing is read again. A released tile is known by the SHA-256 that its archive's record holds, so that only
tiles which are new to the manifest are opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..dataset.findings import label_faults
from ..dataset.ledger import LedgerRow
from ..dataset.manifest import Manifest, ManifestRow, write_manifest
from ..dataset.root import DataRoot
from ..earthengine.scene_choice import index_of
from ..errors import DataError
from ..files.atomic import sha256_of
from ..machine import usable_cores
from ..progress import Progress, Silent
from ..raster.gdal import check_libraries
from ..raster.geotiff import label_name, write_label
from ..raster.label_raster import LabelRaster, read_label
from ..spec.classes import DYNAMIC_WORLD
from ..spec.tiles import Tile, parse_tile_id
from .index import LabelFile, from_folder
from .metadata import Metadata, read_metadata
from .origin import (
    GivenFolder,
    LabelOrigin,
    ManifestOrigin,
    folder_stamp,
    making_code,
    read_origin,
    reading_code,
    split_of,
    stamp_of,
    write_origin,
)
from .releases import Mirror
from .splits import make_manifest
from .supply import LabelSource, Supply, expected_hashes, fingerprints

if TYPE_CHECKING:
    from .earth_engine import LabelClient


_WORKERS = min(8, usable_cores() + 2)
"""Threads that read label tiles: GDAL works without Python's lock, and each written label waits for the disk."""


@dataclass(frozen=True)
class Prepared:
    """The manifest of a data root, ready for the export.

    Attributes:
        ids: tiles of this call: user-supplied ones, or those of the requested splits.
        unusable: rows for the ledger: ``bad_label`` (discarded) where the label of a tile cannot be used and it has no
            other, ``no_answer`` (failed) where its download failed.
        read: label tiles that were opened; 0 where nothing had changed.
        ignored: files of a user-supplied folder that are no label tiles -> why.
    """

    manifest: Manifest
    ids: frozenset[str]
    unusable: tuple[LedgerRow, ...]
    read: int
    ignored: Mapping[str, str] = field(default_factory=dict)

    @property
    def candidates(self) -> tuple[ManifestRow, ...]:
        """The rows of this call, in manifest order."""
        return tuple(row for row in self.manifest.rows if row.tile.id in self.ids)


@dataclass(frozen=True)
class Ingested:
    """What reading label tiles gave.

    Attributes:
        changed: files that are not what their archive's record says.
        read: how many were opened.
    """

    rows: list[ManifestRow] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)
    changed: list[LabelFile] = field(default_factory=list)
    read: int = 0


# The stage ------------------------------------------------------------------------------------------------------------


def prepare_manifest(
    root: DataRoot,
    *,
    labels: Path | None = None,
    splits: Iterable[str] = (),
    origin: LabelOrigin = "releases",
    mirror: Mirror | None = None,
    client: LabelClient | None = None,
    source: str = "",
    progress: Progress | None = None,
) -> Prepared:
    """Labels -> rows -> manifest of a data root; rows of earlier calls are kept.

    Args:
        labels: folder of user-supplied label tiles, in place of the releases; read every time.
        splits: ``train``, ``val`` (part of the training release), ``test``; none means all.
        origin: where released labels come from.
        mirror: base URL that serves the label archives in place of their publishers.
        client, source: session with Earth Engine and the name of its source, for ``earth-engine``.

    Raises:
        UsageError: no folder of that name; DataError: no user-supplied label can be used.
        MachineError: GDAL, PROJ or the disk does not work here; nothing was written.
        ServiceError, AuthenticationError, QuotaError: labels cannot be downloaded; run it again later.
    """
    progress = progress or Silent()
    check_libraries()
    if labels is not None:
        return _prepare_given(root, labels, progress)
    wanted = frozenset("train" if split == "val" else split for split in splits) or frozenset({"train", "test"})
    supply = Supply(root.releases, tuple(sorted(wanted)), origin, mirror, client, source, progress)
    sources, failed = supply(verify=False)
    held = read_origin(root)
    if held.is_up_to_date(origin, fingerprints(sources)):
        manifest = root.manifest()
        if not _damaged_labels(root, (row for row in manifest.rows if row.release != "inspect")):
            return _prepared(manifest, wanted, held.bad_labels, failed, read=0)
    manifest, held, read = _make(root, supply, sources, held, progress)
    write_manifest(root.folder, manifest)
    write_origin(root, held, reading=reading_code())
    return _prepared(manifest, wanted, held.bad_labels, failed, read=read)


def _make(
    root: DataRoot, supply: Supply, sources: Sequence[LabelSource], held: ManifestOrigin, progress: Progress
) -> tuple[Manifest, ManifestOrigin, int]:
    """The manifest with the labels of the sources, what it was made from, and how many labels were opened."""
    earlier = _earlier_rows(root)
    reusable = earlier if held.reads_alike(supply.origin) else []
    files, metadata = supply.labels(sources)
    found = ingest_labels(
        root,
        files,
        metadata,
        expected=expected_hashes(sources),
        reusable=reusable,
        label_origin=supply.label_origin,
        progress=progress,
    )
    if found.changed:
        supply(verify=True)
        again = ingest_labels(
            root,
            found.changed,
            metadata,
            expected=expected_hashes(sources),
            label_origin=supply.label_origin,
            progress=progress,
        )
        if again.changed:
            raise DataError(f"{again.changed[0].path} changes while it is read; run again")
        found = Ingested([*found.rows, *again.rows], found.unusable | again.unusable, read=found.read + again.read)
    manifest = make_manifest([*_kept(earlier, found.rows), *found.rows])
    return (
        manifest,
        held.with_sources(supply.origin, supply.splits, fingerprints(sources), _without_other(found)),
        found.read,
    )


def _prepare_given(root: DataRoot, labels: Path, progress: Progress) -> Prepared:
    """User-supplied tiles; a file that is unchanged since its row was made is not read again."""
    held, folder = read_origin(root), str(labels.absolute())
    current = held.making == making_code() and held.reading == reading_code()
    # Before the files are read: one that changes meanwhile is read again next time.
    stamp = folder_stamp(labels)
    known = held.folders.get(folder)
    if current and known is not None and known.stamp == stamp:
        manifest = root.manifest()
        if known.describes(manifest) and not _damaged_labels(root, manifest.rows):
            return _prepared_given(manifest, known, progress, read=0)
    surveyed, metadata = from_folder(labels), read_metadata(labels)
    files = surveyed.labels
    earlier = _earlier_rows(root)
    unchanged = _unchanged(root, files, held, earlier)
    found = ingest_labels(
        root, [file for file in files if _file_key(file) not in unchanged], metadata, progress=progress
    )
    rows = [*(_described(row, file, _hint(metadata, file)) for row, file in unchanged.values()), *found.rows]
    if not rows:
        tile_id, why = next(iter(found.unusable.items()))
        raise DataError(f"--labels {labels}: none of {len(files)} label tiles can be used; {tile_id}: {why}")
    manifest = make_manifest([*_kept(earlier, rows), *rows])
    write_manifest(root.folder, manifest)
    hashes = {(row.labeler, row.tile.id): row.label_sha256 for row in rows}
    given = {
        str(file.path.absolute()): stamp_of(file.path, hashes[_file_key(file)])
        for file in files
        if _file_key(file) in hashes
    }
    if held.reading != reading_code():
        # Released rows were made by other code: they are read again when a build is about them.
        held = replace(held, sources={}, given={}, folders={})
    chosen = {row.tile.id: row.label_sha256 for row in make_manifest(rows).rows}
    ignored = {str(one.path): one.reason for one in surveyed.ignored}
    known = GivenFolder(stamp, chosen, _without_other(found), ignored)
    held = replace(held, given={**held.given, **given}, folders={**held.folders, folder: known})
    write_origin(root, held, reading=reading_code())
    return _prepared_given(manifest, known, progress, read=found.read)


def _prepared_given(manifest: Manifest, known: GivenFolder, progress: Progress, *, read: int) -> Prepared:
    """The rows of a folder, and what of it is not used, said."""
    ids = frozenset(known.tiles)
    released = sorted(row.tile.id for row in manifest.rows if row.tile.id in ids and row.release != "inspect")
    if released:
        progress.say(
            f"{len(released)} of {len(ids)} user-supplied tiles are released ones, and the released label is used for "
            f"them ({released[0]}{', ...' * (len(released) > 1)}); name another folder with --data to use yours"
        )
    for what, reasons in (("files are no label tiles", known.ignored), ("label tiles cannot be used", known.bad)):
        _say_left_out(what, reasons, progress)
    bad = (LedgerRow(tile_id, "discarded", "bad_label", why) for tile_id, why in sorted(known.bad.items()))
    return Prepared(manifest, ids, tuple(bad), read, dict(known.ignored))


_SHOWN = 10


def _say_left_out(what: str, reasons: Mapping[str, str], progress: Progress) -> None:
    """Name what is left out, and why."""
    if not reasons:
        return
    progress.say(f"{len(reasons)} {what}:")
    for name, why in sorted(reasons.items())[:_SHOWN]:
        progress.say(f"  {name}: {why}")
    if len(reasons) > _SHOWN:
        progress.say(f"  and {len(reasons) - _SHOWN} more")


def _file_key(file: LabelFile) -> tuple[str, str]:
    return file.labeler, file.tile_id


def _unchanged(
    root: DataRoot, files: Sequence[LabelFile], held: ManifestOrigin, earlier: Iterable[ManifestRow]
) -> dict[tuple[str, str], tuple[ManifestRow, LabelFile]]:
    """User-supplied files whose rows are in the manifest, by labeler and tile id."""
    if held.reading != reading_code():
        return {}
    known = {_key(row.labeler, row.tile): row for row in earlier if row.release == "inspect"}
    damaged = _damaged_labels(root, known.values())
    unchanged = {}
    for file in files:
        row = known.get((file.labeler, file.tile_id, file.hemisphere, file.biome))
        stamp = held.given.get(str(file.path.absolute()))
        if row is not None and row.label not in damaged and stamp == stamp_of(file.path, row.label_sha256):
            unchanged[_file_key(file)] = (row, file)
    return unchanged


def _hint(metadata: Metadata, file: LabelFile) -> Mapping[str, str]:
    return metadata.get((file.labeler, file.tile_id), {})


def rows_of_folder(labels: Path) -> list[ManifestRow]:
    """Rows of user-supplied label tiles, for a plan: nothing is written.

    Raises:
        UsageError: no folder of that name; DataError: a label cannot be used.
    """
    metadata = read_metadata(labels)
    return [
        _row_of(file, read_label(file.path), metadata.get((file.labeler, file.tile_id), {}))
        for file in from_folder(labels).labels
    ]


def _prepared(
    manifest: Manifest,
    wanted: frozenset[str],
    bad_labels: Mapping[str, str],
    failed: Mapping[str, str],
    *,
    read: int,
) -> Prepared:
    ids = frozenset(row.tile.id for row in manifest.rows if row.release in wanted)
    bad = (
        LedgerRow(tile_id, "discarded", "bad_label", why)
        for tile_id, why in sorted(bad_labels.items())
        if split_of(tile_id) in wanted and tile_id not in ids
    )
    unheard = (
        LedgerRow(tile_id, "failed", "no_answer", why) for tile_id, why in sorted(failed.items()) if tile_id not in ids
    )
    return Prepared(manifest, ids, (*bad, *unheard), read)


def _earlier_rows(root: DataRoot) -> list[ManifestRow]:
    return list(root.manifest().rows) if root.manifest_file.is_file() else []


def _kept(earlier: Iterable[ManifestRow], fresh: Iterable[ManifestRow]) -> list[ManifestRow]:
    """Rows of earlier builds in this root that these do not replace: no row is dropped.

    A row is known by its tile and by who drew it, not by its path: a corrected tile may lie in another biome. Of
    user-supplied tiles the last call counts, whoever drew them.
    """
    replaced = {_replaces(row) for row in fresh}
    return [replace(row, discard="") for row in earlier if _replaces(row) not in replaced]


def _replaces(row: ManifestRow) -> tuple[str, str, str]:
    return row.tile.id, row.release, "" if row.release == "inspect" else row.labeler


def _without_other(found: Ingested) -> dict[str, str]:
    """Labels that cannot be used, of tiles of which no other labeler's markup can be used."""
    usable = {row.tile.id for row in found.rows}
    return {tile_id: why for tile_id, why in found.unusable.items() if tile_id not in usable}


def _damaged_labels(root: DataRoot, rows: Iterable[ManifestRow]) -> frozenset[str]:
    """Paths of labels that are missing, or that the last validation found to be other files than were written."""
    broken = label_faults(root.folder)
    return frozenset(row.label for row in rows if row.tile.id in broken or not _has_bytes(f"{root}/{row.label}"))


def _has_bytes(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0  # noqa: PTH116 - 24,000 of them: a Path costs more than the question
    except OSError:
        return False


# Reading label tiles --------------------------------------------------------------------------------------------------


def ingest_labels(
    root: DataRoot,
    files: Sequence[LabelFile],
    metadata: Metadata,
    *,
    expected: Mapping[Path, str] | None = None,
    reusable: Iterable[ManifestRow] = (),
    label_origin: str = "",
    progress: Progress | None = None,
) -> Ingested:
    """Read label tiles, keep them below ``labels/``, and describe them; several at a time, in the order of ``files``.

    Args:
        expected: SHA-256 that a file must have; another one goes to ``changed``, unread.
        reusable: rows of an earlier call; a tile whose row is among them, with the same SHA-256, is not opened.
        label_origin: who made the labels, where a label must say so (``SANDBOX``).
    """
    expected = expected or {}
    known = {_key(row.labeler, row.tile): row for row in reusable if row.release != "inspect"}
    damaged = _damaged_labels(root, known.values())
    found = Ingested()
    opened = 0
    with (progress or Silent()).stage("Reading labels", len(files), unit="labels") as step, _pool() as pool:
        waiting: list[tuple[LabelFile, ManifestRow | Future[ManifestRow | DataError | None]]] = []
        for file in files:
            row = known.get((file.labeler, file.tile_id, file.hemisphere, file.biome))
            hint = metadata.get((file.labeler, file.tile_id), {})
            if row is not None and row.label_sha256 == expected.get(file.path) and row.label not in damaged:
                waiting.append((file, _described(row, file, hint)))
                continue
            waiting.append((file, pool.submit(_ingest_file, root, file, hint, expected.get(file.path), label_origin)))
            opened += 1
        for file, work in waiting:
            outcome = work if isinstance(work, ManifestRow) else work.result()
            step.advance()
            if isinstance(outcome, ManifestRow):
                found.rows.append(outcome)
            elif isinstance(outcome, DataError):
                found.unusable[file.tile_id] = str(outcome)
            else:
                found.changed.append(file)
    return replace(found, read=opened)


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that read labels; an early end of the block (also Ctrl-C) drops what has not begun."""
    pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="labels")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _ingest_file(
    root: DataRoot, file: LabelFile, hint: Mapping[str, str], expected: str | None, label_origin: str
) -> ManifestRow | DataError | None:
    """The row of a tile, why its label cannot be used, or None where the file is not what was unpacked."""
    try:
        raster = read_label(file.path)
    except DataError as error:
        return None if expected not in (None, _sha256_of_file(file.path)) else error
    return (
        None
        if expected not in (None, raster.sha256)
        else ingest_label(root, file, raster, hint, label_origin=label_origin)
    )


def _sha256_of_file(path: Path) -> str | None:
    try:
        return sha256_of(path.read_bytes())
    except OSError:
        return None


def ingest_label(
    root: DataRoot, file: LabelFile, raster: LabelRaster, hint: Mapping[str, str], *, label_origin: str = ""
) -> ManifestRow:
    """Keep one label raster below ``labels/`` (where it is not there yet) and describe it."""
    row = _row_of(file, raster, hint)
    tags = {"TILE": row.tile.id, "LABELER": file.labeler, "RELEASED_SHA256": raster.sha256}
    tags |= {"SOURCE": label_origin} if label_origin else {}
    return replace(row, label_written_sha256=write_label(root.own_label(row), raster.codes, row.tile, tags))


def _row_of(file: LabelFile, raster: LabelRaster, hint: Mapping[str, str]) -> ManifestRow:
    tile = Tile(
        id=file.tile_id,
        crs=raster.crs,
        transform=raster.transform,
        shape=raster.shape,
        date=parse_tile_id(file.tile_id).date,
        hemisphere=file.hemisphere,
        biome=file.biome,
    )
    row = ManifestRow(
        tile=tile,
        labeler=file.labeler,
        release=file.split,
        label=label_name(tile, _folder_of(file)),
        label_sha256=raster.sha256,
        marked_share=DYNAMIC_WORLD.marked_share(raster.codes),
    )
    return _described(row, file, hint)


def _folder_of(file: LabelFile) -> str:
    """Folder below ``labels/``: user-supplied labels never replace released ones, nor one labeler's another's."""
    if file.split != "inspect":
        return file.labeler
    return "inspect" if file.labeler == "unknown" else f"inspect_{file.labeler}"


def _described(row: ManifestRow, file: LabelFile, hint: Mapping[str, str]) -> ManifestRow:
    """A row with what the publisher says of the tile now; splits are given out later."""
    return replace(
        row,
        release=file.split,
        s2_index=hint.get("S2_GEE_ID", "") or index_of(hint.get("S2_PRODUCT_ID", ""), hint.get("S2_DATASTRIP_ID", "")),
        s2_product_id=hint.get("S2_PRODUCT_ID", ""),
        discard="",
    )


def _key(labeler: str, tile: Tile) -> tuple[str, str, str, int]:
    return labeler, tile.id, tile.hemisphere, tile.biome
