"""``dwplus predict``: a map of an image, from a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import UsageError
from ..pipeline.spec.words import count_of
from .options import data_option, quiet_option, runs_option, source_option
from .output import mark
from .pixels import radar_options, radar_said, unit_options

if TYPE_CHECKING:
    from ..pipeline.own.image import Image
    from ..pipeline.spec.bands import Sensor
    from ..pipeline.spec.radar import Radar


@click.command(short_help="Map the land cover of an image with a trained run.")
@click.argument("run")
@click.option(
    "--pixels",
    "paths",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Sentinel-2 L2A file, SAFE folder or stack of both sensors; may be given several times.",
)
@click.option(
    "--sar",
    "sar_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Sentinel-1 file with VV and VH, where --pixels does not hold them.",
)
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The map, a .tif.")
@unit_options
@radar_options
@click.option("--date", "day", help="Day of the image (2019-07-01); default: by tag or name of the files.")
@click.option("--window", type=int, default=512, show_default=True, help="Pixels of a window, a multiple of 32.")
@click.option("--overlap", type=int, default=64, show_default=True, help="Pixels that neighbouring windows share.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Windows at a time.")
@click.option("--tta", is_flag=True, help="Average over the eight symmetries of each window: eight times the work.")
@click.option(
    "--confidence",
    is_flag=True,
    help="Also write <map>.confidence.tif (per cent) and <map>.outside.tif (bands beyond the training range).",
)
@click.option("--probabilities", is_flag=True, help="Also write <map>.probabilities.tif: a band for each class.")
@click.option("--page/--no-page", default=True, show_default=True, help="Also write <map>.html, which works offline.")
@click.option("--accept", type=click.Choice(["s1"]), multiple=True, help="s1: Sentinel-1 that was made in another way.")
@click.option("--force", is_flag=True, help="Map with a run that was trained on SANDBOX pixels.")
@source_option
@data_option
@runs_option
@quiet_option
def predict(run: str, paths: tuple[Path, ...], sar_paths: tuple[Path, ...], output: Path, **options: Any) -> None:
    """Map the land cover of an image: a GeoTIFF with the run's classes, their colours and names.

    The map lies on the grid of the Sentinel-2 file. Pixels without data in a band that the network reads stay without a
    class. The same command resumes a map that was interrupted.

    \b
    dwplus predict runs/s2-only --pixels S2A_MSIL2A_20240703T101031_T32TQM.SAFE --confidence -o town.tif
    dwplus predict runs/mine --pixels s2_20240703.tif --sar s1.tif --s1-calibration sigma0 --s1-pass both -o town.tif
    """
    from ..model.run_files import weights_hash
    from ..model.runs import WEIGHTS, RunFolder
    from ..model.score import load
    from ..workflow.console import console
    from ..workflow.mapping import MapOptions, check_fits, map_image
    from ..workflow.source import root_with_runs
    from ..workflow.training import find_run

    run_dir = Path(run)
    if not RunFolder(run_dir).started:
        run_dir = find_run(root_with_runs(options["data"], options["source"], options["runs"]), run)
    loaded = load(run_dir)
    trained = loaded.config.data
    bands = (*trained.primary, *trained.auxiliary)
    image, radar = _image((*paths, *sar_paths), bands, options)
    check_fits(loaded.config, radar, force=options["force"], accept_s1="s1" in options["accept"])
    made = map_image(
        loaded,
        weights_hash(run_dir / WEIGHTS),
        image,
        output,
        MapOptions(
            **{
                name: options[name]
                for name in ("window", "overlap", "batch", "tta", "confidence", "probabilities", "page")
            },
        ),
        radar=radar,
        progress=console(quiet=options["quiet"]),
    )
    total = max(1, sum(made.pixels))
    size = f"{count_of(sum(made.pixels) + made.without, 'pixel')}, {made.without} without data"
    click.echo(f"{made.path}  {size} {mark(trained.source)}".rstrip())
    for one, pixels in zip(trained.classes.classes, made.pixels, strict=True):
        if pixels:
            click.echo(f"  {one.name:<20} {pixels / total:7.2%}  of pixels; not an estimate of area")
    page = made.path.with_suffix(".html")
    if options["page"] and page.exists():
        click.echo(f"{page}: the map as a page; works offline in any browser")
    if made.outside is not None:
        click.echo(f"{made.beyond / total:.2%} of pixels are outside the training range in some band: {made.outside}")
    elif options["confidence"]:
        click.echo("which pixels are outside the training range is not known: the run is of an earlier version")


def _image(paths: tuple[Path, ...], bands: tuple[str, ...], options: dict[str, Any]) -> tuple[Image, Radar | None]:
    """The image that the files make, and how its Sentinel-1 was made, where the network reads it."""
    from ..pipeline.own.image import image_of
    from ..pipeline.own.pixels import day_of
    from ..pipeline.own.pixels_bands import SENSOR_BANDS, read_band_table
    from ..pipeline.own.pixels_dates import Dates
    from ..pipeline.own.pixels_products import Rules, find_products
    from ..pipeline.own.pixels_units import Said
    from ..pipeline.spec.bands import BANDS

    read = {BANDS[band].sensor for band in bands}
    sensors: tuple[Sensor, ...] = tuple(sensor for sensor in SENSOR_BANDS if sensor in read)
    if "S2" not in sensors:
        raise UsageError("this run reads Sentinel-1 alone; maps are made on the grid of Sentinel-2")
    day, table = options["day"], options["band_table"]
    rules = Rules(
        sensors,
        Dates(said=None if day is None else day_of(day, "--date")),
        Said(options["scale"], options["offset"], options["nodata"], options["s1_unit"]),
        None if table is None else read_band_table(table),
    )
    return image_of(find_products(paths, rules).products, bands), radar_said(options, sensors)
