"""Tiles per second of ``dwplus build`` compared with a bare thread pool that sends the same requests.

    python benchmarks/export_throughput.py [tiles] [--concurrency 20] [--latency 2] [--search-latency 0.5]

The thread pool discards the responses. Both use the same replay server (``rigs/replay_server.py``), one after the
other. Bars: 0.90 of the tiles/s of the bare pool; 80 ms CPU per tile (fetch, decode, check, compress, write); 1 GiB
resident memory, without growth.

Only the export phase counts (see ``rigs/export.py``). CPU and memory are those of the process and all its children,
from ``/proc``. Start-up (imports, sign-in, labels, manifest) and validation after the export are reported separately.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import urllib3
from rigs import arguments, export
from rigs.export import PIXELS, Phase, build, done, phase
from rigs.watched import Watched


@dataclass(frozen=True)
class Result:
    """A build and a bare pool over the same tiles.

    Attributes:
        tiles, complete: tiles of the run; of them complete at its end.
        bare_cpu_s, server_cpu_s: CPU seconds of the bare pool; of the server during the build.
    """

    tiles: int
    complete: int
    seen: Watched
    ours: Phase
    bare: Phase
    bare_cpu_s: float
    server_cpu_s: float


def by_tile(requests: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """Successful requests that name no tile, and those of each tile, in order."""
    tiles: dict[str, list[dict[str, Any]]] = {}
    for request in requests:
        if request["code"] == 200:
            tiles.setdefault(request["place"], []).append(request)
    return tiles.pop("", []), list(tiles.values())


def bare_pool(url: str, recorded: Sequence[dict[str, Any]], threads: int) -> float:
    """Send recorded requests again, tile by tile, and discard the responses; CPU seconds of this process."""
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


def report(result: Result) -> None:
    _report_rates(result)
    _report_memory(result.seen, result.ours)
    _report_rest(result.seen, result.ours)


def _report_rates(result: Result) -> None:
    tiles, ours, bare = result.tiles, result.ours, result.bare
    rate, bare_rate = tiles / ours.seconds, tiles / bare.seconds
    cpu_ms, bare_cpu_ms = 1000 * result.seen.cpu_s(ours.begin, ours.end) / tiles, 1000 * result.bare_cpu_s / tiles
    megabytes = sum(r["sent"] for r in ours.requests) / 1e6
    print(f"{result.complete} of {tiles} tiles done, {ours.count(PIXELS, 200)} pixel responses, {megabytes:.0f} MB")
    print(f"dwplus build      {rate:6.2f} tiles/s, export {ours.seconds:.1f} s, {cpu_ms:.1f} ms CPU per tile")
    print(f"bare thread pool  {bare_rate:6.2f} tiles/s, {bare.seconds:.1f} s, {bare_cpu_ms:.1f} ms CPU per tile")
    print(f"ratio             {rate / bare_rate:6.3f}   (bar 0.90)")
    print(f"CPU per tile      {cpu_ms:6.1f} ms (bar 80); the server {1000 * result.server_cpu_s / tiles:.1f} ms")


def _report_memory(seen: Watched, ours: Phase) -> None:
    edges = [ours.begin + ours.seconds * share for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    quarters = [seen.mean_mib(a, b) for a, b in pairwise(edges)]
    print(
        f"resident          {seen.peak_mib(ours.begin, ours.end):6.0f} MiB peak in the export (bar 1024); mean per "
        f"quarter {', '.join(f'{mean:.0f}' for mean in quarters)}; whole run {seen.peak_mib(0, seen.ended):.0f}"
    )


def _report_rest(seen: Watched, ours: Phase) -> None:
    print("\n".join(f"                  {line}" for line in seen.stderr.splitlines() if " tiles, " in line))
    before, after = ours.begin - seen.started, seen.ended - ours.end
    print(
        f"not counted       {before:.1f} s and {seen.cpu_s(0, ours.begin):.1f} CPU-s before the export, "
        f"{after:.1f} s and {seen.samples[-1].cpu_s - seen.at(ours.end).cpu_s:.1f} CPU-s after it"
    )


def main() -> None:
    parser = export.parser(__doc__, tiles=200)
    parser.add_argument("--concurrency", type=int, default=20)
    options = arguments.parse(parser, **export.TINY, tiles=4, concurrency=2)
    with export.replay_of_tiles(options) as (folder, replay):
        replay.set(**export.latencies(options))
        seen, ours = build(replay, folder / "labels", folder / "data", options.concurrency)
        server_cpu_s = replay.log()["cpu_s"]
        replay.set(**export.latencies(options))
        bare_cpu_s = bare_pool(replay.url, ours.requests, options.concurrency)
        bare, complete = phase(replay.log()), done(folder / "data")
    report(Result(options.tiles, complete, seen, ours, bare, bare_cpu_s, server_cpu_s))


if __name__ == "__main__":
    threading.stack_size(256 * 1024)
    main()
