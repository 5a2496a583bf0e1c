"""Credentials on this machine: which files hold a login or a key, whose they are, which one is used. Sends no request.

Nothing secret leaves this module: of a key or a login it returns only kind, file, account and project.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files.atomic import read_json
from ..files.paths import home_folder
from .configuration import Configuration

KINDS: dict[str, str] = {
    "service_account": "service account",
    "authorized_user": "gcloud login (application default credentials)",
    "external_account": "workload identity federation",
    "impersonated_service_account": "service account, impersonated",
}
"""``type`` in a file of Google's libraries -> as text (google.auth, application default credentials)."""

EARTHENGINE_LOGIN = "login of 'earthengine authenticate'"

_IMPERSONATED = re.compile(r"serviceAccounts/([^/:]+):")


@dataclass(frozen=True)
class Credentials:
    """A login or a key in a file.

    Attributes:
        kind: as text.
        account: e-mail address, where the file names it.
        project: that the file names; empty where it names none.
        trouble: why it cannot be used; empty where it can.
    """

    kind: str
    file: Path
    account: str = ""
    project: str = ""
    trouble: str = ""


def credentials_on_machine(found: Configuration, *, home: Path | None = None) -> tuple[Credentials, ...]:
    """Every login and key that the client would look at, in its order.

    A file named by ``GOOGLE_APPLICATION_CREDENTIALS``, the login of ``earthengine authenticate``, gcloud's.
    """
    folder = (home or home_folder()) / ".config"
    login = folder / "earthengine" / "credentials"
    gcloud = folder / "gcloud" / "application_default_credentials.json"
    held = [] if found.credentials_file is None else [google_file(found.credentials_file)]
    held += [earthengine_login(login)] if login.is_file() else []
    held += [google_file(gcloud)] if gcloud.is_file() else []
    return tuple(held)


def in_use(held: Sequence[Credentials], found: Configuration) -> Credentials | None:
    """The one that requests go out with; None where they go out without any.

    A key file that is named is never passed over, whatever is wrong with it. A login goes to Google alone.
    """
    if found.credentials_file is not None:
        return held[0]
    return next((one for one in held if not one.trouble), None) if found.is_google else None


def google_file(path: Path) -> Credentials:
    """A file of Google's libraries: a service account's key, or what gcloud leaves."""
    content = _content(path)
    if isinstance(content, str):
        return Credentials("key file", path, trouble=content)
    kind = str(content.get("type"))
    impersonated = _IMPERSONATED.search(str(content.get("service_account_impersonation_url", "")))
    account = content.get("client_email") or content.get("account") or (impersonated[1] if impersonated else "")
    project = content.get("project_id") or content.get("quota_project_id") or ""
    trouble = "" if kind in KINDS else f"its type is {kind!r}, not one of {', '.join(KINDS)}"
    if kind == "service_account" and not content.get("private_key"):
        trouble = "it holds no private key"
    return Credentials(KINDS.get(str(kind), "key file"), path, str(account), str(project), trouble)


def earthengine_login(path: Path) -> Credentials:
    """What ``earthengine authenticate`` and ``earthengine set_project`` leave; it does not name the account."""
    content = _content(path)
    if isinstance(content, str):
        return Credentials(EARTHENGINE_LOGIN, path, trouble=content)
    trouble = "" if content.get("refresh_token") else "it holds no login, only settings"
    return Credentials(EARTHENGINE_LOGIN, path, "", str(content.get("project") or ""), trouble)


def _content(path: Path) -> dict[str, Any] | str:
    """The JSON object in a file, or what is wrong with it."""
    try:
        content = read_json(path)
    except (DataError, OSError) as error:
        return str(error)
    return content if isinstance(content, dict) else "it is not a JSON object"
