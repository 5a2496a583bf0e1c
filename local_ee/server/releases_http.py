"""Files under ``/releases/``: served as the real archives do, without credentials and with ranges."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from ..refusal import Refusal, error_body
from .faults import LOGIN_PAGE, MESSAGES, Fault

CHUNK_BYTES = 1 << 20


def split(path: str) -> tuple[str, str]:
    """Path of a request line, its escapes undone, and the query after it.

    Raises:
        Refusal: it cannot be read.
    """
    try:
        parts = urlsplit(path)
    except ValueError:
        raise Refusal(f"The path '{path[:200]}' cannot be read.") from None
    return unquote(parts.path), parts.query


class ReleaseFiles:
    """Label archives of a planet, made when the first of them is requested.

    Args:
        planet, tiles: of which planet, and how many tiles.
        folder: where they may be kept.
    """

    def __init__(self, planet: dict[str, Any], tiles: int, folder: Path) -> None:
        self._planet, self._tiles, self._folder = planet, tiles, folder
        self._lock = threading.Lock()
        self._source: Any = None

    def open(self, path: str) -> tuple[BinaryIO, int, str] | None:
        """Content, size and content type of a file, None where there is none."""
        with self._lock:
            if self._source is None:
                self._source = self._make()
        found: tuple[BinaryIO, int, str] | None = self._source.open(path)
        return found

    def _make(self) -> Any:
        if self._planet.get("kind") == "python":  # a catalogue alone has no labels
            return _NoFiles()
        from ..catalogue.catalogue import Catalogue
        from ..planet.planet import make_planet
        from ..releases import Releases

        planet: Any = make_planet(self._planet)
        return Releases(planet, self._tiles, self._folder, catalogue=Catalogue(planet))

    def serve(self, handler: BaseHTTPRequestHandler, fault: Fault | None) -> tuple[int, int]:
        """Answer GET or HEAD; gives the HTTP code and the number of bytes sent."""
        if fault is not None and (fault.html or fault.status is not None):
            code = fault.status or 200
            page = LOGIN_PAGE if fault.html else error_body(code, fault.message or MESSAGES.get(code, "A fault."))
            retry = () if fault.retry_after is None else (("Retry-After", f"{fault.retry_after:g}"),)
            return _answer(handler, code, "text/html" if fault.html else "application/json", page, retry)
        if handler.command not in ("GET", "HEAD"):
            return _answer(handler, 405, "text/plain", b"", (("Allow", "GET, HEAD"),))
        path = split(handler.path)[0].removeprefix("/releases/")
        found = None if "\0" in path else self.open(path)
        if found is None:
            return _answer(handler, 404, "text/plain", b"Not found\n")
        etag = _etag(self._planet, self._tiles, path, found[1])
        with found[0] as stream:
            return _send_file(handler, stream, found[1], found[2], etag, fault)


class _NoFiles:
    def open(self, path: str) -> None:  # noqa: ARG002 - as every archive
        return None


def _answer(
    handler: BaseHTTPRequestHandler, code: int, kind: str, body: bytes, headers: tuple[tuple[str, str], ...] = ()
) -> tuple[int, int]:
    handler.send_response(code)
    for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)
    return code, len(body)


def parse_range(value: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last of ``bytes=a-``, ``a-b`` or ``-n``; None: the whole file.

    Raises:
        ValueError: the range lies outside the file.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (value or "").strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
    if start >= stop:
        raise ValueError(f"range {value} of {size} bytes")
    return start, stop


def _etag(*identity: Any) -> str:
    """Another planet's file of the same name and length is another file."""
    return '"' + hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32] + '"'


def _send_file(
    handler: BaseHTTPRequestHandler, stream: BinaryIO, size: int, kind: str, etag: str, fault: Fault | None
) -> tuple[int, int]:
    wanted = handler.headers.get("Range")
    if handler.headers.get("If-Range") not in (None, etag):
        wanted = None
    try:
        part = parse_range(wanted, size)
    except ValueError:
        return _answer(handler, 416, "text/plain", b"", (("Content-Range", f"bytes */{size}"),))
    start, stop = part or (0, size)
    if fault is not None and fault.short is not None:
        stop = min(stop, start + fault.short)
    handler.send_response(200 if part is None else 206)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(stop - start))
    handler.send_header("Accept-Ranges", "bytes")
    handler.send_header("ETag", etag)
    if part is not None:
        handler.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
    handler.end_headers()
    sent = 0
    if handler.command == "GET":
        limit = stop - start
        if fault is not None and fault.truncate is not None:
            limit, handler.close_connection = min(limit, fault.truncate), True
        stream.seek(start)
        while sent < limit and (chunk := stream.read(min(CHUNK_BYTES, limit - sent))):
            handler.wfile.write(chunk)
            sent += len(chunk)
    return (200 if part is None else 206), sent
