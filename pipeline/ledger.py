"""The ledger: what became of every tile, one JSON line per event, the last line of a tile counts.

Append-only with one writer at a time (an OS lock). A line that was torn by a kill is dropped when the ledger is opened
again; whatever it said is found again on disk or asked for again.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from .errors import DwplusError
from .files import write_atomically

LEDGER_FILE = "ledger.jsonl"
FAILURES_FILE = "failures.csv"

State = Literal["done", "discarded", "failed"]

REASONS: dict[str, str] = {
    "no_s1": "no Sentinel-1 scene (IW, VV and VH) within the window around the label's date",
    "no_s2": "the Sentinel-2 scene of the label's day is not in the collection, or has no pixel here",
    "test_overlap": "a training tile that is, or overlaps, a test tile",
    "bad_label": "the label raster cannot be used",
    "no_answer": "the service did not answer, retries used up",
}
"""Why a tile is not in the data set."""


@dataclass(frozen=True)
class LedgerRow:
    """What became of one tile.

    Attributes:
        state: ``done`` (its shard is complete), ``discarded`` (it can never be had; see ``reason``) or ``failed``
            (it could not be had this time; the next run asks again).
        reason: key of ``REASONS``; empty when done.
        detail: one sentence for a person.
        source: who answered.
        recipe: hash of the recipe.
        seconds: time spent on the tile, waits included.
        bytes, sha256: of the shard.
        grid: of the label that the pixels were asked for, as ``str(shards.Grid)``.
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
    bytes: int = 0
    sha256: str = ""
    grid: str = ""
    scene: str = ""
    rule: str = ""
    time: str = ""


def read_ledger(root: Path) -> dict[str, LedgerRow]:
    """The last row of every tile, by tile id; lines that cannot be read are left out."""
    path = root / LEDGER_FILE
    if not path.is_file():
        return {}
    rows = (_parse(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {row.tile: row for row in rows if row is not None}


def _parse(line: str) -> LedgerRow | None:
    known = {field.name for field in fields(LedgerRow)}
    try:
        return LedgerRow(**{key: value for key, value in json.loads(line).items() if key in known})
    except (ValueError, TypeError, AttributeError):
        return None


class Ledger:
    """The open ledger of a data root; use it in a ``with`` statement.

    Raises:
        DwplusError: another process has it open, or the folder cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / LEDGER_FILE

    def __enter__(self) -> Ledger:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise DwplusError(
                f"cannot write {self.path}: {error.strerror}; change the permissions or name another folder with --data"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise DwplusError(
                f"another build is writing in {self.root}; wait for it, or name another folder with --data"
            ) from error
        self._drop_torn_line()
        self.rows = read_ledger(self.root)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, row: LedgerRow) -> None:
        """Add one row; it is on disk when this returns."""
        stamped = {**asdict(row), "time": datetime.now(UTC).isoformat(timespec="seconds")}
        line = json.dumps({key: value for key, value in stamped.items() if value not in ("", 0)}) + "\n"
        try:
            # Unbuffered: a line that the disk refuses is not tried again when the file is closed.
            self._file.write(line.encode())
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DwplusError(f"cannot write {self.path}: {error.strerror}; free some space and run again") from error
        self.rows[row.tile] = row

    def _drop_torn_line(self) -> None:
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            os.truncate(self.path, whole)


def write_failures(root: Path, rows: Iterable[LedgerRow]) -> int:
    """Write ``failures.csv``: every tile that is not in the data set, with the reason; how many there are."""
    missing = sorted((r for r in rows if r.state != "done"), key=lambda r: (r.state, r.reason, r.tile))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["tile", "state", "reason", "detail"])
    writer.writerows([r.tile, r.state, r.reason, r.detail] for r in missing)
    write_atomically(root / FAILURES_FILE, text.getvalue().encode())
    return len(missing)


def count_states(rows: Mapping[str, LedgerRow]) -> dict[str, int]:
    """How many tiles are done, and how many are missing for each reason: ``{"done": 120, "no_s1": 3, ...}``."""
    counts: dict[str, int] = {}
    for row in rows.values():
        key = row.reason or row.state
        counts[key] = counts.get(key, 0) + 1
    return counts
