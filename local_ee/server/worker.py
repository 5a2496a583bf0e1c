"""Worker processes of the local Earth Engine: each holds a catalogue and answers one request at a time.

Workers are spawned, not forked, and end as soon as the server does: on the end of their pipe while idle, by a watching
thread while they compute.
"""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import queue
import re
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ..refusal import Refusal, error_body
from ..scene import SceneSource
from .profiling import FUNCTION, Meter, MeteredCatalogue, Profile, get_profiles

RECURSION_LIMIT = 20_000
"""Expressions and their images are evaluated by recursion; graphs are bounded in depth (``graph.MAX_DEPTH``)."""


ANSWER_S = 300.0
"""A worker that takes longer is replaced. Source: https://developers.google.com/earth-engine/guides/computation_overview"""

MEMORY_BYTES = 4 * 2**30
"""Memory that one request may take; the largest answer (48 MiB) takes a tenth of it."""

ATTEMPTS = 2
"""Workers that a request gets one after the other if they end before their answer: it may not be to blame."""

START_S = 120.0
"""A worker that takes longer to start is taken for dead."""

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GDAL_NUM_THREADS")
"""Variables that keep a worker to one thread: there is a worker for each CPU."""


@dataclass(frozen=True)
class Task:
    """A request as a worker gets it.

    Attributes:
        kind: key of ``HANDLERS``.
        name: asset id, or ``z/x/y`` of a tile, where the request names one.
        body: JSON text of the request.
        query: parameters of the address.
        profiled: whether its cost is to be measured.
        profiles: those that the request wants; None where it wants none.
    """

    kind: str
    name: str
    body: bytes
    query: dict[str, str]
    profiled: bool = False
    profiles: Mapping[str, Profile] | None = None


@dataclass(frozen=True)
class Outcome:
    """The answer to a task: HTTP code, content type, body, and what it cost if that was measured."""

    code: int
    content_type: str
    body: bytes
    profile: Profile | None = None


def load_catalogue(planet: dict[str, Any]) -> SceneSource:
    """The catalogue of a planet.

    ``{"kind": "python", "file": ..., "function": ...}`` calls a function of a file, with all of ``planet``: for
    tests that bring their own scenes. The configuration names it, never a request.
    """
    if planet.get("kind") == "python":
        make = load_file(Path(planet["file"])).__dict__[planet["function"]]
        catalogue: SceneSource = make(planet)
        return catalogue
    from ..catalogue.catalogue import Catalogue
    from ..planet.planet import make_planet

    found: SceneSource = Catalogue(make_planet(planet))
    return found


def load_file(path: Path) -> Any:
    """The module that a Python file makes."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def answer(catalogue: SceneSource, task: Task) -> Outcome:
    """The answer to a task; refusals are answers too."""
    if not task.profiled:
        return Outcome(*_answer(catalogue, task))
    meter = Meter()
    metered: Any = MeteredCatalogue(catalogue, meter)
    code, content_type, body = _answer(metered, task)
    return Outcome(code, content_type, body, meter.profile(len(body)))


def _answer(catalogue: SceneSource, task: Task) -> tuple[int, str, bytes]:
    """HTTP code, content type and body."""
    from ..evaluator.graph import VALUE_ERRORS
    from .assets import get_asset, list_assets
    from .map_tiles import announce_map, map_tile
    from .pixels import JSON, compute_pixels, compute_value, get_pixels
    from .thumbnails import announce, download

    handlers: dict[str, Callable[[dict[str, Any]], Any]] = {
        "value": lambda body: compute_value(catalogue, body),
        "profiles": lambda body: _compute_with_profiles(catalogue, body, task.profiles or {}),
        "pixels": lambda body: compute_pixels(catalogue, body),
        "getPixels": lambda body: get_pixels(catalogue, task.name, body),
        "announce": lambda body: announce(catalogue, body),
        "download": lambda body: download(catalogue, body),
        "announceMap": lambda body: announce_map(catalogue, body),
        "tile": lambda body: map_tile(catalogue, task.name, body),
        "asset": lambda _: get_asset(catalogue, task.name),
        "list": lambda _: list_assets(catalogue, task.name, task.query),
    }
    try:
        result = handlers[task.kind](_json(task.body))
    except Refusal as refusal:
        return refusal.code, JSON, refusal.body
    except (RecursionError, MemoryError) as error:
        return 400, JSON, error_body(400, f"User memory limit exceeded ({type(error).__name__}).")
    except VALUE_ERRORS as error:
        # Found later than it should be, where pixels are computed or a result is written; the line helps to find it.
        sys.stderr.write(f"local Earth Engine: {task.kind} refused: {type(error).__name__}: {error}\n")
        return 400, JSON, error_body(400, f"Invalid request ({type(error).__name__}: {str(error)[:200]}).")
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 500, JSON, error_body(500, f"An internal error has occurred ({type(error).__name__}: {error})")
    return result.code, result.content_type, result.body


def _compute_with_profiles(catalogue: SceneSource, body: dict[str, Any], profiles: Mapping[str, Profile]) -> Any:
    """``pixels.compute_value`` with one more function, which knows the server's profiles."""
    from ..evaluator.functions import functions
    from ..evaluator.graph import Graph, Interpreter
    from ..evaluator.values import check_length, encode
    from .pixels import JSON, Answer

    table = {**functions(catalogue), FUNCTION: get_profiles(profiles)}
    value = Interpreter(Graph(body.get("expression")), table).result()
    check_length(value)
    return Answer(200, JSON, json.dumps({"result": encode(value)}).encode())


def _json(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise Refusal("Invalid JSON payload received.") from None
    if not isinstance(parsed, dict):
        raise Refusal("Invalid JSON payload received: an object is needed.")
    _refuse_files(parsed)
    return parsed


_FILE_OF_PROJ = re.compile(
    r'\b(init|proj|\w*grids)\s*=|PARAMETERFILE|EXTENSION\s*\[|^\s*\{.*"(\$schema|type)"', re.IGNORECASE | re.DOTALL
)
"""Texts that the projection library would open files for: a CRS is a code or plain WKT."""


def _refuse_files(parsed: Any) -> None:
    """Refuse texts in which the projection library sees names of files.

    Raises:
        Refusal: there is one.
    """
    rest = [parsed]
    while rest:
        item = rest.pop()
        if isinstance(item, dict):
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)
        elif isinstance(item, str) and _FILE_OF_PROJ.search(item):
            raise Refusal(f"The CRS of a map projection could not be parsed: '{item[:200]}'.")


def work(connection: Connection, planet: dict[str, Any]) -> None:
    """Main function of a worker process: say ready (or why not), then answer tasks until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.setrecursionlimit(RECURSION_LIMIT)
    try:
        catalogue = load_catalogue(planet)
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
        return
    connection.send(None)
    _bound_memory()
    from . import assets, pixels  # noqa: F401  (half a second, while the client still says hello)

    try:
        while True:
            task = connection.recv()
            outcome = answer(catalogue, task)
            connection.send((outcome.code, outcome.content_type, outcome.profile))
            connection.send_bytes(outcome.body)
    except (EOFError, OSError):
        return


def _bound_memory() -> None:
    """Let allocations fail, which is answered, before the machine runs out of memory, which ends processes."""
    try:
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = used + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    except (OSError, ValueError):  # no such file or limit on this system
        return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class Workers:
    """A pool of worker processes; a request takes the first that is idle, and one that ended is replaced.

    Args:
        planet: what ``load_catalogue`` makes a catalogue of.
        count: number of processes.

    Raises:
        Refusal: a worker cannot start, with its reason.
    """

    def __init__(self, planet: dict[str, Any], count: int) -> None:
        os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
        self._planet = planet
        self._context = multiprocessing.get_context("spawn")
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._all = [_Worker(self._context, planet) for _ in range(count)]
        try:
            self._all[0].wait_ready()
        except Refusal:
            self.close()
            raise
        for worker in self._all:
            self._idle.put(worker)

    def answer(self, task: Task) -> Outcome:
        """The answer to a task, once a worker has time for it."""
        worker = self._idle.get()
        try:
            for _ in range(ATTEMPTS):
                try:
                    return worker.answer(task)
                except (EOFError, OSError):
                    sys.stderr.write(f"local Earth Engine: worker {worker.pid} ended before its answer; replaced\n")
                    worker = self._replace(worker)
            return _failed(500, "An internal error has occurred (a worker process ended).")
        except Refusal as refusal:
            worker = self._replace(worker)
            return _failed(refusal.code, refusal.message)
        finally:
            self._idle.put(worker)

    def _replace(self, worker: _Worker) -> _Worker:
        worker.stop()
        with self._lock:
            if self._closed:
                return worker
            fresh = _Worker(self._context, self._planet)
            self._all = [fresh if item is worker else item for item in self._all]
        return fresh

    def close(self) -> None:
        """End all workers at once."""
        with self._lock:
            self._closed = True
        for worker in self._all:
            worker.stop()


def _failed(code: int, message: str) -> Outcome:
    return Outcome(code, "application/json; charset=UTF-8", error_body(code, message))


class _Worker:
    """One process and the server's end of its pipe."""

    def __init__(self, context: Any, planet: dict[str, Any]) -> None:
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, planet), daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def wait_ready(self) -> None:
        if self._ready:
            return
        reason: str | None = f"no answer within {START_S:g} s"
        try:
            if self._connection.poll(START_S):
                reason = self._connection.recv()
        except (EOFError, OSError):
            reason = "the process ended"
        if reason is not None:
            raise Refusal(f"A worker process could not start: {reason}", code=500)
        self._ready = True

    def answer(self, task: Task) -> Outcome:
        self.wait_ready()
        self._connection.send(task)
        if not self._connection.poll(ANSWER_S):
            raise Refusal("Computation timed out.")
        code, content_type, profile = self._connection.recv()
        return Outcome(code, content_type, self._connection.recv_bytes(), profile)

    def stop(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.join(1.0)
