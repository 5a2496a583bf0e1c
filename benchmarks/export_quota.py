"""Throughput of a client with 20 requests in flight under a quota of 8, compared with a client that sends exactly 8.

    python benchmarks/export_quota.py [tiles] [--concurrency 20] [--quota 8] [--latency 2] [--retry-after 1 10]

The replay server (``rigs/replay_server.py``) refuses every request beyond the quota with 429, without ``Retry-After``
and with each value that is given. Bars: 0.85 of the tiles/s of the client that sends exactly 8, and no tile lost.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

from rigs import arguments, export
from rigs.export import COMPUTED, PIXELS, Phase, build, done
from rigs.replay_server import Replay


def rate(replay: Replay, folder: Path, name: str, *, tiles: int, concurrency: int) -> float:
    """Tiles per second of one build; prints a line about it."""
    data = folder / name.replace(" ", "-")
    seen, phase = build(replay, folder / "labels", data, concurrency)
    refused = sum(phase.count(route, 429) for route in COMPUTED)
    found = tiles / phase.seconds
    print(
        f"{name:34} {found:5.2f} tiles/s, {done(data)} of {tiles} done, {refused} refused, {twice(phase)} twice, "
        f"in flight {in_flight(phase)}, {1000 * seen.cpu_s(phase.begin, phase.end) / tiles:.0f} ms CPU per tile",
        flush=True,
    )
    return found


def twice(phase: Phase) -> int:
    """Pixel responses beyond the first of each tile."""
    places = [r["place"] for r in phase.requests if (r["route"], r["code"]) == (PIXELS, 200)]
    return len(places) - len(set(places))


def in_flight(phase: Phase) -> str:
    """Successful requests in flight, averaged over each quarter of the export."""
    answered = [r for r in phase.requests if r["code"] == 200]
    edges = [phase.begin + phase.seconds * n / 4 for n in range(5)]
    means = []
    for a, b in pairwise(edges):
        busy = sum(max(0.0, min(b, r["ended"]) - max(a, r["begun"])) for r in answered)
        means.append(f"{busy / (b - a):.1f}")
    return "/".join(means)


def compare(replay: Replay, folder: Path, options: argparse.Namespace) -> None:
    """The exact client first, then the other one with each ``Retry-After``."""
    settings = {**export.latencies(options), "max_concurrent": options.quota}
    replay.set(**settings)
    name = f"{options.quota} in flight, quota {options.quota}"
    exact = rate(replay, folder, name, tiles=options.tiles, concurrency=options.quota)
    for retry_after_s in (None, *options.retry_after):
        replay.set(**settings, retry_after_s=retry_after_s)
        header = "no Retry-After" if retry_after_s is None else f"Retry-After {retry_after_s:g}"
        name = f"{options.concurrency} in flight, {header}"
        found = rate(replay, folder, name, tiles=options.tiles, concurrency=options.concurrency)
        print(f"{'ratio':34} {found / exact:5.3f}   (bar 0.85)", flush=True)


def main() -> None:
    parser = export.parser(__doc__, tiles=160)
    parser.add_argument("--concurrency", type=int, default=20)
    parser.add_argument("--quota", type=int, default=8)
    parser.add_argument("--retry-after", type=float, nargs="*", default=[1.0, 10.0], help="seconds in the header")
    options = arguments.parse(parser, **export.TINY, tiles=4, concurrency=4, quota=2, retry_after=[1.0])
    with export.replay_of_tiles(options) as (folder, replay):
        compare(replay, folder, options)


if __name__ == "__main__":
    main()
