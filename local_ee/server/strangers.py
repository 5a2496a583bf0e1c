"""Who is at the other end of a connection: other users of this machine reach 127.0.0.1 too.

The kernel tells the owner of every local socket. Source: https://docs.kernel.org/networking/proc_net_tcp.html
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))

ATTEMPTS = 3
"""A table that changes while it is read may miss a line."""

_LOCAL, _REMOTE, _OWNER = 1, 2, 7
"""Fields of a line."""


def is_stranger(connection: socket.socket) -> bool:
    """Whether a connection comes from a process of another user, root aside.

    False where the system has no table of connections: then the token alone decides.
    """
    try:
        here, there = connection.getsockname(), connection.getpeername()
    except OSError:  # closed meanwhile
        return True
    for _ in range(ATTEMPTS):
        try:
            owner = owner_of(there, here)
        except OSError:
            return False
        if owner is not None:
            return owner not in (0, os.geteuid())
    return True


def owner_of(local: tuple[str, int], remote: tuple[str, int], tables: tuple[Path, ...] = TABLES) -> int | None:
    """User id of the socket at one end of a connection between IPv4 addresses; None where there is none.

    Args:
        local, remote: (address, port) of that end and of the other.
        tables: of the kernel; one that is missing after the first is passed over.

    Raises:
        OSError: there is no table.
    """
    ends = {(_encoded(local, wide=wide), _encoded(remote, wide=wide)) for wide in (False, True)}
    for number, table in enumerate(tables):
        try:
            text = table.read_text(encoding="ascii")
        except OSError:
            if number == 0:
                raise
            continue
        for line in text.splitlines()[1:]:
            fields = line.split()
            if (fields[_LOCAL], fields[_REMOTE]) in ends:
                return int(fields[_OWNER])
    return None


def _encoded(end: tuple[str, int], *, wide: bool) -> str:
    """An end as the kernel writes it: hexadecimal words of the machine's order, and the port."""
    address = socket.inet_aton(end[0])
    words = struct.unpack("=I" if not wide else "=IIII", address if not wide else bytes(10) + b"\xff\xff" + address)
    return "".join(f"{word:08X}" for word in words) + f":{end[1]:04X}"
