"""Where the Dask stages run: a local cluster of processes, or the calling process for small work."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

TILES_PER_TASK = 16
"""A scheduler handles about 1,000 tasks a second: batches keep its share of the time small for any number of tiles."""


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
    """A runner on a Dask cluster of local processes, one thread each (GDAL decodes on one core per file)."""
    # distributed costs half a second to import.
    from distributed import Client, LocalCluster, as_completed

    count = workers or os.cpu_count() or 1
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with (
        LocalCluster(n_workers=count, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):

        def run(function: Callable[[Sequence[T]], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
            # Small batches at the end keep all workers busy.
            size = max(1, min(TILES_PER_TASK, -(-len(items) // (4 * count))))
            work = batches(items, size)
            futures = client.map(function, work, pure=False)
            sizes = {future.key: len(batch) for future, batch in zip(futures, work, strict=True)}
            for future in as_completed(futures):
                yield sizes[future.key], future.result()

        yield run
