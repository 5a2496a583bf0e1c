"""The training store: all usable tiles as one sharded Zarr v3 group, for loaders that a GeoTIFF decoder cannot feed.

Opt-in, beside the shards and made from them: the same values, one chunk per tile and variable, several times faster to
decode. Comes after ``normalise`` and before ``samples``, which reads it where it is complete and fresh. What any Zarr
library sees of it (coordinates, attributes) is in ``store_metadata``, the bytes of its files in ``zarr_chunks``.

Each file of chunks is complete or absent and records for which tiles it was written. An interrupted run resumes with
the missing files; the file of a changed tile is written again.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cluster import Runner
from ..errors import DataError
from ..files.atomic import cannot_write, read_json, remove_parts, write_atomically
from ..files.locks import lock
from ..files.records import of_shape
from ..raster.geotiff import read_bands, read_codes
from ..raster.targets import Targets
from ..spec.bands import SHARD_BANDS
from .manifest import ManifestRow
from .root import DataRoot
from .store_metadata import LABEL, TILES_PER_FILE, VARIABLES, Facts, Variable, view_files
from .zarr_chunks import Contents, encode_chunk, join_chunks, need, read_chunk, read_contents

_ROOT = "zarr.json"
_FORMAT = 2
"""2: pixels without data are ignored in ``label``."""
_LOCK = ".lock"

STORED_SPLITS = ("train", "val", "test")


# --- which tiles, and where -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One tile as it is written to the store.

    Attributes:
        state: changes with its shard or its label.
    """

    row: ManifestRow
    shard_sha256: str

    @property
    def tile(self) -> str:
        return self.row.tile.id

    @property
    def state(self) -> str:
        text = f"{self.shard_sha256} {self.row.labeler} {self.row.label_sha256}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def entries_of(root: DataRoot, rows: Sequence[ManifestRow]) -> tuple[Entry, ...]:
    ledger = root.ledger()
    return tuple(Entry(row, ledger[row.tile.id].sha256) for row in rows)


def arrange(before: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Order of the tiles in the store: as few as possible change their place, so that few files are written.

    Tiles that are there stay; new ones take the places of those that are gone, then come at the end; places that are
    still free are filled from the end.

    Args:
        before: tile ids in the order of the store as it is; an empty string is a free place.
        wanted: tile ids that shall be in it.
    """
    kept = set(before) & set(wanted)
    fresh = deque(tile for tile in wanted if tile not in kept)
    places: list[str] = []
    for tile in before:
        # A run that was stopped between two files may have left a tile in both.
        if tile in kept:
            kept.remove(tile)
            places.append(tile)
        else:
            places.append(fresh.popleft() if fresh else "")
    places += fresh
    place = 0
    while place < len(places):
        if places[place]:
            place += 1
        elif (last := places.pop()) and place < len(places):
            places[place] = last
    return places


@dataclass(frozen=True)
class FilePlan:
    """The tiles of one file of each variable.

    Attributes:
        number: place of the file among those of its variable.
    """

    number: int
    entries: tuple[Entry, ...]

    @property
    def note(self) -> dict[str, Any]:
        shape = list(self.entries[0].row.tile.shape)
        return {"dwplus": _FORMAT, "shape": shape, "tiles": [[entry.tile, entry.state] for entry in self.entries]}


def plan_files(entries: Sequence[Entry], before: Sequence[str]) -> list[FilePlan]:
    """All files of the store.

    Args:
        before: tile ids in the order of the store as it is.
    """
    known = {entry.tile: entry for entry in entries}
    places = [known[tile] for tile in arrange(before, [entry.tile for entry in entries])]
    starts = range(0, len(places), TILES_PER_FILE)
    return [FilePlan(number, tuple(places[start : start + TILES_PER_FILE])) for number, start in enumerate(starts)]


# --- files on disk ----------------------------------------------------------------------------------------------------


def _file(store: Path, variable: Variable, number: int) -> Path:
    return store / variable.key(number)


def _contents(store: Path, number: int) -> dict[str, Contents] | None:
    """What the files of a number hold, by variable; None where one is missing or damaged, or they differ."""
    try:
        found = {v.name: read_contents(_file(store, v, number), TILES_PER_FILE) for v in VARIABLES}
        for variable, contents in found.items():
            of_shape(contents.note, _FileNote, store / variable, remedy="")
    except DataError:
        return None
    first, *others = found.values()
    fits = len(first.note["tiles"]) <= TILES_PER_FILE and all(other.note == first.note for other in others)
    return found if fits else None


@dataclass(frozen=True)
class _FileNote:
    """What the first line of a file says: ``FilePlan.note``."""

    dwplus: Any
    shape: tuple[int, int]
    tiles: tuple[tuple[str, str], ...]


def _numbers(store: Path) -> list[int]:
    """Numbers of the files that are there, in order."""
    folder = store / LABEL.name / "c"
    return sorted(int(path.name) for path in folder.glob("*") if re.fullmatch(r"\d+", path.name))


def _places_before(store: Path) -> list[str]:
    """Tile ids in the order of the store as it is; empty strings where a file cannot be used."""
    places: list[str] = []
    for number in _numbers(store):
        found = _contents(store, number)
        if found is None:
            continue
        tiles = [tile for tile, _ in found[LABEL.name].note["tiles"]]
        places += [""] * (number * TILES_PER_FILE - len(places)) + tiles
    return places


# --- writing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WriteFiles:
    """The task of one worker: every file is written by exactly one task (a class, so that it can be sent)."""

    root: DataRoot

    def __call__(self, plans: Sequence[FilePlan]) -> tuple[int, int]:
        """(tiles, bytes) written."""
        return sum(len(plan.entries) for plan in plans), sum(write_files(plan, self.root) for plan in plans)


def write_files(plan: FilePlan, root: DataRoot) -> int:
    """Write one file of each variable; the bytes they take.

    Raises:
        DataError: a shard or label is damaged, or is not what was validated.
    """
    chunks: dict[str, list[bytes]] = {variable.name: [] for variable in VARIABLES}
    targets = root.targets()
    for entry in plan.entries:
        for name, values in _values_of(entry, root, targets).items():
            chunks[name].append(encode_chunk(values))
    size = 0
    for variable in VARIABLES:
        content = join_chunks(chunks[variable.name], TILES_PER_FILE, plan.note)
        write_atomically(_file(root.store, variable, plan.number), content)
        size += len(content)
    return size


def _values_of(entry: Entry, root: DataRoot, targets: Targets) -> dict[str, NDArray[Any]]:
    """Values of one tile by variable, as they are stored."""
    pixels = read_bands(root.shard(entry.row.tile), SHARD_BANDS, sha256=entry.shard_sha256)
    codes = read_codes(root.label(entry.row), sha256=entry.row.label_written_sha256)
    values: dict[str, NDArray[Any]] = {LABEL.name: targets.target_of(codes, pixels)}
    for variable in VARIABLES:
        if variable.bands:
            first = SHARD_BANDS.index(variable.bands[0])
            values[variable.name] = pixels[first : first + len(variable.bands)].reshape(
                variable.size(entry.row.tile.shape)
            )
    return values


@dataclass(frozen=True)
class StoreReport:
    """What a run left.

    Attributes:
        tiles: in the store.
        written: tiles whose file this run wrote.
        bytes_written: by this run.
    """

    tiles: int
    written: int
    bytes_written: int


def stored_rows(root: DataRoot) -> tuple[ManifestRow, ...]:
    """Tiles that belong into the store: all that can be trained on or scored.

    Raises:
        DataError: there are none, they differ in size, or the data set was not validated yet.
    """
    rows = tuple(row for split in STORED_SPLITS for row in root.usable(split, "strict"))
    if not rows:
        raise DataError(f"{root} holds no usable tile; build some with 'dwplus build'")
    shapes = {row.tile.shape: row.tile.id for row in rows}
    if len(shapes) > 1:
        named = ", ".join(f"{tile} has {shape[0]} x {shape[1]} px" for shape, tile in sorted(shapes.items()))
        raise DataError(f"tiles of {len(shapes)} sizes do not fit one store ({named}); train from the shards")
    return tuple(sorted(rows, key=lambda row: row.tile.id))


def _plan(root: DataRoot) -> list[FilePlan]:
    return plan_files(entries_of(root, stored_rows(root)), _places_before(root.store))


def _stale(store: Path, plans: Sequence[FilePlan]) -> list[FilePlan]:
    return [plan for plan in plans if (found := _contents(store, plan.number)) is None or _note(found) != plan.note]


def _note(found: Mapping[str, Contents]) -> Mapping[str, Any]:
    return found[LABEL.name].note


def write_store(
    root: DataRoot,
    *,
    run: Runner,
    on_plan: Callable[[int], None] | None = None,
    on_tiles: Callable[[int], None] | None = None,
) -> StoreReport:
    """Write ``store.zarr``, or what has changed in it since the last time.

    Args:
        run: where files are written; each by one task.
        on_plan: called with the number of tiles that will be written.
        on_tiles: called with the number of tiles written, as they are written.

    Raises:
        UsageError: the extra ``store`` is not installed.
        DataError: no tile is usable, or a shard is damaged.
        DwplusError: another process writes the store, or the disk is full.
    """
    for package in ("zarr", "numcodecs.blosc", "google_crc32c"):
        need(package)
    store = root.store
    with _alone(store):
        remove_parts(store)
        plans = _plan(root)
        tiles = [entry for plan in plans for entry in plan.entries]
        stale = _stale(store, plans)
        if on_plan is not None:
            on_plan(sum(len(plan.entries) for plan in stale))
        facts = _facts(root, tiles)
        if not stale and _attributes(store) == {**facts.attributes, "complete": True}:
            return StoreReport(len(tiles), 0, 0)
        # Until all files fit the coordinates, the store says that it is not complete.
        _write_view(store, facts, complete=False)
        written = size = 0
        for _, (count, more) in run(WriteFiles(root), stale):
            written, size = written + count, size + more
            if on_tiles is not None:
                on_tiles(count)
        _remove_surplus(store, len(plans))
        _write_view(store, facts, complete=True)
    return StoreReport(len(tiles), written, size)


def _facts(root: DataRoot, entries: Sequence[Entry]) -> Facts:
    # Imports what readers do not need.
    from ..spec.licences import licence_of
    from .makers import makers_of, released_maker_of, terms_of

    rows = tuple(entry.row for entry in entries)
    ledger = root.ledger()
    sources = ", ".join(sorted({ledger[row.tile.id].source for row in rows}))
    recipes = ", ".join(sorted({ledger[row.tile.id].recipe for row in rows}))
    released, terms = released_maker_of(root, sources), terms_of(root, rows)
    makers = makers_of(rows, ledger, source=sources, released=released, terms=terms)
    dates = {name: [row.tile.date for row in rows if ledger[row.tile.id].source == name] for name in makers.pixels}
    added = root.added_pixels()
    licence = "; ".join(licence_of(name, of, labels=makers.labels, terms=terms) for name, of in dates.items())
    return Facts(
        rows,
        source=sources,
        recipe=recipes,
        licence=licence,
        shards_hash=root.content_hash(rows),
        classes=root.classes(),
        radars=() if added is None else added.radars,
    )


def _write_view(store: Path, facts: Facts, *, complete: bool) -> None:
    files = view_files(facts, complete=complete)
    # The root comes last: it is what says that everything is there.
    for name in sorted(files, key=lambda name: name == _ROOT):
        write_atomically(store / name, files[name])


def _attributes(store: Path) -> dict[str, Any]:
    try:
        return dict(read_json(store / _ROOT)["attributes"])
    except (DataError, KeyError, TypeError, ValueError):
        return {}


def _remove_surplus(store: Path, count: int) -> None:
    """Remove files of tiles that are no longer in the store."""
    for variable in VARIABLES:
        for path in (store / variable.name / "c").glob("*"):
            if path.name.isdigit() and int(path.name) >= count:
                shutil.rmtree(path)


@contextlib.contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Nobody else writes the store meanwhile."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        file = (store.parent / f".{store.name}{_LOCK}").open("ab")
    except OSError as error:
        raise cannot_write(store, error) from error
    with file:
        lock(file, held=f"another process is writing {store}; wait for it")
        yield


# --- reading ----------------------------------------------------------------------------------------------------------


class Store:
    """Tiles of a complete and fresh store; small enough to be sent to loader processes.

    Raises:
        DataError: there is no store, or it is not that of these tiles as they are now; says which.
        UsageError: the extra ``store`` is not installed.
    """

    def __init__(self, root: DataRoot, rows: Sequence[ManifestRow]) -> None:
        for package in ("numcodecs.blosc", "google_crc32c"):
            need(package)
        self.path = root.store
        if not self.path.is_dir():
            raise DataError(f"{self.path} does not exist; run 'dwplus normalise --store'")
        states = {entry.tile: entry.state for entry in entries_of(root, rows)}
        self.shape = rows[0].tile.shape
        self._spans: dict[tuple[str, int], NDArray[np.uint64]] = {}
        self._places: dict[str, tuple[int, int]] = {}
        for number in _numbers(self.path):
            found = _contents(self.path, number)
            if found is None or _note(found).get("dwplus") != _FORMAT or _note(found)["shape"] != list(self.shape):
                continue
            here = [
                (tile, place) for place, (tile, state) in enumerate(_note(found)["tiles"]) if states.get(tile) == state
            ]
            if here:
                self._places |= {tile: (number, place) for tile, place in here}
                self._spans |= {(name, number): contents.spans for name, contents in found.items()}
        if missing := [tile for tile in states if tile not in self._places]:
            raise DataError(
                f"{self.path} is incomplete or stale: it lacks {len(missing)} of {len(states)} tiles as they are now "
                f"({missing[0]} ...); run 'dwplus normalise --store'"
            )

    def read(self, tile: str, *choices: tuple[str, ...]) -> tuple[NDArray[np.uint8], tuple[NDArray[np.uint16], ...]]:
        """Label and bands of one tile.

        Args:
            choices: band names, one tuple per array that is wanted.

        Returns:
            uint8 (H, W), class index 0..8, 255 = ignored; and for each choice uint16 (bands, H, W), 0 = no data.

        Raises:
            DataError: a chunk is damaged.
        """
        wanted = [v for v in VARIABLES if v.bands and any(band in v.bands for choice in choices for band in choice)]
        values = {variable.name: self._values(tile, variable) for variable in wanted}
        return self._values(tile, LABEL), tuple(_gather(choice, values, self.shape) for choice in choices)

    def _values(self, tile: str, variable: Variable) -> NDArray[Any]:
        number, place = self._places[tile]
        path = _file(self.path, variable, number)
        try:
            chunk = read_chunk(
                path, self._spans[variable.name, number][place], variable.dtype, variable.size(self.shape)
            )
        except DataError as error:
            raise DataError(
                f"{path}: the chunk of tile {tile} is damaged ({error}); delete that file and run "
                "'dwplus normalise --store', or train from the shards"
            ) from None
        return chunk


@lru_cache(maxsize=64)
def _sources(choice: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """(variable, place in it) of each band."""
    return tuple(next((v.name, v.bands.index(band)) for v in VARIABLES if band in v.bands) for band in choice)


def _gather(
    choice: tuple[str, ...], values: Mapping[str, NDArray[np.uint16]], shape: tuple[int, int]
) -> NDArray[np.uint16]:
    """Selected bands in the given order; a view where one variable has them in that order, a copy otherwise."""
    sources = _sources(choice)
    if not sources:
        return np.empty((0, *shape), dtype=np.uint16)
    name, first = sources[0]
    if sources == tuple((name, first + i) for i in range(len(sources))):
        return values[name].reshape(-1, *shape)[first : first + len(sources)]
    return np.stack([values[name].reshape(-1, *shape)[place] for name, place in sources])
