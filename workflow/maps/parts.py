"""Finished rows of a map, in a folder beside it until it is complete; a stopped map resumes with those that lack.

Several machines may keep rows in one folder, each those of its own rows of windows.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...pipeline.errors import DwplusError, UsageError
from ...pipeline.files.atomic import write_atomically, write_json
from ..machines import Machine, at_work, one_at_a_time

_FORMAT = 2
"""Of the rows: those of another one are computed again."""


class Parts:
    """Values of finished rows by name: ``codes``, ``confidence``, ``outside`` and so on, uint8 (..., rows, W).

    Args:
        identity: of the map; rows of another one are deleted.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self._identity = path, f"{identity} {_FORMAT}"

    @contextmanager
    def locked(self, machine: Machine = Machine()) -> Iterator[None]:  # noqa: B008 - a frozen value
        """Have the folder to oneself, or share it with the other machines of one map.

        Rows of another run, image or options are deleted. One of several machines refuses them: they may be those of
        another machine that was given other options.
        """
        held = f"another command is making this map ({self.path}); wait for it"
        with at_work(self.path, machine, held=held):
            with one_at_a_time(self.path):
                self._claim(machine)
            yield

    @property
    def _mark(self) -> Path:
        return self.path / "identity.json"

    def _claimed(self) -> bool:
        """Whether the folder is there and holds rows of this map."""
        return self._mark.is_file() and self._mark.read_text(encoding="utf-8").strip() == f'"{self._identity}"'

    def _claim(self, machine: Machine) -> None:
        if self._claimed():
            return
        others = self._files()
        if others and not machine.alone:
            raise UsageError(
                f"{self.path} holds rows of another run, image (by its path, too) or options: give each machine the "
                "same ones, or remove that folder"
            )
        for path in others:
            path.unlink()
        write_json(self._mark, self._identity, option="-o")

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("rows-*.npz"))

    def starts(self) -> set[int]:
        """First row of each part that is kept: that of a row of windows."""
        return {int(path.stem.split("-")[1]) for path in self._files()}

    def keep(self, start: int, held: Mapping[str, NDArray[np.uint8]]) -> None:
        """Keep rows from ``start`` on.

        Raises:
            DwplusError: the folder is gone, or another map's by now: whoever asked for these rows has ended.
            MachineError: it cannot be written.
        """
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **held)
        name = f"rows-{start:08d}-{start + len(held['codes']):08d}.npz"
        gone = DwplusError(f"{self.path} is no longer the folder of this map's rows; run the command again")
        if not self.path.is_dir():
            raise gone
        # Nobody claims the folder between a look and a write.
        with one_at_a_time(self.path):
            if not self._claimed():
                raise gone
            write_atomically(self.path / name, content.getvalue(), option="-o")

    def each(self, name: str) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """First row and values of each part, from the top to the bottom."""
        for path in self._files():
            with np.load(path) as held:
                yield int(path.stem.split("-")[1]), held[name]

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
