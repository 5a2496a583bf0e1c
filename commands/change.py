"""``dwplus change``: what differs between two maps, and the map from which areas of change are sampled."""

from __future__ import annotations

import csv
import io
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import UsageError
from ..pipeline.spec.words import count_of
from .output import Column, check_form, print_table

if TYPE_CHECKING:
    from ..workflow.maps.change import Transitions
    from ..workflow.maps.record import MapRecord

_FILE = click.Path(dir_okay=False, path_type=Path)

_BIASED = "counts of pixels, biased: errors of both maps look like change; no estimate of area"


@click.command(short_help="Compare two maps of one run: transitions, and a change map to sample.")
@click.argument("first", type=_FILE)
@click.argument("second", type=_FILE)
@click.option("-o", "--output", type=_FILE, required=True, help="Change map to write, such as change.tif.")
@click.option(
    "--same-year",
    nargs=2,
    type=_FILE,
    metavar="MAP MAP",
    help="Two maps of one year, of different scenes: what seems to change between them is false; printed beside.",
)
@click.option(
    "--transition",
    "named",
    multiple=True,
    metavar="FROM:TO",
    help="A class of its own in the change map (trees:built); all other change is one class.",
)
@click.option("--merge-stable", is_flag=True, help="One class for all that did not change, in place of one per class.")
@click.option(
    "--accept",
    multiple=True,
    type=click.Choice(["run", "recipe", "season"]),
    help="Compare maps that differ in it, or do not say it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a row per transition as CSV.")
def change(
    first: Path,
    second: Path,
    output: Path,
    same_year: tuple[Path, Path] | None,
    named: tuple[str, ...],
    merge_stable: bool,
    accept: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
) -> None:
    """Compare the maps FIRST and SECOND, the earlier one first.

    \b
    dwplus change town_2019.tif town_2024.tif -o change.tif
    dwplus change town_2019.tif town_2024.tif -o change.tif --transition trees:built
    dwplus change town_2019.tif town_2024.tif -o change.tif --same-year town_2024.tif town_2024_august.tif

    Both have to be of one run, made in the same way, on one grid, and at most 30 days of the year apart. Counts of
    pixels are no areas of change: draw a sample from the change map ('dwplus area sample').
    """
    from ..pipeline.progress import Silent
    from ..workflow.maps.beside import describe
    from ..workflow.maps.change import change_classes, check_free, transitions, write_change
    from ..workflow.maps.pairs import check_pair, check_same_year
    from ..workflow.maps.record import read_map

    check_form(as_json=as_json, as_csv=as_csv)
    check_free(output)
    one, other = read_map(first), read_map(second)
    accepted = check_pair(one, other, accept)
    beside = None
    if same_year is not None:
        pair = _in_time(*(read_map(path) for path in same_year))
        check_same_year(*pair)
        check_pair(*_in_time(one, pair[0]), (*accept, "season"))
        accepted += check_pair(*pair, accept)
        beside = transitions(*pair)
    found = transitions(one, other)
    classes = change_classes(one, found, [_pair_of(text) for text in named], merge_stable=merge_stable)
    write_change(output, one, other, classes)
    describe(output, page=False, progress=Silent())
    if as_json:
        click.echo(json.dumps(_document(output, one, other, found, beside, accepted), indent=1))
    elif as_csv:
        click.echo(_table(found, beside), nl=False)
    else:
        _print(output, one, other, found, beside, accepted, classes.rare)


def _in_time(one: MapRecord, other: MapRecord) -> tuple[MapRecord, MapRecord]:
    return (other, one) if one.days and other.days and other.days < one.days else (one, other)


def _pair_of(text: str) -> tuple[str, str]:
    before, sign, after = text.partition(":")
    if not sign:
        raise UsageError(f"--transition {text}: write FROM:TO, such as trees:built")
    return before.strip(), after.strip()


def _document(
    output: Path,
    one: MapRecord,
    other: MapRecord,
    found: Transitions,
    beside: Transitions | None,
    accepted: tuple[str, ...],
) -> dict[str, Any]:
    false = None if beside is None else beside.changed_share
    return {
        "change_map": str(output),
        "first": {"map": str(one.path), "days": [str(day) for day in one.days or ()]},
        "second": {"map": str(other.path), "days": [str(day) for day in other.days or ()]},
        "source": one.mark or other.mark,
        "note": _BIASED,
        "accepted": list(accepted),
        "pixels": found.pixels,
        "unmapped_pixels": found.unmapped_pixels,
        "unmapped_hectares": found.unmapped_hectares,
        "changed_share_of_pixels": found.changed_share,
        "changed_share_of_pixels_in_one_year": false,
        "transitions": [
            {
                "from": row.before,
                "to": row.after,
                "pixels": row.pixels,
                "hectares_of_pixels": row.hectares,
                "share_of_pixels": found.share_of(row.before, row.after),
                "share_of_pixels_in_one_year": None if beside is None else beside.share_of(row.before, row.after),
            }
            for row in found.rows
        ],
    }


def _table(found: Transitions, beside: Transitions | None) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["from", "to", "pixels", "hectares_of_pixels_biased", "share", "share_in_one_year"])
    for row in found.rows:
        false = "" if beside is None else f"{beside.share_of(row.before, row.after):.6f}"
        share = f"{found.share_of(row.before, row.after):.6f}"
        writer.writerow([row.before, row.after, row.pixels, f"{row.hectares:.4f}", share, false])
    return text.getvalue()


def _print(
    output: Path,
    one: MapRecord,
    other: MapRecord,
    found: Transitions,
    beside: Transitions | None,
    accepted: tuple[str, ...],
    rare: tuple[str, ...],
) -> None:
    mark = one.mark or other.mark
    click.echo(f"{one.path} to {other.path}{f' [{mark}]' if mark else ''}: {_BIASED}")
    for what in accepted:
        click.echo(f"warning: accepted: {what}")
    titles = ["pixels", "hectares", "share", *(["in one year\n(false)"] if beside else [])]
    rows = [
        [
            row.before,
            row.after,
            f"{row.pixels:,}",
            f"{row.hectares:,.1f}",
            f"{found.share_of(row.before, row.after):.2%}",
            *([f"{beside.share_of(row.before, row.after):.2%}"] if beside else []),
        ]
        for row in sorted(found.rows, key=lambda row: -row.pixels)
        if row.changed
    ]
    if rows:
        print_table([Column("from"), Column("to"), *(Column(title, number=True) for title in titles)], rows)
    size = f"{count_of(found.pixels, 'pixel')} with a class in both maps"
    click.echo(f"{size}, {found.unmapped_pixels:,} without; {_share(found.changed_share)} show another class")
    if beside is not None:
        click.echo(f"two maps of one year differ in {_share(beside.changed_share)} of pixels: change that is false")
    else:
        click.echo("how much of it is false is not known: compare two maps of one year with --same-year")
    click.echo(f"{output}: the change map")
    if len(rare) and found.changed_share < 1:
        words = " ".join(f"--rare {shlex.quote(name)}" for name in rare)
        click.echo(f"next: dwplus area sample {shlex.quote(str(output))} -o points.gpkg --buffer 3 {words}")


def _share(value: float) -> str:
    return "-" if value != value else f"{value:.2%}"
