"""Commands that look at a data set that is there."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..pipeline.errors import DataError, ExitCode, UsageError
from .audit import audit_data_set, audit_options, exit_code, prepare, print_findings
from .options import cluster_options, data_option, quiet_option, readable_data_options, source_option
from .output import figure, mark

if TYPE_CHECKING:
    from ..pipeline.cluster import Runner
    from ..pipeline.look import Kind
    from ..pipeline.normalise import Counted
    from ..pipeline.progress import Progress
    from ..pipeline.single_files import Verdict
    from ..pipeline.status import Status


@click.command()
@click.option(
    "--by",
    type=click.Choice(["split", "region", "biome"]),
    multiple=True,
    help="Divide by it; several times. Default: all three.",
)
@click.option("--concurrency", type=click.IntRange(1, 100), default=20, show_default=True, help="For the time left.")
@source_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print the status as one JSON document.")
def status(by: tuple[str, ...], concurrency: int, source: str, data: Path, as_json: bool) -> None:
    """How far a data set is: tiles by split, region, biome and reason; throughput, time and budget left.

    \b
    dwplus status                                     also while a build is running
    dwplus status --by split --json
    """
    from ..pipeline.build import recipe_of_root
    from ..pipeline.ledger import read_events
    from ..pipeline.manifest import read_manifest
    from ..pipeline.scenes import Recipe
    from ..pipeline.status import status as status_of
    from ..workflow.pixel_source import existing_root

    root = existing_root(data, source)
    recipe = recipe_of_root(root) or Recipe()
    events = read_events(root)
    now = status_of(read_manifest(root).rows, events, recipe_hash=recipe.hash, concurrency=concurrency)
    answered = sorted({row.source for row in events if row.source})
    divisions = by or tuple(now.groups)
    if as_json:
        document = {"root": str(root), "source": answered, **asdict(now)}
        document["groups"] = {title: document["groups"][title] for title in divisions}
        click.echo(json.dumps(document, indent=1))
        return
    click.echo(f"{root}  {' '.join(filter(None, map(mark, answered)))}".rstrip())
    _print_status(now, divisions)


def _print_status(now: Status, divisions: tuple[str, ...]) -> None:
    click.echo(f"{now.tiles} tiles: " + ", ".join(f"{number} {state}" for state, number in now.states.items()))
    for title in divisions:
        width = max([len(group.name) for group in now.groups[title]] + [len(title)])
        click.echo(f"\n{title:<{width}}  {'tiles':>7} {'done':>7} {'discarded':>9} {'failed':>7} {'open':>7}")
        for g in now.groups[title]:
            click.echo(f"{g.name:<{width}}  {g.tiles:>7} {g.done:>7} {g.discarded:>9} {g.failed:>7} {g.open:>7}")
    if now.reasons:
        from ..pipeline.ledger import REASONS

        click.echo("\nmissing because")
        for reason, number in now.reasons.items():
            click.echo(f"{number:>7} {reason}: {REASONS.get(reason, '')}")
    click.echo("")
    click.echo(f"{'shards':<12} {now.shard_bytes / 1e9:.3g} GB on disk")
    if now.known.tiles_per_hour:
        click.echo(f"{'throughput':<12} {now.known.tiles_per_hour:,.0f} tiles an hour in the last run")
    if now.used_eecu_hours is not None:
        click.echo(figure("used", "EECU-hours", now.used_eecu_hours))
    if now.left.tiles:
        click.echo(f"\nleft: {now.left.tiles:,} tiles (open and failed)")
        click.echo(figure("disk", "GB", now.left.disk_gb))
        click.echo(figure("time", "hours", now.left.hours))
        click.echo(figure("compute", "EECU-hours", now.left.eecu_hours))


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["shard", "s2", "s1", "label"]),
    help="What the files at PATH are held against; default: guessed from their bands, and said.",
)
@click.option(
    "--like",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A raster (a label tile) on whose grid the files at PATH have to lie.",
)
@audit_options
@source_option
@readable_data_options
@quiet_option
@cluster_options
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON document.")
def validate(
    paths: tuple[Path, ...],
    kind: Kind | None,
    like: Path | None,
    source: str,
    data: Path | str,
    out: Path | None,
    quiet: bool,
    workers: int | None,
    scheduler: str | None,
    as_json: bool,
    **audit: Any,
) -> None:
    """Read every shard to its last byte, then look at the set as a whole, and list what is wrong.

    Exit 3 if there is an error. The set: duplicates, overlaps and distances between splits, scenes in two splits,
    classes and biomes per split, dates, Sentinel-1, shifts. Results: findings.json, findings.csv, findings/index.html.
    As all pixels are in hand then, the statistics that 'dwplus normalise' takes come with it.

    With PATH (files, or folders with .tif files in them): judge files that dwplus did not write; exit 3 if one is
    refused. The rules, and what to do about each: docs/validation.md.

    \b
    dwplus validate                                            the data set
    dwplus validate --changed                                  after an edit of waivers.toml: seconds
    dwplus validate --quarantine                               put shards with errors aside; nothing is deleted
    dwplus validate --restore dw_9.0_45.0-20190701             bring one back
    dwplus validate scene.tif --as s2 --like label.tif         a stack, on the grid of its label
    dwplus validate downloads/ --json                          everything in a folder
    dwplus validate --data s3://bucket/data/earthengine --out checked --scheduler tcp://10.0.0.5:8786
    """
    if paths:
        _validate_files(paths, kind, like, quiet=quiet, as_json=as_json)
        return
    from ..pipeline.build import validate_root
    from ..pipeline.cluster import open_cluster
    from ..pipeline.inspection import Counting
    from ..pipeline.normalise import Counted
    from ..workflow.console import console
    from ..workflow.pixel_source import existing_root

    if kind or like:
        raise UsageError("--as and --like judge single files: name them, as in 'dwplus validate scene.tif --as s2'")
    if out is not None and (audit["quarantine"] or audit["restore"]):
        raise UsageError("--quarantine and --restore move shards: run them where the data set lies, without --out")
    root, progress = existing_root(data, source, out=out), console(quiet=quiet)
    prepare(root, waivers=audit["waivers"], restore=audit["restore"])
    sample = None if audit["every"] else audit["sample"]
    with open_cluster(workers=workers, scheduler=scheduler) as run:
        counting = Counting(run)
        validate_root(root, run=counting, progress=progress, all_again=not audit["changed"])
        result, page, moved = audit_data_set(
            root, run=run, progress=progress, sample=sample, quarantine=audit["quarantine"]
        )
        if not audit["changed"]:
            # A tile that was counted and put aside since cannot be read any more to take its counts away again.
            _take_statistics(root, run, progress, Counted() if moved else counting.counted)
    if as_json:
        click.echo((root / "findings.json").read_text(encoding="utf-8"), nl=False)
    else:
        print_findings(root, result, page, moved)
    raise SystemExit(exit_code(result, strict=audit["strict"]))


def _take_statistics(root: Path, run: Runner, progress: Progress, counted: Counted) -> None:
    """All pixels were in hand: what the statistics need of them is counted already."""
    from ..pipeline.build import normalise_root

    try:
        normalise_root(root, run=run, progress=progress, all_again=False, counted=counted)
    except DataError as error:
        progress.say(f"no statistics: {error}")


def _validate_files(
    paths: tuple[Path, ...], kind: Kind | None, like: Path | None, *, quiet: bool, as_json: bool
) -> None:
    from ..pipeline.single_files import files_below, judge_file, read_reference

    reference = read_reference(like) if like is not None else None
    refused, number, documents = 0, 0, []
    for path in files_below(paths):
        verdict = judge_file(path, kind=kind, like=reference)
        number += 1
        refused += not verdict.accepted
        if as_json:
            documents.append(_as_document(verdict))
        elif not (quiet and verdict.accepted):
            _print_verdict(verdict)
    if as_json:
        click.echo(json.dumps({"files": documents, "accepted": number - refused, "refused": refused}, indent=1))
    elif number > 1:
        click.echo(f"{number} files: {number - refused} accepted, {refused} refused")
    if refused:
        raise SystemExit(ExitCode.FAILED_TILES)


def _print_verdict(verdict: Verdict) -> None:
    from ..pipeline.single_files import remedy_of

    kind = f" as {verdict.kind}" if verdict.kind else ""
    guessed = f" (guessed: {verdict.guessed})" if verdict.guessed else ""
    click.echo(f"{'accepted' if verdict.accepted else 'refused'}{kind}{guessed}  {verdict.path}")
    for finding in verdict.findings:
        click.echo(f"  {finding.severity:8} {finding.rule}: {finding.message}")
        click.echo(f"  {'':8} -> {remedy_of(finding)}")


def _as_document(verdict: Verdict) -> dict[str, object]:
    from ..pipeline.single_files import remedy_of

    return {
        "path": str(verdict.path),
        "verdict": "accept" if verdict.accepted else "refuse",
        "as": verdict.kind,
        "guessed_from": verdict.guessed or None,
        "findings": [
            {"rule": f.rule, "severity": f.severity, "message": f.message, "what_to_do": remedy_of(f)}
            for f in verdict.findings
        ],
    }
