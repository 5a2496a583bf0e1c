"""Session: the one way to Earth Engine. Connect, find a tile's scene, fetch its pixels, turn service errors into ours.

The only file that talks to the network for pixels; it does not know whether Google or another server of the same API
answers.
"""

from __future__ import annotations

import random
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import ee
import google.auth
import google.auth.exceptions
import numpy as np
import requests
from google.oauth2 import service_account
from numpy.typing import NDArray

from .. import __version__
from .bands import BANDS, NODATA, S1_BANDS, S2_BANDS, SHARD_BANDS
from .errors import AuthenticationError, DataError, QuotaError, ServiceError, TileError
from .files import read_json
from .limiter import Limiter
from .matching import SceneHint, SceneRef, candidates_of, choose_scene
from .scenes import REQUEST_BANDS, S1_FILL, S2_COLLECTION, S2_SHIFT, Recipe, pixel_request, scene_candidates
from .sources import HIGH_VOLUME_URL, Configuration, answered_by
from .tiles import Tile

DEFAULT_CONCURRENCY = 20
"""Requests in flight; Earth Engine's standard quota is 40 (developers.google.com/earth-engine/guides/usage)."""

_SCOPES = ["https://www.googleapis.com/auth/earthengine", "https://www.googleapis.com/auth/cloud-platform"]
_REACH_TIMEOUT_S = 20.0
_CONNECT_TIMEOUT_S = 90.0
_CONNECT_ATTEMPTS = 4
_LONGEST_RETRY_AFTER_S = 300.0
_RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
# One retry helps when a server was busy; after that the same request fails again.
_OVERLOAD_TEXTS = ("memory limit", "memory capacity", "timed out")

T = TypeVar("T")


# --- what is asked for ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """One request for the pixels of one tile."""

    tile: Tile
    scene: SceneRef
    recipe: Recipe
    parameters: Mapping[str, Any]


class PixelSource(Protocol):
    """Where pixels come from. ``name`` is written into every shard."""

    name: str

    def resolve(self, tile: Tile, hint: SceneHint) -> SceneRef | None:
        """The Sentinel-2 scene of a tile, or None where the source has none."""

    def request(self, tile: Tile, recipe: Recipe, scene: SceneRef) -> Request:
        """The request for a tile's pixels; asks nothing yet."""

    def stop(self) -> None:
        """End the waits of all threads: the run is over."""

    def fetch(self, request: Request) -> NDArray[np.uint16]:
        """Stored values: uint16 (bands, H, W) in the order of ``SHARD_BANDS``, 0 = no data."""


# --- decoding an answer ---------------------------------------------------------------------------------------------


def stored_values(answer: NDArray[np.void], tile: Tile) -> NDArray[np.uint16]:
    """The stored bands of a shard out of an answer of the service.

    Args:
        answer: structured (H, W) with the fields of ``scenes.REQUEST_BANDS``.

    Returns:
        uint16 (bands, H, W) in the order of ``SHARD_BANDS``, 0 = no data; a valid DN of 0 becomes 1.

    Raises:
        ValueError: fields or shape are not what was asked for.
    """
    if answer.dtype.names != REQUEST_BANDS:
        raise ValueError(f"bands {answer.dtype.names} instead of {REQUEST_BANDS}")
    if answer.shape != tile.shape:
        raise ValueError(f"{answer.shape} pixels instead of {tile.shape}")
    stored = np.zeros((len(SHARD_BANDS), *tile.shape), dtype=np.uint16)
    for band in S2_BANDS:
        shifted = answer[band]
        stored[SHARD_BANDS.index(band)] = np.where(shifted == 0, NODATA, np.maximum(shifted - S2_SHIFT, 1))
    count = answer["S1_N"]
    for band in S1_BANDS:
        decibel = answer[band].astype(np.float64)
        seen = (count > 0) & np.isfinite(decibel) & (decibel > S1_FILL + 1)
        value = np.rint((np.where(seen, decibel, 0.0) - BANDS[band].offset) / BANDS[band].scale)
        stored[SHARD_BANDS.index(band)] = np.where(seen, np.clip(value, 1, 65535), NODATA)
    stored[SHARD_BANDS.index("S1_N")] = count
    return stored


# --- patience -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patience:
    """How long to wait for one answer, and how often to ask again.

    Attributes:
        deadline_s: for one request; a socket that stalls longer is given up.
        attempts: requests for one thing, answers "too many requests" not counted.
        first_wait_s, longest_wait_s: between attempts, doubling.
        refused_s: how long one thing may meet nothing but "too many requests".
    """

    deadline_s: float = 300.0
    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    refused_s: float = 1800.0

    def wait_s(self, attempt: int, rng: random.Random) -> float:
        """Seconds before attempt ``attempt + 1`` (attempts count from 1): exponential, half of it jitter."""
        full: float = min(self.longest_wait_s, self.first_wait_s * 2.0 ** (attempt - 1))
        return full * (0.5 + 0.5 * rng.random())


@dataclass(frozen=True)
class Fault:
    """What went wrong with one request, and what that means."""

    kind: Literal["retry", "slow-down", "overload", "refused", "authentication", "quota"]
    message: str
    retry_after_s: float | None = None


def fault_of(error: Exception) -> Fault:
    """Tell apart the failures of the client: which can get better, which cannot, which must stop the run."""
    cause = error.__context__ if isinstance(error, ee.EEException) else None
    response = getattr(cause, "resp", None)
    message = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, google.auth.exceptions.TransportError):
        return Fault("retry", message)
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        return Fault("authentication", message)
    if response is None:
        return Fault("retry", f"{type(error).__name__}: {message}")
    status = int(response.status)
    if status == 403 and b"ratelimitexceeded" in bytes(getattr(cause, "content", b"")).lower():
        return Fault("slow-down", message, _seconds(response.get("retry-after")))
    if status in (401, 403):
        return Fault("quota" if "quota" in message.lower() else "authentication", message)
    if status == 429:
        return Fault("slow-down", message, _seconds(response.get("retry-after")))
    if status in _RETRIED_STATUS:
        return Fault("retry", f"HTTP {status}: {message}", _seconds(response.get("retry-after")))
    if any(text in message.lower() for text in _OVERLOAD_TEXTS):
        return Fault("overload", message)
    return Fault("refused", message)


def _seconds(header: str | None) -> float | None:
    try:
        return float(header) if header else None
    except ValueError:
        return None


# --- the session ----------------------------------------------------------------------------------------------------


class Session:
    """A connection to a server of the Earth Engine API; a ``PixelSource``. Threads may share it."""

    def __init__(self, *, name: str, url: str, patience: Patience, concurrency: int) -> None:
        self.name = name
        self.url = url
        self.patience = patience
        self._limiter = Limiter(concurrency)
        self._rng = random.Random()

    def resolve(self, tile: Tile, hint: SceneHint) -> SceneRef | None:
        """The Sentinel-2 scene of a tile; see ``choose_scene`` for the rules.

        Raises:
            TileError: the service keeps failing for this tile.
            AuthenticationError, QuotaError: no tile can be had.
        """
        answer = self._ask(tile, lambda: scene_candidates(tile, *hint.window(tile.date)).getInfo() or {})
        chosen = choose_scene(tile, hint, candidates_of(answer))
        if chosen is None:
            return None
        candidate, rule = chosen
        properties = {"PRODUCT_ID": candidate.product_id, "PROCESSING_BASELINE": candidate.baseline}
        return SceneRef(S2_COLLECTION, candidate.index, rule, properties)

    def stop(self) -> None:
        """End the waits of all threads; a session that was stopped asks nothing any more."""
        self._limiter.stop()

    def request(self, tile: Tile, recipe: Recipe, scene: SceneRef) -> Request:
        return Request(tile, scene, recipe, pixel_request(tile, recipe, scene.index))

    def fetch(self, request: Request) -> NDArray[np.uint16]:
        """Stored values of a tile.

        Raises:
            TileError: the service keeps failing for this tile, or refuses the request.
            AuthenticationError, QuotaError: no tile can be had.
        """
        tile = request.tile
        return self._ask(tile, lambda: stored_values(ee.data.computePixels(dict(request.parameters)), tile))

    def _ask(self, tile: Tile, call: Callable[[], T]) -> T:
        """The answer to one call, asked again while that can help."""
        started, attempt, overloads, refusals = time.monotonic(), 0, 0, 0
        while True:
            try:
                with self._limiter.slot():
                    answer = call()
            except (ee.EEException, google.auth.exceptions.GoogleAuthError, OSError, ValueError) as error:
                fault = fault_of(error)
            else:
                self._limiter.answered()
                return answer
            _raise_if_hopeless(fault, tile)
            if fault.kind == "slow-down":
                refusals += 1
                if time.monotonic() - started > self.patience.refused_s:
                    raise QuotaError(
                        f"tile {tile.id}: Earth Engine refused {refusals} requests: {fault.message}; start the same "
                        "command again later, or with a smaller --concurrency"
                    )
                self._limiter.refused(self._wait_s(min(refusals, 3), fault))
                continue
            attempt += 1
            overloads += fault.kind == "overload"
            if attempt >= self.patience.attempts or overloads > 1:
                raise TileError(f"tile {tile.id}: no answer after {attempt} attempts, last: {fault.message}")
            self._limiter.sleep(self._wait_s(attempt, fault))

    def _wait_s(self, attempt: int, fault: Fault) -> float:
        asked_for = min(fault.retry_after_s or 0.0, _LONGEST_RETRY_AFTER_S)
        return max(self.patience.wait_s(attempt, self._rng), asked_for)


def _raise_if_hopeless(fault: Fault, tile: Tile) -> None:
    if fault.kind == "authentication":
        raise AuthenticationError(
            f"Earth Engine refused the credentials or the project: {fault.message}; check --project and run "
            "'earthengine authenticate' again, then start the same command: it goes on where it stopped"
        )
    if fault.kind == "quota":
        raise QuotaError(f"Earth Engine's quota is used up: {fault.message}; start the same command again later")
    if fault.kind == "refused":
        raise TileError(f"tile {tile.id}: Earth Engine refused the request: {fault.message}")


def connect(
    found: Configuration, *, patience: Patience | None = None, concurrency: int = DEFAULT_CONCURRENCY
) -> Session:
    """A session with the server, project and credentials of a configuration.

    Args:
        concurrency: requests in flight; fewer while the service refuses some.

    Raises:
        ServiceError: the server cannot be reached.
        AuthenticationError: it does not accept project or credentials.
    """
    url = (found.url or HIGH_VOLUME_URL).rstrip("/")
    patience = patience or Patience()
    name = answered_by(url, declared=_declared_source(url))
    credentials = _credentials(found)
    for attempt in range(1, _CONNECT_ATTEMPTS + 1):
        error = _initialize(url, found.project, credentials)
        if error is None:
            break
        fault = fault_of(error)
        if fault.kind in ("authentication", "refused", "quota"):
            raise AuthenticationError(
                f"Earth Engine at {url} refused to start a session: {fault.message}; check --project (EE_PROJECT_ID) "
                "and the credentials"
            ) from error
        if attempt == _CONNECT_ATTEMPTS:
            raise ServiceError(f"Earth Engine at {url} does not start a session: {fault.message}; try again later")
        time.sleep(patience.wait_s(attempt, random.Random()))
    # The session asks again by itself: it spreads the waits of all threads and honours Retry-After.
    ee.data.setMaxRetries(0)
    ee.data.setUserAgent(f"dwplus/{__version__} (gzip)")
    # Without a deadline a stalled socket hangs for ever.
    ee.data.setDeadline(patience.deadline_s * 1000)
    return Session(name=name, url=url, patience=patience, concurrency=concurrency)


def _initialize(url: str, project: str | None, credentials: Any) -> Exception | None:
    """Start the client; what went wrong, if anything. The client itself would wait for an answer for ever."""
    outcome: list[Exception | None] = []

    def start() -> None:
        try:
            # The client keeps what it learned of one server for the next one.
            ee.Reset()
            ee.data.setMaxRetries(0)
            ee.Initialize(credentials=credentials, url=url, project=project)
            outcome.append(None)
        except Exception as error:  # a server of something else can make the client fail in any way
            outcome.append(error)

    thread = threading.Thread(target=start, daemon=True, name="connect")
    thread.start()
    thread.join(_CONNECT_TIMEOUT_S)
    return outcome[0] if outcome else TimeoutError(f"no answer within {_CONNECT_TIMEOUT_S:g} s")


def _declared_source(url: str) -> str | None:
    """What the server calls its pixels, if it says so; also the first proof that it can be reached at all."""
    advice = "check the address (--ee-url, EE_URL) and the network"
    try:
        answer = requests.get(f"{url}/$discovery/rest", params={"version": "v1"}, timeout=_REACH_TIMEOUT_S)
        answer.raise_for_status()
        document = answer.json()
    except requests.RequestException as error:
        raise ServiceError(f"cannot reach Earth Engine at {url} ({_reason(error)}); {advice}") from error
    if not isinstance(document, dict) or "resources" not in document:
        raise ServiceError(f"{url} answers, but is no server of the Earth Engine API; {advice}")
    declared = document.get("pixelSource")
    return str(declared) if declared else None


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"HTTP {error.response.status_code}"
    return type(error).__name__


def _credentials(found: Configuration) -> Any:
    """Credentials for the client: a key file, the login on this machine, or none for a server that asks for none.

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
    except (DataError, AttributeError, ValueError, google.auth.exceptions.GoogleAuthError) as error:
        raise AuthenticationError(
            f"GOOGLE_APPLICATION_CREDENTIALS names {found.credentials_file}, which is no usable key: {error}; download "
            "it again, or unset the variable to use the login of 'earthengine authenticate'"
        ) from error
    return credentials
