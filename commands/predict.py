"""``dwplus predict``: a map of an image, from a trained run."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import UsageError
from .build import budget_options
from .options import (
    Days,
    concurrency_option,
    data_option,
    ee_url_option,
    in_order,
    project_option,
    quiet_option,
    runs_option,
    source_option,
)
from .output import mark, print_map, print_unfinished
from .pixels import radar_options, radar_said, unit_options

if TYPE_CHECKING:
    from ..pipeline.own.image import Image
    from ..pipeline.spec.bands import Sensor
    from ..pipeline.spec.radar import Radar
    from ..workflow.maps.rasters import MapMade


def area_options(function: Any) -> Any:
    """Which area is mapped, and when."""
    return in_order(
        function,
        click.option(
            "--area",
            type=click.Path(path_type=Path),
            help="Polygons of the area to map: GeoJSON, GeoPackage, Shapefile, FlatGeobuf.",
        ),
        click.option("--layer", help="Layer of --area, where the file has several."),
        click.option("--bbox", metavar="W,S,E,N", help="Box to map, in degrees: 9.0,45.0,9.4,45.3."),
        click.option(
            "--like", type=click.Path(path_type=Path), help="Map the area of this raster, on its grid (10 m, UTM)."
        ),
        click.option("--year", type=int, help="Map a year: up to 12 clear scenes, probabilities averaged."),
        click.option(
            "--composite",
            type=click.Choice(["median", "medoid"]),
            help="With --year: classify one composite of its scenes, with a run that was trained on composites. With "
            "--pixels: the files are such a composite.",
        ),
        click.option(
            "--date-window",
            type=Days(),
            metavar="DAYS",
            help="How far from --date the scene may lie.  [default: 15d]",
        ),
        click.option(
            "--max-km2", type=click.FloatRange(0, min_open=True), help="Refuse larger areas.  [default: 10000]"
        ),
        click.option("--dry-run", is_flag=True, help="Show blocks, requests, download size and time; contact nothing."),
    )


def service_of_area(function: Any) -> Any:
    """How pixels of an area are requested."""
    return in_order(function, project_option, ee_url_option, concurrency_option, budget_options)


@click.command(short_help="Map the land cover of an area or an image with a trained run.")
@click.argument("run")
@area_options
@click.option(
    "--pixels",
    "paths",
    multiple=True,
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
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The map, a .tif; default for areas: <area>-<date>.tif.",
)
@unit_options
@radar_options
@click.option("--date", "day", help="Day that is mapped (2019-07-01); default for files: by their tags or names.")
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
@click.option(
    "--calibration/--no-calibration",
    "calibrated",
    default=True,
    show_default=True,
    help="Use the calibration that dwplus score fitted, where the run has one.",
)
@click.option("--page/--no-page", default=True, show_default=True, help="Also write <map>.html, which works offline.")
@click.option(
    "--accept",
    type=click.Choice(["s1", "s2"]),
    multiple=True,
    help="s1, s2: pixels of that sensor that were made in another way than those trained on.",
)
@click.option("--shard", metavar="I/N", help="This machine's part of the map, of N machines; the last one writes it.")
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    envvar="DWPLUS_SCHEDULER",
    show_envvar=True,
    help="Classify on a Dask cluster (tcp://10.0.0.5:8786) whose workers see the map's folder.",
)
@click.option("--force", is_flag=True, help="Map real pixels with a run of SANDBOX ones, or the reverse.")
@service_of_area
@source_option
@data_option
@runs_option
@quiet_option
def predict(
    run: str, paths: tuple[Path, ...], sar_paths: tuple[Path, ...], output: Path | None, **options: Any
) -> None:
    """Map the land cover of an area or of files: a GeoTIFF with the run's classes, their colours and names.

    Pixels of an area are downloaded from Earth Engine, on the 10 m grid of its UTM zone; a map of files lies on the
    grid of the Sentinel-2 file. Pixels under cloud, or without data in a band that the network reads, stay without a
    class. The same command resumes a map that was interrupted.

    \b
    dwplus predict runs/specsar-former --area town.geojson --date 2024-07-01 -o town.tif
    dwplus predict runs/specsar-former --bbox 9.0,45.0,9.4,45.3 --year 2023
    dwplus predict runs/specsar-former --like reference.tif --date 2024-07-01 -o same_grid.tif
    dwplus predict runs/s2-only --pixels S2A_MSIL2A_20240703T101031_T32TQM.SAFE --confidence -o town.tif
    dwplus predict runs/mine --pixels s2_20240703.tif --sar s1.tif --s1-calibration sigma0 --s1-pass both -o town.tif
    """
    given = [name for name in ("area", "bbox", "like") if options[name] is not None]
    if len(given) + bool(paths) != 1:
        raise UsageError(
            "say what to map: --area FILE, --bbox W,S,E,N or --like RASTER (from Earth Engine), or --pixels FILE"
        )
    if not given and output is None:
        raise UsageError("name the map with -o")
    from ..model.calibration import Calibration
    from ..model.run_files import weights_hash
    from ..model.runs import WEIGHTS, RunFolder
    from ..model.score import load
    from ..workflow.console import console
    from ..workflow.machines import Machine
    from ..workflow.maps.mapping import MapWork, map_share, map_work
    from ..workflow.maps.settings import MapOptions, check_composite, check_fits, confidence_as_text
    from ..workflow.maps.spread import on_cluster
    from ..workflow.seeds import find_run
    from ..workflow.source import root_with_runs
    from .predict_area import predict_area

    run_dir = Path(run)
    if not RunFolder(run_dir).started:
        run_dir = find_run(root_with_runs(options["data"], options["source"], options["runs"]), run)
    machine = Machine.parse(options["shard"]) if options["shard"] else Machine()
    if options["shard"] and options["scheduler"]:
        raise UsageError("--shard and --scheduler (or DWPLUS_SCHEDULER) each divide the work: leave one of them out")
    settings = MapOptions(**{one.name: options[one.name] for one in fields(MapOptions)})
    if given and sar_paths:
        raise UsageError("--sar describes files (--pixels); leave it out")
    if given:
        predict_area(run_dir, output, settings, machine, options)
        return
    assert output is not None
    _check_no_area_options(options)
    loaded = load(run_dir)
    trained = loaded.config.data
    bands = (*trained.primary, *trained.auxiliary)
    files = (*paths, *sar_paths)
    if options["scheduler"]:
        files = tuple(path.resolve() for path in files)  # workers have other working folders
    check_composite(trained, options["composite"], accept_s2="s2" in options["accept"])
    image, radar = _image(files, bands, options, either=loaded.config.tokens)
    check_fits(loaded.config, radar, force=options["force"], accept_s1="s1" in options["accept"])
    calibration = Calibration.read(run_dir) if options["calibrated"] else None
    progress = console(quiet=options["quiet"])
    work = MapWork(loaded, weights_hash(run_dir / WEIGHTS), image, output, settings, radar, calibration)
    made: MapMade | None
    if options["scheduler"]:
        with on_cluster(options["scheduler"], run_dir, output, files) as compute:
            made = map_work(work, progress, compute)
    else:
        made = map_work(work, progress) if machine.alone else map_share(work, machine, progress)
    if made is None:
        print_unfinished(output, machine)
        return
    print_map(made, trained.classes, mark(trained.source))
    if options["confidence"] or options["probabilities"] or calibration is not None:
        click.echo(f"confidence: {confidence_as_text(calibration)}")


def _check_no_area_options(options: dict[str, Any]) -> None:
    """Refuse what says something about areas alone."""
    for name in ("year", "date_window", "max_km2", "layer", "dry_run", "max_eecu_hours", "until"):
        if options[name]:
            option = name.replace("_", "-")
            raise UsageError(f"--{option} is for areas (--area, --bbox, --like); leave it out with --pixels")


def _image(
    paths: tuple[Path, ...], bands: tuple[str, ...], options: dict[str, Any], *, either: bool
) -> tuple[Image, Radar | None]:
    """The image that the files make, and how its Sentinel-1 was made, where the network reads it.

    Args:
        either: the network was trained for missing inputs: files of one sensor are enough.
    """
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
        either,
    )
    image = image_of(find_products(paths, rules).products, bands, either=either)
    return image, radar_said(options, tuple(product.sensor for product in image.products))
