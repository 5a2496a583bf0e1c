"""The calibration of a run on a data root: which split it is fitted on, whether the one that is kept still holds.

Comes before scoring, which scores the calibrated network beside the network as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ..model.calibration import Calibration
from ..model.calibration_fit import calibrate, check_split
from ..model.run_config import RunConfig
from ..pipeline.dataset.manifest import Protocol
from ..pipeline.dataset.root import DataRoot
from ..pipeline.dataset.samples import Dataset
from ..pipeline.errors import DataError, DwplusError, UsageError
from ..pipeline.machine import is_first_process
from ..pipeline.progress import Progress

CalibrateOn = Literal["val", "train", "none"]


def calibration_for(
    root: DataRoot,
    run_dir: Path,
    config: RunConfig,
    *,
    weights: str,
    own: bool,
    on: CalibrateOn | None,
    opened: Callable[[str], Dataset],
    progress: Progress,
) -> Calibration | None:
    """The calibration to score a run with: the one that is kept, or one fitted now and kept; None where there is none.

    Args:
        weights: file of weights.
        own: the run was trained on this data set; else nothing is fitted, and the one that is kept is used.
        opened: gives a split with the run's bands and protocol.
        on: split to fit on; None: ``val``, where the protocol lets it, and nothing that cannot be fitted is an error.

    Raises:
        UsageError: the split cannot be fitted on.
        DataError: a split was named, and it has no tile, or cannot be read.
    """
    if on == "none":
        return None
    kept = _kept(run_dir, weights, progress)
    if not own:
        if on is not None:
            raise UsageError(
                f"--calibrate-on {on}: {run_dir.name} was trained on another data set; its calibration is fitted there"
            )
        return kept
    protocol: Protocol = "paper" if config.data.protocol == "paper" else "strict"
    if on is None and protocol == "paper":
        if kept is None:
            progress.say(
                "not calibrated: under protocol paper val is the test split, on which nothing is fitted; "
                "--calibrate-on train fits on training tiles"
            )
        return kept
    if on is None and kept is not None and kept.split != "val":
        on = "train"  # what somebody chose once stays
    split = on or "val"
    check_split(split, protocol)
    try:
        if not root.usable(split, protocol):
            raise DataError(f"there is no usable {split} tile to fit a calibration on")
        return _fitted(run_dir, opened(split), weights, kept, progress)
    except DwplusError as error:
        if on is not None:
            raise
        progress.say(f"not calibrated: {error}")
        return None


def _kept(run_dir: Path, weights: str, progress: Progress) -> Calibration | None:
    try:
        return Calibration.read(run_dir, weights)
    except DataError as error:
        progress.say(f"the calibration that was kept is not used: {error}")
        return None


def _fitted(run_dir: Path, dataset: Dataset, weights: str, kept: Calibration | None, progress: Progress) -> Calibration:
    if kept is not None and (kept.split, kept.tiles_hash) == (dataset.split, dataset.tiles_hash):
        return kept
    with progress.stage(f"Calibrating {run_dir.name} on {dataset.split}", len(dataset)) as step:
        found = calibrate(run_dir, dataset, weights=weights, on_tile=lambda done, total: step.set(done, total))
    if is_first_process():
        found.write(run_dir)
    return found
