"""Paths that come out of files: joined to a folder, and refused where they leave it."""

from __future__ import annotations

from pathlib import PurePosixPath

from ..errors import DataError


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
