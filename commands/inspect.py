"""Commands that look at a data set that is there."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..pipeline.errors import ExitCode
from .options import data_option, quiet_option, source_option
from .output import figure, mark

if TYPE_CHECKING:
    from ..pipeline.status import Status


@click.command()
@click.option(
    "--by",
    type=click.Choice(["split", "region", "biome"]),
    multiple=True,
    help="Divide by it; several times. Default: all three.",
)
@click.option("--concurrency", type=click.IntRange(1, 100), default=20, show_default=True, help="For the time left.")
@source_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print the status as one JSON document.")
def status(by: tuple[str, ...], concurrency: int, source: str, data: Path, as_json: bool) -> None:
    """How far a data set is: tiles by split, region, biome and reason; throughput, time and budget left.

    \b
    dwplus status                                     also while a build is running
    dwplus status --by split --json
    """
    from ..pipeline.build import recipe_of_root
    from ..pipeline.ledger import read_events
    from ..pipeline.manifest import read_manifest
    from ..pipeline.scenes import Recipe
    from ..pipeline.status import status as status_of
    from ..workflow.pixel_source import existing_root

    root = existing_root(data, source)
    recipe = recipe_of_root(root) or Recipe()
    events = read_events(root)
    now = status_of(read_manifest(root).rows, events, recipe_hash=recipe.hash, concurrency=concurrency)
    answered = sorted({row.source for row in events if row.source})
    divisions = by or tuple(now.groups)
    if as_json:
        document = {"root": str(root), "source": answered, **asdict(now)}
        document["groups"] = {title: document["groups"][title] for title in divisions}
        click.echo(json.dumps(document, indent=1))
        return
    click.echo(f"{root}  {' '.join(filter(None, map(mark, answered)))}".rstrip())
    _print_status(now, divisions)


def _print_status(now: Status, divisions: tuple[str, ...]) -> None:
    click.echo(f"{now.tiles} tiles: " + ", ".join(f"{number} {state}" for state, number in now.states.items()))
    for title in divisions:
        width = max([len(group.name) for group in now.groups[title]] + [len(title)])
        click.echo(f"\n{title:<{width}}  {'tiles':>7} {'done':>7} {'discarded':>9} {'failed':>7} {'open':>7}")
        for g in now.groups[title]:
            click.echo(f"{g.name:<{width}}  {g.tiles:>7} {g.done:>7} {g.discarded:>9} {g.failed:>7} {g.open:>7}")
    if now.reasons:
        from ..pipeline.ledger import REASONS

        click.echo("\nmissing because")
        for reason, number in now.reasons.items():
            click.echo(f"{number:>7} {reason}: {REASONS.get(reason, '')}")
    click.echo("")
    click.echo(f"{'shards':<12} {now.shard_bytes / 1e9:.3g} GB on disk")
    if now.known.tiles_per_hour:
        click.echo(f"{'throughput':<12} {now.known.tiles_per_hour:,.0f} tiles an hour in the last run")
    if now.used_eecu_hours is not None:
        click.echo(figure("used", "EECU-hours", now.used_eecu_hours))
    if now.left.tiles:
        click.echo(f"\nleft: {now.left.tiles:,} tiles (open and failed)")
        click.echo(figure("disk", "GB", now.left.disk_gb))
        click.echo(figure("time", "hours", now.left.hours))
        click.echo(figure("compute", "EECU-hours", now.left.eecu_hours))


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
