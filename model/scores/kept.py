"""Scores on disk: ``scores.json``, and beside it the counts of every tile, which it names by their hash."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from ...pipeline.errors import DataError
from ..run_files import RunFiles
from ..runs import RunFolder
from .document import Scores, TilesFile, calibrated_name, tiles_name
from .tile_table import TileTable


def write_scores(folder: RunFolder, name: str, scores: Scores, table: TileTable) -> Scores:
    """Write both files, the counts of tiles first; the scores, which name them.

    Args:
        name: of the scores, as ``document.scores_name`` gives it.
    """
    named = replace(scores, tiles_file=write_counts(folder, tiles_name(name), table))
    folder.write_json(name, named.to_dict())
    return named


def read_scores(folder: RunFolder, name: str, *, how: str = "") -> Scores:
    """Scores of a run.

    Args:
        how: the command that writes them, for messages; the plain one unless said otherwise.

    Raises:
        DataError: they are missing, damaged, or of something else.
    """
    if not (folder.path / name).is_file():
        how = how or _plainly(folder)
        raise DataError(f"{folder.path.name} has no {name}: score it first with '{how}'")
    return Scores.from_dict(folder.read_json(name))


def read_calibrated(folder: RunFolder, plain: Scores) -> Scores | None:
    """Scores of the calibrated network that were written beside plain ones.

    None where there are none of the same weights, tiles and mask: those of an earlier scoring do not belong to these.

    Raises:
        DataError: they are damaged.
    """
    name = "" if plain.tiles_file is None else calibrated_name(plain.tiles_file.name)
    if not name or not (folder.path / name).is_file():
        return None
    found = read_scores(folder, name)
    same = (found.tiles_hash, found.weights_sha256, found.mask) == (plain.tiles_hash, plain.weights_sha256, plain.mask)
    return found if same else None


def read_table(folder: RunFolder, scores: Scores, *, how: str = "") -> TileTable:
    """The counts of tiles that scores were computed from.

    Args:
        how: as of ``read_scores``.

    Raises:
        DataError: scores of an earlier version have none; the file is missing, damaged, or of another scoring.
    """
    return read_counts(folder, scores.tiles_file, again=f"score it again with '{how or _plainly(folder)}'")


def _plainly(folder: RunFolder) -> str:
    return f"dwplus score runs/{folder.path.name}"


def write_counts(folder: RunFiles, name: str, table: TileTable) -> TilesFile:
    """Write counts of tiles under a name, and give what scores name them by."""
    folder.write(name, table.write)
    return TilesFile(name, _sha256_at(folder.path / name))


def read_counts(folder: RunFiles, file: TilesFile | None, *, again: str) -> TileTable:
    """The counts of tiles that scores name.

    Args:
        again: how to score once more, for messages.

    Raises:
        DataError: scores of an earlier version name none; the file is missing, damaged, or of another scoring.
    """
    if file is None:
        raise DataError(f"{folder.path.name} was scored by an earlier version, which kept no counts of tiles; {again}")
    path = folder.path / file.name
    if not path.is_file():
        raise DataError(f"{path} is missing; {again}")
    if _sha256_at(path) != file.sha256:
        raise DataError(f"{path} is not the file that the scores beside it were computed from; {again}")
    return TileTable.read(path)


def _sha256_at(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
