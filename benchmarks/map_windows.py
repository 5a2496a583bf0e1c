"""What does the class of a pixel owe to the windows that a map was computed in, and do edges of scenes show?

    python benchmarks/map_windows.py [RUN] [--places 3] [--size 2048] [--shifts 3] [--overlap 64] [--pixels FOLDER]

RUN is the folder of a run that was trained on the sandbox (data/sandbox/runs/NAME); without it a network answers that
nobody trained, whose figures mean nothing. SANDBOX: pixels are downloaded from the local Earth Engine.

Measured, with the settings of `dwplus predict` but for the overlap, if that is given:
- *two maps*: the same ground in two maps whose areas begin multiples of 32 px apart: share of pixels whose class
  differs, up to a window from the border of one of them and further away.
- *change*: the same with windows that lie in the image and not on the ground, so that all of them are moved: share of
  pixels whose class differs, by distance to the nearest line at which a window of either map ends. Bar: at most 1.25 x
  the share at 64-127 px.
- *seams*: share of neighbouring pixels across a line whose classes differ, against pairs 16-63 px beside it: where
  windows end (against pairs that lie between cells of the network too), where a swath of Sentinel-2 or of Sentinel-1
  ends, and the same for stripes of 256 px of two days (or of all passes and ascending ones) by turns, which have many
  more such pairs. Bar: at most 1.1 x.
- *256*: share of pixels whose class differs between windows of 256 and of 512 px. Bar: 3 %.
Behind +- stands a standard error, by a jackknife over blocks of 128 px.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from dwplus.model.maps.classifier import Classifier
from dwplus.model.maps.mosaic import finished_rows
from dwplus.model.maps.windows import OVERLAP_PX, WINDOW_PX, Axis, axis
from dwplus.model.score import LoadedRun
from dwplus.workflow.maps.settings import image_origin
from dwplus.workflow.maps.window_rows import WindowRows
from numpy.typing import NDArray
from rigs import arguments
from rigs.map_inputs import Held
from rigs.map_places import Place, places, run_and_recipe

BLOCK_PX = 128
BORDER_PX = 128
"""Beside the border of the image, which lies elsewhere in the image that was moved, nothing is compared."""
STRIPE_PX = 256
CELL_PX = 4
"""Logits are computed for cells of 4 px, and classes change more often between cells than within one. Lines at which
windows end lie between cells."""
SHIFTS = ((32, 32), (64, 160), (192, 96), (288, 224))
DISTANCES = ((0, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, 63), (64, 127))
BESIDE = (16, 64)
Bools = NDArray[np.bool_]


# --- maps -------------------------------------------------------------------------------------------------------------


def codes_of(
    run: LoadedRun, image: Held, overlap: int, *, window: int = WINDOW_PX, on_ground: bool = False
) -> NDArray[np.uint8]:
    """The map of an image: uint8 (H, W), 0 = no data; windows lie on the ground, as in maps, or in the image."""
    rows, columns = axes_of(image.shape, overlap, window, image_origin(image) if on_ground else (0, 0))
    windows = WindowRows(Classifier(run), run.config, image, rows, columns, 1)
    found = np.zeros(image.shape, dtype=np.uint8)
    with windows.computing(0, len(rows.starts)):
        for start, probabilities in finished_rows(
            rows, columns, len(run.config.data.classes), windows.row, numbers=range(len(rows.starts))
        ):
            stop = start + probabilities.shape[1]
            found[start:stop] = np.where(windows.seen(start, stop), probabilities.argmax(axis=0) + 1, 0)
    return found


def axes_of(
    shape: tuple[int, int], overlap: int, window: int = WINDOW_PX, origin: tuple[int, int] = (0, 0)
) -> tuple[Axis, Axis]:
    rows, columns = (
        axis(side, size=window, overlap=overlap, origin=begin) for side, begin in zip(shape, origin, strict=True)
    )
    return rows, columns


def cuts_of(windows: Axis) -> list[int]:
    """Where windows begin or end to count: line n lies before pixel n."""
    numbers = range(len(windows.starts))
    return [windows.kept(n).start for n in numbers[1:]] + [windows.kept(n).stop for n in numbers[:-1]]


def distance_to(lines: Sequence[int], length: int) -> NDArray[np.int64]:
    """Pixels between each pixel and the nearest line, 0 beside it; int64 (length,)."""
    centres = np.arange(length) + 0.5
    if not lines:
        return np.full(length, length)
    return np.abs(centres[:, None] - np.asarray(lines)[None]).min(axis=1).astype(np.int64)


# --- shares -----------------------------------------------------------------------------------------------------------


@dataclass
class Share:
    """Hits and trials block by block, of several maps."""

    hits: list[NDArray[np.float64]] = field(default_factory=list)
    trials: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, hit: Bools, counted: Bools) -> None:
        self.hits.append(_blocks(hit & counted))
        self.trials.append(_blocks(counted))

    def both(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        none = [np.zeros(0)]
        return np.concatenate(self.hits or none), np.concatenate(self.trials or none)

    @property
    def value(self) -> float:
        hits, trials = self.both()
        return float(hits.sum() / max(trials.sum(), 1))

    @property
    def count(self) -> int:
        return int(self.both()[1].sum())


def _blocks(of: Bools) -> NDArray[np.float64]:
    height, width = (-(-side // BLOCK_PX) * BLOCK_PX for side in of.shape)
    padded = np.zeros((height, width))
    padded[: of.shape[0], : of.shape[1]] = of
    whole = padded.reshape(height // BLOCK_PX, BLOCK_PX, width // BLOCK_PX, BLOCK_PX).sum(axis=(1, 3))
    return whole.ravel()


def ratio(of: Share, to: Share) -> tuple[float, float]:
    """Ratio of two shares of the same blocks, and its standard error by leaving out one block at a time."""
    (a, b), (c, d) = of.both(), to.both()
    if not (a.sum() and b.sum() and c.sum() and d.sum()):
        return float("nan"), float("nan")
    used = (b > 0) | (d > 0)
    a, b, c, d = (one[used] for one in (a, b, c, d))
    left = ((a.sum() - a) / (b.sum() - b)) / ((c.sum() - c) / (d.sum() - d))
    blocks = len(left)
    error = float(np.sqrt((blocks - 1) / blocks * ((left - left.mean()) ** 2).sum()))
    return float(a.sum() / b.sum() / (c.sum() / d.sum())), error


# --- change -----------------------------------------------------------------------------------------------------------


def add_change(
    shares: Sequence[Share],
    run: LoadedRun,
    image: Held,
    whole: NDArray[np.uint8],
    shift: tuple[int, int],
    overlap: int,
) -> None:
    """Compare the map of an image with that of the image without its first rows and columns, by distance to a cut."""
    moved = image.without(*shift)
    other = codes_of(run, moved, overlap)
    part = whole[shift[0] :, shift[1] :]
    distances = []
    for here, there, by in zip(axes_of(whole.shape, overlap), axes_of(moved.shape, overlap), shift, strict=True):
        lines = [*(line - by for line in cuts_of(here)), *cuts_of(there)]
        distances.append(distance_to(lines, there.length))
    distance = np.minimum(distances[0][:, None], distances[1][None])
    counted = (part > 0) & _inside(part.shape, min(BORDER_PX, min(part.shape) // 8))
    for share, (low, high) in zip(shares, DISTANCES, strict=True):
        share.add(part != other, counted & (distance >= low) & (distance <= high))


def add_two_maps(near: Share, far: Share, run: LoadedRun, image: Held, shift: tuple[int, int], overlap: int) -> None:
    """Compare both maps as they are made, up to a window from the border of either and beyond."""
    here = codes_of(run, image, overlap, on_ground=True)[shift[0] :, shift[1] :]
    there = codes_of(run, image.without(*shift), overlap, on_ground=True)
    inside = _inside(here.shape, WINDOW_PX)
    near.add(here != there, (here > 0) & ~inside)
    far.add(here != there, (here > 0) & inside)


def _inside(shape: tuple[int, int], border: int) -> Bools:
    """Pixels that lie so far from the border of an image, or in its middle."""
    found = np.zeros(shape, dtype=bool)
    border = min(border, (min(shape) - 1) // 2)
    found[border:-border, border:-border] = True
    return found


# --- seams ------------------------------------------------------------------------------------------------------------


def add_seam(
    across: Share, beside: Share, codes: NDArray[np.uint8], parts: NDArray[np.int64], where: Bools, cell: int = 1
) -> None:
    """Count neighbouring pixels of unlike classes, across the edges between unlike parts and beside them.

    Args:
        parts: a number for each pixel; edges lie between unlike ones.
        where: pixels that are compared.
        cell: edges lie between cells of so many pixels; they are compared with pairs that do.
    """
    edge = np.zeros(codes.shape, dtype=bool)
    pairs = []
    for along in (0, 1):
        one, other = _neighbours(codes, along)
        left, right = _neighbours(parts, along)
        usable = np.logical_and(*_neighbours(where & (codes > 0), along))
        cut = left != right
        pairs.append((one != other, usable, cut, along))
        edge |= _padded(cut, codes.shape)
    near, far = _grown(edge, BESIDE[0]), _grown(edge, BESIDE[1])
    for differs, usable, cut, along in pairs:
        across.add(*_whole(differs, usable & cut, codes.shape))
        outside = _neighbours(far & ~near, along)[0] & _between_cells(differs.shape, along, cell)
        beside.add(*_whole(differs, usable & outside, codes.shape))


def _between_cells(shape: tuple[int, ...], along: int, cell: int) -> Bools:
    """Which pairs of neighbours lie in two cells: bool, (H, 1) or (1, W)."""
    found = (np.arange(shape[along]) + 1) % cell == 0
    return found[:, None] if along == 0 else found[None]


def _neighbours(of: NDArray[Any], along: int) -> tuple[NDArray[Any], NDArray[Any]]:
    return (of[:-1], of[1:]) if along == 0 else (of[:, :-1], of[:, 1:])


def _padded(of: Bools, shape: tuple[int, int]) -> Bools:
    found = np.zeros(shape, dtype=bool)
    found[: of.shape[0], : of.shape[1]] = of
    return found


def _whole(hit: Bools, counted: Bools, shape: tuple[int, int]) -> tuple[Bools, Bools]:
    return _padded(hit, shape), _padded(counted, shape)


def _grown(of: Bools, pixels: int) -> Bools:
    """Pixels up to so far from one that is set, along rows and columns."""
    found = of
    for along in (0, 1):
        width = [(0, 0), (0, 0)]
        width[along] = (pixels + 1, pixels)
        total = np.moveaxis(np.cumsum(np.pad(found, width).astype(np.int32), axis=along), along, 0)
        found = np.moveaxis(total[2 * pixels + 1 :] > total[: -2 * pixels - 1], 0, along)
    return found


# --- what is printed --------------------------------------------------------------------------------------------------


@dataclass
class Counts:
    """Everything that is counted, over all places."""

    change: list[Share] = field(default_factory=lambda: [Share() for _ in DISTANCES])
    seams: dict[str, tuple[Share, Share]] = field(default_factory=dict)
    smaller: Share = field(default_factory=Share)
    two_maps: tuple[Share, Share] = field(default_factory=lambda: (Share(), Share()))

    def seam(self, name: str, codes: NDArray[np.uint8], parts: NDArray[Any], where: Bools, *, cell: int = 1) -> None:
        across, beside = self.seams.setdefault(name, (Share(), Share()))
        add_seam(across, beside, codes, parts.astype(np.int64), where, cell)

    def add(self, run: LoadedRun, place: Place, shifts: Sequence[tuple[int, int]], stripe: int, overlap: int) -> None:
        """Map a place in all ways."""
        image, everywhere = place.image(), np.ones(place.shown.shape, dtype=bool)
        whole = codes_of(run, image, overlap)
        for shift in shifts:
            add_change(self.change, run, image, whole, shift, overlap)
            add_two_maps(*self.two_maps, run, image, shift, overlap)
        self.seam("windows end", whole, _between_cuts(whole.shape, overlap), everywhere, cell=CELL_PX)
        self.seam("a swath of Sentinel-2 ends", whole, place.shown, everywhere)
        self.seam("a swath of Sentinel-1 ends", whole, place.observations, everywhere)
        codes, parts = _mapped(run, place.striped_days(stripe), overlap)
        self.seam("stripes of two days", codes, parts, place.shown)
        codes, parts = _mapped(run, place.striped_passes(stripe), overlap)
        self.seam("stripes of all passes and ascending ones", codes, parts, everywhere)
        small = codes_of(run, image, overlap, window=256)
        self.smaller.add(small != whole, whole > 0)


def _mapped(run: LoadedRun, striped: tuple[Held, Bools], overlap: int) -> tuple[NDArray[np.uint8], Bools]:
    image, parts = striped
    return codes_of(run, image, overlap), parts


def _between_cuts(shape: tuple[int, int], overlap: int) -> NDArray[np.int64]:
    """A number for each pixel that changes at each line where a window begins or ends to count."""
    rows, columns = (
        np.searchsorted(sorted(cuts_of(one)), np.arange(one.length), side="right") for one in axes_of(shape, overlap)
    )
    found: NDArray[np.int64] = rows[:, None] * (columns.max() + 1) + columns[None]
    return found


def report(counts: Counts) -> None:
    near_border, inside = counts.two_maps
    print(
        f"two maps whose areas begin multiples of 32 px apart: {near_border.value:.2%} of {near_border.count:,} pixels "
        f"up to {WINDOW_PX} px from the border of one differ, {inside.value:.2%} of {inside.count:,} further away"
    )
    far = counts.change[-1]
    print("share of pixels that change where windows are moved, by distance to the nearest line where one ends")
    for (low, high), share in zip(DISTANCES, counts.change, strict=True):
        times, error = ratio(share, far)
        print(
            f"  {low:3}-{high:3} px {share.value:7.2%} of {share.count:12,} px: {times:.2f} +- {error:.2f} x the last "
            "line (bar 1.25)"
        )
    print("share of neighbouring pixels of unlike classes, across a line and 16-63 px beside it")
    for name, (across, beside) in counts.seams.items():
        times, error = ratio(across, beside)
        print(
            f"  {name:42} {across.value:7.2%} of {across.count:9,} pairs, {beside.value:7.2%} beside: {times:.2f} +- "
            f"{error:.2f} x (bar 1.1)"
        )
    print(f"windows of 256 px against 512 px: {counts.smaller.value:.2%} of pixels differ (bar 3 %)", flush=True)


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("run", type=Path, nargs="?", help="folder of a run that was trained on the sandbox")
    parser.add_argument("--places", type=int, default=3)
    parser.add_argument("--size", type=int, default=2_048, help="side of each place, px")
    parser.add_argument("--shifts", type=int, default=3, help="moved maps of each place, at most 4")
    parser.add_argument("--overlap", type=int, default=OVERLAP_PX, help="of windows, px")
    parser.add_argument("--pixels", type=Path, help="folder in which downloaded pixels are kept")
    options = arguments.parse(parser, places=1, size=768, shifts=1)
    run, recipe = run_and_recipe(options.run)
    counts = Counts()
    with tempfile.TemporaryDirectory() as name:
        folder = options.pixels or Path(name)
        for number, place in enumerate(places(options.places, options.size, folder, recipe=recipe), 1):
            counts.add(run, place, SHIFTS[: options.shifts], min(STRIPE_PX, options.size // 4), options.overlap)
            print(f"SANDBOX, {number} of {options.places}: {place.image().name}", flush=True)
    report(counts)


if __name__ == "__main__":
    main()
