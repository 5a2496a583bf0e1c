"""``dwplus area``: draw a sample of a map to be interpreted, and estimate areas and accuracies from the answers."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import UsageError
from ..pipeline.spec.words import count_of
from .options import Folder, in_order
from .output import Column, check_form, mark, print_table

if TYPE_CHECKING:
    from ..pipeline.spec.classes import ClassTable
    from ..workflow.area.design import Design
    from ..workflow.area.estimate import AreaReport, ClassRow, Part
    from ..workflow.area.estimators import Bounds, Estimate

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def area() -> None:
    """Areas and accuracies of a map, with standard errors, from points that somebody interpreted.

    \b
    Counting pixels gives biased areas: a map's errors do not cancel out. Instead:
      dwplus area sample town.tif -o points.gpkg      draw points; nothing in the file says what the map shows
      (fill the column 'answer' in QGIS, or use points.csv in Collect Earth Online)
      dwplus area estimate town.tif points.gpkg       areas and accuracies with 95 % intervals
    """


def _size_options(function: Any) -> Any:
    return in_order(
        function,
        click.option(
            "--expect",
            multiple=True,
            metavar="CLASS=U|U|FILE",
            help="User's accuracy expected of a class (water=0.9), of all others (0.8, the default), or a TOML file.",
        ),
        click.option(
            "--run",
            type=click.Path(file_okay=False, path_type=Path),
            help="Training run that made the map: its user's accuracies on test tiles are expected.",
        ),
        click.option(
            "--standard-error",
            type=click.FloatRange(0, 0.5, min_open=True),
            default=0.01,
            show_default=True,
            help="Standard error of the overall accuracy that the sample should give.",
        ),
        click.option("--total", type=click.IntRange(4), help="Number of points, in place of a standard error."),
        click.option(
            "--minimum", type=click.IntRange(2), default=50, show_default=True, help="Points of each stratum, at least."
        ),
    )


def _map_options(function: Any) -> Any:
    return in_order(
        function,
        click.option("--classes", metavar="TOML", help="Class table of the map, or dynamic-world; default: its tags."),
        click.option("--nodata", type=int, help="Code of pixels that are not mapped; default: as the file declares."),
    )


@area.command(short_help="Draw a stratified sample of a map, for QGIS and Collect Earth Online.")
@click.argument("map_", metavar="MAP", type=_FILE)
@click.option("-o", "--output", type=_FILE, required=True, help="GeoPackage of points to write, such as points.gpkg.")
@_size_options
@click.option(
    "--buffer",
    "buffer_px",
    type=click.IntRange(0, 100),
    default=0,
    metavar="PX",
    help="Make pixels within so many of a rare class a stratum of their own.",
)
@click.option(
    "--rare", multiple=True, metavar="CLASS", help="A rare class; default: those below 2 % of the mapped area."
)
@click.option("--area", "area_", type=_FILE, help="Polygons of the area of interest; default: the whole raster.")
@click.option(
    "--data",
    type=Folder(),
    help="Data root of the network (data/earthengine): points inside its training tiles are flagged.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed draws other points.")
@_map_options
def sample(
    map_: Path,
    output: Path,
    expect: tuple[str, ...],
    run: Path | None,
    standard_error: float,
    total: int | None,
    minimum: int,
    buffer_px: int,
    rare: tuple[str, ...],
    area_: Path | None,
    data: Path | None,
    seed: int,
    classes: str | None,
    nodata: int | None,
) -> None:
    """Draw points from the map MAP (a GeoTIFF of class codes), at random within strata.

    \b
    dwplus area sample town.tif -o points.gpkg --expect water=0.9 --expect 0.75 --standard-error 0.015
    dwplus area sample town.tif -o points.gpkg --total 600 --buffer 3 --area town.geojson

    A stratum is a class of the map. Each gets --minimum points, the rest is in proportion to area. --buffer adds a
    stratum around rare classes, where a map mostly misses them. Three files are written: the GeoPackage, points.csv for
    Collect Earth Online, and points.design.json, which 'dwplus area estimate' needs. The first two hide what the map
    shows, and their order says nothing; the third does not, so keep it from the interpreter.
    """
    from ..pipeline.dataset.root import DataRoot
    from ..workflow.area.class_map import open_map
    from ..workflow.area.districts import read_districts
    from ..workflow.area.sample import (
        SampleOrder,
        check_new,
        draw_sample,
        expected_of_run,
        parse_expectations,
        write_sample,
    )

    check_new(output)
    if rare and not buffer_px:
        raise UsageError("--rare names classes for a buffer; add --buffer PX, such as --buffer 3")
    expected, otherwise = parse_expectations(expect)
    measured = {} if run is None else expected_of_run(run)
    of = open_map(map_, _table(classes), nodata)
    design = draw_sample(
        of,
        SampleOrder(
            expected=expected,
            measured=measured,
            otherwise=otherwise,
            standard_error=standard_error,
            total=total,
            minimum=minimum,
            buffer_px=buffer_px,
            rare=rare,
            seed=seed,
        ),
        area=None if area_ is None else read_districts(area_, of.grid),
        trained_on=None if data is None else DataRoot.at(data),
    )
    write_sample(output, design)
    _print_design(design, map_, output)


def _table(given: str | None) -> ClassTable | None:
    from ..pipeline.dataset.class_file import read_class_table

    return None if given is None else read_class_table(given)


def _print_design(design: Design, map_: Path, output: Path) -> None:
    from ..workflow.area.design import design_file
    from ..workflow.area.point_files import csv_file

    columns = [Column("stratum"), *(Column(title, number=True) for title in ("hectares", "expected", "points"))]
    rows = [
        [one.name, f"{one.hectares:,.1f}", f"{expected:.2f}", f"{one.points:,}"]
        for one, expected in zip(design.strata, design.expected, strict=True)
    ]
    print_table(columns, [*rows, ["unmapped", f"{design.unmapped_hectares:,.1f}", "", ""]])
    click.echo(f"{count_of(len(design.points), 'point')} of {design.map}{_marked(design.source)}, seed {design.seed}")
    if design.training_checked:
        click.echo(f"{count_of(sum(one.in_training for one in design.points), 'point')} inside training tiles: flagged")
    click.echo(f"{output}: for QGIS; write a class, or 'cannot tell', into the column 'answer'")
    click.echo(f"{csv_file(output)}: for Collect Earth Online")
    click.echo(f"{design_file(output)}: the design; it shows the map's classes, keep it from the interpreter")
    click.echo(f"next: dwplus area estimate {shlex.quote(str(map_))} {shlex.quote(str(output))}")


def _marked(source: str) -> str:
    return f" ({source})" if source and mark(source) else ""


@area.command(short_help="Estimate areas and accuracies from interpreted points.")
@click.argument("map_", metavar="MAP", type=_FILE)
@click.argument("points", type=_FILE)
@click.option("--by", type=_FILE, help="Polygons of districts, each reported too.")
@click.option("--by-column", default="", help="Column with the names of the districts; default: name.")
@click.option("--answer", default="answer", show_default=True, help="Column of POINTS that holds the answers.")
@click.option(
    "--design", "design_", type=_FILE, help="Design of the sample; default: POINTS with the ending .design.json."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a row per class as CSV.")
def estimate(
    map_: Path,
    points: Path,
    by: Path | None,
    by_column: str,
    answer: str,
    design_: Path | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Estimate areas and accuracies of the map MAP from the answers in POINTS.

    \b
    dwplus area estimate town.tif points.gpkg
    dwplus area estimate town.tif points.gpkg --by districts.gpkg --csv

    POINTS is the GeoPackage of 'dwplus area sample', or a CSV of Collect Earth Online with its columns PLOTID and the
    answers. An answer is a class (its name or its code) or 'cannot tell'; an empty one is a non-response.
    """
    from ..workflow.area.class_map import open_map
    from ..workflow.area.design import design_file, read_design
    from ..workflow.area.districts import read_districts
    from ..workflow.area.document import to_csv, to_dict
    from ..workflow.area.estimate import report
    from ..workflow.area.point_files import read_answers

    check_form(as_json=as_json, as_csv=as_csv)
    if by_column and by is None:
        raise UsageError("--by-column names a column of --by; add --by districts.gpkg")
    of = open_map(map_)
    answers = read_answers(points, answer)
    design = read_design(design_ or design_file(points))
    districts = None if by is None else read_districts(by, of.grid, by_column)
    found = report(of, design, answers, points, by=districts)
    if as_json:
        click.echo(json.dumps(to_dict(found), indent=1))
    elif as_csv:
        click.echo(to_csv(found), nl=False)
    else:
        _print_report(found)


# --- printing ---------------------------------------------------------------------------------------------------------


def _print_report(found: AreaReport) -> None:
    click.echo(f"{found.map}{_marked(found.source)}: {_answers(found)}")
    _print_part(found.whole)
    for part in found.districts:
        click.echo(f"\n{part.name}: {count_of(part.points, 'point')}")
        _print_part(part)
    if found.in_training:
        click.echo(f"{count_of(found.in_training, 'point')} inside training tiles: accuracies are too good there")


def _answers(found: AreaReport) -> str:
    words = [f"{count_of(found.drawn, 'point')}, {found.decided:,} decided"]
    if found.undecided:
        words.append(f"{found.undecided:,} cannot tell")
    if found.unanswered:
        by = ", ".join(f"{name} {count:,}" for name, count in found.unanswered_by.items())
        words.append(f"{found.unanswered:,} without an answer (non-response: {by}), taken to be like the others")
    return ", ".join(words)


def _print_part(part: Part) -> None:
    doubtful = part.overall_bounds is not None
    titles = ["hectares", "+-95 %", "interval", *(["with 'cannot tell'"] if doubtful else []), "pixel count\n(biased)"]
    titles += ["user's\naccuracy", "producer's\naccuracy", "omission\npoints"]
    rows = [_cells(row, doubtful) for row in part.classes]
    blank = [""] * (len(titles) - 1)
    rows.append(["unmapped", f"{part.unmapped_hectares:,.1f}", *blank])
    rows.append(["all", f"{part.mapped_hectares + part.unmapped_hectares:,.1f}", *blank])
    print_table([Column("class"), *(Column(title, number=True) for title in titles)], rows)
    overall = f"overall accuracy {_percent(part.overall)}"
    click.echo(
        overall if part.overall_bounds is None else f"{overall}; with 'cannot tell' {_between(part.overall_bounds)}"
    )
    for line in part.cautions:
        click.echo(f"warning: {line}")


def _cells(row: ClassRow, doubtful: bool) -> list[str]:
    area_ = row.area
    bounds = [] if row.area_bounds is None else [f"{row.area_bounds.low:,.1f}..{row.area_bounds.high:,.1f}"]
    return [
        row.name,
        _shown(area_.value),
        "-" if area_.agreeing else _shown(1.959964 * area_.standard_error),
        f"{_shown(area_.low)}..{_shown(area_.high)}",
        *(bounds if doubtful else []),
        f"{row.pixel_hectares:,.1f}",
        _percent(row.users),
        _percent(row.producers),
        f"{row.omission_points:,}",
    ]


def _shown(hectares: float) -> str:
    return "-" if hectares != hectares else f"{hectares:,.1f}"


def _percent(one: Estimate) -> str:
    if one.value != one.value:
        return "-"
    if one.agreeing:
        return f"{100 * one.value:.0f} ({100 * one.low:.1f}..{100 * one.high:.1f}) %"
    margin = "?" if one.standard_error != one.standard_error else f"{196 * one.standard_error:.1f}"
    return f"{100 * one.value:.1f} +- {margin} %"


def _between(bounds: Bounds) -> str:
    return f"{100 * bounds.low:.1f}..{100 * bounds.high:.1f} %"
