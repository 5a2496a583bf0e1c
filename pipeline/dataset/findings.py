"""Findings: what validation found wrong, as a record on disk. ``validation`` writes it, every later stage reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError
from ..files.atomic import read_json
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


_LOOK_AGAIN = _BROKEN_FILE | {"label-readable"}
"""Rules about the bytes on disk, which may be other ones the next time although the ledger says the same."""


def read_findings(folder: Path) -> list[Finding]:
    """Findings of the last validation.

    Raises:
        DataError: the data set was not validated yet.
    """
    return [Finding(**finding) for finding in _read_document(folder)["findings"]]


def validated_ids(folder: Path) -> set[str] | None:
    """Tiles that the findings on disk are about; None where there are none."""
    return set(_read_document(folder)["validated"]) if (folder / FINDINGS_JSON).is_file() else None


def validated_states(folder: Path) -> dict[str, str]:
    """Tile id -> what the last validation saw of it; without those whose bytes on disk were broken."""
    if not (folder / FINDINGS_JSON).is_file():
        return {}
    broken = {finding.tile for finding in read_findings(folder) if finding.rule in _LOOK_AGAIN}
    return {tile: state for tile, state in _read_document(folder)["validated"].items() if tile not in broken}


def validated_tiles(folder: Path) -> dict[str, str]:
    """Tile id -> hash of its shard, of every tile that the last validation saw.

    Raises:
        DataError: the data set was not validated yet.
    """
    return {tile: state.split(" ")[0] for tile, state in _read_document(folder)["validated"].items()}


def _read_document(folder: Path) -> dict[str, Any]:
    path = folder / FINDINGS_JSON
    if not path.is_file():
        raise DataError(f"{folder} is not validated yet; run 'dwplus validate'")
    document = read_json(path)
    if not isinstance(document, dict) or not {"findings", "validated"} <= set(document):
        raise DataError(f"{path} holds no findings; run 'dwplus validate' again")
    return document


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


def bad_tiles(findings: Sequence[Finding]) -> frozenset[str]:
    """Ids of tiles with an error."""
    return frozenset(finding.tile for finding in findings if finding.severity == "error")
