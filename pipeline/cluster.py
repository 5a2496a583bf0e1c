"""Where validation and statistics run: processes of this machine, a Dask cluster that exists, or the calling process.

Wherever they run, the result is the same to the last byte: what batches give is put together by sums of integers and by
sorting, never by who was first.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from .dask_workers import Needs, check_workers, lacks
from .errors import MachineError, ServiceError, UsageError
from .machine import usable_cores, usable_memory_bytes

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

TILES_PER_TASK = 16
"""A scheduler handles about 1,000 tasks a second: batches keep its share of the time small for any number of tiles."""


FEW = 8
"""So few items are done before processes have started (about 1 s)."""

WORKER_BYTES = 1 << 30
"""Memory of one worker: a shard decoded, its histograms and the libraries."""

AHEAD = 4
"""Batches per thread that the scheduler knows of: enough that no worker ever waits for the next one, few enough that
memory does not depend on the number of tiles."""

CONNECT_S = 10.0
"""How long a scheduler may take to answer, and to have a worker."""

_COUNT_EVERY_S = 5.0
"""How often workers are counted anew: they may come and go."""

_ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": 256 * 2**20, "MALLOC_MMAP_THRESHOLD_": 128 * 2**20}
"""Environment of local workers: a band's buffer stays with the process, instead of being given back to the system and
faulted in again for the next band (measured with a limit of 64 KiB: 23 ms of CPU to decode a shard instead of 15)."""


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
def open_cluster(*, workers: int | None = None, scheduler: str | None = None) -> Iterator[Runner]:
    """A runner on the cluster at an address, or on a local one where none is named.

    Raises:
        UsageError: both are named, or the address is none.
        ServiceError: no cluster answers there, or its workers cannot do the work.
    """
    if scheduler and workers:
        raise UsageError(f"--workers {workers} is for a local cluster; that of {scheduler} has its own: leave one out")
    with existing_cluster(scheduler) if scheduler else local_cluster(workers) as run:
        yield run


@contextmanager
def local_cluster(workers: int | None = None) -> Iterator[Runner]:
    """A runner on processes of this machine, one thread each (GDAL decodes on one core per file).

    They start with the first work that they get, and talk through pipes: nothing listens on a port, so that other users
    of the machine have nothing to talk to. Where they cannot start (no ``/dev/shm``, no more processes), the work is
    done in this process, and a warning says so.

    Args:
        workers: processes; None: as many as there are usable cores, and memory for.
    """
    count = workers or default_workers()
    with ExitStack() as stack:
        started: list[_Processes | None] = []

        def run(function: Callable[[Sequence[T]], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
            if len(items) <= FEW and not started:
                yield from in_process(function, items)
                return
            if not started:
                started.append(_start(stack, count))
            processes = started[0]
            yield from in_process(function, items) if processes is None else processes.spread(function, items)

        yield run


def default_workers() -> int:
    """Processes for the cores and the memory that are there."""
    memory = usable_memory_bytes()
    room = usable_cores() if memory is None else int(memory // WORKER_BYTES)
    return max(1, min(usable_cores(), room))


@contextmanager
def existing_cluster(
    address: str,
    *,
    patience_s: float = CONNECT_S,
    needs: Needs = Needs(),  # noqa: B008 - a frozen value
) -> Iterator[Runner]:
    """A runner on a Dask cluster that is there already; it is left running.

    Its workers need the same dwplus, and see the data root under the same path, or read it from a URL.

    Args:
        address: of the scheduler, such as ``tcp://10.0.0.5:8786``.
        patience_s: how long it may take to answer, and to have a worker.
        needs: what the work takes on each worker.

    Raises:
        UsageError: the address is none.
        ServiceError: no scheduler answers there, it has no worker, or a worker has another dwplus or lacks something.
    """
    from distributed import Client, Security

    if address.startswith(("tls://", "wss://")) and Security().get_connection_args("client").get("ssl_context") is None:
        raise UsageError(
            f"--scheduler {address}: no certificate is configured; name its files in {', '.join(_TLS_FILES)}"
        )
    logging.getLogger("distributed").setLevel(logging.ERROR)
    try:
        client = Client(address, timeout=patience_s, set_as_default=False)
    except ValueError:  # not repeated: it may hold a password that belongs elsewhere
        raise UsageError("--scheduler is no address of a Dask scheduler; write it like tcp://10.0.0.5:8786") from None
    except OSError as error:
        raise ServiceError(
            f"no Dask scheduler answers at {address} ({_first_line(error)}); start one with 'dask scheduler', or leave "
            "--scheduler out"
        ) from None
    if open_to_others(address):
        log.warning(
            "%s is not encrypted: whoever reaches it over the network runs code as its workers; start scheduler and "
            "workers with --tls-cert, --tls-key and --tls-ca-file, and name it like tls://...",
            address,
        )
    with client:
        try:
            client.wait_for_workers(1, timeout=patience_s)
        except TimeoutError:
            raise ServiceError(
                f"the scheduler at {address} has no worker; start some with 'dask worker {address} --nthreads 1'"
            ) from None
        check_workers(client, needs)

        def run(function: Callable[[Sequence[T]], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
            return _spread(client, function, items, needs)

        yield run


_TLS_FILES = tuple(f"DASK_DISTRIBUTED__COMM__TLS__{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY"))
"""Variables by which Dask finds certificates. Source: Dask's documentation, "TLS/SSL"."""


def open_to_others(address: str) -> bool:
    """Whether a scheduler is reached without TLS from other machines: any address but those of this machine alone."""
    protocol, _, rest = address.rpartition("://")
    if protocol in ("tls", "wss", "inproc"):
        return False
    try:
        host = urlsplit(f"//{rest}").hostname or ""
    except ValueError:  # no address at all, as Dask will say
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def _call_by_value() -> Callable[[bytes, bytes], Any]:
    """A function that calls a pickled one with a pickled batch.

    The scheduler reads what it hands on: as bytes, it needs no dwplus for it and no time.
    """

    def call(function: bytes, batch: bytes) -> Any:
        import pickle

        return pickle.loads(function)(pickle.loads(batch))

    return call


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


# --- spreading the work -----------------------------------------------------------------------------------------------


def batch_size(left: int, threads: int) -> int:
    """Items of the next batch: small ones at the end keep all workers busy."""
    return max(1, min(TILES_PER_TASK, left // (AHEAD * threads)))


def _spread(
    client: Any, function: Callable[[Sequence[T]], R], items: Sequence[T], needs: Needs
) -> Iterator[tuple[int, R]]:
    """Results of all batches as they come; a few of them are on their way at any time.

    The batches of a worker that dies are done again by another one.
    """
    import cloudpickle
    from distributed import KilledWorker, as_completed

    call, packed = _call_by_value(), cloudpickle.dumps(function)
    sizes: dict[Any, int] = {}
    coming = as_completed(with_results=True, loop=client.loop)
    threads, counted, start = 1, 0.0, 0
    try:
        while True:
            if time.monotonic() - counted > _COUNT_EVERY_S:
                threads, counted = sum(client.nthreads().values()) or threads, time.monotonic()
            while start < len(items) and len(sizes) < AHEAD * threads:
                batch = items[start : start + batch_size(len(items) - start, threads)]
                future = client.submit(call, packed, pickle.dumps(batch), pure=False)
                sizes[future] = len(batch)
                coming.add(future)
                start += len(batch)
            if not sizes:
                return
            future, result = next(coming)
            # A result is kept by the cluster as long as its future is kept here.
            yield sizes.pop(future), result
            del future, result
    except KilledWorker as error:
        raise ServiceError(
            f"workers died again and again over {needs.unit} ({_first_line(error)}): most often memory has run out; "
            f"give workers {needs.memory} each (dask worker --memory-limit)"
        ) from None
    except ImportError as error:
        raise lacks(error) from None
    except Exception:
        # What a lost scheduler looks like depends on the request in progress at that moment.
        if client.status == "running":
            raise
        raise ServiceError("the connection to the Dask scheduler is lost; run the command again") from None
    finally:
        if client.status == "running":
            client.cancel(list(sizes))


# --- processes of this machine ----------------------------------------------------------------------------------------


class _Processes:
    """Worker processes; those that die are started again, and their batches are done again."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def open(self) -> ProcessPoolExecutor:
        """The pool, started where it is not.

        Raises:
            OSError: processes cannot be started here.
        """
        if self._pool is None:
            with _environment(_ALLOCATOR):
                pool = ProcessPoolExecutor(
                    self.count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker
                )
                try:
                    # All at once: the environment is theirs from their start on.
                    list(pool.map(_nothing, range(self.count)))
                except BrokenProcessPool as error:
                    raise OSError(f"a worker process ended while it started ({error})") from None
            self._pool = pool
        return self._pool

    def close(self) -> None:
        """End the processes; what has not begun is dropped."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def spread(self, function: Callable[[Sequence[T]], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
        """Results of all batches as they come; a few of them are on their way at any time.

        Raises:
            MachineError: processes died again and again.
        """
        import cloudpickle

        packed = cloudpickle.dumps(function)
        waiting: deque[Sequence[T]] = deque()
        flying: dict[Future[R], Sequence[T]] = {}
        start, deaths = 0, 0
        try:
            while True:
                while (waiting or start < len(items)) and len(flying) < AHEAD * self.count:
                    if not waiting:
                        waiting.append(items[start : start + batch_size(len(items) - start, self.count)])
                        start += len(waiting[-1])
                    try:
                        future = self.open().submit(_call, packed, pickle.dumps(waiting[0]))
                    except BrokenProcessPool:
                        break
                    flying[future] = waiting.popleft()
                if not flying and not waiting:
                    return
                done = wait(flying, return_when=FIRST_COMPLETED).done
                # In their order: of several errors the first one is told, each time the same.
                for future in [one for one in flying if one in done]:
                    batch = flying.pop(future)
                    try:
                        result = future.result()
                    except (BrokenProcessPool, CancelledError):
                        waiting.append(batch)
                        continue
                    yield len(batch), result
                    deaths = 0
                if waiting:
                    deaths += 1
                    self._start_again(waiting, flying, deaths)
        finally:
            for future in flying:
                future.cancel()

    def _start_again(self, waiting: deque[Sequence[T]], flying: dict[Future[R], Sequence[T]], deaths: int) -> None:
        """After a process died its pool is of no use: its other batches are done again by the next one."""
        if deaths > _DEATHS:
            raise MachineError(
                f"worker processes died {deaths} times over one batch of tiles: most often memory has run out; run "
                f"again with fewer than --workers {self.count}"
            )
        waiting.extend(flying.values())
        flying.clear()
        self.close()


_DEATHS = 3
"""So often in a row workers may die before the command gives up."""


def _call(function: bytes, batch: bytes) -> Any:
    return pickle.loads(function)(pickle.loads(batch))


def _nothing(_: int) -> None:
    """The first work of a worker: it is there when this is done."""


def _begin_worker() -> None:
    """Ctrl-C is for the process that started this one, which ends it; when that one is killed, this one ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _start(stack: ExitStack, count: int) -> _Processes | None:
    """Started processes; None, with a warning, where this machine does not let them start."""
    processes = _Processes(count)
    try:
        with _deaf_children():
            processes.open()
    except OSError as error:
        log.warning("working in one process: worker processes cannot be started here (%s)", _first_line(error))
        return None
    stack.callback(processes.close)
    return processes


@contextmanager
def _environment(variables: Mapping[str, int]) -> Iterator[None]:
    """Variables that processes started in here have, and this one does not."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: str(value) for name, value in variables.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


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
