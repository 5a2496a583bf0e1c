"""Tiles that the report draws: their pixels and labels, and what networks and maps say of them.

Before ``sections.panels``, which turns them into pictures. Networks run here, once for all tiles of a page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from ...model.config import to_mapping
from ...model.kept_costs import code_hash
from ...model.runs import RunFolder
from ...model.score import load, predict
from ...model.scores.tile_table import TileTable
from ...pipeline.dataset.layers import LayerFiles
from ...pipeline.dataset.ledger import LedgerRow
from ...pipeline.dataset.manifest import ManifestRow
from ...pipeline.dataset.root import DataRoot
from ...pipeline.errors import DataError
from ...pipeline.raster.geotiff import read_bands
from ...pipeline.spec.classes import DYNAMIC_WORLD
from ...pipeline.spec.layers import product_layer, products
from ...pipeline.spec.tiles import biome_names
from .kept_predictions import KeptPredictions
from .opened import OpenedSplits
from .parts import extremes
from .pixels import TileView
from .runs import Faults, Run, overall_scores
from .sections.dataset import label_classes, read_of
from .sections.panels import TILES_DRAWN, pictured, varied

NETWORKS_DRAWN = 10
"""Runs that are drawn beside a tile; of seeds the first."""

WITH_EXTREMES = 3
"""Runs whose best and worst tiles are drawn."""

Predictions = Mapping[str, NDArray[np.uint8]]
"""Tile id -> class indices, uint8 (H, W)."""


@dataclass
class Drawing:
    """Everything that is drawn of a data root, for one page.

    Attributes:
        rows: complete tiles.
        faults, unread: receive what cannot be read of runs and tiles.
    """

    root: DataRoot
    rows: Sequence[ManifestRow]
    kept: KeptPredictions
    faults: Faults
    unread: dict[str, str]
    _stale: dict[str, bool] = field(default_factory=dict)

    def is_stale(self, run: Run) -> bool:
        """Whether the data set has changed since a run was scored; looked up once."""
        if run.name not in self._stale:
            self._stale[run.name] = self.faults.attempt(run, lambda: self._splits.is_stale(run), True)
        return self._stale[run.name]

    def views(
        self, runs: Sequence[Run], tables: Mapping[str, TileTable]
    ) -> tuple[list[TileView], dict[str, list[TileView]]]:
        """Tiles of different biomes with all these runs, and of each run of ``tables`` its best and worst tiles.

        Test tiles are drawn where there are any. A run that cannot be predicted any more is left out.
        """
        chosen = varied([row for row in self.rows if row.split_strict == "test"] or list(self.rows), TILES_DRAWN)
        best_and_worst = {name: dict(extremes(table)) for name, table in tables.items()}
        named = {run.name: run for run in runs}
        found: dict[str, Predictions] = {}
        nothing: Predictions = {}
        for run in runs:
            wanted = {row.tile.id for row in chosen} | best_and_worst.get(run.name, {}).keys()
            found[run.name] = self.faults.attempt(run, partial(self._predicted, run, wanted), nothing)
        shown = {name: predicted for name, predicted in found.items() if predicted}
        views = [view for row in chosen if (view := self._view(row, shown)) is not None]
        by_id = {row.tile.id: row for row in self.rows}
        of_runs = {
            name: [
                view
                for tile, title in titles.items()
                if tile in by_id
                and (view := self._view(by_id[tile], {name: shown[name]}, title, maps=False)) is not None
            ]
            for name, titles in best_and_worst.items()
            if name in shown and name in named
        }
        return views, {name: members for name, members in of_runs.items() if members}

    def _view(
        self, row: ManifestRow, predicted: Mapping[str, Predictions], title: str = "", *, maps: bool = True
    ) -> TileView | None:
        """None where the tile's files cannot be read; why goes to ``unread``."""
        drawn = read_of(row, partial(self._pixels, row), self.unread)
        if drawn is None:
            return None
        said = {name: tiles.get(row.tile.id) for name, tiles in predicted.items()}
        biome = f"biome {row.tile.biome} ({biome_names().get(row.tile.biome, 'not known')})"
        place = f"{row.tile.id}, {biome}, {row.tile.date}, {row.split_strict}"
        words = f"{title}: {place}" if title else place
        return TileView(words, *drawn, {**said, **(self._maps(row) if maps else {})})

    def _pixels(self, row: ManifestRow) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint8]]:
        """Stored B4, B3, B2; stored VV; classes of the label."""
        bands = read_bands(self.root.shard(row.tile), ("B4", "B3", "B2", "VV"))
        return bands[:3], bands[3], label_classes(self.root, row)

    # --- maps ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _layers(self) -> dict[str, LayerFiles]:
        if self.root.classes() != DYNAMIC_WORLD:
            return {}
        found = {}
        for name, product in products().items():
            try:
                files = LayerFiles.of(self.root, product_layer(name))
            except DataError as error:
                self.faults.add(name, str(error))
                continue
            if files:
                found[product.title] = files
        return found

    def _maps(self, row: ManifestRow) -> dict[str, NDArray[np.uint8] | None]:
        found: dict[str, NDArray[np.uint8] | None] = {}
        for title, files in self._layers.items():
            product = files.layer.product
            if product is None or row.tile.id not in files.done:
                continue
            try:
                found[title] = pictured(files.read(row.tile)[0].astype(np.uint8), product)
            except DataError as error:
                self.faults.add(product.name, str(error))
        return found

    # --- networks -----------------------------------------------------------------------------------------------------

    @cached_property
    def _splits(self) -> OpenedSplits:
        return OpenedSplits(self.root)

    @cached_property
    def _ledger(self) -> Mapping[str, LedgerRow]:
        return self.root.ledger()

    def _predicted(self, run: Run, wanted: set[str]) -> Predictions:
        """Of the wanted tiles that the run was scored on."""
        if not RunFolder(run.folder).complete or self.is_stale(run):
            return {}
        keys = {tile: self._key(run, tile) for tile in wanted}
        dataset = self._splits.of(run).dataset
        places = {row.tile.id: index for index, row in enumerate(dataset.rows) if row.tile.id in wanted}
        known = {tile: said for tile in places if (key := keys[tile]) and (said := self.kept.get(key)) is not None}
        missing = [tile for tile in places if tile not in known]
        if missing:
            loaded = load(run.folder)
            for tile in missing:
                known[tile] = predict(loaded, dataset[places[tile]])
                if key := keys[tile]:
                    self.kept.put(key, known[tile])
        return known

    def _key(self, run: Run, tile: str) -> str:
        """What a prediction depends on; empty where that is not recorded."""
        weights, shard = run.scores.weights_sha256, self._ledger.get(tile)
        if weights is None or shard is None or not shard.sha256 or run.config.data.s2_level != "L2A":
            return ""
        config = [run.config.model, run.config.model_config, to_mapping(run.config.data), run.config.tokens]
        return self.kept.key(weights, tile, shard.sha256, code_hash(), json.dumps(config, sort_keys=True, default=str))


def drawn_runs(runs: Sequence[Run], seeds: Mapping[str, Sequence[str]]) -> list[Run]:
    """Runs that are drawn, the highest mIoU first: of several seeds the first alone, ``NETWORKS_DRAWN`` at most.

    Args:
        seeds: common name -> runs that differ in their seeds alone.
    """
    later = {name for members in seeds.values() for name in members[1:]}
    first = [run for run in runs if run.name not in later]
    return best_first(first)[:NETWORKS_DRAWN]


def best_first(runs: Sequence[Run]) -> list[Run]:
    """In order of mIoU, the highest first; equals in order of their names, those without a score last."""
    return sorted(runs, key=lambda run: (-_miou(run), run.name))


def _miou(run: Run) -> float:
    value = overall_scores(run)["miou"]
    return -1.0 if np.isnan(value) else value
