"""Whether a page would be the same if it were made again: a second look costs nothing.

A page is the same where every file that it may be made from has the size and the time that it had, dwplus is the same,
and nobody changed the page itself.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ...pipeline.dataset.root import DataRoot
from ...pipeline.errors import DataError
from ...pipeline.files.atomic import read_json, sha256_of, write_json

RECORD = ".made-from.json"

_NOT_READ = frozenset({"report", "releases", "quarantine", "store.zarr", "checkpoints", "pictures", "__pycache__"})
"""Folders of a data root that no page reads."""

_CODE = (".py", ".j2", ".css", ".toml", ".json", ".csv")


@dataclass(frozen=True)
class Made:
    """What a page was made from.

    Attributes:
        inputs: ``inputs_of`` its data root.
        files: name -> SHA-256 of the page and what lies beside it.
        faults: run -> what could not be read of it.
    """

    inputs: str
    files: Mapping[str, str]
    faults: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, inputs: str, written: Sequence[Path], faults: Mapping[str, Sequence[str]]) -> Made:
        return cls(
            inputs,
            {path.name: sha256_of(path.read_bytes()) for path in written},
            {k: list(v) for k, v in faults.items()},
        )

    @classmethod
    def read(cls, page: Path) -> Made | None:
        """None where there is none, or it cannot be read: the page is made again."""
        try:
            document: Any = read_json(page.with_name(RECORD))
            found = cls(str(document["inputs"]), dict(document["files"]), dict(document["faults"]))
        except (DataError, OSError, KeyError, TypeError, ValueError):
            return None
        return found if all(isinstance(words, list) for words in found.faults.values()) else None

    def write(self, page: Path) -> Made:
        document = {"inputs": self.inputs, "files": dict(self.files), "faults": dict(self.faults)}
        write_json(page.with_name(RECORD), document)
        return self

    def holds(self, page: Path, inputs: str) -> bool:
        """Whether the page and what lies beside it are as they were made, from the same inputs."""
        if inputs != self.inputs or page.name not in self.files:
            return False
        try:
            return all(sha256_of(page.with_name(name).read_bytes()) == sha256 for name, sha256 in self.files.items())
        except OSError:
            return False


def inputs_of(root: DataRoot) -> str:
    """A hash of everything that a page of a data root depends on; of files their size and time, not their content."""
    folders = dict.fromkeys([root.folder, root.runs])
    # Waivers end on a day; an extra that was missing may have been installed.
    lines = [platform.python_version(), platform.machine(), str(date.today()), str(root.folder.resolve())]
    lines += [f"{folder} {_time(folder)}" for folder in sys.path if folder.endswith("-packages")]
    lines += [line for folder in folders for line in sorted(_files(folder, ""))]
    lines += sorted(line for line in _files(Path(__file__).parents[2], "") if line.split("\t")[0].endswith(_CODE))
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _time(folder: str) -> int:
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return 0


def _files(folder: Path, prefix: str) -> Iterator[str]:
    """A line for each file below a folder: path, size, time. Hidden ones are locks and halves of files."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _NOT_READ:
            continue
        if entry.is_dir():
            yield from _files(Path(entry.path), f"{prefix}{entry.name}/")
        else:
            found = entry.stat()
            yield f"{prefix}{entry.name}\t{found.st_size}\t{found.st_mtime_ns}"
