"""Session: requests to Earth Engine, with retries. Find a tile's scene, download its pixels, measure the cost.

The only way to the server for scenes and pixels; it does not know whether Google or another server of the same API
answers. ``connection`` starts a session, ``graphs`` builds the requests, ``decoding`` reads the answers,
``faults`` says what a failure means.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import ee
import google.auth.exceptions
import numpy as np
from numpy.typing import NDArray

from ..errors import AuthenticationError, QuotaError, TileError
from ..spec.bands import SHARD_BANDS
from ..spec.layers import Layer
from ..spec.periods import Period
from ..spec.recipe import REQUEST_BANDS, Recipe
from ..spec.tiles import Tile
from ..spec.words import count_of
from .clear_scenes import (
    AT_A_TIME,
    CLEAR_ENOUGH,
    CLOUD_STEP_M,
    MOST_HIDDEN,
    MOST_LOOKED_AT,
    ClearDay,
    ClearScene,
    best_of,
    cloud_shape,
    days_of,
    hidden_cells,
    marked_cells,
    on_tile,
)
from .decoding import eecu_seconds, npy_array, stored_values
from .faults import Fault, fault_of
from .graphs import CLOUD_SCORE, cloud_request, period_search, pixel_request, scene_search
from .layer_graphs import layer_request, stored_layer
from .limiter import Limiter
from .scene_choice import SceneHint, SceneRef, choose_scene, found_in
from .transport import Transport

DEFAULT_CONCURRENCY = 20
"""Requests in flight; Earth Engine's standard quota is 40 (developers.google.com/earth-engine/guides/usage)."""

SMALLEST_PART_PX = 64
"""A request that is too heavy is cut in four, and so on, down to parts of this side."""

_LONGEST_RETRY_AFTER_S = 300.0

_TROUBLE = (
    *(ee.EEException, google.auth.exceptions.GoogleAuthError, OSError),
    # What the client and NumPy raise for an unexpected answer.
    *(ValueError, TypeError, KeyError, EOFError),
)
"""What a request may raise; ``faults`` classifies it."""

T = TypeVar("T")
Window = tuple[int, int, int, int]
"""Part of a tile's grid: (row, column, height, width) in pixels, from the upper left."""


# --- the request ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """The request for one tile: the pixels of its scene by a recipe; ``bands`` of one sensor alone are ``S2_BANDS``, or
    the last three of ``REQUEST_BANDS``."""

    tile: Tile
    scene: SceneRef
    recipe: Recipe
    bands: tuple[str, ...] = REQUEST_BANDS


@dataclass
class Tally:
    """Cost of one tile so far; filled while it is requested, also where it fails.

    Attributes:
        measure: whether the cost of the requests is measured.
        requests: sent, refused ones not counted.
        refused: answers "too many requests".
        received_bytes: of pixels, decoded.
        eecu_s: Earth Engine compute seconds as the service reports them; None = not measured.
    """

    measure: bool = False
    requests: int = 0
    refused: int = 0
    received_bytes: int = 0
    eecu_s: float | None = None
    profiles: list[str] = field(default_factory=list)

    def costs(self, started: float) -> dict[str, Any]:
        """What it took since a moment of ``time.monotonic``, as a row of the ledger calls it."""
        return {
            "seconds": round(time.monotonic() - started, 3),
            "requests": self.requests,
            "refused": self.refused,
            "received": self.received_bytes,
            "eecu_s": round(self.eecu_s or 0.0, 4),
        }


class PixelSource(Protocol):
    """Where pixels come from."""

    @property
    def name(self) -> str:
        """Where the pixels come from; written into every shard."""

    def resolve(self, tile: Tile, hint: SceneHint, recipe: Recipe, tally: Tally) -> SceneRef | None:
        """The Sentinel-2 scene of a tile, or None where the source has none."""

    def clear_scene(
        self, tile: Tile, marked: NDArray[np.bool_], period: Period, searched: Period, tally: Tally
    ) -> ClearScene | None:
        """The clearest scene for a label that is true for a period; None where no scene shows it."""

    def request(self, tile: Tile, recipe: Recipe, scene: SceneRef) -> Request:
        """The request for a tile's pixels; sends nothing yet."""

    def fetch(self, request: Request, tally: Tally) -> NDArray[np.uint16]:
        """Stored values: uint16 (bands, H, W) in the order of ``SHARD_BANDS``, 0 = no data."""

    def fetch_layer(self, tile: Tile, layer: Layer, scenes: Sequence[str], tally: Tally) -> NDArray[np.generic]:
        """Stored values of what lies beside a shard: (bands, H, W) of the layer's type, ``layer.nodata`` = no data."""

    def settle(self, tally: Tally) -> None:
        """Request the cost of a tile's requests, where it is to be measured; never fails."""

    def stop(self) -> None:
        """End the waits of all threads: the run is over."""


# --- retries --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RequestRetries:
    """How long to wait for one answer, and how often to retry.

    Attributes:
        deadline_s: for one request, until the answer is complete.
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
        full: float = min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(attempt - 1, 30))
        return full * (0.5 + 0.5 * rng.random())


class _TooHeavyError(Exception):
    """The service cannot compute a request of this size."""


# --- the session ----------------------------------------------------------------------------------------------------


class Session:
    """A connection to a server of the Earth Engine API; a ``PixelSource``. Threads may share it."""

    def __init__(self, *, name: str, url: str, retries: RequestRetries, concurrency: int, transport: Transport) -> None:
        self.name = name
        self.url = url
        self.retries = retries
        self.transport = transport
        self._limiter = Limiter(concurrency)
        self._rng = random.Random()
        self._cloud_score: bool | None = None

    @property
    def limit(self) -> int:
        """Requests that may be in flight now, as the quota allows."""
        return self._limiter.limit

    @property
    def quota_status(self) -> str:
        """What the service said last of the project's quota; empty where it said nothing."""
        return self.transport.quota_status

    def project_config(self) -> dict[str, Any] | None:
        """What the service reports of the project (its registration); None where it does not support the request."""
        try:
            return self._ask("the project", ee.data.getProjectConfig, lambda answer: dict(answer), Tally())
        except (AttributeError, TileError, _TooHeavyError):  # the client makes its methods from the server's list
            return None

    def resolve(self, tile: Tile, hint: SceneHint, recipe: Recipe, tally: Tally) -> SceneRef | None:
        """The Sentinel-2 scene of a tile; see ``scene_choice.choose_scene`` for the rules.

        Raises:
            TileError: the service keeps failing for this tile.
            AuthenticationError, QuotaError: no tile can be downloaded.
        """
        search = scene_search(tile, recipe, *hint.window(tile.date))
        found = self._value(search, found_in, f"tile {tile.id}: its scenes", tally)
        return choose_scene(tile, hint, found)

    def clear_scene(
        self, tile: Tile, marked: NDArray[np.bool_], period: Period, searched: Period, tally: Tally
    ) -> ClearScene | None:
        """The scene of a period on which the fewest marked pixels lie under cloud, then the nearest in time.

        Args:
            marked: bool (H, W) on the tile's grid, pixels with a label.
            period: in which the label is true; nearness is counted from it.
            searched: days that are searched; holds the period.

        Returns:
            None where no scene covers the tile, or the clearest one hides nearly all marked pixels.

        Raises:
            TileError: the service keeps failing for this tile.
            AuthenticationError, QuotaError: no tile can be downloaded.
        """
        what = f"tile {tile.id}: scenes of {searched}"
        days = self._value(period_search(tile, searched), lambda a: days_of(tile, period, a), what, tally)
        by_score, cells = self._has_cloud_score(tally), marked_cells(marked)
        best: ClearScene | None = None
        for begin in range(0, min(len(days), MOST_LOOKED_AT), AT_A_TIME):
            looked = days[begin : begin + AT_A_TIME]
            hidden = self._hidden(tile, looked, by_score, tally)
            position, share = best_of(looked, hidden, cells, period)
            if best is None or share < best.hidden_share - CLEAR_ENOUGH:
                chosen, rule = looked[position], "cloud-score" if by_score else "scene-classes"
                best = ClearScene(chosen.indices[0], chosen.day, on_tile(hidden[position], tile), share, rule)
            if best.hidden_share <= CLEAR_ENOUGH:
                break
        return None if best is None or best.hidden_share > MOST_HIDDEN else best

    def _hidden(self, tile: Tile, days: Sequence[ClearDay], by_score: bool, tally: Tally) -> list[NDArray[np.bool_]]:
        """Where cloud hides the ground on each day: bool (rows, columns) of 20 m."""
        looks = self.clouds(tile, [one.indices for one in days], cloud_score=by_score, tally=tally)
        return [hidden_cells(look, cloud_score=by_score) for look in looks]

    def clouds(
        self,
        tile: Tile,
        choices: Sequence[Sequence[str]],
        *,
        cloud_score: bool,
        tally: Tally,
        step_m: float = CLOUD_STEP_M,
    ) -> list[NDArray[np.uint8]]:
        """What tells cloud from ground, for the scenes of each of some days; see ``graphs.cloud_request``.

        Returns:
            uint8 (rows, columns) of ``step_m`` for each day.

        Raises:
            TileError, AuthenticationError, QuotaError: see ``fetch``.
        """
        parameters = cloud_request(tile, choices, cloud_score=cloud_score, step_m=step_m)
        names = [f"c{number}" for number in range(len(choices))]

        def read(answer: NDArray[Any]) -> list[NDArray[np.uint8]]:
            if answer.shape != cloud_shape(tile, step_m) or list(answer.dtype.names or ()) != names:
                raise ValueError(f"{answer.shape} pixels of {answer.dtype.names} instead of {names}")
            return [answer[name] for name in names]

        what = f"tile {tile.id}: cloud of {count_of(len(choices), 'day')}"
        try:
            return self._ask(what, lambda: self._pixels(parameters, tally), read, tally)
        except _TooHeavyError as error:
            raise TileError(f"{what}: too heavy for Earth Engine: {error}", reason="too_heavy") from None

    def _has_cloud_score(self, tally: Tally) -> bool:
        """Whether the service has Cloud Score+; asked once."""
        if self._cloud_score is None:
            search = ee.ImageCollection(CLOUD_SCORE).filterDate("2020-06-01", "2020-06-08").limit(1).size()
            try:
                self._cloud_score = bool(self.value(search, what="Cloud Score+", tally=tally))
            except TileError as error:
                if error.reason != "refused":
                    raise
                self._cloud_score = False
        return self._cloud_score

    def request(self, tile: Tile, recipe: Recipe, scene: SceneRef) -> Request:
        return Request(tile, scene, recipe)

    def fetch(self, request: Request, tally: Tally) -> NDArray[np.uint16]:
        """Stored values of a tile, requested in parts where the whole is too heavy for the service.

        Raises:
            TileError: the service keeps failing for this tile, refuses the request, or cannot compute even parts.
            AuthenticationError, QuotaError: no tile can be downloaded.
        """
        height, width = request.tile.shape
        return self._fetch_window(request, (0, 0, height, width), tally)

    def _fetch_window(self, request: Request, window: Window, tally: Tally) -> NDArray[np.uint16]:
        tile, (_, _, height, width) = request.tile, window
        whole = (height, width) == tile.shape
        part_of_grid = None if whole else window
        parameters = pixel_request(tile, request.recipe, request.scene, window=part_of_grid, bands=request.bands)
        part = "" if whole else f", part {window}"
        try:
            return self._ask(
                f"tile {tile.id}{part}",
                lambda: self._pixels(parameters, tally),
                lambda answer: stored_values(answer, (height, width), request.bands),
                tally,
            )
        except _TooHeavyError as error:
            if max(height, width) < 2 * SMALLEST_PART_PX:
                raise TileError(
                    f"tile {tile.id}: too heavy for Earth Engine even in parts of {height} x {width} px: {error}; a "
                    "cheaper recipe may help (--s1-pass, --s1-max-scenes)",
                    reason="too_heavy",
                ) from None
        stored = np.zeros((len(SHARD_BANDS), height, width), dtype=np.uint16)
        for row, col, rows, cols in quarters(window):
            top, left = row - window[0], col - window[1]
            stored[:, top : top + rows, left : left + cols] = self._fetch_window(request, (row, col, rows, cols), tally)
        return stored

    def fetch_layer(self, tile: Tile, layer: Layer, scenes: Sequence[str], tally: Tally) -> NDArray[np.generic]:
        """Stored values of what lies beside a shard; nothing but ``layer.nodata`` where the service has no image.

        Args:
            scenes: ``system:index`` of the label's Sentinel-2 scenes, the first on top.

        Raises:
            TileError, AuthenticationError, QuotaError: see ``fetch``.
        """
        what, parameters = f"tile {tile.id}: {layer.name}", layer_request(tile, layer, scenes)
        try:
            return self._ask(
                what,
                lambda: self._pixels(parameters, tally),
                lambda answer: stored_layer(answer, layer, tile.shape),
                tally,
            )
        except _TooHeavyError as error:
            raise TileError(f"{what}: too heavy for Earth Engine: {error}", reason="too_heavy") from None

    def pixels(self, parameters: Mapping[str, Any], *, what: str = "pixels") -> NDArray[Any]:
        """The answer to ``computePixels``: a structured array (H, W), one field per band.

        Raises:
            TileError, AuthenticationError, QuotaError: see ``fetch``.
        """
        tally = Tally()
        try:
            return self._ask(what, lambda: self._pixels(parameters, tally), lambda answer: answer, tally)
        except _TooHeavyError as error:
            raise TileError(f"{what}: too heavy for Earth Engine: {error}", reason="too_heavy") from None

    def value(self, expression: Any, *, what: str = "a value", tally: Tally | None = None) -> Any:
        """The value of an expression, as ``getInfo`` gives it.

        Raises:
            TileError, AuthenticationError, QuotaError: see ``fetch``.
        """
        return self._value(expression, lambda answer: answer, what, tally or Tally())

    def _value(self, expression: Any, read: Callable[[Any], T], what: str, tally: Tally) -> T:
        try:
            return self._ask(what, expression.getInfo, read, tally)
        except _TooHeavyError as error:
            raise TileError(f"{what}: too heavy for Earth Engine: {error}", reason="too_heavy") from None

    def settle(self, tally: Tally) -> None:
        """Request the cost of a tile's requests; ``eecu_s`` stays None where the service does not report it."""
        if not tally.profiles:
            return
        profiles, tally.profiles = tally.profiles, []
        look_up = ee.ApiFunction.lookup("Profile.getProfiles")
        try:
            table = self.value(look_up.call(ids=profiles), what="the cost of a tile")
        except TileError:
            return
        tally.eecu_s = eecu_seconds(str(table))

    def stop(self) -> None:
        """End the waits of all threads; a stopped session sends no more requests."""
        self._limiter.stop()

    @staticmethod
    def _pixels(parameters: Mapping[str, Any], tally: Tally) -> NDArray[Any]:
        # As bytes: the client's own decoder copies them, and reports a short array as an error of the client.
        content: bytes = ee.data.computePixels({**parameters, "fileFormat": "NPY"})
        tally.received_bytes += len(content)
        return npy_array(content)

    def _ask(self, what: str, call: Callable[[], Any], read: Callable[[Any], T], tally: Tally) -> T:
        """The decoded answer to one call, retried while that can help.

        Raises:
            _TooHeavyError: sent twice, and too heavy both times.
        """
        started, attempt, overloads, refusals = time.monotonic(), 0, 0, 0
        while True:
            try:
                with self._limiter.slot(), _profiled(tally):
                    answer = call()
                # Read outside: the place in flight is free for the next request.
                result = read(answer)
            except _TROUBLE as error:
                fault = fault_of(error)
            else:
                tally.requests += 1
                self._limiter.answered()
                return result
            _raise_if_hopeless(fault, what)
            if fault.kind == "slow-down":
                tally.refused += 1
                refusals += 1
                if time.monotonic() - started > self.retries.refused_s:
                    raise QuotaError(
                        f"{what}: Earth Engine refused {count_of(refusals, 'request')}: {fault.message}; start the "
                        "same command again later, or with a smaller --concurrency"
                    )
                self._limiter.refused(
                    self._wait_s(min(refusals, 4), fault), asked_to_wait=fault.retry_after_s is not None
                )
                continue
            attempt += 1
            tally.requests += 1
            overloads += fault.kind == "overload"
            if overloads > 1:
                raise _TooHeavyError(fault.message)
            if attempt >= self.retries.attempts:
                raise TileError(
                    f"{what}: no answer after {attempt} attempts, last: {fault.message}",
                    reason="bad_answer" if fault.kind == "bad-answer" else "no_answer",
                )
            self._limiter.sleep(self._wait_s(attempt, fault))

    def _wait_s(self, attempt: int, fault: Fault) -> float:
        demanded_s = min(fault.retry_after_s or 0.0, _LONGEST_RETRY_AFTER_S)
        return max(self.retries.wait_s(attempt, self._rng), demanded_s)


def quarters(window: Window) -> tuple[Window, ...]:
    """A window cut in four (in two where it is one pixel high or wide); together they are the whole."""
    row, col, height, width = window
    rows = [(row, height // 2), (row + height // 2, height - height // 2)]
    cols = [(col, width // 2), (col + width // 2, width - width // 2)]
    return tuple((r, c, h, w) for r, h in rows for c, w in cols if h and w)


def _profiled(tally: Tally) -> AbstractContextManager[Any]:
    """Have the service note the cost of the requests of this thread, which the client's hook is bound to."""
    if not tally.measure:
        return nullcontext()
    context: AbstractContextManager[Any] = ee.data.profiling(tally.profiles.append)
    return context


def _raise_if_hopeless(fault: Fault, what: str) -> None:
    if fault.kind == "authentication":
        raise AuthenticationError(
            f"Earth Engine refused the credentials or the project: {fault.message}; check --project and run "
            "'earthengine authenticate' again ('dwplus auth' explains), then run the same command again to "
            "resume"
        )
    if fault.kind == "quota":
        raise QuotaError(f"Earth Engine's quota is used up: {fault.message}; start the same command again later")
    if fault.kind == "refused":
        raise TileError(f"{what}: Earth Engine refused the request: {fault.message}", reason="refused")
