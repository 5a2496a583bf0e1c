"""Does the synthetic planet look like real imagery? Its statistics beside those of real chips and the published ones.

    python benchmarks/planet_properties.py [CHIPS] [--tiles 132] [--seed 7] [--dates 24] [--before REVISION]

CHIPS holds real Sentinel-1 and Sentinel-2 chips with labels (see ``rigs/real_chips.py``); their labels are a model's,
and their Sentinel-1 is of one day. ``--before`` measures the planet of an older revision of this repository too, by
this very script on an unpacked copy of it. Prints a table as Markdown, one row per property. Takes about three minutes
on one core.

Definitions. Means and standard deviations are over all clear pixels of a class in all tiles, which are seen in their
middle 240 px; reflectance is DN / 1e4. Those over the set include clouds. Kurtosis is the excess; it, the
autocorrelation and the power ratio are medians over windows of 120 px. Autocorrelation at 8 px is the correlation with
the image 8 px to the right and 8 px further down; that of Sentinel-1 is taken over pairs of pixels of one class, tile
by tile. The power ratio is that of the spatial frequencies above 0.4 and below 0.1 cycles per pixel. A patch is a set
of pixels of one class that share sides or corners. A shift is the offset at which an image fits best to an image of
the mean of each class.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import rasterio
from dwplus.local_ee.catalogue import annotations, maps
from dwplus.local_ee.catalogue.sites import SandboxTile
from dwplus.local_ee.planet import utm
from dwplus.local_ee.planet.planet import make_planet
from dwplus.local_ee.planet.protocol import ViewGeometry
from dwplus.local_ee.scene import Scene
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, IGNORE
from dwplus.pipeline.spec.tiles import Tile
from numpy.typing import NDArray
from rigs import arguments, real_chips
from rigs.planet_views import Sandbox, centres
from scipy import ndimage

CLOUD_SCORE = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
SEEN = {"B2": 1, "B3": 1, "B4": 1, "B8": 1, **dict.fromkeys(("B5", "B6", "B7", "B8A", "B11", "B12"), 2), "B1": 6}
"""Bands of a tile, and the size of their pixels in pixels of 10 m."""

BANDS = ("B2", "B3", "B4", "B8", "B11")
WATER, TREES, BUILT, SNOW = 0, 1, 6, 8
PART_PX, LAG_PX, WINDOW_PX = 240, 8, 120
LAND = (1, 2, 3, 4, 5, 6, 7)

Floats = NDArray[np.float64]
Classes = NDArray[np.uint8]

PUBLISHED = {
    "water, B2": ".031 +- .027",
    "water, NDVI": "-.14 +- .34",
    "water, spread of VV (dB)": "3.4",
    "built, VV (dB)": "-8.5 +- 3.5",
    "snow, B2": ".38 +- .27 under trees, .64 +- .25 in the open",
    "snow, B11": ".05-.10",
    "std over the set, B2 / B4": ".115 / .137",
    "kurtosis, B4 in 120 px": "3.6",
    "autocorrelation at 8 px, B4 / B8": ".40 / .38",
    "autocorrelation at 8 px, VV by class": ".2-.5",
    "high / low frequency power, B4": ".0045 (a sensor's point spread)",
    "median patch of maps (px)": "10",
    "median patch of labels (px)": "as large as before or larger",
    "rarest class (%)": "0.1-0.5",
    "test tiles with it": "5",
    "shift Sentinel-1 / truth, sd (px)": "0.5",
    "shift Sentinel-2 / truth, sd (px)": "0 to 0.3",
}
"""What real Sentinel imagery and labels are known to have, from publications."""


@dataclass(frozen=True)
class View:
    """One tile: reflectance by band, backscatter in dB, and what lies there.

    Attributes:
        optical: float (H, W) by band, reflectance.
        radar: float (H, W) for VV and VH, dB.
        cover: uint8 (H, W), class index 0..8 or IGNORE: the truth of the planet, a model's label of a real chip.
        clear: bool (H, W), neither cloud nor shadow.
        label: uint8 (H, W) as annotators drew it; None for a real chip.
        products: maps of the same place, uint8 (H, W) each.
        test: whether the tile is one of the test split.
    """

    optical: dict[str, Floats]
    radar: dict[str, Floats]
    cover: Classes
    clear: NDArray[np.bool_]
    label: Classes | None = None
    products: list[Classes] = field(default_factory=list)
    test: bool = False


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("chips", type=Path, nargs="?", help="folder of real chips")
    parser.add_argument("--tiles", type=int, default=132)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--dates", type=int, default=24, help="Sentinel-1 scenes in the mean, at most")
    parser.add_argument("--before", help="measure the planet of this git revision too")
    parser.add_argument("--json", action="store_true", help="print the sandbox's figures as JSON and nothing else")
    options = arguments.parse(parser, tiles=4, dates=1)
    arguments.need("scipy", "pip install scipy")
    sandbox = figures(sandbox_views(options), radar_of_one_day=False)
    sandbox["CPU seconds of a tile, 60 scenes"] = f"{seconds_of_a_tile(options.seed, 1 if options.tiny else 5):.2f}"
    if options.json:
        print(json.dumps(sandbox))
        return
    columns = {"published": PUBLISHED}
    if options.chips:
        columns["chips"] = figures(chip_views(options.chips), radar_of_one_day=True)
    if options.before:
        columns["before"] = _of_revision(options.before, options)
    _print_table({**columns, "now": sandbox})


def seconds_of_a_tile(seed: int, repeats: int) -> float:
    """CPU seconds of what a planet shows of a tile of 510 px: eleven bands of Sentinel-2, VV and VH of 60 scenes."""
    found = []
    for k in range(repeats):
        planet, x = make_planet({"kind": "earth", "seed": seed}), 480_000.0 + 5_100 * k
        begun = time.process_time()
        view = ViewGeometry(key=k, day=200, lat=60.0, cloud_share=0.05)
        for band, factor in SEEN.items():
            side = 510 // factor
            planet.optical(band, utm.UtmGrid(32, x, 6_600_000, 10 * factor, (0, side), (0, side)), factor, view)
        for scene in range(60):
            view = ViewGeometry(key=1000 + scene, day=6 * scene + 1, lat=60.0, ascending=scene % 2 == 0)
            grid = utm.UtmGrid(32, x + scene % 10, 6_600_000 + scene % 7, 10, (0, 510), (0, 510))
            for polarisation in ("VV", "VH"):
                planet.backscatter(polarisation, grid, view)
        found.append(time.process_time() - begun)
    return float(np.min(found))


def sandbox_views(options: argparse.Namespace) -> Iterator[View]:
    """The tiles of a sandbox that both sensors see."""
    sandbox = Sandbox.of(options.tiles, options.seed)
    for item in sandbox.tiles:
        radar = sandbox.radar_scenes(item.tile, options.dates)
        if item.scene is not None and radar:
            yield _sandbox_view(sandbox, item, radar)


def _sandbox_view(sandbox: Sandbox, item: SandboxTile, radar: list) -> View:  # type: ignore[type-arg]
    tile, planet = _middle(item.tile), sandbox.catalogue.planet
    x, y = centres(tile)
    assert item.scene is not None
    optical = {band: sandbox.at(item.scene, band, tile.crs, x, y)[0] / 1e4 for band in BANDS}
    backscatter = {band: sandbox.mean_backscatter(band, radar, tile.crs, x, y) for band in ("VV", "VH")}
    grid = utm.UtmGrid.of(tile.crs, tile.transform, tile.shape)
    codes = annotations.annotate(planet, sandbox.catalogue, item, item.annotators[0])
    label = DYNAMIC_WORLD.class_indices(codes)
    products = [
        planet.model_labels(tile.crs, tile.transform, tile.shape, item.scene.index),
        maps.esri_pixels(planet, grid, tile.date.year),
    ]
    test = "consensus" in item.annotators
    score, _ = sandbox.at(_cloud_score(sandbox, item), "cs", tile.crs, x, y)
    return View(optical, backscatter, planet.landcover(grid), score > 0.9, label, products, test)


def _middle(tile: Tile) -> Tile:
    """The middle part of a tile."""
    size, _, left, _, _, top = tile.transform
    skip = max((tile.shape[0] - PART_PX) // 2, 0)
    transform = (size, 0.0, left + size * skip, 0.0, -size, top - size * skip)
    return replace(tile, transform=transform, shape=(min(tile.shape[0], PART_PX),) * 2)


def _cloud_score(sandbox: Sandbox, item: SandboxTile) -> Scene:
    """The scene of Cloud Score+ of a tile's scene: the catalogue has one for each index of L1C."""
    assert item.scene is not None
    return sandbox.catalogue.scene(f"{CLOUD_SCORE}/{item.scene.index}")


def chip_views(folder: Path) -> Iterator[View]:
    """Real chips; the classes are a model's."""
    names = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
    for chip in real_chips.chips_of(folder):
        with rasterio.open(chip.folder / "S2L2A.tif") as file:
            values = np.maximum(file.read().astype(float) - chip.offset, 0) / 1e4
        with rasterio.open(chip.folder / "S1.tif") as file:
            radar = dict(zip(("VV", "VH"), file.read().astype(float), strict=True))
        with rasterio.open(chip.folder / "label_dw.tif") as file:
            cover = DYNAMIC_WORLD.class_indices(file.read(1))
        optical = {band: values[names.index(band)] for band in BANDS}
        yield View(optical, radar, cover, cover != IGNORE, products=[cover])


def figures(views: Iterable[View], *, radar_of_one_day: bool) -> dict[str, str]:
    """Each property as text, by its name."""
    seen = list(views)
    water, built, snow = (_of_class(seen, index) for index in (WATER, BUILT, SNOW))
    everything = {band: np.concatenate([view.optical[band].ravel() for view in seen]) for band in ("B2", "B4")}
    ndvi = (water["B8"] - water["B4"]) / np.maximum(water["B8"] + water["B4"], 1e-4)
    shares, test_tiles = _rarest(seen)
    sizes = [_patches(product) for view in seen for product in view.products]
    labels = [_patches(view.label) for view in seen if view.label is not None]
    found = {
        "water, B2": _spread(water["B2"], 3),
        "water, NDVI": _spread(ndvi, 2),
        "water, share with no band above DN 256": _share(np.max([water[band] for band in BANDS], axis=0) <= 0.0256),
        "water, spread of VV (dB)": _number(water["VV"].std(), 1),
        "water, share with VH above VV": _share(water["VH"] > water["VV"]),
        "built, VV (dB)": _spread(built["VV"], 1),
        "snow, B2": _spread(snow["B2"], 2),
        "snow, B11": _spread(snow["B11"], 3),
        "std over the set, B2 / B4": f"{everything['B2'].std():.3f} / {everything['B4'].std():.3f}",
        "kurtosis, B4 in 120 px": _number(np.median([_kurtosis(part) for part in _windows(seen, "B4")]), 1),
        "autocorrelation at 8 px, B4 / B8": " / ".join(
            _number(np.nanmedian([_autocorrelation(part) for part in _windows(seen, band)]), 2) for band in ("B4", "B8")
        ),
        "autocorrelation at 8 px, VV by class": "single day"
        if radar_of_one_day
        else " ".join(_number(_radar_autocorrelation(seen, index), 2) for index in LAND),
        "high / low frequency power, B4": _number(np.median([_power_ratio(part) for part in _windows(seen, "B4")]), 4),
        "median patch of maps (px)": _number(np.median(np.concatenate(sizes)), 0),
        "median patch of labels (px)": _number(np.median(np.concatenate(labels)), 0) if labels else "-",
        "rarest class (%)": f"{shares.min() * 100:.2f} {DYNAMIC_WORLD.names[int(shares.argmin())]}",
        "test tiles with it": str(test_tiles) if labels else "-",
        "shares of classes (%)": " ".join(f"{100 * share:.1f}" for share in shares),
    }
    if not radar_of_one_day:
        found["shift Sentinel-1 / truth, sd (px)"] = _shift_sd([(view.radar["VV"], view.cover) for view in seen])
        found["shift Sentinel-2 / truth, sd (px)"] = _shift_sd([(view.optical["B4"], view.cover) for view in seen])
    return found


def _of_class(views: list[View], index: int) -> dict[str, Floats]:
    """All clear pixels of a class, by band."""
    names = (*BANDS, "VV", "VH")
    inside = [(view.cover == index) & view.clear for view in views]
    found = {
        name: np.concatenate([{**v.optical, **v.radar}[name][here] for v, here in zip(views, inside, strict=True)])
        for name in names
    }
    return {name: values if len(values) else np.full(1, np.nan) for name, values in found.items()}


def _rarest(views: list[View]) -> tuple[Floats, int]:
    """Share of each class among the marked pixels, and the number of test tiles with the rarest one."""
    marks = [view.cover if view.label is None else view.label for view in views]
    counts = np.array([np.bincount(mark[mark != IGNORE], minlength=9)[:9] for mark in marks])
    shares = counts.sum(axis=0) / counts.sum()
    rare = counts[:, int(shares.argmin())]
    return shares, int(sum(rare[k] > 0 for k, view in enumerate(views) if view.test))


def _windows(views: list[View], band: str) -> Iterator[Floats]:
    """Square windows of a band."""
    for view in views:
        values = view.optical[band]
        for row in range(0, values.shape[0] - WINDOW_PX + 1, WINDOW_PX):
            for col in range(0, values.shape[1] - WINDOW_PX + 1, WINDOW_PX):
                part = values[row : row + WINDOW_PX, col : col + WINDOW_PX]
                if part.std() > 0:
                    yield part


def _kurtosis(values: Floats) -> float:
    centred = values - values.mean()
    return float((centred**4).mean() / (centred**2).mean() ** 2 - 3)


def _autocorrelation(values: Floats) -> float:
    return (_correlation(values[LAG_PX:], values[:-LAG_PX]) + _correlation(values[:, LAG_PX:], values[:, :-LAG_PX])) / 2


def _correlation(a: Floats, b: Floats) -> float:
    """NaN where one of them is constant."""
    spread = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else float("nan")


def _radar_autocorrelation(views: list[View], index: int) -> float:
    """Of the difference from the mean of a class in a tile, over pairs of pixels of that class."""
    found = []
    for view in views:
        values, inside = view.radar["VV"], view.cover == index
        right, down = inside[:, LAG_PX:] & inside[:, :-LAG_PX], inside[LAG_PX:] & inside[:-LAG_PX]
        if min(right.sum(), down.sum()) >= 1000:
            across = _correlation(values[:, LAG_PX:][right], values[:, :-LAG_PX][right])
            along = _correlation(values[LAG_PX:][down], values[:-LAG_PX][down])
            found.append((across + along) / 2)
    return float(np.nanmedian(found)) if found else float("nan")


def _power_ratio(values: Floats) -> float:
    side = min(values.shape)
    taper = np.hanning(side)
    power = np.abs(np.fft.fft2((values - values.mean()) * taper[:, None] * taper[None, :])) ** 2
    rate = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    return float(power[rate > 0.4].mean() / power[(rate > 0) & (rate < 0.1)].mean())


def _patches(classes: Classes) -> NDArray[np.int64]:
    """Sizes of connected patches, pixels."""
    sizes = []
    for index in np.unique(classes[classes != IGNORE]):
        named, count = ndimage.label(classes == index, np.ones((3, 3)))
        sizes.append(np.bincount(named.ravel())[1 : count + 1])
    return np.concatenate(sizes) if sizes else np.zeros(0, np.int64)


def _shift_sd(pairs: list[tuple[Floats, Classes]]) -> str:
    offsets = [offset for values, cover in pairs if (offset := _shift(values, cover)) is not None]
    return _number(np.std(np.array(offsets)), 2) if offsets else "-"


def _shift(values: Floats, cover: Classes) -> tuple[float, float] | None:
    """(rows, columns) by which an image lies beside the classes: the peak of their correlation, by a parabola."""
    expected = np.zeros(values.shape)
    for index in np.unique(cover):
        expected[cover == index] = values[cover == index].mean()
    if not expected.std() > 0.2 * values.std():
        return None  # one class, or classes that this band does not tell apart
    inner = values[4:-4, 4:-4]
    height, width = inner.shape

    def fit(row: int, col: int) -> float:
        part = expected[4 + row : 4 + row + height, 4 + col : 4 + col + width]
        return float(np.corrcoef(part.ravel(), inner.ravel())[0, 1])

    row, col = 0, 0
    while max(abs(row), abs(col)) < 3:
        around = [(row, col), (row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)]
        best = max(around, key=lambda place: fit(*place))
        if best == (row, col):
            break
        row, col = best
    else:
        return None
    here = fit(row, col)
    rows = (fit(row - 1, col), here, fit(row + 1, col))
    cols = (fit(row, col - 1), here, fit(row, col + 1))
    found = row + _vertex(*rows), col + _vertex(*cols)
    return found if np.isfinite(found).all() else None


def _vertex(before: float, here: float, after: float) -> float:
    return (before - after) / (2 * (before - 2 * here + after))


def _spread(values: Floats, digits: int) -> str:
    return f"{values.mean():.{digits}f} +- {values.std():.{digits}f}"


def _share(values: NDArray[np.bool_]) -> str:
    return f"{values.mean():.2f}"


def _number(value: float | np.floating, digits: int) -> str:  # type: ignore[type-arg]
    return f"{value:.{digits}f}"


def _of_revision(revision: str, options: argparse.Namespace) -> dict[str, str]:
    """The figures of the planet of an older revision: this script on an unpacked copy of that revision's code."""
    here = Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as place:
        packed = subprocess.run(["git", "archive", revision], cwd=here.parent, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(place, filter="data")
        package = Path(place) / ".links" / "dwplus"
        package.mkdir(parents=True, exist_ok=True)
        for part in ("__init__.py", "manifests", "pipeline", "local_ee", "model", "workflow", "commands", "cli.py"):
            if not (package / part).exists():
                (package / part).symlink_to(Path(place) / part)
        words = [sys.executable, __file__, "--json", "--tiles", str(options.tiles), "--seed", str(options.seed)]
        environment = {**os.environ, "PYTHONPATH": f"{package.parent}{os.pathsep}{here}"}
        command = [*words, "--dates", str(options.dates)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"the planet of {revision} could not be measured: {done.stderr[-2000:]}")
        return dict(json.loads(done.stdout))


def _print_table(columns: dict[str, dict[str, str]]) -> None:
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    print("| property | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name in names:
        print(f"| {name} | " + " | ".join(column.get(name, "-") for column in columns.values()) + " |")


if __name__ == "__main__":
    main()
