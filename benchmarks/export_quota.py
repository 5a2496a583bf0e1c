"""What a quota costs a client that asks for more than it gets: 20 in flight under a quota of 8, beside exactly 8.

    python benchmarks/export_quota.py [tiles] [--asked 20] [--quota 8] [--latency 2]

The replaying server (``replay_server.py``) refuses every request beyond the quota with 429, with and without a
``Retry-After``. Bars: 0.85 of the tiles/s of the same client that asks exactly 8, and no tile lost.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import pairwise
from pathlib import Path

from export_throughput import COMPUTED, PIXELS, Phase, build, done
from rigs.replay_server import Replay, make_labels, record, replaying


def rate(replay: Replay, labels: Path, data: Path, *, tiles: int, asked: int, name: str) -> float:
    """Tiles a second of one build; prints what happened."""
    seen, export = build(replay, labels, data, asked)
    refused = sum(export.count(route, 429) for route in COMPUTED)
    found = tiles / export.seconds
    print(
        f"{name:34} {found:5.2f} tiles/s, {done(data)} of {tiles} done, {refused} refused, {twice(export)} twice, "
        f"in flight {in_flight(export)}, {1000 * seen.cpu_s(export.begin, export.end) / tiles:.0f} ms CPU a tile",
        flush=True,
    )
    return found


def twice(export: Phase) -> int:
    """Answers with pixels beyond the first of each tile."""
    places = [r["place"] for r in export.requests if (r["route"], r["code"]) == (PIXELS, 200)]
    return len(places) - len(set(places))


def in_flight(export: Phase) -> str:
    """Answered requests under way, averaged over each quarter of the export."""
    answered = [r for r in export.requests if r["code"] == 200]
    edges = [export.begin + export.seconds * n / 4 for n in range(5)]
    means = []
    for a, b in pairwise(edges):
        busy = sum(max(0.0, min(b, r["ended"]) - max(a, r["begun"])) for r in answered)
        means.append(f"{busy / (b - a):.1f}")
    return "/".join(means)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiles", type=int, nargs="?", default=160)
    parser.add_argument("--asked", type=int, default=20)
    parser.add_argument("--quota", type=int, default=8)
    parser.add_argument("--latency", type=float, default=2.0)
    parser.add_argument("--search-latency", type=float, default=0.5)
    parser.add_argument("--answers", type=Path, help="folder that keeps the recorded answers for another run")
    options = parser.parse_args()
    settings = {"latency_s": options.latency, "search_latency_s": options.search_latency}
    variants = {"429 without Retry-After": None, "429 with Retry-After: 1": 1.0, "429 with Retry-After: 10": 10.0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_labels(folder / "labels", options.tiles)
        with replaying(record(options.answers or folder / "answers")) as replay:
            replay.set(**settings, max_concurrent=options.quota)
            exact = rate(
                replay, folder / "labels", folder / "exact", tiles=options.tiles, asked=options.quota,
                name=f"asked {options.quota} under a quota of {options.quota}",
            )  # fmt: skip
            for number, (variant, retry_after_s) in enumerate(variants.items()):
                replay.set(**settings, max_concurrent=options.quota, retry_after_s=retry_after_s)
                found = rate(
                    replay, folder / "labels", folder / str(number), tiles=options.tiles, asked=options.asked,
                    name=f"asked {options.asked}, {variant}",
                )  # fmt: skip
                print(f"{'ratio':34} {found / exact:5.3f}   (bar 0.85)", flush=True)


if __name__ == "__main__":
    main()
