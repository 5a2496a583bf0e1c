"""``dwplus compare``: which of several networks is better on the same tiles, and how sure that is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import data_option, runs_option, source_option
from .output import Column, check_form, mark, print_csv, print_table

if TYPE_CHECKING:
    from ..model.metrics import Metric
    from ..workflow.comparing import Compared, TableRow


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="A B...")
@click.option(
    "--split", type=click.Choice(["test", "val"]), default="test", show_default=True, help="Split of the scores."
)
@click.option(
    "--weights",
    type=click.Choice(["model", "best", "average"]),
    default="model",
    show_default=True,
    help="Weights scored.",
)
@click.option(
    "--mask", type=click.Choice(["dataset", "own"]), default="dataset", show_default=True, help="Mask of the scores."
)
@click.option("--metric", "keys", multiple=True, help="miou, oa, f1, ...: only this metric; may be repeated.")
@click.option("--all-pairs", is_flag=True, help="Compare all pairs, not each with the first.")
@source_option
@data_option
@runs_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the table as CSV.")
def compare(
    names: tuple[str, ...],
    split: str,
    weights: str,
    mask: str,
    keys: tuple[str, ...],
    all_pairs: bool,
    source: str,
    data: Path,
    runs: Path | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Compare scored runs on the same tiles: differences with 95 % intervals and p values (Holm).

    A name is that of a run, or the common name of the runs of several seeds (NAME for NAME-s0, NAME-s1, ...). With
    three or more seeds a side the difference is one of methods, with fewer of these weights alone. product:NAME is a
    public map; then all sides are compared on the pixels that all maps share (score --product, score --shared).

    \b
    dwplus compare specsar segformer
    dwplus compare specsar segformer cmx --all-pairs
    dwplus compare specsar segformer --metric miou --csv
    dwplus compare specsar product:worldcover
    """
    from ..workflow.comparing import as_document, read_sides
    from ..workflow.comparing import compare as compare_sides
    from ..workflow.source import root_with_runs

    check_form(as_json=as_json, as_csv=as_csv)
    root = root_with_runs(data, source, runs)
    metrics = _metrics(keys)
    sides = read_sides(root, names, split=split, weights=weights, mask=mask)
    _check_metrics(keys, sides)
    rows = compare_sides(sides, metrics, all_pairs=all_pairs)
    document = as_document(sides, rows)
    if as_json:
        click.echo(json.dumps(document, indent=1))
    elif as_csv:
        lines = [{**row, "source": document["source"]} for row in document["comparisons"]]
        print_csv(list(lines[0]), lines)
    else:
        _print(sides, rows)


def _metrics(keys: Sequence[str]) -> Sequence[Metric]:
    from ..model.metrics import METRICS, overall
    from ..pipeline.errors import UsageError

    known = {metric.key: metric for metric in METRICS if not metric.per_class}
    for key in keys:
        if key not in known:
            raise UsageError(f"--metric {key}: choose one of {', '.join(known)}")
    return tuple(known[key] for key in keys) or overall()


def _check_metrics(keys: Sequence[str], sides: Sequence[Compared]) -> None:
    """Refuse what maps have no score of: they give no probabilities."""
    from ..pipeline.errors import UsageError

    unknown = {"ece", "brier"} & {*keys}
    if unknown and any(side.budget is None for side in sides):
        raise UsageError(f"--metric {unknown.pop()}: a map gives no probabilities; choose another metric")


def _print(sides: Sequence[Compared], rows: Sequence[TableRow]) -> None:
    from ..model.metrics import METRICS
    from ..workflow.comparing import sentences

    titles = {metric.key: metric.title for metric in METRICS if not metric.per_class}
    tag = mark(sides[0].runs[0].source)
    columns = [
        Column("difference"),
        Column("metric"),
        Column("points", number=True),
        Column("95 % interval"),
        Column("p", number=True),
        Column("p (Holm)", number=True),
        Column("of"),
    ]
    cells = [_cells(row, titles[row.difference.metric]) for row in rows]
    print_table(columns, cells)
    click.echo("")
    budget = [Column("side"), *(Column(title, number=True) for title in ("seeds", "epochs", "steps", "rates tried"))]
    print_table(
        budget,
        [
            (side.name, *(f"{n:,}" for n in (len(side.runs), b.epochs, b.steps, b.rates)))
            if (b := side.budget) is not None
            else (side.name, *("-" * 4))
            for side in sides
        ],
    )
    for line in sentences(sides, rows):
        click.echo(line)
    if tag:
        click.echo(tag)


def _cells(row: TableRow, title: str) -> tuple[str, ...]:
    found = row.difference
    interval = "-" if found.bounds is None else f"[{100 * found.bounds[0]:+.2f}, {100 * found.bounds[1]:+.2f}]"
    of = "methods" if row.of_methods else "these weights"
    points = "-" if math.isnan(found.points) else f"{100 * found.points:+.2f}"
    return (f"{row.first} - {row.second}", title, points, interval, _p(found.p), _p(row.holm), of)


def _p(value: float) -> str:
    return "-" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
