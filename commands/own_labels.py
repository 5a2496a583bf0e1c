"""Commands about labels of users: add them to a data set of their own, take them out, report what there is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..pipeline.errors import ExitCode, UsageError
from ..pipeline.spec.words import count_of
from .options import Folder, in_order, quiet_option
from .output import Column, by_kind, print_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..pipeline.dataset.inputs import LabelInput
    from ..pipeline.own.add import Added
    from ..pipeline.own.blocks import Splits
    from ..pipeline.own.describe import LabelReport
    from ..pipeline.spec.classes import ClassTable

F = TypeVar("F", bound="Callable[..., Any]")


def own_data_option(function: F) -> F:
    return click.option(
        "--data",
        type=Folder(),
        required=True,
        envvar="DWPLUS_DATA",
        show_envvar=True,
        help="Folder of this data set; made where it is new.",
    )(function)


_json_option = click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")


def _reading_options(function: F) -> F:
    return in_order(
        function,
        click.option(
            "--classes", metavar="TOML", help="Class table, or dynamic-world; default: the data set's. Needed once."
        ),
        click.option("--column", default="", help="Column of polygons or points that holds the classes."),
        click.option("--date", default="", help="Day (2022-06-15), month, year, or first/last day of all labels."),
        click.option("--year", type=click.IntRange(2015, 2100), help="Year in which all labels are true."),
        click.option("--date-column", default="", help="Column with a day, month, year or period per feature."),
        click.option(
            "--date-from",
            type=click.Choice(["name"]),
            help="The day stands in the name of each file, or of its folder (20220615).",
        ),
        click.option(
            "--table",
            type=click.Path(dir_okay=False, path_type=Path),
            help="CSV that maps files or folders to date, split, annotator.",
        ),
        click.option("--split", type=click.Choice(["train", "val", "test"]), help="Split of all labels of this call."),
        click.option("--split-column", default="", help="Column with train, val or test."),
        click.option(
            "--split-from", type=click.Choice(["folder"]), help="Each file lies in a folder train, val or test."
        ),
        click.option(
            "--block-km",
            type=click.FloatRange(1.25, 1000),
            help="Side of the blocks that splits are drawn by; default: 10, smaller where there are fewer than 3.",
        ),
        click.option("--annotator", default="", help="Who drew the labels."),
        click.option("--licence", default="", help="Licence of the labels, such as 'CC BY 4.0'."),
        click.option("--cite", default="", help="What users of the labels have to cite."),
        click.option("--layer", default="", help="Layer of a file with several."),
        click.option("--band", type=click.IntRange(1), help="Band of a raster with several, from 1."),
        click.option(
            "--touch",
            type=click.Choice(["centre", "all"]),
            default="centre",
            show_default=True,
            help="Pixels that a polygon marks: those whose centre lies in it, or all that it touches.",
        ),
        click.option(
            "--resample",
            type=click.Choice(["nearest", "majority"]),
            default="nearest",
            show_default=True,
            help="How a raster on another grid is brought to 10 m.",
        ),
        click.option("--tile-px", type=click.IntRange(16, 4096), help="Side of a tile; default: 510, for points 128."),
        click.option(
            "--min-marked",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Marked pixels that a tile has at least.",
        ),
    )


@click.command(short_help="Add your own labels: polygons, points, rasters.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@_reading_options
@own_data_option
@quiet_option
@_json_option
def add(
    paths: tuple[Path, ...],
    classes: str | None,
    date_from: str | None,
    table: Path | None,
    split_from: str | None,
    split: str | None,
    cite: str,
    block_km: float | None,
    data: Path,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Add labels of your own to a data set: files or folders of polygons and points (GeoPackage, GeoJSON, Shapefile,
    GeoParquet) and of rasters with class codes, in any CRS. They are cut to tiles on the 10 m grid of UTM and split by
    geographic blocks. The same file again changes nothing. docs/own-labels.md says more.

    \b
    dwplus labels add fields.gpkg --column landuse --classes my_classes.toml --year 2022 --data mine
    dwplus labels add annotated --date-from name --data mine
    dwplus labels add chips --table chips.csv --licence 'CC BY 4.0' --cite 'Smith et al. 2023' --data mine
    """
    from ..pipeline.dataset.root import DataRoot
    from ..pipeline.files.atomic import check_writable
    from ..pipeline.own.add import add_labels
    from ..pipeline.own.chip_table import read_chip_table
    from ..pipeline.own.inputs_of import Asked
    from ..workflow.console import console

    root = DataRoot.at(data)
    asked = Asked(
        classes=_classes(root, classes),
        date_from_name=date_from == "name",
        split_from_folder=split_from == "folder",
        split=split or "",
        table=None if table is None else read_chip_table(table),
        citation=cite,
        **options,
    )
    check_writable(root.folder)
    new = not root.folder.exists()
    try:
        with root.open_ledger():
            added = add_labels(root, paths, asked, block_km=block_km, progress=console(quiet=quiet))
    finally:
        if new and not root.manifest_file.exists():
            _remove_empty(root)
    if as_json:
        click.echo(json.dumps(_document(root, added), indent=1))
    else:
        _print_added(added)
        click.echo(f"next: dwplus labels report --data {root.typed}, then dwplus build --data {root.typed}")
    if added.refused:
        raise SystemExit(ExitCode.FAILED_TILES)


@click.command(short_help="Take labels out again that were added.")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@own_data_option
@_json_option
def remove(inputs: tuple[str, ...], data: Path, as_json: bool) -> None:
    """Take own labels out of a data set again, by the files or folders that they were added from, or by the keys that
    'dwplus labels report' shows. Splits are assigned anew; pixels stay.

    \b
    dwplus labels remove fields.gpkg --data mine
    """
    from ..pipeline.dataset.root import DataRoot
    from ..pipeline.own.add import remove_labels

    root = DataRoot.at(data)
    root.manifest()
    with root.open_ledger():
        removed = remove_labels(root, inputs)
    if as_json:
        click.echo(json.dumps(_document(root, removed), indent=1))
        return
    for one in removed.inputs:
        click.echo(f"{one.file}: {count_of(len(one.tiles), 'tile')} removed")
    if removed.splits is not None:
        _print_splits(removed.splits, removed.manifest.classes, len(removed.manifest.rows))
    elif removed.manifest.rows:
        left = count_of(len(removed.manifest.rows), "tile")
        click.echo(f"{left} left, in too few places for splits: nothing is trained on them; add labels of other places")
    else:
        click.echo(f"{root} holds no labels any more")


@click.command(short_help="Report what your labels amount to.")
@own_data_option
@_json_option
def report(data: Path, as_json: bool) -> None:
    """Marked pixels, polygons, blocks and dates of each class of your own labels, and which have too few; also as a
    page (report/labels.html in the data set).

    \b
    dwplus labels report --data mine
    dwplus labels report --data mine --json
    """
    from ..pipeline.dataset.root import DataRoot
    from ..pipeline.own.describe import report_labels
    from ..workflow.pages.label_report import write_label_report

    root = DataRoot.at(data)
    found = report_labels(root)
    page = write_label_report(root, found)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1))
        return
    _print_report(found)
    click.echo(str(page))


def _classes(root: Any, given: str | None) -> ClassTable:
    """The class table that is named, or the data set's own."""
    from ..pipeline.dataset.class_file import read_class_table
    from ..pipeline.own.add import classes_of_root

    if given is not None:
        return read_class_table(given)
    held = classes_of_root(root)
    if held is None:
        raise UsageError(
            f"{root} has no class table yet; name one with --classes (docs/own-labels.md shows one, dynamic-world is "
            "the nine classes of Dynamic World)"
        )
    return held


def _remove_empty(root: Any) -> None:
    """A data set that nothing could be added to does not exist afterwards."""
    root.ledger_file.unlink(missing_ok=True)
    for folder in (root.folder / "own", root.folder / "labels", root.folder):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


# Words ----------------------------------------------------------------------------------------------------------------


def _document(root: Any, added: Added) -> dict[str, Any]:
    splits = added.splits
    return {
        "root": str(root),
        "manifest": added.manifest.hash,
        "tiles": len(added.manifest.rows),
        "inputs": [{**asdict(one), "tiles": len(one.tiles)} for one in added.inputs],
        "known": list(added.known),
        "refused": dict(added.refused),
        "splits": None
        if splits is None
        else {
            "block_km": splits.block_km,
            "blocks": dict(splits.blocks),
            "tiles": _tiles_of_splits(splits),
            "left_out_beside": sorted(splits.beside),
            "kept_beside": sorted(splits.kept_beside),
            "missing": {added.manifest.classes.names[index]: list(of) for index, of in splits.missing.items()},
        },
    }


_SHOWN = 20
"""Files of a call that are printed one by one."""


def _print_added(added: Added) -> None:
    for one in added.inputs[:_SHOWN]:
        click.echo(_line_of_input(one, added.manifest.classes))
        for line in one.notes:
            click.echo(f"  {line}")
    if len(added.inputs) > _SHOWN:
        click.echo(f"and {count_of(len(added.inputs) - _SHOWN, 'file')} more; 'dwplus labels report' lists all")
    if added.known:
        click.echo(
            f"{count_of(len(added.known), 'file')} had been added before, with the same options: {added.known[0]}"
        )
    for line in by_kind(added.refused):
        click.echo(f"refused: {line}")
    if added.splits is not None:
        _print_splits(added.splits, added.manifest.classes, len(added.manifest.rows))


def _line_of_input(one: LabelInput, classes: ClassTable) -> str:
    marked = sum(sum(numbers[1 : classes.ignored_code]) for numbers in one.tiles.values())
    what = f"{count_of(sum(one.features.values()), one.kind.removesuffix('s'))}, " if one.features else ""
    area = f" ({marked / 1e4:,.2f} km2; polygons: {one.area_m2 / 1e6:,.2f} km2)" if one.area_m2 else ""
    return f"{one.file}: {what}{count_of(len(one.tiles), 'tile')}, {count_of(marked, 'marked pixel')}{area}"


def _tiles_of_splits(splits: Splits) -> dict[str, int]:
    used = [split for tile, split in splits.of_tile.items() if tile not in splits.beside]
    return {name: used.count(name) for name in ("train", "val", "test")}


def _print_splits(splits: Splits, classes: ClassTable, tiles: int) -> None:
    counted = ", ".join(f"{name} {number:,}" for name, number in _tiles_of_splits(splits).items())
    click.echo(f"{count_of(tiles, 'tile')} in all: {counted}")
    if splits.block_km:
        blocks = ", ".join(f"{name} {number:,}" for name, number in splits.blocks.items())
        click.echo(f"splits are drawn by blocks of {splits.block_km:g} km: {blocks}")
    if splits.beside:
        click.echo(
            f"{count_of(len(splits.beside), 'training tile')} beside a val or test tile left out; a larger --block-km "
            "loses fewer"
        )
    if splits.kept_beside:
        click.echo(
            f"{count_of(len(splits.kept_beside), 'training tile')} beside a val or test tile stay: scores will be "
            "better than on new places"
        )
    for index, missing in splits.missing.items():
        click.echo(f"class {classes.names[index]}: not in {', '.join(missing)}")


def _print_report(found: LabelReport) -> None:
    from ..pipeline.own.describe import FEW_BLOCKS, NOT_A_MAP

    columns = (
        Column("class"),
        Column("marked px", number=True),
        Column("km2", number=True),
        Column("features", number=True),
        Column("tiles", number=True),
        Column("blocks", number=True),
        Column("dates", number=True),
        Column("train px", number=True),
        Column("val px", number=True),
        Column("test px", number=True),
        Column("note"),
    )
    rows = [
        [
            one.name,
            f"{one.pixels:,}",
            f"{one.km2:,.2f}",
            f"{one.features:,}",
            f"{one.tiles:,}",
            f"{one.blocks:,}",
            f"{one.dates:,}",
            *(f"{one.of_split[split]:,}" for split in ("train", "val", "test")),
            "too few" if one.too_few else "",
        ]
        for one in found.classes
    ]
    print_table(columns, rows)
    click.echo()
    click.echo(
        f"{found.root}: {count_of(len(found.inputs), 'input')}, class table {found.table!r} ({found.table_hash}), "
        f"blocks of {found.block_km:g} km"
    )
    click.echo(
        f"tiles: {', '.join(f'{name} {number:,}' for name, number in found.tiles.items())}, "
        f"{found.left_out_tiles:,} left out beside a val or test tile"
    )
    for one in found.inputs:
        terms = f", {one.licence}" if one.licence else ", licence not named"
        click.echo(f"  {one.key}  {one.file}: {count_of(len(one.tiles), 'tile')}{terms}")
    for line in by_kind(found.refused):
        click.echo(f"  refused: {line}")
    if found.too_few:
        click.echo(f"too few (in fewer than {FEW_BLOCKS} blocks): {', '.join(found.too_few)}")
    click.echo(NOT_A_MAP)
