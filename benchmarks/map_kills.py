"""Kill `dwplus predict` with SIGKILL twenty times, start it again each time, and compare with an undisturbed map.

    python benchmarks/map_kills.py [--kills 20] [--rows 3000] [--seed 1]

A network that nobody trained (SpecSAR-Former, small) maps two files with noise (SANDBOX), with confidence and
probabilities. Most kills come at a random time after some more rows are kept, some while Python starts, some while the
rasters are being written. Bars: every kill happens, all files are byte-identical to those of the undisturbed map, and
nothing else is left in the folder. The exit code is 1 where one is missed.
"""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rigs import arguments
from rigs.map_inputs import lay_out, untrained, write_scene

WIDTH_PX = 450
WINDOW_PX = 96
GIVE_UP_S = 600.0
Kind = Literal["starting", "rows", "writing"]


@dataclass(frozen=True)
class Moment:
    """When to kill.

    Attributes:
        kind: ``after`` seconds after the start, after so many more parts of rows, or once so many files of a raster
            that is being written have appeared.
        then_s: seconds after that.
    """

    kind: Kind
    after: float
    then_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.after:.3g} + {1000 * self.then_s:.0f} ms"


def moments(kills: int, rng: random.Random) -> list[Moment]:
    """While it starts, while rows are computed, and while rasters are written, in this order at the end."""
    writing = max(1, kills // 5)
    starting = kills // 10
    inside = [Moment("rows", rng.randint(1, 2), rng.uniform(0, 0.3)) for _ in range(kills - writing - starting)]
    inside += [Moment("starting", rng.uniform(0, 3)) for _ in range(starting)]
    rng.shuffle(inside)
    return [*inside, *(Moment("writing", 1 + n % 4, rng.uniform(0, 0.01)) for n in range(writing))]


def start(run: Path, scene: Sequence[Path], path: Path) -> subprocess.Popen[bytes]:
    words = ["predict", str(run), "--pixels", str(scene[0]), "--sar", str(scene[1]), "-o", str(path), "--quiet"]
    words += ["--s1-calibration", "sigma0", "--s1-pass", "both", "--s1-mean", "dB", "--s1-scenes", "60"]
    words += ["--accept", "s1", "--force", "--window", str(WINDOW_PX), "--overlap", "0", "--confidence"]
    words.append("--probabilities")
    return subprocess.Popen([sys.executable, "-m", "dwplus.cli", *words], stdout=subprocess.DEVNULL)


def parts_in(folder: Path) -> int:
    return sum(1 for _ in folder.glob(".*.parts/rows-*.npz"))


def writing_in(folder: Path, seen: set[str]) -> int:
    """Rasters that were seen while they were written; one is gone again after milliseconds."""
    seen |= {path.name for path in folder.iterdir() if path.suffix in (".rows", ".part")}
    return len(seen)


def kill_at(process: subprocess.Popen[bytes], folder: Path, moment: Moment) -> bool:
    """Kill a process at a moment; False where it ended first."""
    begun, before, seen = time.monotonic(), parts_in(folder), set[str]()
    while time.monotonic() - begun < GIVE_UP_S:
        reached = {
            "starting": lambda: time.monotonic() - begun,
            "rows": lambda: parts_in(folder) - before,
            "writing": lambda: writing_in(folder, seen),
        }[moment.kind]()
        if reached >= moment.after:
            time.sleep(moment.then_s)
            break
        if process.poll() is not None:
            break
        time.sleep(0.001)
    happened = process.poll() is None
    process.kill()
    process.wait()
    return happened


def finish(process: subprocess.Popen[bytes]) -> None:
    code = process.wait(GIVE_UP_S)
    assert code == 0, f"predict ended with exit code {code}"


def hashes(folder: Path) -> dict[str, str]:
    """Hash of every file of a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rows", type=int, default=3_000, help="of the image, px")
    parser.add_argument("--seed", type=int, default=1)
    options = arguments.parse(parser, kills=2, rows=220)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = lay_out(untrained(), folder / "run")
        scene = write_scene(folder, options.rows, WIDTH_PX)
        whole, killed = folder / "whole", folder / "killed"
        for one in (whole, killed):
            one.mkdir()
        finish(start(run, scene, whole / "map.tif"))
        happened = []
        for moment in moments(options.kills, rng):
            if kill_at(start(run, scene, killed / "map.tif"), killed, moment):
                happened.append(f"{moment} ({parts_in(killed)} parts kept)")
        finish(start(run, scene, killed / "map.tif"))
        expected, found = hashes(whole), hashes(killed)
    print(f"{len(happened)} of {options.kills} kills happened: {'; '.join(happened)}")
    differ = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    print(f"{len(expected)} files: {', '.join(expected)}")
    print(f"not the same after the kills: {', '.join(differ)}" if differ else "all files are byte-identical")
    missed = bool(differ) or len(happened) < options.kills
    sys.exit(missed and not options.tiny)


if __name__ == "__main__":
    main()
