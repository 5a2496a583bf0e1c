"""Checksums: what is believed is hashed when it is read for the first time, then trusted while it stays the same file.

``read_checked`` is for whole files whose SHA-256 is on record elsewhere (shards, labels, weights); ``sealed`` and
``unsealed`` are for JSON documents that carry their own.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from functools import cache
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from ..errors import DataError
from .remote import Place

_log = logging.getLogger(__name__)

SEAL = "checksum"
"""Key of a JSON document that holds the hash of the rest of it."""

_trusted: dict[str, tuple[int, int, int, str]] = {}
"""Path -> size, time of the last change, inode and hash of a file that this process has hashed."""


def read_checked(place: Place, content: bytes, sha256: str, *, remedy: str) -> bytes:
    """The content of a file, once it is known to be the one on record.

    A local file is hashed at its first read in each process, then trusted while its size, time of the last change and
    inode stay. A file at a URL is hashed at each read: the transfer takes far longer.

    Args:
        content: of the file, as it was read.
        sha256: on record; empty = not known (written by an earlier version), which is reported once.
        remedy: what to do where it is another file.

    Raises:
        DataError: it is another file.
    """
    if not sha256:
        _report_first(place)
        return content
    state = _state(place)
    if state is not None and _trusted.get(str(place)) == (*state, sha256):
        return content
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(f"{place} is not the file on record: sha256 {found[:12]} instead of {sha256[:12]}; {remedy}")
    if state is not None:
        _trusted[str(place)] = (*state, sha256)
    return content


def forget() -> None:
    """Trust no file any more: every one is hashed again when it is read next."""
    _trusted.clear()


def _state(place: Place) -> tuple[int, int, int] | None:
    if not isinstance(place, Path):
        return None
    try:
        state = place.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ino


def _report_first(place: Place) -> None:
    if not _reported:
        _reported.append(place)
        report_unchecked(f"{place} (and others like it)")


_reported: list[Place] = []


@cache
def report_unchecked(what: str) -> None:
    """Say once that something was written by a version that kept no checksums; loader processes do not repeat it."""
    if parent_process() is None:
        _log.warning("%s has no checksum (written by an earlier version): read unchecked", what)


# --- documents --------------------------------------------------------------------------------------------------------


def seal_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON document without its seal, whatever its spaces and the order of its keys."""
    rest = {key: value for key, value in document.items() if key != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON document with its own hash."""
    plain = json.loads(json.dumps(document))
    return {**plain, SEAL: seal_of(plain)}


def check_seal(document: Mapping[str, Any], path: Path, *, remedy: str) -> None:
    """Make sure that a JSON document is as it was written; one without a seal is reported once.

    Raises:
        DataError: it was changed since then.
    """
    if SEAL not in document:
        report_unchecked(str(path))
    elif document[SEAL] != seal_of(document):
        raise DataError(f"{path} was changed since dwplus wrote it (its checksum does not fit); {remedy}")
