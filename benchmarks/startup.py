"""Start-up time of ``dwplus``: ``dwplus --help``, and ``dwplus build`` over a finished build of 20,000 tiles.

    python benchmarks/startup.py [tiles] [--rounds 9]

Help is compared with an interpreter that does nothing; rounds are interleaved, medians count.

The finished build is laid out as follows. The build itself writes labels and manifest, and is killed at its first pixel
request. The ledger gets one row per tile, a copy of a real one. Every shard is a file of the recorded length without
content (a hole), so that 20,000 of them fit on any disk. The findings say that all tiles were validated.

Bars: 0.5 s for ``dwplus --help``; 3 s from the start of the build to the line that says that no tile is left to
request. The end of the build is reported too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dwplus.pipeline.dataset.ledger import encode_line
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.files.records import write_record
from dwplus.pipeline.raster.geotiff import grid_of
from rigs import arguments, export, watched
from rigs.export import PIXELS
from rigs.replay_server import Replay, make_labels

HELP = {"python -c pass": ["-c", "pass"], "dwplus --help": ["-m", "dwplus.cli", "--help"]}
ALL_COMPLETE = re.compile(r"(?<!\S)(\S+) tiles: \1 complete")
LONGEST_S = 300.0


# --- help -------------------------------------------------------------------------------------------------------------


def seconds(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - begun


def time_help(rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in HELP}
    for _ in range(rounds):
        for name, command in HELP.items():
            times[name].append(seconds(command))
    empty, found = (statistics.median(values) for values in times.values())
    print(f"python -c pass    {empty:.3f} s")
    print(f"dwplus --help     {found:.3f} s   (bar 0.5 s); {found / empty:.1f} x an empty interpreter")


# --- a finished build -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Start:
    """A build that is started over a finished one; times in seconds, None where they took too long."""

    ready_s: float | None
    ended_s: float | None
    messages: str


def one_tile(folder: Path, replay: Replay) -> tuple[dict[str, object], dict[str, object]]:
    """Ledger row and findings of a real build of one tile."""
    make_labels(folder / "labels", 1)
    replay.set(latency_s=0.0, search_latency_s=0.0)
    export.build(replay, folder / "labels", folder / "data", 1)
    root = DataRoot.at(folder / "data" / "earthengine")
    rows = [json.loads(line) for line in root.ledger_file.read_text().splitlines()]
    return next(row for row in rows if row.get("state") == "done"), json.loads(root.findings_file.read_text())


def read_labels(labels: Path, data: Path, replay: Replay) -> float:
    """Let a build read all labels and write the manifest; kill it at its first pixel request. Seconds until then."""
    replay.set(latency_s=3600.0, search_latency_s=0.0)
    begun = time.monotonic()
    process = subprocess.Popen(
        watched.command(labels, data, "--quiet"), env={**os.environ, **replay.environment()}, stderr=subprocess.PIPE
    )
    while not any(r["route"] == PIXELS for r in replay.log()["requests"]):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.5)
    process.kill()
    process.communicate()
    return time.monotonic() - begun


def lay_out(root: DataRoot, row: Mapping[str, object], findings: Mapping[str, object]) -> int:
    """Ledger, shards and findings of a finished build over the tiles of a manifest; how many tiles."""
    rows = root.manifest().rows
    with root.ledger_file.open("wb") as ledger:
        for tile in (of.tile for of in rows):
            said = {key: value for key, value in row.items() if key != "crc32"}
            ledger.write(encode_line({**said, "tile": tile.id, "grid": str(grid_of(tile))}) + b"\n")
            _make_hole(root.own_shard(tile), int(str(row["bytes"])))
    validated = {of.tile.id: f"{row['sha256']} {of.label_sha256}" for of in rows}
    write_record(root.findings_file, {**findings, "tiles": len(rows), "findings": [], "validated": validated})
    return len(rows)


def _make_hole(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.truncate(path, size)


def start_again(labels: Path, data: Path, environment: Mapping[str, str]) -> Start:
    """Start the build once more and read its messages to the end."""
    begun, ready_s, messages = time.monotonic(), None, []
    environment = {**os.environ, **environment}
    with subprocess.Popen(
        watched.command(labels, data), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        late = threading.Timer(LONGEST_S, process.kill)
        late.start()
        for line in process.stderr:
            passed = time.monotonic() - begun
            messages.append(f"{passed:7.2f} s  {line.rstrip()}")
            if ready_s is None and ALL_COMPLETE.search(line):
                ready_s = passed
        code = process.wait()
        late.cancel()
    return Start(ready_s, time.monotonic() - begun if code >= 0 else None, "\n".join(messages))


def time_build(folder: Path, replay: Replay, tiles: int) -> None:
    labels, data = folder / "labels", folder / "data"
    # They overlap: with gaps, 20,000 would not fit into the zone.
    make_labels(labels, tiles, spacing_m=600.0)
    row, findings = one_tile(folder / "one", replay)
    first_s = read_labels(labels, data, replay)
    count = lay_out(DataRoot.at(data / "earthengine"), row, findings)
    replay.set(latency_s=0.0, search_latency_s=0.0)
    start = start_again(labels, data, replay.environment())
    sent = sum(r["route"] == PIXELS for r in replay.log()["requests"])
    print(f"{count} tiles; reading their labels for the first time took {first_s:.0f} s")
    print(start.messages)
    ready = "not reported" if start.ready_s is None else f"{start.ready_s:.2f} s"
    print(f"all complete      {ready}   (bar 3 s); {sent} pixel requests")
    print(f"end               {f'not within {LONGEST_S:.0f} s' if start.ended_s is None else f'{start.ended_s:.2f} s'}")


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("tiles", type=int, nargs="?", default=20_000)
    parser.add_argument("--rounds", type=int, default=9, help="of dwplus --help")
    export.add_answers(parser)
    options: argparse.Namespace = arguments.parse(parser, tiles=4, rounds=1, recorded=1)
    time_help(options.rounds)
    with export.replay_in_folder(options) as (folder, replay):
        time_build(folder, replay, options.tiles)


if __name__ == "__main__":
    main()
