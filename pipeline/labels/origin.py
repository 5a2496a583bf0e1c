"""What a manifest was made from: kept beside it, so that ``ingest`` knows when nothing has to be read again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from ... import manifests
from ..dataset.manifest import Manifest
from ..dataset.root import DataRoot
from ..errors import DataError
from ..files.atomic import sha256_of
from ..files.records import read_record, write_record
from ..files.walk import walk
from ..spec.test_tiles import is_test_tile

LabelOrigin = Literal["releases", "earth-engine"]


def stamp_of(path: Path, sha256: str) -> str:
    """Size, time of the last change, inode, and SHA-256 of a file: one with the same stamp need not be read again."""
    state = path.stat()
    return f"{state.st_size} {state.st_mtime_ns} {state.st_ino} {sha256}"


def folder_stamp(folder: Path) -> str:
    """Changes with names, sizes, times and inodes of the label tiles and lists below a folder."""
    total = hashlib.sha256()
    below = walk(folder, (".tif", ".tiff", ".csv", ".xlsx"))
    for path in below.files:
        state = os.stat(path)  # noqa: PTH116 - 24,000 of them: a Path costs more than the question
        total.update(f"{path} {state.st_size} {state.st_mtime_ns} {state.st_ino}\n".encode())
    for path, why in below.unusable.items():
        total.update(f"{path} {why}\n".encode())
    return total.hexdigest()


def split_of(tile_id: str) -> str:
    """Release of a tile by its name alone: ``test`` for the 409 tiles of the test release, else ``train``."""
    return "test" if is_test_tile(tile_id) else "train"


@dataclass(frozen=True)
class GivenFolder:
    """A folder of user-supplied label tiles, as it was when it was read.

    Attributes:
        stamp: see ``folder_stamp``.
        tiles: tile id -> SHA-256 of the label file that was chosen for it.
        bad: tile id -> why its label cannot be used.
        ignored: file -> why it is no label tile.
    """

    stamp: str
    tiles: Mapping[str, str]
    bad: Mapping[str, str] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)

    def describes(self, manifest: Manifest) -> bool:
        """Whether the manifest still holds the labels of this folder: another folder may have replaced them."""
        rows = {row.tile.id: row for row in manifest.rows}
        return all(
            tile_id in rows and (rows[tile_id].release != "inspect" or rows[tile_id].label_sha256 == sha256)
            for tile_id, sha256 in self.tiles.items()
        )


@dataclass(frozen=True)
class ManifestOrigin:
    """Content of ``manifest.origin.json``.

    Attributes:
        origin: where released labels came from.
        reading, making: hashes of the code that read the labels, and of that which made the manifest.
        manifest: SHA-256 of the manifest file.
        sources: name -> fingerprint.
        bad_labels: tile -> why its label cannot be used.
        given: user-supplied label tiles: file -> its state when it was read, see ``stamp_of``.
        folders: user-supplied folder -> what was read of it.
    """

    origin: str = ""
    reading: str = ""
    making: str = ""
    manifest: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    bad_labels: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, GivenFolder] = field(default_factory=dict)

    def reads_alike(self, origin: LabelOrigin) -> bool:
        """Whether rows of the manifest are what reading their labels again would give."""
        return bool(self.manifest) and (self.origin, self.reading) == (origin, reading_code())

    def is_up_to_date(self, origin: LabelOrigin, sources: Mapping[str, str]) -> bool:
        """Whether the manifest is what making it again, of these sources too, would give."""
        same = all(self.sources.get(name) == fingerprint for name, fingerprint in sources.items())
        return same and self.reads_alike(origin) and self.making == making_code()

    def with_sources(
        self, origin: LabelOrigin, splits: Sequence[str], sources: Mapping[str, str], bad_labels: Mapping[str, str]
    ) -> ManifestOrigin:
        """After these sources were read; those of an earlier call stay, unless labels came from elsewhere then."""
        before = self if self.reads_alike(origin) else ManifestOrigin()
        others = {tile_id: why for tile_id, why in before.bad_labels.items() if split_of(tile_id) not in splits}
        return ManifestOrigin(
            origin=origin,
            sources={**before.sources, **sources},
            bad_labels={**others, **bad_labels},
            given=self.given,
            folders=self.folders,
        )


READING = (
    *("..spec.classes", "..spec.test_tiles", "..spec.tiles"),
    *("..files.walk", "..raster.geotiff", "..raster.label_raster", "..earthengine.scene_choice"),
    *(".releases", ".metadata", ".index", ".supply", ".ingest"),
)
"""Modules that decide what a row of the manifest says. A change of any of them reads every label again: cheaper than a
version number to maintain by hand."""

MAKING = ("..spec.overlaps", "..spec.test_tiles", "..spec.tiles", "..dataset.manifest", ".splits")
_TABLES = ("test_409.csv", "regions.toml")
"""Modules and tables that decide which split a row belongs to, and which rows are discarded."""


def reading_code() -> str:
    """Changes with the code that reads labels."""
    return _hash_of(READING, ())


def making_code() -> str:
    """Changes with the code and the tables that make a manifest of rows."""
    return _hash_of(MAKING, _TABLES)


@cache
def _hash_of(modules: tuple[str, ...], tables: tuple[str, ...]) -> str:
    total = hashlib.sha256()
    for name in modules:
        total.update(source_file(name).read_bytes())
    for name in tables:
        total.update((files(manifests) / name).read_bytes())
    return total.hexdigest()[:12]


def source_file(module: str) -> Path:
    """The file of a module, named relative to this package. The module is found, not imported: ``ingest`` imports this.

    Raises:
        ModuleNotFoundError: there is no such module; the lists above have to follow when a file moves.
    """
    spec = find_spec(module, __package__)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{__name__} names {module}, which does not exist")
    return Path(spec.origin)


def _manifest_hash(root: DataRoot) -> str:
    path = root.manifest_file
    return sha256_of(path.read_bytes()) if path.is_file() else ""


def read_origin(root: DataRoot) -> ManifestOrigin:
    """What the manifest of a root was made from; an empty one where it does not say, or where it was made otherwise."""
    try:
        found = read_record(root.label_origin_file, ManifestOrigin, remedy="it is made again")
    except DataError:
        return ManifestOrigin()
    return found if found.manifest == _manifest_hash(root) else ManifestOrigin()


def write_origin(root: DataRoot, origin: ManifestOrigin, *, reading: str) -> None:
    """Keep what the manifest that was just written is made from; ``reading`` is the code that read its labels."""
    made = replace(origin, reading=reading, making=making_code(), manifest=_manifest_hash(root))
    write_record(root.label_origin_file, made)
