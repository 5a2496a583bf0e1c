"""What computes a run, on its record: written down where the run begins, and wherever it changes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from ...pipeline.spec.tiles import Tile
from ..run_config import Computing, RunConfig
from ..runs import TILES, RunFolder
from ..transfer import Place, places_of

log = logging.getLogger(__name__)


def write_down(
    folder: RunFolder,
    run: RunConfig,
    now: Computing,
    *,
    tiles: Sequence[Tile],
    pretrained_on: Sequence[Place],
) -> None:
    """Write the run's settings where it begins, and ``now`` where something else computed it so far, which is said.

    Args:
        tiles: that the run is trained on.
        pretrained_on: tiles that the weights which it begins with were trained on.

    Raises:
        DwplusError: the folder cannot be written to.
    """
    folder.prepare()
    # An earlier start may have left its settings, and nothing that was trained with them.
    if folder.has_progress:
        run = folder.read_config()
    else:
        folder.write_json(TILES, {"trained_on": places_of(tiles), "pretrained_on": pretrained_on})
    # What was computed and lost again does not count.
    before = tuple(one for one in run.computing if one.begins < now.begins)
    last = before[-1] if before else None
    if last is not None and not last.batch_per_device:
        # Earlier versions kept the number that a run began with.
        last = replace(last, batch_per_device=int(run.train.get("batch_per_device", now.batch_per_device)))
    if last is not None and last.same_as(now):
        return
    if last is not None:
        log.warning("%s: computed on %s so far, and on %s from here on", folder.path, last, now)
    folder.write_config(replace(run, computing=(*before, now)))
