"""Findings: what validation found wrong, as a record on disk. ``validation`` writes it, every later stage reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError
from ..files.records import read_record, write_record
from .ledger import read_ledger

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something wrong with one tile or file.

    Attributes:
        tile: tile id, or the path of a file that belongs to no tile.
        rule: name of the rule.
        severity: an ``error`` keeps the tile out of statistics and training, a ``warning`` does not.
        message: what was found, as text.
    """

    tile: str
    rule: str
    severity: Severity
    message: str


FINDINGS_JSON = "findings.json"


FINDINGS_CSV = "findings.csv"


_BROKEN_FILE = frozenset({"readable", "hash"})
"""Rules whose findings say that the shard on disk is not the one that was exported: a build requests it again."""


_BROKEN_LABEL = frozenset({"label-readable", "label-hash", "label-dtype"})
"""Rules whose findings say that the label on disk is not the one that was written: ``labels index`` writes it again."""


_LOOK_AGAIN = _BROKEN_FILE | _BROKEN_LABEL
"""Rules about the bytes on disk, which may be other ones the next time although the ledger says the same."""


@dataclass(frozen=True)
class FindingsDocument:
    """Content of ``findings.json``.

    Attributes:
        findings: of the last validation, in the order of tiles and rules.
        validated: tile id -> hash of its shard and of its label, of every tile that was read.
        tiles: how many.
        waived: findings that were accepted, with the reason and the last day.
        audit: what the audit measured, see ``audit.numbers``.
    """

    findings: tuple[Finding, ...]
    validated: Mapping[str, str]
    tiles: int = 0
    waived: tuple[Mapping[str, str | None], ...] | None = None
    audit: Mapping[str, Any] | None = None


def write_findings(folder: Path, document: FindingsDocument) -> None:
    """Write ``findings.json``, with its own checksum."""
    content = {key: value for key, value in asdict(document).items() if value is not None}
    write_record(folder / FINDINGS_JSON, {"tiles": document.tiles, **content})


def read_findings(folder: Path) -> list[Finding]:
    """Findings of the last validation.

    Raises:
        DataError: the data set was not validated yet.
    """
    return list(read_document(folder).findings)


def validated_ids(folder: Path) -> set[str] | None:
    """Tiles that the findings on disk are about; None where there are none."""
    return set(read_document(folder).validated) if (folder / FINDINGS_JSON).is_file() else None


def validated_states(folder: Path) -> dict[str, str]:
    """Tile id -> what the last validation saw of it; without those whose bytes on disk were broken."""
    if not (folder / FINDINGS_JSON).is_file():
        return {}
    document = read_document(folder)
    broken = {finding.tile for finding in document.findings if finding.rule in _LOOK_AGAIN}
    return {tile: state for tile, state in document.validated.items() if tile not in broken}


def validated_tiles(folder: Path) -> dict[str, str]:
    """Tile id -> hash of its shard, of every tile that the last validation saw.

    Raises:
        DataError: the data set was not validated yet.
    """
    return {tile: state.split(" ")[0] for tile, state in read_document(folder).validated.items()}


def read_document(folder: Path) -> FindingsDocument:
    """What the last validation left.

    Raises:
        DataError: the data set was not validated yet, or the file was changed or is damaged.
    """
    path = folder / FINDINGS_JSON
    if not path.is_file():
        raise DataError(f"{folder} is not validated yet; run 'dwplus validate'")
    state = path.stat()
    return _read(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=2)
def _read(path: Path, _size: int, _mtime_ns: int) -> FindingsDocument:
    """The document in a file as it is now: one command looks at it several times."""
    return read_record(path, FindingsDocument, remedy="run 'dwplus validate' again")


def unreadable_tiles(folder: Path) -> frozenset[str]:
    """Tiles whose shard the last validation could not read, or found to be another file than the ledger says.

    None where there was no validation.
    """
    if not (folder / FINDINGS_JSON).is_file():
        return frozenset()
    seen, ledger = validated_tiles(folder), read_ledger(folder)
    broken = (f.tile for f in read_findings(folder) if f.rule in _BROKEN_FILE)
    # A shard that was written anew since then is another one.
    return frozenset(tile for tile in broken if tile in ledger and ledger[tile].sha256 == seen.get(tile))


def label_faults(folder: Path) -> frozenset[str]:
    """Tiles whose label the last validation found to be damaged or another file; none without a validation."""
    if not (folder / FINDINGS_JSON).is_file():
        return frozenset()
    return frozenset(finding.tile for finding in read_findings(folder) if finding.rule in _BROKEN_LABEL)


def bad_tiles(findings: Sequence[Finding]) -> frozenset[str]:
    """Ids of tiles with an error."""
    return frozenset(finding.tile for finding in findings if finding.severity == "error")
