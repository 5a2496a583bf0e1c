"""Whether the report would be another one: a hash of everything that it is made of, kept beside it.

``reproduce`` asks, so that a second look costs nothing; ``dwplus report`` writes the page in any case.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from ...pipeline.dataset.root import DataRoot
from ...pipeline.files.atomic import sha256_of, write_if_changed

MADE_OF_FILE = "made-of.txt"

_PACKAGE = Path(__file__).parents[2]
_PARTS = ("workflow", "model", "pipeline", "manifests")
_RECORDS = ("*.json", "*.jsonl", "*.toml", "*.parquet", "*.csv")
_OF_RUNS = ("*/*.json", "*/metrics.jsonl", "*/SHA256SUMS", "*/*.tiles.parquet")


def is_current(root: DataRoot) -> bool:
    """Whether the report was written from what the data root holds now, by this code, and is still the same file."""
    kept = root.report_page.with_name(MADE_OF_FILE)
    try:
        return kept.read_text(encoding="utf-8") == _text(root)
    except (OSError, UnicodeDecodeError):
        return False


def keep(root: DataRoot) -> None:
    """Record what the report was made of; call it right after the report was written."""
    write_if_changed(root.report_page.with_name(MADE_OF_FILE), _text(root).encode())


def _text(root: DataRoot) -> str:
    pages = [sha256_of(path.read_bytes()) for path in (root.report_page, root.report_page.with_name("verdicts.json"))]
    return f"{hash_of(root)} {' '.join(pages)}\n"


def hash_of(root: DataRoot) -> str:
    """Of code, machine, records, runs and scores; of shards and labels size and time alone."""
    digest = hashlib.sha256(f"{sys.version} {platform.machine()}\n".encode())
    for path in (*_code(), *_records(root)):
        digest.update(path.as_posix().encode() + b"\0" + _content(path) + b"\0")
    for path in _pixels(root):
        digest.update(_state(path))
    return digest.hexdigest()


def _code() -> Iterator[Path]:
    for part in _PARTS:
        yield from sorted(
            p for p in (_PACKAGE / part).rglob("*") if p.suffix in (".py", ".j2", ".css", ".toml", ".csv")
        )


def _records(root: DataRoot) -> Iterator[Path]:
    for pattern in _RECORDS:
        yield from sorted(path for path in root.folder.glob(pattern) if path.is_file())
    for pattern in _OF_RUNS:
        yield from sorted(root.runs.glob(pattern))
    yield from sorted(root.folder.glob("products/*/*.json*"))


def _pixels(root: DataRoot) -> Iterator[Path]:
    for folder in ("shards", "labels", "products"):
        yield from sorted((root.folder / folder).rglob("*.tif"))
    yield from sorted(root.runs.glob("*/*.safetensors"))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        return str(error.errno).encode()


def _state(path: Path) -> bytes:
    try:
        state = os.stat(path)  # noqa: PTH116 - of 24,000 tiles, a Path costs more than the question
    except OSError as error:
        return str(error.errno).encode()
    return f"{path}\0{state.st_size}\0{state.st_mtime_ns}\0".encode()
