"""Files below a folder: links to folders are followed, loops are cut, and what cannot be read is named."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Walk:
    """What lies below a folder.

    Attributes:
        files: with one of the endings, in the order of their paths.
        unusable: path -> why it cannot be used: a link to nothing, a folder that cannot be listed.
    """

    files: tuple[Path, ...]
    unusable: dict[Path, str]


def walk(folder: Path, endings: tuple[str, ...]) -> Walk:
    """Every file below a folder whose name has one of these endings, in any case of letters.

    A folder that is reached a second time on the way down (a link to one of its parents) is not entered again.
    """
    files: list[Path] = []
    unusable: dict[Path, str] = {}

    def enter(place: str, above: frozenset[tuple[int, int]]) -> None:
        try:
            state = os.stat(place)  # noqa: PTH116 - 24,000 tiles: a Path costs more than the question
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            unusable[Path(place)] = f"cannot be listed: {error.strerror}"
            return
        here = (state.st_dev, state.st_ino)
        if here in above:
            return
        for entry in entries:
            # Files and folders of other programs: .git, .ipynb_checkpoints, ._x.tif of macOS.
            if entry.name.startswith("."):
                continue
            wanted = entry.name.casefold().endswith(endings)
            try:
                if entry.is_dir():
                    enter(entry.path, above | {here})
                elif not wanted:
                    continue
                elif entry.is_file():
                    files.append(Path(entry.path))
                elif entry.is_symlink():
                    unusable[Path(entry.path)] = _dangling(entry.path)
                else:
                    unusable[Path(entry.path)] = "is no file that holds anything, but a pipe, a socket or a device"
            except OSError as error:
                unusable[Path(entry.path)] = _dangling(entry.path) if entry.is_symlink() else str(error.strerror)

    enter(str(folder), frozenset())
    return Walk(tuple(sorted(files)), unusable)


def _dangling(path: str) -> str:
    target = Path(path).readlink()
    return f"is a link to {target}, which does not exist; get its content first (git annex get, dvc pull)"
