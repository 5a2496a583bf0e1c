"""Inputs: which labels and pixels of users were added to a data root, from what, under which terms.

Written by ``own.add``; read by all who have to name the makers of labels. A list per kind of input: each command keeps
the lists of the others as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..files.records import read_record, write_record
from ..spec.licences import LabelTerms

INPUTS_FILE = "own/inputs.json"
INPUTS_VERSION = 1

_SHOWN = 3
"""Names of a note that are printed."""


@dataclass(frozen=True)
class Note:
    """Something that was done to a part of an input, with the reason.

    Attributes:
        reason: as text.
        count: of what it was done to.
        names: the first of them.
    """

    reason: str
    count: int
    names: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """``features without a class: 12 (17, 80, 211, ...)``."""
        shown = [*self.names[:_SHOWN], *(["..."] if len(self.names) > _SHOWN else [])]
        return f"{self.reason}: {self.count:,} ({', '.join(shown)})"


@dataclass(frozen=True)
class LabelInput:
    """A file of labels that was added.

    Attributes:
        key: sixteen hexadecimal digits that change with its content and with every option that decides its tiles.
        file: its name, with that of its folder.
        sha256: of its content.
        kind: ``polygons``, ``points`` or ``raster``.
        class_table: hash of the class table that it was read with.
        options: those that decide its tiles, by their names on the command line.
        period: day, or ``<first day>/<last day>``; empty where a column names it.
        split: that was named for the whole file; empty otherwise.
        annotator: who drew it; may be empty.
        licence, citation: as its user says; may be empty.
        features: class name -> features that were used; empty for rasters.
        area_m2: of the features that were used, on the ground of their UTM zones; 0 for rasters and points.
        tiles: tile id -> pixels of each code, 0..n + 1.
        left_out: what was dropped, and why.
        changed: what was mended or ignored, and why.
    """

    key: str
    file: str
    sha256: str
    kind: str
    class_table: str
    options: dict[str, str] = field(default_factory=dict)
    period: str = ""
    split: str = ""
    annotator: str = ""
    licence: str = ""
    citation: str = ""
    features: dict[str, int] = field(default_factory=dict)
    area_m2: float = 0.0
    tiles: dict[str, list[int]] = field(default_factory=dict)
    left_out: list[Note] = field(default_factory=list)
    changed: list[Note] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What was left out and changed, a line each."""
        return [*(f"left out: {note}" for note in self.left_out), *(f"changed: {note}" for note in self.changed)]

    @property
    def terms(self) -> LabelTerms:
        return LabelTerms(self.licence, self.citation)


@dataclass(frozen=True)
class Inputs:
    """Content of ``own/inputs.json``.

    Attributes:
        labels: in the order of their keys.
        refused: file -> why it could not be added, of files that were not added since.
        block_km: side of the blocks that splits are drawn by.
        pixels: of ``dwplus pixels add``; kept as they are.
    """

    version: int = INPUTS_VERSION
    labels: list[LabelInput] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    block_km: float = 10.0
    pixels: list[dict[str, Any]] = field(default_factory=list)

    def terms_of(self, keys: Iterable[str]) -> tuple[LabelTerms, ...]:
        """Terms of the inputs with these keys, each once, in a fixed order."""
        wanted = set(keys)
        return tuple(sorted({one.terms for one in self.labels if one.key in wanted}))


def read_inputs(folder: Path) -> Inputs:
    """What was added to a data root; nothing where it has no such record.

    Raises:
        DataError: the record cannot be read.
    """
    path = folder / INPUTS_FILE
    try:
        state = path.stat()
    except OSError:
        return Inputs()
    return _read(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=2)
def _read(path: Path, _size: int, _mtime_ns: int) -> Inputs:
    """The record as it is now: a build asks for each tile."""
    return read_record(path, Inputs, remedy="remove the data root, and add its labels and pixels again")


def write_inputs(folder: Path, inputs: Inputs) -> None:
    write_record(folder / INPUTS_FILE, inputs)
