"""Unpacking zip archives from elsewhere: nothing leaves the folder, nothing absurd is written, twice is once.

What was unpacked is written down beside the archive (``<name>.members.json``: size, CRC-32 and SHA-256 of each member),
so that the next run looks at sizes alone.
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import DataError, DwplusError, in_brief
from .atomic import PART_SUFFIX, read_json, sha256_of, write_json
from .downloads import check_space
from .paths import inside
from .records import of_shape

_LARGEST_MEMBER = 256 << 20
"""Bytes: a label tile has 0.3 MB unpacked, the largest published member (a probability raster) 9.4 MB."""

_LARGEST_TOTAL = 64 << 30
"""Bytes: the published archives unpack to 0.2-4.5 GB."""


# Records of what was unpacked -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """One unpacked file: size in bytes, CRC-32, SHA-256 (hexadecimal)."""

    size: int
    crc32: int
    sha256: str


@dataclass(frozen=True)
class MembersRecord:
    """What an archive (or another origin of label tiles) was unpacked to.

    Attributes:
        origin: what the members come from; of an archive ``size``, ``mtime_ns`` and ``sha256``.
        skip: patterns of names that were left out.
        members: path below the folder -> what must be there.
    """

    origin: Mapping[str, Any]
    skip: tuple[str, ...]
    members: Mapping[str, Member]

    def missing(self, folder: Path) -> list[str]:
        """Members that are not there, or have another size; looks at sizes alone."""
        return [path for path, member in self.members.items() if _size_of(f"{folder}/{path}") != member.size]

    def changed(self, folder: Path) -> list[str]:
        """Members whose bytes are not those that were unpacked; reads every one."""
        return [path for path, member in self.members.items() if _sha256_at(folder / path) != member.sha256]


def members_path(folder: Path) -> Path:
    """The record of a folder: ``<folder>.members.json`` beside it."""
    return folder.with_name(f"{folder.name}.members.json")


def read_members(folder: Path) -> MembersRecord | None:
    """The record of what was unpacked into a folder; None where there is none that can be used.

    Raises:
        DataError: it names a file outside of the folder.
    """
    path = members_path(folder)
    try:
        found = of_shape(read_json(path), _MembersDocument, path, remedy="it is made again")
        members = {name: Member(size, int(crc32, 16), sha256) for name, (size, crc32, sha256) in found.members}
        record = MembersRecord(found.origin, found.skip, members)
    except (DataError, ValueError):
        return None
    for name in record.members:
        inside(name, where=str(path))
    return record


@dataclass(frozen=True)
class _MembersDocument:
    """Content of ``<folder>.members.json``: path -> size, CRC-32 (hexadecimal) and SHA-256 of each member."""

    origin: Mapping[str, Any]
    skip: tuple[str, ...]
    members: tuple[tuple[str, tuple[int, str, str]], ...]


def write_members(folder: Path, record: MembersRecord) -> None:
    """Write the record of a folder, members in the order of their paths."""
    rows = [[path, [m.size, f"{m.crc32:08x}", m.sha256]] for path, m in sorted(record.members.items())]
    write_json(members_path(folder), {"origin": dict(record.origin), "skip": list(record.skip), "members": rows})


def member_of(content: bytes) -> Member:
    return Member(len(content), zlib.crc32(content), sha256_of(content))


def _size_of(path: str) -> int | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _sha256_at(path: Path) -> str | None:
    try:
        return sha256_of(path.read_bytes())
    except OSError:
        return None


# Unpacking ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Extracted:
    """What an archive is unpacked to, and how many files of it were written now."""

    record: MembersRecord
    written: int


def extract(archive: Path, folder: Path, *, skip: Sequence[str] = (), verify: bool = False) -> Extracted:
    """Unpack an archive safely, and write down what was unpacked.

    With a record and an unchanged archive, only sizes are checked; a member that is missing or of another size is
    unpacked again. Without one (an interrupted run), members that are there already, byte for byte, stay as they are.

    Args:
        skip: patterns of names (last component) that are left out.
        verify: compare the bytes of all members with the record, not sizes alone.

    Raises:
        DataError: not a zip archive, damaged, or with a member that has no business there (outside the folder, a
            link, twice the same, absurdly large); nothing is written unless all names are fit.
        DwplusError: the disk is full.
    """
    try:
        record = _usable_record(archive, folder, skip)
        if record is None:
            return _unpack_all(archive, folder, skip)
        wanted = record.changed(folder) if verify else record.missing(folder)
        return Extracted(record, _unpack_again(archive, folder, wanted, record.members))
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive} is not a sound zip archive: {in_brief(error)}; remove it and run again") from error
    except OSError as error:
        raise DwplusError(f"cannot unpack {archive}: {in_brief(error)}") from error


def _usable_record(archive: Path, folder: Path, skip: Sequence[str]) -> MembersRecord | None:
    """The record of an archive that is still the same; a copy of it (another time, the same bytes) is the same too."""
    record = read_members(folder)
    if record is None or record.skip != tuple(skip):
        return None
    now = archive.stat()
    if record.origin.get("size") != now.st_size:
        return None
    if record.origin.get("mtime_ns") == now.st_mtime_ns:
        return record
    if record.origin.get("sha256") != _hash_of(archive):
        return None
    record = MembersRecord({**record.origin, "mtime_ns": now.st_mtime_ns}, record.skip, record.members)
    write_members(folder, record)
    return record


def _unpack_all(archive: Path, folder: Path, skip: Sequence[str]) -> Extracted:
    before, earlier = archive.stat(), read_members(folder)
    with zipfile.ZipFile(archive) as opened:
        infos = _wanted_members(opened, archive, skip)
        there = {path: member for path, info in infos.items() if (member := _unpacked(folder / path, info)) is not None}
        found = {str(path): member for path, member in there.items()}
        missing = {path: info for path, info in infos.items() if path not in there}
        found |= _write_members_of(opened, missing, folder, archive.name)
    for path in set(earlier.members if earlier else ()) - set(found):
        (folder / path).unlink(missing_ok=True)  # of another archive of this name: its origin would be unknown
    origin = {"size": before.st_size, "mtime_ns": before.st_mtime_ns, "sha256": _hash_of(archive)}
    record = MembersRecord(origin, tuple(skip), found)
    write_members(folder, record)
    return Extracted(record, len(missing))


def _unpack_again(archive: Path, folder: Path, paths: Iterable[str], members: Mapping[str, Member]) -> int:
    wanted = set(paths)
    if not wanted:
        return 0
    with zipfile.ZipFile(archive) as opened:
        infos = {path: info for path, info in _wanted_members(opened, archive, ()).items() if str(path) in wanted}
        written = _write_members_of(opened, infos, folder, archive.name)
    unknown = sorted(wanted - set(written)) + sorted(path for path in written if written[path] != members[path])
    if unknown:
        raise DataError(
            f"{archive}: member {unknown[0]!r} is not what was unpacked from it before; remove "
            f"{members_path(folder)} and run again"
        )
    return len(written)


def _wanted_members(
    opened: zipfile.ZipFile, archive: Path, skip: Sequence[str]
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    return {
        path: info
        for path, info in safe_members(opened.infolist(), archive.name).items()
        if not any(fnmatch(path.name, pattern) for pattern in skip)
    }


def _write_members_of(
    opened: zipfile.ZipFile, infos: Mapping[PurePosixPath, zipfile.ZipInfo], folder: Path, archive_name: str
) -> dict[str, Member]:
    folder.mkdir(parents=True, exist_ok=True)
    check_space(folder, sum(info.file_size for info in infos.values()), archive_name)
    return {str(path): _unpack(opened, info, folder / path) for path, info in infos.items()}


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def _unpacked(path: Path, info: zipfile.ZipInfo) -> Member | None:
    """What is known of a member that is there already, byte for byte; None where it must be written."""
    if _size_of(str(path)) != info.file_size:
        return None
    member = member_of(path.read_bytes())
    return member if member.crc32 == info.CRC else None


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Member:
    """Write one member under a temporary name and rename it.

    Not synced: for 24,000 small files that takes minutes on some disks. Whoever reads a label compares its SHA-256
    with the record, so that a file which a power cut emptied is found and unpacked again.
    """
    try:
        content = archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{archive.filename}: member {info.filename!r} is damaged ({in_brief(error)}); remove the archive and run "
            "again"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}{PART_SUFFIX}")
    part.write_bytes(content)
    part.replace(path)
    return member_of(content)
