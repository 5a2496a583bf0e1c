"""``dwplus status``: build progress."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..pipeline.spec.words import count_of
from .options import data_option, source_option
from .output import figure, mark

if TYPE_CHECKING:
    from ..pipeline.build.status import Status


@click.command()
@click.option(
    "--by",
    type=click.Choice(["split", "region", "biome"]),
    multiple=True,
    help="Divide by it; several times. Default: all three, biome where one is known.",
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
    from ..pipeline.build.status import status as status_of
    from ..pipeline.spec.recipe import Recipe
    from ..workflow.source import existing_root

    root = existing_root(data, source)
    recipe = root.recipe() or Recipe()
    events = root.events()
    rows = root.manifest().rows
    # Labels of users name none.
    biomes_known = any(row.tile.biome for row in rows)
    now = status_of(rows, events, recipe_hash=recipe.hash, concurrency=concurrency)
    answered = sorted({row.source for row in events if row.source})
    divisions = by or tuple(title for title in now.groups if as_json or title != "biome" or biomes_known)
    if as_json:
        document = {"root": str(root), "source": answered, **asdict(now), "ledger_faults": root.ledger_faults()}
        document |= {} if recipe.s1_edge_m is None else {"s1_edge_m": recipe.s1_edge_m}
        document["groups"] = {title: document["groups"][title] for title in divisions}
        click.echo(json.dumps(document, indent=1))
        return
    click.echo(f"{root}  {' '.join(filter(None, map(mark, answered)))}".rstrip())
    if recipe.edge_in_words:
        click.echo(f"recipe: {recipe.edge_in_words}")
    for fault in root.ledger_faults():
        click.echo(fault)
    _print_status(now, divisions)


def _print_status(now: Status, divisions: tuple[str, ...]) -> None:
    click.echo(
        f"{count_of(now.tiles, 'tile')}: " + ", ".join(f"{number} {state}" for state, number in now.states.items())
    )
    for title in divisions:
        width = max([len(group.name) for group in now.groups[title]] + [len(title)])
        click.echo(f"\n{title:<{width}}  {'tiles':>7} {'done':>7} {'discarded':>9} {'failed':>7} {'open':>7}")
        for g in now.groups[title]:
            click.echo(f"{g.name:<{width}}  {g.tiles:>7} {g.done:>7} {g.discarded:>9} {g.failed:>7} {g.open:>7}")
    if now.reasons:
        from ..pipeline.dataset.ledger import REASONS

        click.echo("\nmissing because")
        for reason, number in now.reasons.items():
            click.echo(f"{number:>7} {reason}: {REASONS.get(reason, '')}")
    click.echo("")
    click.echo(f"{'shards':<12} {now.shard_bytes / 1e9:.3g} GB on disk")
    if now.known.tiles_per_hour:
        click.echo(f"{'throughput':<12} {count_of(round(now.known.tiles_per_hour), 'tile')} an hour in the last run")
    if now.used_eecu_hours is not None:
        click.echo(figure("used", "EECU-hours", now.used_eecu_hours))
    if now.left.tiles:
        click.echo(f"\nleft: {count_of(now.left.tiles, 'tile')} (open and failed)")
        click.echo(figure("disk", "GB", now.left.disk_gb))
        click.echo(figure("time", "hours", now.left.hours))
        click.echo(figure("compute", "EECU-hours", now.left.eecu_hours))
