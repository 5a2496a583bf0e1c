"""HTTP of the local Earth Engine: reads requests within bounds, shows faults, writes answers, keeps the log.

Every request gets an answer, unless a fault of the plan says otherwise: a defect becomes a 500 and a line on stderr.
"""

from __future__ import annotations

import io
import re
import socket
import sys
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..refusal import Refusal, error_body
from .faults import LOGIN_PAGE, MESSAGES, Fault
from .request_log import LogEntry
from .routes import JSON, Reply, Router
from .strangers import is_stranger

MAX_BODY_BYTES = 10_485_760
"""Source: https://github.com/davemlz/eemont/issues/78"""

MAX_HEAD_BYTES = 65_536
"""Request line and headers together; Google's front ends take less."""

MAX_CONNECTIONS = 512
"""Beyond these a connection is closed with a 503: each has a thread."""

FIRST_S = 10.0
IDLE_S = 300.0
HEAD_S = 10.0
BODY_S = 60.0
WRITE_S = 300.0
"""Longest time before a request of a connection without a token and between two of one with a token, for a head once it
has begun, for a body, and for an answer."""

TOKEN_PATHS = ("/v1/", "/admin/")
"""Paths that are answered with 200 to those alone who know a token or the name of a download."""

EVICTION_S = 1.0
"""How long a new connection waits for the place of one that was closed for it."""


class HeadTooLargeError(Exception):
    """Request line and headers are longer than ``MAX_HEAD_BYTES``."""


class BoundedReader(io.RawIOBase):
    """Reads a socket within bounds of time and bytes; a client that sends drop by drop holds nothing for ever."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + IDLE_S
        self._left: int | None = None
        self._waiting = False

    def expect_head(self, *, trusted: bool = False) -> None:
        """The next byte may take ``IDLE_S`` or ``FIRST_S``; with it the head has begun, and has ``HEAD_S``."""
        self._deadline = time.monotonic() + (IDLE_S if trusted else FIRST_S)
        self._left, self._waiting = 2 * MAX_HEAD_BYTES, True

    def expect_body(self, seconds: float = BODY_S) -> None:
        self._deadline, self._left, self._waiting = time.monotonic() + seconds, None, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the client is too slow")
        if self._left is not None and self._left <= 0:
            raise HeadTooLargeError
        self._connection.settimeout(left)
        count = self._connection.recv_into(buffer)
        if self._waiting:
            self._deadline, self._waiting = time.monotonic() + HEAD_S, False
        if self._left is not None:
            self._left -= count
        return count


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1 alone; a thread for each connection, and not more than ``MAX_CONNECTIONS``.

    A connection that has shown no token and has no request in progress gives its place to a new one where all are
    taken: connections that do nothing keep nobody out.
    """

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.router: Router | None = None
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._lock = threading.Lock()
        self._idle: dict[Any, None] = {}

    def idle(self, connection: Any) -> None:
        """A connection without a token waits for its next request."""
        with self._lock:
            self._idle[connection] = None

    def busy(self, connection: Any) -> None:
        """A connection has sent a whole request, or is over."""
        with self._lock:
            self._idle.pop(connection, None)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False) and not self._make_place():
            refuse(request, 503, "Too many connections.")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def _make_place(self) -> bool:
        """Close the connection that has been idle for longest; whether its place was taken over.

        Those that were accepted a moment ago may not have said yet that they are idle.
        """
        until = time.monotonic() + EVICTION_S
        while time.monotonic() < until:
            self._close_longest_idle()
            if self._places.acquire(timeout=EVICTION_S / 20):
                return True
        return False

    def _close_longest_idle(self) -> None:
        with self._lock:
            longest = next(iter(self._idle), None)
            if longest is not None:
                del self._idle[longest]
                with suppress(OSError):
                    longest.shutdown(socket.SHUT_RDWR)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            if is_stranger(request):
                refuse(request, 403, "This server answers the user who started it, and no other.")
                self.shutdown_request(request)
                return
            super().process_request_thread(request, client_address)
        finally:
            self.busy(request)
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as socketserver calls it
        """A connection that broke outside a request; defects have been told by the handler."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            tell(f"connection: {type(error).__name__}: {error}")


def refuse(connection: Any, code: int, message: str) -> None:
    """Answer a connection of which nothing is read."""
    body = error_body(code, message)
    head = f"HTTP/1.1 {code} {HTTPStatus(code).phrase}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with suppress(OSError):
        connection.settimeout(1.0)
        connection.sendall(head.encode() + body)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "LocalEarthEngine"
    sys_version = ""
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        assert isinstance(self.server, Server)
        assert self.server.router is not None
        self.router: Router = self.server.router
        self.reader = BoundedReader(self.connection)
        self.rfile = io.BufferedReader(self.reader, 65_536)
        self.serving = self.replied = self.trusted = False

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Nothing: requests are in the log of the server."""

    def handle_one_request(self) -> None:
        assert isinstance(self.server, Server)
        self.reader.expect_head(trusted=self.trusted)
        if not self.trusted:
            self.server.idle(self.connection)
        self.serving = self.replied = False
        try:
            super().handle_one_request()
        except HeadTooLargeError:
            self.requestline, self.request_version, self.command = "", "", ""
            self.send_error(431)
        except ConnectionError:
            self.close_connection = True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses by itself (methods, malformed heads), in the shape of the API's errors."""
        self.close_connection = True
        said = message or explain or self.responses.get(code, ("The request cannot be read.",))[0]
        with suppress(OSError):
            self._send(Reply(code, JSON, error_body(code, said)), None)

    def send_response(self, code: int, message: str | None = None) -> None:
        if self.serving and not self.replied:
            self.router.log.begin()
        self.replied = True
        super().send_response(code, message)

    def _serve(self) -> None:
        begun = time.monotonic()
        router, self.serving = self.router, True
        fault, code, sent, body = None, 0, 0, b""
        try:
            self.reader.expect_body()
            body = self._body()
            self._begin()
            router.check_host(self.headers.get("Host"))
            fault = None if self.path.startswith("/admin/") else router.plan.next(f"{self.command} {self.path}", body)
            if fault is not None and fault.delay_s:
                time.sleep(fault.delay_s)
            if fault is not None and fault.drop:
                self.close_connection = True
            elif self.path.startswith("/releases/"):
                code, sent = router.releases.serve(self, fault)
            else:
                code, sent = self._send(self._reply(body, fault), fault)
                self._trust(code)
        except Refusal as refusal:
            code, sent = self._send(Reply(refusal.code, JSON, refusal.body), None)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:
            code, sent = self._defect(error)
        finally:
            entry = self._entry(code, time.monotonic() - begun, len(body), sent, fault, body)
            router.log.add(entry, begun=self.replied)

    def _begin(self) -> None:
        """The request is here as a whole."""
        assert isinstance(self.server, Server)
        self.server.busy(self.connection)
        self.connection.settimeout(WRITE_S)

    def _trust(self, code: int) -> None:
        """A connection whose token was good may stay open between its requests."""
        if code == 200 and self.path.startswith(TOKEN_PATHS) and self.headers.get("Authorization"):
            self.trusted = True

    def _defect(self, error: Exception) -> tuple[int, int]:
        """Tell of an error that is ours, and answer it; where an answer has begun, break it off visibly."""
        tell(f"{self.command} {self.path[:200]}: {type(error).__name__}: {error}")
        sys.excepthook(type(error), error, error.__traceback__)
        self.close_connection = True
        if self.replied:
            return 500, 0
        message = f"An internal error has occurred ({type(error).__name__}: {error})"
        with suppress(OSError):
            return self._send(Reply(500, JSON, error_body(500, message)), None)
        return 500, 0

    def _reply(self, body: bytes, fault: Fault | None) -> Reply:
        try:
            if fault is not None and fault.html:
                return Reply(fault.status or 200, "text/html; charset=utf-8", LOGIN_PAGE)
            if fault is not None and fault.status is not None:
                message = fault.message or MESSAGES.get(fault.status, "A fault of the plan.")
                return Reply(fault.status, JSON, error_body(fault.status, message))
            return self.router.reply(self.command, self.path, self.headers, body)
        except Refusal as refusal:
            return Reply(refusal.code, JSON, refusal.body)

    def _body(self) -> bytes:
        length = _length(self.headers.get_all("Content-Length", []))
        if sum(len(name) + len(value) + 4 for name, value in self.headers.items()) > MAX_HEAD_BYTES:
            self.close_connection = True
            raise Refusal(f"Request headers exceed the limit: {MAX_HEAD_BYTES} bytes.", 431)
        if not 0 <= length <= MAX_BODY_BYTES or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            self._send(
                Reply(400, JSON, error_body(400, f"Request payload size exceeds the limit: {MAX_BODY_BYTES} bytes.")),
                None,
            )
            self._drain(length)
            raise ConnectionError
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError
        return body

    def _drain(self, length: int) -> None:
        """Take what the client still sends, so that it gets to read the answer; not for ever."""
        self.reader.expect_body(2.0)
        left = min(length, 16 * MAX_BODY_BYTES)
        with suppress(OSError):
            while left > 0 and (chunk := self.rfile.read(min(left, 1 << 20))):
                left -= len(chunk)

    def _send(self, reply: Reply, fault: Fault | None) -> tuple[int, int]:
        body, announced = reply.body, len(reply.body)
        if fault is not None and fault.short is not None:
            body = body[: fault.short]
            announced = len(body)
        if fault is not None and fault.truncate is not None:
            body = body[: fault.truncate]
            self.close_connection = True
        self.connection.settimeout(WRITE_S)
        self.send_response(reply.code)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(announced))
        for name, value in reply.headers:
            self.send_header(name, value)
        if fault is not None and fault.retry_after is not None:
            self.send_header("Retry-After", f"{fault.retry_after:g}")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return reply.code, len(body)

    def _entry(self, code: int, seconds: float, received: int, sent: int, fault: Fault | None, body: bytes) -> LogEntry:
        found = re.search(rb'"workloadTag":\s*"([^"]*)"', body[-4096:] + body[:4096])
        return LogEntry(
            method=self.command,
            path=self.path,
            code=code,
            seconds=seconds,
            received=received,
            sent=sent,
            fault="" if fault is None else fault.name,
            agent=self.headers.get("User-Agent", ""),
            running=self.router.quotas.running,
            workload_tag=None if found is None else found[1].decode("utf-8", "replace"),
        )


def _length(values: list[str]) -> int:
    """The length that a request announces; -1 where it announces none that can be read, or several."""
    if not values:
        return 0
    return int(values[0]) if len(values) == 1 and re.fullmatch(r"[0-9]{1,12}", values[0].strip()) else -1


def tell(line: str) -> None:
    """A line on stderr."""
    with suppress(OSError):
        sys.stderr.write(f"local Earth Engine: {line}\n")
        sys.stderr.flush()
