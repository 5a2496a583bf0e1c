"""Commands from the data set to scores: statistics, training, scores, the report."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import UsageError
from ..pipeline.files.atomic import parse_toml
from ..pipeline.machine import is_first_process
from .options import data_option, quiet_option, runs_option, source_option, training_options, transfer_options
from .output import mark

if TYPE_CHECKING:
    from ..model.score import Scores
    from ..workflow.training import Inputs


@click.command()
@click.option("--name", help="Name of the run; default: the network's. The same name resumes an interrupted run.")
@training_options
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
    dwplus train --name mine --init runs/one --freeze encoder
    dwplus train --name tenth --labels-share 0.1      a tenth of the training tiles
    dwplus train --model my_module:build              a network of yours
    accelerate launch -m dwplus.cli train             on several GPUs
    """
    from ..model.registry import spec
    from ..workflow.console import console
    from ..workflow.source import root_with_runs
    from ..workflow.training import Inputs, proposal, train_run, training_settings

    root, progress = root_with_runs(data, source, runs), console(quiet=quiet)
    if profile is None:
        profile, why = proposal(root, protocol)
        progress.say(why)
    given = {"model": model, "epochs": epochs, "init": init, "freeze": freeze, "labels_share": labels_share}
    settings = training_settings(profile, root, _changes(given, changes), protocol=protocol)
    row = spec(settings.model)
    inputs: Inputs = Inputs(primary or row.primary, auxiliary or row.auxiliary or "none")
    name = name or re.sub("[^A-Za-z0-9._-]", "-", settings.model)
    run_dir = train_run(root, name, settings, protocol=protocol, inputs=inputs, progress=progress, accept=accept)
    if is_first_process():
        click.echo(f"{run_dir}  next: {root.command(f'dwplus score runs/{run_dir.name}')}")


@click.command()
@click.argument("run")
@click.option("--split", type=click.Choice(["test", "val"]), default="test", show_default=True, help="Split to score.")
@click.option(
    "--weights",
    type=click.Choice(["model", "best"]),
    default="model",
    show_default=True,
    help="Weights after the last epoch, or of the best epoch where the run kept them.",
)
@click.option(
    "--accept",
    type=click.Choice(["s1", "source"]),
    multiple=True,
    help="s1: Sentinel-1 that was made in another way than that trained on; source: pixels of another source.",
)
@source_option
@data_option
@runs_option
@quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print the scores as one JSON document.")
def score(
    run: str,
    split: str,
    weights: str,
    accept: tuple[str, ...],
    source: str,
    data: Path,
    runs: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Score a trained run on the test tiles: mIoU, OA, F1 and IoU per class from one confusion matrix.

    \b
    dwplus score runs/specsar-former-small
    """
    from ..workflow.console import console
    from ..workflow.source import root_with_runs
    from ..workflow.training import check_nothing_lost, find_run, score_run

    root = root_with_runs(data, source, runs)
    run_dir = find_run(root, run)
    scores = score_run(root, run_dir, split=split, weights=weights, accept=accept, progress=console(quiet=quiet))
    _print_scores(scores, as_json=as_json)
    check_nothing_lost(root, run_dir, split)


def _print_scores(scores: Scores, *, as_json: bool) -> None:
    from ..model.metrics import TileCounts, overall
    from ..pipeline.spec.words import count_of

    if as_json:
        click.echo(json.dumps(scores.to_dict(), indent=1))
        return
    counts, beside = TileCounts(scores.matrix), mark(scores.source)
    words = "  ".join(f"{metric.title} {metric.value(counts):.2%}" for metric in overall())
    click.echo(f"{words}  {count_of(scores.tiles, 'tile')} {beside}")
    click.echo(f"majority guess ({scores.majority[0]}): OA {scores.majority[1]:.2%} {beside}")
    for class_name, values in scores.to_dict()["classes"].items():
        iou = "absent" if values["iou"] is None else f"{values['iou']:.2%}"
        click.echo(f"  {class_name:<20} IoU {iou}")


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
