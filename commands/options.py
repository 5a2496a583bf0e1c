"""Options that several commands share, as decorators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..pipeline.files.remote import shown_url

F = TypeVar("F", bound=Callable[..., Any])


def in_order(function: F, *options: Callable[[F], F]) -> F:
    """A command with these options, which its help lists in this order (click lists the last one applied first)."""
    for option in reversed(options):
        function = option(function)
    return function


_SOURCES = ["auto", "sandbox", "earthengine"]


class Folder(click.Path):
    """A local folder; a URL is refused, it would become a folder called ``s3:``."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if "://" in str(value):
            shown = shown_url(str(value))
            self.fail(
                f"{shown} is no local folder; make one of it first: dwplus validate --data {shown} --out DIR, then "
                "--data DIR",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


class FolderOrUrl(click.Path):
    """A local folder as a ``Path``, or a URL as it was written."""

    name = "folder or URL"

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if "://" in str(value) else super().convert(value, param, ctx)


class Days(click.IntRange):
    """A number of days, ``30d`` or ``30``."""

    name = "days"

    def __init__(self) -> None:
        super().__init__(0, 366)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text: Any = str(value).strip().removesuffix("d")
        return super().convert(text, param, ctx)


def edge_m(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Whole metres of a width that is written with its unit; 0 for ``off``, None where it is left out."""
    from ..pipeline.spec.recipe import parse_edge

    if value is None or value == "off":
        return None if value is None else 0
    try:
        return parse_edge(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write 2km or 2000m, or off") from None


def data_option(function: F) -> F:
    return click.option(
        "--data",
        type=Folder(),
        default=Path("data"),
        envvar="DWPLUS_DATA",
        show_default=True,
        show_envvar=True,
        help="Folder of all data sets; each source has its own below it.",
    )(function)


def runs_option(function: F) -> F:
    return click.option(
        "--runs",
        type=Folder(),
        envvar="DWPLUS_RUNS",
        show_envvar=True,
        help="Folder of training runs; default: runs/ in the data root, which may be shared and read-only.",
    )(function)


def readable_data_options(function: F) -> F:
    """For stages that read shards and write none."""
    for option in (
        click.option("--out", type=Folder(), help="Folder for results over a URL; default: its last part, here."),
        click.option(
            "--data",
            type=FolderOrUrl(),
            default=Path("data"),
            envvar="DWPLUS_DATA",
            show_default=True,
            show_envvar=True,
            help="Folder of all data sets, or the URL of one (s3://bucket/data/earthengine).",
        ),
    ):
        function = option(function)
    return function


def cluster_options(function: F) -> F:
    return in_order(
        function,
        click.option("--workers", type=click.IntRange(1), help="Local processes; default: one per core."),
        click.option(
            "--scheduler",
            metavar="ADDRESS",
            envvar="DWPLUS_SCHEDULER",
            show_envvar=True,
            help="Dask cluster to run on (tcp://10.0.0.5:8786) in place of local processes.",
        ),
    )


def source_option(function: F) -> F:
    return click.option(
        "--source",
        type=click.Choice(_SOURCES),
        default="auto",
        envvar="DWPLUS_SOURCE",
        show_default=True,
        help="Where pixels come from; auto is the sandbox only where nothing of Earth Engine is configured.",
    )(function)


def quiet_option(function: F) -> F:
    return click.option("-q", "--quiet", is_flag=True, help="No progress, results only.")(function)


def project_option(function: F) -> F:
    return click.option("--project", help="Google Cloud project registered for Earth Engine. [env: EE_PROJECT_ID]")(
        function
    )


def ee_url_option(function: F) -> F:
    return click.option("--ee-url", help="Another server of the Earth Engine API. [env: EE_URL]")(function)


tiles_option = click.option(
    "--tiles",
    type=click.IntRange(6, 5000),
    help="Label tiles of the synthetic planet (sandbox); default: the data root's, or 132.",
)
seed_option = click.option(
    "--seed", type=int, help="Seed of the synthetic planet (sandbox); default: the data root's, or 7."
)


def concurrency_option(function: F) -> F:
    return click.option(
        "--concurrency", type=click.IntRange(1, 100), default=20, show_default=True, help="Requests in flight."
    )(function)


subset_option = click.option(
    "--subset",
    type=click.Choice(["paper"]),
    help="paper: only the tiles that the paper probably kept, a guess (dwplus labels subsets).",
)


def service_options(function: F) -> F:
    return in_order(
        function,
        project_option,
        ee_url_option,
        concurrency_option,
        tiles_option,
        seed_option,
        cluster_options,
    )


def recipe_options(function: F) -> F:
    """How pixels are chosen; where an option is left out, as the data root was built, or the default."""
    return in_order(
        function,
        click.option(
            "--s1-mean",
            type=click.Choice(["dB", "linear"]),
            help="Average Sentinel-1 in dB (S1_GRD; the default) or as power (S1_GRD_FLOAT); the two never mix.",
        ),
        click.option(
            "--s1-pass",
            type=click.Choice(["both", "ascending", "descending"]),
            help="Orbit directions that enter the mean (default: both); one pass needs fewer scenes and less compute.",
        ),
        click.option(
            "--s1-max-scenes",
            type=click.IntRange(1),
            help="Use at most N Sentinel-1 scenes, spread evenly over the window (default: all); less compute.",
        ),
        click.option(
            "--s1-edge",
            callback=edge_m,
            metavar="WIDTH",
            help="Mask pixels within 2km (or 2000m, ...) of the edges of Sentinel-1 scenes before March 2018, which "
            "may be noise; off = use them, as the paper (the default).",
        ),
    )


def training_options(function: F) -> F:
    return in_order(
        function,
        click.option(
            "--profile", help="Settings: paper, small, or a TOML file. Default: by the size of the training split."
        ),
        click.option(
            "--model",
            help="Network, by its name in 'dwplus models', or MODULE:FUNCTION of yours. Default: the profile's.",
        ),
        click.option("--primary", help="Bands of the primary input (preset); default: the network's, mostly ms10."),
        click.option(
            "--auxiliary", help="Bands of the auxiliary input (preset, or none); default: the network's, mostly sar."
        ),
        click.option(
            "--protocol",
            type=click.Choice(["strict", "paper"]),
            default="strict",
            show_default=True,
            help="strict cuts validation tiles from training; paper validates on the test tiles.",
        ),
        click.option("--epochs", type=click.IntRange(0), help="Epochs; default: the profile's."),
        click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Any other setting of the profile."),
    )


def missing_options(function: F) -> F:
    """Inputs that are left out in training."""
    return in_order(
        function,
        click.option(
            "--drop-auxiliary",
            type=click.FloatRange(0, 1),
            metavar="SHARE",
            help="Train without the auxiliary input in this share of the pixels, for data that may lack it.",
        ),
        click.option(
            "--drop-primary",
            type=click.FloatRange(0, 1),
            metavar="SHARE",
            help="The same for the primary input; never both for one pixel, so 1 at most together.",
        ),
        click.option(
            "--drop-views",
            is_flag=True,
            default=None,
            help="Compute each crop complete and once without each of these inputs: two or three times the work, and "
            "better (docs/missing-modalities.md).",
        ),
    )


def transfer_options(function: F) -> F:
    """What a training begins with, and how many labels it sees."""
    return in_order(
        function,
        click.option(
            "--init",
            metavar="RUN|FILE",
            help="Begin with the weights of a run or a file, matched by name; what does not fit is listed.",
        ),
        click.option(
            "--freeze",
            type=click.Choice(["encoder"]),
            help="Train the decoder alone (with --init). --set lr_encoder=0.1 trains the encoder slowly.",
        ),
        click.option(
            "--labels-share",
            type=click.FloatRange(0, 1, min_open=True),
            metavar="SHARE",
            help="Train on this share of the training tiles, with all classes in their shares.",
        ),
        click.option(
            "--accept",
            type=click.Choice(["s1"]),
            multiple=True,
            help="s1: begin with weights that were trained on Sentinel-1 that was made in another way (with --init).",
        ),
    )
