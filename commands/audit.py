"""The second half of ``dwplus validate``: options of the audit of the whole set, and what it prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..pipeline.errors import ExitCode
from .output import mark

if TYPE_CHECKING:
    from ..pipeline.audit_stage import AuditResult
    from ..pipeline.cluster import Runner
    from ..pipeline.progress import Progress

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


def prepare(root: Path, *, waivers: Path | None, restore: tuple[str, ...]) -> None:
    """What has to be done before shards are read."""
    from ..pipeline.manifest import read_manifest
    from ..pipeline.quarantine import restore as bring_back
    from ..pipeline.waivers import adopt_waivers

    if waivers is not None:
        adopt_waivers(root, waivers)
    for tile in restore:
        click.echo(f"back from quarantine: {bring_back(root, read_manifest(root).rows, tile)}", err=True)


def audit_data_set(
    root: Path, *, run: Runner, progress: Progress, sample: int | None, quarantine: bool
) -> tuple[AuditResult, Path, tuple[str, ...]]:
    """Audit the whole set, put shards with errors aside where that is wanted, write the page.

    Returns:
        What was found, the page, and the tiles put aside.
    """
    from ..pipeline.audit_stage import audit_root
    from ..pipeline.quarantine import quarantine as put_aside
    from ..workflow.findings_page import write_findings_page

    result = audit_root(root, run=run, progress=progress, sample=sample)
    page = write_findings_page(root, result, progress=progress)
    moved = put_aside(root, result.look.rows, result.counting) if quarantine else ()
    return result, page, moved


def print_findings(root: Path, result: AuditResult, page: Path, moved: tuple[str, ...]) -> None:
    """Findings that count, errors first, then one line of numbers."""
    from ..pipeline.build import source_of
    from ..pipeline.errors import DataError
    from ..workflow.findings_page import by_weight

    findings = by_weight(result.counting)
    for finding in findings[:PRINTED]:
        click.echo(f"{finding.severity:8} {finding.tile or 'the set'}  {finding.rule}: {finding.message}")
    if len(findings) > PRINTED:
        click.echo(f"... and {len(findings) - PRINTED} more: {root / 'findings.csv'}")
    for waiver in result.unused:
        click.echo(f"waiver covers nothing today: {waiver.rule} of {waiver.tile or 'the set'} ({waiver.reason})")
    if moved:
        click.echo(f"{len(moved)} shards put aside below {root / 'quarantine'}")
    try:
        source = source_of(root)
    except DataError:
        source = "earthengine"
    click.echo(
        f"{len({f.tile for f in findings if f.severity == 'error'} - {''})} tiles with errors, "
        f"{result.number('error')} errors, {result.number('warning')} warnings, {len(result.waived)} waived; {page} "
        f"{mark(source)}".rstrip()
    )


def exit_code(result: AuditResult, *, strict: bool) -> ExitCode:
    """3 for errors that are not waived, and for warnings where that is wanted."""
    bad = result.number("error") or (strict and result.number("warning"))
    return ExitCode.FAILED_TILES if bad else ExitCode.OK
