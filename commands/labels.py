"""Commands about label tiles: bring them to disk, make the manifest of them, look at one; those about own labels are in
``own_labels``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..pipeline.errors import ExitCode, UsageError
from ..pipeline.spec.words import count_of
from .label_subsets import subsets
from .options import data_option, in_order, quiet_option, seed_option, source_option, tiles_option
from .output import mark
from .own_labels import add, remove, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..pipeline.dataset.root import DataRoot
    from ..pipeline.labels.describe import LabelFacts
    from ..pipeline.labels.earth_engine import LabelClient
    from ..pipeline.labels.ingest import Prepared
    from ..pipeline.progress import Progress
    from ..pipeline.validation.manifest_checks import ManifestFinding

F = TypeVar("F", bound="Callable[..., Any]")


def _origin_options(function: F) -> F:
    return in_order(
        function,
        click.option("--split", type=click.Choice(["train", "test"]), multiple=True, help="Release; default: both."),
        click.option(
            "--from",
            "origin",
            type=click.Choice(["releases", "earth-engine"]),
            default="releases",
            show_default=True,
            help="The publishers' archives (no account needed), or Earth Engine's collection of labels.",
        ),
        click.option("--project", help="Google Cloud project registered for Earth Engine. [env: EE_PROJECT_ID]"),
        click.option("--ee-url", help="Another server of the Earth Engine API. [env: EE_URL]"),
        tiles_option,
        seed_option,
    )


@click.group()
def labels() -> None:
    """Label tiles: download the releases, make the manifest, show one; add labels of your own. No pixels are requested.

    \b
    dwplus labels fetch
    dwplus labels index
    dwplus labels show dw_-15.4808018791_12.0977026683-20190115
    dwplus labels subsets
    dwplus labels add fields.gpkg --column landuse --classes my_classes.toml --year 2022 --data mine
    """


for _command in (add, remove, report, subsets):
    labels.add_command(_command)


@labels.command(short_help="Bring the releases to disk.")
@click.option(
    "--release",
    multiple=True,
    help="pangaea, zenodo, or pangaea-validation (each expert's labels of the test tiles; on request alone).",
)
@click.option("--verify", is_flag=True, help="Hash everything that is there again, and mend what was changed.")
@_origin_options
@source_option
@data_option
@quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print what is there as one JSON document.")
def fetch(release: tuple[str, ...], verify: bool, as_json: bool, quiet: bool, **options: Any) -> None:
    """Download and unpack the label releases; what is there already is left alone.

    \b
    dwplus labels fetch
    dwplus labels fetch --split test
    dwplus labels fetch --release pangaea-validation
    dwplus labels fetch --from earth-engine --project MY-PROJECT
    dwplus labels fetch --verify

    Interrupted downloads resume. Sizes and hashes are kept beside the files (<name>.json, <name>.members.json).
    """

    if release and options["origin"] == "earth-engine":
        raise UsageError("--release names archives of the publishers; leave it out, or leave out --from earth-engine")
    with _origin(options, quiet=quiet) as origin, origin.root.open_ledger():
        if options["origin"] == "earth-engine":
            _fetch_from_earth_engine(origin, options["split"], verify=verify, as_json=as_json)
        else:
            _fetch_releases(origin, release, options["split"], verify=verify, as_json=as_json)


@labels.command(short_help="Make or update the manifest, without any pixels.")
@click.option("--labels", "given", type=click.Path(path_type=Path), help="Folder of label tiles, in place of releases.")
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the tiles here.")
@_origin_options
@source_option
@data_option
@quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON document.")
def index(given: Path | None, csv_file: Path | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Make or update the manifest: fetch labels where they are missing, read what is new, count and check tiles.

    No pixels are requested. Errors of the checks (two splits that share ground, a tile that stands there twice) end
    with exit code 3.

    \b
    dwplus labels index
    dwplus labels index --split test --csv test.csv
    dwplus labels index --labels my_label_tiles --data my_data
    """
    from ..pipeline.dataset.manifest import manifest_csv
    from ..pipeline.files.atomic import write_atomically
    from ..pipeline.labels.ingest import prepare_manifest

    with _origin(options, quiet=quiet, given=given is not None) as origin, origin.root.open_ledger():
        prepared = prepare_manifest(
            origin.root,
            labels=given,
            splits=options["split"],
            origin=options["origin"],
            mirror=origin.mirror,
            client=origin.client,
            source=origin.source,
            progress=origin.progress,
        )
    if csv_file is not None:
        write_atomically(csv_file, manifest_csv(prepared.manifest).encode(), option="--csv")
    if _print_index(origin, prepared, as_json=as_json) or (given is not None and prepared.unusable):
        raise SystemExit(ExitCode.FAILED_TILES)


@labels.command(short_help="What is known of a tile.")
@click.argument("tiles", nargs=-1, required=True, metavar="ID|PATH...")
@click.option(
    "--png", type=click.Path(dir_okay=False, path_type=Path), help="Draw the labels in the colours of their classes."
)
@source_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
def show(tiles: tuple[str, ...], png: Path | None, source: str, data: Path, as_json: bool) -> None:
    """Everything that is known of label tiles, by their names or their files.

    \b
    dwplus labels show dw_-15.4808018791_12.0977026683-20190115
    dwplus labels show 12.0977026683 --json                   any part of the name that is in no other
    dwplus labels show my_label_tiles/*.tif --png labels.png
    """
    from ..pipeline.files.atomic import write_atomically
    from ..pipeline.labels.describe import describe_file, describe_tiles
    from ..workflow.source import existing_root

    ids = [one for one in tiles if not Path(one).is_file()]
    root = existing_root(data, source) if ids else None
    by_id = iter(describe_tiles(root, ids) if root else ())
    found = [describe_file(Path(one)) if Path(one).is_file() else next(by_id) for one in tiles]
    if as_json:
        click.echo(json.dumps([facts.to_dict() for facts in found], indent=1))
    else:
        for facts in found:
            _print_facts(facts)
    if png is not None:
        from ..workflow.pages.figures import labels_figure

        marks = " ".join(sorted({mark(facts.source) for facts in found if facts.source}))
        tables = {facts.classes.hash: facts.classes for facts in found}
        if len(tables) > 1:
            raise UsageError("tiles of several class tables do not share one legend; draw them one by one")
        drawn = [(facts.title, facts.codes) for facts in found]
        write_atomically(png, labels_figure(drawn, classes=next(iter(tables.values())), mark=marks), option="--png")
        click.echo(str(png), err=as_json)


# Where labels come from -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Origin:
    """Where labels come from in this call, and the data root that they go to."""

    root: DataRoot
    source: str
    mirror: Callable[[], str] | None
    client: LabelClient | None
    progress: Progress


@contextmanager
def _origin(options: dict[str, Any], *, quiet: bool, given: bool = False) -> Iterator[_Origin]:
    """The planet's own releases in the sandbox, the publishers' otherwise; a session only where one is needed."""
    from ..pipeline.earthengine.configuration import Configuration, choose_source, configuration
    from ..pipeline.files.atomic import check_writable
    from ..pipeline.spec.sources import EARTH_ENGINE, SANDBOX
    from ..workflow.console import console
    from ..workflow.source import open_source, sandbox_banner

    progress = console(quiet=quiet)
    found = configuration(url=options["ee_url"], project=options["project"])
    asks = options["origin"] == "earth-engine"
    # The publishers give their archives to everybody: whether an account is complete does not matter for them.
    public = (
        not asks and options["source"] != SANDBOX.folder and (options["source"], found) != ("auto", Configuration())
    )
    source = EARTH_ENGINE if public else choose_source(options["source"], found)
    from ..pipeline.dataset.root import DataRoot

    root = DataRoot.at(options["data"] / source.folder)
    check_writable(root.folder)
    if given or not (source.synthetic or asks):
        yield _Origin(root, "" if given else source.name, None, None, progress)
        return
    if source.synthetic:
        progress.say(sandbox_banner())
    with open_source(
        source, found, root=root, tiles=options["tiles"], seed=options["seed"], concurrency=_IN_FLIGHT
    ) as opened:
        yield _Origin(root, opened.pixels.name, opened.mirror, opened.pixels.session if asks else None, progress)


_IN_FLIGHT = 10
"""Requests at a time: a label tile is a small answer, and takes far less time than pixels."""


def _fetch_releases(
    origin: _Origin, names: tuple[str, ...], splits: tuple[str, ...], *, verify: bool, as_json: bool
) -> None:
    from ..pipeline.labels.releases import acquire, find_release, releases

    wanted = [find_release(name) for name in names] or [r for r in releases() if r.files[0].split != "inspect"]
    folder = origin.root.releases
    with origin.progress.stage("Downloading label releases", None, unit="bytes") as step:
        brought = acquire(
            wanted,
            folder,
            mirror=origin.mirror,
            splits=splits or ("train", "test", "inspect"),
            verify=verify,
            progress=lambda _name, done, total: step.set(done, total),
        )
    if not brought:
        raise UsageError(f"--release {' '.join(names)} holds nothing of --split {' '.join(splits)}")
    if as_json:
        files = [
            {
                "file": f"{one.file.release}/{one.file.name}",
                "path": None if one.path is None else str(one.path),
                "members": one.members,
                "written": one.written,
            }
            for one in brought
        ]
        click.echo(json.dumps({"root": str(origin.root), "source": origin.source, "files": files}, indent=1))
        return
    for one in brought:
        what = "not available; everything works without it" if one.path is None else count_of(one.members, "file")
        fresh = f", {one.written} written" if one.written else ""
        click.echo(f"{one.file.release}/{one.file.name}: {what}{fresh} {mark(origin.source)}".rstrip())


def _fetch_from_earth_engine(origin: _Origin, splits: tuple[str, ...], *, verify: bool, as_json: bool) -> None:
    from ..pipeline.labels.earth_engine import fetch_label_assets

    assert origin.client is not None
    with origin.progress.stage("Downloading labels from Earth Engine", None) as step:
        fetched = fetch_label_assets(
            origin.client,
            origin.root.releases,
            source=origin.source,
            splits=splits or ("train", "test"),
            concurrency=_IN_FLIGHT,
            verify=verify,
            progress=step.set,
        )
    if as_json:
        counts = {"images": fetched.images, "written": fetched.written}
        lists = {"failed": dict(fetched.failed), "ignored": dict(fetched.ignored)}
        click.echo(json.dumps({"root": str(origin.root), "source": origin.source, **counts, **lists}, indent=1))
    else:
        for name, reason in fetched.failed.items():
            click.echo(f"{name} failed: {reason}")
        for name, reason in fetched.ignored.items():
            click.echo(f"{name} is passed over: {reason}")
        said = f"{count_of(fetched.images, 'label tile')}, {fetched.written} written {mark(origin.source)}"
        click.echo(f"{fetched.folder}: {said}".rstrip())
    if fetched.failed:
        raise SystemExit(ExitCode.FAILED_TILES)


# Words ----------------------------------------------------------------------------------------------------------------


def _print_index(origin: _Origin, prepared: Prepared, *, as_json: bool) -> bool:
    """Print what the manifest holds and what the checks found; whether one is an error."""
    from ..pipeline.labels.describe import count_rows
    from ..pipeline.validation.manifest_checks import check_manifest

    findings = check_manifest(prepared.manifest.rows)
    errors = any(finding.severity == "error" for finding in findings)
    counts = count_rows(prepared.manifest.rows)
    unusable = {row.tile: row.detail for row in prepared.unusable}
    if as_json:
        document = {
            "root": str(origin.root),
            "source": origin.source,
            "manifest": prepared.manifest.hash,
            "tiles": len(prepared.manifest.rows),
            "read": prepared.read,
            "counts": counts,
            "unusable": unusable,
            "ignored": dict(prepared.ignored),
            "findings": [asdict(finding) for finding in findings],
        }
        click.echo(json.dumps(document, indent=1))
        return errors
    for name, values in counts.items():
        if values:
            click.echo(name)
        for value, number in values.items():
            click.echo(f"  {number:6}  {value}")
    for tile, why in unusable.items():
        click.echo(f"{tile}: {why}")
    _print_findings(findings)
    click.echo(
        f"{origin.root}: {count_of(len(prepared.manifest.rows), 'tile')}, {count_of(prepared.read, 'label')} read, "
        f"{len(unusable)} unusable "
        f"{mark(origin.source) if origin.source else ''}".rstrip()
    )
    return errors


_SHOWN_OF_A_RULE = 3


def _print_findings(findings: list[ManifestFinding]) -> None:
    """The first findings of each rule, and how many more there are; ``--json`` has all."""
    rules: dict[tuple[str, str], list[ManifestFinding]] = {}
    for finding in findings:
        rules.setdefault((finding.severity, finding.rule), []).append(finding)
    for (severity, rule), members in rules.items():
        for finding in members[:_SHOWN_OF_A_RULE]:
            tiles = f"{' '.join(finding.tiles[:2])}{' ...' if len(finding.tiles) > 2 else ''}"
            click.echo(f"{severity:8} {rule}: {finding.message} ({tiles})")
        if len(members) > _SHOWN_OF_A_RULE:
            click.echo(f"{severity:8} {rule}: {len(members) - _SHOWN_OF_A_RULE} more; --json lists all")


def _print_facts(facts: LabelFacts) -> None:
    known = facts.to_dict()
    click.echo(f"{known.pop('dw_id')} {mark(facts.source) if facts.source else ''}".rstrip())
    known.pop("source", None)
    for name, value in known.items():
        if name == "class_shares":
            value = ", ".join(f"{cls} {share:.1%}" for cls, share in value.items())
        elif name.endswith("_share"):
            value = f"{value:.1%}"
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        click.echo(f"  {name.replace('_', ' '):16}{value}")
