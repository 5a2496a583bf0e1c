"""The server process of the local Earth Engine: HTTP on 127.0.0.1, pixels in worker processes.

``python -m dwplus.pipeline.local_ee.server`` reads its configuration as one line of JSON from stdin, writes one line of
JSON to stdout when it is ready, and ends with its parent. ``launch.LocalEarthEngine`` starts it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .documents import algorithms_document, discovery_document
from .faults import LOGIN_PAGE, MESSAGES, Fault, FaultPlan, Limits, Log, LogEntry
from .refusal import Refusal, error_body
from .releases_http import ReleaseFiles
from .tokens import Account, InvalidGrantError
from .worker import Task, Workers

MAX_BODY_BYTES = 10_485_760
"""Source: https://github.com/davemlz/eemont/issues/78"""

JSON = "application/json; charset=UTF-8"
PARENT_POLL_S = 0.5
ASSETS = "projects/earthengine-public/assets/"


@dataclass(frozen=True)
class Configuration:
    """What a server is started with.

    Attributes:
        planet: the planet, see ``worker.load_catalogue``.
        tiles: number of label tiles in its releases.
        project: id of the project that requests name.
        port: 0 = any that is free.
        workers: number of worker processes; None = one for each CPU.
        faults: plan, see ``faults.Fault``.
        max_concurrent, per_second: limits beyond which requests get 429; None = none.
        latency_s: each API answer takes at least so long more.
        token_s: how long a token is good for.
        releases_folder: where label archives are kept from one start to the next; None = nowhere.
    """

    planet: dict[str, Any] = field(default_factory=lambda: {"kind": "earth", "seed": 7})
    tiles: int = 132
    project: str = "local-earth-engine"
    port: int = 0
    workers: int | None = None
    faults: list[dict[str, Any]] | None = None
    max_concurrent: int | None = None
    per_second: float | None = None
    latency_s: float = 0.0
    token_s: float = 3600.0
    releases_folder: str | None = None


@dataclass(frozen=True)
class Reply:
    """An answer on its way out."""

    code: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Front:
    """Everything that the threads of a server share."""

    def __init__(self, configuration: Configuration, folder: Path) -> None:
        self.configuration = configuration
        self.log = Log()
        self.plan = FaultPlan(configuration.faults)
        self.limits = Limits(configuration.max_concurrent, configuration.per_second)
        self.documents = {
            "discovery": json.dumps(discovery_document()).encode(),
            "algorithms": json.dumps(algorithms_document()).encode(),
        }
        kept = folder if configuration.releases_folder is None else Path(configuration.releases_folder)
        self.releases = ReleaseFiles(configuration.planet, configuration.tiles, kept)
        self.http = ThreadingHTTPServer(("127.0.0.1", configuration.port), _handler(self))
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.account = Account(self.url, configuration.project, configuration.token_s)
        self.workers = Workers(configuration.planet, configuration.workers or _cpus())

    def reply(self, method: str, path: str, headers: Any, body: bytes) -> Reply:
        """The answer to one request of the API.

        Raises:
            Refusal: it gets an error instead.
        """
        parts = urlsplit(path)
        route, query = unquote(parts.path), dict(parse_qsl(parts.query))
        if (method, route) == ("GET", "/$discovery/rest"):
            return Reply(200, JSON, self.documents["discovery"])
        if (method, route) == ("POST", "/token"):
            return self._token(body)
        self.account.check(headers.get("Authorization"))
        if (method, route) == ("GET", "/admin/log"):
            return Reply(200, JSON, json.dumps(self.log.encoded()).encode())
        if (method, route) == ("POST", "/admin/faults"):
            self.plan.replace(_plan(body))
            return Reply(200, JSON, b"{}")
        return self._api(method, route, query, body)

    def _token(self, body: bytes) -> Reply:
        try:
            return Reply(200, JSON, json.dumps(self.account.exchange(body)).encode())
        except InvalidGrantError as error:
            return Reply(400, JSON, error.body)

    def _api(self, method: str, route: str, query: dict[str, str], body: bytes) -> Reply:
        match = re.fullmatch(r"/v1/projects/([^/]+)/(.+)", route)
        if match is None:
            raise Refusal(f"The path '{route[:200]}' is not one of the local Earth Engine.", 404)
        project, what = match.groups()
        if project not in (self.configuration.project, "earthengine-public", "earthengine-legacy"):
            raise Refusal(f"Caller does not have required permission to use project {project[:100]}.", 403)
        if (method, what) == ("GET", "algorithms"):
            return Reply(200, JSON, self.documents["algorithms"])
        task = _task(method, what, query, body)
        self.limits.enter()
        try:
            if self.configuration.latency_s:
                time.sleep(self.configuration.latency_s)
            return Reply(*self.workers.answer(task))
        finally:
            self.limits.leave()


def _cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plan(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise Refusal("A fault plan is a list of objects.") from None


def _task(method: str, what: str, query: dict[str, str], body: bytes) -> Task:
    asset = what.removeprefix("assets/")
    if (method, what) == ("POST", "value:compute"):
        return Task("value", "", body, query)
    if (method, what) == ("POST", "image:computePixels"):
        return Task("pixels", "", body, query)
    if asset != what and method == "POST" and asset.endswith(":getPixels"):
        return Task("getPixels", asset.removesuffix(":getPixels"), body, query)
    if asset != what and method == "GET" and asset.endswith(":listAssets"):
        return Task("list", asset.removesuffix(":listAssets"), b"", query)
    if asset != what and method == "GET" and ":" not in asset:
        return Task("asset", asset, b"", query)
    raise Refusal(f"{method} {what[:200]} is not implemented by the local Earth Engine.", 501)


def _handler(front: Front) -> type[BaseHTTPRequestHandler]:
    """A handler class that knows its server's shared state."""

    class Handler(_Handler):
        pass

    Handler.front = front
    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "LocalEarthEngine"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = 300
    front: Front

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: requests are in the log of the server."""

    def _serve(self) -> None:
        begun = time.monotonic()
        front = self.front
        fault, code, sent, body = None, 0, 0, b""
        try:
            body = self._body()
            fault = None if self.path.startswith("/admin/") else front.plan.next(f"{self.command} {self.path}", body)
            if fault is not None and fault.delay_s:
                time.sleep(fault.delay_s)
            if fault is not None and fault.drop:
                self.close_connection = True
                return
            if self.path.startswith("/releases/"):
                code, sent = front.releases.serve(self, fault)
            else:
                code, sent = self._send(self._reply(body, fault), fault)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        finally:
            front.log.add(self._entry(code, time.monotonic() - begun, len(body), sent, fault, body))

    def _reply(self, body: bytes, fault: Fault | None) -> Reply:
        try:
            if fault is not None and fault.html:
                return Reply(fault.status or 200, "text/html; charset=utf-8", LOGIN_PAGE)
            if fault is not None and fault.status is not None:
                message = fault.message or MESSAGES.get(fault.status, "A fault of the plan.")
                return Reply(fault.status, JSON, error_body(fault.status, message))
            return self.front.reply(self.command, self.path, self.headers, body)
        except Refusal as refusal:
            return Reply(refusal.code, JSON, refusal.body)

    def _body(self) -> bytes:
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= MAX_BODY_BYTES or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            self._send(
                Reply(400, JSON, error_body(400, f"Request payload size exceeds the limit: {MAX_BODY_BYTES} bytes.")),
                None,
            )
            self._drain(length)
            raise ConnectionError
        return self.rfile.read(length)

    def _drain(self, length: int) -> None:
        """Take what the client still sends, so that it gets to read the answer; not for ever."""
        self.connection.settimeout(2.0)
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
            fault="" if fault is None else fault_name(fault),
            agent=self.headers.get("User-Agent", ""),
            running=self.front.limits.running,
            workload_tag=None if found is None else found[1].decode("utf-8", "replace"),
        )


def fault_name(fault: Fault) -> str:
    """What a fault does, in a word."""
    if fault.html:
        return "html"
    for name in ("drop", "truncate", "short"):
        if getattr(fault, name) not in (None, False):
            return name
    return "delay" if fault.status is None else str(fault.status)


def main() -> None:
    """Serve until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    given = json.loads(sys.stdin.readline())
    unknown = set(given) - {item.name for item in fields(Configuration)}
    if unknown:
        sys.exit(f"unknown settings: {', '.join(sorted(unknown))}")
    folder = Path(tempfile.mkdtemp(prefix="dwplus-local-ee-"))
    try:
        front = Front(Configuration(**given), folder)
    except (Refusal, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        sys.exit(str(error))
    credentials = folder / "service-account.json"
    credentials.touch(mode=0o600)
    credentials.write_text(front.account.key_file(), "utf-8")
    ended = threading.Event()
    threading.Thread(target=_watch_stdin, args=(ended,), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    threading.Thread(target=front.http.serve_forever, daemon=True).start()
    ready = {"url": front.url, "project": front.configuration.project, "credentials_file": str(credentials)}
    sys.stdout.write(json.dumps(ready | {"token": front.account.admin_token}) + "\n")
    sys.stdout.flush()
    while not ended.wait(PARENT_POLL_S) and os.getppid() == parent:
        pass
    front.workers.close()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # threads may still wait for clients


def _watch_stdin(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


if __name__ == "__main__":
    main()
