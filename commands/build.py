"""The commands that build the data set and retry what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import ExitCode, UsageError
from ..pipeline.spec.words import count_of
from .options import (
    Days,
    data_option,
    in_order,
    quiet_option,
    recipe_options,
    service_options,
    source_option,
    subset_option,
)
from .output import figure, mark

if TYPE_CHECKING:
    from ..pipeline.build.budget import Estimate
    from ..pipeline.build.build import BuildResult, BuildSetup, Selection
    from ..pipeline.build.export import Meter
    from ..pipeline.dataset.root import DataRoot
    from ..pipeline.spec.recipe import Recipe

PILOT_TILES = 50
"""Tiles of a pilot that is not told how many."""


def budget_options(function: Any) -> Any:
    return in_order(
        function,
        click.option(
            "--max-eecu-hours",
            type=click.FloatRange(0, min_open=True),
            help="Stop (exit 5) before this run has used so much Earth Engine compute, as the service reports it.",
        ),
        click.option(
            "--until", metavar="TIME", help="Stop starting new tiles at 07:30 or 2026-11-30T07:30 (local time); exit 5."
        ),
    )


@click.command()
@click.option("--region", default="all", show_default=True, help="Region or folder (EH, WH) to build.")
@click.option("--biome", type=click.IntRange(1, 14), multiple=True, help="Biome number; may be given several times.")
@click.option("--split", type=click.Choice(["train", "test"]), multiple=True, help="Release to build; default: both.")
@click.option(
    "--limit", type=click.IntRange(1), help="Build at most N tiles, drawn evenly from all regions and biomes."
)
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Folder of label tiles as released, in place of the archives."
)
@click.option(
    "--labels-from",
    type=click.Choice(["releases", "earth-engine"]),
    default="releases",
    show_default=True,
    help="The publishers' archives, or Earth Engine's collection of labels.",
)
@subset_option
@click.option(
    "--s2-window",
    type=Days(),
    metavar="DAYS",
    help="Own labels: how far outside the label's period its scene may lie. [default: 30d]",
)
@click.option("--l1c", is_flag=True, help="Write nine Level-1C bands of complete tiles into l1c/, beside the shards.")
@click.option(
    "--products",
    is_flag=True,
    help="Write public land-cover maps of complete tiles into products/, beside the shards: Dynamic World, ESA "
    "WorldCover, ESRI.",
)
@click.option(
    "--dry-run", is_flag=True, help="Show tiles, requests, download size and, of shards, time; contact nothing."
)
@click.option(
    "--pilot",
    type=click.IntRange(1),
    is_flag=False,
    flag_value=PILOT_TILES,
    metavar="[N]",
    help=f"Build N tiles ({PILOT_TILES}) of all regions and biomes, measure each, say what the rest will take.",
)
@budget_options
@recipe_options
@service_options
@source_option
@data_option
@quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
def build(quiet: bool, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Build the data set: labels, manifest, export, validation, statistics.

    \b
    dwplus build --region all --dry-run               what it would take
    dwplus build --region all --pilot 50              50 tiles, measured: what the rest will take
    dwplus build --region all --max-eecu-hours 100    stop at the budget; run it again to resume
    dwplus build --region western-hemisphere --split test --limit 6
    dwplus build --labels my_label_tiles --data my_data --project MY-PROJECT
    dwplus build --l1c --split test                   for the published network of Dynamic World
    dwplus build --products --split test              maps to be scored beside networks (docs/products.md)

    Tiles that are complete are left alone: run the same command again to resume. Tiles without Sentinel-1 or Sentinel-2
    are discarded and listed in failures.csv with the reason; tiles that the service did not give are failed, exit 3:
    the next build requests them again, and so does 'dwplus retry'.
    """
    if _has_added_pixels(options["data"]):
        _build_added(quiet=quiet, as_json=as_json, dry_run=dry_run, **options)
        return
    if options["l1c"] or options["products"]:
        from .beside import write_beside

        selection = _selection({**options, "labels": None, "pilot": None})
        write_beside(options, selection, partial(_setup, quiet=quiet), as_json=as_json, dry_run=dry_run)
        return
    if dry_run:
        _print_estimate(*forecast_of(options), as_json=as_json)
        return
    root, result = build_from(options, quiet)
    left = forecast_of({**options, "pilot": None}) if options["pilot"] is not None else None
    _print_build(root, result, as_json=as_json, left=left[2] if left else None)
    if left and not as_json:
        click.echo("")
        _print_estimate(*left, as_json=False)
    exit_as(result)


def _has_added_pixels(data: Path) -> bool:
    """Whether a folder is a data root whose pixels a user added."""
    from ..pipeline.dataset.added_pixels import ADDED_FILE

    return (data / ADDED_FILE).is_file()


_FOR_REQUESTS = ("labels", "pilot", "limit", "s1_mean", "s1_pass", "s1_max_scenes", "max_eecu_hours", "until", "subset")


def _build_added(*, quiet: bool, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Validate and normalise a data set whose pixels a user added."""
    from ..pipeline.build.build import build_added
    from ..pipeline.cluster import open_cluster
    from ..pipeline.dataset.root import DataRoot
    from ..workflow.console import console

    root = DataRoot.at(options["data"])
    given = [name for name in _FOR_REQUESTS if options[name] is not None]
    if options["source"] != "auto":
        raise UsageError(
            f"{root} holds added pixels; --source {options['source']} would mix them with others: name another folder "
            "with --data"
        )
    if given:
        raise UsageError(
            f"--{given[0].replace('_', '-')} is about requests, and nothing is requested where pixels were added "
            f"({root}); leave it out"
        )
    if dry_run:
        click.echo(
            f"{root}: pixels were added from files; a build validates and computes statistics, nothing is requested"
        )
        return
    with open_cluster(workers=options["workers"], scheduler=options["scheduler"]) as run:
        result = build_added(root, run=run, progress=console(quiet=quiet))
    _print_build(root, result, as_json=as_json)
    exit_as(result)


@click.command()
@click.option(
    "--reason",
    multiple=True,
    help="Tiles with this reason (see 'dwplus status'), also no_s1 and no_s2; several times. Default: all failed.",
)
@budget_options
@service_options
@source_option
@data_option
@quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
def retry(reason: tuple[str, ...], quiet: bool, as_json: bool, **options: Any) -> None:
    """Ask again for tiles that a build could not have, with the recipe of the data set.

    \b
    dwplus retry                                      all that failed
    dwplus retry --reason no_answer --reason too_heavy
    dwplus retry --reason no_s2                       scenes are added to Earth Engine now and then
    """
    from ..pipeline.build.build import retry as retry_tiles
    from ..workflow.source import existing_root

    root = existing_root(options["data"], options["source"])
    if root.added_pixels() is not None:
        raise UsageError(f"nothing is requested where pixels were added ({root}); add more with 'dwplus pixels add'")
    with _setup({**options, "source": root.folder.name, "pilot": None}, quiet) as (_, setup):
        result = retry_tiles(root, frozenset(reason), setup)
    _print_build(root, result, as_json=as_json)
    exit_as(result)


def exit_as(result: BuildResult) -> None:
    """End with the exit code that the outcome has."""
    if result.stopped:
        raise SystemExit(ExitCode.QUOTA)
    if result.failed or result.broken:
        raise SystemExit(ExitCode.FAILED_TILES)


def build_from(
    options: dict[str, Any],
    quiet: bool,
    *,
    before: Callable[[DataRoot], object] = lambda _: None,
    then: Callable[[DataRoot, BuildSetup], object] = lambda *_: None,
) -> tuple[DataRoot, BuildResult]:
    """The data root and the status of its tiles, from the options of the command.

    Args:
        before: looks at the data root before anything is written; may refuse it.
        then: what else is built while the source is open, unless the build stopped early.
    """
    from ..pipeline.build.build import build as build_data_set
    from ..pipeline.spec.tiles import check_region

    check_region(options["region"])
    selection = _selection(options)
    with _setup(options, quiet, before) as (root, setup):
        result = build_data_set(root, selection, setup, recipe=_recipe(options, root))
        if not result.stopped:
            then(root, setup)
    return root, result


@contextmanager
def _setup(
    options: dict[str, Any], quiet: bool, before: Callable[[DataRoot], object] = lambda _: None
) -> Iterator[tuple[DataRoot, BuildSetup]]:
    """The data root, and what a build works with."""
    from ..pipeline.build.build import BuildSetup
    from ..pipeline.cluster import open_cluster
    from ..pipeline.earthengine.configuration import choose_source, configuration
    from ..pipeline.files.atomic import check_writable
    from ..workflow.console import console
    from ..workflow.source import check_not_by_chance, open_source, own_root, sandbox_banner

    progress = console(quiet=quiet)
    meter = meter_of(options)
    found = configuration(url=options["ee_url"], project=options["project"])
    source = choose_source(options["source"], found)
    from ..pipeline.dataset.root import DataRoot

    own = own_root(options["data"])
    if own is not None:
        check_not_by_chance(own, source, options["source"])
    root = own or DataRoot.at(options["data"] / source.folder)
    before(root)
    check_writable(root.folder)
    if source.synthetic:
        progress.say(sandbox_banner(user_labels=options.get("labels") is not None or root.holds_own_labels()))
    with (
        open_source(
            source,
            found,
            root=root,
            tiles=options["tiles"],
            seed=options["seed"],
            concurrency=options["concurrency"],
        ) as opened,
        open_cluster(workers=options["workers"], scheduler=options["scheduler"]) as run,
    ):
        yield (
            root,
            BuildSetup(
                pixels=opened.pixels,
                run=run,
                mirror=opened.mirror,
                # Asking for labels needs the client's words, which come with the connection.
                client=opened.pixels.session if options.get("labels_from") == "earth-engine" else None,
                concurrency=options["concurrency"],
                s2_window_days=_window_days(options.get("s2_window")),
                meter=meter,
                progress=progress,
            ),
        )


def _window_days(given: int | None) -> int:
    from ..pipeline.build.dating import DEFAULT_WINDOW_DAYS

    return DEFAULT_WINDOW_DAYS if given is None else given


def meter_of(options: dict[str, Any]) -> Meter | None:
    from ..pipeline.build.budget import Budget, parse_until

    until, hours, pilot = options.get("until"), options.get("max_eecu_hours"), options.get("pilot")
    if until is None and hours is None and pilot is None:
        return None
    try:
        moment = None if until is None else parse_until(until, datetime.now())
    except ValueError as error:
        raise UsageError(f"--until {until}: {error}; write 07:30 or 2026-11-30T07:30") from None
    return Budget(max_eecu_hours=hours, until=moment, measure_all=pilot is not None)


def _selection(options: dict[str, Any]) -> Selection:
    from ..pipeline.build.build import Selection

    labels, limit, pilot = options["labels"], options["limit"], options.get("pilot")
    if labels is not None and not labels.is_dir():
        raise UsageError(f"--labels {labels}: no such folder; name one that holds label tiles (dw_....tif)")
    return Selection(
        region=options["region"],
        biomes=frozenset(options["biome"]),
        splits=frozenset(options["split"]),
        limit=min(n for n in (limit, pilot) if n is not None) if limit or pilot else None,
        labels=labels,
        labels_from=options.get("labels_from", "releases"),
        subset=options.get("subset") or "",
    )


def _recipe(options: dict[str, Any], root: DataRoot) -> Recipe:
    """What to request: the options; for the rest, what the data root was built with, or the defaults."""
    from ..pipeline.spec.recipe import Recipe

    passes = {"both": ("ASCENDING", "DESCENDING"), "ascending": ("ASCENDING",), "descending": ("DESCENDING",)}
    given = {
        "s1_mean": options["s1_mean"],
        "s1_passes": passes.get(options["s1_pass"]),
        "s1_max_scenes": options["s1_max_scenes"],
    }
    held = root.recipe() or Recipe()
    if options["s1_edge"] is not None:
        held = replace(held, s1_edge_m=options["s1_edge"] or None)
    return replace(held, **{name: value for name, value in given.items() if value is not None})


# --- what would be done -----------------------------------------------------------------------------------------------


def forecast_of(options: dict[str, Any]) -> tuple[DataRoot, str, Estimate]:
    """The data root, a line about what a build would do, and what it would take. Sends no request, writes nothing."""
    from ..pipeline.build.forecast import forecast
    from ..pipeline.dataset.root import DataRoot
    from ..pipeline.earthengine.configuration import Configuration, configuration
    from ..pipeline.spec.sources import CHOICES, EARTH_ENGINE, SANDBOX
    from ..pipeline.spec.tiles import check_region
    from ..workflow.source import own_root, planet_of

    check_region(options["region"])
    # Nobody is asked, so an account that is not complete yet is good enough.
    nothing = configuration(url=options["ee_url"], project=options["project"]) == Configuration()
    source = CHOICES.get(options["source"]) or (SANDBOX if nothing else EARTH_ENGINE)
    root = own_root(options["data"]) or DataRoot.at(options["data"] / source.folder)
    words, estimate = forecast(
        root,
        _selection(options),
        recipe=_recipe(options, root),
        concurrency=options["concurrency"],
        sandbox_tiles=planet_of(root, tiles=options["tiles"])["tiles"] if source.synthetic else None,
    )
    return root, words, estimate


def _print_estimate(root: DataRoot, words: str, estimate: Estimate, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"root": str(root), "plan": words, **asdict(estimate)}, indent=1))
        return
    click.echo(f"{root}: {words}")
    click.echo(f"requests     {estimate.requests:,}")
    click.echo(f"download     {estimate.received_gb:.3g} GB of pixels")
    click.echo(figure("disk", "GB", estimate.disk_gb))
    click.echo(figure("time", "hours", estimate.hours))
    click.echo(figure("compute", "EECU-hours", estimate.eecu_hours))


# --- what was done ----------------------------------------------------------------------------------------------------


def _print_build(root: DataRoot, result: BuildResult, *, as_json: bool, left: Estimate | None = None) -> None:
    sources = {row.source for row in _ledger_rows(root)}
    if as_json:
        document = {
            "root": str(root),
            "source": sorted(sources),
            "manifest": result.manifest.hash,
            "tiles": len(result.chosen),
            "states": dict(result.states),
            "errors": sum(f.severity == "error" for f in result.findings),
            "warnings": sum(f.severity == "warning" for f in result.findings),
            "stopped": result.stopped,
            **({} if left is None else {"left": asdict(left)}),
        }
        click.echo(json.dumps(document, indent=1))
        return
    for state, number in sorted(result.states.items(), key=lambda item: -item[1]):
        click.echo(f"{number:6} {state}")
    marks = " ".join(sorted({mark(source) for source in sources if source}))
    missing = sum(number for state, number in result.states.items() if state != "done")
    click.echo(
        f"{root}: {result.states.get('done', 0)} of {count_of(len(result.chosen), 'tile')} complete {marks}".rstrip()
    )
    if result.stopped:
        click.echo(f"stopped: {result.stopped}")
    if missing:
        click.echo(
            f"{count_of(missing, 'tile')} {'is' if missing == 1 else 'are'} not in it; the reasons stand in "
            f"{root.failures_file}"
        )
    if number := len(result.findings):
        click.echo(
            f"{count_of(number, 'finding')} of the validation {'stands' if number == 1 else 'stand'} in "
            f"{root.findings_table}"
        )


def _ledger_rows(root: DataRoot) -> list[Any]:

    return list(root.ledger().values())
