"""``dwplus predict`` of an area: what the options mean, and what is printed."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import UsageError
from .build import meter_of
from .output import figure, mark, print_map, print_unfinished

if TYPE_CHECKING:
    from ..model.run_config import DataCard
    from ..pipeline.areas.outline import Outline
    from ..workflow.machines import Machine
    from ..workflow.maps.area_request import Wish
    from ..workflow.maps.settings import MapOptions

_FILES_ALONE = ("band_table", "scale", "offset", "nodata", "s1_calibration", "s1_pass", "s1_mean")
"""Options of ``predict`` that describe files."""


def predict_area(
    run_dir: Path, output: Path | None, settings: MapOptions, machine: Machine, options: dict[str, Any]
) -> None:
    """Map an area from Earth Engine; what was made is printed."""
    from ..model.calibration import Calibration
    from ..model.run_files import weights_hash
    from ..model.runs import WEIGHTS, RunFolder
    from ..model.score import load
    from ..pipeline.areas.outline import MAX_KM2, check_size
    from ..pipeline.dataset.root import DataRoot
    from ..pipeline.earthengine.configuration import choose_source, configuration
    from ..pipeline.spec.sources import Source
    from ..workflow.console import console
    from ..workflow.maps.area_map import map_area
    from ..workflow.maps.area_request import check_source, inputs_of
    from ..workflow.maps.settings import check_composite, check_name, confidence_as_text
    from ..workflow.maps.spread import on_cluster
    from ..workflow.source import open_pixels, planet_of, sandbox_banner

    today = datetime.now(UTC).date()
    wish = wish_of(options, today)
    path = output or Path(f"{wish.outline.name}-{wish.when}.tif")
    check_name(path)
    if options["dry_run"]:
        _print_forecast(run_dir, wish, RunFolder(run_dir).read_usable_config().data, options)
        return
    _check_folder(path)
    check_size(wish.outline, options["max_km2"] or MAX_KM2)
    progress = console(quiet=options["quiet"])
    root = DataRoot.at(run_dir.resolve().parent.parent)
    loaded = load(run_dir)
    trained = loaded.config.data
    calibration = Calibration.read(run_dir) if options["calibrated"] else None
    check_composite(trained, settings.composite, accept_s2="s2" in options["accept"])
    inputs = inputs_of(trained, built=root.recipe(), accept_s1="s1" in options["accept"])
    found = configuration(url=options["ee_url"], project=options["project"])
    source = choose_source(options["source"], found)
    planet = planet_of(root)
    with ExitStack() as stack:
        compute = None
        if options["scheduler"]:
            compute = stack.enter_context(on_cluster(options["scheduler"], run_dir, path))
        opened = open_pixels(source, found, planet=planet, concurrency=options["concurrency"])
        pixels = stack.enter_context(opened)
        called = Source.of(pixels.name)
        check_source(trained, called, planet=planet["version"], force=options["force"])
        if source.synthetic:
            progress.say(sandbox_banner(user_labels=True))
        made = map_area(
            loaded,
            weights_hash(run_dir / WEIGHTS),
            wish,
            path,
            settings,
            inputs=inputs,
            source=pixels.name,
            connect=lambda: pixels.session,
            concurrency=options["concurrency"],
            today=today,
            calibration=calibration,
            meter=meter_of(options),
            machine=machine,
            compute=compute,
            progress=progress,
        )
    if not made.maps:
        print_unfinished(path, machine)
        return
    marked = " ".join(sorted({mark(trained.source), called.tag} - {""}))
    for one in made.maps:
        print_map(one, trained.classes, marked)
    if options["confidence"] or options["probabilities"] or calibration is not None:
        click.echo(f"confidence: {confidence_as_text(calibration)}")
    if made.index is not None:
        click.echo(f"{made.index}  all zones as one layer {marked}".rstrip())


def _print_forecast(run_dir: Path, wish: Wish, trained: DataCard, options: dict[str, Any]) -> None:
    """What a map would take; nobody is asked and nothing is written."""
    from ..pipeline.areas.forecast import forecast
    from ..pipeline.areas.grids import zone_grids
    from ..pipeline.areas.scenes import SCENES_OF_YEAR
    from ..pipeline.build.budget import measured
    from ..pipeline.dataset.root import DataRoot
    from ..workflow.maps.area_request import inputs_of
    from ..workflow.maps.settings import check_composite

    root = DataRoot.at(run_dir.resolve().parent.parent)
    check_composite(trained, options["composite"], accept_s2="s2" in options["accept"])
    inputs = inputs_of(trained, built=root.recipe(), accept_s1="s1" in options["accept"])
    grids = zone_grids(wish.outline)
    recipe = inputs.recipe
    estimate = forecast(
        grids,
        pictures=(SCENES_OF_YEAR if wish.year is not None else 1) if inputs.s2 else 0,
        s1=recipe is not None,
        known=measured([] if recipe is None else root.events(), "" if recipe is None else recipe.hash),
        concurrency=options["concurrency"],
    )
    zones = ", ".join(one.grid.crs for one in grids)
    pictures = f"up to {SCENES_OF_YEAR} pictures" if wish.year is not None else "1 picture"
    said = f"{wish.outline.km2:,.1f} km2 at {wish.outline.place} in {zones}, {pictures} of Sentinel-2"
    click.echo(f"{wish.outline.text}: {said}; nothing is requested")
    click.echo(f"blocks       {estimate.tiles:,} of 512 x 512 px")
    click.echo(f"requests     {estimate.requests:,}")
    click.echo(f"download     {estimate.received_gb:.3g} GB of pixels")
    click.echo(figure("disk", "GB", estimate.disk_gb))
    click.echo(figure("time", "hours", estimate.hours))
    click.echo(figure("compute", "EECU-hours", estimate.eecu_hours))


def wish_of(options: dict[str, Any], today: date) -> Wish:
    """The area and the time that the options name.

    Raises:
        UsageError: they name none, or too many.
        DataError: the area cannot be read.
    """
    from ..pipeline.areas.scenes import DEFAULT_WINDOW_DAYS
    from ..workflow.maps.area_request import Wish, check_time

    day, year, window = options["day"], options["year"], options["date_window"]
    if (day is None) == (year is None):
        raise UsageError("say when: --date 2024-07-01 for one scene, or --year 2023 for the scenes of a year")
    if year is not None and window is not None:
        raise UsageError("--date-window is about --date; leave it out with --year")
    if options["composite"] and year is None:
        raise UsageError("--composite is made of the scenes of a year: say --year 2023")
    if given := [name for name in _FILES_ALONE if options.get(name)]:
        raise UsageError(
            f"--{given[0].removesuffix('_paths').replace('_', '-')} describes files (--pixels); leave it out"
        )
    if options["layer"] and options["area"] is None:
        raise UsageError("--layer is about --area; leave it out")
    when = (_day(day), year, DEFAULT_WINDOW_DAYS if window is None else window)
    check_time(*when, today=today)
    return Wish(_outline(options), *when)


def _outline(options: dict[str, Any]) -> Outline:
    from ..pipeline.areas.outline import outline_of_box, outline_of_file, outline_of_raster

    if options["bbox"] is not None:
        return outline_of_box(options["bbox"])
    if options["like"] is not None:
        return outline_of_raster(options["like"])
    return outline_of_file(options["area"], options["layer"] or "")


def _day(text: str | None) -> date | None:
    from ..pipeline.own.pixels import day_of

    return None if text is None else day_of(text, "--date")


def _check_folder(path: Path) -> None:
    """Refuse a map in a folder that does not exist, before anything is downloaded."""
    if not path.parent.is_dir():
        raise UsageError(f"-o {path}: there is no folder {path.parent}; make it, or name another file")
