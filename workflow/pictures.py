"""Pictures of a training: four validation tiles, the same after all epochs, and what the network makes of them.

The trainer asks for them by way of ``training._Teller``; ``pages/figures.py`` draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..pipeline.dataset.makers import makers_of_root
from ..pipeline.dataset.manifest import ManifestRow
from ..pipeline.dataset.samples import Dataset
from ..pipeline.raster.geotiff import read_bands, read_codes

PICTURED = 4
CANDIDATES = 64
"""Labels that are read to choose from: of each block the best marked tile, of so many blocks."""

BlockAt = Callable[[float, float], object]


def pictured(
    rows: Sequence[ManifestRow], classes_in: Callable[[ManifestRow], int], block_at: BlockAt
) -> tuple[int, ...]:
    """Places of the tiles that are drawn: those with the most classes, each from another geographic block if possible.

    Args:
        rows: of the validation tiles.
        classes_in: number of classes that a tile's label marks.
        block_at: gives the block of a longitude and latitude.

    Returns:
        ``PICTURED`` places at most, in the order of ``rows``; the same for the same rows.
    """
    best_marked = sorted(range(len(rows)), key=lambda place: (-rows[place].marked_share, rows[place].tile.id))
    first_of: dict[object, int] = {}
    for place in best_marked:
        first_of.setdefault(block_at(*rows[place].tile.centre), place)
    spread = list(first_of.values())
    candidates = (spread + [place for place in best_marked if place not in set(spread)])[:CANDIDATES]
    of_blocks = candidates[: len(spread)] if len(spread) >= PICTURED else candidates
    # Sorting is stable: among tiles with as many classes the best marked one comes first.
    most_classes = sorted(of_blocks, key=lambda place: -classes_in(rows[place]))
    if len(spread) < PICTURED:
        most_classes.sort(key=lambda place: place not in set(spread))
    return tuple(sorted(most_classes[:PICTURED]))


class Pictures:
    """Draws the tiles of a validation split."""

    def __init__(self, name: str, dataset: Dataset, block_at: BlockAt) -> None:
        self._name, self._dataset, self._block_at = name, dataset, block_at

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Of the tiles that are drawn.

        Raises:
            DataError: a label cannot be read.
        """
        return pictured(self._dataset.rows, self._classes_in, self._block_at)

    def _classes_in(self, row: ManifestRow) -> int:
        classes = self._dataset.classes
        found = np.bincount(classes.class_indices(self._codes(row)).ravel(), minlength=256)
        return int(np.count_nonzero(found[: len(classes)]))

    def _codes(self, row: ManifestRow) -> NDArray[np.uint8]:
        return read_codes(self._dataset.root.label(row))

    @cached_property
    def _grounds(self) -> dict[int, tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint8]]]:
        """Stored B4, B3, B2; stored VV; classes of the label: by place. Some megabytes, read once."""
        root, rows = self._dataset.root, self._dataset.rows
        found = {}
        for place in self.places:
            shard = root.shard(rows[place].tile)
            label = self._dataset.classes.class_indices(self._codes(rows[place]))
            found[place] = read_bands(shard, ("B4", "B3", "B2")), read_bands(shard, ("VV",))[0], label
        return found

    def draw(self, epoch: int, predicted: Mapping[int, NDArray[np.uint8]]) -> bytes:
        """PNG of the tiles after an epoch (from 1).

        Args:
            predicted: place -> uint8 (H, W), class indices.
        """
        from .pages import figures
        from .pages.pixels import TileView

        column, rows = "Prediction", self._dataset.rows
        views = [
            TileView(
                f"{rows[place].tile.id}\n{rows[place].tile.date}, {rows[place].labeler}",
                rgb,
                vv,
                label,
                {column: classes},
            )
            for place, (rgb, vv, label) in self._grounds.items()
            if (classes := predicted.get(place)) is not None
        ]
        title, mark = f"{self._name}, epoch {epoch}", makers_of_root(self._dataset.root).mark
        return figures.panels_figure(views, title=title, classes=self._dataset.classes, mark=mark)
