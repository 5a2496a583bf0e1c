"""Another user of this machine: a process without privileges that connects to every port of a process tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user can be played by root alone")

_PROBE = r"""
import encodings.idna, json, os, socket, ssl, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
assert os.getuid() == 65534
try:
    os.setuid(0)
except PermissionError:
    pass
else:
    sys.exit("still root")
ports, texts, may_end = json.load(sys.stdin)

def said(connection, data):
    try:
        connection.sendall(data)
        answer = b""
        while len(answer) < 1000000 and (part := connection.recv(65536)):
            answer += part
        return answer.decode("latin-1")
    except socket.timeout:
        return answer.decode("latin-1")
    except OSError as error:
        return ""

def plain(port, data):
    try:
        one = socket.create_connection(("127.0.0.1", port), 5)
    except OSError:
        if may_end:
            return ""
        raise
    with one:
        one.settimeout(2)
        return said(one, data)

def encrypted(port, data):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as one, context.wrap_socket(one) as safe:
            safe.settimeout(2)
            return said(safe, data)
    except OSError:
        return ""

answers = []
for port in ports:
    for text in texts:
        data = text.replace("PORT", str(port)).encode("latin-1")
        answers.append([port, "plain", text[:60], plain(port, data)])
        answers.append([port, "TLS", text[:60], encrypted(port, data)])
print(json.dumps(answers))
"""

REQUESTS = (
    "",
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n",
    "GET /json/identity.json HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n",
    "GET /$discovery/rest?version=v1 HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n",
    "GET /releases/ HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n",
    "POST /v1/projects/local-earth-engine/value:compute HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 2\r\n"
    "Connection: close\r\n\r\n{}",
    "POST /token HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    # A greeting of Dask's own protocol: one frame of 8 bytes, and what a client says first (msgpack).
    "\x01\x00\x00\x00\x00\x00\x00\x00\x1a\x00\x00\x00\x00\x00\x00\x00\x82\xa2op\xa8identity\xa5reply\xc3\x00\x00\x00",
)


def tree_of(pid: int) -> set[int]:
    """A process and all that it started, now."""
    import psutil

    return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}


def listening_ports(pids: set[int]) -> set[int]:
    """TCP ports that processes listen on, from /proc: sockets they hold, and the kernel's table of sockets."""
    inodes = set()
    for pid in pids:
        with suppress(OSError):  # ended meanwhile
            for descriptor in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - asked 20 times a second
                inodes.add(_inode(f"/proc/{pid}/fd/{descriptor}"))
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def _inode(path: str) -> str:
    try:
        link = os.readlink(path)  # noqa: PTH115 - the text itself, no path
    except OSError:  # closed meanwhile
        return ""
    return link[8:-1] if link.startswith("socket:[") else ""


def answers_to_a_stranger(
    ports: set[int], requests: tuple[str, ...] = REQUESTS, *, may_end: bool = False
) -> list[tuple[Any, ...]]:
    """(port, plain or TLS, request, what came back) of every request that another user sends to every port.

    Args:
        may_end: whether a port may be closed meanwhile; otherwise that is an error.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", _PROBE],
        input=json.dumps([sorted(ports), requests, may_end]),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(row) for row in json.loads(done.stdout)]
