"""How long ``dwplus build`` takes over a finished build of 20,000 tiles until it says that nothing is to be asked.

    python benchmarks/startup.py [tiles]

The finished build is laid out as follows. Labels and manifest are made by the build itself, which is ended as soon as
it asks for pixels; the ledger gets one row for each tile, a copy of a real one; every shard is a file of the recorded
length without content (a hole), so that 20,000 of them fit anywhere. The findings say that all of them were validated.
Bar: 3 s from the start of the process until the line that says so; the end of the process is told as well.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from dwplus.pipeline.dataset.findings import FINDINGS_JSON
from dwplus.pipeline.dataset.ledger import LEDGER_FILE
from dwplus.pipeline.dataset.manifest import MANIFEST_FILE, read_manifest
from dwplus.pipeline.raster.geotiff import grid_of, shard_path
from rigs import watched
from rigs.replay_server import Replay, make_labels, record, replaying

NOTHING_TO_ASK = re.compile(r"(\d+) of \1 tiles needed no request|none to ask for|nothing to ask")
LONGEST_S = 300.0


def one_tile(folder: Path, replay: Replay) -> tuple[dict[str, object], dict[str, object]]:
    """Ledger row and findings of a real build of one tile."""
    make_labels(folder / "labels", 1)
    replay.set(latency_s=0.0, search_latency_s=0.0)
    seen = watched.run(watched.command(folder / "labels", folder / "data"), replay.environment())
    assert seen.code == 0, seen.stderr
    root = folder / "data" / "earthengine"
    rows = [json.loads(line) for line in (root / LEDGER_FILE).read_text().splitlines()]
    return next(row for row in rows if row.get("state") == "done"), json.loads((root / FINDINGS_JSON).read_text())


def read_labels(labels: Path, data: Path, replay: Replay) -> float:
    """Let a build read all labels and write the manifest; end it when it asks for pixels. Seconds until then."""
    replay.set(latency_s=3600.0, search_latency_s=0.0)
    begun = time.monotonic()
    process = subprocess.Popen(
        watched.command(labels, data, "--quiet"), env={**os.environ, **replay.environment()}, stderr=subprocess.PIPE
    )
    while not any(r["route"] == "image:computePixels" for r in replay.log()["requests"]):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.5)
    process.kill()
    process.communicate()
    return time.monotonic() - begun


def lay_out(root: Path, row: Mapping[str, object], findings: Mapping[str, object]) -> int:
    """Ledger, shards and findings of a finished build over the tiles of a manifest; how many."""
    assert (root / MANIFEST_FILE).is_file()
    rows = read_manifest(root).rows
    tiles = [manifest_row.tile for manifest_row in rows]
    with (root / LEDGER_FILE).open("w") as ledger:
        for tile in tiles:
            ledger.write(json.dumps({**row, "tile": tile.id, "grid": str(grid_of(tile))}) + "\n")
            path = shard_path(root, tile)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.truncate(path, int(str(row["bytes"])))
    validated = {of.tile.id: f"{row['sha256']} {of.label_sha256}" for of in rows}
    (root / FINDINGS_JSON).write_text(
        json.dumps({**findings, "tiles": len(tiles), "findings": [], "validated": validated})
    )
    return len(tiles)


def start_again(labels: Path, data: Path, environment: Mapping[str, str]) -> tuple[float | None, float | None, str]:
    """Seconds until nothing is to be asked and until the end, None where it took too long; what the build said."""
    begun = time.monotonic()
    said: list[str] = []
    told: float | None = None
    with subprocess.Popen(
        watched.command(labels, data),
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        late = threading.Timer(LONGEST_S, process.kill)
        late.start()
        for line in process.stderr:
            said.append(f"{time.monotonic() - begun:7.2f} s  {line.rstrip()}")
            if told is None and NOTHING_TO_ASK.search(line):
                told = time.monotonic() - begun
        code = process.wait()
        late.cancel()
    return told, time.monotonic() - begun if code >= 0 else None, "\n".join(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiles", type=int, nargs="?", default=20_000)
    parser.add_argument("--answers", type=Path, help="folder that keeps the recorded answers for another run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels, data = folder / "labels", folder / "data"
        # They overlap: 20,000 apart from each other would leave the zone.
        make_labels(labels, options.tiles, spacing_m=600.0)
        with replaying(record(options.answers or folder / "answers")) as replay:
            row, findings = one_tile(folder / "one", replay)
            first_s = read_labels(labels, data, replay)
            count = lay_out(data / "earthengine", row, findings)
            replay.set(latency_s=0.0, search_latency_s=0.0)
            told, ended, said = start_again(labels, data, replay.environment())
            asked = sum(r["route"] == "image:computePixels" for r in replay.log()["requests"])
    print(f"{count} tiles; reading their labels for the first time took {first_s:.0f} s")
    print(said)
    print(
        f"nothing to ask    {'not said' if told is None else f'{told:.2f} s'}   (bar 3 s); {asked} requests for pixels"
    )
    print(f"end               {f'not within {LONGEST_S:.0f} s' if ended is None else f'{ended:.2f} s'}")


if __name__ == "__main__":
    main()
