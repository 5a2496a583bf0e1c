"""``dwplus train``: a network learns from the data set."""

from __future__ import annotations

import re
from collections.abc import Mapping
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

if TYPE_CHECKING:
    from ..workflow.splits import Inputs


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
    from ..workflow.splits import Inputs
    from ..workflow.training import proposal, train_run, training_settings

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
