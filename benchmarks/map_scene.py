"""How much memory does the map of a scene take, and how fast is it compared with the bare network?

    python benchmarks/map_scene.py memory [--rows 10000 40000] [--width 10980]
    python benchmarks/map_scene.py rate [--run RUN | --model specsar-former] [--rows 2000] [--threads 2]

Scenes are GeoTIFFs of 12 + 2 bands with synthetic pixels, 10,980 px wide as those of Sentinel-2, nine classes.

*memory*: a network that answers a constant maps scenes of unlike height, each in a process of its own, with confidence
and page. Bars: under 2 GB resident, as much for 40,000 rows as for 10,000 (within 5 %).

*rate*: a network maps 2,000 rows. After each row of windows the bare `network(batch)` answers as many windows, which
lie ready as normalised tensors, so that both see the same load of the machine; no file is being read then. Bar: windows
per second of the map at least 0.9 of the bare network's, time of the finished files included. Windows overlap by 64 px
and lose 16 px, so that a map takes 1.51 windows' pixels for each of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dwplus.model.maps.windows import OVERLAP_PX, WINDOW_PX, axis
from dwplus.model.score import LoadedRun, load
from dwplus.pipeline.own.image import Image
from dwplus.pipeline.progress import Silent, Step
from dwplus.workflow.maps.mapping import map_image
from dwplus.workflow.maps.settings import MapOptions
from numpy.typing import NDArray
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


class Scene:
    """An image of files that says whether one of them is being read.

    Attributes:
        reading: held while rows are read.
        read_s: seconds of reading, in another thread than the network's.
    """

    def __init__(self, image: Image) -> None:
        self._image, self.reading, self.read_s = image, threading.Lock(), 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._image, name)

    def read(self, bands: Sequence[str], start: int, stop: int, picture: int = 0) -> NDArray[np.uint16]:
        begun = time.perf_counter()
        with self.reading:
            found = self._image.read(bands, start, stop, picture)
        self.read_s += time.perf_counter() - begun
        return found


class InTurns(Silent):
    """After each row of windows the bare network answers as many.

    Attributes:
        bare_s: seconds of the bare network.
        bare: windows that it answered.
    """

    def __init__(self, scene: Scene, run: LoadedRun, columns: int, window: int) -> None:
        self._scene, self._run, self._columns = scene, run, columns
        generator = torch.Generator().manual_seed(0)
        self._batch = [torch.randn(1, len(one), window, window, generator=generator) for one in (PRIMARY, AUXILIARY)]
        self.bare_s, self.bare = 0.0, 0
        self.loads: list[float] = []

    def stage(self, title: str, total: int | None, unit: str = "tiles") -> AbstractContextManager[Step]:
        if title != "Mapping":
            return super().stage(title, total, unit)
        outer = self

        class AfterEach(Step):
            def advance(self, amount: int = 1, note: str = "") -> None:  # noqa: ARG002 - as every Step
                outer.answer()

        return nullcontext(AfterEach())

    @torch.inference_mode()
    def answer(self) -> None:
        """The bare network in the state in which the map uses it; waiting for a file is the map's time."""
        with self._scene.reading:
            begun = time.perf_counter()
            for _ in range(self._columns):
                self._run.network(*self._batch)
            self.bare_s += time.perf_counter() - begun
        self.bare += self._columns
        self.loads.append(os.getloadavg()[0])


def rate(run: LoadedRun, height: int, width: int, window: int) -> bool:
    """Whether the bar is met."""
    rows, columns = (axis(side, size=window, overlap=OVERLAP_PX) for side in (height, width))
    windows = len(rows.starts) * len(columns.starts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = Scene(open_scene(write_scene(folder, height, width)))
        turns = InTurns(scene, run, len(columns.starts), window)
        turns.answer()  # memory and threads are made
        turns.bare_s, turns.bare = 0.0, 0
        begun, cpu = time.perf_counter(), time.process_time()
        options = MapOptions(window=window, confidence=True, page=False)
        map_image(run, "0", scene, folder / "map.tif", options, radar=RADAR, progress=turns)
        map_s = time.perf_counter() - begun - turns.bare_s
        cpu_s = time.process_time() - cpu
    bare, mapped = turns.bare / turns.bare_s, windows / map_s
    km2 = height * width * KM2_OF_PX
    print(
        f"{run.config.model}, {height:,} x {width:,} px, {torch.get_num_threads()} threads, load "
        f"{min(turns.loads):.1f} to {max(turns.loads):.1f} on {os.cpu_count()} CPUs"
    )
    print(
        f"  map  {mapped:7.3f} windows/s, {windows} in {map_s:.0f} s ({scene.read_s:.0f} s of reading beside it), "
        f"{km2 / map_s * 3600:,.0f} km2 an hour"
    )
    print(f"  bare {bare:7.3f} windows/s, {turns.bare} in {turns.bare_s:.0f} s; {cpu_s:.0f} CPU-s of both")
    print(f"  {mapped / bare:.2f} of the bare network (bar {RATE_BAR})", flush=True)
    return mapped / bare >= RATE_BAR


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("what", choices=("memory", "rate", "both", "one"), nargs="?", default="both")
    parser.add_argument("folder", type=Path, nargs="?", help="for the process that memory is measured of")
    parser.add_argument("--rows", type=int, nargs="+", help="of the scenes; default 10000 40000, and 2000 for the rate")
    parser.add_argument("--width", type=int, default=10_980, help="of the scenes, px")
    parser.add_argument("--window", type=int, default=WINDOW_PX)
    parser.add_argument("--run", type=Path, help="folder of a run; default: a network that nobody trained")
    parser.add_argument("--model", default="specsar-former", help="of that network")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = arguments.parse(parser, rows=[200, 400], width=300, window=128, model="specsar-former-small", threads=1)
    torch.set_num_threads(options.threads)
    if options.what == "one":
        one(options.folder)
        return
    met = True
    if options.what in ("memory", "both"):
        met &= memory(options.rows or (10_000, 40_000), options.width)
    if options.what in ("rate", "both"):
        run = untrained(options.model) if options.run is None else load(options.run, device="cpu")
        met &= rate(run, (options.rows or [2_000])[0], options.width, options.window)
    sys.exit(not met and not options.tiny)


if __name__ == "__main__":
    main()
