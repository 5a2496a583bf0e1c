"""Figures of findings, labels and trainings: drawn with matplotlib, returned as PNG bytes.

``mark`` says whose pixels a figure shows.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from ...pipeline.spec.classes import DYNAMIC_WORLD, IGNORE, ClassTable
from ...pipeline.spec.words import count_of
from .pixels import GREY, SPLIT_COLOURS, TileView, backscatter, class_colours, true_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

mpl.use("Agg")

_Below = Literal["outside lower center", "lower center"]
_DPI = 110


def _prediction(view: TileView, run: str, classes: ClassTable) -> NDArray[np.float32]:
    """Colours of a run's classes; grey where it was not scored on this tile."""
    found = view.predictions.get(run)
    return class_colours(np.full_like(view.label, IGNORE) if found is None else found, classes)


_PANEL_PX, _GAP_PX, _HEAD_PX, _FOOT_PX = 256, 6, 40, 64
"""Of ``panels_figure``: side of a panel, space between panels, above them and below."""


def panels_figure(
    views: Sequence[TileView], *, title: str, classes: ClassTable = DYNAMIC_WORLD, mark: str = ""
) -> bytes:
    """A row per tile, at a fixed size: true colour, VV, label and prediction, with the legend of classes below.

    For pictures that are drawn while a network trains: views have one prediction each.
    """
    from matplotlib.figure import Figure

    panels = [
        [true_colour(one.rgb), np.repeat(backscatter(one.vv)[..., None], 3, 2), class_colours(one.label, classes)]
        + [_prediction(one, run, classes) for run in one.predictions]
        for one in views
    ]
    titles = ["Sentinel-2 true colour", "Sentinel-1 VV, mean", "Label", *views[0].predictions]
    step = _PANEL_PX + _GAP_PX
    width, height = step * len(titles) + _GAP_PX, step * len(views) + _HEAD_PX + _FOOT_PX
    canvas = np.ones((height, width, 3), dtype=np.float32)
    for row, of_tile in enumerate(panels):
        for column, panel in enumerate(of_tile):
            top, left = _HEAD_PX + row * step, _GAP_PX + column * step
            canvas[top : top + _PANEL_PX, left : left + _PANEL_PX] = _at_size(panel, _PANEL_PX)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    figure.figimage(canvas, origin="upper")
    for column, text in enumerate(titles):
        x = (_GAP_PX + column * step + _PANEL_PX / 2) / width
        figure.text(x, 1 - (_HEAD_PX - 6) / height, text, ha="center", va="bottom", fontsize=8)
    figure.text(0.005, 0.998, title, ha="left", va="top", fontsize=8, weight="bold")
    for row, view in enumerate(views):
        y = 1 - (_HEAD_PX + row * step + _PANEL_PX - 4) / height
        box = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1.5}
        figure.text((_GAP_PX + 4) / width, y, view.title, ha="left", va="bottom", fontsize=5, bbox=box)
    _class_legend(figure, classes, place="lower center")
    return _png(figure, mark)


def _at_size(picture: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """The nearest pixels of a picture (H, W, 3), whose longer side becomes ``side``; white beside it."""
    scale = side / max(picture.shape[:2])
    rows, columns = (((np.arange(round(n * scale)) + 0.5) / scale).astype(int) for n in picture.shape[:2])
    shown = np.ones((side, side, 3), dtype=np.float32)
    shown[: len(rows), : len(columns)] = picture[rows[:, None], columns]
    return shown


def labels_figure(
    tiles: Sequence[tuple[str, NDArray[np.uint8]]], *, classes: ClassTable = DYNAMIC_WORLD, mark: str = ""
) -> bytes:
    """Label tiles, four in a row, in the colours of their classes: (title, uint8 (H, W) of codes)."""
    columns = min(4, len(tiles))
    figure, axes = _grid(-(-len(tiles) // columns), columns, 3.0)
    palette = np.zeros((256, 4), np.uint8)
    for code, colour in classes.code_colours.items():
        palette[code] = colour
    for axis in (axis for row in axes for axis in row):
        axis.set_axis_off()
    for (title, codes), axis in zip(tiles, (axis for row in axes for axis in row), strict=False):
        axis.set_axis_on()
        axis.set_facecolor(GREY)  # unmarked pixels are transparent
        axis.imshow(palette[codes], interpolation="nearest")
        axis.set_title(title, fontsize=7)
    _class_legend(figure, classes)
    return _png(figure, mark)


def class_distribution_figure(
    counts: Mapping[str, NDArray[np.int64]], *, classes: ClassTable = DYNAMIC_WORLD, mark: str = ""
) -> bytes:
    """Share of each class (colours) in each group (a bar each); paper, Fig. 3."""
    figure, axis = _axes(8.0, 0.32 * len(counts) + 1.4)
    names = list(counts)[::-1]
    left = np.zeros(len(names))
    for land_cover in classes.classes:
        share = np.array([counts[n][land_cover.index] / max(counts[n].sum(), 1) for n in names])
        axis.barh(names, share, left=left, color=f"#{land_cover.colour}", edgecolor="white", linewidth=0.4)
        left += share
    axis.set_xlim(0, 1)
    axis.set_xlabel("share of marked pixels")
    axis.tick_params(labelsize=7)
    _class_legend(figure, classes)
    return _png(figure, mark)


def map_figure(places: Mapping[str, Sequence[tuple[float, float]]], *, mark: str = "") -> bytes:
    """Where the tiles lie: longitude and latitude, a colour per split."""
    figure, axis = _axes(8.0, 3.6)
    for split, points in places.items():
        lons, lats = zip(*points, strict=True) if points else ((), ())
        axis.scatter(lons, lats, s=14, color=SPLIT_COLOURS.get(split, "black"), label=f"{split} ({len(points)})")
    for border in (-160, -20, 100):
        axis.axvline(border, color="0.7", linewidth=0.8, linestyle=":")
    axis.set(xlim=(-180, 180), ylim=(-60, 85), xlabel="longitude", ylabel="latitude")
    axis.grid(color="0.92")
    axis.legend(fontsize=7, loc="lower left", framealpha=1)
    return _png(figure, mark)


def strip_figure(view: TileView, *, classes: ClassTable = DYNAMIC_WORLD, mark: str = "") -> bytes:
    """One tile, small: true colour, VV, label side by side."""
    figure, axes = _grid(1, 3, 1.4)
    for axis, picture in zip(
        axes[0], (true_colour(view.rgb), backscatter(view.vv), class_colours(view.label, classes)), strict=True
    ):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    return _png(figure, mark)


def histogram_figure(groups: Mapping[str, NDArray[np.float64]], unit: str, *, mark: str = "") -> bytes:
    """How values are distributed in each group, as shares of the group: a step line each, common bins."""
    figure, axis = _axes(8.0, 2.4)
    every = np.concatenate([*groups.values(), np.zeros(0)])
    if every.size:
        bins = np.histogram_bin_edges(every, bins=24).tolist()
        for name, values in groups.items():
            weights = np.full(len(values), 100 / max(1, len(values)))
            colour = SPLIT_COLOURS.get(name)
            axis.hist(values, bins=bins, weights=weights, histtype="step", linewidth=1.6, label=name, color=colour)
        axis.legend(fontsize=7)
    axis.set(xlabel=unit, ylabel="% of the tiles")
    axis.grid(color="0.92")
    return _png(figure, mark)


def shares_figure(groups: Mapping[str, Mapping[str, float]], *, mark: str = "") -> bytes:
    """Share (0..1) of each kind in each group: a block of bars for each kind."""
    figure, axis = _axes(8.0, 2.6)
    kinds = list(next(iter(groups.values())))
    width = 0.8 / len(groups)
    for number, (name, shares) in enumerate(groups.items()):
        places = np.arange(len(kinds)) + (number - (len(groups) - 1) / 2) * width
        axis.bar(places, [100 * shares[kind] for kind in kinds], width, label=name, color=SPLIT_COLOURS.get(name))
    axis.set_xticks(range(len(kinds)), kinds)
    axis.set(xlabel="biome", ylabel="% of the tiles")
    axis.legend(fontsize=7)
    return _png(figure, mark)


def shift_figure(groups: Mapping[str, NDArray[np.float64]], *, mark: str = "") -> bytes:
    """Shifts of tiles, float64 (tiles, 2) of (east, south) in pixels: a panel per group, its median as a cross."""
    figure, axes = _grid(1, len(groups), 3.0, ticks=True)
    for axis, (name, points) in zip(axes[0], groups.items(), strict=True):
        reach = max(1.0, float(np.abs(points).max(initial=0)) * 1.1)
        axis.scatter(points[:, 0], points[:, 1], s=10, color="#3a6ea5", alpha=0.6)
        if len(points):
            axis.plot(*np.median(points, axis=0), marker="+", markersize=14, color="#c0392b")
        # South is down.
        axis.set(xlim=(-reach, reach), ylim=(reach, -reach), xlabel="east, px", ylabel="south, px")
        axis.axhline(0, color="0.8", linewidth=0.8)
        axis.axvline(0, color="0.8", linewidth=0.8)
        axis.set_title(f"{name}\n{count_of(len(points), 'tile')}", fontsize=8)
    return _png(figure, mark)


# --- drawing ----------------------------------------------------------------------------------------------------------


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")


def _grid(
    rows: int, columns: int, size: float, *, ticks: bool = False, aspect: float = 1.0
) -> tuple[Figure, list[list[Axes]]]:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        rows, columns, figsize=(size * aspect * columns, size * rows + 0.5), squeeze=False, layout="constrained"
    )
    if not ticks:
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
    return figure, axes.tolist()


def _class_legend(figure: Figure, classes: ClassTable, *, place: _Below = "outside lower center") -> None:
    from matplotlib.patches import Patch

    patches = [Patch(color=f"#{c.colour}", label=c.title) for c in classes.classes]
    figure.legend(handles=patches, loc=place, ncol=5, fontsize=7, frameon=False)


def _as_written(figure: Figure) -> None:
    """Show every text of a figure as it is written: matplotlib would read ``$x$`` in a run's name as a formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)


def _png(figure: Figure, mark: str) -> bytes:
    import matplotlib.pyplot as plt

    if mark:
        # A picture that is taken out of its page still says whose pixels it shows.
        figure.text(0.995, 0.005, mark, ha="right", va="bottom", fontsize=8, weight="bold", color="#b58900")
    _as_written(figure)
    content = io.BytesIO()
    # No software tag: the same numbers draw the same bytes.
    figure.savefig(content, format="png", dpi=_DPI, metadata={"Software": None})
    plt.close(figure)
    return content.getvalue()
