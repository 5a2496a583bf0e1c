"""Start a local Earth Engine as a separate process, and end it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from ..pipeline.errors import ServiceError

STOP_S = 5.0
MODULE = f"{__package__}.server"


class LocalEarthEngine:
    """A running local Earth Engine; use it in a ``with`` statement, or call ``start`` and ``stop``.

    It ends with the process that started it, however that ends.

    Args:
        planet: which planet it shows, e.g. ``{"kind": "earth", "seed": 7}``.
        tiles: number of label tiles in its releases.
        faults: what goes wrong on purpose, see ``faults.Fault``.
        workers: number of worker processes; None = one for each CPU.
        project: id of its project.
        port: 0 = any that is free.
        max_concurrent, per_second: quotas beyond which requests get 429; None = none.
        latency: seconds added to each API answer, or a distribution, see ``latency.latency_of``.
        token_s: how long a token is good for.
        releases_folder: where label archives are kept from one start to the next; None = made anew.
        start_s: how long it may take to start.
        stderr: where the server reports its own defects; None = kept for ``complaints``.
    """

    def __init__(
        self,
        planet: dict[str, Any] | None = None,
        tiles: int = 132,
        faults: list[dict[str, Any]] | None = None,
        workers: int | None = None,
        *,
        project: str = "local-earth-engine",
        port: int = 0,
        max_concurrent: int | None = None,
        per_second: float | None = None,
        latency: float | dict[str, Any] = 0.0,
        token_s: float = 3600.0,
        releases_folder: Path | None = None,
        start_s: float = 120.0,
        stderr: IO[str] | None = None,
    ) -> None:
        self._configuration = {
            "planet": {"kind": "earth", "seed": 7} if planet is None else planet,
            "tiles": tiles,
            "faults": faults,
            "workers": workers,
            "project": project,
            "port": port,
            "max_concurrent": max_concurrent,
            "per_second": per_second,
            "latency": latency,
            "token_s": token_s,
            "releases_folder": None if releases_folder is None else str(releases_folder),
        }
        self._start_s = start_s
        self._stderr = stderr
        self._complaints: IO[str] | None = None
        self._process: subprocess.Popen[str] | None = None
        self._ready: dict[str, str] = {}

    def __enter__(self) -> LocalEarthEngine:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> LocalEarthEngine:
        """Start the server and wait until it answers.

        Raises:
            ServiceError: it does not start, with what it said last.
        """
        if self._stderr is None:
            self._complaints = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  (closed by stop)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],  # -P: no module of the working folder gets in between
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr or self._complaints,
            text=True,
            start_new_session=True,  # Ctrl-C in the terminal is for the client, which then ends the server
        )
        try:
            line = self._exchange(json.dumps(self._configuration) + "\n")
        except BaseException:
            self.stop()
            raise
        ready = json.loads(line) if line else {"error": self._last_words()}
        if "error" in ready:
            self.stop()
            raise ServiceError(f"the local Earth Engine did not start: {ready['error']}")
        self._ready = ready
        return self

    def _last_words(self) -> str:
        lines = self.complaints().strip().splitlines()
        return lines[-1] if lines else f"no answer within {self._start_s:g} s"

    def complaints(self) -> str:
        """What the server has reported of its own defects since it was started."""
        if self._complaints is None or self._complaints.closed:
            return ""
        # The server writes at the end of the same open file: read without moving its place.
        size = os.fstat(self._complaints.fileno()).st_size
        return os.pread(self._complaints.fileno(), size, 0).decode("utf-8", "replace")

    def wait(self) -> int:
        """Wait until the server has ended; gives its exit code."""
        assert self._process is not None, "the local Earth Engine is not running"
        return self._process.wait()

    def _exchange(self, configuration: str) -> str:
        """Send the configuration; the server's first line, empty where it ended or took too long."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Timer(self._start_s, process.kill)
        late.start()
        try:
            process.stdin.write(configuration)
            process.stdin.flush()
            return process.stdout.readline()
        except BrokenPipeError:
            return ""
        finally:
            late.cancel()

    def stop(self) -> None:
        """End the server; nothing happens where it has ended already."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        if self._complaints is not None:
            self._complaints.close()

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None, "the local Earth Engine is not running"
        return self._process.pid

    @property
    def url(self) -> str:
        return self._ready["url"]

    @property
    def project(self) -> str:
        return self._ready["project"]

    @property
    def credentials_file(self) -> Path:
        """Key of a service account that this server, and no other, accepts."""
        return Path(self._ready["credentials_file"])

    @property
    def releases_url(self) -> str:
        """Where the label archives are."""
        return f"{self.url}/releases"

    def environment(self) -> dict[str, str]:
        """Variables that make an unmodified Earth Engine client speak to this server."""
        return {
            "EE_URL": self.url,
            "EE_PROJECT_ID": self.project,
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.credentials_file),
            "NO_PROXY": "127.0.0.1",
            "NO_GCE_CHECK": "true",
        }

    def log(self) -> dict[str, Any]:
        """``{"counts": {"POST image:computePixels 200": 3}, "requests": [...], "faults": [{"fault": "429", "met": 3,
        "struck": 1}]}``, see ``request_log.LogEntry`` and ``faults.FaultPlan.counted``."""
        answer: dict[str, Any] = self._admin("log")
        return answer

    def set_faults(self, faults: list[dict[str, Any]]) -> None:
        """Replace the plan of faults; an empty one ends them."""
        self._admin("faults", json.dumps(faults).encode())

    def _admin(self, what: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/admin/{what}", data=body, headers={"Authorization": f"Bearer {self._ready['token']}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            reason = json.load(error)["error"]["message"]
            raise ServiceError(f"the local Earth Engine refused {what}: {reason}") from None
        except OSError as error:
            raise ServiceError(f"the local Earth Engine at {self.url} does not answer: {error}") from None


def how_to_connect(engine: LocalEarthEngine, seed: int) -> str:
    """What a person needs to use a running server from a shell and from Python."""
    exports = "\n".join(f"  export {name}={shlex.quote(value)}" for name, value in engine.environment().items())
    return f"""\
SANDBOX: a local Earth Engine over a synthetic planet (seed {seed}) runs at {engine.url}; Ctrl-C ends it.

In a shell:
{exports}

In Python, from that shell:
  import os, ee
  ee.Initialize(url=os.environ["EE_URL"], project=os.environ["EE_PROJECT_ID"])
  scenes = ee.ImageCollection("COPERNICUS/S2_SR_HARMONIZED").filterBounds(ee.Geometry.Point(11.4, 48.1))
  summer = scenes.filterDate("2019-07-01", "2019-07-31")
  print(summer.aggregate_array("system:index").getInfo())

Label releases: {engine.releases_url}/"""
