"""A build that is killed with SIGKILL at chosen moments and started again, compared with an undisturbed build.

A moment is counted in progress, not in time: the k-th pixel request arrives, the k-th tile is in the ledger, a label,
a shard or the findings are half written, shards are being validated.

The client uses the local Earth Engine through a server in this process (``replay_server.py`` with an upstream). Its log
says which tile each request is about.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dwplus.local_ee.launch import LocalEarthEngine

from rigs import watched
from rigs.replay_server import Answers, ReplayServer, Settings, make_labels

PIXELS = "image:computePixels"
CONCURRENCY = 4
IN_FLIGHT = 2 * CONCURRENCY
"""Most tiles that are requested and have no shard yet: requests in flight, and pixels that are being encoded."""
GIVE_UP_S = 120.0


@dataclass(frozen=True)
class Moment:
    """When to kill: after ``count`` more events of a ``kind`` of progress since this start."""

    kind: str
    count: int = 1

    def __str__(self) -> str:
        return f"{self.kind} {self.count}"


@dataclass
class Build:
    """One start of the build."""

    process: subprocess.Popen[bytes]
    root: Path
    server: ReplayServer

    def counts(self, kind: str) -> int:
        """Events of a kind of progress, in total."""
        return PROGRESS[kind](self)


def _labels(build: Build) -> int:
    return sum(1 for _ in (build.root / "labels").rglob("*.tif"))


def _ledger(build: Build) -> int:
    path = build.root / "ledger.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def _any_request(build: Build) -> int:
    return len(build.server.requests())


def _pixel_requests(build: Build) -> int:
    return sum(r["route"] == PIXELS for r in build.server.requests())


def _pixel_responses(build: Build) -> int:
    return sum(r["route"] == PIXELS and r["ended"] is not None for r in build.server.requests())


def _shards(build: Build) -> int:
    return sum(1 for _ in (build.root / "shards").rglob("dw_*.tif"))


def _part_below(build: Build, folder: str, pattern: str) -> int:
    """1 while a file is half written: the process is stopped (SIGSTOP) until that is certain."""
    if not any((build.root / folder).rglob(pattern)):
        return 0
    os.kill(build.process.pid, signal.SIGSTOP)
    if any((build.root / folder).rglob(pattern)):
        return 1
    os.kill(build.process.pid, signal.SIGCONT)
    return 0


def _label_part(build: Build) -> int:
    return _part_below(build, "labels", ".*.part")


def _shard_part(build: Build) -> int:
    return _part_below(build, "shards", ".*.part")


def _findings_part(build: Build) -> int:
    # not below labels/ and shards/, where listing files takes longer than the file exists
    if not any(build.root.glob(".findings*.part")):
        return 0
    return _part_below(build, "", ".findings*.part")


def _findings(build: Build) -> int:
    return int((build.root / "findings.json").is_file())


def _validators(build: Build) -> int:
    """Worker processes: the validation starts them."""
    path = Path(f"/proc/{build.process.pid}/task")
    try:
        return sum(len((task / "children").read_text().split()) for task in path.iterdir())
    except OSError:
        return 0


PROGRESS: dict[str, Callable[[Build], int]] = {
    "request": _any_request,
    "label": _labels,
    "pixel request": _pixel_requests,
    "pixel response": _pixel_responses,
    "shard": _shards,
    "ledger": _ledger,
    "validating": _validators,
    "label part": _label_part,
    "shard part": _shard_part,
    "findings part": _findings_part,
    "findings": _findings,
}


PARTS = frozenset({"label part", "shard part", "findings part"})
"""Moments that are over in a few milliseconds."""

INSTEAD = {
    "label part": Moment("label", 4),
    "shard part": Moment("shard", 2),
    "findings part": Moment("findings"),
}
"""The moment to take instead where a half-written file existed too briefly to be seen."""

FROM_ZERO = PARTS | {"request", "pixel request", "pixel response", "validating"}
"""Kinds that count from zero at each start."""


def moments(kills: int, rng: random.Random) -> list[Moment]:
    """When to kill, in the order of a build: while labels are written, several times in the export, after it."""
    before = [Moment("label part")]
    after = [Moment("findings part")]
    if kills >= 10:
        before = [Moment("label part"), Moment("label", rng.randint(1, 6)), Moment("request", rng.randint(2, 4))]
        after = [Moment("validating", 1), Moment("findings part"), Moment("validating", 2)]
    kinds = ["shard part", "ledger", "pixel request", "pixel response", "shard"]
    inside = []
    for number in range(kills - len(before) - len(after)):
        kind = kinds[number % len(kinds)]
        inside.append(Moment(kind, 1 if kind in PARTS else rng.randint(1, 4)))
    rng.shuffle(inside)
    return [*before, *inside, *after]


@dataclass
class Outcome:
    """Result of all starts of one build.

    Attributes:
        killed: moments that occurred; a start that ended before its moment is left out.
        fetched: pixel requests by place, over all starts.
        in_flight: tiles that were requested and had no shard at a kill, summed over all kills.
        needless: places that were requested although their shard was complete before that start.
        widest: most tiles in flight at one kill.
    """

    killed: list[Moment] = field(default_factory=list)
    fetched: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    needless: set[str] = field(default_factory=set)
    widest: int = 0

    @property
    def twice(self) -> int:
        return sum(self.fetched.values()) - len(self.fetched)


def start(labels: Path, data: Path, server: ReplayServer, environment: dict[str, str]) -> Build:
    server.forget()
    command = watched.command(labels, data, "--concurrency", str(CONCURRENCY), "--workers", "2")
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return Build(process, data / "earthengine", server)


def kill_at(build: Build, moment: Moment) -> Moment | None:
    """Kill a build at a moment or its substitute; which one it was, None where the build ended first."""
    wanted = [m for m in (moment, INSTEAD.get(moment.kind)) if m is not None]
    begins = {m: 0 if m.kind in FROM_ZERO else build.counts(m.kind) for m in wanted}
    until = time.monotonic() + GIVE_UP_S
    while (came := next((m for m in wanted if build.counts(m.kind) >= begins[m] + m.count), None)) is None:
        if build.process.poll() is not None:
            return None
        assert time.monotonic() < until, f"{moment} did not occur"
        time.sleep(0 if moment.kind in PARTS else 0.001)
    build.process.kill()
    build.process.wait()
    return came


def account(outcome: Outcome, build: Build, complete: dict[str, bool], places: dict[str, str]) -> None:
    """Add the requests of one start, which has ended, to the outcome.

    Args:
        complete: places of shards that were on disk before this start.
        places: place -> tile id.
    """
    requested = Counter(r["place"] for r in build.server.requests() if r["route"] == PIXELS)
    outcome.fetched += requested
    outcome.needless |= {place for place in requested if complete.get(place)}
    open_now = {place for place in requested if not on_disk(build.root, places).get(place)}
    outcome.in_flight += len(open_now)
    outcome.widest = max(outcome.widest, len(open_now))


def on_disk(root: Path, places: dict[str, str]) -> dict[str, bool]:
    found = {path.stem for path in (root / "shards").rglob("dw_*.tif")}
    return {place: tile in found for place, tile in places.items()}


def build_with_kills(
    labels: Path, data: Path, plan: Sequence[Moment], *, server: ReplayServer, environment: dict[str, str],
    places: dict[str, str],
) -> Outcome:  # fmt: skip
    """Start a build once for each moment and kill it there, then let it finish."""
    outcome = Outcome()
    for moment in (*plan, None):
        complete = on_disk(data / "earthengine", places)
        build = start(labels, data, server, environment)
        came = None if moment is None else kill_at(build, moment)
        if came is None:
            code = build.process.wait(GIVE_UP_S)
            assert code == 0, f"the build ended with exit code {code}"
        else:
            outcome.killed.append(came)
        account(outcome, build, complete, places)
    return outcome


def hashes(root: Path, folder: str = "shards") -> dict[str, str]:
    """Hash of every file below a folder of the data root, without temporary ones."""
    files = [path for path in (root / folder).rglob("*") if path.is_file() and path.suffix != ".part"]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def leftovers(data: Path) -> list[str]:
    """Temporary files anywhere below a data folder."""
    return sorted(path.relative_to(data).as_posix() for path in data.rglob("*.part"))


def ledger_states(root: Path) -> dict[str, str]:
    """Tile -> state, from a ledger in which every line can be read.

    Raises:
        ValueError: a line cannot be read.
    """
    rows = [json.loads(line) for line in (root / "ledger.jsonl").read_text().splitlines()]
    return {row["tile"]: row["state"] for row in rows if "tile" in row}


@dataclass(frozen=True)
class Comparison:
    """A build with kills and the same build without."""

    outcome: Outcome
    root: Path
    undisturbed: Path
    tiles: int

    def problems(self) -> list[str]:
        """What is wrong; empty where nothing is."""
        found = []
        for folder in ("shards", "labels"):
            if hashes(self.root, folder) != hashes(self.undisturbed, folder):
                found.append(f"{folder}/ differs from the undisturbed build")
        if len(hashes(self.root)) != self.tiles:
            found.append(f"{len(hashes(self.root))} files below shards/ instead of {self.tiles}")
        if rest := leftovers(self.root.parent):
            found.append(f"temporary files remain: {', '.join(rest[:3])}")
        if set(ledger_states(self.root).values()) != {"done"} or len(ledger_states(self.root)) != self.tiles:
            found.append("the ledger does not list all tiles as done")
        if self.outcome.needless:
            found.append(f"{len(self.outcome.needless)} complete tiles were requested again")
        if self.outcome.twice > self.outcome.in_flight:
            found.append(f"{self.outcome.twice} fetched twice, {self.outcome.in_flight} were in flight")
        if self.outcome.widest > IN_FLIGHT:
            found.append(f"{self.outcome.widest} tiles in flight at a kill instead of {IN_FLIGHT}")
        return found


def compare(folder: Path, *, tiles: int, kills: int, seed: int) -> Comparison:
    """Build twice, once with kills."""
    ids = make_labels(folder / "labels", tiles)
    with LocalEarthEngine() as engine:
        server = ReplayServer(Answers(), Settings(upstream=engine.url)).start()
        environment = {**engine.environment(), "EE_URL": server.url}
        undisturbed = start(folder / "labels", folder / "undisturbed", server, environment)
        code = undisturbed.process.wait(GIVE_UP_S * 4)
        assert code == 0, f"the undisturbed build ended with exit code {code}"
        places = tile_places(undisturbed, ids)
        outcome = build_with_kills(
            folder / "labels", folder / "killed", moments(kills, random.Random(seed)),
            server=server, environment=environment, places=places,
        )  # fmt: skip
    return Comparison(outcome, folder / "killed" / "earthengine", folder / "undisturbed" / "earthengine", tiles)


def tile_places(build: Build, ids: Sequence[str]) -> dict[str, str]:
    """Place, in the words of the server's log -> tile id."""
    import rasterio

    places = {}
    for path in (build.root / "shards").rglob("dw_*.tif"):
        with rasterio.open(path) as file:
            places[f"{file.transform.c:.0f},{file.transform.f:.0f}"] = path.stem
    assert sorted(places.values()) == sorted(ids), "the undisturbed build is not complete"
    return places
