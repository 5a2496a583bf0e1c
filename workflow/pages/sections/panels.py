"""Fig. 7 of the paper: tiles with their label, what networks and maps say of them, and a box that is drawn larger.

Which tiles and which box is decided by rule, so that nobody chose them (``TILES_RULE``, ``BOX_RULE``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....pipeline.dataset.manifest import ManifestRow
from ....pipeline.spec.classes import DYNAMIC_WORLD, IGNORE, ClassTable, LandCover
from ....pipeline.spec.layers import Product
from ...beside import merged_classes
from ..html import embed
from ..pixels import TileView, backscatter, class_map, photograph, smaller, true_colour

TILES_DRAWN = 4
TILES_RULE = (
    "Test tiles of different biomes: of each biome and region the one with the most marked pixels, in a fixed shuffled "
    "order"
)

BOX_PX, STEP_PX = 128, 32
BOX_RULE = (
    f"the {BOX_PX} x {BOX_PX} px, on a raster of {STEP_PX} px, in which most different classes are said of a pixel by "
    "the networks and maps that are drawn"
)

_SHOWN_PX = 255
MERGED = 254
"""Index of pixels of which a map says no more than that they are of one of several classes."""


@dataclass(frozen=True)
class Panel:
    """One picture of a tile, and of its box; URLs that hold them, and what they show in words."""

    title: str
    picture: str
    zoom: str
    said: str
    zoom_said: str


@dataclass(frozen=True)
class PanelRow:
    """One tile; ``box`` is (left, top, width, height) in percent of a picture."""

    title: str
    box: tuple[float, float, float, float]
    panels: tuple[Panel, ...]


# --- which tiles, which box -------------------------------------------------------------------------------------------


def varied(rows: Sequence[ManifestRow], number: int) -> list[ManifestRow]:
    """Tiles of as many biomes and regions as possible, the best marked of each."""
    best: dict[tuple[int, str], ManifestRow] = {}
    for row in sorted(rows, key=lambda r: r.marked_share):
        best[row.tile.biome, row.tile.region] = row
    in_turn = sorted(best.values(), key=lambda r: (hash_order(r.tile.id), r.tile.id))
    # Written from the last to the first, so that the first of each biome stays.
    of_biome = {row.tile.biome: row for row in reversed(in_turn)}
    first = [row for row in in_turn if of_biome[row.tile.biome] is row]
    return (first + [r for r in in_turn if r not in first])[:number]


def hash_order(tile_id: str) -> int:
    """A fixed shuffle of tile ids."""
    return sum(ord(letter) * (i + 1) for i, letter in enumerate(tile_id)) % 97


def box_of(said: Sequence[NDArray[np.uint8]], label: NDArray[np.uint8]) -> tuple[slice, slice]:
    """The box of a tile by ``BOX_RULE``: (rows, columns).

    Args:
        said: class indices of networks and maps, uint8 (H, W). With one alone, the box has the most pixels that it says
            otherwise than the label; with none, it is the first.
        label: class indices; pixels without a class count like others where two or more say something.
    """
    differing = _classes_said([*said, *([label] if len(said) < 2 else [])])
    height, width = label.shape
    side = min(BOX_PX, height, width)
    sums = np.zeros((height + 1, width + 1), np.int64)
    sums[1:, 1:] = differing.cumsum(0).cumsum(1)
    tops, lefts = range(0, height - side + 1, STEP_PX), range(0, width - side + 1, STEP_PX)
    found = [
        (
            -int(sums[top + side, left + side] - sums[top, left + side] - sums[top + side, left] + sums[top, left]),
            top,
            left,
        )
        for top in tops
        for left in lefts
    ]
    _, top, left = min(found)
    return slice(top, top + side), slice(left, left + side)


def _classes_said(layers: Sequence[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """How many classes more than one are said of each pixel; ``IGNORE`` says nothing. int64 (H, W)."""
    ordered = np.sort(np.stack(layers), axis=0)
    new = (np.diff(ordered, axis=0) > 0) & (ordered[1:] != IGNORE)
    number: NDArray[np.int64] = new.sum(axis=0, dtype=np.int64)
    return number


# --- pictures ---------------------------------------------------------------------------------------------------------


def panel_rows(views: Sequence[TileView], classes: ClassTable = DYNAMIC_WORLD) -> list[PanelRow]:
    """A row of pictures for each tile: true colour, VV, label, then each network and map that says something of it."""
    return [_row(view, classes) for view in views]


def _row(view: TileView, classes: ClassTable) -> PanelRow:
    said = [np.where(one == MERGED, IGNORE, one) for one in view.predictions.values() if one is not None]
    rows, columns = box_of(said, view.label)
    height, width = view.label.shape
    box = (
        100 * columns.start / width,
        100 * rows.start / height,
        100 * (columns.stop - columns.start) / width,
        100 * (rows.stop - rows.start) / height,
    )
    rgb, vv = true_colour(view.rgb), backscatter(view.vv)
    panels = [
        _photo("Sentinel-2, true colour", rgb, rgb[rows, columns], view.title),
        _photo("Sentinel-1, mean VV", vv, vv[rows, columns], view.title),
        _classes_panel("label", view.label, (rows, columns), classes, view.title),
    ]
    panels += [
        _classes_panel(name, one, (rows, columns), classes, view.title)
        for name, one in view.predictions.items()
        if one is not None
    ]
    return PanelRow(view.title, box, tuple(panels))


def _photo(title: str, picture: NDArray[np.float32], zoom: NDArray[np.float32], tile: str) -> Panel:
    whole = embed(photograph(smaller(picture, _SHOWN_PX)), "jpeg")
    said, zoom_said = f"{title} of {tile}: {brightness(picture)}", f"{title}, in the frame: {brightness(zoom)}"
    return Panel(title, whole, embed(photograph(zoom), "jpeg"), said, zoom_said)


def brightness(picture: NDArray[np.float32]) -> str:
    """What can be said of a photograph without looking: how bright it is, and how much that varies."""
    low, middle, high = np.quantile(picture, (0.1, 0.5, 0.9)).tolist()
    varies = "even" if high - low < 0.2 else "varied" if high - low < 0.5 else "of strong contrast"
    return f"{'dark' if middle < 0.3 else 'bright' if middle > 0.65 else 'of middle brightness'}, {varies}"


def _classes_panel(
    title: str, indices: NDArray[np.uint8], box: tuple[slice, slice], classes: ClassTable, tile: str
) -> Panel:
    step = max(1, -(-max(indices.shape) // _SHOWN_PX))
    more = {MERGED: merged_colour()} if (indices == MERGED).any() else {}
    whole, zoom = (embed(class_map(one, classes, more)) for one in (indices[::step, ::step], indices[box]))
    said = f"{title} of {tile}: {shares_in_words(indices, classes)}"
    return Panel(title, whole, zoom, said, f"{title}, in the frame: {shares_in_words(indices[box], classes)}")


def shares_in_words(indices: NDArray[np.uint8], classes: ClassTable, most: int = 4) -> str:
    """``trees 61 %, water 20 %``: the largest classes of a picture."""
    counts = np.bincount(indices.ravel(), minlength=256)
    marked = int(counts[:IGNORE].sum())
    if not marked:
        return "no pixel has a class"
    titles = {**dict(enumerate(classes.titles)), MERGED: merged_title()}
    largest = sorted((index for index in titles if counts[index]), key=lambda index: (-counts[index], index))[:most]
    return ", ".join(f"{titles[index].lower()} {counts[index] / marked:.0%}" for index in largest)


# --- maps that do not tell classes apart ------------------------------------------------------------------------------


def pictured(stored: NDArray[np.uint8], product: Product) -> NDArray[np.uint8]:
    """Class indices of a map of Dynamic World's classes, uint8 (H, W): ``MERGED`` where it leaves two or more open."""
    lookup = np.full(256, IGNORE, np.uint8)
    for code, names in product.codes.items():
        lookup[code] = DYNAMIC_WORLD.names.index(names[0]) if len(names) == 1 else MERGED
    return lookup[stored]


def _merged() -> list[LandCover]:
    return [one for one in DYNAMIC_WORLD.classes if one.name in merged_classes()]


def merged_title() -> str:
    """``grass or shrub and scrub``."""
    return " or ".join(one.title.lower() for one in _merged())


def merged_colour() -> tuple[int, int, int]:
    """Between the colours of the classes."""
    red, green, blue = np.mean([one.rgb for one in _merged()], axis=0).round().astype(int).tolist()
    return red, green, blue
