"""The label releases: what is published where, and how it is downloaded.

``acquire`` downloads and unpacks the requested files; ``index`` then finds the tiles. The published sizes and hashes
are in ``manifests/releases.toml``.
"""

from __future__ import annotations

import hashlib
import logging
import random
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ...manifests import load_toml
from ..errors import DataError, ServiceError, UsageError
from ..files.archives import MembersRecord, extract, members_path, read_members
from ..files.atomic import read_json, write_json
from ..files.downloads import DownloadRetries, Part, check_space, download
from ..files.remote import shown_url
from ..spec.tiles import Labeler

_log = logging.getLogger(__name__)

ReleaseSplit = Literal["train", "test", "inspect"]

Mirror = str | Callable[[], str]
"""Base URL that serves ``<release>/<file>`` in place of the publishers; a function is called when a file is fetched."""

OnBytes = Callable[[str, int, int | None], None]
"""Called with (file name, bytes so far, bytes in all or None) while a file arrives."""


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a label release.

    Attributes:
        release: name of its release, also the folder it is kept in.
        kind: ``labels`` (a zip archive of label tiles) or ``metadata`` (the workbook).
        labeler: who annotated its tiles.
        split: ``train`` or ``test``, as released; ``inspect`` for what is fetched on request alone and never built.
        size, md5: as the publisher states them; None where it does not.
        tiles: number of label tiles, about, as published or counted by users; only plans use it.
        about_bytes: size as users of the file report it; only disk space is planned with it.
        room_bytes: what its unpacked members, and the label tiles that are made from them, take about.
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
    tiles: int | None = None
    about_bytes: int | None = None
    room_bytes: int = 0
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


def find_release(name: str) -> Release:
    """The release of that name.

    Raises:
        UsageError: nothing is called that.
    """
    for release in releases():
        if release.name == name:
            return release
    raise UsageError(f"unknown label release {name!r}; choose one of {', '.join(r.name for r in releases())}")


def _silent(_name: str, _done: int, _total: int | None) -> None:
    pass


@dataclass(frozen=True)
class Acquired:
    """The result for one file of a release.

    Attributes:
        path: None where an optional file could not be downloaded. An archive whose members are complete may be deleted.
        sha256: of the file.
        members: files that it holds unpacked; 0 for a workbook.
        written: how many of them were written now.
    """

    file: ReleaseFile
    path: Path | None
    sha256: str = ""
    members: int = 0
    written: int = 0


def acquire(
    wanted: Sequence[Release],
    folder: Path,
    *,
    mirror: Mirror | None = None,
    splits: Sequence[str] = ("train", "test"),
    verify: bool = False,
    progress: OnBytes = _silent,
    retries: DownloadRetries | None = None,
) -> tuple[Acquired, ...]:
    """Download and unpack what the splits need of the releases; what is there already is left alone.

    Args:
        folder: gets ``<release>/<file>`` and, unpacked, ``<release>/<archive without ending>/``.
        mirror: base URL that serves ``<release>/<file>`` in place of the publishers.
        verify: hash all files and members that are there again, and mend what differs from the records.

    Raises:
        ServiceError: a publisher or the mirror cannot be reached.
        DataError: a file is not what was published, or an archive is unsafe or damaged.
        DwplusError: the disk has no room for all of it.
    """
    files = [file for release in wanted for file in release.files if file.split in splits]
    if mirror is None:
        _check_room(files, folder)
    return tuple(
        _acquire_file(file, folder, mirror=mirror, verify=verify, progress=progress, retries=retries) for file in files
    )


def _acquire_file(
    file: ReleaseFile,
    folder: Path,
    *,
    mirror: Mirror | None,
    verify: bool,
    progress: OnBytes,
    retries: DownloadRetries | None,
) -> Acquired:
    unpacked = unpacked_folder(file, folder)
    target = folder / file.release / file.name
    if not target.exists():
        record = _record_without_archive(file, folder, published=mirror is None, verify=verify)
        if record is not None:
            return Acquired(file, target, str(record.origin["sha256"]), members=len(record.members))
    path = fetch(file, folder, mirror=mirror, verify=verify, progress=progress, retries=retries)
    if path is None:
        return Acquired(file, None)
    if file.kind != "labels":
        return Acquired(file, path, _recorded_sha256(path))
    found = extract(path, unpacked, skip=file.skip, verify=verify)
    sha256 = str(found.record.origin["sha256"])
    return Acquired(file, path, sha256, members=len(found.record.members), written=found.written)


def unpacked_folder(file: ReleaseFile, folder: Path) -> Path:
    """Where the members of an archive lie: ``<release>/<archive without ending>`` below the folder of all releases."""
    return (folder / file.release / file.name).with_suffix("")


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _recorded_sha256(path: Path) -> str:
    """SHA-256 of a file as it was when it was downloaded; empty where its record does not say."""
    record = read_json(_record_path(path))
    return str(record.get("sha256", "")) if isinstance(record, dict) else ""


def _record_without_archive(file: ReleaseFile, folder: Path, *, published: bool, verify: bool) -> MembersRecord | None:
    """The record of an archive that was deleted after everything of it had been unpacked, if its members are there."""
    target, unpacked = folder / file.release / file.name, unpacked_folder(file, folder)
    record = read_members(unpacked) if file.kind == "labels" else None
    if record is None or record.skip != file.skip or not _record_path(target).exists():
        return None
    known = read_json(_record_path(target))
    if not isinstance(known, dict) or known.get("sha256") != record.origin.get("sha256"):
        return None
    if (published and _differs(known, file)) or (record.changed(unpacked) if verify else record.missing(unpacked)):
        return None
    return record


def _check_room(files: Sequence[ReleaseFile], folder: Path) -> None:
    """Look for room on the disk for all that is not there yet, before the first byte comes.

    Raises:
        DwplusError: there is not enough, as far as sizes are known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    needed = 0
    for file in files:
        target = folder / file.release / file.name
        if members_path(unpacked_folder(file, folder)).exists():
            continue
        needed += file.room_bytes
        if not target.exists():
            needed += max(0, (file.size or file.about_bytes or 0) - Part(target.with_name(target.name + ".part")).size)
    if needed:
        check_space(folder, needed, f"all of {', '.join(file.name for file in files)} with what is unpacked from it")


_FEW_RETRIES = DownloadRetries(attempts=3)
"""For files that nothing depends on: no build waits long for them."""


def fetch(
    file: ReleaseFile,
    folder: Path,
    *,
    mirror: Mirror | None = None,
    verify: bool = False,
    progress: OnBytes = _silent,
    retries: DownloadRetries | None = None,
    rng: random.Random | None = None,
) -> Path | None:
    """Download one file to ``folder/<release>/<name>``, resuming an earlier download of it.

    Size and hashes are recorded beside it in ``<name>.json``; a file that is there with its record, or was put there
    by the user and passes the checks, is not requested again. The published size and md5 are those of the publisher's
    file: a mirror may serve other files (length and archive format are still checked).

    Args:
        verify: hash a file that is there again, and compare with its record.

    Returns:
        Its path, or None where an optional file cannot be downloaded.

    Raises:
        ServiceError: the host cannot be reached or refuses.
        DataError: what arrived is not the published file; it is removed.
        DwplusError: the disk is full.
    """
    target = folder / file.release / file.name
    if target.exists():
        _accept(target, file, url=file.url, published=mirror is None)
        if verify:
            _verify(target)
        return target
    base = mirror() if callable(mirror) else mirror
    url = file.url if base is None else f"{base.rstrip('/')}/{file.release}/{file.name}"
    part = Part(target.with_name(target.name + ".part"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        download(
            url,
            part,
            expected_size=file.size if mirror is None else None,
            progress=lambda done, total: progress(file.name, done, total),
            retries=retries or (_FEW_RETRIES if file.optional else DownloadRetries()),
            rng=rng or random.Random(),
        )
        etag = part.record().get("etag")
        hashes = _check(part.path, file, published=mirror is None, where=shown_url(url))
        # A record of an archive that was deleted would contradict the file if this run were killed right here.
        _record_path(target).unlink(missing_ok=True)
        part.path.replace(target)
        part.record_path.unlink(missing_ok=True)
        _write_record(target, hashes, etag=etag, url=url)
    except (ServiceError, DataError) as error:
        if not file.optional:
            raise
        _log.warning("continuing without %s: %s", file.name, error)
        return None
    return target


def _accept(path: Path, file: ReleaseFile, *, url: str, published: bool) -> None:
    """Make sure that a complete file has its record, checking it where it has none yet."""
    record_path = _record_path(path)
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
    _write_record(path, hashes, etag=None, url=url)


def _write_record(path: Path, hashes: Mapping[str, str], *, etag: str | None, url: str) -> None:
    record = {"size": path.stat().st_size, **hashes, "etag": etag, "url": shown_url(url)}
    write_json(_record_path(path), record)


def _verify(path: Path) -> None:
    """Hash a file that has its record again.

    Raises:
        DataError: its bytes are not those that were recorded.
    """
    recorded, found = _recorded_sha256(path), _hashes(path)["sha256"]
    if recorded != found:
        raise DataError(
            f"{path} has sha256 {found}, recorded {recorded}: it was damaged or changed; remove it and its .json, and "
            "run again"
        )


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
