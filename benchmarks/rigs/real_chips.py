"""Chips with real pixels and labels as a data set of dwplus: folds by Sentinel-2 scene, made by the commands.

A folder of chips has a table ``chips.csv`` (``chip``, ``crs``, ``date``, ``s1_date``, ``offset_1000``) and, for each,
``chips/<chip>/`` with ``S2L2A.tif``, ``S1.tif`` and ``label_dw.tif``.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from dwplus.pipeline.spec.bands import S1_BANDS, S2_BANDS
from rasterio.transform import from_origin


@dataclass(frozen=True)
class Chip:
    """One chip: its folder, and the days of its images as ``YYYYMMDD``."""

    folder: Path
    scene: str
    date: str
    s1_date: str
    offset: int

    @property
    def gamma0(self) -> bool:
        """Whether its Sentinel-1 is terrain-corrected (TerraMesh); the others are ground range detected."""
        return self.folder.name.startswith("tm_")


def chips_of(folder: Path) -> list[Chip]:
    """All chips of a folder, in the order of its table."""
    with (folder / "chips.csv").open(encoding="utf-8", newline="") as file:
        return [_chip(folder, row) for row in csv.DictReader(file)]


def _chip(folder: Path, row: Mapping[str, str]) -> Chip:
    day, radar = row["date"].replace("-", ""), row["s1_date"].replace("-", "")
    return Chip(
        folder / "chips" / row["chip"], f"{day} {row['crs']}", day, radar, 1000 * (row["offset_1000"] == "True")
    )


def folds_by_scene(chips: Sequence[Chip], count: int) -> list[list[Chip]]:
    """Folds of nearly equal size; the chips of one Sentinel-2 scene stay together."""
    by_scene: dict[str, list[Chip]] = defaultdict(list)
    for chip in chips:
        by_scene[chip.scene].append(chip)
    folds: list[list[Chip]] = [[] for _ in range(count)]
    for scene in sorted(by_scene, key=lambda scene: (-len(by_scene[scene]), scene)):
        min(folds, key=len).extend(by_scene[scene])
    return folds


def splits_of(folds: Sequence[Sequence[Chip]], number: int) -> dict[str, str]:
    """Name of a chip -> its split: fold ``number`` tests, the next one validates, the others train."""
    after = (number + 1) % len(folds)
    return {
        chip.folder.name: "test" if n == number else "val" if n == after else "train"
        for n, fold in enumerate(folds)
        for chip in fold
    }


def data_set(chips: Sequence[Chip], splits: Mapping[str, str], folder: Path) -> None:
    """Make a data set of chips by ``labels add``, ``pixels add`` and ``build``.

    Args:
        splits: name of a chip -> ``train``, ``val`` or ``test``.
    """
    folder.mkdir(parents=True)
    rows = [(c.folder.name, c.date, c.s1_date, str(c.offset), splits[c.folder.name]) for c in chips]
    labels, pixels = folder / "labels.csv", folder / "pixels.csv"
    _write(labels, ("file", "date", "split"), [(row[0], row[1], row[4]) for row in rows])
    _write(pixels, ("file", "date", "s1_date", "offset"), [row[:4] for row in rows])
    data = ["--data", str(folder / "data"), "-q"]
    named = [str(chip.folder / "label_dw.tif") for chip in chips]
    # A chip without any marked pixel is refused and named; the others are added.
    run("labels", "add", *named, "--classes", "dynamic-world", "--table", str(labels), *data, may_fail=(3,))
    for calibration in ("sigma0", "gamma0"):
        files = [
            str(c.folder / n) for c in chips if c.gamma0 == (calibration == "gamma0") for n in ("S2L2A.tif", "S1.tif")
        ]
        radar = ["--s1-calibration", calibration, "--s1-pass", "both", "--accept", "s1"]
        if files:
            run("pixels", "add", *files, "--as", "both", *radar, "--table", str(pixels), *data, may_fail=(3,))
    run("build", "--workers", "1", *data)


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])


def run(*words: str, may_fail: Sequence[int] = ()) -> str:
    """Run one command of dwplus; what it printed. Ends the program where it fails otherwise than it may."""
    command = [sys.executable, "-c", "from dwplus.cli import main; main()", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, *may_fail):
        sys.exit(f"dwplus {' '.join(words[:2])} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def made_up_chips(folder: Path, count: int = 6, size: int = 32) -> Path:
    """A folder of chips with random pixels, in place of real ones: dark ground left, bright ground right."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        name, day = f"made_{number}", f"201907{10 + number}"
        left = np.arange(size)[None, :] < size // 2
        codes = np.where(left, 2, 7).astype(np.uint8).repeat(size, axis=0)
        optical = rng.integers(300, 900, (len(S2_BANDS), size, size)) + np.where(left, 0, 1500)
        radar = rng.normal(-14, 1, (len(S1_BANDS), size, size)) + np.where(left, 0, 5) - [[[0]], [[7]]]
        grid = from_origin(500_000 + 20_000 * number, 5_000_000, 10, 10)
        for file, values, names in (
            ("label_dw.tif", codes[None], ("label",)),
            ("S2L2A.tif", optical.astype(np.uint16), S2_BANDS),
            ("S1.tif", radar.astype(np.float32), S1_BANDS),
        ):
            path = folder / "chips" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            profile = {"driver": "GTiff", "width": size, "height": size, "count": len(values), "dtype": values.dtype}
            with rasterio.open(path, "w", **profile, crs="EPSG:32632", transform=grid) as made:
                made.write(values)
                made.descriptions = names
        rows.append((name, "EPSG:32632", day, day, "False"))
    _write(folder / "chips.csv", ("chip", "crs", "date", "s1_date", "offset_1000"), rows)
    return folder
