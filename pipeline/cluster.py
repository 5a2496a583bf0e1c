"""Where the Dask stages run: a local cluster of processes, or the calling process for small work."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

TILES_PER_TASK = 16
"""A scheduler handles about 1,000 tasks a second: batches keep its share of the time small for any number of tiles."""


FEW = 8
"""So few items are done before a cluster has started (about 1.5 s)."""


class Runner(Protocol):
    """Applies a function to batches of items; yields (number of items, result) of each batch as it comes."""

    def __call__(self, function: Callable[[Sequence[T]], R], items: Sequence[T]) -> Iterator[tuple[int, R]]: ...


def batches(items: Sequence[T], size: int = TILES_PER_TASK) -> list[Sequence[T]]:
    """Items in runs of ``size``, in order; the last run may be shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def in_process(function: Callable[[Sequence[T]], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
    """A runner for tests and small data sets: one batch after the other, here."""
    return ((len(batch), function(batch)) for batch in batches(items))


@contextmanager
def local_cluster(workers: int | None = None) -> Iterator[Runner]:
    """A runner on a Dask cluster of local processes, one thread each (GDAL decodes on one core per file).

    The cluster starts with the first work that it gets.
    """
    count = workers or os.cpu_count() or 1
    with ExitStack() as stack:
        started: list[Any] = []

        def run(function: Callable[[Sequence[T]], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
            if len(items) <= FEW and not started:
                yield from in_process(function, items)
                return
            from distributed import as_completed

            if not started:
                started.append(_start(stack, count))
            # Small batches at the end keep all workers busy.
            size = max(1, min(TILES_PER_TASK, -(-len(items) // (4 * count))))
            work = batches(items, size)
            futures = started[0].map(function, work, pure=False)
            sizes = {future.key: len(batch) for future, batch in zip(futures, work, strict=True)}
            for future in as_completed(futures):
                yield sizes[future.key], future.result()

        yield run


def _start(stack: ExitStack, count: int) -> Any:
    # distributed costs half a second to import.
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.ERROR)
    with _deaf_children():
        cluster = LocalCluster(n_workers=count, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0")
    return stack.enter_context(Client(stack.enter_context(cluster)))


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that are started in here ignore Ctrl-C: the one who started them ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
