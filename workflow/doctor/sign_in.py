"""Sign in: the steps to an accepted account and project on this machine. Contacts nothing."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ...pipeline.earthengine.configuration import Configuration, choose_source
from ...pipeline.earthengine.credentials import Credentials, in_use
from ...pipeline.errors import AuthenticationError

Place = Literal["desk", "remote", "unattended"]

_UNATTENDED = ("CI", "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "KUBERNETES_SERVICE_HOST")


@dataclass(frozen=True)
class Machine:
    """What decides which way to sign in fits: ``desk`` has a browser, ``remote`` none, ``unattended`` no user."""

    place: Place
    gcloud: bool


@dataclass(frozen=True)
class Trouble:
    """An error as users see it.

    Attributes:
        seen: parts of its text; one of them is enough.
        means: what it comes from.
        do: what helps.
    """

    seen: tuple[str, ...]
    means: str
    do: str


TROUBLES: tuple[Trouble, ...] = (
    Trouble(
        ("Please authorize access",),
        "the client found no login here, or one that has ended",
        "run 'earthengine authenticate --force', or set GOOGLE_APPLICATION_CREDENTIALS to a service account's key",
    ),
    Trouble(
        ("no project found", "needs a project", "quota project"),
        "there is an account, but nothing says which project pays for the requests",
        "pass --project, set EE_PROJECT_ID, or run 'earthengine set_project MY-PROJECT' once",
    ),
    Trouble(
        ("has not been used in project", "SERVICE_DISABLED", "it is disabled"),
        "the Earth Engine API is not switched on in that project; where the number in the text is of no project of "
        "yours, the request went out without your project",
        "switch it on at https://console.cloud.google.com/apis/library/earthengine.googleapis.com (right project at "
        "the top), wait some minutes; check --project",
    ),
    Trouble(
        ("does not have required permission", "serviceusage.services.use", "USER_PROJECT_DENIED"),
        "the account may not use the project, or the project's id is misspelt",
        "check --project; its owner gives the account the roles Service Usage Consumer and Earth Engine Resource "
        "Viewer at https://console.cloud.google.com/iam-admin/iam",
    ),
    Trouble(
        ("not registered", "Not signed up"),
        "the project exists, but was never registered for Earth Engine",
        "register it at https://console.cloud.google.com/earth-engine, as noncommercial or commercial",
    ),
    Trouble(
        ("Invalid JWT: Token must be", "reasonable timeframe", "Token used too early", "out of date"),
        "the clock of this machine is wrong, so that its signatures look old or come from the future",
        "set the clock (timedatectl set-ntp true); 'dwplus doctor' shows by how much it is off",
    ),
    Trouble(
        ("Invalid JWT Signature", "account not found", "not signed with"),
        "the key was deleted, belongs to a deleted account, or is for another server",
        "make a new key at https://console.cloud.google.com/iam-admin/serviceaccounts, or unset "
        "GOOGLE_APPLICATION_CREDENTIALS to use the login of 'earthengine authenticate'",
    ),
    Trouble(
        ("invalid_grant", "expired or revoked", "Reauthentication is needed", "invalid authentication credentials"),
        "the login has ended: after 7 days in notebook mode, by a new password, or by a rule of the organisation",
        "run 'earthengine authenticate --force'; for a run of many days use a service account",
    ),
)
"""The usual errors, the more particular ones first. Sources: texts of the client (ee 1.7), of google-auth, and of issue
threads of its users; developers.google.com/earth-engine/guides/auth and .../guides/access_control."""


def trouble_of(text: str) -> Trouble | None:
    """What an error's text means, if it is one of the usual ones."""
    low = text.lower()
    return next((one for one in TROUBLES if any(part.lower() in low for part in one.seen)), None)


def machine_of(
    environment: Mapping[str, str], *, platform: str = sys.platform, which: Callable[[str], str | None] = shutil.which
) -> Machine:
    """Which kind of machine this is, by its environment."""
    gcloud = which("gcloud") is not None
    if any(environment.get(name) for name in _UNATTENDED):
        return Machine("unattended", gcloud)
    far = any(environment.get(name) for name in ("SSH_CONNECTION", "SSH_TTY"))
    screen = platform in ("darwin", "win32") or any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return Machine("desk" if screen and not far else "remote", gcloud)


def project_origin(flag: str | None, found: Configuration, environment: Mapping[str, str]) -> str:
    """Where the project of a configuration comes from."""
    if flag:
        return "--project"
    for name in ("EE_PROJECT_ID", "EARTHENGINE_PROJECT"):
        if environment.get(name) == found.project:
            return name
    return "earthengine set_project"


def _indented(text: str, mark: str) -> str:
    # Addresses and commands stay whole, so that they can be copied.
    return textwrap.fill(
        text,
        width=110,
        initial_indent=f"      {mark} ",
        subsequent_indent=" " * 9,
        break_long_words=False,
        break_on_hyphens=False,
    )


def found_text(found: Configuration, held: Sequence[Credentials], origin: str) -> list[str]:
    """What this machine holds, line by line."""
    text, used = [], in_use(held, found)
    for one in held:
        use = f"cannot be used: {one.trouble}" if one.trouble else "used" if one is used else "not used"
        text.append(f"{one.kind}{f' {one.account}' if one.account else ''} in {one.file} ({use})")
    text = text or ["no login and no key"]
    text.append(f"project {found.project} (from {origin})" if found.project else "no project")
    if found.url:
        text.append(f"server {found.url}")
    return text


def verdict(found: Configuration) -> str:
    """What a build would do with it."""
    try:
        source = choose_source("auto", found)
    except AuthenticationError as error:
        return f"A build would stop: {error}"
    if source.synthetic:
        return "A build would use the sandbox (synthetic pixels), as nothing of Earth Engine is configured."
    return "A build would use it; 'dwplus auth check' checks that the service accepts it."


_WAYS: dict[str, str] = {
    "desk": """\
A computer with a browser
  earthengine authenticate                    opens the browser; the login stays in ~/.config/earthengine/credentials
  earthengine set_project MY-PROJECT""",
    "remote": """\
A server without a browser (ssh)
  earthengine authenticate --auth_mode=gcloud      prints a gcloud command to run where there is a browser
  earthengine authenticate --auth_mode=notebook    without gcloud: a link to open anywhere, a code to paste back;
                                                   ends after 7 days, sooner than a long build
  earthengine set_project MY-PROJECT""",
    "unattended": """\
A cluster or CI, where no user can sign in: a service account
  1. https://console.cloud.google.com/iam-admin/serviceaccounts   create one in the project
  2. https://console.cloud.google.com/iam-admin/iam               give it the roles Earth Engine Resource Viewer and
                                                                  Service Usage Consumer
  3. its page, Keys, Add key, JSON                                keep the file out of repositories; chmod 600 key.json
  export GOOGLE_APPLICATION_CREDENTIALS=$HOME/key.json EE_PROJECT_ID=MY-PROJECT""",
}

_PROJECT = """\
A project, once
  1. https://console.cloud.google.com/projectcreate       create one, or take one that you may use
  2. https://console.cloud.google.com/earth-engine        register it for Earth Engine; this also asks whether the use
                                                          is noncommercial, and which tier
  3. name it: --project, else EE_PROJECT_ID, else EARTHENGINE_PROJECT, else 'earthengine set_project'. It is the id
     (my-project-123), not the title. gcloud's own project and quota project are not looked at.
Account: GOOGLE_APPLICATION_CREDENTIALS first, else the login of 'earthengine authenticate', else gcloud's."""


def advice(found: Configuration, held: Sequence[Credentials], machine: Machine, *, origin: str = "") -> str:
    """The page of ``dwplus auth``: what was found, the way that fits first, the project, the usual errors."""
    order = (machine.place, *(place for place in _WAYS if place != machine.place))
    ways = [_WAYS[place] for place in order]
    fits = f"{ways[0].splitlines()[0]}   <- this machine, as it seems"
    ways[0] = "\n".join([fits, *ways[0].splitlines()[1:]])
    if machine.place == "remote" and not machine.gcloud:
        ways[0] += "\n  (gcloud is not on this machine: https://cloud.google.com/sdk/docs/install)"
    errors = [f'  "{one.seen[0]}"\n{_indented(one.means, "  ")}.\n{_indented(one.do, "->")}' for one in TROUBLES]
    parts = [
        "Found on this machine (nothing was contacted)\n"
        + "\n".join(f"  {line}" for line in found_text(found, held, origin)),
        verdict(found),
        *ways,
        _PROJECT,
        "The usual errors\n" + "\n".join(errors),
        "Next: dwplus auth check",
    ]
    return "\n\n".join(parts)
