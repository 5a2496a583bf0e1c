"""Which server pixels are requested from: flags, environment and logins, and the name of the source."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import AuthenticationError, DwplusError
from ..files.atomic import read_json
from ..files.paths import home_folder
from ..spec.sources import EARTH_ENGINE, SANDBOX, Source

HIGH_VOLUME_URL = "https://earthengine-highvolume.googleapis.com"
"""Google's endpoint for many small requests (developers.google.com/earth-engine/cloud/highvolume)."""


@dataclass(frozen=True)
class Configuration:
    """What flags and environment say about Earth Engine; ``None`` = not set.

    Attributes:
        url: server of the API.
        project: Google Cloud project that is registered for Earth Engine.
        credentials_file: service account or application default credentials.
        signed_in: ``earthengine authenticate`` or ``gcloud auth application-default login`` has left a login.
    """

    url: str | None = None
    project: str | None = None
    credentials_file: Path | None = None
    signed_in: bool = False

    @property
    def is_google(self) -> bool:
        return answered_by(self.url or HIGH_VOLUME_URL) == EARTH_ENGINE.name


def configuration(
    *, url: str | None, project: str | None, environment: Mapping[str, str] = os.environ, home: Path | None = None
) -> Configuration:
    """Flags first, then the variables of the Earth Engine ecosystem, then the login of ``earthengine authenticate``."""
    credentials = environment.get("GOOGLE_APPLICATION_CREDENTIALS")
    folder = (home or home_folder()) / ".config"
    login = folder / "earthengine" / "credentials"
    gcloud = folder / "gcloud" / "application_default_credentials.json"
    return Configuration(
        url=url or environment.get("EE_URL") or None,
        project=project
        or environment.get("EE_PROJECT_ID")
        or environment.get("EARTHENGINE_PROJECT")
        or _saved_project(login),
        credentials_file=Path(credentials) if credentials else None,
        signed_in=login.is_file() or gcloud.is_file(),
    )


def _saved_project(login: Path) -> str | None:
    """The project of ``earthengine set_project``, kept beside the login."""
    try:
        content = read_json(login)
    except DwplusError:
        return None
    project = content.get("project") if isinstance(content, dict) else None
    return project if project and isinstance(project, str) else None


def choose_source(requested: str, found: Configuration) -> Source:
    """The source that ``--source`` means: the sandbox only where nothing of Earth Engine is configured at all.

    Raises:
        AuthenticationError: only a part of what Earth Engine needs is configured.
    """
    has_credentials = found.credentials_file is not None or found.signed_in
    if requested == SANDBOX.folder or (requested == "auto" and found == Configuration()):
        return SANDBOX
    if found.project is None:
        given = f"{_credentials_as_text(found)} found, but no project" if has_credentials else "no project"
        raise AuthenticationError(
            f"Earth Engine needs a project: {given}; pass --project or set EE_PROJECT_ID (or use --source sandbox)"
        )
    if not has_credentials and found.is_google:
        raise AuthenticationError(
            f"Earth Engine needs credentials: project {found.project!r} is set, but no login was found; run "
            "'earthengine authenticate', or set GOOGLE_APPLICATION_CREDENTIALS to a service-account key "
            "(or use --source sandbox)"
        )
    if found.credentials_file is not None and not found.credentials_file.is_file():
        raise AuthenticationError(
            f"GOOGLE_APPLICATION_CREDENTIALS names {found.credentials_file}, which does not exist; correct it, or "
            "unset it to use the login of 'earthengine authenticate'"
        )
    return EARTH_ENGINE


def _credentials_as_text(found: Configuration) -> str:
    return "GOOGLE_APPLICATION_CREDENTIALS" if found.credentials_file else "a login of 'earthengine authenticate'"


def answered_by(url: str, *, declared: str | None = None) -> str:
    """What the pixels of a server are called: ``earthengine``, ``SANDBOX`` or ``UNVERIFIED <host>``.

    Args:
        declared: what the server says of itself in its discovery document; only ``SANDBOX`` is believed.
    """
    host = urlsplit(url).hostname or url
    if host == "googleapis.com" or host.endswith(".googleapis.com"):
        return EARTH_ENGINE.name
    return SANDBOX.name if declared == SANDBOX.name else Source.unverified(host).name
