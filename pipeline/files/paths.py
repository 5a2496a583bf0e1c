"""Paths that come from elsewhere: out of files, refused where they leave their folder; and out of the system."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ..errors import DataError


def home_folder() -> Path:
    """The user's home folder; a folder that does not exist where the system knows none (a container's bare uid)."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/no home folder")


def inside(name: str, *, where: str) -> str:
    """A relative path that was read from a file, once it is known to stay below the folder that it is joined to.

    Args:
        where: what named it, for the message.

    Raises:
        DataError: it is absolute, climbs out with ``..``, or is no path at all.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or any(ord(sign) < 32 for sign in name):
        raise DataError(
            f"{where} names the path {name[:100]!r}, which leaves its folder; nothing was read or written: get the "
            "data set again from a source that you trust"
        )
    return name
