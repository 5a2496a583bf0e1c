"""Scoring on a data root: a run is scored as it was asked for, or what was kept of that is read; runs are averaged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..model.ensemble import check_members, make_ensemble
from ..model.missing import ALL_THERE, Shares
from ..model.run_config import run_name
from ..model.runs import WEIGHTS, RunFolder
from ..model.score import score
from ..model.scores.document import Scores, scores_name
from ..model.scores.kept import read_scores, read_table
from ..model.scores.tile_table import TileTable
from ..model.variants import variant_name
from ..pipeline.dataset.root import DataRoot
from ..pipeline.dataset.samples import PixelMask
from ..pipeline.errors import DataError, DwplusError, LeftOutError, UsageError
from ..pipeline.machine import keep_freed_memory
from ..pipeline.progress import Progress
from ..pipeline.spec.radar import radar_differences
from .calibrating import CalibrateOn, calibration_for
from .seeds import find_runs
from .splits import left_out_as_text, open_as_trained, say_new, tiles_as_text, trained_here
from .tile_records import tile_records


@dataclass(frozen=True)
class ScoreOptions:
    """How a run is scored.

    Attributes:
        split: ``test`` or ``val``.
        weights: ``model``, ``best`` or ``average``: file of weights without its ending.
        accept: ``s1`` for Sentinel-1 that was made in another way than that trained on, ``source`` for another source.
        drop: what is lost of the inputs.
        mask: which pixels count: those of the data set, or all where the network's own inputs have data.
        calibrate_on: split to fit the calibration on; None: ``val``, where the protocol lets it.
        tta: score probabilities averaged over eight symmetries in place of the network as it is.

    Raises:
        UsageError: runs are not scored on that split.
    """

    split: str = "test"
    weights: str = "model"
    accept: Collection[str] = ()
    drop: Shares = ALL_THERE
    mask: PixelMask = "dataset"
    calibrate_on: CalibrateOn | None = None
    tta: bool = False

    def __post_init__(self) -> None:
        if self.split not in ("val", "test"):
            raise UsageError(f"scores are taken on val or test, not on {self.split!r}")

    @property
    def weights_file(self) -> str:
        return f"{self.weights}.safetensors"

    def file(self, other: str = "") -> str:
        """Name of the file of scores.

        Args:
            other: hash of the tiles of another data set than the run was trained on.
        """
        variant = variant_name(tta=self.tta)
        return scores_name(
            self.split, self.weights_file, other=other, mask=self.mask, drop=str(self.drop), variant=variant
        )


AS_EVER = ScoreOptions()
"""The test tiles, the weights after the last epoch, all of the inputs."""


def check_nothing_lost(root: DataRoot, run_dir: Path, split: str) -> None:
    """Make sure that no tile of a split was left out because records of the data root do not fit together.

    Raises:
        LeftOutError: tiles were; names how many, and why.
    """
    config = RunFolder(run_dir).read_usable_config()
    dataset = open_as_trained(root, config, split, own=trained_here(root, config))
    faults = [line for line, one in zip(left_out_as_text(dataset), dataset.left_out, strict=True) if one.fault]
    if faults:
        raise LeftOutError("; ".join(faults))


def score_run(
    root: DataRoot,
    run_dir: Path,
    options: ScoreOptions = AS_EVER,
    *,
    progress: Progress,
    told: set[str] | None = None,
) -> Scores:
    """Score a run's network on a split; also writes its ``scores.json``, and that of the calibrated network.

    Args:
        told: what was said of the split before, by other scorings of one command; it is not said again.

    Raises:
        DataError: the run is not complete, or the data set is not the one it was trained on.
    """
    folder = RunFolder(run_dir)
    if not folder.complete:
        raise DataError(f"run {run_dir.name} is not complete; resume with 'dwplus train --name {run_dir.name}'")
    folder.weights_path(options.weights_file)  # refused before anything is said of the tiles
    config = folder.read_usable_config()
    # A run below this data root was trained on it: if its training tiles changed since, its scores mean nothing.
    own = trained_here(root, config) or root.folder.resolve() in run_dir.resolve().parents
    own = own or config.published is not None
    dataset = open_as_trained(root, config, options.split, own=own, mask=options.mask)
    if not own:
        progress.say(
            f"{root} is another data set than {run_dir.name} was trained on: its {options.split} tiles are "
            "scored with the run's own statistics; whether some of them were trained on is not known"
        )
    say_new(tiles_as_text(dataset), progress, told)
    for difference in radar_differences(config.data.radars, dataset.radars) if "s1" in options.accept else ():
        progress.say(f"Sentinel-1 of another kind is accepted: {difference}")
    if "s2" in options.accept and (difference := config.data.composite_difference(dataset.composite)):
        progress.say(f"Sentinel-2 of another kind is accepted: {difference}")
    if options.drop and not config.tokens:
        progress.say(
            f"{run_dir.name} was trained without --drop-auxiliary and --drop-primary: what is lost is read as 0, the "
            "mean of each band"
        )
    keep_freed_memory()
    calibration = calibration_for(
        root,
        run_dir,
        config,
        weights=options.weights_file,
        own=own,
        on=options.calibrate_on,
        opened=lambda name: open_as_trained(root, config, name, own=own),
        progress=progress,
    )
    with progress.stage(f"Scoring {run_dir.name}", len(dataset)) as step:
        return score(
            run_dir,
            dataset,
            weights=options.weights_file,
            allow_other_source="source" in options.accept,
            accept_s1="s1" in options.accept,
            accept_s2="s2" in options.accept,
            drop=options.drop,
            records=tile_records(root, dataset, run_dir),
            calibration=calibration,
            tta=options.tta,
            on_tile=lambda done, total: step.set(done, total),
        )


def average_runs(
    root: DataRoot, names: Sequence[str], name: str, *, calibrate_on: CalibrateOn | None, progress: Progress
) -> Path:
    """The folder of a run that averages others, each calibrated first where it is not yet.

    Args:
        names: of the runs to average; the common name of the runs of several seeds is that of all of them.
        name: of the new run.

    Raises:
        DataError: there is no such run, or it is not complete.
        UsageError: runs that cannot be averaged, or another run has this name.
    """
    members, run_dir = [path for one in names for path in find_runs(root, one)], root.runs / run_name(name)
    check_members(members)
    for path in members:
        config = RunFolder(path).read_usable_config()
        calibration_for(
            root,
            path,
            config,
            weights=WEIGHTS,
            own=trained_here(root, config),
            on=None if calibrate_on == "none" else calibrate_on,
            opened=partial(open_as_trained, root, config),
            progress=progress,
        )
    make_ensemble(members, run_dir)
    progress.say(f"{run_dir.name} averages {', '.join(path.name for path in members)}")
    return run_dir


def current_scores(root: DataRoot, run_dir: Path, options: ScoreOptions = AS_EVER) -> tuple[Scores, TileTable] | None:
    """Scores and counts of tiles that are still those of this run on this data set; None where it has to be scored."""
    folder = RunFolder(run_dir)
    try:
        config = folder.read_usable_config()
        own = trained_here(root, config) or root.folder.resolve() in run_dir.resolve().parents
        dataset = open_as_trained(root, config, options.split, own=own, mask=options.mask)
        other = "" if dataset.trained_here else dataset.tiles_hash
        scores = read_scores(folder, options.file(other))
        table = read_table(folder, scores)
    except DwplusError:
        return None
    now = folder.sums().get(options.weights_file, ())
    same_weights = scores.weights_sha256 is not None and scores.weights_sha256 in now
    return (scores, table) if same_weights and scores.tiles_hash == dataset.tiles_hash else None
