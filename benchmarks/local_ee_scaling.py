"""Tiles per second of the local Earth Engine with one worker and with two, and the ratio.

    python benchmarks/local_ee_scaling.py [--tiles 12] [--rounds 4] [--threads 4] [--workers 1 2]

Both servers run all the time; a client in another process requests the same tiles from each in turn, several times,
with dwplus's own request. The best round of each counts: the machine's other work makes rounds slower, never faster.
The caches of all workers are warm when counting begins. Bar: two workers answer 1.7 times as many tiles as one.

CPU seconds per tile (of workers, front and client) hardly depend on other work. From them follows what two free cores
would give: one worker is limited by its own seconds, two by half of everybody's.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rigs import arguments

SEED = 7
CORES = 2
WARM_UP = 2
"""Extra uncounted rounds for servers with several workers, until each worker has read nearly every tile."""


def fetch_tiles(url: str, project: str, key: str, tiles: int, threads: int) -> tuple[float, float]:
    """Wall and client CPU seconds for the pixels of some tiles; runs in the client's process."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    from dwplus.pipeline.earthengine.configuration import Configuration
    from dwplus.pipeline.earthengine.connection import connect
    from dwplus.pipeline.earthengine.scene_choice import SceneRef
    from dwplus.pipeline.earthengine.session import Tally
    from dwplus.pipeline.spec.recipe import Recipe

    session = connect(Configuration(url=url, project=project, credentials_file=Path(key)))
    requests = [
        session.request(place.tile, Recipe(), SceneRef("", place.scene.index, "index", {})) for place in _places(tiles)
    ]
    with ThreadPoolExecutor(threads) as pool:
        begun, cpu = time.perf_counter(), time.process_time()
        list(pool.map(lambda request: session.fetch(request, Tally()), requests))
        return time.perf_counter() - begun, time.process_time() - cpu


def _places(number: int) -> list[Any]:
    """Tiles that have both sensors."""
    from dwplus.local_ee.catalogue.catalogue import Catalogue
    from dwplus.local_ee.catalogue.sites import sandbox_tiles
    from dwplus.local_ee.planet.planet import make_planet

    catalogue = Catalogue(make_planet({"kind": "earth", "seed": SEED}))
    return [place for place in sandbox_tiles(catalogue, number * 2) if place.scene is not None][:number]


def _client(pipe: Any) -> None:
    while (arguments := pipe.recv()) is not None:
        pipe.send(fetch_tiles(*arguments))


def cpu_seconds(pid: int) -> tuple[float, float]:
    """CPU seconds so far of a server's own process, and of its workers. Linux."""
    children = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return _cpu(pid), sum(_cpu(int(child)) for of_thread in children for child in of_thread)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("--tiles", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=4, help="requests in flight")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="rounds before that, with several workers")
    options = arguments.parse(parser, tiles=1, rounds=1, threads=1, warm_up=0)
    from dwplus.local_ee.launch import LocalEarthEngine

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    client = context.Process(target=_client, args=(theirs,))
    client.start()
    best: dict[int, float] = {}
    costs: dict[int, list[tuple[float, float, float]]] = {count: [] for count in options.workers}
    with ExitStack() as stack:
        engines = {
            count: stack.enter_context(LocalEarthEngine({"kind": "earth", "seed": SEED}, workers=count))
            for count in options.workers
        }
        for turn in range(-options.warm_up, options.rounds + 1):
            for count, engine in engines.items():
                if turn < 0 and count == 1:
                    continue  # one worker has seen every tile after a single round
                before = cpu_seconds(engine.pid)
                ours.send((engine.url, engine.project, str(engine.credentials_file), options.tiles, options.threads))
                wall, client_s = ours.recv()
                after = cpu_seconds(engine.pid)
                spent = (after[1] - before[1], after[0] - before[0], client_s)
                workers_s, front_s, client_s = (seconds / options.tiles for seconds in spent)
                rate = options.tiles / wall
                if turn > 0:
                    best[count] = max(best.get(count, 0.0), rate)
                    costs[count].append((workers_s, front_s, client_s))
                print(
                    f"round {turn}: {count} workers {rate:6.3f} tiles/s; CPU s/tile: workers {workers_s:.3f}, "
                    f"front {front_s:.3f}, client {client_s:.3f}{'' if turn > 0 else '  (not counted)'}"
                )
    ours.send(None)
    client.join()
    base = min(best)
    for count, rate in best.items():
        workers_s, front_s, client_s = (statistics.median(column) for column in zip(*costs[count], strict=True))
        free = min(count / workers_s, CORES / (workers_s + front_s + client_s))
        print(
            f"{count} workers: {rate:.3f} tiles/s, {rate / best[base]:.2f} x {base}; "
            f"{free:.3f} on {CORES} free cores by CPU seconds"
        )
    print(json.dumps({"tiles_per_s": best, "ratio": max(best.values()) / best[base], "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
