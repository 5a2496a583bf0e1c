"""Tiles a second of ``dwplus build`` beside a bare thread pool that sends the very same requests and drops the answers.

    python benchmarks/export_throughput.py [tiles] [--concurrency 20] [--latency 2] [--search-latency 0.5]

Both speak to the same replaying server (``replay_server.py``), one after the other. Bars: 0.90 of the bare pool's
tiles/s; 80 ms CPU a tile (fetch, decode, check, compress, write); 1 GiB resident, and flat.

The export phase begins with the first computed request that reaches the server and ends when the last shard has its
name (its change time on disk) or the last answer is out, whichever is later. CPU and memory are those of the process
and all that it started, from ``/proc``; start-up (imports, sign-in, labels, manifest) and what comes after the export
(validation) are told apart.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import urllib3
from rigs import watched
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
    """The export phase out of the server's log, and out of the shards below ``data``."""
    requests = sorted((r for r in log["requests"] if r["route"] in COMPUTED and r["ended"]), key=lambda r: r["begun"])
    end = max(r["ended"] for r in requests)
    if data is not None:
        # Renaming a file moves its change time, in time since the epoch.
        to_monotonic = time.monotonic() - time.time()
        end = max([end, *(path.stat().st_ctime + to_monotonic for path in data.rglob("shards/**/*.tif"))])
    return Phase(requests[0]["begun"], end, tuple(requests))


def by_tile(requests: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """Answered requests that name no tile, and for each tile its own, in order."""
    tiles: dict[str, list[dict[str, Any]]] = {}
    for request in requests:
        if request["code"] == 200:
            tiles.setdefault(request["place"], []).append(request)
    return tiles.pop("", []), list(tiles.values())


def bare_pool(url: str, recorded: Sequence[dict[str, Any]], threads: int) -> float:
    """Send recorded requests again, tile by tile, and drop the answers; CPU seconds that it took."""
    pool = urllib3.PoolManager(maxsize=threads)
    common, tiles = by_tile(recorded)
    headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip, deflate"}

    def send(requests: Sequence[dict[str, Any]]) -> None:
        for request in requests:
            answer = pool.request("POST", url + request["path"], body=request["body"].encode(), headers=headers)
            assert answer.status == 200, answer.status

    begun = time.process_time()
    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(lambda request: send([request]), common))
        list(executor.map(send, tiles))
    return time.process_time() - begun


def build(replay: Replay, labels: Path, data: Path, concurrency: int) -> tuple[Watched, Phase]:
    """One watched build; its requests are in the server's log."""
    seen = watched.run(watched.command(labels, data, "--concurrency", str(concurrency)), replay.environment())
    assert seen.code == 0, seen.stderr
    return seen, phase(replay.log(), data)


def done(data: Path) -> int:
    lines = (data / "earthengine" / "ledger.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return len({row["tile"] for row in rows if row.get("state") == "done"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiles", type=int, nargs="?", default=200)
    parser.add_argument("--concurrency", type=int, default=20)
    parser.add_argument("--latency", type=float, default=2.0)
    parser.add_argument("--search-latency", type=float, default=0.5)
    parser.add_argument("--answers", type=Path, help="folder that keeps the recorded answers for another run")
    options = parser.parse_args()
    settings = {"latency_s": options.latency, "search_latency_s": options.search_latency}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_labels(folder / "labels", options.tiles)
        with replaying(record(options.answers or folder / "answers")) as replay:
            replay.set(**settings)
            seen, ours = build(replay, folder / "labels", folder / "data", options.concurrency)
            server_cpu_s = replay.log()["cpu_s"]
            replay.set(**settings)
            bare_cpu_s = bare_pool(replay.url, ours.requests, options.concurrency)
            bare = phase(replay.log())
            complete = done(folder / "data")
    report(options.tiles, complete, seen, ours, bare, bare_cpu_s, server_cpu_s)


def report(
    tiles: int, complete: int, seen: Watched, ours: Phase, bare: Phase, bare_cpu_s: float, server_cpu_s: float
) -> None:
    rate, bare_rate = tiles / ours.seconds, tiles / bare.seconds
    cpu_ms = 1000 * seen.cpu_s(ours.begin, ours.end) / tiles
    megabytes = sum(r["sent"] for r in ours.requests) / 1e6
    print(f"{complete} of {tiles} tiles done, {ours.count(PIXELS, 200)} answers with pixels, {megabytes:.0f} MB")
    print(f"dwplus build      {rate:6.2f} tiles/s, export {ours.seconds:.1f} s, {cpu_ms:.1f} ms CPU a tile")
    bare_cpu_ms = 1000 * bare_cpu_s / tiles
    print(f"bare thread pool  {bare_rate:6.2f} tiles/s, {bare.seconds:.1f} s, {bare_cpu_ms:.1f} ms CPU a tile")
    print(f"ratio             {rate / bare_rate:6.3f}   (bar 0.90)")
    print(f"CPU a tile        {cpu_ms:6.1f} ms (bar 80); the server itself {1000 * server_cpu_s / tiles:.1f} ms")
    quarters = [ours.begin + ours.seconds * share for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    means = [seen.mean_mib(a, b) for a, b in pairwise(quarters)]
    print(
        f"resident          {seen.peak_mib(ours.begin, ours.end):6.0f} MiB peak in the export (bar 1024); mean of its "
        f"quarters {', '.join(f'{mean:.0f}' for mean in means)}; whole run {seen.peak_mib(0, seen.ended):.0f}"
    )
    print("\n".join(f"                  {line}" for line in seen.stderr.splitlines() if " tiles, " in line))
    before, after = ours.begin - seen.started, seen.ended - ours.end
    print(
        f"not counted       {before:.1f} s and {seen.cpu_s(0, ours.begin):.1f} CPU-s before the export, "
        f"{after:.1f} s and {seen.samples[-1].cpu_s - seen.at(ours.end).cpu_s:.1f} CPU-s after it"
    )


if __name__ == "__main__":
    threading.stack_size(256 * 1024)
    main()
