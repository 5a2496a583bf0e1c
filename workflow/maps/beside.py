"""Writes what lies beside a complete map. A map that lacks one of the files gets it when its command is run again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...pipeline.errors import MachineError
from ...pipeline.files.atomic import write_atomically
from ...pipeline.progress import Progress
from ..pages.map_page import map_page
from .item import item_of
from .overview import Looks
from .record import MapRecord, read_map
from .style import style_of

Maker = Callable[[MapRecord], bytes]

MAKERS: dict[str, Maker] = {
    ".qml": lambda record: style_of(record.classes, record.sandbox, stamp=record.stamp),
    ".json": item_of,
}
"""Ending -> what makes the file. Each carries the stamp of its map."""

PAGE = ".html"


def describe(path: Path, looks: Callable[[], Looks] = Looks, *, page: bool = True, progress: Progress) -> None:
    """Write the files beside a map, except those that say the same already.

    A file that was not made by this product is left alone, and said.

    Args:
        path: of the map, complete.
        looks: gives small pictures of the image; called where a page is made.
        page: also make the page.

    Raises:
        DataError: the map or its image cannot be read.
        MachineError: a file cannot be written.
    """
    record = read_map(path)
    target = record.beside(PAGE)
    held = _held(target) if page else None
    if page and _ours(target, held, progress) and (held is None or _mark(record) not in held):
        progress.say(f"writing {target}")
        write_atomically(target, map_page(record, looks()), option="-o")
    # The item lists the others, and comes last.
    for ending, make in MAKERS.items():
        target = record.beside(ending)
        held = _held(target)
        if _ours(target, held, progress) and (made := make(record)) != held:
            write_atomically(target, made, option="-o")


def _mark(record: MapRecord) -> bytes:
    """What a page of this map holds, with the layers that there are."""
    layers = [key for key in ("confidence", "outside") if record.beside(f".{key}.tif").is_file()]
    return f"<!-- {record.stamp} {' '.join(layers)} -->".encode()


def _ours(path: Path, held: bytes | None, progress: Progress) -> bool:
    if held is None or b"dwplus-map:" in held:
        return True
    progress.say(f"{path} is there already and not of this program; it is left as it is")
    return False


def _held(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MachineError(f"cannot read {path}: {error.strerror or error}; move it away") from None
