"""What lies beside the shards of a data root, by its own ledger: which tiles have it, and its stored values.

``build.beside`` writes it; samples of Level-1C and the scores of maps read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..raster.geotiff import grid_of, read_layer
from ..spec.layers import L1C, Layer, product_layer, products
from ..spec.tiles import Tile
from .ledger import LedgerRow, read_ledger
from .manifest import ManifestRow
from .root import DataRoot

NO_IMAGE = "no_image"
"""Reason in the ledger of a layer: the service has no image of it here, or the image has no pixel here."""


@dataclass(frozen=True)
class LayerFiles:
    """A layer of a data root as it is now; small enough to be sent to loader processes.

    Attributes:
        done: tile id -> SHA-256 of its file.
        without: tile id -> why it has none, as the ledger says.
    """

    root: DataRoot
    layer: Layer
    done: dict[str, str]
    without: dict[str, str]

    @classmethod
    def of(cls, root: DataRoot, layer: Layer) -> LayerFiles:
        rows = read_ledger(root.folder / layer.folder)
        shards = root.ledger() if layer.by_scene and rows else {}
        done = {one.tile: one.sha256 for one in rows.values() if one.state == "done" and _fits(one, layer, shards)}
        left = {one.tile: one.reason or "it belongs to another scene" for one in rows.values() if one.tile not in done}
        return cls(root, layer, done, left)

    def __bool__(self) -> bool:
        return bool(self.done)

    def read(self, tile: Tile) -> NDArray[np.generic]:
        """Stored values: (bands, H, W) of the layer's type.

        Raises:
            DataError: the file is missing or damaged, or lies on another grid than the tile.
        """
        path = self.root.folder / self.layer.file_name(tile)
        found = read_layer(path, self.layer, sha256=self.done[tile.id])
        if found.shape[1:] != tile.shape:
            raise DataError(f"{path} is {found.shape[1:]} px, its tile {tile.shape}; run '{self.layer.command}' again")
        return found

    def hash_of(self, rows: Sequence[ManifestRow]) -> str:
        """Twelve hexadecimal digits that change with any file of these tiles."""
        lines = sorted(f"{row.tile.id} {self.done.get(row.tile.id, '-')}" for row in rows)
        return hashlib.sha256("\n".join([self.layer.hash, *lines]).encode()).hexdigest()[:12]


def _fits(row: LedgerRow, layer: Layer, shards: dict[str, LedgerRow]) -> bool:
    """Whether a file is of the scene that the shard is made from now; by the first scene, which the ledger names."""
    if not layer.by_scene:
        return True
    last = shards.get(row.tile)
    return last is None or not last.scene or row.scene.split(" ")[0] == last.scene


def complete_of(files: LayerFiles, rows: Sequence[ManifestRow], *, split: str) -> tuple[ManifestRow, ...]:
    """Those tiles of a split that have a file, on their grid.

    Raises:
        DataError: none has; names the command that writes them.
    """
    found = tuple(row for row in rows if row.tile.id in files.done)
    if not found:
        why = next((reason for tile, reason in files.without.items() if any(row.tile.id == tile for row in rows)), "")
        raise DataError(
            f"{files.root} holds no {files.layer.folder}/ of its {split} tiles{f' ({why})' if why else ''}; run "
            f"'{files.layer.command} --split {'test' if split == 'test' else 'train'}'"
        )
    return found


def layers_of(root: DataRoot) -> tuple[LayerFiles, ...]:
    """The layers that a data root has any file of, Level-1C first, then maps in the order of their table."""
    every = (L1C, *(product_layer(name) for name in products()))
    return tuple(files for files in (LayerFiles.of(root, layer) for layer in every) if files)


def same_grid(row: LedgerRow, tile: Tile) -> bool:
    """Whether a file was written for the grid that the tile has now."""
    return row.grid == str(grid_of(tile))
