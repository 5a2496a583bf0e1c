"""``dwplus review``: labels that somebody should look at again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.spec.words import count_of
from .options import Folder, data_option, quiet_option, runs_option, source_option
from .output import Column, mark, print_table

if TYPE_CHECKING:
    from ..workflow.review.review import Review

_SHOWN = 10
"""Regions that are printed."""


@click.command(short_help="Find labels that a sure network contradicts.")
@click.argument("run")
@click.option(
    "--split", type=click.Choice(["test", "val", "train"]), default="test", show_default=True, help="Split to review."
)
@click.option(
    "-o", "--output", type=Folder(), metavar="FOLDER", help="Folder of the review; default: review-SPLIT in the run's."
)
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    default=0.8,
    show_default=True,
    help="Least probability of the network's class, in each pixel of a region.",
)
@click.option("--min-px", type=click.IntRange(1), default=25, show_default=True, help="Least pixels of a region.")
@click.option(
    "--accept",
    type=click.Choice(["s1", "s2", "source"]),
    multiple=True,
    help="s1, s2: pixels of that sensor made in another way than those trained on; source: of another source.",
)
@source_option
@data_option
@runs_option
@quiet_option
def review(
    run: str,
    split: str,
    output: Path | None,
    min_confidence: float,
    min_px: int,
    accept: tuple[str, ...],
    source: str,
    data: Path,
    runs: Path | None,
    quiet: bool,
) -> None:
    """Find labels that a sure network contradicts: a GeoPackage for QGIS, tables, and experts against non-experts.

    Regions are connected pixels of one label to which the network gives one other class; the first are those where it
    contradicts the label most. No label is changed. The run need not be scored.

    \b
    dwplus review runs/specsar-former
    dwplus review runs/specsar-former --split train --min-px 100 -o look-again
    """
    from ..workflow.console import console
    from ..workflow.review.regions import Rule
    from ..workflow.review.review import review_folder, review_labels
    from ..workflow.seeds import find_run
    from ..workflow.source import root_with_runs

    root = root_with_runs(data, source, runs)
    run_dir = find_run(root, run)
    made = review_labels(
        root,
        run_dir,
        output or review_folder(run_dir, split),
        split=split,
        rule=Rule(min_confidence, min_px),
        accept=accept,
        progress=console(quiet=quiet),
    )
    _print(made, mark(root.source()))


def _print(made: Review, tag: str) -> None:
    click.echo(
        f"{made.geopackage}  {count_of(made.regions, 'region')} in {count_of(made.tiles, 'tile')} {tag}".rstrip()
    )
    titles = ("label", "predicted", "confidence", "hectares", "tile")
    if made.first:
        columns = [
            Column("rank", number=True),
            *(Column(one, number=one in ("confidence", "hectares")) for one in titles),
        ]
        print_table(columns, [_cells(row) for row in made.first[:_SHOWN]])
    for line in made.lines:
        click.echo(line)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Numbers have as many places in each row."""
    confidence, hectares = f"{row['confidence']:.3f}", f"{row['hectares']:,.2f}"
    return (str(row["rank"]), row["label"], row["predicted"], confidence, hectares, row["tile"])
