"""What computes a run, on its record: written down where the run begins, and wherever it changes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

from ...pipeline.spec.tiles import Tile
from ...pipeline.spec.version import __version__
from ..run_config import Computing, RunConfig
from ..runs import TILES, RunFolder
from ..transfer import Place, places_of

PACKAGES = ("torch", "accelerate", "numpy")
"""Whose versions decide, beside ours, what is computed."""


def versions() -> dict[str, str]:
    """Versions of ``PACKAGES`` and of dwplus, by name."""
    return {"dwplus": __version__, **{name: version(name) for name in PACKAGES}}


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
        last = last.completed(now)
        so_far, from_here = last.beside(now), now.beside(last)
        log.warning("%s: computed on %s so far, and on %s from here on", folder.path, so_far, from_here)
    folder.write_config(replace(run, computing=(*before, now)))
