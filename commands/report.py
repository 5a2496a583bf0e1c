"""``dwplus report``: the page that sets scores beside the paper's."""

from __future__ import annotations

from pathlib import Path

import click

from .options import data_option, quiet_option, source_option


@click.command()
@source_option
@data_option
@quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print the scores of all runs as one JSON document.")
def report(source: str, data: Path, quiet: bool, as_json: bool) -> None:
    """Write report/index.html: scores beside the paper's, tiles drawn, classes, what is missing and why.

    \b
    dwplus report
    """
    from ..workflow.console import console
    from ..workflow.pages.report import write_report
    from ..workflow.pages.runs import summary_json
    from ..workflow.source import existing_root

    root = existing_root(data, source)
    page = write_report(root, progress=console(quiet=quiet))
    click.echo(summary_json(root) if as_json else str(page))
