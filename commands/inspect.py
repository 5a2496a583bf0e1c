"""Commands that look at a data set that is there."""

from __future__ import annotations

from pathlib import Path

import click

from ..pipeline.errors import ExitCode
from .options import data_option, quiet_option, source_option


@click.command()
@source_option
@data_option
@quiet_option
@click.option("--workers", type=click.IntRange(1), help="Processes; default: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON document.")
def validate(source: str, data: Path, quiet: bool, workers: int | None, as_json: bool) -> None:
    """Read every shard to its last byte and list what is wrong; exit 3 if a tile has an error.

    \b
    dwplus validate
    """
    from ..pipeline.build import validate_root
    from ..pipeline.cluster import local_cluster
    from ..pipeline.validate import bad_tiles
    from ..workflow.console import console
    from ..workflow.pixel_source import existing_root

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
