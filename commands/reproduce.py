"""The command that goes the whole way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import ExitCode, UsageError
from .build import build_from, forecast_of
from .options import data_option, quiet_option, recipe_options, service_options, source_option, subset_option
from .output import figure

if TYPE_CHECKING:
    from ..pipeline.build.build import BuildResult, BuildSetup
    from ..pipeline.dataset.root import DataRoot
    from ..workflow.reproduce import Reproduced, Wanted

_EVERYTHING = {"region": "all", "biome": (), "split": (), "limit": None, "labels": None}
_TABLES = ("I", "II", "III", "IV", "V", "VI")
_FIGURES = ("2", "3", "7", "8")
_SOURCE_OF_SCOPE = {"sandbox": "sandbox", "paper": "earthengine"}


def _listed(choices: tuple[str, ...]) -> Any:
    """Numbers of tables or figures that were named, one after the other or with commas; as arabic numbers."""

    def parse(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> tuple[int, ...]:
        named = [one.strip().upper() for text in given for one in text.split(",")]
        if unknown := [one for one in named if one not in choices]:
            raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(choices)}")
        numbers = [int(one) if one.isdecimal() else _TABLES.index(one) + 1 for one in named]
        return tuple(dict.fromkeys(numbers))

    return parse


@click.command()
@click.option(
    "--scope",
    type=click.Choice(["sandbox", "paper"]),
    help="sandbox: small networks on synthetic pixels, some minutes; paper: every row of the paper on real ones. "
    "Default: by the source.",
)
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="I..VI",
    callback=_listed(_TABLES),
    help="Only what this table needs; may be given several times.",
)
@click.option(
    "--figure",
    "figures",
    multiple=True,
    metavar="2,3,7,8",
    callback=_listed(_FIGURES),
    help="Only what this figure needs; may be given several times.",
)
@click.option(
    "--dry-run", "is_dry", is_flag=True, help="Show what is there and what is missing would cost; do nothing."
)
@click.option("--shard", metavar="I/N", help="This machine's part of the trainings, of N machines; 1/N also builds.")
@click.option("--seeds", metavar="0,1,2", help="Train each row once per seed: three or more tell seed noise.")
@subset_option
@click.option("--profile", help="Training settings: paper, sandbox, or a TOML file. Default: by the source.")
@recipe_options
@service_options
@source_option
@data_option
@quiet_option
def reproduce(
    scope: str | None,
    tables: tuple[int, ...],
    figures: tuple[int, ...],
    is_dry: bool,
    shard: str | None,
    seeds: str | None,
    profile: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Build the data set, train, score, report: what is missing of the paper's tables and figures.

    \b
    dwplus reproduce                                  no account needed; some minutes on two cores
    dwplus reproduce --scope paper --dry-run          every row: what is there, what the rest would cost
    dwplus reproduce --scope paper --project MY-PROJECT
    dwplus reproduce --scope paper --table IV --shard 2/4 --project MY-PROJECT
    dwplus reproduce --table II                       counted; no data is needed

    What is complete is left as it is: run the same command again to resume. Each scope has its own folder. Prints the
    path of the report; on stderr what became of the tiles, the scores, what is missing, and the next command.
    """
    from ..workflow.machines import Machine
    from ..workflow.reproduce import Wanted
    from ..workflow.seeds import parse_seeds

    machine = Machine.parse(shard) if shard else Machine()
    what = Wanted(tables, figures, machine, parse_seeds(seeds) if seeds else ())
    options = {**_EVERYTHING, **options, "source": _source_of(scope, options["source"])}
    if is_dry:
        _print_plan(what, options)
        return
    if not what.needs_tiles:
        _print_counts()
        return
    root, result = _built(what, options, quiet=quiet)
    _train_and_print(root, result, what, profile, quiet=quiet)
    if result is not None and result.failed:
        raise SystemExit(ExitCode.FAILED_TILES)


def _source_of(scope: str | None, source: str) -> str:
    """The source that a scope takes its pixels from.

    Raises:
        UsageError: another one is named.
    """
    if scope is None:
        return source
    if source not in ("auto", _SOURCE_OF_SCOPE[scope]):
        raise UsageError(
            f"--scope {scope} takes pixels from {_SOURCE_OF_SCOPE[scope]}, and --source says {source}; leave one of "
            "them out"
        )
    return _SOURCE_OF_SCOPE[scope]


def _scope_of(source: str) -> Any:
    """The scope that a named source belongs to; None where none is named."""
    return {folder: scope for scope, folder in _SOURCE_OF_SCOPE.items()}.get(source)


def _built(what: Wanted, options: dict[str, Any], *, quiet: bool) -> tuple[DataRoot, BuildResult | None]:
    """The data root with tiles and maps; machines after the first one find it built."""
    from ..workflow.reproduce import check_scope
    from ..workflow.source import existing_root

    def check(root: DataRoot) -> None:
        check_scope(root, _scope_of(options["source"]))

    if what.machine.first:
        return build_from(options, quiet, before=check, then=_build_maps if what.maps else lambda *_: None)
    root = existing_root(options["data"], options["source"])
    check(root)
    root.statistics("strict")  # says what to do where the build is not complete
    return root, None


def _build_maps(root: DataRoot, setup: BuildSetup) -> None:
    """Export the public maps of the test tiles, where labels are those that the codes of maps are known for."""
    from ..pipeline.build.beside import build_beside
    from ..pipeline.build.build import Selection, select_rows
    from ..pipeline.errors import UsageError
    from ..pipeline.spec.classes import DYNAMIC_WORLD
    from ..pipeline.spec.layers import product_layer, products

    if root.classes() != DYNAMIC_WORLD or not any(row.split_strict == "test" for row in root.manifest().rows):
        return
    try:
        rows = select_rows(root.manifest().rows, Selection(splits=frozenset({"test"})))
    except UsageError:
        return  # no test tile may be requested
    build_beside(root, [product_layer(name) for name in products()], rows, setup)


def _train_and_print(
    root: DataRoot, result: BuildResult | None, what: Wanted, profile: str | None, *, quiet: bool
) -> None:
    from ..workflow import reproduce as whole_way
    from ..workflow.console import console

    done = whole_way.train_and_report(root, result, profile=profile, progress=console(quiet=quiet), what=what)
    for line in _summary(root, result, done):
        click.echo(line, err=True)
    # The path alone goes to stdout, for scripts.
    click.echo(str(done.page))


def _summary(root: DataRoot, result: BuildResult | None, done: Reproduced) -> list[str]:
    from ..workflow.reproduce import maps_as_text, next_command, scores_as_text, tiles_as_text, verdicts_as_text
    from ..workflow.reproduction.document import VERDICTS_FILE

    lines = [*tiles_as_text(root), *scores_as_text(done.scores), *maps_as_text(done.maps)]
    verdicts = Path(done.page).with_name(VERDICTS_FILE)
    if verdicts.is_file():
        document = json.loads(verdicts.read_text(encoding="utf-8"))
        lines += [*verdicts_as_text(document), f"next: {next_command(document, result)}"]
    return lines


def _print_counts() -> None:
    """Table II, counted at full size."""
    from ..workflow.reproduction.document import lines_of_costs

    for line in lines_of_costs():
        click.echo(line)


# --- what would be done -----------------------------------------------------------------------------------------------


def _print_plan(what: Wanted, options: dict[str, Any]) -> None:
    """Show what is there and what the rest would cost; contacts nothing and writes nothing."""
    from ..model.settings import profile
    from ..pipeline.spec.sources import SANDBOX
    from ..workflow.reproduce import check_scope
    from ..workflow.reproduction.outlook import lines_of_maps, lines_of_trainings, planned
    from ..workflow.reproduction.plan import share

    root, words, cost = forecast_of(options)
    check_scope(root, _scope_of(options["source"]))
    synthetic = root.folder.name == SANDBOX.folder
    click.echo(f"data        {root}: {words}")
    if cost.tiles:
        click.echo(f"requests     {cost.requests:,}")
        click.echo(figure("disk", "GB", cost.disk_gb))
    if cost.tiles and not synthetic:
        click.echo(figure("time", "hours", cost.hours))
        click.echo(figure("compute", "EECU-hours", cost.eecu_hours))
    for line in lines_of_maps(root, None if synthetic else _test_tiles(root)) if what.maps else ():
        click.echo(line)
    trainings = what.trainings(small=synthetic)
    mine = share(trainings, what.machine)
    plan = planned(root, trainings, mine, seeds=what.seeds, settings=profile("sandbox" if synthetic else "paper"))
    for line in lines_of_trainings(plan, synthetic=synthetic):
        click.echo(line)


def _test_tiles(root: DataRoot) -> int:
    """Tiles of the test split: those of the manifest, or, before there is one, those that are published."""
    if root.manifest_file.is_file():
        return len(root.manifest().of_split("test", "strict"))
    from ..pipeline.labels.releases import releases

    return sum(file.tiles or 0 for release in releases() for file in release.files if file.split == "test")
