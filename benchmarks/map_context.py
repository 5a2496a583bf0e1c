"""How far into a window does its border reach, and what do windows that lie elsewhere change?

    python benchmarks/map_context.py [RUN] [--places 2] [--size 2048] [--pixels FOLDER]

RUN is the folder of a run that was trained on the sandbox; without it a network answers that nobody trained, whose
figures mean nothing. SANDBOX: pixels are downloaded from the local Earth Engine.

Windows of 512 px at every 32 px along strips of an image, each computed once. All windows of a strip have the same
rows, of which the middle half is compared.

- *curve*: share of pixels whose class differs between two windows that lie so many px apart, by distance to the nearer
  border of the window that ends there; the other one goes on for at least 64 px. Zero padding shows as a rise towards
  the border; what does not fall with the distance is context: the one window sees ground that the other does not.
- *far*: share of pixels whose class changes where the last 64 columns of a window are replaced by others of the
  same rows, by distance to them; and the same with what looks at the whole window held: the means of global pooling,
  the keys and values of attention (`ReducedAttention`), or both.
- *settings*: what blending makes of it, along one axis: share of pixels that change where windows are moved by 32 to
  192 px, at a line where one ends and 64-127 px from it, for several widths of margin and overlap, and windows that
  such a map takes (both axes) beside the default. The bar of `map_windows.py` is 1.25 x.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from dwplus.model.blocks.layers import ReducedAttention
from dwplus.model.maps.classifier import Classifier
from dwplus.model.maps.windows import MARGIN_PX, OVERLAP_PX, STEP_PX, WINDOW_PX
from dwplus.model.score import LoadedRun
from dwplus.pipeline.own.image import has_data
from numpy.typing import NDArray
from rigs import arguments
from rigs.map_inputs import Held
from rigs.map_places import places, run_and_recipe
from torch import Tensor, nn

DISTANCES = ((0, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, 63), (64, 127), (128, 191))
OFFSETS = (32, 64, 128, 192, 256)
BESIDE = 64
"""The other window goes on for so many px, so that its own border is not measured too."""

SETTINGS = (
    *((16, 64, "cosine"), (16, 64, "linear"), (32, 64, "cosine"), (48, 64, "cosine")),
    *((16, 96, "cosine"), (16, 128, "cosine"), (32, 128, "cosine"), (16, 224, "cosine")),
)
"""Margin and overlap, px, and how weights rise over what neighbours share: as in maps (raised cosine), or linearly."""

SHIFTS = (32, 64, 96, 160, 192)
BORDER_PX = 128
AT_LINE, FAR = (0, 1), (64, 127)
Bools = NDArray[np.bool_]


class Strip(NamedTuple):
    """Windows along some rows of an image, one every 32 px.

    Attributes:
        probabilities: float16 (windows, K, rows, 512) of the middle rows.
        valid: pixels that have data, bool (rows, W).
    """

    probabilities: NDArray[np.float16]
    valid: Bools

    @property
    def codes(self) -> NDArray[np.int8]:
        """Class index of each pixel of each window: int8 (windows, rows, 512)."""
        return np.stack([one.argmax(axis=0).astype(np.int8) for one in self.probabilities])


def strips_of(run: LoadedRun, image: Held) -> Iterator[Strip]:
    """Two strips, or one where the image is low."""
    data, classifier = run.config.data, Classifier(run)
    middle = slice(WINDOW_PX // 4, 3 * WINDOW_PX // 4)
    height, width = image.shape
    for row in sorted({(height - WINDOW_PX) // 6, 2 * (height - WINDOW_PX) // 3}):
        inputs = [image.read(bands, row, row + WINDOW_PX) for bands in (data.primary, data.auxiliary)]
        starts = range(0, width - WINDOW_PX + 1, STEP_PX)
        found = [
            classifier(*(one[None, :, :, start : start + WINDOW_PX] for one in inputs))[0].astype(np.float16)
            for start in starts
        ]
        shown = image.shown(row, row + WINDOW_PX)
        valid = has_data(*inputs) if shown is None else has_data(*inputs) & shown
        yield Strip(np.stack([one[:, middle] for one in found]), valid[middle])


# --- the curve --------------------------------------------------------------------------------------------------------


def curve(strip: Strip, offset: int) -> NDArray[np.int64]:
    """Pixels that differ and all pixels, by distance: int64 (distances, 2)."""
    codes, apart = strip.codes, offset // STEP_PX
    counts = np.zeros((len(DISTANCES), 2), dtype=np.int64)
    # Ground that both windows show: its columns in the one that begins later, and in the other.
    later = np.arange(WINDOW_PX - offset)
    earlier = later + offset
    cases = ((later, _to_border(earlier)), (WINDOW_PX - 1 - earlier, _to_border(later)))
    for number in range(len(codes) - apart):
        start = STEP_PX * (number + apart)
        ground = strip.valid[:, start : start + len(later)]
        differs = (codes[number][:, earlier] != codes[number + apart][:, later]) & ground
        for distance, of_other in cases:
            for row, (low, high) in enumerate(DISTANCES):
                chosen = (of_other >= BESIDE) & (distance >= low) & (distance <= high)
                counts[row] += differs[:, chosen].sum(), ground[:, chosen].sum()
    return counts


def _to_border(columns: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.minimum(columns, WINDOW_PX - 1 - columns)


# --- far pixels -------------------------------------------------------------------------------------------------------

HELD = {"nothing": (), "the means of pooling": (0,), "keys and values": (1,), "both": (0, 1)}
"""Which of the two kinds of modules that look at the whole window answer as they did before."""

REPLACED_PX = 64
FAR_DISTANCES = ((64, 191), (192, 319), (320, 447))
EVERY = 384
"""Columns from one window to the next."""


def far(run: LoadedRun, image: Held) -> NDArray[np.int64]:
    """Pixels that change and all pixels: int64 (what is held, distances, 2)."""
    pools = [one for one in run.network.modules() if isinstance(one, nn.AdaptiveAvgPool2d)]
    keys = [one.key_value for one in run.network.modules() if isinstance(one, ReducedAttention)]
    held: frozenset[nn.Module] = frozenset()
    answers: dict[nn.Module, Tensor] = {}
    replaying = False

    def keep_or_replay(module: nn.Module, _: object, answer: Tensor) -> Tensor | None:
        if not replaying:
            answers[module] = answer
        return answers[module] if module in held else None

    hooks = [one.register_forward_hook(keep_or_replay) for one in (*pools, *keys)]
    data, classifier, width = run.config.data, Classifier(run), image.shape[1]
    counts = np.zeros((len(HELD), len(FAR_DISTANCES), 2), dtype=np.int64)
    row = (image.shape[0] - WINDOW_PX) // 2
    rows = [image.read(bands, row, row + WINDOW_PX)[None] for bands in (data.primary, data.auxiliary)]
    for start in range(0, width - WINDOW_PX + 1, EVERY):
        window = [one[..., start : start + WINDOW_PX].copy() for one in rows]
        valid, begin = has_data(*(one[0] for one in window)), (start + width // 2) % (width - REPLACED_PX)
        replaying = False
        codes = classifier(*window)[0].argmax(axis=0)
        for of_window, of_rows in zip(window, rows, strict=True):
            of_window[..., -REPLACED_PX:] = of_rows[..., begin : begin + REPLACED_PX]
        replaying = True
        for number, kinds in enumerate(HELD.values()):
            held = frozenset(one for kind in kinds for one in (pools, keys)[kind])
            changed = (classifier(*window)[0].argmax(axis=0) != codes) & valid
            for place, (low, high) in enumerate(FAR_DISTANCES):
                columns = slice(WINDOW_PX - REPLACED_PX - 1 - high, WINDOW_PX - REPLACED_PX - low)
                counts[number, place] += changed[:, columns].sum(), valid[:, columns].sum()
    for hook in hooks:
        hook.remove()
    return counts


# --- settings ---------------------------------------------------------------------------------------------------------


class Layout(NamedTuple):
    """Windows along the columns of an image.

    Attributes:
        starts: first column of each.
        weights: of each window at each column, float32 (windows, W); they add up to 1 from the first window on.
        lines: where one begins or ends to count.
    """

    starts: tuple[int, ...]
    weights: NDArray[np.float32]
    lines: tuple[int, ...]

    @classmethod
    def of(cls, first: int, width: int, margin: int, overlap: int, form: str) -> Layout:
        """Windows from a column on, with weights that rise over what neighbours share."""
        last = width - WINDOW_PX
        starts = (*range(first, last, stride_of(margin, overlap)), last)
        kept = [[start + margin, start + WINDOW_PX - margin] for start in starts]
        kept[0][0], kept[-1][1] = starts[0], width
        weights = np.zeros((len(starts), width), dtype=np.float32)
        for number, (begin, end) in enumerate(kept):
            centres = np.arange(begin, end) + 0.5
            raised = np.ones(len(centres))
            if number > 0:
                raised *= _rise((centres - begin) / (kept[number - 1][1] - begin), form)
            if number + 1 < len(kept):
                raised *= _rise((end - centres) / (end - kept[number + 1][0]), form)
            weights[number, begin:end] = raised
        weights /= np.maximum(weights.sum(axis=0), 1e-9)
        return cls(starts, weights, tuple(line for one in kept for line in one if first < line < width))

    def codes(self, strip: Strip) -> NDArray[np.int8]:
        """Class index of each pixel of the blended windows: int8 (rows, W)."""
        _, classes, rows, _ = strip.probabilities.shape
        total = np.zeros((classes, rows, self.weights.shape[1]), dtype=np.float32)
        for start, weights in zip(self.starts, self.weights, strict=True):
            seen = slice(start, start + WINDOW_PX)
            total[:, :, seen] += strip.probabilities[start // STEP_PX] * weights[seen]
        return total.argmax(axis=0).astype(np.int8)


def _rise(share: NDArray[np.float64], form: str) -> NDArray[np.float64]:
    inside = np.clip(share, 0, 1)
    return inside if form == "linear" else 0.5 - 0.5 * np.cos(np.pi * inside)


def stride_of(margin: int, overlap: int) -> int:
    return (WINDOW_PX - 2 * margin - overlap) // STEP_PX * STEP_PX


def change(strip: Strip, margin: int, overlap: int, form: str) -> NDArray[np.int64]:
    """Pixels that change where windows are moved and all pixels, at a line and far from it: int64 (shifts, 2, 2)."""
    width = strip.valid.shape[1]
    here = Layout.of(0, width, margin, overlap, form)
    codes, columns = here.codes(strip), np.arange(width)
    counts = np.zeros((len(SHIFTS), 2, 2), dtype=np.int64)
    for number, shift in enumerate(SHIFTS):
        there = Layout.of(shift, width, margin, overlap, form)
        lines = np.array([*here.lines, *there.lines])
        distance = np.abs(columns[:, None] + 0.5 - lines).min(axis=1).astype(int)
        border = min(BORDER_PX, width // 16)
        inside = (columns >= shift + border) & (columns < width - border)
        differs = (codes != there.codes(strip)) & strip.valid
        for row, (low, high) in enumerate((AT_LINE, FAR)):
            chosen = inside & (distance >= low) & (distance <= high)
            counts[number, row] += differs[:, chosen].sum(), strip.valid[:, chosen].sum()
    return counts


# --- what is printed --------------------------------------------------------------------------------------------------


def report(curves: NDArray[np.int64], fars: NDArray[np.int64], changes: NDArray[np.int64]) -> None:
    shares = curves[..., 0] / np.maximum(curves[..., 1], 1)
    print("share of pixels that differ between two windows, by distance to the border of one; columns: px apart")
    print(f"  {'':10}" + "".join(f"{offset:8}" for offset in OFFSETS))
    for number, (low, high) in enumerate(DISTANCES):
        counted = zip(shares[:, number], curves[:, number, 1], strict=True)
        print(
            f"  {low:3}-{high:3} px" + "".join(f"{share:8.2%}" if pixels else f"{'-':>8}" for share, pixels in counted)
        )
    print("share of pixels that change where the last 64 columns are replaced, by distance to them")
    for name, counts in zip(HELD, fars, strict=True):
        placed = zip(FAR_DISTANCES, counts, strict=True)
        each = (f"{low}-{high} px {hits / max(pixels, 1):.2%}" for (low, high), (hits, pixels) in placed)
        print(f"  {name} held: {', '.join(each)}")
    default = stride_of(MARGIN_PX, OVERLAP_PX)
    print("share of pixels that change where windows are moved, at a line where one ends and 64-127 px from it")
    for (margin, overlap, form), counts in zip(SETTINGS, changes, strict=True):
        line, far = (counts[:, row].sum(axis=0) for row in (0, 1))
        near, away = line[0] / max(line[1], 1), far[0] / max(far[1], 1)
        each = ", ".join(f"{shift} px: {_ratio(*counts[number]):.2f} x" for number, shift in enumerate(SHIFTS))
        print(
            f"  margin {margin}, overlap {overlap:3}, {form}: {near:.2%} and {away:.2%}, {_ratio(line, far):.2f} x "
            f"(bar 1.25), {(default / stride_of(margin, overlap)) ** 2:.2f} x the windows; moved by {each}",
            flush=True,
        )


def _ratio(line: NDArray[np.int64], far: NDArray[np.int64]) -> float:
    if not (line[1] and far[0]):
        return float("nan")
    return float(line[0] / line[1] / (far[0] / far[1]))


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("run", type=Path, nargs="?", help="folder of a run that was trained on the sandbox")
    parser.add_argument("--places", type=int, default=2)
    parser.add_argument("--size", type=int, default=2_048, help="side of each place, px")
    parser.add_argument("--pixels", type=Path, help="folder in which downloaded pixels are kept")
    options = arguments.parse(parser, places=1, size=768)
    torch.set_num_threads(1)
    run, recipe = run_and_recipe(options.run)
    curves = np.zeros((len(OFFSETS), len(DISTANCES), 2), dtype=np.int64)
    fars = np.zeros((len(HELD), len(FAR_DISTANCES), 2), dtype=np.int64)
    changes = np.zeros((len(SETTINGS), len(SHIFTS), 2, 2), dtype=np.int64)
    with tempfile.TemporaryDirectory() as name:
        for place in places(options.places, options.size, options.pixels or Path(name), recipe=recipe):
            fars += far(run, place.image())
            for strip in strips_of(run, place.image()):
                curves += np.stack([curve(strip, offset) for offset in OFFSETS])
                changes += np.stack([change(strip, *setting) for setting in SETTINGS])
            print(f"SANDBOX: {place.image().name}", flush=True)
    report(curves, fars, changes)


if __name__ == "__main__":
    main()
