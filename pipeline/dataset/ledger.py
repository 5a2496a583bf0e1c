"""The ledger: the status of every tile, one JSON line per event; the last line of a tile counts.

Append-only with one writer at a time (an OS lock). A line that was torn by a kill is dropped when the ledger is opened
again; what it recorded is found on disk or requested again. Each line ends in the CRC-32 of what it says: one that was
damaged later is reported, never believed.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import DwplusError, MachineError
from ..files.atomic import cannot_write, write_if_changed
from ..files.checksums import report_unchecked
from ..files.locks import lock

LEDGER_FILE = "ledger.jsonl"
FAILURES_FILE = "failures.csv"
DAMAGED_FILE = "ledger.damaged.jsonl"
"""Copies of lines that were damaged after they had been written."""

_log = logging.getLogger(__name__)

State = Literal["done", "discarded", "failed"]

REASONS: dict[str, str] = {
    "no_s1": "no Sentinel-1 scene (IW, VV and VH) within the window around the label's date",
    "no_s2": "the Sentinel-2 scene of the label's day is not in the collection, or has no pixel here",
    "no_clear_scene": "no Sentinel-2 scene of the label's period shows its marked pixels; --s2-window widens it",
    "test_overlap": "a training tile that is, or overlaps, a test tile",
    "split_border": "a training tile of own labels that touches or overlaps a val or test tile",
    "bad_label": "the label raster cannot be used",
    "no_pixels": "no file that was added holds pixels of it near its date",
    "bad_pixels": "the files that were added for it break a rule of validation, or cannot be read",
    "quarantined": "validation found an error in it; its shard is in quarantine/",
    "no_answer": "the service did not answer, retries used up",
    "refused": "the service refused the request; a retry gets the same answer until something changes",
    "too_heavy": "the service ran out of memory or time, also for parts of the tile",
    "bad_answer": "the service's answers did not match the request, retries used up",
}
"""Why a tile is not in the data set: the first nine discard it, the others are failures."""

FAILURES: frozenset[str] = frozenset({"no_answer", "refused", "too_heavy", "bad_answer"})
"""Reasons of failed tiles."""

ASKED_REASONS: frozenset[str] = FAILURES | {"no_s1", "no_s2", "no_clear_scene", "quarantined"}
"""Reasons that a retry may change; the others come from labels."""


@dataclass(frozen=True)
class LedgerRow:
    """The status of one tile.

    Attributes:
        state: ``done`` (its shard is complete), ``discarded`` (unavailable for good; see ``reason``) or ``failed``
            (not downloaded; the next run retries it).
        reason: key of ``REASONS``; empty when done.
        detail: one sentence for the user.
        source: where the pixels came from.
        recipe: hash of the recipe.
        seconds: time spent on the tile, waits included.
        attempts: how often the tile was requested, all runs together.
        requests: sent for it this time.
        refused: answers "too many requests" this time.
        received: bytes of pixels that arrived, before they are compressed.
        eecu_s: Earth Engine compute seconds as reported by the service; 0 = not measured.
        bytes, sha256: of the shard.
        grid: of the label that the pixels were requested on, as ``str(geotiff.grid_of(tile))``.
        scene, rule: ``system:index`` of the Sentinel-2 scene and how it was found.
        time: UTC, ISO 8601.
    """

    tile: str
    state: State
    reason: str = ""
    detail: str = ""
    source: str = ""
    recipe: str = ""
    seconds: float = 0.0
    attempts: int = 0
    requests: int = 0
    refused: int = 0
    received: int = 0
    eecu_s: float = 0.0
    bytes: int = 0
    sha256: str = ""
    grid: str = ""
    scene: str = ""
    rule: str = ""
    time: str = ""


_KINDS: dict[str, tuple[type, ...]] = {
    field.name: {"float": (int, float), "int": (int,)}.get(str(field.type), (str,)) for field in fields(LedgerRow)
}
"""What the values of a line have to be."""


def read_ledger(folder: Path) -> dict[str, LedgerRow]:
    """The last row of every tile, by tile id; damaged lines are left out, see ``damaged_lines``."""
    return {row.tile: row for row in read_events(folder)}


def read_events(folder: Path) -> tuple[LedgerRow, ...]:
    """All rows in the order in which they were written; damaged lines are left out, see ``damaged_lines``."""
    return _events_of(folder).rows


def damaged_lines(folder: Path) -> tuple[int, ...]:
    """Numbers (from 1) of lines that are not as they were written: what they said of their tile is lost.

    A last line without its end was torn by a kill, which is normal: it is not among them.
    """
    return _events_of(folder).damaged


@dataclass(frozen=True)
class _Events:
    """Content of a ledger: rows, and the numbers of damaged lines."""

    rows: tuple[LedgerRow, ...] = ()
    damaged: tuple[int, ...] = ()


def _events_of(folder: Path) -> _Events:
    path = folder / LEDGER_FILE
    try:
        state = path.stat()
    except OSError:
        return _Events()
    return _events(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=2)
def _events(path: Path, _size: int, _mtime_ns: int) -> _Events:
    """A ledger as it is now: one command looks at it several times."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MachineError(
            f"cannot read {path}: {error.strerror or error}; look at its permissions and at the disk, then run again"
        ) from None
    *lines, torn = content.split(b"\n")
    parsed = [(number, line, _parse(line)) for number, line in enumerate(lines, start=1)]
    rows = [row for _, _, row in parsed if row is not None]
    if torn and (last := _parse(torn)) is not None:
        rows.append(last)
    if any(row is not None and _CHECKSUM not in line for _, line, row in parsed):
        report_unchecked(str(path))
    return _Events(tuple(rows), tuple(number for number, line, row in parsed if row is None and line.strip()))


_CHECKSUM = b', "crc32": "'
"""How the checksum of a line begins; it stands at the end of the line and covers all before it."""


def encode_line(values: Mapping[str, Any]) -> bytes:
    """One line of the ledger, with the CRC-32 of what it says, without its end."""
    said = json.dumps(values)[:-1].encode()
    return said + _CHECKSUM + f'{zlib.crc32(said):08x}"}}'.encode()


def _parse(line: bytes) -> LedgerRow | None:
    """The row of a line; None where it is no row, holds something of another kind, or does not fit its checksum."""
    said, mark, checksum = line.rpartition(_CHECKSUM)
    if mark and checksum != f'{zlib.crc32(said):08x}"}}'.encode():
        return None
    try:
        values = {key: value for key, value in json.loads(line).items() if key in _KINDS}
        if not all(isinstance(value, _KINDS[key]) and value is not True for key, value in values.items()):
            return None
        if values.get("state") not in get_args(State):
            return None
        if "time" in values:
            datetime.fromisoformat(values["time"])
        return LedgerRow(**values)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


class Ledger:
    """The open ledger of a data root; use it in a ``with`` statement.

    Args:
        held: what to say where another process has it open; empty = as a build does.
        option: of the command line that names the folder, for the advice where it cannot be written.

    Raises:
        DwplusError: another process has it open, or the folder cannot be written.
    """

    def __init__(self, folder: Path, *, held: str = "", option: str = "--data") -> None:
        self.folder, self._option = folder, option
        self._held = held or f"another build is writing in {folder}; wait for it, or name another folder with {option}"
        self.path = folder / LEDGER_FILE

    def __enter__(self) -> Ledger:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise cannot_write(self.path, error, option=self._option) from error
        try:
            lock(self._file, held=self._held, option=self._option)
        except DwplusError:
            self._file.close()
            raise
        self._drop_torn_line()
        self._set_damaged_lines_aside()
        self.rows = read_ledger(self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, row: LedgerRow) -> LedgerRow:
        """Add one row; it is on disk when this returns. Gives it back with its time."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        stamped = {**asdict(row), "time": now}
        line = encode_line({key: value for key, value in stamped.items() if value not in ("", 0)}) + b"\n"
        try:
            # Unbuffered: a line that the disk refuses is not tried again when the file is closed.
            self._file.write(line)
            os.fsync(self._file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error, option=self._option) from error
        self.rows[row.tile] = LedgerRow(**stamped)
        return self.rows[row.tile]

    def _drop_torn_line(self) -> None:
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            os.truncate(self.path, whole)

    def _set_damaged_lines_aside(self) -> None:
        """Blank damaged lines in place, after a copy: the next build records shards whose line is lost again."""
        damaged = damaged_lines(self.folder)
        if not damaged:
            return
        lines = self.path.read_bytes().splitlines(keepends=True)
        with (self.folder / DAMAGED_FILE).open("ab") as aside:
            aside.write(b"".join(lines[number - 1] for number in damaged))
        with self.path.open("r+b") as file:
            for number in damaged:
                file.seek(sum(map(len, lines[: number - 1])))
                file.write(b" " * (len(lines[number - 1]) - 1))
        _log.warning(
            "%s: %d damaged lines were moved to %s; their tiles are found on disk or requested again",
            self.path,
            len(damaged),
            DAMAGED_FILE,
        )


def write_failures(folder: Path, rows: Iterable[LedgerRow]) -> int:
    """Write ``failures.csv``: every tile that is not in the data set, with the reason; how many there are."""
    missing = sorted((r for r in rows if r.state != "done"), key=lambda r: (r.state, r.reason, r.tile))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["tile", "state", "reason", "attempts", "detail"])
    writer.writerows([r.tile, r.state, r.reason, r.attempts, r.detail] for r in missing)
    write_if_changed(folder / FAILURES_FILE, text.getvalue().encode())
    return len(missing)


def count_states(rows: Mapping[str, LedgerRow]) -> dict[str, int]:
    """How many tiles are done, and how many are missing for each reason: ``{"done": 120, "no_s1": 3, ...}``."""
    counts: dict[str, int] = {}
    for row in rows.values():
        key = row.reason or row.state
        counts[key] = counts.get(key, 0) + 1
    return counts
