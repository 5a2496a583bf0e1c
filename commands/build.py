"""The command that builds the data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import ExitCode, UsageError
from .options import data_option, quiet_option, recipe_options, service_options, source_option
from .output import mark

if TYPE_CHECKING:
    from ..pipeline.build import BuildResult, Choice
    from ..pipeline.scenes import Recipe


@click.command()
@click.option("--region", default="all", show_default=True, help="Region or folder (EH, WH) to build.")
@click.option("--biome", type=click.IntRange(1, 14), multiple=True, help="Biome number; may be given several times.")
@click.option("--split", type=click.Choice(["train", "test"]), multiple=True, help="Release to build; default: both.")
@click.option("--limit", type=click.IntRange(1), help="At most so many tiles, in turn from every region and biome.")
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Folder of label tiles as released, in place of the archives."
)
@recipe_options
@service_options
@source_option
@data_option
@quiet_option
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
    root, result = build_from(options, quiet)
    _print_build(root, result, as_json=as_json)
    if result.failed or result.broken:
        raise SystemExit(ExitCode.FAILED_TILES)


def build_from(options: dict[str, Any], quiet: bool) -> tuple[Path, BuildResult]:
    """The data root and what became of its tiles, from the options of the command."""
    from ..pipeline.build import build as build_data_set
    from ..pipeline.cluster import local_cluster
    from ..pipeline.files import check_writable
    from ..pipeline.sources import choose_source, configuration
    from ..pipeline.tiles import check_region
    from ..workflow.console import console
    from ..workflow.pixel_source import SANDBOX_BANNER, open_source

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
    from ..pipeline.build import Choice

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
    from ..pipeline.scenes import Recipe

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
    marks = " ".join(sorted({mark(source) for source in sources if source}))
    missing = sum(number for state, number in result.states.items() if state != "done")
    click.echo(f"{root}: {result.states.get('done', 0)} of {len(result.chosen)} tiles complete {marks}".rstrip())
    if missing:
        click.echo(f"{missing} tiles are not in it; the reasons stand in {root / 'failures.csv'}")
    if result.findings:
        click.echo(f"{len(result.findings)} findings of the validation stand in {root / 'findings.csv'}")


def _ledger_rows(root: Path) -> list[Any]:
    from ..pipeline.ledger import read_ledger

    return list(read_ledger(root).values())
