"""``dwplus validate``: rules over every shard and label, rules over the whole set, or rules over single files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..pipeline.errors import DataError, ExitCode, LeftOutError, UsageError
from ..pipeline.spec.words import count_of
from .options import cluster_options, quiet_option, readable_data_options, source_option
from .output import mark

if TYPE_CHECKING:
    from ..pipeline.cluster import Runner
    from ..pipeline.dataset.root import DataRoot
    from ..pipeline.progress import Progress
    from ..pipeline.statistics.normalise import Counted
    from ..pipeline.validation.audit import AuditResult
    from ..pipeline.validation.file_view import Kind
    from ..pipeline.validation.single_files import Verdict

F = TypeVar("F", bound=Callable[..., Any])


PRINTED = 60
"""So many findings are printed; all of them stand in ``findings.csv`` and on the page."""


def audit_options(function: F) -> F:
    for option in (
        click.option("--strict", is_flag=True, help="Exit 3 for warnings too."),
        click.option(
            "--waivers",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="TOML file of findings to live with, each with a reason; copied to waivers.toml in the data set.",
        ),
        click.option("--quarantine", is_flag=True, help="Put shards with errors aside, below quarantine/."),
        click.option("--restore", metavar="TILE", multiple=True, help="Bring a tile back from quarantine first."),
        click.option("--all", "every", is_flag=True, help="Measure the shift of all tiles, not of a sample."),
        click.option(
            "--sample",
            type=click.IntRange(0),
            default=200,
            show_default=True,
            help="Tiles whose shift is measured, spread over regions and biomes; 0 = none.",
        ),
        click.option("--changed", is_flag=True, help="Read only shards that changed since they were last validated."),
    ):
        function = option(function)
    return function


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
    dwplus validate --restore dw_-15.4808018791_12.0977026683-20190115     bring one back
    dwplus validate scene.tif --as s2 --like label.tif         a stack, on the grid of its label
    dwplus validate downloads/ --json                          everything in a folder
    dwplus validate --data s3://bucket/data/earthengine --out checked --scheduler tcp://10.0.0.5:8786
    """
    if paths:
        _validate_files(paths, kind, like, quiet=quiet, as_json=as_json)
        return
    from ..pipeline.build.build import validate_root
    from ..pipeline.build.inspection import Counting
    from ..pipeline.cluster import open_cluster
    from ..pipeline.files.atomic import check_writable
    from ..pipeline.statistics.normalise import Counted
    from ..workflow.console import console
    from ..workflow.source import existing_root

    if kind or like:
        raise UsageError("--as and --like judge single files: name them, as in 'dwplus validate scene.tif --as s2'")
    if out is not None and (audit["quarantine"] or audit["restore"]):
        raise UsageError("--quarantine and --restore move shards: run them where the data set lies, without --out")
    root, progress = existing_root(data, source, out=out), console(quiet=quiet)
    # Now, and not after hours of reading.
    check_writable(root.folder)
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
        click.echo((root.findings_file).read_text(encoding="utf-8"), nl=False)
    else:
        print_findings(root, result, page, moved)
    if faults := root.ledger_faults():
        raise LeftOutError("; ".join(faults))
    raise SystemExit(exit_code(result, strict=audit["strict"]))


def _take_statistics(root: DataRoot, run: Runner, progress: Progress, counted: Counted) -> None:
    """All pixels were in hand: what the statistics need of them is counted already."""
    from ..pipeline.build.build import normalise_root

    try:
        normalise_root(root, run=run, progress=progress, all_again=False, counted=counted)
    except DataError as error:
        progress.say(f"no statistics: {error}")


def _validate_files(
    paths: tuple[Path, ...], kind: Kind | None, like: Path | None, *, quiet: bool, as_json: bool
) -> None:
    from ..pipeline.validation.single_files import files_below, judge_file, read_reference

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
        click.echo(f"{count_of(number, 'file')}: {number - refused} accepted, {refused} refused")
    if refused:
        raise SystemExit(ExitCode.FAILED_TILES)


def _print_verdict(verdict: Verdict) -> None:
    from ..pipeline.validation.single_files import remedy_of

    kind = f" as {verdict.kind}" if verdict.kind else ""
    guessed = f" (guessed: {verdict.guessed})" if verdict.guessed else ""
    click.echo(f"{'accepted' if verdict.accepted else 'refused'}{kind}{guessed}  {verdict.path}")
    for finding in verdict.findings:
        click.echo(f"  {finding.severity:8} {finding.rule}: {finding.message}")
        click.echo(f"  {'':8} -> {remedy_of(finding)}")


def _as_document(verdict: Verdict) -> dict[str, object]:
    from ..pipeline.validation.single_files import remedy_of

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


def prepare(root: DataRoot, *, waivers: Path | None, restore: tuple[str, ...]) -> None:
    """What has to be done before shards are read."""
    from ..pipeline.dataset.waivers import adopt_waivers
    from ..pipeline.validation.quarantine import restore as bring_back

    if waivers is not None:
        adopt_waivers(root.folder, waivers)
    for tile in restore:
        click.echo(f"back from quarantine: {bring_back(root, root.manifest().rows, tile)}", err=True)


def audit_data_set(
    root: DataRoot, *, run: Runner, progress: Progress, sample: int | None, quarantine: bool
) -> tuple[AuditResult, Path, tuple[str, ...]]:
    """Audit the whole set, put shards with errors aside where that is wanted, write the page.

    Returns:
        What was found, the page, and the tiles put aside.
    """
    from ..pipeline.validation.audit import audit_root
    from ..pipeline.validation.quarantine import quarantine as put_aside
    from ..workflow.pages.findings_page import write_findings_page

    result = audit_root(root, run=run, progress=progress, sample=sample)
    page = write_findings_page(root, result, progress=progress)
    moved = put_aside(root, result.view.rows, result.counting) if quarantine else ()
    return result, page, moved


def print_findings(root: DataRoot, result: AuditResult, page: Path, moved: tuple[str, ...]) -> None:
    """Findings that count, errors first, then one line of numbers."""
    from ..pipeline.errors import DataError
    from ..workflow.pages.findings_page import by_weight

    findings = by_weight(result.counting)
    for finding in findings[:PRINTED]:
        click.echo(f"{finding.severity:8} {finding.tile or 'the set'}  {finding.rule}: {finding.message}")
    if len(findings) > PRINTED:
        click.echo(f"... and {len(findings) - PRINTED} more: {root.findings_table}")
    for waiver in result.unused:
        click.echo(f"waiver covers nothing today: {waiver.rule} of {waiver.tile or 'the set'} ({waiver.reason})")
    if moved:
        click.echo(f"{count_of(len(moved), 'shard')} put aside below {root.quarantine}")
    broken = {finding.tile for finding in findings if finding.severity == "error"} - {""}
    try:
        printed = mark(root.source())
    except DataError:
        printed = ""
    click.echo(
        f"{count_of(len(broken), 'tile')} with errors, {count_of(result.number('error'), 'error')}, "
        f"{count_of(result.number('warning'), 'warning')}, {len(result.waived)} waived; {page} "
        f"{printed}".rstrip()
    )


def exit_code(result: AuditResult, *, strict: bool) -> ExitCode:
    """3 for errors that are not waived, and for warnings where that is wanted."""
    bad = result.number("error") or (strict and result.number("warning"))
    return ExitCode.FAILED_TILES if bad else ExitCode.OK
