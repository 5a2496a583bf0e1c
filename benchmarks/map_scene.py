"""How much memory does the map of a scene take, and how fast is it compared with the bare network?

    python benchmarks/map_scene.py memory [--rows 10000 40000] [--width 10980]
    python benchmarks/map_scene.py rate [--run RUN | --model specsar-former] [--rows 2000] [--threads 2]

Scenes are GeoTIFFs of 12 + 2 bands with synthetic pixels, 10,980 px wide as those of Sentinel-2, nine classes.

*memory*: a network that answers a constant maps scenes of unlike height, each in a process of its own, with confidence
and page. Bars: under 2 GB resident, as much for 40,000 rows as for 10,000 (within 5 %).

*rate*: a network maps 2,000 rows, time of the finished files included. Half before and half after that, the bare
`network(batch)` answers as many windows, which lie ready as normalised tensors. Bar: windows per second of the map at
least 0.9 of the bare network's, in the median of some rounds. Windows overlap by 64 px and lose 16 px, so that a map
takes 1.51 windows' pixels for each of its own.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from dwplus.model.maps.windows import OVERLAP_PX, WINDOW_PX, axis
from dwplus.model.score import LoadedRun, load
from dwplus.pipeline.progress import Silent
from dwplus.workflow.maps.mapping import map_image
from dwplus.workflow.maps.settings import MapOptions
from rigs import arguments, watched
from rigs.map_inputs import AUXILIARY, PRIMARY, RADAR, constant, open_scene, untrained, write_scene

BAR_GB, FLAT, RATE_BAR = 2.0, 1.05, 0.9
KM2_OF_PX = 1e-4


# --- memory -----------------------------------------------------------------------------------------------------------


def memory(heights: Sequence[int], width: int) -> bool:
    """Whether the bars are met."""
    peaks = []
    for height in heights:
        with tempfile.TemporaryDirectory() as name:
            write_scene(Path(name), height, width, noise=False)
            seen = watched.run([sys.executable, __file__, "one", name], {})
            assert seen.code == 0, seen.stderr[-2000:]
            middle = (seen.started + seen.ended) / 2
            peak = seen.peak_mib(seen.started, seen.ended)
            peaks.append(peak)
            print(
                f"constant network, {height:,} x {width:,} px: at most {peak:,.0f} MiB resident, "
                f"{seen.mean_mib(middle, seen.ended):,.0f} MiB in the mean of the second half, "
                f"{seen.ended - seen.started:,.0f} s, "
                f"{seen.cpu_s(seen.started, seen.ended):,.0f} CPU-s",
                flush=True,
            )
    growth = peaks[-1] / peaks[0]
    print(f"{growth:.2f} x the memory for {heights[-1] / heights[0]:.0f} x the rows (bar {FLAT}); bar {BAR_GB} GB")
    return growth <= FLAT and max(peaks) * 2**20 <= BAR_GB * 1e9


def one(folder: Path) -> None:
    """Map the scene in a folder with a network that answers a constant."""
    scene = open_scene(sorted(folder.glob("s?_*.tif"))[::-1])
    options = MapOptions(confidence=True)
    map_image(constant(), "constant", scene, folder / "map.tif", options, radar=RADAR, progress=Silent())


# --- rate -------------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def bare_s(run: LoadedRun, windows: int, window: int) -> float:
    """Seconds in which the bare network answers as many windows."""
    generator = torch.Generator().manual_seed(0)
    batch = [torch.randn(1, len(one), window, window, generator=generator) for one in (PRIMARY, AUXILIARY)]
    run.network(*batch)  # memory and threads are made
    begun = time.perf_counter()
    for _ in range(windows):
        run.network(*batch)
    return time.perf_counter() - begun


def rate(run: LoadedRun, height: int, width: int, window: int, rounds: int) -> bool:
    """Whether the bar is met."""
    rows, columns = (axis(side, size=window, overlap=OVERLAP_PX) for side in (height, width))
    windows = len(rows.starts) * len(columns.starts)
    km2 = height * width * KM2_OF_PX
    print(f"{run.config.model}, {height:,} x {width:,} px, {windows} windows, {torch.get_num_threads()} threads")
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_scene(folder, height, width)
        for number in range(rounds):
            before = bare_s(run, windows // 2, window)
            begun = time.perf_counter()
            options = MapOptions(window=window, confidence=True, page=False)
            path = folder / f"map{number}.tif"
            map_image(run, "0", open_scene(paths), path, options, radar=RADAR, progress=Silent())
            map_s = time.perf_counter() - begun
            after = bare_s(run, windows - windows // 2, window)
            bare = windows / (before + after)
            ratios.append(windows / map_s / bare)
            print(
                f"  bare {bare:7.3f} windows/s, map {windows / map_s:7.3f}, {km2 / map_s * 3600:,.0f} km2 an hour: "
                f"{ratios[-1]:.2f}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs",
                flush=True,
            )
    middle = statistics.median(ratios)
    print(f"  {middle:.2f} of the bare network in the median (bar {RATE_BAR})", flush=True)
    return middle >= RATE_BAR


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("what", choices=("memory", "rate", "both", "one"), nargs="?", default="both")
    parser.add_argument("folder", type=Path, nargs="?", help="for the process that memory is measured of")
    parser.add_argument("--rows", type=int, nargs="+", help="of the scenes; default 10000 40000, and 2000 for the rate")
    parser.add_argument("--width", type=int, default=10_980, help="of the scenes, px")
    parser.add_argument("--window", type=int, default=WINDOW_PX)
    parser.add_argument("--run", type=Path, help="folder of a run; default: a network that nobody trained")
    parser.add_argument("--model", default="specsar-former", help="of that network")
    parser.add_argument("--rounds", type=int, default=3, help="of the rate")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = arguments.parse(
        parser, rows=[200, 400], width=300, window=128, model="specsar-former-small", threads=1, rounds=1
    )
    torch.set_num_threads(options.threads)
    if options.what == "one":
        one(options.folder)
        return
    met = True
    if options.what in ("memory", "both"):
        met &= memory(options.rows or (10_000, 40_000), options.width)
    if options.what in ("rate", "both"):
        run = untrained(options.model) if options.run is None else load(options.run, device="cpu")
        met &= rate(run, (options.rows or [2_000])[0], options.width, options.window, options.rounds)
    sys.exit(not met and not options.tiny)


if __name__ == "__main__":
    main()
