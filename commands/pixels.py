"""``dwplus pixels``: add Sentinel-2 and Sentinel-1 files of a user to labels that are there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import ExitCode, UsageError
from .options import data_option, in_order, quiet_option
from .output import by_kind

if TYPE_CHECKING:
    from ..pipeline.own.pixels import Added, Addition
    from ..pipeline.spec.bands import Sensor
    from ..pipeline.spec.radar import Radar, RadarMean
    from ..pipeline.spec.recipe import OrbitPass

_SENSORS: dict[str, tuple[Sensor, ...]] = {"s2": ("S2",), "s1": ("S1",), "both": ("S2", "S1")}
_PASSES: dict[str, tuple[OrbitPass, ...]] = {
    "ascending": ("ASCENDING",),
    "descending": ("DESCENDING",),
    "both": ("ASCENDING", "DESCENDING"),
}


@click.group()
def pixels() -> None:
    """Add pixels of your own to labels, in place of Earth Engine's, and take them out again.

    \b
    dwplus pixels add stacks/ --as s2 --data mine
    dwplus pixels remove stacks/s2_20190703.tif --data mine
    """


def unit_options(function: Any) -> Any:
    return in_order(
        function,
        click.option(
            "--bands",
            "band_table",
            type=click.Path(dir_okay=False, path_type=Path),
            help="TOML table that says which band of a file is which; default: the names that the files give them.",
        ),
        click.option("--scale", type=float, help="Reflectance of 1 in the files: 0.0001 for DN, 1 for reflectance."),
        click.option(
            "--offset", type=float, help="What was added to each value of Sentinel-2 (1000 since baseline 04.00)."
        ),
        click.option("--nodata", type=float, help="Value of pixels without data; default: as the files declare."),
        click.option(
            "--s1-unit",
            type=click.Choice(["dB", "linear"]),
            default="dB",
            show_default=True,
            help="Unit of Sentinel-1: dB, or linear power.",
        ),
    )


def radar_options(function: Any) -> Any:
    return in_order(
        function,
        click.option("--s1-calibration", type=click.Choice(["sigma0", "gamma0"]), help="sigma0 (GRD) or gamma0 (RTC)."),
        click.option(
            "--s1-pass", type=click.Choice(["ascending", "descending", "both"]), help="Orbit directions of the files."
        ),
        click.option(
            "--s1-mean",
            type=click.Choice(["dB", "linear"]),
            help="The files are means, taken in dB or of power; left out: of one date.",
        ),
        click.option("--s1-scenes", type=click.IntRange(2), help="How many dates enter such a mean."),
    )


def _date_options(function: Any) -> Any:
    return in_order(
        function,
        click.option("--date", "day", help="Day of all files (2019-07-01); default: by tag or name of each."),
        click.option(
            "--table",
            type=click.Path(dir_okay=False, path_type=Path),
            help="CSV with the columns file, date and, if wanted, s1_date and offset.",
        ),
        click.option(
            "--days",
            type=click.IntRange(0),
            default=30,
            show_default=True,
            help="Most days between a file and the date (or period) of a label.",
        ),
    )


@pixels.command(short_help="Add Sentinel-2 or Sentinel-1 files to the labels of a data root.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--as", "kind", type=click.Choice(list(_SENSORS)), required=True, help="Whose bands the files hold.")
@unit_options
@radar_options
@click.option(
    "--composite",
    type=click.Choice(["median", "medoid"]),
    help="The files of Sentinel-2 are medians or medoids of several scenes; left out: single scenes.",
)
@_date_options
@click.option(
    "--resampling",
    type=click.Choice(["bilinear", "nearest", "cubic", "average"]),
    default="bilinear",
    show_default=True,
    help="How pixels come to the grid of a label.",
)
@click.option(
    "--source", metavar="user:WORD", help="What these pixels are called; default: as the data root has it, or user:own."
)
@click.option("--licence", default="", help="Licence of the pixels; it stands in shards and card.")
@click.option("--cite", default="", help="What to cite for them.")
@click.option(
    "--accept",
    type=click.Choice(["s1", "offset"]),
    multiple=True,
    help="s1: mix with Sentinel-1 that was made in another way; offset: pass over rules about the offset.",
)
@data_option
@quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
def add(paths: tuple[Path, ...], quiet: bool, as_json: bool, **options: Any) -> None:
    """Add pixels to the labels of a data root: stacks, files of one band each, SAFE folders of Sentinel-2 L2A.

    \b
    dwplus pixels add stacks/ --as s2 --data mine
    dwplus pixels add S2A_MSIL2A_20220614T101031_N0400_R022_T33UUP_20220614T162812.SAFE --as s2 --data mine
    dwplus pixels add s1/*.tif --as s1 --s1-calibration gamma0 --s1-pass ascending --data mine

    Files go to the tiles that they overlap, the nearest date first. Run it again after an interruption; then run
    'dwplus build', which validates and computes statistics and requests nothing. Tiles whose files break a rule of
    validation end with exit code 3.
    """
    from ..pipeline.dataset.root import DataRoot
    from ..pipeline.own.pixels import add_pixels, described
    from ..workflow.console import console

    root = DataRoot.at(options["data"])
    progress = console(quiet=quiet)
    added = add_pixels(root, paths, _addition(options), progress=progress)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "root": str(root),
                    "files": added.files,
                    "states": dict(added.states),
                    "dropped": dict(added.dropped),
                    "accepted": list(added.accepted),
                    "absent": list(added.absent),
                },
                indent=1,
            )
        )
    else:
        _print(root, added, described(added))
    if added.bad:
        raise SystemExit(ExitCode.FAILED_TILES)


@pixels.command(short_help="Take pixels out again that were added.")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
def remove(inputs: tuple[str, ...], data: Path, as_json: bool) -> None:
    """Take added pixels out of a data root again, by the files or folders that they were added from, or by the keys of
    additions in own/pixels.json. Tiles that had pixels of them have none of that sensor afterwards; run it again after
    an interruption.

    \b
    dwplus pixels remove stacks/s2_20190703.tif --data mine
    """
    from ..pipeline.dataset.root import DataRoot
    from ..pipeline.own.pixels_removal import remove_pixels
    from ..pipeline.spec.words import count_of

    root = DataRoot.at(data)
    removed = remove_pixels(root, inputs)
    if as_json:
        result = {"root": str(root), "files": removed.files, "tiles": removed.tiles, "states": dict(removed.states)}
        click.echo(json.dumps(result, indent=1))
        return
    for name in removed.files[:_SHOWN]:
        click.echo(f"removed: {name}")
    if len(removed.files) > _SHOWN:
        click.echo(f"removed: {len(removed.files) - _SHOWN:,} more")
    _print_states(removed.states)
    click.echo(f"{root}: {count_of(removed.tiles, 'tile')} lost pixels")
    if removed.left is None:
        click.echo(f"{root} holds no added pixels any more; next: dwplus pixels add FILES --as s2 --data {root.typed}")
    else:
        click.echo(f"next: dwplus build --data {root.typed}")


_SHOWN = 10


def _print(root: Any, added: Added, words: str) -> None:
    lines = by_kind(added.dropped)
    for line in lines[:_SHOWN]:
        click.echo(f"not used: {line}")
    if len(added.dropped) > len(lines):
        click.echo(f"each of the {len(added.dropped):,} files that are not used stands in {root.added_file}")
    for one in added.accepted:
        click.echo(f"accepted: {one}")
    for band in added.absent:
        click.echo(f"absent: {band} (not in all files); networks that read it are not trained on this data set")
    _print_states(added.states)
    click.echo(f"{root}: {words}")
    if sum(added.states.values()) > added.states.get("done", 0):
        click.echo(f"the reasons stand in {root.failures_file}")
    click.echo(f"next: dwplus build --data {root.typed}")


def _print_states(states: Mapping[str, int]) -> None:
    for state, number in sorted(states.items(), key=lambda item: -item[1]):
        click.echo(f"{number:6} {state}")


def _addition(options: dict[str, Any]) -> Addition:
    from ..pipeline.own.pixels import Addition, day_of
    from ..pipeline.own.pixels_bands import read_band_table
    from ..pipeline.own.pixels_dates import Dates, read_date_table
    from ..pipeline.own.pixels_units import Said
    from ..pipeline.spec.sources import Source

    sensors = _SENSORS[options["kind"]]
    table, day, bands = options["table"], options["day"], options["band_table"]
    if table is not None and day is not None:
        raise UsageError("--date says the day of all files, --table that of each; leave one of them out")
    said = ("kind", "scale", "offset", "nodata", "s1_unit", "days", "resampling", "composite", "day", "accept")
    radar = ("s1_calibration", "s1_pass", "s1_mean", "s1_scenes")
    known = {name: options[name] for name in (*said, *radar) if options[name] not in (None, ())}
    return Addition(
        sensors=sensors,
        source=None if options["source"] is None else Source.added_as(options["source"]),
        radar=radar_said(options, sensors),
        composite=options["composite"],
        dates=Dates(
            said=None if day is None else day_of(day, "--date"),
            table=None if table is None else read_date_table(table),
            table_name="" if table is None else table.name,
        ),
        said=Said(options["scale"], options["offset"], options["nodata"], options["s1_unit"]),
        table=None if bands is None else read_band_table(bands),
        days=options["days"],
        resampling=options["resampling"],
        accept_s1="s1" in options["accept"],
        accept_offset="offset" in options["accept"],
        options={
            **{name: ",".join(v) if isinstance(v, tuple) else str(v) for name, v in known.items()},
            **_hashes(table=table, bands=bands),
        },
        licence=options["licence"],
        citation=options["cite"],
    )


def _hashes(**files: Path | None) -> dict[str, str]:
    """Option -> hash of the file that it names."""
    from ..pipeline.files.atomic import sha256_of

    return {name: f"sha256 {sha256_of(path.read_bytes())[:12]}" for name, path in files.items() if path is not None}


def radar_said(options: dict[str, Any], sensors: tuple[Sensor, ...]) -> Radar | None:
    """How Sentinel-1 was made, as said.

    Raises:
        UsageError: something is missing, or means nothing without Sentinel-1.
    """
    from ..pipeline.spec.radar import Radar

    names = ("s1_calibration", "s1_pass", "s1_mean", "s1_scenes")
    given = [name for name in names if options[name] is not None]
    if "S1" not in sensors:
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} is about Sentinel-1; say --as s1 or --as both")
        return None
    for name in ("s1_calibration", "s1_pass"):
        if options[name] is None:
            raise UsageError(
                "Sentinel-1 has to say how it was made: --s1-calibration sigma0|gamma0 and --s1-pass "
                "ascending|descending|both, and --s1-mean with --s1-scenes where the files are means"
            )
    if (options["s1_mean"] is None) != (options["s1_scenes"] is None):
        raise UsageError(
            "a mean of Sentinel-1 has both --s1-mean and --s1-scenes; leave both out where files are of one date"
        )
    mean: RadarMean = options["s1_mean"] or "none"
    return Radar(options["s1_calibration"], mean, options["s1_scenes"] or 1, _PASSES[options["s1_pass"]])
