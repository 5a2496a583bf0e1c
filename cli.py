"""The command line: one command per stage. Parses, calls, prints; everything else is elsewhere.

Nothing heavy is imported at the top, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import __version__
from .pipeline.errors import DwplusError, ExitCode, UsageError

if TYPE_CHECKING:
    from .pipeline.build import BuildResult, Choice
    from .pipeline.scenes import Recipe
    from .workflow.stages import Inputs

F = TypeVar("F", bound=Callable[..., Any])

_SOURCES = ["auto", "sandbox", "earthengine"]
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "auto_envvar_prefix": "DWPLUS"}


class _Group(click.Group):
    """Lists commands in the order of the flow, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(cls=_Group, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="dwplus")
@click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="TOML file with options: a table per command."
)
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Build the Dynamic World+ data set (Sentinel-1 + Sentinel-2 on Dynamic World labels), train and score
    SpecSAR-Former on it, and report the numbers beside the paper's.

    \b
    Without a Google account, everything runs on an embedded local Earth Engine (a synthetic planet):
      dwplus reproduce                          the whole way: build, train, score, report
    With Earth Engine:
      earthengine authenticate
      dwplus build --region all --project MY-PROJECT
      dwplus train
      dwplus score runs/specsar-former
      dwplus report

    \b
    Every command can be stopped and started again; it goes on where it was.
    Every option can be set as DWPLUS_<COMMAND>_<OPTION> or in a file (--config); flags come first.
    Exit codes: 0 ok, 1 error, 2 usage, 3 finished with failed tiles, 4 authentication,
    5 quota or budget, 130 interrupted.
    """
    # Only our own words: libraries that chat on the root logger are not of interest here.
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger(__package__).addHandler(handler)
    if config is not None:
        ctx.default_map = _read_config(config)


def _read_config(path: Path) -> dict[str, dict[str, Any]]:
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    result: dict[str, dict[str, Any]] = {}
    for name, table in tables.items():
        command = cli.commands.get(name)
        if command is None or not isinstance(table, dict):
            raise UsageError(f"{path}: no command {name!r}; tables are {', '.join(cli.commands)}")
        result[name] = _config_of(command, table, f"{path}: [{name}]")
    return result


def _config_of(command: click.Command, table: dict[str, Any], where: str) -> dict[str, Any]:
    """Defaults of a command, or of the commands of a group: ``[local-ee.serve]``."""
    commands = command.commands if isinstance(command, click.Group) else {}
    # Options are called in the file what they are called on the command line.
    options = {p.opts[-1].lstrip("-"): p for p in command.params if isinstance(p, click.Option)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        option = options.get(key.replace("_", "-"))
        if key in commands:
            if not isinstance(value, dict):
                raise UsageError(f"{where}: {key} is a command; its options are a table of their own")
            values[key] = _config_of(commands[key], value, f"{where} {key}")
        elif option is None:
            known = ", ".join(sorted({*options, *commands}))
            raise UsageError(f"{where} has no option {key}; it has {known}")
        else:
            # A single value of an option that may be given several times is a list of one.
            several = option.multiple and not isinstance(value, list)
            values[str(option.name)] = [value] if several else value
    return values


# --- options that several commands share ------------------------------------------------------------------------------


def _data_option(function: F) -> F:
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("data"),
        envvar="DWPLUS_DATA",
        show_default=True,
        show_envvar=True,
        help="Folder of all data sets; each source has its own below it.",
    )(function)


def _source_option(function: F) -> F:
    return click.option(
        "--source",
        type=click.Choice(_SOURCES),
        default="auto",
        envvar="DWPLUS_SOURCE",
        show_default=True,
        help="Where pixels come from; auto is the sandbox only where nothing of Earth Engine is configured.",
    )(function)


def _quiet_option(function: F) -> F:
    return click.option("-q", "--quiet", is_flag=True, help="No progress, results only.")(function)


def _service_options(function: F) -> F:
    for option in (
        click.option("--project", help="Google Cloud project registered for Earth Engine. [env: EE_PROJECT_ID]"),
        click.option("--ee-url", help="Another server of the Earth Engine API. [env: EE_URL]"),
        click.option(
            "--concurrency", type=click.IntRange(1, 100), default=20, show_default=True, help="Requests in flight."
        ),
        click.option(
            "--tiles",
            type=click.IntRange(6, 5000),
            default=132,
            show_default=True,
            help="Label tiles of the synthetic planet (sandbox).",
        ),
        click.option("--seed", type=int, default=7, show_default=True, help="Seed of the synthetic planet (sandbox)."),
        click.option("--workers", type=click.IntRange(1), help="Processes of the Dask stages; default: all cores."),
    ):
        function = option(function)
    return function


def _recipe_options(function: F) -> F:
    for option in (
        click.option(
            "--s1-mean",
            type=click.Choice(["dB", "linear"]),
            default="dB",
            show_default=True,
            help="Average Sentinel-1 in dB (S1_GRD) or as power (S1_GRD_FLOAT); the two never mix.",
        ),
        click.option(
            "--s1-pass",
            type=click.Choice(["both", "ascending", "descending"]),
            default="both",
            show_default=True,
            help="Orbit directions that enter the mean; one of them asks the service for less.",
        ),
    ):
        function = option(function)
    return function


def _training_options(function: F) -> F:
    for option in (
        click.option("--profile", help="Settings: paper, sandbox, or a TOML file. Default: by the source."),
        click.option("--model", help="Network: specsar-former or segformer, each also -small."),
        click.option("--primary", default="ms10", show_default=True, help="Bands of the primary input (preset)."),
        click.option(
            "--auxiliary", default="sar", show_default=True, help="Bands of the auxiliary input (preset, or none)."
        ),
        click.option(
            "--protocol",
            type=click.Choice(["strict", "paper"]),
            default="strict",
            show_default=True,
            help="strict cuts validation tiles from training; paper validates on the test tiles.",
        ),
        click.option("--epochs", type=click.IntRange(1), help="Epochs; default: the profile's."),
        click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Any other setting of the profile."),
    ):
        function = option(function)
    return function


# --- commands ---------------------------------------------------------------------------------------------------------


@cli.command(short_help="Labels, pixels, validation, statistics: the data set.")
@click.option("--region", default="all", show_default=True, help="Region or folder (EH, WH) to build.")
@click.option("--biome", type=click.IntRange(1, 14), multiple=True, help="Biome number; may be given several times.")
@click.option("--split", type=click.Choice(["train", "test"]), multiple=True, help="Release to build; default: both.")
@click.option("--limit", type=click.IntRange(1), help="At most so many tiles, in turn from every region and biome.")
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Folder of label tiles as released, in place of the archives."
)
@_recipe_options
@_service_options
@_source_option
@_data_option
@_quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
def build(quiet: bool, as_json: bool, **options: Any) -> None:
    """Build the data set: labels, manifest, export, validation, statistics.

    \b
    dwplus build --region all
    dwplus build --region western-hemisphere --split test --limit 6
    dwplus build --labels my_label_tiles --data my_data --project MY-PROJECT

    Tiles that are complete are left alone: run the same command again to go on. Tiles without Sentinel-1 or Sentinel-2
    are discarded and listed in failures.csv with the reason; tiles that the service did not give are failed, exit 3.
    """
    root, result = _build(options, quiet)
    _print_build(root, result, as_json=as_json)
    if result.failed or result.broken:
        raise SystemExit(ExitCode.FAILED_TILES)


@cli.command(short_help="List what is wrong with the shards.")
@_source_option
@_data_option
@_quiet_option
@click.option("--workers", type=click.IntRange(1), help="Processes; default: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON document.")
def validate(source: str, data: Path, quiet: bool, workers: int | None, as_json: bool) -> None:
    """Read every shard to its last byte and list what is wrong; exit 3 if a tile has an error.

    \b
    dwplus validate
    """
    from .pipeline.build import validate_root
    from .pipeline.cluster import local_cluster
    from .pipeline.validate import bad_tiles
    from .workflow.console import console
    from .workflow.pixel_source import existing_root

    root = existing_root(data, source)
    with local_cluster(workers) as run:
        findings = validate_root(root, run=run, progress=console(quiet=quiet))
    if as_json:
        click.echo((root / "findings.json").read_text(encoding="utf-8"), nl=False)
    else:
        for finding in findings:
            click.echo(f"{finding.severity:8} {finding.tile}  {finding.rule}: {finding.message}")
        click.echo(f"{len(bad_tiles(findings))} tiles with errors, {len(findings)} findings; {root / 'findings.csv'}")
    if bad_tiles(findings):
        raise SystemExit(ExitCode.FAILED_TILES)


@cli.command(short_help="Take the statistics of the training split.")
@_source_option
@_data_option
@_quiet_option
@click.option("--workers", type=click.IntRange(1), help="Processes; default: all cores.")
def normalise(source: str, data: Path, quiet: bool, workers: int | None) -> None:
    """Take the statistics of the training split (stats-strict.json, stats-paper.json).

    \b
    dwplus normalise
    """
    from .pipeline.build import normalise_root
    from .pipeline.cluster import local_cluster
    from .pipeline.normalise import statistics_path
    from .workflow.console import console
    from .workflow.pixel_source import existing_root

    root = existing_root(data, source)
    with local_cluster(workers) as run:
        for statistics in normalise_root(root, run=run, progress=console(quiet=quiet)):
            click.echo(
                f"{statistics_path(root, statistics.protocol)}  {statistics.tiles} tiles {_mark(statistics.source)}"
            )


@cli.command(short_help="Train a network on the data set.")
@click.option("--name", help="Name of the run; default: the network's. The same name goes on with a stopped run.")
@_training_options
@_source_option
@_data_option
@_quiet_option
def train(
    name: str | None,
    source: str,
    data: Path,
    quiet: bool,
    protocol: Any,
    primary: str,
    auxiliary: str,
    profile: str | None,
    model: str | None,
    epochs: int | None,
    changes: tuple[str, ...],
) -> None:
    """Train a network on the data set; run again to go on where it was stopped.

    \b
    dwplus train                                      SpecSAR-Former, settings by the source
    dwplus train --name s2 --model segformer-small --auxiliary none
    dwplus train --profile paper --set lr=1e-3 --set seed=1
    accelerate launch -m dwplus.cli train             on several GPUs
    """
    from .workflow.console import console
    from .workflow.pixel_source import existing_root
    from .workflow.stages import Inputs, train_run, training_settings

    root = existing_root(data, source)
    settings = training_settings(profile, root, _changes(model, epochs, changes))
    inputs: Inputs = Inputs(primary, auxiliary)
    run_dir = train_run(
        root, name or settings.model, settings, protocol=protocol, inputs=inputs, progress=console(quiet=quiet)
    )
    click.echo(f"{run_dir}  next: dwplus score runs/{run_dir.name}")


@cli.command(short_help="Score a trained run on the test tiles.")
@click.argument("run")
@click.option("--split", type=click.Choice(["test", "val"]), default="test", show_default=True, help="Split to score.")
@click.option(
    "--weights",
    type=click.Choice(["model", "best"]),
    default="model",
    show_default=True,
    help="Weights after the last epoch, or of the best epoch where the run kept them.",
)
@_source_option
@_data_option
@_quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print the scores as one JSON document.")
def score(run: str, split: str, weights: str, source: str, data: Path, quiet: bool, as_json: bool) -> None:
    """Score a trained run on the test tiles: mIoU, OA, F1 and IoU per class from one confusion matrix.

    \b
    dwplus score runs/specsar-former-small
    """
    from .workflow.console import console
    from .workflow.pixel_source import existing_root
    from .workflow.stages import find_run, score_run

    root = existing_root(data, source)
    scores = score_run(root, find_run(root, run), split=split, weights=weights, progress=console(quiet=quiet))
    if as_json:
        click.echo(json.dumps(scores.to_dict(), indent=1))
        return
    matrix = scores.matrix
    mark = _mark(scores.source)
    click.echo(f"mIoU {matrix.miou:.2%}  OA {matrix.oa:.2%}  F1 {matrix.macro_f1:.2%}  {scores.tiles} tiles {mark}")
    click.echo(f"majority guess ({scores.majority[0]}): OA {scores.majority[1]:.2%} {mark}")
    for class_name, values in scores.to_dict()["classes"].items():
        iou = "absent" if values["iou"] is None else f"{values['iou']:.2%}"
        click.echo(f"  {class_name:<20} IoU {iou}")


@cli.command(short_help="Write the page that sets scores beside the paper's.")
@_source_option
@_data_option
@_quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print the scores of all runs as one JSON document.")
def report(source: str, data: Path, quiet: bool, as_json: bool) -> None:
    """Write report/index.html: scores beside the paper's, tiles drawn, classes, what is missing and why.

    \b
    dwplus report
    """
    from .workflow.console import console
    from .workflow.pixel_source import existing_root
    from .workflow.report import summary_json, write_report

    root = existing_root(data, source)
    page = write_report(root, progress=console(quiet=quiet))
    click.echo(summary_json(root) if as_json else str(page))


@cli.command(short_help="The whole way in one command.")
@click.option("--profile", help="Training settings: paper, sandbox, or a TOML file. Default: by the source.")
@_recipe_options
@_service_options
@_source_option
@_data_option
@_quiet_option
def reproduce(profile: str | None, quiet: bool, **options: Any) -> None:
    """The whole way: build the data set, train with and without Sentinel-1, score, report.

    \b
    dwplus reproduce --source sandbox                 no account needed; some minutes on two cores
    dwplus reproduce --source earthengine --project MY-PROJECT

    Prints the path of the report.
    """
    from .workflow.console import console
    from .workflow.reproduce import train_and_report

    everything = {"region": "all", "biome": (), "split": (), "limit": None, "labels": None}
    root, result = _build({**everything, **options}, quiet)
    click.echo(str(train_and_report(root, result, profile=profile, progress=console(quiet=quiet))))
    if result.failed:
        raise SystemExit(ExitCode.FAILED_TILES)


@cli.group("local-ee", short_help="A local Earth Engine to test your own code on.")
def local_ee() -> None:
    """The embedded local Earth Engine by itself: a server on this machine that speaks Earth Engine's API to the real
    client, over the scenes of a synthetic planet. Its pixels are synthetic (SANDBOX).

    \b
    dwplus local-ee serve --port 8085
    """


@local_ee.command(short_help="Start it in the foreground; Ctrl-C ends it.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 = any that is free.")
@click.option("--seed", type=int, default=7, show_default=True, help="Seed of the synthetic planet.")
@click.option("--tiles", type=click.IntRange(6, 5000), default=132, show_default=True, help="Label tiles it releases.")
@click.option(
    "--faults",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML file of what goes wrong on purpose: [[fault]] tables, latency, quotas.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes that compute; default: one for each core.")
@click.option("--latency", type=click.FloatRange(0, 600), help="Seconds that each answer takes more.")
@click.option("--max-concurrent", type=click.IntRange(1), help="Requests at a time; more get 429.")
@click.option("--per-second", type=click.FloatRange(0, min_open=True), help="Requests per second; more get 429.")
def serve(
    port: int,
    seed: int,
    tiles: int,
    faults: Path | None,
    workers: int | None,
    latency: float | None,
    max_concurrent: int | None,
    per_second: float | None,
) -> None:
    """Start a local Earth Engine in the foreground and print how to connect to it; Ctrl-C ends it.

    \b
    dwplus local-ee serve
    dwplus local-ee serve --port 8085 --max-concurrent 40
    dwplus local-ee serve --faults plan.toml

    \b
    A plan holds what goes wrong, for whom and how often (all of it: docs/local-earth-engine.md):
      latency = {kind = "lognormal", median_s = 1.0, sigma = 0.5, seed = 1}
      [[fault]]
      match = "computePixels"
      skip = 2
      times = 1
      status = 429
      retry_after = 3
    """
    from .pipeline.errors import ServiceError
    from .pipeline.local_ee.faults import PlanFile, read_plan
    from .pipeline.local_ee.launch import LocalEarthEngine, how_to_connect

    plan = PlanFile([]) if faults is None else read_plan(faults)
    engine = LocalEarthEngine(
        {"kind": "earth", "seed": seed},
        tiles,
        plan.faults,
        workers,
        port=port,
        latency=(plan.latency or 0.0) if latency is None else latency,
        max_concurrent=max_concurrent or plan.max_concurrent,
        per_second=per_second or plan.per_second,
        stderr=sys.stderr,
    )
    with engine:
        click.echo(how_to_connect(engine, seed))
        try:
            code = engine.wait()
        except KeyboardInterrupt:
            click.echo("dwplus: the local Earth Engine has ended", err=True)
            raise SystemExit(ExitCode.INTERRUPTED) from None
    raise ServiceError(f"the local Earth Engine at {engine.url} ended by itself (exit code {code})")


# --- what commands share ----------------------------------------------------------------------------------------------


def _build(options: dict[str, Any], quiet: bool) -> tuple[Path, BuildResult]:
    from .pipeline.build import build as build_data_set
    from .pipeline.cluster import local_cluster
    from .pipeline.files import check_writable
    from .pipeline.sources import choose_source, configuration
    from .pipeline.tiles import check_region
    from .workflow.console import console
    from .workflow.pixel_source import SANDBOX_BANNER, open_source

    progress = console(quiet=quiet)
    check_region(options["region"])
    choice = _choice(options)
    found = configuration(url=options["ee_url"], project=options["project"])
    name = choose_source(options["source"], found)
    root = options["data"] / name
    check_writable(root)
    if name == "sandbox":
        progress.say(SANDBOX_BANNER)
    with (
        open_source(
            name,
            found,
            root=root,
            tiles=options["tiles"],
            seed=options["seed"],
            concurrency=options["concurrency"],
        ) as opened,
        local_cluster(options["workers"]) as run,
    ):
        result = build_data_set(
            root,
            choice,
            pixels=opened.session,
            run=run,
            recipe=_recipe(options),
            mirror=opened.mirror,
            concurrency=options["concurrency"],
            progress=progress,
        )
    return root, result


def _choice(options: dict[str, Any]) -> Choice:
    from .pipeline.build import Choice

    labels = options["labels"]
    if labels is not None and not labels.is_dir():
        raise UsageError(f"--labels {labels}: no such folder; name one that holds label tiles (dw_....tif)")
    return Choice(
        region=options["region"],
        biomes=frozenset(options["biome"]),
        splits=frozenset(options["split"]),
        limit=options["limit"],
        labels=labels,
    )


def _recipe(options: dict[str, Any]) -> Recipe:
    from .pipeline.scenes import Recipe

    passes = {"both": ("ASCENDING", "DESCENDING"), "ascending": ("ASCENDING",), "descending": ("DESCENDING",)}
    return Recipe(s1_mean=options["s1_mean"], s1_passes=passes[options["s1_pass"]])  # type: ignore[arg-type]


def _print_build(root: Path, result: BuildResult, *, as_json: bool) -> None:
    sources = {row.source for row in _ledger_rows(root)}
    if as_json:
        document = {
            "root": str(root),
            "source": sorted(sources),
            "manifest": result.manifest.hash,
            "tiles": len(result.chosen),
            "states": result.states,
            "errors": sum(f.severity == "error" for f in result.findings),
            "warnings": sum(f.severity == "warning" for f in result.findings),
        }
        click.echo(json.dumps(document, indent=1))
        return
    for state, number in sorted(result.states.items(), key=lambda item: -item[1]):
        click.echo(f"{number:6} {state}")
    marks = " ".join(sorted({_mark(source) for source in sources if source}))
    missing = sum(number for state, number in result.states.items() if state != "done")
    click.echo(f"{root}: {result.states.get('done', 0)} of {len(result.chosen)} tiles complete {marks}".rstrip())
    if missing:
        click.echo(f"{missing} tiles are not in it; the reasons stand in {root / 'failures.csv'}")
    if result.findings:
        click.echo(f"{len(result.findings)} findings of the validation stand in {root / 'findings.csv'}")


def _ledger_rows(root: Path) -> list[Any]:
    from .pipeline.ledger import read_ledger

    return list(read_ledger(root).values())


def _mark(source: str) -> str:
    return "" if source == "earthengine" else f"[{source}]"


def _changes(model: str | None, epochs: int | None, changes: tuple[str, ...]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for change in changes:
        key, separator, text = change.partition("=")
        if not separator:
            raise UsageError(f"--set {change}: write KEY=VALUE, for example --set lr=1e-3")
        try:
            settings[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            settings[key] = text
    return settings | {k: v for k, v in (("model", model), ("epochs", epochs)) if v is not None}


def main() -> None:
    """Entry point: our errors become one line and their own exit code; anything else keeps its traceback."""
    # Threads of torch that wait should sleep, not spin: beside other work, steps are several times faster.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        cli.main(standalone_mode=False)
    except DwplusError as error:
        click.echo(f"dwplus: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("dwplus: interrupted; the same command goes on from here", err=True)
        sys.exit(ExitCode.INTERRUPTED)


if __name__ == "__main__":
    main()
