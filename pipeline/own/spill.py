"""Pieces of features on disk, grouped by tile: a file of any size in the memory of one group.

Comes after ``placing`` and before ``burning``. The folder is temporary; what a kill leaves in it is removed by the next
command.
"""

from __future__ import annotations

import shutil
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import NamedTuple

import shapely

from ..files.atomic import cannot_write
from ..spec.periods import Period
from .grid import Zone, zone_of

_GROUPS = 256
"""Files; each holds whole tiles."""

_BUFFERED = 32 << 20
"""Bytes of pieces that are held before they are written."""

_HEAD = struct.Struct("<HiiiiBqI")


class Key(NamedTuple):
    """What makes a tile: its cell, the period of its labels, and the split that they were given."""

    zone: Zone
    column: int
    row: int
    period: Period
    split: str


@dataclass(frozen=True)
class Part:
    """The part of a feature on one tile.

    Attributes:
        feature: id in its file.
        code: of the class table.
        shape: in the CRS of the tile, metres.
    """

    feature: int
    code: int
    shape: shapely.Geometry


class Spill:
    """Pieces in files of a folder, in the order in which they were added.

    Use it in a ``with`` statement; the folder is removed at its end.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[int, list[bytes]] = defaultdict(list)
        self._size = 0
        self._splits: list[str] = []

    def __enter__(self) -> Spill:
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            self._folder.mkdir(parents=True)
        except OSError as error:
            raise cannot_write(self._folder, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, key: Key, part: Part) -> None:
        if key.split not in self._splits:
            self._splits.append(key.split)
        content = shapely.to_wkb(part.shape)
        days = (key.period.first.toordinal(), key.period.last.toordinal())
        where = (key.zone.epsg, key.column, key.row, *days)
        head = _HEAD.pack(*where, self._splits.index(key.split), part.feature * 256 + part.code, len(content))
        group = zlib.crc32(repr(where[:3]).encode()) % _GROUPS
        self._waiting[group] += [head, content]
        self._size += len(head) + len(content)
        if self._size > _BUFFERED:
            self._flush()

    def tiles(self) -> Iterator[tuple[Key, list[Part]]]:
        """Every tile with its parts; tiles of a group in the order of their keys."""
        self._flush()
        for group in range(_GROUPS):
            path = self._folder / str(group)
            if path.exists():
                yield from sorted(self._read(path).items(), key=lambda item: item[0])

    def _flush(self) -> None:
        for group, contents in sorted(self._waiting.items()):
            path = self._folder / str(group)
            try:
                with path.open("ab") as file:
                    file.write(b"".join(contents))
            except OSError as error:
                raise cannot_write(path, error) from error
        self._waiting.clear()
        self._size = 0

    def _read(self, path: Path) -> dict[Key, list[Part]]:
        content, at = path.read_bytes(), 0
        found: dict[Key, list[Part]] = defaultdict(list)
        while at < len(content):
            epsg, column, row, first, last, split, marked, size = _HEAD.unpack_from(content, at)
            at += _HEAD.size
            period = _period(first, last)
            key = Key(zone_of(epsg), column, row, period, self._splits[split])
            found[key].append(Part(marked // 256, marked % 256, shapely.from_wkb(content[at : at + size])))
            at += size
        return found


@cache
def _period(first: int, last: int) -> Period:
    return Period(date.fromordinal(first), date.fromordinal(last))
