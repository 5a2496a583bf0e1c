"""``dwplus score``: a run, the runs of several seeds, an average of runs, or a public map on the test tiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import UsageError
from ..pipeline.machine import is_first_process
from .options import data_option, quiet_option, runs_option, source_option
from .output import check_form
from .score_tables import print_groups, print_run, print_seeds

if TYPE_CHECKING:
    from ..pipeline.dataset.root import DataRoot
    from ..pipeline.progress import Progress
    from ..workflow.scoring import ScoreOptions


@click.command()
@click.argument("run", required=False)
@click.argument("others", nargs=-1, metavar="")
@click.option(
    "--ensemble", metavar="NAME", help="Average the calibrated probabilities of several runs; they become run NAME."
)
@click.option("--split", type=click.Choice(["test", "val"]), default="test", show_default=True, help="Split to score.")
@click.option(
    "--product",
    type=click.Choice(["dynamic-world", "worldcover", "esri", "non-experts"]),
    help="Score a public map (dwplus build --products), or people, in place of a run.",
)
@click.option(
    "--shared", is_flag=True, help="Score a run on the pixels that are valid in all maps too: its row beside them."
)
@click.option(
    "--weights",
    type=click.Choice(["model", "best", "average"]),
    default="model",
    show_default=True,
    help="Weights after the last epoch; where the run kept them: of the best epoch, the average of the last epochs.",
)
@click.option(
    "--accept",
    type=click.Choice(["s1", "s2", "source"]),
    multiple=True,
    help="s1, s2: pixels of that sensor made in another way than those trained on; source: of another source.",
)
@click.option(
    "--drop",
    multiple=True,
    metavar="INPUT[:SHARE]",
    help="Score without an input, auxiliary or primary, or without it in a share of the pixels (auxiliary:0.5).",
)
@click.option(
    "--mask",
    type=click.Choice(["dataset", "own"]),
    default="dataset",
    show_default=True,
    help="Pixels that count: where all stored sensors have data, or where the network's own inputs have.",
)
@click.option(
    "--calibrate-on",
    type=click.Choice(["val", "train", "none"]),
    help="Split to fit the calibration of confidence on; default: val (nothing under protocol paper).",
)
@click.option(
    "--tta",
    is_flag=True,
    help="Average probabilities over the eight symmetries of a tile: eight times the work, scores-tta.json.",
)
@click.option(
    "--group",
    type=click.Choice(["class", "biome", "region", "annotator", "season", "distance"]),
    help="Scores of each part; the network runs only where the scores are not current.",
)
@source_option
@data_option
@runs_option
@quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print the scores as one JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a table as CSV: classes, or the parts of --group.")
def score(
    run: str | None,
    others: tuple[str, ...],
    ensemble: str | None,
    product: str | None,
    shared: bool,
    drop: tuple[str, ...],
    group: str | None,
    source: str,
    data: Path,
    runs: Path | None,
    quiet: bool,
    as_json: bool,
    as_csv: bool,
    **chosen: Any,
) -> None:
    """Score a trained run on the test tiles: mIoU, OA, F1 and IoU per class, with 95 % intervals.

    Runs of several seeds (train --seeds) are scored by their common name: mean and standard deviation.

    \b
    dwplus score runs/specsar-former-small
    dwplus score runs/three
    dwplus score runs/one --drop auxiliary            as if there were no Sentinel-1: scores-drop-auxiliary.json
    dwplus score runs/specsar-former-small --group biome
    dwplus score runs/one --tta                       averaged over eight symmetries: scores-tta.json
    dwplus score one two three --ensemble mean        runs averaged: a run of its own, mean
    accelerate launch -m dwplus.cli score runs/one    on several GPUs
    dwplus score --product worldcover                 a public map (docs/products.md)
    dwplus score --product worldcover --group biome   parts, on the pixels that are valid in all maps
    dwplus score runs/specsar-former-small --shared   on the pixels that are valid in all maps
    """
    from .products import Form, check_choice, check_plain, score_a_product, score_on_shared_pixels

    check_form(as_json=as_json, as_csv=as_csv)
    run = check_choice(run, product, shared=shared)
    if product is not None or shared:
        check_plain({"drop": drop, **chosen}, "--shared" if shared else "--product")
    form = Form(group, as_json=as_json, as_csv=as_csv)
    if product is not None:
        if ensemble is not None or others:
            raise UsageError("--product scores a public map; name no run and no --ensemble with it")
        score_a_product(product, source, data, split=chosen["split"], quiet=quiet, form=form)
        return
    from ..model.missing import parse_shares
    from ..workflow.console import console
    from ..workflow.scoring import ScoreOptions, average_runs, check_nothing_lost
    from ..workflow.seeds import check_one_training, find_runs
    from ..workflow.source import root_with_runs

    options = ScoreOptions(drop=parse_shares(drop), **chosen)
    root, progress = root_with_runs(data, source, runs), console(quiet=quiet)
    if ensemble is not None:
        members = (run, *others)
        run = average_runs(root, members, ensemble, calibrate_on=options.calibrate_on, progress=progress).name
    elif others:
        raise UsageError(f"name one run, not {1 + len(others)}; --ensemble NAME averages them")
    found = find_runs(root, run)
    if shared:
        score_on_shared_pixels(root, found, split=options.split, progress=progress, form=form)
        return
    check_one_training(found)
    if form.of_parts:
        form.check_one(found)
        _score_parts(root, found[0], options, progress, by=group or "class", as_json=as_json, as_csv=as_csv)
    elif not _score_whole(root, Path(run).name, found, options, progress, as_json=as_json):
        return
    for path in found:
        check_nothing_lost(root, path, options.split)


def _score_parts(
    root: DataRoot, run_dir: Path, options: ScoreOptions, progress: Progress, *, by: str, as_json: bool, as_csv: bool
) -> None:
    """Print scores of the parts of a split; the network runs where those that are kept are not current."""
    from ..model.runs import RunFolder
    from ..model.scores.kept import read_table
    from ..workflow.scoring import current_scores, score_run

    kept = current_scores(root, run_dir, options)
    if kept is None:
        made = score_run(root, run_dir, options, progress=progress)
        kept = made, read_table(RunFolder(run_dir), made)
    if is_first_process():
        print_groups(*kept, by, as_json=as_json, as_csv=as_csv)


def _score_whole(
    root: DataRoot, name: str, runs: list[Path], options: ScoreOptions, progress: Progress, *, as_json: bool
) -> bool:
    """Score runs and print them; whether this is the process that prints."""
    from ..model.metrics import overall
    from ..model.runs import RunFolder
    from ..workflow.comparing import seed_bounds
    from ..workflow.scoring import score_run

    scores = {path.name: score_run(root, path, options, progress=progress) for path in runs}
    if not is_first_process():
        return False
    # What an earlier scoring left is not of this one where nobody wanted a calibration.
    folders = {path.name: RunFolder(path) for path in runs}
    calibrated = options.calibrate_on != "none"
    if len(runs) == 1:
        print_run(scores[runs[0].name], folders[runs[0].name] if calibrated else None, as_json=as_json)
    else:
        bounds = seed_bounds(runs, options.file(), overall())
        print_seeds(name, scores, bounds, folders if calibrated else {}, as_json=as_json)
    return True
