"""The command that goes the whole way."""

from __future__ import annotations

from typing import Any

import click

from ..pipeline.errors import ExitCode
from .build import build_from
from .options import data_option, quiet_option, recipe_options, service_options, source_option


@click.command()
@click.option("--profile", help="Training settings: paper, sandbox, or a TOML file. Default: by the source.")
@recipe_options
@service_options
@source_option
@data_option
@quiet_option
def reproduce(profile: str | None, quiet: bool, **options: Any) -> None:
    """Build the data set, train with and without Sentinel-1, score, report.

    \b
    dwplus reproduce --source sandbox                 no account needed; some minutes on two cores
    dwplus reproduce --source earthengine --project MY-PROJECT

    Prints the path of the report; on stderr what became of the tiles, and the scores.
    """
    from ..workflow.console import console
    from ..workflow.reproduce import scores_as_text, tiles_as_text, train_and_report

    everything = {"region": "all", "biome": (), "split": (), "limit": None, "labels": None}
    root, result = build_from({**everything, **options}, quiet)
    done = train_and_report(root, result, profile=profile, progress=console(quiet=quiet))
    # The path alone goes to stdout, for scripts.
    for line in (*tiles_as_text(root), *scores_as_text(done.scores)):
        click.echo(line, err=True)
    click.echo(str(done.page))
    if result.failed:
        raise SystemExit(ExitCode.FAILED_TILES)
