"""Commands about networks: which there are, and what each costs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import Folder, data_option, quiet_option, runs_option, source_option
from .output import Column, print_table

if TYPE_CHECKING:
    from ..model.cost import Cost
    from ..model.registry import ModelSpec
    from ..model.speed import Speed


@click.group(invoke_without_command=True)
@click.option("--tables", is_flag=True, help="The rows of the paper's Tables IV, V and VI too.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of JSON objects.")
@click.pass_context
def models(ctx: click.Context, tables: bool, as_json: bool) -> None:
    """Networks that can be trained: inputs, parameters, GFLOPs by the paper's rule at 512 px, whose they are.

    \b
    dwplus models
    dwplus train --model cmx
    dwplus train --model table4/ca-sa                     a row of the paper's ablations
    dwplus train --model smp/fpn/resnet50                 any network of segmentation-models-pytorch
    dwplus train --model cmx-small                        any of them with few channels: to try it
    dwplus train --model my_module:build                  a network of yours
    dwplus models import dynamic-world dynamicworld       published weights, to be scored
    """
    if ctx.invoked_subcommand is not None:
        return
    from ..model.registry import MODELS, installed_networks, table_rows

    rows = {**MODELS, **installed_networks(), **(table_rows() if tables else {})}
    documents = [_model_document(name, row) for name, row in rows.items()]
    if as_json:
        click.echo(json.dumps(documents, indent=1))
        return
    print_table(_MODEL_COLUMNS, [_model_cells(document) for document in documents])
    for document in documents:
        if document["note"]:
            click.echo(f"{document['name']}: {document['note']}")
    click.echo("also: smp/ARCHITECTURE/ENCODER of segmentation-models-pytorch (pip install 'dwplus[models]')")
    click.echo("and MODULE:FUNCTION, a network of yours (docs/training.md)")


@models.command("import", short_help="Make a run of published weights.")
@click.argument("network", type=click.Choice(["dynamic-world"]))
@click.argument("folder", type=Folder())
@click.option("--name", default="dynamic-world", show_default=True, help="Name of the run.")
@source_option
@data_option
@runs_option
def import_(network: str, folder: Path, name: str, source: str, data: Path, runs: Path | None) -> None:  # noqa: ARG001 - one choice
    """Make a run of published weights, which 'dwplus score' accepts. TensorFlow is not needed.

    dynamic-world: the network behind Dynamic World's maps, out of a copy of google/dynamicworld. It reads Level-1C
    reflectance: 'dwplus build --l1c' writes it beside the shards.

    \b
    git clone https://github.com/google/dynamicworld
    dwplus models import dynamic-world dynamicworld
    dwplus build --l1c --split test
    dwplus score runs/dynamic-world
    """
    from ..model.published import import_dynamic_world
    from ..model.run_config import run_name
    from ..workflow.source import root_with_runs

    root = root_with_runs(data, source, runs)
    run_dir = root.runs / run_name(name)
    published = import_dynamic_world(folder, run_dir).published
    assert published is not None
    click.echo(
        f"{run_dir}: weights of {published.origin} ({published.licence})  next: dwplus build --l1c --split test, then "
        f"{root.command(f'dwplus score runs/{name}')}"
    )


_MODEL_COLUMNS = (
    Column("model"),
    Column("inputs", wraps=True),
    Column("M\nparams", number=True),
    Column("GFLOP", number=True),
    Column("in the\npaper"),
    Column("from", wraps=True),
)


def _model_cells(document: dict[str, Any]) -> tuple[str, ...]:
    counted = document["params"] is not None
    return (
        document["name"],
        document["inputs"],
        f"{document['params'] / 1e6:.2f}" if counted else "-",
        f"{document['gflops_rule']:.2f}" if counted else "-",
        document["paper"] or "",
        document["citation"],
    )


def _model_document(name: str, row: ModelSpec) -> dict[str, Any]:
    from ..pipeline.errors import UsageError

    document: dict[str, Any] = {"name": name, "inputs": _inputs(row), "params": None, "gflops_rule": None}
    note = row.note
    try:
        document |= dict(zip(("params", "gflops_rule"), _size(name, row), strict=True))
    except UsageError as error:
        note = str(error)  # an extra that is not installed
    return document | {"paper": row.paper, "citation": row.citation, "note": note}


def _inputs(row: ModelSpec) -> str:
    names = [row.primary, *([row.auxiliary] if row.auxiliary else [])]
    return f"two: {', '.join(names)}" if row.inputs == "dual" else f"one: {' + '.join(names)}"


def _size(name: str, row: ModelSpec) -> tuple[int, float]:
    """Parameters, and GFLOPs by the paper's rule at 512 px."""
    import torch

    from ..model.cost import count_by_rule
    from ..model.registry import build

    bands = (row.defaults.primary_bands, row.defaults.auxiliary_bands)
    with torch.device("meta"):
        network = build(name)
        macs, _ = count_by_rule(network, *(torch.empty(1, count, 512, 512) for count in bands))
    return sum(parameter.numel() for parameter in network.parameters()), row.flops_per_mac * macs / 1e9


@click.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--spectral-bands", type=click.IntRange(1), metavar="N", help="Bands of the primary input; default: 10.")
@click.option(
    "--size", type=click.IntRange(32), default=512, show_default=True, help="Image side in pixels to count at."
)
@click.option("--speed", is_flag=True, help="Also run each network here, 510 px: images a second and memory. Minutes.")
@click.option(
    "--batch", type=click.IntRange(2), help="Images in a training step of --speed; default: 4 on a GPU, else 2."
)
@quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print a list of JSON objects.")
def cost(
    names: tuple[str, ...],
    spectral_bands: int | None,
    size: int,
    speed: bool,
    batch: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """What networks cost, beside the paper's Table II; without MODEL, all of that table.

    Parameters: all, and by the paper's counter (thop), which sees some modules only.

    GFLOP: by the paper's rule (2 x thop's multiply-accumulates, no attention products), with attention counted in the
    same form, and as the network really runs here (decoders folded, no auxiliary head).

    \b
    dwplus cost
    dwplus cost specsar-former segformer --json
    dwplus cost specsar-former --spectral-bands 11
    dwplus cost specsar-former cmx --speed               frames and samples a second, memory, on this device
    """
    from ..model.cost import cost_of
    from ..model.registry import MODELS, spec
    from ..workflow.console import console

    chosen = names or tuple(name for name, row in MODELS.items() if row.paper)
    for name in chosen:
        spec(name)
    costs = {name: cost_of(name, spectral_bands, size) for name in chosen}
    speeds: dict[str, Speed] = {}
    if speed:
        from ..model.speed import measure

        with console(quiet=quiet).stage("Measuring", len(chosen), unit="networks") as step:
            for name in chosen:
                step.advance(0, note=name)
                speeds[name] = measure(name, spectral_bands, None, batch=batch)
                step.advance()
    if as_json:
        click.echo(json.dumps([_cost_document(name, costs[name], speeds.get(name)) for name in chosen], indent=1))
        return
    _print_costs(costs, size)
    if speeds:
        _print_speeds(speeds)
    else:
        click.echo("Images a second and memory on this device: --speed")


def _paper_row(name: str) -> dict[str, float]:
    from ..manifests import load_toml
    from ..model.registry import spec

    row: dict[str, float] = load_toml("paper")["table2"].get(spec(name).paper or "", {})
    return row


def _cost_document(name: str, cost: Cost, speed: Speed | None) -> dict[str, Any]:
    printed = _paper_row(name)
    document: dict[str, Any] = {"name": name, **asdict(cost)}
    document |= {f"paper_{ours}": printed.get(theirs) for ours, theirs in _PRINTED.items()}
    return document | ({"speed": asdict(speed)} if speed is not None else {})


_PRINTED = {"params_m": "params", "gflops": "flops", "images_per_second": "speed"}


def _print_costs(costs: dict[str, Cost], size: int) -> None:
    titles = ("M\nparams", "by\nrule", "paper", f"GFLOP,\n{size} px", "paper", "with\nattention", "as\nrun")
    columns = [Column("model"), *(Column(title, number=True) for title in titles)]
    rows = []
    for name, cost in costs.items():
        printed = _paper_row(name)
        numbers = (
            cost.params / 1e6,
            cost.params_rule / 1e6,
            printed.get("params"),
            cost.gflops_rule,
            printed.get("flops"),
            cost.gflops,
            cost.gflops_run,
        )
        rows.append((name, *("" if number is None else f"{number:.2f}" for number in numbers)))
    print_table(columns, rows)
    from ..model.registry import spec

    for name in costs:
        if note := spec(name).note:
            click.echo(f"{name}: {note}")


def _print_speeds(speeds: dict[str, Speed]) -> None:
    one = next(iter(speeds.values()))
    threads = f", {one.threads} threads" if one.threads else ""
    click.echo(f"\n{one.device}{threads}, {one.precision}, {one.size} px, random weights and pixels")
    titles = ("images/s", "paper", "MB", "training\nsamples/s", "batch", "MB")
    columns = [Column("model"), *(Column(title, number=True) for title in titles)]
    rows = []
    for name, speed in speeds.items():
        printed = _paper_row(name)
        rows.append(
            (
                name,
                f"{speed.frames_per_second:.2f}",
                f"{printed['speed']:.2f}" if printed else "",
                f"{speed.inference_mb:,.0f}",
                f"{speed.samples_per_second:.2f}",
                str(speed.batch),
                f"{speed.training_mb:,.0f}",
            )
        )
    print_table(columns, rows)
