"""Label releases: download, unpack, index and read Dynamic World label tiles.

First stage of the flow: ``acquire`` brings the released archives to disk (or ``from_folder`` takes tiles given by
hand), ``index`` says which label tiles are there, ``read_label`` opens one, ``read_metadata`` says what the publisher
knows of them. The manifest comes next. Where files come from, and what a release promises of them, stands in
``manifests/releases.toml``.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import itertools
import logging
import os
import random
import re
import shutil
import stat
import time
import unicodedata
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from fnmatch import fnmatch
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import openpyxl
import pyproj
import requests
import urllib3
from numpy.typing import NDArray
from openpyxl.utils.exceptions import InvalidFileException
from rasterio import Env
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from ..manifests import load_csv, load_toml
from .errors import DataError, DwplusError, ServiceError, UsageError
from .files import PART_SUFFIX, read_json, sha256_of, write_json
from .landcover import RELEASED_CODES
from .tiles import RESOLUTION_M, TILE_SIZE_PX, Hemisphere, biome_names, parse_tile_id

_log = logging.getLogger(__name__)

Labeler = Literal["expert", "non_expert", "consensus", "unknown"]
ReleaseSplit = Literal["train", "test", "inspect"]

Progress = Callable[[str, int, int | None], None]
"""Called with (file name, bytes so far, bytes in all or None) while a file arrives."""

Metadata = dict[tuple[Labeler, str], dict[str, str]]
"""(labeler, dw_id) -> what the publisher says of that tile, by column name."""


# Releases ------------------------------------------------------------------------------------------------------------


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


# Download ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patience:
    """How long a download keeps trying.

    A request that runs into ``request_s`` is cut and continued by the next one. Attempts count from the last
    ``progress_bytes`` that arrived, so that a long download over a poor line ends only when nothing comes any more.
    """

    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0
    silence_s: float = 60.0
    request_s: float = 1800.0
    progress_bytes: int = 1 << 20


class _Interrupted(Exception):  # noqa: N818 - not an error yet: the next attempt may succeed
    """A transfer ended early in a way that may get better."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class _Part:
    """A file on its way: ``<name>.part``, with what its server said of it in ``<name>.part.json``."""

    path: Path

    @property
    def record_path(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def record(self) -> dict[str, Any]:
        """``etag``, ``last_modified`` and ``size`` of the file that the part belongs to; empty when not known."""
        try:
            found = read_json(self.record_path)
        except DataError:
            return {}
        return found if isinstance(found, dict) else {}

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.record_path.unlink(missing_ok=True)


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
    part = _Part(target.with_name(target.name + ".part"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(
            url,
            part,
            expected_size=file.size if mirror is None else None,
            progress=lambda done, total: progress(file.name, done, total),
            patience=patience or Patience(),
            rng=rng or random.Random(),
        )
        etag = part.record().get("etag")
        _check(part.path, file, published=mirror is None, where=_shown(url))
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
    write_json(record_path, {"size": size, **hashes, "etag": etag, "url": _shown(url)})


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
        _Part(path).discard()
    outcome = "it was removed; run again" if remove else "remove it and run again"
    raise DataError(f"{file.name} from {where} {problem}; {outcome}, or give label tiles with --labels DIR")


def _hashes(path: Path) -> dict[str, str]:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            md5.update(block)
    return {"sha256": sha256.hexdigest(), "md5": md5.hexdigest()}


def _download(
    url: str,
    part: _Part,
    *,
    expected_size: int | None,
    progress: Callable[[int, int | None], None],
    patience: Patience,
    rng: random.Random,
) -> None:
    """Fill a part file, as many requests as it takes."""
    furthest, failures = part.size, 0
    with requests.Session() as http:
        http.trust_env = not _is_loopback(url)  # a proxy cannot reach our own machine
        while True:
            try:
                return _receive(http, url, part, expected_size=expected_size, progress=progress, patience=patience)
            except _Interrupted as interruption:
                if part.size - furthest >= patience.progress_bytes:
                    failures = 0
                furthest = max(furthest, part.size)
                failures += 1
                if failures >= patience.attempts:
                    raise _unreachable(url, f"{interruption} ({failures} attempts)") from interruption
                _log.info("%s: %s; trying again", _shown(url), interruption)
                time.sleep(_wait_s(failures, interruption.retry_after_s, patience, rng))


def _wait_s(failures: int, retry_after_s: float | None, patience: Patience, rng: random.Random) -> float:
    """Seconds until the next attempt: doubling with jitter, or what the server asks for, never beyond the longest."""
    backoff = patience.first_wait_s * 2.0 ** (failures - 1) * rng.uniform(0.5, 1.0)
    return min(max(backoff, retry_after_s or 0.0), patience.longest_wait_s)


def _receive(
    http: requests.Session,
    url: str,
    part: _Part,
    *,
    expected_size: int | None,
    progress: Callable[[int, int | None], None],
    patience: Patience,
) -> None:
    """One request that goes on where the part ends; returns when the file is complete.

    Raises:
        _Interrupted: it ended early, another request may go on.
        ServiceError: the server says no.
        DataError: the server has a file of another size than was published.
        DwplusError: the disk is full.
    """
    ends_at = time.monotonic() + patience.request_s
    try:
        response = http.get(
            url, headers=_range_headers(part), stream=True, timeout=(min(30.0, patience.silence_s), patience.silence_s)
        )
    except requests.RequestException as error:
        raise _Interrupted(_reason(error)) from error
    with response:
        start, total = _interpret(response, url, part)
        if expected_size is not None and total is not None and total != expected_size:
            part.discard()
            raise DataError(
                f"{_shown(url)} has {total} bytes, the published file has {expected_size}; "
                "give label tiles with --labels DIR"
            )
        if start == total:
            return
        _check_space(part.path.parent, None if total is None else total - start, _shown(url))
        said = {"etag": response.headers.get("ETag"), "last_modified": response.headers.get("Last-Modified")}
        write_json(part.record_path, {**said, "size": total})
        blocks = _blocks(response, patience=patience, ends_at=ends_at)
        done = _store(blocks, part.path, start=start, report=lambda done: progress(done, total))
    if total is not None and done != total:
        raise _Interrupted(f"ended after {done} of {total} bytes")


def _store(blocks: Iterator[bytes], path: Path, *, start: int, report: Callable[[int], None]) -> int:
    """Append blocks to a file (0: write it anew); its size afterwards."""
    done = start
    try:
        with path.open("ab" if start else "wb") as file:
            for block in blocks:
                file.write(block)
                done += len(block)
                report(done)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DwplusError(f"cannot write {path}: {error.strerror or error}; free some space and run again") from error
    return done


def _range_headers(part: _Part) -> dict[str, str]:
    """Ask for the rest of a part whose origin is known, for everything otherwise."""
    headers = {"Accept-Encoding": "identity"}
    record = part.record()
    if not part.size or not record:
        part.discard()
        return headers
    headers["Range"] = f"bytes={part.size}-"
    etag = record.get("etag")
    validator = etag if etag and not etag.startswith("W/") else record.get("last_modified")
    if validator:
        headers["If-Range"] = validator
    return headers


_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)$")
_MAY_GET_BETTER = frozenset({408, 425, 429, 500, 502, 503, 504})


def _interpret(response: requests.Response, url: str, part: _Part) -> tuple[int, int | None]:
    """(offset at which the body of an answer starts, bytes of the whole file if known)."""
    status = response.status_code
    if status == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    if status in _MAY_GET_BETTER:
        raise _Interrupted(f"answers HTTP {status}", _retry_after_s(response.headers.get("Retry-After")))
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    if status in (206, 416) and match is not None:
        start, total = int(match[1] or part.size), int(match[2])
        if start == part.size and (start == total if status == 416 else part.record().get("size") in (None, total)):
            return start, total
    if status in (206, 416):
        part.discard()
        raise _Interrupted("the file has changed since the download began")
    raise _unreachable(url, f"answers HTTP {status}")


def _retry_after_s(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, when.timestamp() - time.time())


def _blocks(response: requests.Response, *, patience: Patience, ends_at: float) -> Iterator[bytes]:
    """The body as it comes: ``read1`` hands over what has arrived, so that a trickle cannot outlive the deadline."""
    read = getattr(response.raw, "read1", response.raw.read)
    while True:
        try:
            block = read(1 << 18)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _Interrupted(_reason(error)) from error
        if not block:
            return
        yield block
        if time.monotonic() > ends_at:
            raise _Interrupted(f"not complete within {patience.request_s:g} s")


def _reason(error: BaseException) -> str:
    """The innermost cause, without the wrapping of two HTTP libraries."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return f"{type(error).__name__}: {error}"


def _unreachable(url: str, reason: str) -> ServiceError:
    host = urlsplit(url).hostname or url
    return ServiceError(
        f"cannot get {_shown(url)}: {host} {reason}; run again later, or give label tiles that you have with "
        "--labels DIR"
    )


def _shown(url: str) -> str:
    """A URL without user, password and query, fit for records and messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in ("localhost", "127.0.0.1", "::1")


def _check_space(folder: Path, needed: int | None, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed is not None and needed > free:
        raise DwplusError(
            f"{what} needs {needed / 1e9:.2f} GB in {folder}, {free / 1e9:.2f} GB are free; free some space or name "
            "another folder with --data"
        )


# Unpack --------------------------------------------------------------------------------------------------------------

_LARGEST_MEMBER = 256 << 20
"""Bytes: a label tile has 0.3 MB unpacked, the largest published member (a probability raster) 9.4 MB."""

_LARGEST_TOTAL = 64 << 30
"""Bytes: the published archives unpack to 0.2-4.5 GB."""


def extract(archive: Path, folder: Path, *, skip: Sequence[str] = ()) -> int:
    """Unpack an archive safely; members that are there already, byte for byte (size and CRC-32), stay as they are.

    Args:
        skip: patterns of names (last component) that are left out.

    Returns:
        How many files were written.

    Raises:
        DataError: not a zip archive, damaged, or with a member that has no business there (outside the folder, a
            link, twice the same, absurdly large); nothing is written unless all names are fit.
        DwplusError: the disk is full.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {
                path: info
                for path, info in safe_members(opened.infolist(), archive.name).items()
                if not any(fnmatch(path.name, pattern) for pattern in skip)
            }
            missing = {path: info for path, info in members.items() if not _is_unpacked(folder / path, info)}
            folder.mkdir(parents=True, exist_ok=True)
            _check_space(folder, sum(info.file_size for info in missing.values()), archive.name)
            for path, info in missing.items():
                _unpack(opened, info, folder / path)
            return len(missing)
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive} is not a sound zip archive: {error}; remove it and run again") from error
    except OSError as error:
        raise DwplusError(f"cannot unpack {archive}: {error}") from error


def safe_members(infos: Sequence[zipfile.ZipInfo], archive_name: str) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Where each file of an archive goes, relative to the folder it is unpacked in.

    Raises:
        DataError: a member is not fit to be unpacked; names it.
    """
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
    seen: dict[str, str] = {}
    total = 0
    for info in infos:
        problem = _problem(info)
        path = PurePosixPath(unicodedata.normalize("NFC", info.filename.replace("\\", "/")))
        total += info.file_size
        if problem is None and total > _LARGEST_TOTAL:
            problem = f"takes the archive beyond {_LARGEST_TOTAL >> 30} GiB unpacked"
        if problem is None and not info.is_dir():
            # Compared without case: two such names are one file on many disks.
            twin = seen.setdefault(str(path).casefold(), info.filename)
            if twin is not info.filename:
                problem = f"goes to the same place as {twin!r}"
            found[path] = info
        if problem is not None:
            raise DataError(f"{archive_name}: member {info.orig_filename!r} {problem}; nothing was unpacked")
    for path, info in found.items():
        if any(str(parent).casefold() in seen for parent in path.parents):
            raise DataError(f"{archive_name}: member {info.filename!r} lies inside a file; nothing was unpacked")
    return found


def _problem(info: zipfile.ZipInfo) -> str | None:
    """What makes a single member unfit, or None."""
    parts = info.orig_filename.replace("\\", "/").split("/")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if parts[0] == "" or ":" in parts[0]:
        return "has an absolute path"
    if ".." in parts or "\0" in info.orig_filename:
        return "leads out of the folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device, not a file"
    if info.flag_bits & 1:
        return "is encrypted"
    if info.file_size > _LARGEST_MEMBER:
        return f"has {info.file_size} bytes unpacked, more than any label tile"
    return None


def _is_unpacked(path: Path, info: zipfile.ZipInfo) -> bool:
    if not path.is_file() or path.stat().st_size != info.file_size:
        return False
    return zlib.crc32(path.read_bytes()) == info.CRC


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    """Write one member under a temporary name and rename it.

    Not synced: for 24,000 small files that takes minutes, and the CRC of each is looked at again by the next run.
    """
    try:
        content = archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{archive.filename}: member {info.filename!r} is damaged ({error}); remove the archive and run again"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}{PART_SUFFIX}")
    part.write_bytes(content)
    part.replace(path)


# Index ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelFile:
    """One label tile on disk, as far as its place and name tell.

    Attributes:
        dw_id: released name, ``dw_<lon>_<lat>-<YYYYMMDD>``; together with ``labeler`` the key of a label.
        hemisphere: the released folder ``EH`` or ``WH``; without one, see ``hemisphere_of``.
        biome: the released folder 1..14; without one, from the metadata or the list of test tiles; 0 = not known.
        split: ``train`` or ``test`` as released, ``inspect`` for tiles given by hand.
        band: name of the band that holds the label, None where the file has one band only.
    """

    dw_id: str
    labeler: Labeler
    path: Path
    hemisphere: Hemisphere
    biome: int
    split: ReleaseSplit
    band: str | None = None


@dataclass(frozen=True)
class Ignored:
    """A TIFF that is no label tile, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Survey:
    """Every TIFF below a folder: label tiles in the order (labeler, dw_id), and the others."""

    labels: tuple[LabelFile, ...]
    ignored: tuple[Ignored, ...]


_LABELER_OF_FOLDER: dict[str, Labeler] = {
    "experts": "expert",
    "expert": "expert",
    "experts_tiles": "expert",
    "non_expert": "non_expert",
    "non_experts": "non_expert",
    "non_expert_tiles": "non_expert",
    "workforce": "non_expert",
    "dw_test": "consensus",
    "consensus": "consensus",
}
_SPLIT_OF_LABELER: dict[Labeler, ReleaseSplit] = {
    "expert": "train",
    "non_expert": "train",
    "consensus": "test",
    "unknown": "inspect",
}
_TEST_PREFIX = "label_"
_LABEL_BAND = "lulc"
"""Consensus of the experts in a test tile. Its other band, ``label``, is the answer of the Dynamic World *model*."""

_DECIMAL_P = re.compile(r"(?<=\d)p(?=\d)")
_WEST_OF_LON = -20.0


def index(folder: Path, *, metadata: Metadata | None = None) -> list[LabelFile]:
    """The label tiles below a folder, in the order (labeler, dw_id); ``survey`` also says what was left out."""
    return list(survey(folder, metadata=metadata).labels)


def survey(folder: Path, *, metadata: Metadata | None = None) -> Survey:
    """Sort every TIFF below a folder into label tiles and the rest, by place and name alone.

    Args:
        metadata: as ``read_metadata`` gives it; tells the biome of tiles that lie in no biome folder.
    """
    labels: dict[tuple[str, str], LabelFile] = {}
    ignored: list[Ignored] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.casefold() in (".tif", ".tiff") and p.is_file()):
        try:
            label = _label_file(path, folder, metadata or {})
        except DataError as error:
            ignored.append(Ignored(path, str(error)))
            continue
        first = labels.setdefault((label.labeler, label.dw_id), label)
        if first is not label:
            ignored.append(Ignored(path, f"same tile of the same labeler as {first.path}"))
    return Survey(tuple(labels[key] for key in sorted(labels)), tuple(ignored))


def from_folder(folder: Path) -> list[LabelFile]:
    """Label tiles given by hand (``--labels DIR``): split ``inspect``, whatever they are in their release.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds no label tile; says what it holds.
    """
    if not folder.is_dir():
        raise UsageError(f"--labels {folder}: no such folder; name one that holds label tiles (dw_....tif)")
    found = survey(folder, metadata=read_metadata(folder))
    if not found.labels:
        examples = "".join(f"; {i.path.name}: {i.reason}" for i in found.ignored[:3])
        raise DataError(
            f"--labels {folder}: no Dynamic World label tile in it (names look like "
            f"dw_-2.7415152153_5.6549699454-20181226.tif), {len(found.ignored)} other TIFF files{examples}"
        )
    return [replace(label, split="inspect") for label in found.labels]


def _label_file(path: Path, folder: Path, metadata: Metadata) -> LabelFile:
    dw_id = _dw_id(path.stem)
    labeler = _labeler_of(path, folder)
    known = metadata.get((labeler, dw_id), {})
    hemisphere, biome = _place(path)
    return LabelFile(
        dw_id=dw_id,
        labeler=labeler,
        path=path,
        hemisphere=hemisphere or hemisphere_of(parse_tile_id(dw_id).lon),
        biome=biome or _biome_number(known) or _biomes_of_test_tiles().get(dw_id, 0),
        split=_SPLIT_OF_LABELER[labeler],
        band=_LABEL_BAND if path.name.startswith(_TEST_PREFIX) else None,
    )


def _dw_id(stem: str) -> str:
    """Released name out of a file's stem: ``label_`` off, ``p`` between digits is the decimal point.

    Raises:
        DataError: it is the name of something else.
    """
    if stem.startswith("probs_"):
        raise DataError("probabilities of the Dynamic World model, not a label")
    if stem.startswith("."):
        raise DataError("hidden file, not a label")
    dw_id = _DECIMAL_P.sub(".", stem.removeprefix(_TEST_PREFIX))
    try:
        parse_tile_id(dw_id)
    except DataError as error:
        raise DataError(f"not the name of a label tile: {error}") from None
    return dw_id


def _labeler_of(path: Path, folder: Path) -> Labeler:
    """Who annotated a tile: the innermost folder that says so, else the prefix of test tiles."""
    places = (*reversed(path.relative_to(folder).parts[:-1]), folder.name)
    named = (_LABELER_OF_FOLDER.get(place.casefold().replace("-", "_")) for place in places)
    fallback: Labeler = "consensus" if path.name.startswith(_TEST_PREFIX) else "unknown"
    return next((labeler for labeler in named if labeler is not None), fallback)


def _place(path: Path) -> tuple[Hemisphere | None, int | None]:
    """Hemisphere and biome of ``.../{EH,WH}/{1..14}/<file>``."""
    hemisphere, biome = path.parent.parent.name, path.parent.name
    if not (biome.isdecimal() and int(biome) in biome_names()):
        return None, None
    if hemisphere == "EH":
        return "EH", int(biome)
    return ("WH", int(biome)) if hemisphere == "WH" else (None, None)


def hemisphere_of(lon: float) -> Hemisphere:
    """Folder of a tile that lies in none: ``WH`` west of 20W, ``EH`` from there on.

    Brown et al. 2022 draw the line between the Western Hemisphere and Eastern Hemisphere 1 at 20W, not at Greenwich,
    and all 409 test tiles keep to it.
    """
    return "WH" if lon < _WEST_OF_LON else "EH"


def _biome_number(known: Mapping[str, str]) -> int:
    number = known.get("biome", "")
    return int(number) if number.isdecimal() and int(number) in biome_names() else 0


@cache
def _biomes_of_test_tiles() -> dict[str, int]:
    numbers = {name: number for number, name in biome_names().items()}
    return {row["dw_id"]: numbers.get(row["BIOME_NAME"], 0) for row in load_csv("test_409")}


# Read ----------------------------------------------------------------------------------------------------------------

_TEST_SIZE_PX = 512
_LARGEST_LABEL_FILE = 64 << 20
"""Bytes: a released tile has at most 0.6 MB; anything far larger is something else and is not read into memory."""


@dataclass(frozen=True)
class LabelRaster:
    """Pixels and grid of one label tile.

    Attributes:
        codes: uint8 (510, 510), released codes 0..10 (0 unmarked, 10 cloud).
        crs: ``EPSG:326zz`` or ``EPSG:327zz``.
        transform: (a, b, c, d, e, f) of pixel corners, metres: x = a col + b row + c, y = d col + e row + f.
        sha256: of the file.
    """

    codes: NDArray[np.uint8]
    crs: str
    transform: tuple[float, float, float, float, float, float]
    sha256: str

    @property
    def shape(self) -> tuple[int, int]:
        return self.codes.shape[0], self.codes.shape[1]


def read_label(path: Path) -> LabelRaster:
    """Open a label tile as released: 510 x 510 px, or 512 x 512 px, which loses one pixel on each side.

    The file is read once, so that hash and pixels belong together; it is opened as GeoTIFF, whatever its name says.

    Raises:
        DataError: it is not a label tile; says what it has and what is expected.
    """
    content = _content(path)
    try:
        with (
            Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
            warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
            MemoryFile(content) as memory,
            memory.open(driver="GTiff") as raster,
        ):
            crs, transform = _grid(raster, path)
            band = _label_band(raster, path)
            codes = _checked_codes(raster.read(band), path)
    except RasterioError as error:
        raise DataError(f"{path} cannot be read as a GeoTIFF ({error}); is it complete? get it again") from error
    margin = (codes.shape[0] - TILE_SIZE_PX) // 2
    a, b, c, d, e, f = transform
    return LabelRaster(
        codes=np.ascontiguousarray(codes[margin : margin + TILE_SIZE_PX, margin : margin + TILE_SIZE_PX]),
        crs=crs,
        transform=(a, b, c + margin * a, d, e, f + margin * e),
        sha256=sha256_of(content),
    )


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not 0 < size <= _LARGEST_LABEL_FILE:
            raise DataError(f"{path} has {size} bytes; a label tile has some thousand")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _grid(raster: DatasetReader, path: Path) -> tuple[str, tuple[float, float, float, float, float, float]]:
    """CRS and transform of a raster with a grid that label tiles have.

    That the origin is a multiple of 10 m is not asked for: the grid of the label is the authority, wherever it lies.
    """
    shape = (raster.height, raster.width)
    if shape not in ((TILE_SIZE_PX,) * 2, (_TEST_SIZE_PX,) * 2):
        raise DataError(
            f"{path} has {raster.width} x {raster.height} px; a label tile has {TILE_SIZE_PX} x {TILE_SIZE_PX} "
            f"(test release: {_TEST_SIZE_PX} x {_TEST_SIZE_PX})"
        )
    epsg = None if raster.crs is None else _utm_epsg(raster.crs.to_wkt())
    if epsg is None:
        raise DataError(
            f"{path} has the CRS {_crs_name(raster.crs)}; a label tile has UTM on WGS 84 (EPSG:326zz, 327zz)"
        )
    a, b, c, d, e, f = tuple(raster.transform)[:6]
    if not np.allclose((a, b, d, e), (RESOLUTION_M, 0, 0, -RESOLUTION_M), rtol=0, atol=1e-6):
        raise DataError(f"{path} has pixels of ({a:g}, {b:g}, {d:g}, {e:g}) m; a label tile has 10 m, north up")
    return f"EPSG:{epsg}", (RESOLUTION_M, 0.0, c, 0.0, -RESOLUTION_M, f)


@lru_cache(maxsize=256)
def _utm_epsg(wkt: str) -> int | None:
    """EPSG code of UTM on WGS 84, or None for any other CRS; tiles carry the full text of theirs."""
    code = pyproj.CRS.from_wkt(wkt).to_epsg()
    return code if code is not None and code // 100 in (326, 327) and 1 <= code % 100 <= 60 else None


def _crs_name(crs: Any) -> str:
    return "none" if crs is None else str(pyproj.CRS.from_wkt(crs.to_wkt()).name)


def _label_band(raster: DatasetReader, path: Path) -> int:
    """Number (from 1) of the band that holds the label, by name where there are several."""
    names = tuple(raster.descriptions)
    if _LABEL_BAND in names:
        return names.index(_LABEL_BAND) + 1
    if names == (None,):
        return 1
    listed = ", ".join(str(name or "unnamed") for name in names)
    raise DataError(f"{path} has the bands {listed}; a label tile has one without a name, or one named {_LABEL_BAND!r}")


def _checked_codes(values: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    found = np.unique(values)
    alien = [value for value in found.tolist() if value not in RELEASED_CODES]
    if alien:
        listed = ", ".join(f"{value:g}" for value in alien[:5])
        raise DataError(f"{path} holds the values {listed}; a label tile holds the codes 0..10 only")
    return values.astype(np.uint8)


# Metadata ------------------------------------------------------------------------------------------------------------

_COLUMNS = (
    "S2_PRODUCT_ID",
    "S2_GEE_ID",
    "S2_DATASTRIP_ID",
    "S2_GRID",
    "S2_SENSING_ORBIT_DIRECTION",
    "date",
    "crs",
    "hemisphere",
    "biome",
    "biome_name",
    "eco_region",
    "NBPixels",
)
"""Columns that are kept, in the spelling of the published sheet, where they are present."""

_LABELER_OF_SHEET: dict[str, Labeler] = {"expert": "expert", "nonexpert": "non_expert"}
_EMPTY = frozenset({"", "none", "nan", "null"})


def _plain(name: object) -> str:
    """A column or sheet name without case, spaces, ``_`` and ``-``, in which published spellings differ."""
    return re.sub(r"[\s_-]+", "", str(name).casefold())


_COLUMN_OF_PLAIN = {**{_plain(name): name for name in _COLUMNS}, "s2systemindex": "S2_GEE_ID"}
"""``s2_system_index`` of the test tiles and ``S2_GEE_ID`` of the others are one thing: Earth Engine's
``system:index``."""


def read_metadata(folder: Path) -> Metadata:
    """What the publisher says of each tile: the workbook (experts, non-experts) and the list of test tiles.

    Both are looked for anywhere below the folder; a tile without a row has no entry. A workbook that cannot be read
    is a warning: nothing depends on it.

    Returns:
        (labeler, dw_id) -> column -> text. Columns as in the published sheet, with the test tiles'
        ``s2_system_index`` under ``S2_GEE_ID``; empty cells are left out, ``date`` is YYYY-MM-DD.
    """
    found: Metadata = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith((".", "~$")):
            continue
        if path.suffix.casefold() == ".xlsx":
            found.update(_read_workbook(path))
        elif path.suffix.casefold() == ".csv":
            found.update(_read_test_list(path))
    return found


def _read_workbook(path: Path) -> Metadata:
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, InvalidFileException) as error:
        _log.warning("going on without %s: it cannot be read as a workbook (%s)", path, error)
        return {}
    found: Metadata = {}
    try:
        for sheet in book.worksheets:
            labeler = _LABELER_OF_SHEET.get(_plain(sheet.title))
            if labeler is not None:
                found.update(_entries(labeler, sheet.iter_rows(values_only=True), id_column=("dwid",)))
    finally:
        book.close()
    return found


def _read_test_list(path: Path) -> Metadata:
    """Rows of a CSV that has the columns of the test release; nothing from any other CSV."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if not {"filename", "s2systemindex"} <= {_plain(name) for name in header}:
            return {}
        found = _entries("consensus", itertools.chain([header], rows), id_column=("filename",))
    for entry in found.values():
        sensed = entry.get("S2_GEE_ID", "")[:8]
        if sensed.isdecimal() and "date" not in entry:
            entry["date"] = f"{sensed[:4]}-{sensed[4:6]}-{sensed[6:8]}"
    return found


def _entries(labeler: Labeler, rows: Iterator[Sequence[Any]], *, id_column: tuple[str, ...]) -> Metadata:
    """Entries of a table whose first row names its columns; rows that name no tile are passed over."""
    plain = [_plain(name) for name in next(rows, ())]
    id_at = next((plain.index(name) for name in id_column if name in plain), 0)
    kept = [(at, _COLUMN_OF_PLAIN[name]) for at, name in enumerate(plain) if name in _COLUMN_OF_PLAIN]
    found: Metadata = {}
    for row in rows:
        try:
            dw_id = _dw_id(PurePosixPath(str(row[id_at])).name.removesuffix(".tif"))
        except (DataError, IndexError):
            continue
        cells = ((column, _text(row[at])) for at, column in kept if at < len(row))
        found[labeler, dw_id] = {column: text for column, text in cells if text.casefold() not in _EMPTY}
    return found


def _text(cell: Any) -> str:
    """A cell as text: days as YYYY-MM-DD, whole numbers without a decimal point."""
    if isinstance(cell, datetime.datetime):
        return cell.date().isoformat()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip()
