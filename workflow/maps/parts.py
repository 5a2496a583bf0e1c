"""Finished rows of a map, in a folder beside it until it is complete; a stopped map goes on from the last of them."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...pipeline.files.atomic import cannot_write, write_atomically, write_json
from ...pipeline.files.locks import lock

_FORMAT = 2
"""Of the rows: those of another one are computed again."""


class Parts:
    """Values of finished rows by name: ``codes``, ``confidence``, ``outside`` and so on, uint8 (..., rows, W).

    Args:
        identity: of the map; rows of another one are deleted.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self._identity = path, f"{identity} {_FORMAT}"

    def locked(self) -> _Lock:
        """Have the folder to oneself; rows of another run, image or options are deleted."""
        return _Lock(self.path, self._identity)

    def done(self) -> int:
        """The first row that is missing."""
        row = 0
        for path in sorted(self.path.glob("rows-*.npz")):
            start, stop = (int(number) for number in path.stem.split("-")[1:])
            if start != row:
                break
            row = stop
        return row

    def keep(self, start: int, held: Mapping[str, NDArray[np.uint8]]) -> None:
        """Keep rows from ``start`` on."""
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **held)
        name = f"rows-{start:08d}-{start + len(held['codes']):08d}.npz"
        write_atomically(self.path / name, content.getvalue())

    def each(self, name: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """First row and values of each part, from the top to the bottom."""
        for path in sorted(self.path.glob("rows-*.npz")):
            with np.load(path) as held:
                yield int(path.stem.split("-")[1]), held[name]

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class _Lock:
    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._identity = path, identity

    def __enter__(self) -> None:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            self._file = (self._path / "lock").open("w", encoding="utf-8")
        except OSError as error:
            raise cannot_write(self._path, error, option="-o") from None
        lock(self._file, held=f"another command is making this map ({self._path}); wait for it")
        mark = self._path / "identity.json"
        if not mark.is_file() or mark.read_text(encoding="utf-8").strip() != f'"{self._identity}"':
            for path in self._path.glob("rows-*.npz"):
                path.unlink()
            write_json(mark, self._identity)

    def __exit__(self, *_: object) -> None:
        self._file.close()
