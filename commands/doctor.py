"""Commands about the service: is everything in place for a build, and how does one sign in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import data_option, ee_url_option, project_option, source_option

if TYPE_CHECKING:
    from ..workflow.doctor.doctor import Question

_deadline_option = click.option(
    "--deadline", type=click.FloatRange(0.1, 600), default=60.0, show_default=True, help="Seconds for each step."
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print the checklist as one JSON document.")


@click.command()
@project_option
@ee_url_option
@source_option
@data_option
@_deadline_option
@_json_option
def doctor(project: str | None, ee_url: str | None, source: str, data: Path, deadline: float, as_json: bool) -> None:
    """Look at everything that a build needs, from versions to one real pixel; what is not ok says what to do next.

    \b
    dwplus doctor
    dwplus doctor --project MY-PROJECT
    dwplus doctor --source sandbox

    Exit code 0 if a build can start (warnings allowed), 4 if account or project are in the way, otherwise 1.
    """
    from ..workflow.doctor.doctor import Question

    _report(Question(source, ee_url, project, data, deadline), as_json=as_json)


@click.group(invoke_without_command=True)
@click.pass_context
def auth(ctx: click.Context) -> None:
    """How to sign in to Earth Engine from this machine: what is there, which way fits, what the usual errors mean.

    \b
    dwplus auth
    dwplus auth check --project MY-PROJECT
    """
    if ctx.invoked_subcommand is not None:
        return
    from ..pipeline.earthengine.configuration import configuration
    from ..pipeline.earthengine.credentials import credentials_on_machine
    from ..workflow.doctor.sign_in import advice, machine_of, project_origin

    found = configuration(url=None, project=None)
    origin = project_origin(None, found, os.environ)
    click.echo(advice(found, credentials_on_machine(found), machine_of(os.environ), origin=origin))


@auth.command(short_help="Ask the service whether it accepts account and project.")
@project_option
@ee_url_option
@source_option
@_deadline_option
@_json_option
def check(project: str | None, ee_url: str | None, source: str, deadline: float, as_json: bool) -> None:
    """Ask the service whether it accepts account and project: the lines of 'dwplus doctor' that are about signing in.

    \b
    dwplus auth check
    dwplus auth check --project MY-PROJECT
    """
    from ..workflow.doctor.doctor import Question

    question = Question(source, ee_url, project, deadline_s=deadline, sign_in_only=True)
    _report(question, as_json=as_json)


def _report(question: Question, *, as_json: bool) -> None:
    """Print the checklist, each line as soon as it is known, and end with its exit code."""
    from ..workflow.doctor.checklist import Check, document, exit_code, lines, summary
    from ..workflow.doctor.doctor import examine

    checks: list[Check] = []
    for one in examine(question):
        if not as_json:
            click.echo("\n".join(lines(one, checks[-1] if checks else None)))
        checks.append(one)
    click.echo(json.dumps(document(checks), indent=1) if as_json else f"\n{summary(checks)}")
    if code := exit_code(checks):
        raise SystemExit(code)
