"""Locks: one writer at a time, also where the file system knows no locks and says so."""

from __future__ import annotations

import errno
import fcntl
import time
from typing import IO, Any

from ..errors import DwplusError, MachineError

_HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
"""What the system answers where another process has the lock. Source: flock(2), fcntl(2)."""


def lock(file: IO[Any], *, held: str, shared: bool = False, option: str = "--data") -> None:
    """Lock an open file until it is closed.

    Args:
        held: what to say where another process has it; what is written and what to do.
        shared: others that share it may have it too.
        option: of the command line that names the folder, for the advice where locks do not work.

    Raises:
        DwplusError: another process has it.
        MachineError: locks do not work on this file system.
    """
    if not _locked(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, option=option):
        raise DwplusError(held)


_LOOK_AGAIN_S = 0.02


def lock_soon(file: IO[Any], *, held: str, within_s: float, option: str = "--data") -> None:
    """Lock an open file until it is closed, for work of a moment: where another process has it, wait for it.

    Args:
        held: what to say where another process keeps it for longer.
        within_s: seconds until that is said.
        option: see ``lock``.

    Raises:
        DwplusError: another process keeps it.
        MachineError: locks do not work on this file system.
    """
    until = time.monotonic() + within_s
    while not _locked(file, option=option):
        if time.monotonic() > until:
            raise DwplusError(held)
        time.sleep(_LOOK_AGAIN_S)


def _locked(file: IO[Any], kind: int = fcntl.LOCK_EX, *, option: str) -> bool:
    """Whether the lock is ours now; False where another process has it."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise MachineError(
            f"files cannot be locked on the file system of {file.name} ({error.strerror or error}): two commands could "
            f"write at once; name a folder on a local disk with {option}, or mount this one with locks"
        ) from None
    return True
