"""Writes what lies beside a complete map. A map that lacks one of the files gets it when its command is run again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...pipeline.errors import MachineError
from ...pipeline.files.atomic import write_atomically
from ...pipeline.progress import Progress
from .item import item_of
from .record import MapRecord, read_map
from .style import style_of

Maker = Callable[[MapRecord], bytes]

MAKERS: dict[str, Maker] = {
    ".qml": lambda record: style_of(record.classes, record.sandbox, stamp=record.stamp),
    ".json": item_of,
}
"""Ending -> what makes the file, in order. Each carries the stamp of its map; the item lists the others."""


def describe(path: Path, *, progress: Progress) -> None:
    """Write the files beside a map, except those that say the same already.

    A file that was not made by this product is left alone, and said.

    Args:
        path: of the map, complete.

    Raises:
        DataError: the map cannot be read.
        MachineError: a file cannot be written.
    """
    record = read_map(path)
    for ending, make in MAKERS.items():
        target = record.beside(ending)
        held = _held(target)
        if held is not None and b"dwplus-map:" not in held:
            progress.say(f"{target} is there already and not of this program; it is left as it is")
        elif (made := make(record)) != held:
            write_atomically(target, made)


def _held(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MachineError(f"cannot read {path}: {error.strerror or error}; move it away") from None
