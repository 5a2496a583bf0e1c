"""What a server answers, without the transport: configuration and state that all its threads share, and routes."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from ...pipeline.machine import usable_cores
from ..evaluator.documents import algorithms_document, discovery_document
from ..refusal import Refusal
from .faults import FaultPlan
from .latency import latency_of
from .pending_downloads import PendingDownloads
from .profiling import REPLY_HEADER, REQUEST_HEADER, Profiles
from .quotas import Quotas
from .releases_http import ReleaseFiles, split
from .request_log import Log
from .tokens import Account, InvalidGrantError
from .worker import Task, Workers

JSON = "application/json; charset=UTF-8"


@dataclass(frozen=True)
class ServerSettings:
    """What a server is started with.

    Attributes:
        planet: the planet, see ``worker.load_catalogue``.
        tiles: number of label tiles in its releases.
        project: id of the project that requests name.
        port: 0 = any that is free.
        workers: number of worker processes; None = one for each CPU.
        faults: plan, see ``faults.Fault``.
        max_concurrent, per_second: quotas beyond which requests get 429; None = none.
        latency: seconds added to each API answer, or a distribution, see ``latency.latency_of``.
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
    latency: float | dict[str, Any] = 0.0
    token_s: float = 3600.0
    releases_folder: str | None = None


@dataclass(frozen=True)
class Reply:
    """An answer on its way out."""

    code: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Router:
    """Everything that the threads of a server share.

    Args:
        configuration: of the server.
        folder: private to the server.
        port: that it listens on.

    Raises:
        Refusal: the configuration cannot be read, or a worker cannot start.
    """

    def __init__(self, settings: ServerSettings, folder: Path, port: int) -> None:
        self.settings = settings
        self.url = f"http://127.0.0.1:{port}"
        self.hosts = frozenset((f"127.0.0.1:{port}", f"localhost:{port}"))
        self.log = Log()
        self.plan = FaultPlan(settings.faults)
        self.quotas = Quotas(settings.max_concurrent, settings.per_second)
        self.profiles = Profiles()
        self.pending = PendingDownloads()
        self._latency = latency_of(settings.latency)
        self.documents = {
            "discovery": json.dumps(discovery_document()).encode(),
            "algorithms": json.dumps(algorithms_document()).encode(),
        }
        kept = folder if settings.releases_folder is None else Path(settings.releases_folder)
        self.releases = ReleaseFiles(settings.planet, settings.tiles, kept)
        self.account = Account(self.url, settings.project, settings.token_s)
        self.workers = Workers(settings.planet, settings.workers or usable_cores())

    def check_host(self, host: str | None) -> None:
        """Refuse requests that a page of another site sends here under its own name (DNS rebinding).

        Raises:
            Refusal: 403, the ``Host`` header is missing or another's.
        """
        if (host or "").lower() not in self.hosts:
            raise Refusal(f"Host '{(host or '')[:100]}' is not this server.", 403)

    def reply(self, method: str, path: str, headers: Any, body: bytes) -> Reply:
        """The answer to one request of the API.

        Raises:
            Refusal: it gets an error instead.
        """
        route, text = split(path)
        query = dict(parse_qsl(text))
        if (method, route) == ("GET", "/$discovery/rest"):
            return Reply(200, JSON, self.documents["discovery"])
        if (method, route) == ("POST", "/token"):
            return self._token(body)
        pending = self.pending.body(route) if method == "GET" else None
        if pending is not None:  # anyone who knows the name of a thumbnail may fetch it
            return self._answered(Task("download", "", pending, query))
        tile = self.pending.tile(route) if method == "GET" else None
        if tile is not None:  # a web page shows tiles without credentials
            return self._answered(Task("tile", tile[0], tile[1], query))
        self.account.check(headers.get("Authorization"))
        if (method, route) == ("GET", "/admin/log"):
            return Reply(200, JSON, json.dumps(self.log.encoded() | {"faults": self.plan.counted()}).encode())
        if (method, route) == ("POST", "/admin/faults"):
            self.plan.replace(_plan(body))
            return Reply(200, JSON, b"{}")
        return self._api(method, route, query, headers, body)

    def _token(self, body: bytes) -> Reply:
        try:
            return Reply(200, JSON, json.dumps(self.account.exchange(body)).encode())
        except InvalidGrantError as error:
            return Reply(400, JSON, error.body)

    def _api(self, method: str, route: str, query: dict[str, str], headers: Any, body: bytes) -> Reply:
        match = re.fullmatch(r"/v1/projects/([^/]+)/(.+)", route)
        if match is None:
            raise Refusal(f"The path '{route[:200]}' is not one of the local Earth Engine.", 404)
        project, what = match.groups()
        if project not in (self.settings.project, "earthengine-public", "earthengine-legacy"):
            raise Refusal(f"Caller does not have required permission to use project {project[:100]}.", 403)
        if (method, what) == ("GET", "algorithms"):
            return Reply(200, JSON, self.documents["algorithms"])
        task = self._task(method, what, query, headers, body)
        reply = self._answered(task)
        if task.kind == "announce" and reply.code == 200:
            return replace(reply, body=self.pending.keep(project, body))
        if task.kind == "announceMap" and reply.code == 200:
            return replace(reply, body=self.pending.keep(project, body, "maps"))
        return reply

    def _answered(self, task: Task) -> Reply:
        self.quotas.enter()
        try:
            if wait := self._latency():
                time.sleep(wait)
            outcome = self.workers.answer(task)
        finally:
            self.quotas.leave()
        profile = () if outcome.profile is None else ((REPLY_HEADER, self.profiles.add(outcome.profile)),)
        return Reply(outcome.code, outcome.content_type, outcome.body, profile)

    def _task(self, method: str, what: str, query: dict[str, str], headers: Any, body: bytes) -> Task:
        asset, profiled = what.removeprefix("assets/"), headers.get(REQUEST_HEADER) == "1"
        if (method, what) == ("POST", "value:compute"):
            asked = self.profiles.named_in(body)
            return Task("value" if asked is None else "profiles", "", body, query, profiled, asked)
        if (method, what) == ("POST", "image:computePixels"):
            return Task("pixels", "", body, query, profiled)
        if (method, what) == ("POST", "thumbnails"):
            return Task("announce", "", body, query, profiled)
        if (method, what) == ("POST", "maps"):
            return Task("announceMap", "", body, query, profiled)
        if method == "GET" and re.match("maps/[^/]+/tiles/", what):
            raise Refusal(
                f"Map '{what.split('/')[1][:100]}' not found; it was announced to another server, or long ago.", 404
            )
        if asset != what and method == "POST" and asset.endswith(":getPixels"):
            return Task("getPixels", asset.removesuffix(":getPixels"), body, query, profiled)
        if asset != what and method == "GET" and asset.endswith(":listAssets"):
            return Task("list", asset.removesuffix(":listAssets"), b"", query)
        if asset != what and method == "GET" and ":" not in asset:
            return Task("asset", asset, b"", query)
        raise Refusal(f"{method} {what[:200]} is not implemented by the local Earth Engine.", 501)


def _plan(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal("A fault plan is a list of objects.") from None
