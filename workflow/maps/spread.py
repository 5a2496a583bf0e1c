"""Rows of a map, classified by the workers of a Dask cluster, which write them into the folder beside the map.

What a worker needs is written once into that folder; it is sent the path of that file, its hash, and which rows of
windows are wanted. So messages stay small, and a worker that does not see the folder cannot work somewhere else. The
command that was given chooses scenes, downloads pixels, waits, and writes the map. Comes after ``mapping``.
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from ...model.calibration import Calibration
from ...model.run_files import weights_hash
from ...model.runs import WEIGHTS
from ...model.score import load
from ...pipeline.areas.image import AreaImage
from ...pipeline.cluster import Runner, existing_cluster
from ...pipeline.dask_workers import Needs
from ...pipeline.errors import DataError, DwplusError
from ...pipeline.files.atomic import sha256_of, write_atomically
from ...pipeline.progress import Progress, Silent
from ..machines import Machine
from .mapping import Compute, MapWork
from .settings import MapOptions
from .window_rows import Mapped

ROWS_OF_A_PART = 4
"""Rows of windows that a worker is sent together. The first of them takes the row before it too, which overlaps: more
rows waste less, fewer keep more workers busy."""

_ORDER_FILE = "order.pickle"


@contextmanager
def on_cluster(address: str, run_dir: Path, path: Path, inputs: Sequence[Path] = ()) -> Iterator[Compute]:
    """What classifies a map on the cluster at an address, whose workers are looked at before anything else is done.

    Args:
        run_dir: folder of the run.
        path: of the map.
        inputs: files and folders that are read.

    Raises:
        UsageError: the address is none.
        ServiceError: no cluster answers there, or a worker lacks dwplus, torch, or sight of a file.
        MachineError: the folder of the map cannot be written.
    """
    run_dir, folder = run_dir.resolve(), path.resolve().parent
    # A file of this moment: a folder of that name on a worker's own disk does not hold it.
    mark = folder / f".{path.name}.seen"
    write_atomically(mark, b"", option="-o")
    try:
        seen = (mark, run_dir / WEIGHTS, *(one.resolve() for one in inputs))
        needs = Needs(("torch",), seen, unit="a part of the map", memory="2 GB")
        with existing_cluster(address, needs=needs) as run:
            mark.unlink()
            yield partial(spread, run_dir=run_dir, run=run)
    finally:
        with suppress(OSError):
            mark.unlink()


def spread(work: MapWork, progress: Progress, *, run_dir: Path, run: Runner) -> None:
    """Classify the rows of a map that are not kept, by a runner whose processes see its folder.

    Args:
        work: files of its image by absolute paths.
        run_dir: folder of the run, absolute.

    Raises:
        DataError: a worker sees another run or other pixels than are here.
        DwplusError: a worker does not see the folder.
    """
    rows, _ = work.axes()
    kept = work.parts.starts()
    sizes = [rows.finished(number) for number in range(len(rows.starts))]
    count = -(-len(sizes) // ROWS_OF_A_PART)
    parts = [Machine(number, count).part_of(len(sizes)) for number in range(1, count + 1)]
    todo = [part for part in parts if not {sizes[number].start for number in part} <= kept]
    if not todo:
        return
    done = sum(one.stop - one.start for one in sizes if one.start in kept)
    total = sum(one.stop - one.start for one in sizes)
    order = _send(work, run_dir)
    with progress.stage("Mapping", total, unit="rows") as step:
        if done:
            progress.say(f"{work.parts.path.parent}: resuming after {done} of {total} rows")
            step.advance(done)
        for _, numbers in run(partial(_follow, order), todo):
            new = (sizes[number] for number in numbers if sizes[number].start not in kept)
            step.advance(sum(one.stop - one.start for one in new))


# --- what is sent -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Order:
    """Where a worker reads what it needs.

    Attributes:
        sha256: of that file.
    """

    file: Path
    sha256: str


@dataclass(frozen=True)
class _Sent:
    """What a worker needs: a map without its network, and all paths absolute."""

    run_dir: Path
    run_hash: str
    image: Mapped
    path: Path
    options: MapOptions
    calibration: Calibration | None
    identity: str


def _send(work: MapWork, run_dir: Path) -> _Order:
    image = work.image
    if isinstance(image, AreaImage):
        image = replace(image, cache=replace(image.cache, folder=image.cache.folder.resolve()))
    path = work.path.resolve()
    sent = _Sent(run_dir, work.run_hash, image, path, work.options, work.calibration, work.identity)
    content = pickle.dumps(sent)
    file = work.parts.path.resolve() / _ORDER_FILE
    write_atomically(file, content, option="-o")
    return _Order(file, sha256_of(content))


# --- on a worker ------------------------------------------------------------------------------------------------------


def _follow(order: _Order, parts: Sequence[range]) -> list[int]:
    """Classify rows of windows and keep them; their numbers."""
    work = _work_of(order)
    for part in parts:
        work.compute_rows(part, Silent())
    return [number for part in parts for number in part]


@lru_cache(maxsize=1)
def _work_of(order: _Order) -> MapWork:
    host = socket.gethostname()
    try:
        content = order.file.read_bytes()
    except OSError as error:
        raise DwplusError(
            f"a worker on {host} does not see {order.file} ({error.strerror}): mount the map's folder under the same "
            "path on every worker"
        ) from None
    if sha256_of(content) != order.sha256:
        raise DwplusError(f"{order.file} is of another command by now, as a worker on {host} sees it; run it again")
    # Written by the command that sent the hash; whoever sends work to a worker runs code there in any case.
    sent: _Sent = pickle.loads(content)
    if weights_hash(sent.run_dir / WEIGHTS) != sent.run_hash:
        raise DataError(f"a worker on {host} sees other weights in {sent.run_dir}; it has to see the same folder")
    work = MapWork(load(sent.run_dir), sent.run_hash, sent.image, sent.path, sent.options, calibration=sent.calibration)
    if work.identity != sent.identity:
        raise DataError(f"a worker on {host} sees other files of the image, or of another time; it has to see the same")
    return work
