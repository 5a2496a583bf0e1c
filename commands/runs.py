"""``dwplus runs``: the runs of a data root side by side."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import data_option, runs_option, source_option
from .output import Column, mark, print_table

if TYPE_CHECKING:
    from ..workflow.run_table import RunRow


@click.command()
@source_option
@data_option
@runs_option
@click.option("--json", "as_json", is_flag=True, help="Print a list of JSON objects.")
def runs(source: str, data: Path, runs: Path | None, as_json: bool) -> None:
    """Compare runs: how far each is, scores, time of training, and the settings in which they differ, among them
    devices, precision and versions of packages.

    Scores are those of the test tiles where the run was scored, else of its last validation (val).

    \b
    dwplus runs
    dwplus runs --json
    """
    from ..model.metrics import overall
    from ..workflow.run_table import run_rows
    from ..workflow.source import root_with_runs

    root = root_with_runs(data, source, runs)
    rows = run_rows(root)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
        return
    if not rows:
        click.echo(f"no run in {root.runs}; train one with '{root.command('dwplus train')}'")
        return
    columns = [
        Column("run"),
        Column("epochs", number=True),
        Column("state"),
        *(Column(f"{metric.title} %", number=True) for metric in overall()),
        Column("of"),
        Column("time", number=True),
        Column("settings that differ", wraps=True),
    ]
    print_table(columns, [_cells(row, [metric.key for metric in overall()]) for row in rows])
    for row in rows:
        if row.fault:
            click.echo(f"{row.run}: {row.fault}")
    if tag := mark(root.source()):
        click.echo(tag)


def _cells(row: RunRow, keys: list[str]) -> tuple[str, ...]:
    from ..model.estimate import duration_as_text

    if row.fault:
        return (row.run, "", "fault", *("" for _ in keys), "", "", "")
    values = [row.scores.get(key) for key in keys]
    return (
        row.run,
        str(row.epochs),
        "complete" if row.complete else "not complete",
        *(_score(value, row.intervals.get(key)) for key, value in zip(keys, values, strict=True)),
        row.scored,
        duration_as_text(row.seconds) if row.epochs else "",
        " ".join(f"{name}={_short(value)}" for name, value in row.settings.items()),
    )


def _score(value: float | None, interval: list[float] | None) -> str:
    """``41.20 [38.1, 44.0]``, with the 95 % interval where there is one."""
    if value is None:
        return "-"
    return f"{100 * value:.2f}" + ("" if interval is None else f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]")


def _short(value: object) -> str:
    """A value without spaces to break a line at, so that it breaks between settings alone."""
    text = f"{value:g}" if isinstance(value, float) else json.dumps(value, separators=(",", ":")).strip('"')
    return text.replace(" ", "\N{NO-BREAK SPACE}")
