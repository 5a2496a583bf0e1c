"""Added pixels: the record of a data root whose pixels a user added from files (``own/pixels.json``).

It is to such a root what ``recipe.json`` is to one of Earth Engine: whose pixels they are, which sensors they are of,
how they were resampled, how Sentinel-1 was made, and which files were given. ``own.pixels`` writes it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..files.records import read_record, write_record
from ..spec.bands import Composite, Sensor, stored_bands
from ..spec.radar import Radar

ADDED_FILE = "own/pixels.json"

Resampling = Literal["bilinear", "nearest", "cubic", "average"]

PROCESSING = (
    "each band resampled to the label's grid by itself, in the unit of the file; Sentinel-2: added offset taken away, "
    "reflectance x 10,000 rounded, values below 1 stored as 1; Sentinel-1: stored as (dB + 100) x 100; 0 = no data"
)
"""What is done to added pixels besides what the record says."""


@dataclass(frozen=True)
class AddedFile:
    """One file, or one folder of band files, that was given.

    Attributes:
        name: without its folders.
        sha256: of its bytes; of several files, of their hashes in the order of their bands.
        sensor: what its bands are of.
        date: of the acquisition, ISO 8601.
        tiles: that took pixels from it, in this addition.
        dropped: why no tile took any; empty where one did.
    """

    name: str
    sha256: str
    sensor: str
    date: str
    tiles: int
    dropped: str = ""


@dataclass(frozen=True)
class AddedInput:
    """One addition (``dwplus pixels add``).

    Attributes:
        key: twelve hexadecimal digits that change with files and options.
        options: as they were said, by name.
        licence, citation: of the pixels, as their user says; may be empty.
        accepted: what was found to be wrong or to differ, and was accepted.
        files: that were used or dropped, in the order of their names.
    """

    key: str
    options: dict[str, str]
    licence: str
    citation: str
    accepted: tuple[str, ...]
    files: tuple[AddedFile, ...]


@dataclass(frozen=True)
class AddedPixels:
    """Content of ``own/pixels.json``.

    Attributes:
        source: ``user:<word>``.
        resampling: how pixels came to the grids of the tiles.
        sensors: that the data set has; tiles that lack one of them are not complete.
        radars: how Sentinel-1 was made, as declared; several only where that was accepted.
        inputs: additions, in their order.
        absent: bands of Sentinel-2 that files lack; no shard counts as having them.
        composite: what the files of Sentinel-2 are of several scenes, as declared; None: single scenes.
    """

    source: str
    resampling: Resampling
    sensors: tuple[Sensor, ...]
    radars: tuple[Radar, ...] = ()
    inputs: tuple[AddedInput, ...] = ()
    absent: tuple[str, ...] = ()
    composite: Composite | None = None

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits: what shards and ledger name as their recipe."""
        content = {"resampling": self.resampling, "processing": PROCESSING}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def has_s1(self) -> bool:
        return "S1" in self.sensors

    @property
    def stored(self) -> tuple[str, ...]:
        """Bands of its shards that hold something."""
        return stored_bands(self.has_s1, self.absent)

    @property
    def licences(self) -> tuple[str, ...]:
        """Licences of the pixels as their user says, each once."""
        return tuple(dict.fromkeys(one.licence for one in self.inputs if one.licence))

    @property
    def citations(self) -> tuple[str, ...]:
        """Works to be cited for the pixels, each once."""
        return tuple(dict.fromkeys(one.citation for one in self.inputs if one.citation))

    def with_input(self, added: AddedInput) -> AddedPixels:
        """The record with one addition more; one that was made before keeps its place."""
        others = tuple(added if one.key == added.key else one for one in self.inputs)
        return replace(self, inputs=others if added in others else (*others, added))


def read_added_pixels(folder: Path) -> AddedPixels | None:
    """The record of a data root; None where no pixels were added.

    Raises:
        DataError: it cannot be read.
    """
    path = folder / ADDED_FILE
    if not path.is_file():
        return None
    return read_record(path, AddedPixels, remedy="bring it back from a copy, or add the pixels again to a new folder")


def write_added_pixels(folder: Path, added: AddedPixels) -> None:
    write_record(folder / ADDED_FILE, added)
