"""What the export benchmarks share: a build against the replay server, and the export phase of its log.

The export phase begins with the first computed request that reaches the server. It ends when the last shard has its
final name (its change time on disk) or the last response is sent, whichever is later.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigs import arguments, watched
from rigs.replay_server import Replay, make_labels, record, replaying
from rigs.watched import Watched

COMPUTED = ("value:compute", "image:computePixels")
PIXELS = "image:computePixels"


@dataclass(frozen=True)
class Phase:
    """The export of one run: ``time.monotonic()`` of its begin and end, requests in order of arrival."""

    begin: float
    end: float
    requests: tuple[dict[str, Any], ...]

    @property
    def seconds(self) -> float:
        return self.end - self.begin

    def count(self, route: str, code: int) -> int:
        return sum((r["route"], r["code"]) == (route, code) for r in self.requests)


def phase(log: dict[str, Any], data: Path | None = None) -> Phase:
    """The export phase, from the server's log and from the shards below ``data``."""
    requests = sorted((r for r in log["requests"] if r["route"] in COMPUTED and r["ended"]), key=lambda r: r["begun"])
    end = max(r["ended"] for r in requests)
    if data is not None:
        # Renaming a file sets its change time, in time since the epoch.
        to_monotonic = time.monotonic() - time.time()
        end = max([end, *(path.stat().st_ctime + to_monotonic for path in data.rglob("shards/**/*.tif"))])
    return Phase(requests[0]["begun"], end, tuple(requests))


def build(replay: Replay, labels: Path, data: Path, concurrency: int) -> tuple[Watched, Phase]:
    """One watched build; its requests are in the server's log."""
    seen = watched.run(watched.command(labels, data, "--concurrency", str(concurrency)), replay.environment())
    assert seen.code == 0, seen.stderr
    return seen, phase(replay.log(), data)


def done(data: Path) -> int:
    """Tiles that the ledger calls done."""
    lines = (data / "earthengine" / "ledger.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return len({row["tile"] for row in rows if row.get("state") == "done"})


# --- set-up -----------------------------------------------------------------------------------------------------------


def parser(doc: str | None, tiles: int) -> argparse.ArgumentParser:
    """A parser with the options of every export benchmark."""
    made = arguments.parser(doc)
    made.add_argument("tiles", type=int, nargs="?", default=tiles)
    made.add_argument("--latency", type=float, default=2.0, help="seconds per pixel request")
    made.add_argument("--search-latency", type=float, default=0.5, help="seconds per scene search")
    add_answers(made)
    return made


def add_answers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--answers", type=Path, help="folder that keeps the recorded responses for another run")
    parser.set_defaults(recorded=3)


TINY = {"latency": 0.05, "search_latency": 0.02, "recorded": 1}
"""Defaults of these options under ``--tiny``."""


def latencies(options: argparse.Namespace) -> dict[str, float]:
    return {"latency_s": options.latency, "search_latency_s": options.search_latency}


@contextmanager
def replay_in_folder(options: argparse.Namespace) -> Iterator[tuple[Path, Replay]]:
    """A temporary folder, and a replay server over responses that are recorded first where there are none."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        answers = record(options.answers or folder / "answers", tiles=options.recorded)
        with replaying(answers) as replay:
            yield folder, replay


@contextmanager
def replay_of_tiles(options: argparse.Namespace) -> Iterator[tuple[Path, Replay]]:
    """The same, with ``options.tiles`` label tiles in ``labels/`` of the folder."""
    with replay_in_folder(options) as (folder, replay):
        make_labels(folder / "labels", options.tiles)
        yield folder, replay
