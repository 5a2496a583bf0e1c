"""Export: from the manifest to shards. One request per tile, several in flight, a ledger, resume by running again.

``plan`` decides what to do, this module does it. The ledger has one writer, the thread that calls ``export``;
workers only download and write shards.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..dataset.ledger import Ledger, LedgerRow
from ..dataset.makers import label_maker, released_maker_of, terms_of
from ..dataset.manifest import ManifestRow
from ..dataset.root import DataRoot
from ..earthengine.scene_choice import SceneHint
from ..earthengine.session import DEFAULT_CONCURRENCY, PixelSource, Tally
from ..errors import QuotaError, ServiceError, TileError
from ..files.atomic import remove_parts, sha256_of, write_atomically
from ..machine import usable_cores
from ..raster.geotiff import encode_shard, grid_of
from ..spec.bands import NODATA, S1_BANDS, S2_BANDS, SHARD_BANDS
from ..spec.recipe import Recipe
from ..spec.words import count_of
from .plan import Plan, discarded, plan
from .provenance import provenance

ENCODERS = usable_cores()
"""Tiles that are encoded at a time; more would only hold memory."""

OUTAGE_FAILURES = 20
"""This many tiles in a row without an answer count as an outage of the service, not as single failures."""

_OUTAGE_WAITS_S = (30.0, 60.0, 120.0, 300.0, 600.0, *[1800.0] * 12)
"""After each further ``OUTAGE_FAILURES``: the run waits through an outage of one night and ends at a longer one."""


_NAP_S = 10.0


class Meter(Protocol):
    """Tracks the cost of a run: decides which tiles are measured, and when the run has to end."""

    def measure(self) -> bool:
        """Whether to request the cost of the next tile."""

    def spent(self, row: LedgerRow) -> None:
        """A tile is settled."""

    def why_stop(self, in_flight: int) -> str:
        """Why no further tile may be begun; empty while one may."""

    def must_wait(self, in_flight: int) -> bool:
        """Whether no further tile is begun before one of those in flight is settled."""


class Unmetered:
    """No budget, no end."""

    def measure(self) -> bool:
        return False

    def spent(self, row: LedgerRow) -> None:
        pass

    def why_stop(self, in_flight: int) -> str:  # noqa: ARG002 - as every meter
        return ""

    def must_wait(self, in_flight: int) -> bool:  # noqa: ARG002 - as every meter
        return False


@dataclass(frozen=True)
class Callbacks:
    """Called during an export, from the calling thread.

    Attributes:
        on_plan: once, before the first request.
        on_row: for every tile that was requested.
        say: one line for the user, about anything out of the ordinary.
    """

    on_plan: Callable[[Plan], None] = lambda _: None
    on_row: Callable[[LedgerRow], None] = lambda _: None
    say: Callable[[str], None] = lambda _: None


def export(
    rows: Sequence[ManifestRow],
    *,
    pixels: PixelSource,
    recipe: Recipe,
    root: DataRoot,
    ledger: Ledger,
    concurrency: int = DEFAULT_CONCURRENCY,
    damaged: frozenset[str] = frozenset(),
    again: frozenset[str] = frozenset(),
    meter: Meter | None = None,
    callbacks: Callbacks | None = None,
) -> Plan:
    """Write the shards of some tiles; the ledger records the status of each.

    Tiles that got no answer are retried once at the end of the run, when the service may have recovered.

    Args:
        rows: tiles to export; complete ones are left alone.
        damaged: tiles to request although their shard exists.
        again: tiles to request whatever their status.

    Returns:
        The plan that was carried out.

    Raises:
        UsageError: the data root holds shards of another source.
        AuthenticationError, QuotaError, ServiceError: the run cannot continue; run it again to resume.
        KeyboardInterrupt: after the tiles in flight are complete.
    """
    callbacks, meter = callbacks or Callbacks(), meter or Unmetered()
    remove_parts(root.shards)
    todo = plan(rows, known=ledger.rows, root=root, recipe=recipe, source=pixels.name, damaged=damaged, again=again)
    callbacks.on_plan(todo)
    for known in todo.record:
        ledger.append(known)
    encoders = threading.BoundedSemaphore(ENCODERS)

    def make(row: ManifestRow, tally: Tally) -> LedgerRow:
        return make_shard(row, pixels=pixels, recipe=recipe, root=root, tally=tally, encoders=encoders)

    run = InFlight(make, pixels, ledger, concurrency, meter, callbacks)
    run.through(todo.ask)
    unanswered = [row for row in todo.ask if ledger.rows[row.tile.id].reason in ("no_answer", "bad_answer")]
    if unanswered:
        callbacks.say(f"{count_of(len(unanswered), 'tile')} got no answer; retrying once")
        run.through(unanswered)
    return todo


Wanted = TypeVar("Wanted")
"""What is requested: rows of the manifest, or parts of an area."""


class InFlight(Generic[Wanted]):
    """Tiles on their way: a bounded number in flight, each settled in the ledger as it comes.

    Args:
        make: requests a tile, writes its file and gives its status; called in threads.
        pixels: where they come from; its waits end when the run does.
    """

    def __init__(
        self,
        make: Callable[[Wanted, Tally], LedgerRow],
        pixels: PixelSource,
        ledger: Ledger,
        concurrency: int,
        meter: Meter,
        callbacks: Callbacks,
    ) -> None:
        self._make, self._pixels, self._ledger = make, pixels, ledger
        # More tiles than requests: where answers come in waves, a wave is encoded while the next one is in flight.
        self._most = concurrency + max(concurrency, ENCODERS)
        self._meter, self._callbacks = meter, callbacks
        self._unanswered = 0
        self._waits = 0

    def through(self, rows: Sequence[Wanted]) -> None:
        """Request tiles until all are settled, or the run has to end."""
        pool = ThreadPoolExecutor(max_workers=self._most, thread_name_prefix="tile")
        running: set[Future[LedgerRow]] = set()
        try:
            self._feed(pool, iter(rows), running)
        except BaseException as error:
            self._finish(running, error)
            raise
        finally:
            # A second interrupt does not wait for the threads either.
            pool.shutdown(wait=not running, cancel_futures=True)

    def _feed(self, pool: ThreadPoolExecutor, waiting: Iterator[Wanted], running: set[Future[LedgerRow]]) -> None:
        stop = ""
        while True:
            while not stop and len(running) < self._most and not self._meter.must_wait(len(running)):
                stop = self._meter.why_stop(len(running))
                row = None if stop else next(waiting, None)
                if row is None:
                    break
                running.add(pool.submit(self._make, row, Tally(measure=self._meter.measure())))
            if not running:
                break
            self._settle(wait(running, return_when=FIRST_COMPLETED).done, running)
            self._sit_out_an_outage()
        if stop and next(waiting, None) is not None:
            raise QuotaError(f"{stop}; complete tiles are kept; run the same command again later to resume")

    def _settle(self, done: Iterable[Future[LedgerRow]], running: set[Future[LedgerRow]]) -> None:
        for future in done:
            running.discard(future)
            row = future.result()
            before = self._ledger.rows.get(row.tile)
            row = self._ledger.append(replace(row, attempts=1 + (before.attempts if before else 0)))
            self._unanswered = self._unanswered + 1 if row.reason == "no_answer" else 0
            self._meter.spent(row)
            self._callbacks.on_row(row)

    def _sit_out_an_outage(self) -> None:
        """Wait while the service does not answer, so that an outage of an hour does not fail a thousand tiles."""
        if self._unanswered == 0:
            self._waits = 0
        if self._unanswered < OUTAGE_FAILURES * (self._waits + 1):
            return
        if self._waits == len(_OUTAGE_WAITS_S):
            raise ServiceError(
                f"Earth Engine has not answered {count_of(self._unanswered, 'tile')} in a row, for hours; run the same "
                "command again when it does, to resume"
            )
        seconds = _OUTAGE_WAITS_S[self._waits]
        self._waits += 1
        self._callbacks.say(
            f"no answer for {count_of(self._unanswered, 'tile')} in a row; waiting {seconds:g} s for the service"
        )
        # In short naps, so that a time limit of the run also applies here.
        while seconds > 0 and not self._meter.why_stop(0):
            time.sleep(min(seconds, _NAP_S))
            seconds -= _NAP_S

    def _finish(self, running: set[Future[LedgerRow]], error: BaseException) -> None:
        """Begin no more, let the tiles in flight become complete; a second interrupt leaves at once."""
        if isinstance(error, KeyboardInterrupt) and running:
            self._callbacks.say(
                f"finishing the {count_of(len(running), 'tile')} in flight; interrupt again to leave them"
            )
        self._pixels.stop()
        for future in tuple(running):
            if future.cancel():
                running.discard(future)
        while running:
            finished = wait(running, return_when=FIRST_COMPLETED).done
            running -= finished
            self._settle([future for future in finished if future.exception() is None], running)


def make_shard(
    row: ManifestRow,
    *,
    pixels: PixelSource,
    recipe: Recipe,
    root: DataRoot,
    tally: Tally | None = None,
    encoders: threading.Semaphore | None = None,
) -> LedgerRow:
    """Find the scene of one tile, download its pixels, write its shard; returns its status.

    Args:
        tally: filled with the cost.
        encoders: bounds how many tiles are encoded at a time.

    Raises:
        AuthenticationError, QuotaError, ServiceError: no tile can be downloaded.
    """
    started, tally = time.monotonic(), tally or Tally()
    settled = _settled(row, pixels, recipe, root, tally, encoders or threading.Semaphore())
    pixels.settle(tally)
    return replace(settled, **tally.costs(started))


def _settled(
    row: ManifestRow, pixels: PixelSource, recipe: Recipe, root: DataRoot, tally: Tally, encoders: threading.Semaphore
) -> LedgerRow:
    tile, path = row.tile, root.own_shard(row.tile)
    try:
        hint = SceneHint(row.s2_index or None, row.s2_product_id or None)
        scene = pixels.resolve(tile, hint, recipe, tally)
        stored = None if scene is None else pixels.fetch(pixels.request(tile, recipe, scene), tally)
    except TileError as error:
        return LedgerRow(tile.id, "failed", error.reason, str(error), source=pixels.name, recipe=recipe.hash)
    reason = "no_s2" if stored is None else why_useless(stored)
    if reason or scene is None or stored is None:
        # Pixels of an earlier recipe must not stay beside those of this one.
        path.unlink(missing_ok=True)
        return discarded(tile, reason, pixels.name, recipe)
    maker = label_maker(row, released_maker_of(root, pixels.name))
    terms = terms_of(root, [row])
    with encoders:
        tags = provenance(tile, scene, recipe, stored, pixels.name, label=maker, terms=terms)
        content = encode_shard(stored, tile, tags)
    write_atomically(path, content)
    return LedgerRow(
        tile=tile.id,
        state="done",
        source=pixels.name,
        recipe=recipe.hash,
        bytes=len(content),
        sha256=sha256_of(content),
        grid=str(grid_of(tile)),
        scene=scene.index,
        rule=scene.rule,
    )


def why_useless(stored: NDArray[np.uint16]) -> str:
    """Reason to discard a tile after its pixels were seen: ``no_s2``, ``no_s1`` or nothing.

    Args:
        stored: uint16 (bands, H, W) in the order of ``SHARD_BANDS``, 0 = no data.
    """
    s2 = stored[: len(S2_BANDS)]
    if not np.any(s2 != NODATA):
        return "no_s2"
    if not all(np.any(stored[SHARD_BANDS.index(band)]) for band in ("S1_N", *S1_BANDS)):
        return "no_s1"
    return ""
