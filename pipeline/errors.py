"""Errors of dwplus: one class per thing that a caller would do differently, each with its own exit code.

The command line prints ``str(error)`` as one line and exits with ``error.exit_code``; anything that is not a
``DwplusError`` is a defect and keeps its traceback.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every ``dwplus`` command."""

    OK = 0
    ERROR = 1
    USAGE = 2
    FAILED_TILES = 3
    AUTHENTICATION = 4
    QUOTA = 5
    INTERRUPTED = 130


def in_brief(error: object, characters: int = 300) -> str:
    """What a library said, as one line of bounded length; for an error without words, its kind."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= characters else f"{words[: characters - 4]} ..."


class DwplusError(Exception):
    """Base of all expected errors: says what was wrong, where, and what to do next."""

    exit_code: ExitCode = ExitCode.ERROR


class UsageError(DwplusError):
    """An argument, option or configuration key cannot mean anything; nothing was started."""

    exit_code = ExitCode.USAGE


class DisagreementError(UsageError):
    """Processes that train together see different runs, data or settings; all raise it, and the first one says it."""


class DataError(DwplusError):
    """A file (label, shard, manifest, statistics) is missing, damaged or of another kind than it claims."""


class LeftOutError(DwplusError):
    """The work was done, without tiles whose records do not fit together."""

    exit_code = ExitCode.FAILED_TILES


class MachineError(DwplusError):
    """This machine, not the data, is at fault: a library, a disk, permissions, locks. Nothing is recorded of a file."""


class TileError(DwplusError):
    """One tile failed to download or does not match the request; the other tiles can continue.

    Attributes:
        reason: key of ``ledger.REASONS``.
    """

    exit_code = ExitCode.FAILED_TILES

    def __init__(self, message: str, *, reason: str = "no_answer") -> None:
        super().__init__(message)
        self.reason = reason


class AuthenticationError(DwplusError):
    """The service does not know the account or the project; no tile can be downloaded until the user acts."""

    exit_code = ExitCode.AUTHENTICATION


class QuotaError(DwplusError):
    """A quota or a budget is used up; run again later to resume."""

    exit_code = ExitCode.QUOTA


class ServiceError(DwplusError):
    """The service (Earth Engine, a label archive) cannot be reached or keeps failing."""
