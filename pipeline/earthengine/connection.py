"""Connection: start a session with a server of the Earth Engine API: address, project, credentials.

Comes before ``session``; ``configuration`` says what is configured.
"""

from __future__ import annotations

import random
import time
import warnings
from typing import Any

import ee
import google.auth
import google.auth.exceptions
import requests
from google.oauth2 import service_account

from ..errors import AuthenticationError, DataError, ServiceError, in_brief
from ..files.atomic import read_json
from ..files.downloads import retry_after_s
from ..files.remote import is_this_machine, shown_url
from ..spec.version import __version__
from .configuration import HIGH_VOLUME_URL, Configuration, answered_by
from .faults import fault_of
from .session import DEFAULT_CONCURRENCY, RequestRetries, Session
from .transport import Transport

_SCOPES = ["https://www.googleapis.com/auth/earthengine", "https://www.googleapis.com/auth/cloud-platform"]
_REACH_TIMEOUT_S = 20.0
_CONNECT_DEADLINE_S = 90.0
_CONNECT_ATTEMPTS = 4
_LONGEST_RETRY_AFTER_S = 60.0


def connect(
    found: Configuration, *, retries: RequestRetries | None = None, concurrency: int = DEFAULT_CONCURRENCY
) -> Session:
    """A session with the server, project and credentials of a configuration.

    Args:
        concurrency: requests in flight; fewer while the service refuses some.

    Raises:
        ServiceError: the server cannot be reached.
        AuthenticationError: it does not accept project or credentials.
    """
    url = service_url(found)
    retries, shown = retries or RequestRetries(), shown_url(url)
    name = answered_by(url, declared=declared_source(url, retries=retries))
    credentials = _credentials(found)
    transport = Transport(deadline_s=min(_CONNECT_DEADLINE_S, retries.deadline_s), connections=concurrency)
    for attempt in range(1, _CONNECT_ATTEMPTS + 1):
        error = _initialize(url, found.project, credentials, transport)
        if error is None:
            break
        fault = fault_of(error)
        if fault.kind in ("authentication", "refused", "quota"):
            raise AuthenticationError(
                f"Earth Engine at {shown} refused to start a session: {fault.message}; check --project (EE_PROJECT_ID) "
                "and the credentials ('dwplus doctor' looks at both, 'dwplus auth' explains them)"
            ) from error
        if attempt == _CONNECT_ATTEMPTS:
            raise ServiceError(f"Earth Engine at {shown} does not start a session: {fault.message}; try again later")
        time.sleep(retries.wait_s(attempt, random.Random()))
    # The session itself retries: it spreads the waits of all threads and honours Retry-After.
    ee.data.setMaxRetries(0)
    ee.data.setUserAgent(f"dwplus/{__version__} (gzip)")
    transport.deadline_s = retries.deadline_s
    return Session(name=name, url=url, retries=retries, concurrency=concurrency, transport=transport)


def service_url(found: Configuration) -> str:
    """Address of the server that a configuration means, without a closing slash."""
    return (found.url or HIGH_VOLUME_URL).rstrip("/")


def _initialize(url: str, project: str | None, credentials: Any, transport: Transport) -> Exception | None:
    """Start the client; what went wrong, if anything."""
    try:
        # The client keeps what it learned of one server for the next one.
        ee.Reset()
        ee.data.setMaxRetries(0)
        ee.Initialize(credentials=credentials, url=url, project=project, http_transport=transport)
    except Exception as error:  # a server of something else can make the client fail in any way
        return error
    return None


def declared_source(url: str, *, retries: RequestRetries | None = None) -> str | None:
    """What the server calls its pixels, if it says so; also the first proof that it can be reached at all.

    An answer that may get better, or none, is requested again like any other request.

    Raises:
        ServiceError: it cannot be reached, or is a server of something else.
    """
    retries, rng = retries or RequestRetries(), random.Random()
    most = min(_CONNECT_ATTEMPTS, retries.attempts)
    for attempt in range(1, most + 1):
        try:
            document = _discovery(url)
            break
        except requests.RequestException as error:
            if attempt == most or not _may_get_better(error):
                advice = "check the address (--ee-url, EE_URL) and the network"
                raise ServiceError(
                    f"cannot reach Earth Engine at {shown_url(url)} ({_reason(error)}); {advice}"
                ) from error
            demanded_s = min(_demanded_s(error), _LONGEST_RETRY_AFTER_S)
            time.sleep(max(retries.wait_s(attempt, rng), demanded_s))
    declared = document.get("pixelSource")
    return str(declared) if declared else None


def _discovery(url: str) -> dict[str, Any]:
    """The server's description of itself.

    Raises:
        requests.RequestException: there is no answer, or it is an error.
        ServiceError: it is an answer of something else.
    """
    with requests.Session() as http:
        http.trust_env = not is_this_machine(url)
        answer = http.get(f"{url}/$discovery/rest", params={"version": "v1"}, timeout=_REACH_TIMEOUT_S)
    answer.raise_for_status()
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or "resources" not in document:
        raise ServiceError(
            f"{shown_url(url)} answers, but is no server of the Earth Engine API; check the address (--ee-url, EE_URL) "
            "and the network"
        )
    return document


def _may_get_better(error: requests.RequestException) -> bool:
    """Whether another attempt may help: not where a server refuses."""
    if error.response is not None:
        status = error.response.status_code
        return status in (408, 425, 429) or (status >= 500 and status != 501)
    lost = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, lost) and not isinstance(error, requests.exceptions.SSLError)


def _demanded_s(error: requests.RequestException) -> float:
    return 0.0 if error.response is None else retry_after_s(error.response.headers.get("Retry-After")) or 0.0


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"HTTP {error.response.status_code}"
    return type(error).__name__


_NO_KEY = (AttributeError, KeyError, TypeError, ValueError, google.auth.exceptions.GoogleAuthError)
"""What Google's libraries raise where a file is no key of theirs, or lacks a part of one."""


def _credentials(found: Configuration) -> Any:
    """Credentials for the client: a key file, the login on this machine, or none for a server that needs none.

    The login goes to Google alone: another server of the API must not see it.

    Raises:
        AuthenticationError: the key file cannot be used.
    """
    if found.credentials_file is None:
        return "persistent" if found.signed_in and found.is_google else None
    try:
        kind = read_json(found.credentials_file).get("type")
        if kind == "service_account":
            return service_account.Credentials.from_service_account_file(str(found.credentials_file), scopes=_SCOPES)
        with warnings.catch_warnings():
            # Loaders by type cover service accounts and users only; this one covers what gcloud writes too.
            warnings.simplefilter("ignore", DeprecationWarning)
            credentials, _ = google.auth.load_credentials_from_file(str(found.credentials_file), scopes=_SCOPES)
    except (DataError, *_NO_KEY) as error:
        raise AuthenticationError(
            f"GOOGLE_APPLICATION_CREDENTIALS names {found.credentials_file}, which is no usable key: "
            f"{in_brief(error)}; download it again, or unset the variable to use the login of 'earthengine "
            "authenticate'"
        ) from error
    return credentials
