"""Doctor: from the versions to one real pixel, every step that a build depends on, one line each.

Nothing is written but probes that are removed again; no step outlasts its deadline; nothing secret is shown.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import requests

from ...pipeline.earthengine.configuration import Configuration, answered_by, choose_source, configuration
from ...pipeline.earthengine.connection import connect, service_url
from ...pipeline.earthengine.credentials import Credentials, credentials_on_machine, in_use
from ...pipeline.earthengine.graphs import one_pixel_request
from ...pipeline.earthengine.session import RequestRetries, Session
from ...pipeline.errors import AuthenticationError, DwplusError, ServiceError
from ...pipeline.files.remote import is_this_machine, shown_url
from ...pipeline.spec.sources import EARTH_ENGINE, SANDBOX, Source
from ..source import local_earth_engine
from . import machine
from .checklist import Check, failed, within
from .sign_in import project_origin, trouble_of

DEADLINE_S = 60.0
"""For one step, where the person names none."""

SKEW_WARNING_S, SKEW_ERROR_S = 30.0, 240.0
"""Off by this much, tokens are near to being refused; signatures are good for minutes, not hours (RFC 7523, exp)."""

USAGE_PAGE = "developers.google.com/earth-engine/guides/usage"
TIERS_PAGE = "developers.google.com/earth-engine/guides/noncommercial_tiers"
CONCURRENT_REQUESTS, REQUESTS_PER_SECOND = 40, 100
"""Standard quota of a project. Source: ``USAGE_PAGE``."""

TIERS_EECU_HOURS: dict[str, int] = {"Community": 150, "Contributor": 1_000, "Partner": 100_000}
"""Compute of noncommercial projects in a month, from 27 April 2026. Source: ``TIERS_PAGE``."""


@dataclass(frozen=True)
class Question:
    """What the doctor is asked about.

    Attributes:
        source: ``auto``, ``sandbox`` or ``earthengine``, as for a build.
        url, project: flags; None = not given.
        data: folder of all data sets.
        deadline_s: for each step.
        sign_in_only: whether disk, memory and versions are left out.
    """

    source: str = "auto"
    url: str | None = None
    project: str | None = None
    data: Path = Path("data")
    deadline_s: float = DEADLINE_S
    sign_in_only: bool = False


def examine(
    question: Question, *, environment: Mapping[str, str] = os.environ, free_bytes: int | None = None
) -> Iterator[Check]:
    """Every check, in the order in which a build needs them, each as soon as it is known.

    Args:
        free_bytes: space on the disk of the data folder; None = look.
    """
    found = configuration(url=question.url, project=question.project, environment=environment)
    source, chosen = source_check(question.source, found)
    if not question.sign_in_only:
        yield from machine.versions()
        yield from machine.local(question.data / source.folder, source, free_bytes=free_bytes)
    yield chosen
    if question.sign_in_only and source.synthetic:
        yield no_account(question.source)
        return
    with ExitStack() as stack:
        if chosen.state == "ok" and source.synthetic:
            try:
                began = time.monotonic()
                found = stack.enter_context(local_earth_engine(tiles=machine.SANDBOX_TILES, seed=7))
                yield Check("Source", "local server", "ok", f"started in {time.monotonic() - began:.1f} s")
            except DwplusError as error:
                yield failed("Source", "local server", error, next_step="run 'dwplus local-ee serve' to see more")
                return
        yield from sign_in(question, found, environment, is_sandbox=source.synthetic)
        if chosen.state == "ok":
            yield from service(found, question.deadline_s)


# --- what is configured -----------------------------------------------------------------------------------------------


def source_check(requested: str, found: Configuration) -> tuple[Source, Check]:
    """Which source a build would use, and why; the one that was meant where it could use none."""
    try:
        source = choose_source(requested, found)
    except AuthenticationError as error:
        step = "run 'dwplus auth'"
        return EARTH_ENGINE, Check("Source", "source", "error", f"none: {error}", step, authentication=True)
    if requested == source.folder:
        why = f"--source {requested}"
    elif source.synthetic:
        why = "nothing of Earth Engine is configured; 'dwplus auth' tells how"
    else:
        why = "a project and credentials are configured" if found.is_google else "another server is named"
    return source, Check("Source", "source", "ok", f"{source.folder} ({why})")


def no_account(requested: str) -> Check:
    """The sandbox has no account of anybody: there is nothing that a service could accept."""
    if requested == "auto":
        step = "run 'dwplus auth' to sign in; a build would use the sandbox, which needs no account"
        return Check("Sign-in", "account", "error", "none to check: no service was asked", step, authentication=True)
    return Check("Sign-in", "account", "ok", "none is needed: the sandbox runs on this machine; no service was asked")


def sign_in(
    question: Question, found: Configuration, environment: Mapping[str, str], *, is_sandbox: bool
) -> Iterator[Check]:
    """Account and project, as configured."""
    topic = "Sign-in"
    held = credentials_on_machine(found)
    used = in_use(held, found)
    for one in held[:1] if is_sandbox else held:
        yield _credentials_check(one, used=one is used)
    if used is None and found.is_google:
        yield Check(topic, "credentials", "error", "none", "run 'dwplus auth'", authentication=True)
    elif used is None:
        yield Check(topic, "credentials", "ok", "none used; this server is not Google's and is asked without")
    if found.project is None:
        hint = f"; that of the credentials is {used.project}" if used is not None and used.project else ""
        step = "pass --project or set EE_PROJECT_ID; 'dwplus auth' tells how to register one"
        yield Check(topic, "project", "error", f"none{hint}", step, authentication=True)
        return
    origin = "the local server's own" if is_sandbox else project_origin(question.project, found, environment)
    yield Check(topic, "project", "ok", f"{found.project} ({origin})")


def _credentials_check(one: Credentials, *, used: bool) -> Check:
    whose = one.account or "the file does not tell whose"
    if one.trouble:
        step = "sign in again or download the key again; 'dwplus auth' tells how"
        found = f"{one.kind} in {one.file}: {one.trouble}"
        return Check("Sign-in", "credentials", "error" if used else "warning", found, step, authentication=used)
    return Check("Sign-in", "credentials", "ok", f"{one.kind}, {whose}, {one.file} ({'used' if used else 'not used'})")


# --- the service ------------------------------------------------------------------------------------------------------


def service(found: Configuration, deadline_s: float) -> Iterator[Check]:
    """Server, clock, session, one pixel, quota; ends where the next step cannot be tried."""
    topic, url = "Service", service_url(found)
    shown = shown_url(url)
    if not is_this_machine(url):
        yield machine.proxies()
    try:
        reached, date, milliseconds = within(deadline_s, lambda: _reach(url, deadline_s))
    except (DwplusError, requests.RequestException) as error:
        step = "check the network, proxies and --ee-url (EE_URL)"
        yield Check(topic, "server", "error", f"{shown} cannot be reached: {_reason(error)}", step)
        return
    yield Check(topic, "server", "ok", f"{shown} answered in {milliseconds:.0f} ms; pixels are called {reached}")
    yield clock(date, datetime.now(UTC))
    try:
        began = time.monotonic()
        retries = RequestRetries(deadline_s=deadline_s, attempts=2, refused_s=deadline_s)
        session = within(deadline_s, lambda: connect(found, retries=retries, concurrency=1))
    except Exception as error:  # whatever it is, it belongs into the checklist
        yield _service_failure("session", error)
        return
    seconds = f"{time.monotonic() - began:.1f} s"
    whose = "; a sandbox: no account of Google was checked" if session.name == SANDBOX.name else ""
    yield Check(topic, "session", "ok", f"account and project accepted in {seconds}{whose}")
    name = "test pixel"
    try:
        yield within(deadline_s, lambda: _pixel(session))
        name = "project"
        yield from quota_told(within(deadline_s, session.project_config), session.quota_status)
    except Exception as error:
        yield _service_failure(name, error)
    finally:
        session.stop()
    if session.name == EARTH_ENGINE.name:
        yield from quota_documented()


def _service_failure(name: str, error: Exception) -> Check:
    known = trouble_of(str(error))
    step = f"{known.means}: {known.do}" if known else "try again later; 'dwplus auth' lists the usual causes"
    return failed("Service", name, error, next_step=step)


def _reach(url: str, timeout_s: float) -> tuple[str, str, float]:
    """(what the pixels are called, ``Date`` header, milliseconds) of the server's own description."""
    began = time.monotonic()
    with requests.Session() as http:
        http.trust_env = not is_this_machine(url)
        answer = http.get(f"{url}/$discovery/rest", params={"version": "v1"}, timeout=timeout_s)
    milliseconds = 1000 * (time.monotonic() - began)
    answer.raise_for_status()
    try:
        content = answer.json()
    except ValueError:
        content = None
    if not isinstance(content, dict) or "resources" not in content:
        raise ServiceError("it answers, but is no server of the Earth Engine API")
    return answered_by(url, declared=content.get("pixelSource")), answer.headers.get("Date", ""), milliseconds


def _reason(error: Exception) -> str:
    """Without addresses of proxies, which may hold passwords."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code}"
    return str(error) if isinstance(error, DwplusError) else type(error).__name__


def clock(date: str, now: datetime) -> Check:
    """This machine's clock against the server's ``Date``; a token signed at a wrong time is refused."""
    try:
        skew_s = (now - parsedate_to_datetime(date)).total_seconds()
    except (TypeError, ValueError):
        return Check("Service", "clock", "ok", "not told by the server")
    if abs(skew_s) <= SKEW_WARNING_S:
        return Check("Service", "clock", "ok", f"{abs(skew_s):.0f} s from the server's")
    found = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the server's"
    step = "set it (timedatectl set-ntp true): the service refuses tokens signed at a wrong time"
    wrong = abs(skew_s) > SKEW_ERROR_S
    return Check("Service", "clock", "error" if wrong else "warning", found, step, authentication=wrong)


def _pixel(session: Session) -> Check:
    """One pixel of a Sentinel-2 scene, the least that shows that pixels can be had."""
    began = time.monotonic()
    answer = session.pixels(one_pixel_request())
    seconds = time.monotonic() - began
    value = int(answer["B4"][0, 0])
    found = f"Sentinel-2 B4 of 13 July 2019 on Java: {value} in {seconds:.1f} s ({session.name})"
    if value == 0:
        step = "pixels arrive, but the collection holds none here: a build would find no scenes either"
        return Check("Service", "test pixel", "warning", found, step)
    return Check("Service", "test pixel", "ok", found)


_NOT_TOLD = "not told by the service"


def quota_told(config: Mapping[str, Any] | None, status: str) -> Iterator[Check]:
    """What the service tells of project and quota; nothing is guessed.

    Args:
        config: the project's configuration as the service gives it; None = it gives none.
        status: header ``x-earth-engine-quota-status`` of the last answer; empty = there was none.
    """
    registration = str((config or {}).get("registrationState") or _NOT_TOLD)
    if registration == "NOT_REGISTERED":
        step = "register the project at https://console.cloud.google.com/earth-engine"
        yield Check("Quota", "registration", "error", registration, step, authentication=True)
    else:
        yield Check("Quota", "registration", "ok", registration)
    if "parallelism_restricted=true" in status:
        step = f"the month's compute is used up, requests are slowed: {TIERS_PAGE}; continue next month"
        yield Check("Quota", "status", "warning", status, step)
    else:
        yield Check("Quota", "status", "ok", status or _NOT_TOLD)


def quota_documented() -> Iterator[Check]:
    """What Google's pages say where the service tells nothing."""
    tiers = ", ".join(f"{name} {hours:,}" for name, hours in TIERS_EECU_HOURS.items())
    yield Check("Quota", "tier", "ok", f"{_NOT_TOLD}; documented EECU-hours a month: {tiers} ({TIERS_PAGE})")
    yield Check("Quota", "used this month", "ok", f"{_NOT_TOLD}; console.cloud.google.com/earth-engine shows it")
    standard = f"{CONCURRENT_REQUESTS} requests at a time, {REQUESTS_PER_SECOND} a second"
    yield Check("Quota", "requests", "ok", f"{_NOT_TOLD}; documented: {standard} ({USAGE_PAGE})")
