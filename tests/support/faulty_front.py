"""A server in front of the local Earth Engine that spoils some of its answers: helper of the tests of service faults.

What the local Earth Engine answered once is kept, so that a row of a table of faults costs milliseconds.
"""

from __future__ import annotations

import gzip
import http.client
import io
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

PIXELS = "image:computePixels"
SEARCH = "value:compute"
LOGIN_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"


@dataclass(frozen=True)
class Answer:
    """An answer before it is sent; ``announced`` is its Content-Length where that is a lie."""

    code: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    announced: int | None = None
    pause_s: float = 0.0
    drip_s: float = 0.0
    drop: bool = False


Spoil = Callable[[Answer], Answer]
"""Makes a spoilt answer out of a good one."""


# --- what can go wrong ------------------------------------------------------------------------------------------------


def status(code: int, message: str = "", *, reason: str = "", retry_after: float | None = None) -> Spoil:
    """An error as Google words it."""
    error: dict[str, Any] = {"code": code, "message": message or http.client.responses[code]}
    if reason:
        error["errors"] = [{"domain": "usageLimits", "reason": reason, "message": message}]
    headers = () if retry_after is None else (("Retry-After", f"{retry_after:g}"),)
    body = json.dumps({"error": error}).encode()
    return lambda _good: Answer(code, "application/json; charset=UTF-8", body, headers)


def drop(good: Answer) -> Answer:
    return Answer(good.code, good.content_type, b"", drop=True)


def cut_off(good: Answer) -> Answer:
    """The connection ends after half of what was announced."""
    return Answer(200, good.content_type, good.body[: len(good.body) // 2], announced=len(good.body))


def short(good: Answer) -> Answer:
    """Half of the body, and no more announced."""
    return Answer(200, good.content_type, good.body[: len(good.body) // 2])


def long(good: Answer) -> Answer:
    return Answer(200, good.content_type, good.body + b"\0" * 100)


def html(_good: Answer) -> Answer:
    return Answer(200, "text/html; charset=utf-8", LOGIN_PAGE)


def json_of(value: Any) -> Spoil:
    """A JSON answer that is whole, but holds something else."""
    return lambda good: Answer(200, good.content_type, json.dumps({"result": value}).encode())


def stall(seconds: float) -> Spoil:
    return lambda good: Answer(200, good.content_type, good.body, pause_s=seconds)


def trickle(seconds: float) -> Spoil:
    """The body in small pieces, each in time, for so long that it should have been given up."""
    return lambda good: Answer(200, good.content_type, good.body, drip_s=seconds)


def zipped(good: Answer) -> Answer:
    return Answer(200, good.content_type, gzip.compress(good.body), (("Content-Encoding", "gzip"),))


def zipped_and_cut(good: Answer) -> Answer:
    whole = zipped(good)
    return Answer(200, whole.content_type, whole.body[:-200], whole.headers)


def pixels(change: Callable[[NDArray[np.void]], NDArray[Any]]) -> Spoil:
    """Pixels that are whole, but not those that were asked for."""

    def spoil(good: Answer) -> Answer:
        text = io.BytesIO()
        np.save(text, change(np.load(io.BytesIO(good.body))))
        return Answer(200, good.content_type, text.getvalue())

    return spoil


# --- the server -------------------------------------------------------------------------------------------------------


@dataclass
class Fault:
    """What is spoilt: so many requests of a route (None = all) whose body holds a text and that are wide enough."""

    spoil: Spoil
    times: int | None = None
    route: str = PIXELS
    text: str = ""
    from_width: int = 0
    left: int | None = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.times

    def meets(self, route: str, body: bytes) -> bool:
        width = re.search(rb'"width": ?(\d+)', body)
        wide = int(width[1]) if width else 0
        if route != self.route or self.text.encode() not in body or wide < self.from_width or self.left == 0:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Front:
    """The server as a test sees it."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.fault: Fault | None = None
        self.asked: list[tuple[str, int]] = []
        """Route and code of every request for pixels or scenes since ``spoil``."""
        self._kept: dict[tuple[str, bytes], Answer] = {}
        self._lock = threading.Lock()
        self.url = ""

    def spoil(self, fault: Fault | None) -> None:
        with self._lock:
            self.fault, self.asked = fault, []

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        route = urlsplit(path).path.rsplit("/", 1)[-1]
        with self._lock:
            found = self._kept.get((path, body))
        if found is None:
            found = self._ask(method, path, headers, body)
            if found.code == 200:
                with self._lock:
                    self._kept[path, body] = found
        with self._lock:
            fault = self.fault
            if fault is not None and fault.meets(route, body):
                found = fault.spoil(found)
            if route in (PIXELS, SEARCH):
                self.asked.append((route, 0 if found.drop else found.code))
        return found

    def _ask(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self.upstream.hostname or "", self.upstream.port, timeout=60)
        kept = {name: headers[name] for name in ("Authorization", "Content-Type") if headers[name]}
        connection.request(method, path, body=body or None, headers=kept)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return Answer(answer.status, answer.headers.get("Content-Type", ""), content)


@contextmanager
def front_of(upstream: str) -> Iterator[Front]:
    """A front of a running server."""
    front = Front(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = front.answer(self.command, self.path, self.headers, body)
            if answer.drop:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            time.sleep(answer.pause_s)
            self.send_response(answer.code)
            self.send_header("Content-Type", answer.content_type)
            length = len(answer.body) if answer.announced is None else answer.announced
            self.send_header("Content-Length", str(length))
            for name, value in answer.headers:
                self.send_header(name, value)
            self.end_headers()
            self._send(answer)
            if length != len(answer.body) or answer.drip_s:
                self.close_connection = True

        def _send(self, answer: Answer) -> None:
            if not answer.drip_s:
                self.wfile.write(answer.body)
                return
            until, at = time.monotonic() + answer.drip_s, 0
            while time.monotonic() < until:
                self.wfile.write(answer.body[at : at + 1])
                at += 1
                time.sleep(0.05)

        do_GET = do_POST = _do  # noqa: N815 - http.server's names

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: object) -> None:
            """Clients that leave in the middle are what these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    front.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield front
    finally:
        server.shutdown()
        server.server_close()
