"""Does a network that answers a constant give that constant at every pixel of a map, corners and edges too?

    python benchmarks/map_constant.py [--most 255] [--step 1]

Probabilities of 1/45, 2/45, ..., 9/45 of nine classes. Images of 1, 31, 255, 510, 511, 512 and 513 px a side and of
1000 x 37 px, windows of 512 px, every overlap from 0 to 255 px; and 1000 x 1000 px with windows of 256 px and an
overlap of 64, the case in which other makers of maps were tried. Everything but the files is the code of
`dwplus predict`. Bar: no probability is off by more than 1e-6, and no pixel is without data.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from dwplus.model.maps.classifier import Classifier
from dwplus.model.maps.mosaic import finished_rows
from dwplus.model.maps.windows import Axis, axis
from dwplus.workflow.maps.window_rows import WindowRows
from rigs import arguments
from rigs.map_inputs import AUXILIARY, CLASSES, PRIMARY, Held, constant

SIZES = ((1, 1), (31, 31), (255, 255), (510, 510), (511, 511), (512, 512), (513, 513), (1000, 37))
BAR = 1e-6


@dataclass(frozen=True)
class Worst:
    """Of one size over all overlaps.

    Attributes:
        off: the largest difference of a probability.
        beyond: pixels that are off by more than 1 %, at most.
        empty: pixels without data, at most.
    """

    off: float = 0.0
    beyond: int = 0
    empty: int = 0

    def with_(self, other: Worst) -> Worst:
        return Worst(max(self.off, other.off), max(self.beyond, other.beyond), max(self.empty, other.empty))


def worst_of(rows: Axis, columns: Axis) -> Worst:
    """Compare the map with the constant."""
    run = constant()
    pixels = {band: np.full((rows.length, columns.length), 5000, dtype=np.uint16) for band in (*PRIMARY, *AUXILIARY)}
    windows = WindowRows(Classifier(run), run.config, Held(pixels), rows, columns, 1)
    expected = run.network.probabilities.numpy()[:, None, None]
    found = Worst()
    numbers = range(len(rows.starts))
    with windows.computing(0, numbers.stop):
        for start, probabilities in finished_rows(rows, columns, CLASSES, windows.row, numbers=numbers):
            off = np.abs(probabilities - expected)
            seen = windows.seen(start, start + probabilities.shape[1])
            beyond = (off > 0.01 * expected).any(axis=0)
            found = found.with_(Worst(float(off.max()), int(beyond.sum()), int((seen == 0).sum())))
    return found


def cases(most: int, step: int) -> Iterator[tuple[tuple[int, int], int, list[int]]]:
    """Size, window and overlaps."""
    for shape in SIZES:
        yield shape, 512, list(range(0, most + 1, step))
    yield (1000, 1000), 256, [64]


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("--most", type=int, default=255, help="largest overlap, px")
    parser.add_argument("--step", type=int, default=1, help="between two overlaps, px")
    options = arguments.parse(parser, step=255)
    failed = False
    for shape, window, overlaps in cases(options.most, options.step):
        worst = Worst()
        # Windows move on by multiples of 32 px, so that many overlaps lead to the same windows.
        laid = {tuple(axis(side, size=window, overlap=overlap) for side in shape) for overlap in overlaps}
        for rows, columns in laid:
            worst = worst.with_(worst_of(rows, columns))
        print(
            f"{shape[0]:4} x {shape[1]:4} px, windows of {window}, {len(overlaps):3} overlaps ({len(laid)} layouts): "
            f"off by {worst.off:.1e} (bar {BAR}), {worst.beyond} px by more than 1 %, {worst.empty} px without data",
            flush=True,
        )
        failed |= worst.off > BAR or worst.empty > 0
    sys.exit(failed)


if __name__ == "__main__":
    main()
