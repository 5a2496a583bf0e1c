"""What is known of each scored tile beside its counts: where it lies, who drew it, how far it is from training tiles.

Comes before ``model.score``, which keeps these facts with the counts; ``dwplus score --group`` is computed from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..model.runs import RunFolder
from ..model.scores.tile_table import TileRecord, records_of
from ..model.transfer import tiles_learnt
from ..pipeline.dataset.manifest import ManifestRow, Protocol
from ..pipeline.dataset.root import DataRoot
from ..pipeline.dataset.samples import Dataset
from ..pipeline.own.blocks import block_at
from ..pipeline.spec.overlaps import nearest_km


def tile_records(root: DataRoot, dataset: Dataset, run_dir: Path) -> list[TileRecord]:
    """A record of each tile of a split, in the data set's order.

    Args:
        run_dir: of the run that is scored; distances are those to the tiles that it was trained on. A run of an earlier
            version does not name them: the training tiles of the data root stand in.
    """
    records = [_own(record, row) for record, row in zip(records_of(dataset), dataset.rows, strict=True)]
    learnt = tiles_learnt(RunFolder(run_dir))
    places = _training_places(root, dataset.protocol) if learnt is None else [(lon, lat) for _, lon, lat in learnt]
    if not places:
        return records
    distances = nearest_km(np.array([(one.lon, one.lat) for one in records]), np.array(places))
    return [replace(record, km=round(float(km), 3)) for record, km in zip(records, distances, strict=True)]


def _own(record: TileRecord, row: ManifestRow) -> TileRecord:
    """Labels of users were drawn in whole blocks, others tile by tile."""
    if row.release != "own":
        return record
    down, across = block_at(record.lon, record.lat)
    return replace(record, annotator=row.annotator, block=f"{across},{down}", whole_block=True)


def _training_places(root: DataRoot, protocol: Protocol) -> Sequence[tuple[float, float]]:
    return [row.tile.centre for row in root.manifest().of_split("train", protocol)]
