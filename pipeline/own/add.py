"""Own labels in and out of a data root: labels, manifest and record of inputs; the stage behind ``dwplus labels add``.

Files first, then the manifest, then the record of inputs: after a kill the same command finds an input that the record
does not know, and makes the same bytes again. What belongs to no row of the manifest is removed.
"""

from __future__ import annotations

import re
import shutil
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..dataset.inputs import Inputs, LabelInput, read_inputs, write_inputs
from ..dataset.manifest import MANIFEST_FILE, Manifest, ManifestRow, Release, write_manifest
from ..dataset.root import DataRoot
from ..errors import DataError, UsageError
from ..files.atomic import PART_SUFFIX, remove_parts
from ..progress import Progress, Silent
from ..raster.gdal import check_libraries
from ..raster.geotiff import read_codes, write_label
from ..spec.classes import CODE_UNMARKED, ClassTable
from ..spec.overlaps import shared_ground
from ..spec.periods import Period
from ..spec.tiles import RESOLUTION_M, OwnTileId, Tile, hemisphere_of, lon_lat
from ..spec.words import count_of
from .blocks import Marked, Placed, Splits, assign, check_named
from .dates import period_of
from .inputs_of import Asked, InputFile, content_hash, describe, files_of, key_of, options_of
from .reading import Account, Cut, cuts_of

OWN: Release = "own"
SPLIT_BORDER = "split_border"
"""Reason to leave out a training tile that touches or overlaps a val or test tile."""

_WORK = "own/work"


@dataclass(frozen=True)
class Added:
    """What a call of ``add_labels`` did.

    Attributes:
        inputs: that are new.
        known: files that had been added before, with the same options.
        refused: file -> why it cannot be used.
        splits: of all tiles of the root; None where nothing changed.
        manifest: as it is now.
    """

    inputs: tuple[LabelInput, ...]
    known: tuple[str, ...]
    refused: Mapping[str, str]
    splits: Splits | None
    manifest: Manifest


@dataclass
class _New:
    """Inputs on their way into a root."""

    rows: dict[str, ManifestRow] = field(default_factory=dict)
    inputs: list[LabelInput] = field(default_factory=list)


def add_labels(
    root: DataRoot,
    arguments: Sequence[Path],
    asked: Asked,
    *,
    block_km: float | None = None,
    progress: Progress | None = None,
) -> Added:
    """Add files of labels to a data root; splits are assigned anew over all its tiles.

    Args:
        arguments: files, and folders of files.
        block_km: side of the blocks of splits; None = as before, 10 km at first.

    Raises:
        UsageError: an option or argument means nothing, or the root holds other classes or released labels.
        DataError: no file can be used (several files: those that can are added, the others are in ``Added.refused``),
            the tiles lie in fewer than three blocks, or named splits share ground; nothing was changed.
        MachineError: a library or the disk does not work here.
    """
    progress = progress or Silent()
    check_libraries()
    root.check_own_pixels()
    held, inputs = _held(root, asked.classes)
    _clear(root)
    known = {one.key for one in inputs.labels}
    files = files_of(arguments)
    new, again, refused = _New(), [], {}
    first: DataError | None = None
    with progress.stage("Reading labels", len(files), unit="files") as step:
        for path, below in files:
            try:
                file = describe(path, below, asked)
                sha256 = content_hash(path)
                key = key_of(file, sha256, asked)
                if key in known:
                    again.append(file.name)
                else:
                    _take(root, file, sha256, key, asked, held, new)
                    known.add(key)
            except DataError as error:
                refused[str(path)] = str(error)
                first = first or error
            except UsageError:
                _sweep(root, held)
                raise
            step.advance()
    contested = _contested(root, held, new)
    for key, why in contested.items():
        name = next(one.file for one in new.inputs if one.key == key)
        refused[name] = why
        first = first or DataError(why)
        new.inputs = [one for one in new.inputs if one.key != key]
        new.rows = {tile: row for tile, row in new.rows.items() if row.added != key}
    if not new.inputs and not again and first is not None:
        _sweep(root, held)
        raise first
    left = {name: why for name, why in inputs.refused.items() if name not in {one.file for one in new.inputs}}
    # Without the folders of this machine.
    left |= {_short(name): why.replace(name, _short(name)) for name, why in refused.items()}
    labels = sorted([*inputs.labels, *new.inputs], key=lambda one: one.key)
    side = block_km or inputs.block_km
    record = replace(inputs, labels=labels, refused=dict(sorted(left.items())), block_km=side)
    if record == inputs:
        _sweep(root, held)
        return Added((), tuple(again), refused, None, Manifest(held, asked.classes))
    try:
        splits, manifest = _with_splits([*held, *new.rows.values()], record, asked.classes)
        used = [row for row in manifest.rows if not row.discard]
        check_named([Placed(row.tile, row.split_strict, bool(row.split_given)) for row in used], set(new.rows))
    except DataError:
        _sweep(root, held)
        raise
    _write(root, manifest, record)
    return Added(tuple(new.inputs), tuple(again), refused, splits, manifest)


def remove_labels(root: DataRoot, arguments: Sequence[str]) -> Added:
    """Take inputs out of a data root again: their tiles, their rows, their labels. Pixels stay.

    Args:
        arguments: files or folders as they were added, or keys of inputs.

    Raises:
        UsageError: nothing was added under that name, or several inputs were.
    """
    root.check_own_pixels()
    inputs = read_inputs(root.folder)
    leaving: dict[str, LabelInput] = {}
    for argument in arguments:
        leaving |= {one.key: one for one in _meant(inputs.labels, argument, root)}
    manifest = root.manifest()
    rows = [row for row in manifest.rows if row.added not in leaving]
    record = replace(inputs, labels=[one for one in inputs.labels if one.key not in leaving])
    splits: Splits | None = None
    try:
        splits, manifest = _with_splits(rows, record, manifest.classes)
    except DataError:
        # Too few places are left to draw from: nothing is trained or scored on what nobody gave a split.
        rows = [replace(row, split_strict="inspect", split_paper="inspect", discard="") for row in rows]
        manifest = Manifest(tuple(rows), manifest.classes)
    _write(root, manifest, record)
    return Added(tuple(leaving.values()), (), {}, splits, manifest)


def _meant(inputs: Sequence[LabelInput], argument: str, root: DataRoot) -> list[LabelInput]:
    """The inputs that an argument means: by key, by path, those of a folder, or the only one of that name."""
    path = Path(argument)
    files = {file.absolute().parts for file, _ in _quietly(path)} if path.is_dir() else {path.absolute().parts}
    names = [Path(one.file).parts for one in inputs]
    found = [
        one
        for one, own in zip(inputs, names, strict=True)
        if argument in (one.key, one.file) or any(parts[-len(own) :] == own for parts in files)
    ]
    found = found or [one for one, own in zip(inputs, names, strict=True) if own[-1] == argument]
    listed = ", ".join(one.file for one in (found or inputs)[:5]) + ", ..." * (len(found or inputs) > 5)
    if not found:
        raise UsageError(f"{root} has no labels of {argument!r}; it has {listed or 'none'}")
    if len({one.file for one in found}) > 1 and not path.is_dir():
        raise UsageError(f"{len(found)} inputs are called {argument!r} ({listed}); name one with its folder")
    return found


def _quietly(folder: Path) -> list[tuple[Path, Path | None]]:
    try:
        return files_of([folder])
    except DataError:
        return []


# What the root holds --------------------------------------------------------------------------------------------------


def _held(root: DataRoot, classes: ClassTable) -> tuple[tuple[ManifestRow, ...], Inputs]:
    """Rows and inputs of a root of own labels.

    Raises:
        UsageError: it holds released labels, other data sets, or labels of other classes.
    """
    inputs = read_inputs(root.folder)
    if not root.manifest_file.is_file():
        below = sorted(path.parent.name for path in root.folder.glob(f"*/{MANIFEST_FILE}"))
        if below:
            raise UsageError(
                f"{root} is a folder of data sets ({', '.join(below)}); own labels have a data set of their own: name "
                "a new folder with --data"
            )
        # Its manifest is gone: its inputs are added again.
        return (), replace(inputs, labels=[])
    manifest = root.manifest()
    if any(row.release != OWN for row in manifest.rows):
        raise UsageError(f"{root} holds released labels; own labels have a data set of their own: name another --data")
    difference = manifest.classes.difference(classes)
    if difference:
        raise UsageError(f"{root} has other classes than --classes ({difference}); name another folder with --data")
    keys = {one.key for one in inputs.labels}
    return tuple(row for row in manifest.rows if row.added in keys), inputs


def classes_of_root(root: DataRoot) -> ClassTable | None:
    """The class table of a root that has own labels; None for a new one."""
    return root.manifest().classes if root.manifest_file.is_file() else None


def _clear(root: DataRoot) -> None:
    """Remove what a killed command left on its way."""
    shutil.rmtree(root.folder / _WORK, ignore_errors=True)
    for folder in (root.own_labels, root.inputs_file.parent):
        remove_parts(folder)
    for part in root.folder.glob(f".*{PART_SUFFIX}"):
        part.unlink(missing_ok=True)


def _sweep(root: DataRoot, rows: Iterable[ManifestRow]) -> None:
    """Remove labels that no row names."""
    names = {f"{row.tile.id}.tif" for row in rows}
    for folder in (root.own_labels, root.added_labels):
        for path in sorted(folder.glob("*.tif")):
            if path.name not in names:
                path.unlink()
        for empty in (folder, folder.parent):
            if empty.is_dir() and empty != root.folder and not any(empty.iterdir()):
                empty.rmdir()


def _write(root: DataRoot, manifest: Manifest, record: Inputs) -> None:
    if manifest.rows:
        write_manifest(root.folder, manifest)
        write_inputs(root.folder, record)
    else:
        root.manifest_file.unlink(missing_ok=True)
        if record.pixels:
            write_inputs(root.folder, record)
        else:
            root.inputs_file.unlink(missing_ok=True)
    _sweep(root, manifest.rows)


# One input ------------------------------------------------------------------------------------------------------------


def _take(
    root: DataRoot, file: InputFile, sha256: str, key: str, asked: Asked, held: Sequence[ManifestRow], new: _New
) -> None:
    """Write the labels of a file, and note its rows and what became of it.

    Raises:
        DataError, UsageError: it cannot be used; labels that were written are swept away later.
    """
    account = Account()
    taken = {row.tile.id for row in held} | set(new.rows)
    rows: dict[str, ManifestRow] = {}
    counts: dict[str, list[int]] = {}
    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="own-labels") as pool:
        waiting: deque[Future[ManifestRow]] = deque()
        for cut in cuts_of(file, asked, account, root.folder / _WORK):
            row, tags = _row_of(cut, file, key, asked, taken)
            taken.add(row.tile.id)
            counts[row.tile.id] = np.bincount(cut.codes.ravel(), minlength=asked.classes.ignored_code + 1).tolist()
            waiting.append(pool.submit(_written, root, row, cut.codes, tags, asked.classes))
            if len(waiting) >= 2 * _WRITERS:
                written = waiting.popleft().result()
                rows[written.tile.id] = written
        rows |= {written.tile.id: written for written in (one.result() for one in waiting)}
    if not rows:
        reasons = "; ".join(map(str, [*account.left_out, *account.changed]))
        raise DataError(f"{file.path} gives no tile: {reasons}")
    new.rows |= rows
    names = asked.classes.code_names
    new.inputs.append(
        LabelInput(
            key=key,
            file=file.name,
            sha256=sha256,
            kind=account.kind,
            class_table=asked.classes.hash,
            options=options_of(asked, file.kind),
            period=str(file.period or ""),
            split=file.split,
            annotator=file.annotator,
            licence=asked.licence,
            citation=asked.citation,
            features={names[code]: number for code, number in sorted(account.features.items())},
            area_m2=round(account.area_m2, 1),
            tiles=dict(sorted(counts.items())),
            left_out=account.left_out,
            changed=account.changed,
        )
    )


_WRITERS = 8
"""Threads: each label that is written waits for the disk."""


def _written(
    root: DataRoot, row: ManifestRow, codes: NDArray[np.uint8], tags: Mapping[str, str], classes: ClassTable
) -> ManifestRow:
    """Write the label of a row twice: as it is trained on, and as it was added; the row with their hashes."""
    added = write_label(root.added_labels / f"{row.tile.id}.tif", codes, row.tile, tags, classes)
    trained_on = write_label(root.own_label(row), codes, row.tile, tags, classes)
    return replace(row, label_sha256=added, label_written_sha256=trained_on)


def _row_of(cut: Cut, file: InputFile, key: str, asked: Asked, taken: set[str]) -> tuple[ManifestRow, dict[str, str]]:
    """The row of a tile, and the tags of its label."""
    tile = _tile_of(cut, _name_of(file.path, cut.split), key, taken)
    tags = {"TILE": tile.id, "LABELER": OWN, "PERIOD": str(cut.period), "INPUT_SHA256": key}
    tags |= {"ANNOTATOR": file.annotator, "LICENCE": asked.licence, "CITATION": asked.citation}
    tags = {name: value for name, value in tags.items() if value}
    row = ManifestRow(
        tile=tile,
        labeler=OWN,
        release=OWN,
        label=f"labels/own/{tile.id}.tif",
        label_sha256="",
        marked_share=asked.classes.marked_share(cut.codes),
        period=cut.period.text,
        annotator=file.annotator,
        added=key,
        split_given=cut.split or file.split,
    )
    return row, tags


_LONGEST_NAME = 60


def _name_of(path: Path, split: str) -> str:
    """What a tile is called after: its file, as letters, digits and ``_``; and its split where a column names it."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", path.stem).strip("_")[:_LONGEST_NAME] or "labels"
    return f"{plain}_{split}" if split else plain


def _tile_of(cut: Cut, name: str, key: str, taken: set[str]) -> Tile:
    grid = cut.grid
    x_min, y_min, x_max, y_max = grid.bounds
    lon, _ = lon_lat(grid.zone.crs, (x_min + x_max) / 2, (y_min + y_max) / 2)
    tile_id = OwnTileId(name, grid.zone.crs, grid.x, grid.y, cut.period.first)
    for suffix in ("", f"_{cut.period.last:%Y%m%d}", f"_{key[:6]}", f"_{cut.period.last:%Y%m%d}_{key[:6]}"):
        # Two files of one name on the same place and day, or two periods that begin on one day.
        if str(named := replace(tile_id, name=f"{name}{suffix}")) not in taken:
            break
    return Tile(
        id=str(named),
        crs=grid.zone.crs,
        transform=grid.transform,
        shape=(grid.height, grid.width),
        date=cut.period.first,
        hemisphere=hemisphere_of(lon),
        biome=0,
    )


# Two labels of one place ----------------------------------------------------------------------------------------------


def period_of_row(row: ManifestRow) -> Period:
    """The days in which the label of a row is true."""
    return period_of(row.period or row.tile.date, where=row.tile.id)


def _contested(root: DataRoot, held: Sequence[ManifestRow], new: _New) -> dict[str, str]:
    """Inputs that call marked pixels of an earlier one something else at the same time: key -> which."""
    fresh = list(new.rows.values())
    order = {one.key: n for n, one in enumerate(new.inputs)}
    others = [*held, *fresh]
    contested: dict[str, str] = {}
    read = _Codes(root)
    for i, j, _ in shared_ground([row.tile for row in fresh], [row.tile for row in others]):
        row, other = fresh[i], others[j]
        earlier = other.added not in order or order[other.added] < order[row.added]
        if row.added == other.added or not earlier or {row.added, other.added} & set(contested):
            continue
        if not period_of_row(row).shares_a_day(period_of_row(other)):
            continue
        number = _that_disagree(read, row, other)
        if number:
            contested[row.added] = (
                f"{_file_of(new.inputs, row.added)} and {other.tile.id} are two labels of one place: "
                f"{count_of(number, 'pixel')} of tile {row.tile.id} "
                f"{'has' if number == 1 else 'have'} another class; remove the other with 'dwplus labels remove', or "
                "give them dates that differ"
            )
    return contested


def _file_of(inputs: Iterable[LabelInput], key: str) -> str:
    return next(one.file for one in inputs if one.key == key)


class _Codes:
    """Reads labels as they were added, the last few kept."""

    def __init__(self, root: DataRoot) -> None:
        self._root = root
        self._kept: dict[str, NDArray[np.uint8]] = {}

    def __call__(self, row: ManifestRow) -> NDArray[np.uint8]:
        if row.tile.id not in self._kept:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[row.tile.id] = read_codes(self._root.added_labels / f"{row.tile.id}.tif")
        return self._kept[row.tile.id]


_KEPT = 16


def _that_disagree(read: _Codes, row: ManifestRow, other: ManifestRow) -> int:
    """Pixels with a class in both tiles, and not the same; 0 for tiles of two zones, whose pixels do not meet."""
    if row.tile.crs != other.tile.crs:
        return 0
    across = round((other.tile.transform[2] - row.tile.transform[2]) / RESOLUTION_M)
    down = round((row.tile.transform[5] - other.tile.transform[5]) / RESOLUTION_M)
    (height, width), (other_height, other_width) = row.tile.shape, other.tile.shape
    rows = slice(max(0, down), min(height, down + other_height))
    columns = slice(max(0, across), min(width, across + other_width))
    mine = read(row)[rows, columns]
    theirs = read(other)[rows.start - down : rows.stop - down, columns.start - across : columns.stop - across]
    return int(np.count_nonzero((mine != theirs) & (mine != CODE_UNMARKED) & (theirs != CODE_UNMARKED)))


# Splits ---------------------------------------------------------------------------------------------------------------


def _with_splits(rows: Sequence[ManifestRow], record: Inputs, classes: ClassTable) -> tuple[Splits | None, Manifest]:
    """The manifest of these rows, with the splits that follow from all of them.

    Raises:
        DataError: they lie in fewer than three blocks.
    """
    if not rows:
        return None, Manifest((), classes)
    counts = {tile: numbers for one in record.labels for tile, numbers in one.tiles.items()}
    marked = [Marked(row.tile, _classes_in(counts.get(row.tile.id, []), classes), row.split_given) for row in rows]
    splits = assign(marked, classes=len(classes), block_km=record.block_km)
    with_splits = [
        replace(
            row,
            split_strict=splits.of_tile[row.tile.id],
            split_paper=splits.of_tile[row.tile.id],
            discard=SPLIT_BORDER if row.tile.id in splits.beside else "",
        )
        for row in rows
    ]
    return splits, Manifest(tuple(sorted(with_splits, key=lambda row: row.tile.id)), classes)


def _classes_in(counts: Sequence[int], classes: ClassTable) -> frozenset[int]:
    return frozenset(index for index in range(len(classes)) if len(counts) > index + 1 and counts[index + 1])


def _short(name: str) -> str:
    return "/".join(Path(name).absolute().parts[-2:])
