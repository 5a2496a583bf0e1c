"""Commands from the data set to scores: statistics, training, scores, the report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import UsageError
from ..pipeline.files.atomic import parse_toml
from ..pipeline.machine import is_first_process, processes_together
from .options import (
    data_option,
    missing_options,
    quiet_option,
    runs_option,
    source_option,
    training_options,
    transfer_options,
)
from .score_tables import print_calibrated, print_groups, print_scores, print_seeds

if TYPE_CHECKING:
    from ..workflow.training import Inputs


@click.command()
@click.option("--name", help="Name of the run; default: the network's. The same name resumes an interrupted run.")
@training_options
@click.option(
    "--seeds", metavar="0,1,2", help="Train one run per seed, NAME-s0, NAME-s1, ...; score and report give their mean."
)
@click.option(
    "--devices",
    type=click.IntRange(1, 1024),
    metavar="N",
    default=1,
    help="Train with N processes of this machine: on a GPU each, or on its cores. Default: one.",
)
@missing_options
@transfer_options
@source_option
@data_option
@runs_option
@quiet_option
def train(
    name: str | None,
    source: str,
    data: Path,
    runs: Path | None,
    quiet: bool,
    protocol: Any,
    primary: str | None,
    auxiliary: str | None,
    profile: str | None,
    model: str | None,
    epochs: int | None,
    changes: tuple[str, ...],
    drop_auxiliary: float | None,
    drop_primary: float | None,
    drop_views: bool | None,
    seeds: str | None,
    devices: int,
    init: str | None,
    freeze: str | None,
    labels_share: float | None,
    accept: tuple[str, ...],
) -> None:
    """Train a network on the data set; run it again to resume.

    \b
    dwplus train                                      SpecSAR-Former, settings by the size of the training split
    dwplus train --name s2 --model segformer-small --auxiliary none
    dwplus train --model cmx-small                    another network (dwplus models), here with few channels
    dwplus train --profile paper --set lr=1e-3 --set seed=1
    dwplus train --name three --seeds 0,1,2           three runs; score and report give mean and deviation
    dwplus train --name mine --init runs/one --freeze encoder
    dwplus train --name tenth --labels-share 0.1      a tenth of the training tiles
    dwplus train --name gaps --drop-auxiliary 0.3 --drop-primary 0.3     for data with gaps
    dwplus train --model my_module:build              a network of yours
    dwplus train --devices 4                          on four GPUs of this machine, together
    """
    from ..model.registry import spec
    from ..model.run_config import run_name
    from ..model.training.devices import check_devices
    from ..workflow.console import console
    from ..workflow.launch import Job, train_together
    from ..workflow.seeds import parse_seeds, settings_of_seeds
    from ..workflow.source import root_with_runs
    from ..workflow.training import Inputs, proposal, train_run, training_settings

    root, progress = root_with_runs(data, source, runs), console(quiet=quiet)
    if profile is None:
        profile, why = proposal(root, protocol)
        progress.say(why)
    given = {"model": model, "epochs": epochs, "init": init, "freeze": freeze, "labels_share": labels_share}
    given |= {"drop_auxiliary": drop_auxiliary, "drop_primary": drop_primary, "drop_views": drop_views}
    settings = training_settings(profile, root, _changes(given, changes), protocol=protocol)
    row = spec(settings.model)
    inputs: Inputs = Inputs(primary or row.primary, auxiliary or row.auxiliary or "none")
    name = name or re.sub("[^A-Za-z0-9._-]", "-", settings.model)
    together = processes_together()
    if devices > 1 and together > 1:
        raise UsageError(
            f"--devices {devices} starts processes, and WORLD_SIZE says that {together} are started already; leave "
            "--devices out"
        )
    if seeds is not None and together > 1:
        raise UsageError(
            f"--seeds trains one run after the other, in one process; start one command per seed: --name {name}-s0 "
            "--set seed=0"
        )
    on_gpus = devices > 1 and check_devices(settings, devices)
    configs = {name: settings} if seeds is None else settings_of_seeds(name, settings, parse_seeds(seeds))
    for one, config in configs.items():
        run_dir = root.runs / run_name(one)
        if devices == 1:
            train_run(root, one, config, protocol=protocol, inputs=inputs, progress=progress, accept=accept)
            continue
        job = Job(
            folder=str(root.folder),
            runs=None if runs is None else str(runs),
            name=one,
            config=config.to_dict(),
            protocol=protocol,
            primary=inputs.primary,
            auxiliary=inputs.auxiliary,
            accept=accept,
            quiet=quiet,
        )
        train_together(job, devices, on_gpus=on_gpus)
    if is_first_process():
        click.echo(f"{run_dir}  next: {root.command(f'dwplus score runs/{name}')}")


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
    type=click.Choice(["s1", "source"]),
    multiple=True,
    help="s1: Sentinel-1 that was made in another way than that trained on; source: pixels of another source.",
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
    split: str,
    product: str | None,
    shared: bool,
    weights: str,
    accept: tuple[str, ...],
    drop: tuple[str, ...],
    mask: Any,
    calibrate_on: Any,
    tta: bool,
    group: str | None,
    source: str,
    data: Path,
    runs: Path | None,
    quiet: bool,
    as_json: bool,
    as_csv: bool,
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
    dwplus score runs/specsar-former-small --shared   on the pixels that are valid in all maps
    """
    from ..model.metrics import overall
    from ..model.missing import parse_shares
    from ..model.runs import RunFolder
    from ..model.scores.document import scores_name
    from ..model.scores.kept import read_table
    from ..model.variants import variant_name
    from ..workflow.comparing import seed_bounds
    from .products import check_choice, score_a_product, score_on_shared_pixels

    run = check_choice(run, product, shared=shared)
    if product is not None:
        if ensemble is not None or others:
            raise UsageError("--product scores a public map; name no run and no --ensemble with it")
        score_a_product(product, source, data, split=split, quiet=quiet, as_json=as_json)
        return
    from ..workflow.console import console
    from ..workflow.seeds import check_one_training, find_runs
    from ..workflow.source import root_with_runs
    from ..workflow.training import average_runs, check_nothing_lost, current_scores, score_run

    lost, variant = parse_shares(drop), variant_name(tta=tta)
    root, progress = root_with_runs(data, source, runs), console(quiet=quiet)
    if ensemble is not None:
        run = average_runs(root, (run, *others), ensemble, calibrate_on=calibrate_on, progress=progress).name
    elif others:
        raise UsageError(f"name one run, not {1 + len(others)}; --ensemble NAME averages them")
    found = find_runs(root, run)
    if shared:
        score_on_shared_pixels(root, found, split=split, progress=progress, as_json=as_json)
        return
    check_one_training(found)
    score_one = partial(
        score_run,
        root,
        split=split,
        weights=weights,
        accept=accept,
        drop=lost,
        mask=mask,
        calibrate_on=calibrate_on,
        tta=tta,
        progress=progress,
    )
    if group or as_csv:
        if len(found) > 1:
            raise UsageError(f"--group and --csv are of one run: name one of {', '.join(path.name for path in found)}")
        kept = current_scores(root, found[0], split=split, weights=weights, mask=mask, drop=lost, variant=variant)
        if kept is None:
            made = score_one(found[0])
            kept = made, read_table(RunFolder(found[0]), made)
        if is_first_process():
            print_groups(*kept, group or "class", as_json=as_json, as_csv=as_csv)
        check_nothing_lost(root, found[0], split)
        return
    scores = {path.name: score_one(path) for path in found}
    if not is_first_process():
        return
    if len(found) == 1:
        print_scores(scores[found[0].name], as_json=as_json)
        if not as_json and calibrate_on != "none":
            print_calibrated(scores[found[0].name], RunFolder(found[0]))
    else:
        bounds = seed_bounds(
            found, scores_name(split, f"{weights}.safetensors", mask=mask, drop=str(lost), variant=variant), overall()
        )
        print_seeds(Path(run).name, scores, bounds, as_json=as_json)
    for path in found:
        check_nothing_lost(root, path, split)


def _changes(given: Mapping[str, Any], changes: tuple[str, ...]) -> dict[str, Any]:
    """Settings of ``--set``, and those that have an option of their own, where they are given."""
    settings: dict[str, Any] = {}
    for change in changes:
        key, separator, text = change.partition("=")
        if not separator:
            raise UsageError(f"--set {change}: write KEY=VALUE, for example --set lr=1e-3")
        try:
            said = parse_toml(f"value = {text}", where="--set")
        except UsageError:
            said = {}
        # More than one value is no value of TOML either.
        settings[key] = said["value"] if len(said) == 1 else text
    return settings | {key: value for key, value in given.items() if value is not None}
