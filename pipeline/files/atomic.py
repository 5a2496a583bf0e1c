"""Writing files so that they are complete or absent, and hashing them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError, MachineError, UsageError, in_brief

PART_SUFFIX = ".part"
"""Ending of a file that is still being written; leftovers of an interrupted run carry it."""


def write_atomically(path: Path, content: bytes, *, option: str = "--data") -> None:
    """Write a file that is complete or absent: temporary name, sync, rename.

    Args:
        option: of the command line that names the folder, for the advice where it cannot be written.

    Raises:
        MachineError: the folder cannot be written, or the disk is full.
    """
    # Tells threads, processes and machines apart that write one file at the same time.
    part = path.with_name(f".{_short(path.name)}.{secrets.token_hex(8)}{PART_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise cannot_write(path, error, option=option) from error


def write_if_changed(path: Path, content: bytes, *, option: str = "--data") -> bool:
    """Write a file atomically where it would differ; whether it was written. An equal one keeps its time.

    Args:
        option: see ``write_atomically``.

    Raises:
        MachineError: see ``write_atomically``.
    """
    try:
        if path.read_bytes() == content:
            return False
    except OSError:
        pass  # it is not there, or whatever is wrong with it is said when it is written
    write_atomically(path, content, option=option)
    return True


_LONGEST_NAME = 200
"""Bytes: file systems take 255, ending and number of a temporary file included."""


def _short(name: str) -> str:
    return name.encode()[:_LONGEST_NAME].decode(errors="ignore")


def cannot_write(path: Path, error: OSError, *, option: str = "--data") -> MachineError:
    """The error of a file or folder that cannot be written, with the advice that fits.

    Args:
        option: of the command line, with which another folder is named.
    """
    return MachineError(f"cannot write {path}: {error.strerror or error}; {_advice(error, option)}")


def _advice(error: OSError, option: str = "--data") -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, then run the same command again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"change its permissions, or name another folder with {option}"
    return f"look at the disk, or name another folder with {option}"


def write_json(path: Path, value: Any, *, option: str = "--data") -> None:
    """Write one JSON document atomically, keys in their given order, with a closing newline."""
    write_atomically(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode(), option=option)


def read_json(path: Path) -> Any:
    """Content of a JSON document.

    Raises:
        DataError: the file is missing or is not JSON.
        MachineError: it is there and cannot be read.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path} does not exist") from None
    except OSError as error:
        raise MachineError(
            f"cannot read {path}: {error.strerror or error}; look at its permissions and at the disk, then run again"
        ) from None
    return parse_json(content, where=str(path))


def parse_json(content: bytes | str, *, where: str) -> Any:
    """What a JSON text says.

    Args:
        where: whose text it is, for the message.

    Raises:
        DataError: it is not JSON.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise DataError(f"{where} is not a document of dwplus: it is nested too deeply") from None
    except ValueError as error:
        raise DataError(f"{where} is not a JSON document: {in_brief(error)}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Content of a TOML file that a user wrote.

    Raises:
        UsageError: it cannot be read, or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    return parse_toml(text, where=str(path))


def parse_toml(text: str, *, where: str) -> dict[str, Any]:
    """What a TOML text says; see ``parse_json``.

    Raises:
        UsageError: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UsageError(f"{where} is not TOML of dwplus: it is nested too deeply") from None
    except ValueError as error:  # its own error, and that of numbers with thousands of digits
        raise UsageError(f"{where} is not TOML: {in_brief(error)}") from None


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def remove_parts(folder: Path) -> int:
    """Delete leftovers of interrupted runs below a folder; the number of files removed."""
    removed = 0
    for part in _parts(folder):
        part.unlink(missing_ok=True)
        removed += 1
    return removed


def _parts(folder: Path) -> Iterator[Path]:
    return folder.rglob(f".*{PART_SUFFIX}") if folder.is_dir() else iter(())


def check_writable(folder: Path) -> None:
    """Make sure that files can be made in a folder; one that does not exist yet does not exist afterwards either.

    Raises:
        MachineError: they cannot.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    probe = folder / f".write-test.{secrets.token_hex(8)}{PART_SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
        for path in missing:
            path.rmdir()
    except OSError as error:
        raise MachineError(f"cannot write in {folder}: {error.strerror or error}; {_advice(error)}") from error
