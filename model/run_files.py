"""The files of a run: written whole or not at all, and compared with their hashes when they are read.

``SHA256SUMS`` names the hash of each file, as ``sha256sum`` does. ``runs`` says which files there are.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ..pipeline.errors import DataError, DwplusError, in_brief
from ..pipeline.files.atomic import cannot_write, read_json
from ..pipeline.files.checksums import report_unchecked
from ..pipeline.files.locks import lock_soon

SUMS = "SHA256SUMS"
CHECKPOINTS = "checkpoints"
PICTURES = "pictures"

_WRITING_TAKES_S = 600.0
"""Seconds after which a write is taken for stuck: the checkpoint of the largest network takes some, on a slow disk."""


@dataclass(frozen=True)
class RunFiles:
    """A folder of files whose hashes are on record; a file in a folder below it is called ``folder/name``."""

    path: Path

    def write_json(self, name: str, value: Any) -> None:
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
        self.write(name, lambda path: write_text(path, text))

    def read_json(self, name: str) -> Any:
        """A document of this run, checked against ``SHA256SUMS``.

        Raises:
            DataError: it is missing, damaged or was changed.
        """
        self.check(name)
        return read_json(self.path / name)

    def write(self, name: str, write: Callable[[Path], object]) -> None:
        """Write a file and its hash. Between the two, and after a kill there, both its hashes are on record."""
        with self.writing():
            path, sums = self.path / name, self.sums()

            def note(temporary: Path) -> None:
                sums[name] = (*sums.get(name, ())[-1:], _sha256_at(temporary))
                self._write_sums(sums)

            write_whole(path, write, before=note)
            sums[name] = sums[name][-1:]
            self._write_sums(self._of_files(sums))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Have the folder to oneself for the moment of a write: two commands that write at once share ``SHA256SUMS``.

        What killed writes left behind is removed.

        Raises:
            DwplusError: another process does not end its write, locks do not work here, or nothing can be written.
        """
        path = self.path / f".{SUMS}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        except OSError as error:
            raise cannot_write(path, error, option="--runs") from error
        with file:
            held = f"another command does not end its writing in {self.path}; end that command, then run this one again"
            lock_soon(file, held=held, within_s=_WRITING_TAKES_S, option="--runs")
            for left in (one for folder in ("", CHECKPOINTS, PICTURES) for one in (self.path / folder).glob(".*.tmp")):
                left.unlink(missing_ok=True)
            yield

    def prepare(self) -> None:
        """Make sure that files can be written here, before long work; removes what killed writes left behind.

        Raises:
            DwplusError: they cannot.
        """
        with self.writing():
            pass

    def _of_files(self, sums: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """The hashes of files that there are."""
        return {name: hashes for name, hashes in sums.items() if (self.path / name).is_file()}

    def sums(self) -> dict[str, tuple[str, ...]]:
        """Name -> SHA-256 on record; several where a write was interrupted. Empty for a run of an earlier version."""
        found: dict[str, tuple[str, ...]] = {}
        try:
            lines = (self.path / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return {}
        for line in lines:
            sha256, _, name = line.partition("  ")
            found[name] = (*found.get(name, ()), sha256)
        return found

    def _write_sums(self, sums: Mapping[str, tuple[str, ...]]) -> None:
        text = "".join(f"{one}  {name}\n" for name, hashes in sorted(sums.items()) for one in hashes)
        write_whole(self.path / SUMS, lambda path: write_text(path, text))

    def check(self, name: str) -> None:
        """Make sure that a file of this run is as it was written.

        Raises:
            DataError: it was changed or damaged since; names file and remedy.
        """
        path = self.path / name
        if not path.is_file():
            return
        recorded = self.sums().get(name)
        if recorded is None:
            report_unchecked(str(self.path))
            return
        # A write records the new hash before the file gets its name, and forgets the old one after. So a file that
        # another command wrote meanwhile changed its record too; only a record that stayed as it was speaks of it.
        while _sha256_at(path) not in recorded:
            before, recorded = recorded, self.sums().get(name, ())
            if recorded == before:
                raise DataError(f"{path} was changed or damaged since it was written ({SUMS}); {remedy(name)}")


def remedy(name: str) -> str:
    if name.startswith("scores"):
        return "score the run again with 'dwplus score'"
    if name.startswith(CHECKPOINTS):
        return "remove it to resume from the one before"
    return "bring it back from a copy, or train again under another --name"


def write_whole(
    path: Path, write: Callable[[Path], object], *, before: Callable[[Path], object] = lambda _: None
) -> None:
    """Write a file so that ``path`` holds all of it or does not change: temporary name, sync, rename.

    Args:
        before: called with the complete temporary file, before it gets its name.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # safetensors writes for the owner alone; others may read what they can list.
        temporary.chmod(0o666 & ~_umask())
        before(temporary)
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error, option="--runs") from error
    except (RuntimeError, SafetensorError) as error:  # a full disk: torch and safetensors raise their own
        raise DwplusError(
            f"cannot write {path}: {in_brief(error)}; free some space and start the same command again"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def weights_hash(path: Path) -> str:
    """SHA-256 of a file of weights: says which network a result is of."""
    return _sha256_at(path)


def _sha256_at(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
