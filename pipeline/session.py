"""Session: the one way to Earth Engine. Connect, find a tile's scene, fetch its pixels, turn service errors into ours.

The only file that talks to the network for pixels; it does not know whether Google or another server of the same API
answers.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

import ee
import google.auth
import google.auth.exceptions
import numpy as np
import requests
from numpy.typing import NDArray
from shapely.geometry import Polygon

from .. import __version__
from .bands import BANDS, NODATA, S1_BANDS, S2_BANDS, SHARD_BANDS
from .errors import AuthenticationError, DwplusError, QuotaError, ServiceError, TileError
from .scenes import REQUEST_BANDS, S1_FILL, S2_SHIFT, Recipe, pixel_request, scene_candidates
from .tiles import Tile

HIGH_VOLUME_URL = "https://earthengine-highvolume.googleapis.com"
"""Google's endpoint for many small requests (developers.google.com/earth-engine/cloud/highvolume)."""

_SCOPES = ["https://www.googleapis.com/auth/earthengine", "https://www.googleapis.com/auth/cloud-platform"]
_REACH_TIMEOUT_S = 20.0
_RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
# One retry helps when a server was busy; after that the same request fails again.
_OVERLOAD_TEXTS = ("memory limit", "memory capacity", "timed out")

SourceName = Literal["sandbox", "earthengine"]
T = TypeVar("T")


# --- who is asked -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Configuration:
    """What flags and environment say about Earth Engine; ``None`` = not said.

    Attributes:
        url: server of the API.
        project: Google Cloud project that is registered for Earth Engine.
        credentials_file: service account or application default credentials.
        signed_in: ``earthengine authenticate`` has left a login on this machine.
    """

    url: str | None = None
    project: str | None = None
    credentials_file: Path | None = None
    signed_in: bool = False

    @property
    def is_google(self) -> bool:
        return answered_by(self.url or HIGH_VOLUME_URL) == "earthengine"


def configuration(
    *, url: str | None, project: str | None, environment: Mapping[str, str] = os.environ, home: Path | None = None
) -> Configuration:
    """Flags first, then the variables of the Earth Engine ecosystem, then the login of ``earthengine authenticate``."""
    credentials = environment.get("GOOGLE_APPLICATION_CREDENTIALS")
    login = (home or Path.home()) / ".config" / "earthengine" / "credentials"
    return Configuration(
        url=url or environment.get("EE_URL") or None,
        project=project or environment.get("EE_PROJECT_ID") or environment.get("EARTHENGINE_PROJECT") or None,
        credentials_file=Path(credentials) if credentials else None,
        signed_in=login.is_file(),
    )


def choose_source(requested: str, found: Configuration) -> SourceName:
    """The source that ``--source`` means: ``sandbox`` only where nothing of Earth Engine is configured at all.

    Raises:
        AuthenticationError: only a part of what Earth Engine needs is configured.
    """
    has_credentials = found.credentials_file is not None or found.signed_in
    if requested == "sandbox" or (requested == "auto" and found == Configuration()):
        return "sandbox"
    if found.project is None:
        given = f"{_credentials_in_words(found)} found, but no project" if has_credentials else "no project"
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
    return "earthengine"


def _credentials_in_words(found: Configuration) -> str:
    return "GOOGLE_APPLICATION_CREDENTIALS" if found.credentials_file else "a login of 'earthengine authenticate'"


def answered_by(url: str, *, declared: str | None = None) -> str:
    """What the pixels of a server are called: ``earthengine``, ``SANDBOX`` or ``UNVERIFIED <host>``.

    Args:
        declared: what the server says of itself in its discovery document; only ``SANDBOX`` is believed.
    """
    host = urlsplit(url).hostname or url
    if host == "googleapis.com" or host.endswith(".googleapis.com"):
        return "earthengine"
    return "SANDBOX" if declared == "SANDBOX" else f"UNVERIFIED {host}"


# --- what is asked for ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SceneHint:
    """What the label release says about the scene a label was drawn on; all optional."""

    index: str | None = None
    product_id: str | None = None

    @property
    def day(self) -> date | None:
        """UTC day of sensing, if a hint tells it."""
        stamp = self.index[:8] if self.index else self.product_id.split("_")[2][:8] if self.product_id else None
        try:
            return datetime.strptime(stamp, "%Y%m%d").date() if stamp else None
        except ValueError:
            return None


@dataclass(frozen=True)
class SceneRef:
    """The Sentinel-2 scene of a tile and the rule that found it."""

    collection: str
    index: str
    rule: str
    properties: Mapping[str, Any] = field(default_factory=dict)


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

    def fetch(self, request: Request) -> NDArray[np.uint16]:
        """Stored values: uint16 (bands, H, W) in the order of ``SHARD_BANDS``, 0 = no data."""


# --- finding the scene ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """A scene of the right day that touches the tile."""

    index: str
    product_id: str
    mgrs_tile: str
    baseline: str
    footprint: tuple[tuple[float, float], ...]


def choose_scene(tile: Tile, hint: SceneHint, candidates: list[Candidate]) -> tuple[Candidate, str] | None:
    """The scene that a label was drawn on, and the rule that found it.

    Rules in order: same index; same product id; same sensing time and MGRS tile (reprocessing changes product ids);
    same day and full cover, scenes in the tile's own UTM zone first. Among equals the newest processing baseline.
    """
    newest_first = sorted(candidates, key=lambda c: (c.baseline, c.index), reverse=True)
    for candidate in newest_first:
        if candidate.index == hint.index:
            return candidate, "index"
    for candidate in newest_first:
        if hint.product_id and candidate.product_id == hint.product_id:
            return candidate, "product-id"
    for candidate in newest_first:
        if hint.product_id and _same_sensing(candidate, hint.product_id):
            return candidate, "sensing-time"
    zone = tile.crs[-2:]
    own_zone_first = sorted(newest_first, key=lambda c: c.mgrs_tile[:2] != zone)
    return next(((c, "same-day") for c in own_zone_first if covers(c.footprint, tile)), None)


def _same_sensing(candidate: Candidate, product_id: str) -> bool:
    parts = product_id.split("_")
    if len(parts) < 6:
        return False
    return candidate.index.split("_")[0] == parts[2] and candidate.mgrs_tile == parts[-2].lstrip("T")


def covers(footprint: tuple[tuple[float, float], ...], tile: Tile) -> bool:
    """Whether an outline in degrees holds the whole tile; outlines past the date line are brought beside it."""
    if len(footprint) < 3:
        return False
    lon0 = tile.centre[0]
    near = [(lon0 + (lon - lon0 + 180) % 360 - 180, lat) for lon, lat in footprint]
    square = [(lon0 + (lon - lon0 + 180) % 360 - 180, lat) for lon, lat in tile.outline]
    return bool(Polygon(near).buffer(0).covers(Polygon(square)))


def _candidates(answer: Mapping[str, list[Any]]) -> list[Candidate]:
    indices = answer.get("system:index", [])
    columns = [answer.get(name, []) for name in ("PRODUCT_ID", "MGRS_TILE", "PROCESSING_BASELINE", "system:footprint")]
    # aggregate_array leaves out missing properties: a shorter list cannot be matched to scenes any more.
    product, mgrs, baseline, outline = (c if len(c) == len(indices) else [None] * len(indices) for c in columns)
    return [
        Candidate(
            index=index,
            product_id=product[i] or "",
            mgrs_tile=mgrs[i] or index.rsplit("_T", 1)[-1],
            baseline=baseline[i] or "",
            footprint=_ring(outline[i]),
        )
        for i, index in enumerate(indices)
    ]


def _ring(geometry: Any) -> tuple[tuple[float, float], ...]:
    if not isinstance(geometry, Mapping):
        return ()
    points = geometry.get("coordinates", [])
    while points and isinstance(points[0][0], (list, tuple)):
        points = points[0]
    return tuple((float(p[0]), float(p[1])) for p in points)


# --- decoding an answer -----------------------------------------------------------------------------------------------


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


# --- patience ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patience:
    """How long to wait for one answer, and how often to ask again."""

    deadline_s: float = 300.0
    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0

    def wait_s(self, attempt: int, rng: random.Random) -> float:
        """Seconds before attempt ``attempt + 1`` (attempts count from 1): exponential, half of it jitter."""
        full: float = min(self.longest_wait_s, self.first_wait_s * 2.0 ** (attempt - 1))
        return full * (0.5 + 0.5 * rng.random())


class Gate:
    """Holds all threads back for a while after the service said that it is asked too often."""

    def __init__(self) -> None:
        self._open_at = 0.0
        self._lock = threading.Lock()

    def close_for(self, seconds: float) -> None:
        with self._lock:
            self._open_at = max(self._open_at, time.monotonic() + seconds)

    def pass_through(self) -> None:
        while (wait := self._open_at - time.monotonic()) > 0:
            time.sleep(min(wait, 1.0))


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


# --- the session ------------------------------------------------------------------------------------------------------


class Session:
    """A connection to a server of the Earth Engine API; a ``PixelSource``. Threads may share it."""

    def __init__(self, *, name: str, url: str, patience: Patience | None = None) -> None:
        self.name = name
        self.url = url
        self.patience = patience or Patience()
        self._gate = Gate()
        self._rng = random.Random()

    def resolve(self, tile: Tile, hint: SceneHint) -> SceneRef | None:
        """The Sentinel-2 scene of a tile; see ``choose_scene`` for the rules.

        Raises:
            TileError: the service keeps failing for this tile.
            AuthenticationError, QuotaError: no tile can be had.
        """
        answer = self._ask(tile, lambda: scene_candidates(tile, hint.day or tile.date).getInfo() or {})
        chosen = choose_scene(tile, hint, _candidates(answer))
        if chosen is None:
            return None
        candidate, rule = chosen
        properties = {"PRODUCT_ID": candidate.product_id, "PROCESSING_BASELINE": candidate.baseline}
        return SceneRef("COPERNICUS/S2_SR_HARMONIZED", candidate.index, rule, properties)

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
        attempt, overloads = 0, 0
        while True:
            attempt += 1
            self._gate.pass_through()
            try:
                return call()
            except (ee.EEException, google.auth.exceptions.GoogleAuthError, OSError, ValueError) as error:
                fault = fault_of(error)
            _raise_if_hopeless(fault, tile)
            overloads += fault.kind == "overload"
            if attempt >= self.patience.attempts or overloads > 1:
                raise TileError(f"tile {tile.id}: no answer after {attempt} attempts, last: {fault.message}")
            wait = max(self.patience.wait_s(attempt, self._rng), fault.retry_after_s or 0.0)
            if fault.kind == "slow-down":
                self._gate.close_for(wait)
            else:
                time.sleep(wait)


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


def connect(found: Configuration, *, patience: Patience | None = None) -> Session:
    """A session with the server, project and credentials of a configuration.

    Raises:
        ServiceError: the server cannot be reached.
        AuthenticationError: it does not accept project or credentials.
    """
    url = (found.url or HIGH_VOLUME_URL).rstrip("/")
    patience = patience or Patience()
    name = answered_by(url, declared=_declared_source(url))
    try:
        ee.Initialize(credentials=_credentials(found), url=url, project=found.project)
        # The session asks again by itself: it spreads the waits of all threads and honours Retry-After.
        ee.data.setMaxRetries(0)
        ee.data.setUserAgent(f"dwplus/{__version__} (gzip)")
        # Without a deadline a stalled socket hangs for ever.
        ee.data.setDeadline(patience.deadline_s * 1000)
    except (ee.EEException, google.auth.exceptions.GoogleAuthError) as error:
        raise AuthenticationError(
            f"Earth Engine at {url} refused to start a session: {' '.join(str(error).split())[:300]}; check --project "
            "(EE_PROJECT_ID) and the credentials"
        ) from error
    except (OSError, ValueError) as error:
        raise ServiceError(f"Earth Engine at {url} broke off the session: {error}; try again") from error
    return Session(name=name, url=url, patience=patience)


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
    if found.credentials_file is not None:
        credentials, _ = google.auth.load_credentials_from_file(str(found.credentials_file), scopes=_SCOPES)
        return credentials
    return "persistent" if found.signed_in else None


def is_fatal(error: DwplusError) -> bool:
    """Whether an error ends the whole run rather than one tile."""
    return not isinstance(error, TileError)
