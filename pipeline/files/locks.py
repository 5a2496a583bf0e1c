"""Locks: one writer at a time, also where the file system knows no locks and says so."""

from __future__ import annotations

import errno
import fcntl
from typing import IO, Any

from ..errors import DwplusError, MachineError

_HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
"""What the system answers where another process has the lock. Source: flock(2), fcntl(2)."""


def lock(file: IO[Any], *, held: str) -> None:
    """Lock an open file until it is closed.

    Args:
        held: what to say where another process has it; what is written and what to do.

    Raises:
        DwplusError: another process has it.
        MachineError: locks do not work on this file system.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            raise DwplusError(held) from None
        raise MachineError(
            f"files cannot be locked on the file system of {file.name} ({error.strerror or error}): two commands could "
            "write at once; name a folder on a local disk with --data, or mount this one with locks"
        ) from None
