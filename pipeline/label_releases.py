"""The label releases: what is published where, and bringing it to disk.

``acquire`` downloads and unpacks what is wanted; ``labels`` then finds and reads the tiles. What a release promises
stands in ``manifests/releases.toml``.
"""

from __future__ import annotations

import hashlib
import logging
import random
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ..manifests import load_toml
from .archives import extract
from .downloads import Part, Patience, download, shown_url
from .errors import DataError, ServiceError
from .files import read_json, write_json
from .tiles import parse_tile_id

_log = logging.getLogger(__name__)

Labeler = Literal["expert", "non_expert", "consensus", "unknown"]
ReleaseSplit = Literal["train", "test", "inspect"]

Progress = Callable[[str, int, int | None], None]
"""Called with (file name, bytes so far, bytes in all or None) while a file arrives."""


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a label release.

    Attributes:
        release: name of its release, also the folder it is kept in.
        kind: ``labels`` (a zip archive of label tiles) or ``metadata`` (the workbook).
        labeler: who annotated its tiles.
        split: ``train`` or ``test``, as released.
        size, md5: as the publisher states them; None where it does not.
        optional: everything works without it.
        skip: patterns of member names that are not unpacked.
    """

    release: str
    name: str
    url: str
    kind: Literal["labels", "metadata"]
    split: ReleaseSplit
    labeler: Labeler = "unknown"
    size: int | None = None
    md5: str | None = None
    optional: bool = False
    skip: tuple[str, ...] = ()


@dataclass(frozen=True)
class Release:
    """One published set of label tiles, with its terms."""

    name: str
    title: str
    doi: str
    licence: str
    citation: str
    files: tuple[ReleaseFile, ...]


@cache
def releases() -> tuple[Release, ...]:
    """The releases of ``manifests/releases.toml``."""
    return tuple(_release(row) for row in load_toml("releases")["release"])


def _release(row: Mapping[str, Any]) -> Release:
    files = (ReleaseFile(row["name"], **{**file, "skip": tuple(file.get("skip", ()))}) for file in row["file"])
    return Release(row["name"], row["title"], row["doi"], row["licence"], row["citation"], tuple(files))


def _silent(_name: str, _done: int, _total: int | None) -> None:
    pass


def acquire(
    wanted: Sequence[Release],
    folder: Path,
    *,
    mirror: str | None = None,
    splits: Sequence[str] = ("train", "test"),
    progress: Progress = _silent,
    patience: Patience | None = None,
) -> Path:
    """Download and unpack what the splits need of the releases; what is there already is left alone.

    Args:
        folder: gets ``<release>/<file>`` and, unpacked, ``<release>/<archive without ending>/``.
        mirror: base URL that serves ``<release>/<file>`` in place of the publishers.

    Returns:
        The folder, for ``index`` and ``read_metadata``.

    Raises:
        ServiceError: a publisher or the mirror cannot be reached.
        DataError: a file is not what was published, or an archive is unsafe or damaged.
    """
    for file in (file for release in wanted for file in release.files if file.split in splits):
        path = fetch(file, folder, mirror=mirror, progress=progress, patience=patience)
        if path is not None and file.kind == "labels":
            extract(path, path.with_suffix(""), skip=file.skip)
    return folder


_SHORT_PATIENCE = Patience(attempts=3)
"""For files that nothing depends on: no build waits long for them."""


def fetch(
    file: ReleaseFile,
    folder: Path,
    *,
    mirror: str | None = None,
    progress: Progress = _silent,
    patience: Patience | None = None,
    rng: random.Random | None = None,
) -> Path | None:
    """Bring one file to ``folder/<release>/<name>``, going on from what an earlier run got of it.

    Size and hashes are recorded beside it in ``<name>.json``; a file that is there with its record, or was put there
    by hand and passes the checks, is not asked for again. The published size and md5 are those of the publisher's own
    file: a mirror answers for what it serves (length and archive format are still checked).

    Returns:
        Its path, or None where an optional file cannot be had.

    Raises:
        ServiceError: the host cannot be reached or refuses.
        DataError: what arrived is not the published file; it is removed.
        DwplusError: the disk is full.
    """
    target = folder / file.release / file.name
    if target.exists():
        _accept(target, file, url=file.url, published=mirror is None, etag=None)
        return target
    url = file.url if mirror is None else f"{mirror.rstrip('/')}/{file.release}/{file.name}"
    part = Part(target.with_name(target.name + ".part"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        download(
            url,
            part,
            expected_size=file.size if mirror is None else None,
            progress=lambda done, total: progress(file.name, done, total),
            patience=patience or (_SHORT_PATIENCE if file.optional else Patience()),
            rng=rng or random.Random(),
        )
        etag = part.record().get("etag")
        _check(part.path, file, published=mirror is None, where=shown_url(url))
        part.path.replace(target)
        part.record_path.unlink(missing_ok=True)
        _accept(target, file, url=url, published=mirror is None, etag=etag)
    except (ServiceError, DataError) as error:
        if not file.optional:
            raise
        _log.warning("going on without %s: %s", file.name, error)
        return None
    return target


def _accept(path: Path, file: ReleaseFile, *, url: str, published: bool, etag: str | None) -> None:
    """Make sure that a complete file has its record, checking it where it has none yet."""
    record_path = path.with_name(path.name + ".json")
    record = read_json(record_path) if record_path.exists() else None
    size = path.stat().st_size
    if isinstance(record, dict) and record.get("size") == size and not (published and _differs(record, file)):
        return
    if record is not None:
        raise DataError(
            f"{path} is not the file that was downloaded there ({size} bytes, "
            f"recorded {record.get('size') if isinstance(record, dict) else 'nothing'}, "
            f"published {file.size or 'size not known'}); remove it and its .json, and run again"
        )
    hashes = _check(path, file, published=published, where=str(path), remove=False)
    write_json(record_path, {"size": size, **hashes, "etag": etag, "url": shown_url(url)})


def _differs(record: Mapping[str, Any], file: ReleaseFile) -> bool:
    """Whether a recorded file contradicts what the publisher states (it may come from a mirror)."""
    return any(
        stated is not None and record.get(name) != stated for name, stated in (("size", file.size), ("md5", file.md5))
    )


def _check(path: Path, file: ReleaseFile, *, published: bool, where: str, remove: bool = True) -> dict[str, str]:
    """Hashes (``sha256``, ``md5``) of a downloaded file that is what it should be.

    Raises:
        DataError: it is not; a download is removed, so that the next run starts afresh.
    """
    hashes = _hashes(path)
    size = path.stat().st_size
    problem = None
    if published and file.size is not None and size != file.size:
        problem = f"has {size} bytes, the published file has {file.size}"
    elif published and file.md5 is not None and hashes["md5"] != file.md5:
        problem = f"has md5 {hashes['md5']}, the published file has {file.md5}"
    elif not zipfile.is_zipfile(path):  # an xlsx is a zip archive too
        problem = f"is not a {path.suffix if path.suffix != '.part' else Path(file.name).suffix} file"
    if problem is None:
        return hashes
    if remove:
        Part(path).discard()
    outcome = "it was removed; run again" if remove else "remove it and run again"
    raise DataError(f"{file.name} from {where} {problem}; {outcome}, or give label tiles with --labels DIR")


def _hashes(path: Path) -> dict[str, str]:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            md5.update(block)
    return {"sha256": sha256.hexdigest(), "md5": md5.hexdigest()}


TEST_PREFIX = "label_"
"""Names of test tiles begin with it."""

_DECIMAL_P = re.compile(r"(?<=\d)p(?=\d)")


def dw_id_of(stem: str) -> str:
    """Released name out of a file's stem: ``label_`` off, ``p`` between digits is the decimal point.

    Raises:
        DataError: it is the name of something else.
    """
    if stem.startswith("probs_"):
        raise DataError("probabilities of the Dynamic World model, not a label")
    if stem.startswith("."):
        raise DataError("hidden file, not a label")
    dw_id = _DECIMAL_P.sub(".", stem.removeprefix(TEST_PREFIX))
    try:
        parse_tile_id(dw_id)
    except DataError as error:
        raise DataError(f"not the name of a label tile: {error}") from None
    return dw_id
