"""``dwplus report``: the page that sets scores beside the paper's."""

from __future__ import annotations

from pathlib import Path

import click

from .options import data_option, quiet_option, runs_option, source_option


@click.command()
@source_option
@data_option
@runs_option
@quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print the scores of all runs as one JSON document.")
def report(source: str, data: Path, runs: Path | None, quiet: bool, as_json: bool) -> None:
    """Write report/index.html: the paper number by number, scores, figures, what is missing and why.

    Beside it the tables as tables.md and tables.csv, and verdicts.json. Where nothing has changed, no file does.

    \b
    dwplus report
    """
    from ..workflow.console import console
    from ..workflow.pages.report import write_report
    from ..workflow.source import root_with_runs

    root = root_with_runs(data, source, runs)
    page = write_report(root, progress=console(quiet=quiet))
    if not as_json:
        click.echo(str(page))
        return
    # Imported here: a page that has not changed needs no networks, whose libraries take seconds.
    from ..workflow.pages.runs import summary_json

    click.echo(summary_json(root))
