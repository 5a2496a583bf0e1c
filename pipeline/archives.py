"""Unpacking zip archives from elsewhere: nothing leaves the folder, nothing absurd is written, twice is once."""

from __future__ import annotations

import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from .downloads import check_space
from .errors import DataError, DwplusError
from .files import PART_SUFFIX

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
            check_space(folder, sum(info.file_size for info in missing.values()), archive.name)
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
