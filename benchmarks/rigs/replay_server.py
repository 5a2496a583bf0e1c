"""A server of the Earth Engine API that replays recorded responses, to measure a client and not the service.

    python benchmarks/rigs/replay_server.py --answers FOLDER --latency 2 --max-concurrent 8

The responses were recorded once from the local Earth Engine (``record``): pixels of real size (8.3 MB per tile) and the
scene search, with the outline of its scene widened to contain every label tile of ``make_labels``. A response takes
``--latency`` seconds and hardly any CPU; requests beyond ``--max-concurrent`` get 429. The log (``GET /admin/log``)
holds the times and the text of every request, so that another client can send it again. Pixels are synthetic: the
server calls itself SANDBOX.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import math
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PROJECT = "replay"
CRS = "EPSG:32749"
DAY = "20190713"
ORIGIN = (590_130.0, 9_103_900.0)
"""Upper left corner of the first label tile: a place and a day for which the planet has a Sentinel-2 scene."""
SIZE_PX = 510
WIDE_RING = [[104.0, -28.0], [118.0, -28.0], [118.0, 4.0], [104.0, 4.0], [104.0, -28.0]]
"""An outline around all label tiles, degrees."""
TOO_MANY = "Too many concurrent requests."
JSON = "application/json; charset=UTF-8"


# --- label tiles ------------------------------------------------------------------------------------------------------


def make_labels(folder: Path, count: int, *, spacing_m: float = 5200.0) -> list[str]:
    """Label tiles as released (510 x 510 px, uint8), side by side in one UTM zone; their ids."""
    import numpy as np
    import rasterio
    from pyproj import Transformer
    from rasterio.transform import Affine

    to_lonlat = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    columns = max(1, min(400, math.isqrt(count)))
    place = folder / "Experts" / "EH" / "1"
    place.mkdir(parents=True, exist_ok=True)
    ids = []
    for number in range(count):
        x = ORIGIN[0] + spacing_m * (number % columns)
        y = ORIGIN[1] + spacing_m * (number // columns)
        half = 5.0 * SIZE_PX
        lon, lat = to_lonlat.transform(x + half, y - half)
        ids.append(f"dw_{lon:.10f}_{lat:.10f}-{DAY}")
        codes = np.random.default_rng(number).integers(1, 10, (17, 17), dtype=np.uint8).repeat(30, 0).repeat(30, 1)
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": SIZE_PX, "width": SIZE_PX}
        transform = Affine(10.0, 0.0, x, 0.0, -10.0, y)
        with rasterio.open(
            place / f"{ids[-1]}.tif", "w", crs=CRS, transform=transform, compress="deflate", **profile
        ) as file:
            file.write(codes, 1)
    return ids


# --- answers ----------------------------------------------------------------------------------------------------------


def kind_of(body: bytes) -> str:
    """A name for all requests that differ in numbers only: coordinates and days, mostly."""
    return hashlib.sha256(re.sub(rb"-?\d+(\.\d+)?(e-?\d+)?", b"#", body)).hexdigest()[:16]


def place_of(body: bytes) -> str:
    """Upper left corner of the tile that a request is about, ``x,y`` in metres; empty where it names none."""
    grid = [re.search(rb'"translate%s": ?(-?[\d.]+)' % axis, body) for axis in (b"X", b"Y")]
    if all(grid):
        x, y = (float(found[1]) for found in grid if found)
        return f"{x:.0f},{y:.0f}"
    box = re.search(rb"\[(-?[\d.]+), ?(-?[\d.]+), ?(-?[\d.]+), ?(-?[\d.]+)\]", body)
    return f"{float(box[1]):.0f},{float(box[4]):.0f}" if box else ""


@dataclass
class Answers:
    """What was recorded: pixels in turn, and one answer for each kind of ``value:compute``."""

    pixels: list[bytes] = field(default_factory=list)
    values: dict[str, bytes] = field(default_factory=dict)

    @staticmethod
    def read(folder: Path) -> Answers:
        values = {path.stem: path.read_bytes() for path in folder.glob("*.json")}
        return Answers([path.read_bytes() for path in sorted(folder.glob("*.npy"))], values)

    def write(self, folder: Path) -> None:
        for number, content in enumerate(self.pixels):
            (folder / f"{number}.npy").write_bytes(content)
        for kind, content in self.values.items():
            (folder / f"{kind}.json").write_bytes(content)


def widened(value: Any) -> Any:
    """A JSON value with the wide outline in place of every geometry."""
    if isinstance(value, list):
        return [widened(item) for item in value]
    if isinstance(value, dict):
        if "coordinates" in value:
            ring = WIDE_RING if value.get("type") == "LinearRing" else [WIDE_RING]
            return {**value, "coordinates": ring}
        return {key: widened(item) for key, item in value.items()}
    return value


# --- the server -------------------------------------------------------------------------------------------------------


@dataclass
class Settings:
    """How the server behaves.

    Attributes:
        latency_s, search_latency_s: of pixels, and of everything else that is computed.
        max_concurrent: requests at a time, more get 429; None = any number.
        retry_after_s: the ``Retry-After`` of a 429; None = no such header.
        upstream: a server that requests are passed on to; None = replay from memory.
        keep: keep what it answers.
    """

    latency_s: float = 2.0
    search_latency_s: float = 0.5
    max_concurrent: int | None = None
    retry_after_s: float | None = None
    upstream: str | None = None
    keep: bool = False


class ReplayServer:
    """One thread for each connection; bodies go out of memory as they are."""

    def __init__(self, answers: Answers, settings: Settings) -> None:
        from dwplus.local_ee.evaluator.documents import algorithms_document, discovery_document
        from dwplus.local_ee.server.tokens import Account

        self.answers, self.settings = answers, settings
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.account = Account(self.url, PROJECT)
        self._documents = {
            "discovery": json.dumps(discovery_document()).encode(),
            "algorithms": json.dumps(algorithms_document()).encode(),
        }
        self._lock = threading.Lock()
        self._running = 0
        self._log: list[dict[str, Any]] = []

    def start(self) -> ReplayServer:
        """Serve in a thread, as long as this process lives."""
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        rest = b""
        try:
            while True:
                head, rest = _until(connection, rest, b"\r\n\r\n")
                method, path, headers = _parse(head)
                length = int(headers.get("content-length", 0))
                while len(rest) < length:
                    rest += _more(connection)
                body, rest = rest[:length], rest[length:]
                self._answer(connection, method, path, headers, body)
        except OSError:
            connection.close()

    def _answer(self, connection: socket.socket, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        route = urlsplit(path).path.rsplit("/", 1)[-1]
        entry = {
            "begun": time.monotonic(), "ended": None, "route": route, "code": 0, "sent": 0, "running": self._running,
            "place": place_of(body), "path": path, "body": body.decode(errors="replace"),
        }  # fmt: skip
        if "/admin/" not in path:
            with self._lock:
                self._log.append(entry)
        code, content_type, content, extra = self._content(method, route, path, headers, body)
        reason = http.client.responses.get(code, "")
        fields = [f"HTTP/1.1 {code} {reason}", f"Content-Type: {content_type}", f"Content-Length: {len(content)}"]
        connection.sendall("\r\n".join([*fields, *extra, "", ""]).encode())
        connection.sendall(content)
        entry.update(code=code, sent=len(content), ended=time.monotonic())

    def _content(
        self, method: str, route: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, str, bytes, list[str]]:
        if route == "rest":
            return 200, JSON, self._documents["discovery"], []
        if route == "algorithms":
            return 200, JSON, self._documents["algorithms"], []
        if route == "token":
            return 200, JSON, json.dumps(self.account.exchange(body)).encode(), []
        if path == "/admin/log":
            return 200, JSON, json.dumps(self.summary()).encode(), []
        if path == "/admin/settings":
            with self._lock:
                self.settings = Settings(**json.loads(body))
                self._log = []
            return 200, JSON, b"{}", []
        if self.settings.upstream is not None:
            return self._forwarded(method, route, path, headers, body)
        return self._replayed(route, body)

    def _replayed(self, route: str, body: bytes) -> tuple[int, str, bytes, list[str]]:
        settings = self.settings
        with self._lock:
            if settings.max_concurrent is not None and self._running >= settings.max_concurrent:
                error = {"error": {"code": 429, "message": TOO_MANY, "status": "RESOURCE_EXHAUSTED"}}
                header = [] if settings.retry_after_s is None else [f"Retry-After: {settings.retry_after_s:g}"]
                return 429, JSON, json.dumps(error).encode(), header
            self._running += 1
        is_pixels = route == "image:computePixels"
        time.sleep(settings.latency_s if is_pixels else settings.search_latency_s)
        with self._lock:
            self._running -= 1
        if is_pixels:
            # The same tile gets the same pixels at all times.
            number = zlib.crc32(place_of(body).encode()) % len(self.answers.pixels)
            return 200, "application/octet-stream", self.answers.pixels[number], []
        return 200, JSON, self.answers.values.get(kind_of(body), b'{"result": null}'), []

    def _forwarded(
        self, method: str, route: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, str, bytes, list[str]]:
        upstream = urlsplit(self.settings.upstream or "")
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=120)
        kept = {name: headers[name] for name in ("authorization", "content-type") if name in headers}
        connection.request(method, path, body=body, headers=kept)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if not self.settings.keep or answer.status != 200:
            pass
        elif route == "image:computePixels":
            self.answers.pixels.append(content)
        else:
            self.answers.values.setdefault(kind_of(body), json.dumps(widened(json.loads(content))).encode())
        return answer.status, answer.headers.get("Content-Type", JSON), content, []

    def requests(self) -> list[dict[str, Any]]:
        """All requests so far, in order of arrival; ``ended`` is None where the answer is not out."""
        with self._lock:
            return list(self._log)

    def forget(self) -> None:
        """Empty the log."""
        with self._lock:
            self._log = []

    def summary(self) -> dict[str, Any]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {"requests": self.requests(), "cpu_s": used.ru_utime + used.ru_stime}


def _more(connection: socket.socket) -> bytes:
    found = connection.recv(1 << 16)
    if not found:
        raise ConnectionResetError
    return found


def _until(connection: socket.socket, rest: bytes, mark: bytes) -> tuple[bytes, bytes]:
    while mark not in rest:
        rest += _more(connection)
    head, _, rest = rest.partition(mark)
    return head, rest


def _parse(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    return method, path, {name.strip().lower(): value.strip() for name, _, value in (li.partition(":") for li in lines)}


# --- starting it ------------------------------------------------------------------------------------------------------


class Replay:
    """A running replay server in a process of its own, as the scripts of this folder use it."""

    def __init__(self, process: subprocess.Popen[str], ready: dict[str, str]) -> None:
        self._process = process
        self.url, self.key_file = ready["url"], ready["key_file"]

    def environment(self) -> dict[str, str]:
        """Variables with which an unmodified client speaks to it."""
        return {
            "EE_URL": self.url, "EE_PROJECT_ID": PROJECT, "GOOGLE_APPLICATION_CREDENTIALS": self.key_file,
            "NO_PROXY": "127.0.0.1", "NO_GCE_CHECK": "true",
        }  # fmt: skip

    def log(self) -> dict[str, Any]:
        return dict(self._admin("log"))

    def set(self, **settings: Any) -> None:
        """New settings, and an empty log."""
        self._admin("settings", json.dumps(settings).encode())

    def _admin(self, what: str, body: bytes | None = None) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/admin/{what}", data=body, timeout=60) as answer:
            return json.load(answer)


@contextmanager
def replaying(answers: Path) -> Iterator[Replay]:
    """A replay server over recorded answers; it ends with the block."""
    command = [sys.executable, __file__, "--answers", str(answers)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Replay(process, json.loads(process.stdout.readline()))
        finally:
            process.kill()


def record(folder: Path, *, tiles: int = 3) -> Path:
    """Record answers of the local Earth Engine to the client's own requests for a few tiles; the folder.

    The client speaks to a replay server that passes everything on and keeps the answers.
    """
    from dwplus.local_ee.launch import LocalEarthEngine

    if list(folder.glob("*.npy")):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, LocalEarthEngine() as engine:
        make_labels(Path(name) / "labels", tiles, spacing_m=300.0)
        answers = Answers()
        server = ReplayServer(answers, Settings(upstream=engine.url, keep=True)).start()
        command = [sys.executable, "-m", "dwplus.cli", "build", "--labels", f"{name}/labels", "--data", f"{name}/data"]
        command += ["--source", "earthengine", "--ee-url", server.url]
        environment = {**os.environ, **engine.environment(), "EE_URL": server.url}
        subprocess.run(command, check=True, env=environment, capture_output=True)
        assert len(answers.pixels) == tiles, f"{len(answers.pixels)} answers instead of {tiles}"
        answers.write(folder)
    return folder


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=Path, required=True, help="folder of answers; recorded first if it is empty")
    parser.add_argument("--labels", type=Path, help="also make label tiles in this folder")
    parser.add_argument("--tiles", type=int, default=200, help="how many label tiles")
    parser.add_argument("--latency", type=float, default=2.0, help="seconds for pixels")
    parser.add_argument("--search-latency", type=float, default=0.5, help="seconds for a scene search")
    parser.add_argument("--max-concurrent", type=int, help="requests at a time; more get 429")
    parser.add_argument("--retry-after", type=float, help="Retry-After of a 429, seconds")
    options = parser.parse_args(arguments)
    record(options.answers)
    if options.labels is not None:
        make_labels(options.labels, options.tiles)
    settings = Settings(options.latency, options.search_latency, options.max_concurrent, options.retry_after)
    server = ReplayServer(Answers.read(options.answers), settings).start()
    key = options.answers / f"key-{urlsplit(server.url).port}.key"
    key.write_text(server.account.key_file())
    print(json.dumps({"url": server.url, "project": PROJECT, "key_file": str(key)}), flush=True)
    sys.stdin.read()  # whoever started it has ended


if __name__ == "__main__":
    main()
