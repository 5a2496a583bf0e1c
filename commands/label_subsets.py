"""``dwplus labels subsets``: which tiles the paper probably kept."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from ..pipeline.spec.words import count_of
from .options import data_option, source_option


@click.command(short_help="Count hypotheses on which tiles the paper kept.")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="So many, the nearest first.")
@source_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print all of them as one JSON document.")
def subsets(top: int, source: str, data: Path, as_json: bool) -> None:
    """Count hypotheses on which tiles the paper kept: 16,893 + 299 of all that are published.

    \b
    dwplus labels subsets
    dwplus labels subsets --top 30 --json

    Rules (labels of 2019, experts, the label's own UTM zone, ...) and their combinations are counted from workbook and
    manifest, before any pixel is requested. The nearest is what 'dwplus build --subset paper' builds: a guess.
    """
    from ..pipeline.labels.subsets import NEAR, Target, candidates_of, hypotheses
    from ..workflow.source import existing_root

    root = existing_root(data, source)
    candidates = candidates_of(root)
    target = Target.of(candidates)
    found = hypotheses(candidates, target)
    if as_json:
        document = {"root": str(root), "target": asdict(target), "hypotheses": [asdict(one) for one in found]}
        click.echo(json.dumps(document, indent=1))
        return
    share = " (the paper's 16,893 + 299 in proportion to the tiles that are here)" if target.scaled else ""
    click.echo(f"to come near: {target.train:,} + {target.test:,}{share}")
    for one in found[:top]:
        unknown = f" ({one.unknown:,} not known)" if one.unknown else ""
        click.echo(f"{one.train:7,} + {one.test:4,}  {one.distance:7.1%}  {one.title}{unknown}")
    near = sum(one.distance <= NEAR for one in found)
    click.echo(
        f"{count_of(len(found), 'combination')} counted, {near} within {NEAR:.0%}: the first is a guess, not a finding"
    )
