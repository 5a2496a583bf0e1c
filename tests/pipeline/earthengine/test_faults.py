"""Every way in which the service is known to fail, over real HTTP: what becomes of the tile, and of the data set.

Source of the faults: error bodies that users of Earth Engine report, and what the client does with each of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.build.export import export
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.earthengine.configuration import Configuration
from dwplus.pipeline.earthengine.connection import connect
from dwplus.pipeline.earthengine.session import RequestRetries, Session
from dwplus.pipeline.errors import DwplusError, ExitCode
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.spec.tiles import Tile
from support.faulty_front import (
    PIXELS,
    SEARCH,
    Fault,
    Front,
    cut_off,
    drop,
    front_of,
    html,
    json_of,
    long,
    pixels,
    short,
    stall,
    status,
    trickle,
    zipped,
    zipped_and_cut,
)

SIZE = 128
X = 590130.0
"""Left edge of the tile that meets the faults; requests name it."""

QUICK = RequestRetries(deadline_s=20, attempts=3, first_wait_s=0.01, longest_wait_s=0.02, refused_s=20)
SOON_REFUSED = replace(QUICK, refused_s=0.3)
HASTY = replace(QUICK, deadline_s=1.0, attempts=2)


def row(number: int, x: float) -> ManifestRow:
    tile = Tile(
        f"dw_11{number}.8_-8.1-20190713", "EPSG:32749", (10.0, 0.0, x, 0.0, -10.0, 9103900.0), (SIZE, SIZE),
        date(2019, 7, 13), "EH", 1,
    )  # fmt: skip
    return ManifestRow(tile, "expert", "train", "labels/x.tif", "0", 0.9)


ILL, WELL = row(1, X), row(2, X + 3000)


@dataclass(frozen=True)
class Result:
    """What one run left: rows of the ledger, bytes of shards by tile, leftovers, requests, and how it ended."""

    rows: dict[str, LedgerRow]
    shards: dict[str, bytes]
    parts: list[str]
    asked: list[tuple[str, int]]
    seconds: float
    error: DwplusError | None

    def times(self, route: str = PIXELS) -> int:
        return sum(asked == route for asked, _ in self.asked)


@dataclass
class Service:
    """The local Earth Engine behind a front that spoils answers, and sessions with it."""

    front: Front
    found: Configuration
    undisturbed: dict[str, bytes] = field(default_factory=dict)
    _sessions: dict[RequestRetries, Session] = field(default_factory=dict)
    _last: RequestRetries | None = None

    def run(self, root: DataRoot, fault: Fault | None, retries: RequestRetries = QUICK) -> Result:
        """Export the two tiles, or what is left of them to do."""
        self.front.spoil(None)
        # The deadline is a setting of the client, not of a session.
        if retries not in self._sessions or retries != self._last:
            self._sessions[retries] = connect(self.found, retries=retries, concurrency=2)
            self._last = retries
        session, error = self._sessions.pop(retries), None
        self.front.spoil(fault)
        started = time.monotonic()
        try:
            with root.open_ledger() as ledger:
                export([ILL, WELL], pixels=session, recipe=Recipe(), root=root, ledger=ledger, concurrency=2)
            # A session whose run was stopped asks nothing any more: only the others are kept.
            self._sessions[retries] = session
        except DwplusError as stopped:
            error = stopped
        shards = {path.stem: path.read_bytes() for path in root.folder.rglob("dw_*.tif")}
        parts = [path.name for path in root.folder.rglob("*.part")]
        return Result(root.ledger(), shards, parts, self.front.asked, time.monotonic() - started, error)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with LocalEarthEngine(workers=1) as engine, front_of(engine.url) as front:
        found = Configuration(url=front.url, project=engine.project, credentials_file=engine.credentials_file)
        service = Service(front, found)
        result = service.run(DataRoot.at(tmp_path_factory.mktemp("undisturbed")), None)
        assert sorted(result.shards) == sorted((ILL.tile.id, WELL.tile.id))
        service.undisturbed.update(result.shards)
        yield service


def narrower(answer: np.ndarray) -> np.ndarray:
    return answer[:, :-1].copy()


def renamed(answer: np.ndarray) -> np.ndarray:
    names = [{"B2": "B3", "B3": "B2"}.get(name, name) for name in answer.dtype.names or ()]
    return answer.view([(name, answer.dtype[n]) for n, name in enumerate(names)])


def rounded(answer: np.ndarray) -> np.ndarray:
    return answer.astype([(name, "<i2") for name in answer.dtype.names or ()])


def poorer(answer: np.ndarray) -> np.ndarray:
    return answer[[name for name in answer.dtype.names or () if name != "S1_N"]].copy()


def plain(answer: np.ndarray) -> np.ndarray:
    return np.stack([answer[name].astype("<f4") for name in answer.dtype.names or ()])


MEMORY = status(400, "User memory limit exceeded.")
TIMED_OUT = status(400, "Computation timed out.")
OTHER_400 = status(400, "Image.select: Parameter 'input' is required and may not be null.")
TOO_MANY = status(429, "Too many concurrent requests.")
LOW_RATE = status(403, "Rate Limit Exceeded", reason="rateLimitExceeded")
NO_QUOTA_PROJECT = "The earthengine.googleapis.com API requires a quota project, which is not set by default."
ONE_TILE = f"{X:.0f}"

PASSES = {
    "429": Fault(TOO_MANY, 2),
    "429 with Retry-After": Fault(status(429, "Too many.", retry_after=0.1), 2),
    "403 rateLimitExceeded": Fault(LOW_RATE, 2),
    "500": Fault(status(500), 2),
    "502": Fault(status(502), 1),
    "503": Fault(status(503), 2),
    "503 with Retry-After": Fault(status(503, retry_after=0.1), 1),
    "connection dropped": Fault(drop, 2),
    "body cut off": Fault(cut_off, 2),
    "short NPY of consistent length": Fault(short, 2),
    "NPY with bytes to spare": Fault(long, 2),
    "page of HTML": Fault(html, 2),
    "gzip": Fault(zipped, 2),
    "gzip cut off": Fault(zipped_and_cut, 2),
    "memory limit": Fault(MEMORY, 1),
    "timed out": Fault(TIMED_OUT, 1),
    "401": Fault(status(401), 1),
    "other shape": Fault(pixels(narrower), 2),
    "bands swapped": Fault(pixels(renamed), 2),
    "band missing": Fault(pixels(poorer), 2),
    "other dtypes": Fault(pixels(rounded), 2),
    "one array of all bands": Fault(pixels(plain), 2),
    "search: 429": Fault(TOO_MANY, 2, SEARCH),
    "search: 503": Fault(status(503), 2, SEARCH),
    "search: connection dropped": Fault(drop, 2, SEARCH),
    "search: body cut off": Fault(cut_off, 2, SEARCH),
    "search: half of the JSON": Fault(short, 2, SEARCH),
    "search: page of HTML": Fault(html, 2, SEARCH),
    "search: gzip": Fault(zipped, 2, SEARCH),
    "search: a list": Fault(json_of([1, 2]), 2, SEARCH),
    "search: null": Fault(json_of(None), 2, SEARCH),
    "search: no lists": Fault(json_of({"system:index": 5}), 2, SEARCH),
    "search: 401": Fault(status(401), 1, SEARCH),
}
"""Faults that get better: the shards are those of an undisturbed run."""

FAILS: dict[str, tuple[Fault, str]] = {
    "503": (Fault(status(503), text=ONE_TILE), "no_answer"),
    "connection dropped": (Fault(drop, text=ONE_TILE), "no_answer"),
    "body cut off": (Fault(cut_off, text=ONE_TILE), "no_answer"),
    "short NPY of consistent length": (Fault(short, text=ONE_TILE), "bad_answer"),
    "page of HTML": (Fault(html, text=ONE_TILE), "bad_answer"),
    "other shape": (Fault(pixels(narrower), text=ONE_TILE), "bad_answer"),
    "bands swapped": (Fault(pixels(renamed), text=ONE_TILE), "bad_answer"),
    "band missing": (Fault(pixels(poorer), text=ONE_TILE), "bad_answer"),
    "other dtypes": (Fault(pixels(rounded), text=ONE_TILE), "bad_answer"),
    "memory limit": (Fault(MEMORY, text=ONE_TILE), "too_heavy"),
    "timed out": (Fault(TIMED_OUT, text=ONE_TILE), "too_heavy"),
    "other 400": (Fault(OTHER_400, text=ONE_TILE), "refused"),
    "404": (Fault(status(404), text=ONE_TILE), "refused"),
    "search: 503": (Fault(status(503), route=SEARCH, text=ONE_TILE), "no_answer"),
    "search: a list": (Fault(json_of([1, 2]), route=SEARCH, text=ONE_TILE), "bad_answer"),
    "search: other 400": (Fault(OTHER_400, route=SEARCH, text=ONE_TILE), "refused"),
}
"""Faults of one tile that last: it fails with a reason, the other is done, and the next run has both."""

STOPS: dict[str, tuple[Fault, ExitCode]] = {
    "429": (Fault(TOO_MANY), ExitCode.QUOTA),
    "403 rateLimitExceeded": (Fault(LOW_RATE), ExitCode.QUOTA),
    "403 quota": (Fault(status(403, "Quota exceeded: this project used up its compute budget.")), ExitCode.QUOTA),
    "401": (Fault(status(401)), ExitCode.AUTHENTICATION),
    "403": (Fault(status(403, "Caller does not have permission.")), ExitCode.AUTHENTICATION),
    "403 quota project": (Fault(status(403, NO_QUOTA_PROJECT)), ExitCode.AUTHENTICATION),
    "search: 403": (Fault(status(403, "Caller does not have permission."), route=SEARCH), ExitCode.AUTHENTICATION),
}
"""Faults that no tile can get past: the run ends with the exit code, the next run has both tiles."""


def fresh(fault: Fault) -> Fault:
    """A fault that was not met yet."""
    return Fault(fault.spoil, fault.times, fault.route, fault.text, fault.from_width)


def check_nothing_wrong_on_disk(result: Result, service: Service) -> None:
    """Shards are whole and right, or absent; the ledger says which."""
    assert result.parts == []
    for tile, content in result.shards.items():
        assert content == service.undisturbed[tile], tile
    done = {tile for tile, known in result.rows.items() if known.state == "done"}
    assert done == set(result.shards)


def check_that_the_next_run_has_both(root: DataRoot, service: Service) -> None:
    again = service.run(root, None)
    assert again.shards == service.undisturbed
    assert {known.state for known in again.rows.values()} == {"done"}


@pytest.mark.parametrize("fault", PASSES.values(), ids=PASSES.keys())
def test_what_gets_better_leaves_no_trace(tmp_path: Path, service: Service, fault: Fault) -> None:
    result = service.run(DataRoot.at(tmp_path), fresh(fault))

    assert result.error is None
    assert {tile: known.state for tile, known in result.rows.items()} == dict.fromkeys(service.undisturbed, "done")
    assert result.shards == service.undisturbed
    check_nothing_wrong_on_disk(result, service)


@pytest.mark.parametrize(("fault", "reason"), FAILS.values(), ids=FAILS.keys())
def test_what_lasts_fails_the_tile_with_its_reason(tmp_path: Path, service: Service, fault: Fault, reason: str) -> None:
    result = service.run(DataRoot.at(tmp_path), fresh(fault))

    assert result.error is None
    check_nothing_wrong_on_disk(result, service)
    assert result.rows[WELL.tile.id].state == "done"
    assert (result.rows[ILL.tile.id].state, result.rows[ILL.tile.id].reason) == ("failed", reason)
    assert result.rows[ILL.tile.id].detail
    check_that_the_next_run_has_both(DataRoot.at(tmp_path), service)


@pytest.mark.parametrize(("fault", "code"), STOPS.values(), ids=STOPS.keys())
def test_what_no_tile_gets_past_stops_the_run(tmp_path: Path, service: Service, fault: Fault, code: ExitCode) -> None:
    result = service.run(DataRoot.at(tmp_path), fresh(fault), SOON_REFUSED)

    assert result.error is not None
    assert result.error.exit_code == code
    assert result.shards == {}
    assert {known.state for known in result.rows.values()} <= {"failed"}
    check_nothing_wrong_on_disk(result, service)
    check_that_the_next_run_has_both(DataRoot.at(tmp_path), service)


@pytest.mark.parametrize("fault", [OTHER_400, status(404)], ids=["400", "404"])
def test_a_request_that_is_refused_for_good_is_sent_once(
    tmp_path: Path, service: Service, fault: Callable[..., object]
) -> None:
    result = service.run(DataRoot.at(tmp_path), Fault(fault, text=ONE_TILE))

    assert sum(code >= 400 for _, code in result.asked) == 1


@pytest.mark.parametrize("error", [MEMORY, TIMED_OUT], ids=["memory limit", "timed out"])
def test_a_tile_that_is_too_heavy_in_one_piece_is_had_in_parts(
    tmp_path: Path, service: Service, error: Callable[..., object]
) -> None:
    # Given a service that has no memory for more than 64 pixels at a time.
    result = service.run(DataRoot.at(tmp_path), Fault(error, text="", from_width=65))

    # Then the shards are those of tiles in one piece.
    assert result.shards == service.undisturbed
    check_nothing_wrong_on_disk(result, service)


def test_a_wait_that_the_service_asks_for_is_kept(tmp_path: Path, service: Service) -> None:
    result = service.run(DataRoot.at(tmp_path), Fault(status(429, "Too many.", retry_after=0.5), 1))

    assert result.shards == service.undisturbed
    assert result.seconds >= 0.5


@pytest.mark.parametrize(
    "fault",
    [Fault(stall(8.0), 1, text=ONE_TILE), Fault(trickle(8.0), 1, text=ONE_TILE)],
    ids=["stall", "trickle"],
)
def test_an_answer_that_is_late_is_given_up_at_the_deadline(tmp_path: Path, service: Service, fault: Fault) -> None:
    result = service.run(DataRoot.at(tmp_path), fresh(fault), HASTY)

    assert result.shards == service.undisturbed
    assert 1.0 <= result.seconds < 6.0
    check_nothing_wrong_on_disk(result, service)


def test_a_tile_that_is_late_each_time_fails(tmp_path: Path, service: Service) -> None:
    result = service.run(DataRoot.at(tmp_path), Fault(stall(8.0), text=ONE_TILE), HASTY)

    check_nothing_wrong_on_disk(result, service)
    assert result.rows[WELL.tile.id].state == "done"
    assert (result.rows[ILL.tile.id].state, result.rows[ILL.tile.id].reason) == ("failed", "no_answer")
